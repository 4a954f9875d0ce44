//! Which names temporary tables may have. The server looks for relations and types in the temporary schema before all others,
//! wherever it reads a name without a schema: in the bodies of functions too. So a temporary table has a name that nothing in the
//! catalog has, in whatever schema, and that no function's text holds; and nothing else is ever reached by a name of the
//! temporary schema.

use super::names::{denied, truncated};
use crate::base::{Refusal, RefusalKind};
use crate::catalog::RelKind;
use crate::guard::{Names, Policy};

/// The schema of the session's own temporary tables.
pub(crate) const SCHEMA: &str = "pg_temp";

/// A row type has a relation's name, and an array type that with underscores before it: within so many bytes nothing is cut off.
const MAX_BYTES: usize = 56;
/// The first bytes of a relation's name that are there in the names that Postgres makes up for its indexes and sequences.
const KEPT_BYTES: usize = 28;

/// Why a name is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// It is no plain name, or a long one.
    Form,
    /// Names of the server's.
    Server,
    /// Something in the catalog.
    Catalog(String),
    /// A word in the text of a function.
    Code,
}

/// Whether a name without a schema, or with that of temporary tables, is one of the session's temporary tables if it is anything.
pub(crate) fn may_mean(policy: &Policy, schema: &str, name: &str) -> bool {
    policy.names == Names::Temporary && may_be_dropped(policy, schema, name)
}

/// The same of a session that has made none that are known of: dropping it changes nothing else.
pub(crate) fn may_be_dropped(policy: &Policy, schema: &str, name: &str) -> bool {
    matches!(schema, "" | SCHEMA)
        && taken(policy, truncated(name)).is_none()
        && policy.catalog.temporary_makers.is_empty()
}

/// The name of a temporary table, or of an index on one, that is made.
///
/// # Errors
/// 42501 for a name that could be taken for another relation or type.
pub(crate) fn check_new(policy: &Policy, name: &str) -> Result<(), Refusal> {
    if let Some(maker) = policy.catalog.temporary_makers.first() {
        return Err(denied(
            RefusalKind::Statement,
            "permission denied: temporary tables are not allowed here",
            format!("The function {maker} makes temporary tables whose names it computes: a tenant's could be taken for one of them."),
        )
        .about("CREATE TEMPORARY TABLE"));
    }
    let why = match taken(policy, truncated(name)) {
        None => return Ok(()),
        Some(Taken::Form) => {
            format!(
                "Such names have letters, digits and underscores, at most {MAX_BYTES} in all, and begin with no digit."
            )
        }
        Some(Taken::Server) => "Names that begin with pg_ are the server's.".to_owned(),
        Some(Taken::Catalog(of)) => format!("It could be taken for \"{of}\" of the database. Take another name."),
        Some(Taken::Code) => {
            "It is a word in a function of the database, which could take it for something else. Take another name."
                .to_owned()
        }
    };
    Err(denied(
        RefusalKind::Relation,
        format!("permission denied: a temporary table cannot be named \"{name}\" here"),
        why,
    )
    .about("CREATE TEMPORARY TABLE"))
}

/// The names that Postgres makes up for indexes and sequences of a table: they begin as the table's does.
///
/// # Errors
/// 42501 where the catalog has such a name.
pub(crate) fn check_made_up(policy: &Policy, table: &str) -> Result<(), Refusal> {
    let kept: &str = table.get(..KEPT_BYTES).unwrap_or(table);
    let begins = if kept.len() < KEPT_BYTES { format!("{kept}_") } else { kept.to_owned() };
    let known = policy.catalog.relations.keys().map(|it| it.name.as_str());
    let words = policy.catalog.code_words.iter().map(String::as_str);
    match known.chain(words).find(|it| it.to_lowercase().starts_with(&begins.to_lowercase())) {
        None => Ok(()),
        Some(other) => Err(denied(
            RefusalKind::Relation,
            format!("permission denied: a temporary table with indexes or sequences cannot be named \"{table}\" here"),
            format!("One of theirs could be taken for \"{other}\" of the database. Take another name."),
        )
        .about("CREATE TEMPORARY TABLE")),
    }
}

fn taken(policy: &Policy, name: &str) -> Option<Taken> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.len() > MAX_BYTES
        || !name.chars().all(plain)
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some(Taken::Form);
    }
    let lower = name.to_ascii_lowercase();
    if lower.trim_start_matches('_').starts_with("pg_") {
        return Some(Taken::Server);
    }
    // The array type of `x` is `_x`, or has more underscores.
    let bare = lower.trim_start_matches('_');
    let same = |other: &str| other.trim_start_matches('_').eq_ignore_ascii_case(bare);
    let relation = policy.catalog.relations.iter().find(|(it, found)| found.kind != RelKind::Toast && same(&it.name));
    let found = relation
        .map(|(it, _)| it.to_string())
        .or_else(|| policy.catalog.types.values().find(|it| same(&it.name.name)).map(|it| it.name.to_string()));
    if let Some(found) = found {
        return Some(Taken::Catalog(found));
    }
    policy.catalog.code_words.iter().any(|word| same(word)).then_some(Taken::Code)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guard::gate::fixture::{outcome, policy};

    fn with_code(words: &[&str]) -> Policy {
        let mut policy = policy().with_temporary();
        let catalog = Arc::make_mut(&mut policy.catalog);
        catalog.code_words = words.iter().map(|it| (*it).to_owned()).collect();
        policy
    }

    #[test]
    fn a_name_is_free_where_nothing_has_it() {
        let policy = with_code(&["session_ctx", "r"]);
        for (name, wanted) in [
            ("stock_in", "ok"),
            ("_stock_in", "ok"),
            ("Stock_In", "ok"),
            ("orders", "42501"),
            ("Orders", "42501"),
            ("_orders", "42501"),
            ("countries", "42501"),
            ("pg_class", "42501"),
            ("pg_mine", "42501"),
            ("_pg_mine", "42501"),
            ("session_ctx", "42501"),
            ("__session_ctx", "42501"),
            ("r", "42501"),
            ("my table", "42501"),
            ("täfel", "42501"),
            ("1st", "42501"),
            ("", "42501"),
        ] {
            assert_eq!(outcome(check_new(&policy, name)), wanted, "{name}");
            assert_eq!(may_mean(&policy, "", name), wanted == "ok", "{name}");
            assert_eq!(may_mean(&policy, SCHEMA, name), wanted == "ok", "{name}");
            assert!(!may_mean(&policy, "public", name) && !may_mean(&policy, "pg_temp_3", name));
        }
        assert_eq!(outcome(check_new(&policy, &"a".repeat(57))), "42501");
        let mut none = policy;
        none.names = Names::Catalog;
        assert!(!may_mean(&none, "", "stock_in") && may_be_dropped(&none, "", "stock_in"));
    }

    #[test]
    fn names_that_postgres_makes_up_are_free_too() {
        let policy = with_code(&["stage_id_seq"]);
        for (name, wanted) in
            [("stock_in", "ok"), ("stage", "42501"), ("order", "42501"), ("countr", "ok"), ("Stage", "42501")]
        {
            assert_eq!(outcome(check_made_up(&policy, name)), wanted, "{name}");
        }
    }

    #[test]
    fn none_where_functions_compute_such_names() {
        let mut policy = with_code(&[]);
        Arc::make_mut(&mut policy.catalog).temporary_makers = vec![crate::guard::fixture::named("report")];
        assert_eq!(outcome(check_new(&policy, "stock_in")), "42501");
        assert!(!may_mean(&policy, "", "stock_in"));
    }
}
