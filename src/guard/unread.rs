//! Statements that the grammar does not accept, for an upstream newer than any that pgwarden was tested with: what that server
//! has added is refused where tenants share tables or a database, and goes out as it is where the database is the tenant's own.

use pg_query::protobuf::Token;

use super::gate::functions::names_leave_database;
use super::plan::{Effect, PinReason, Plan, StatementKind};
use super::policy::Policy;
use crate::base::{Mode, Refusal, RefusalKind};
use crate::sql::parse;

/// The newest major version of Postgres that pgwarden was tested with, and whose grammar it has.
pub const NEWEST_TESTED: u32 = 18;

/// Words that a query begins with.
const QUERIES: [&str; 8] = ["select", "with", "values", "table", "insert", "update", "delete", "merge"];

/// What becomes of a text that was refused by the grammar.
///
/// # Errors
/// The grammar's refusal, if it stands.
pub(super) fn plan(policy: &Policy, mode: &Mode, sql: &str, mut refusal: Refusal) -> Result<Plan, Refusal> {
    let major = policy.catalog.server_version_num / 10_000;
    if major <= NEWEST_TESTED || refusal.kind != RefusalKind::Syntax {
        return Err(refusal);
    }
    let passes = match mode {
        Mode::Operator => true,
        Mode::Database => is_query_of_own(policy, sql),
        Mode::Shared | Mode::Reader | Mode::Schema(_) => false,
    };
    if !passes {
        refusal.error.hint.get_or_insert_with(|| {
            format!(
                "The server is Postgres {major}, pgwarden knows the grammar of {NEWEST_TESTED}: what is newer is refused here."
            )
            .into()
        });
        return Err(refusal);
    }
    let mut plan = Plan::verbatim(StatementKind::Utility, sql);
    plan.needs_tenant = true;
    // Whatever it does to the session stays with its client.
    plan.effects = vec![Effect::Pin(PinReason::SessionState), Effect::CatalogChanged];
    plan.notes = vec![format!("forwarded unread: Postgres {major} is newer than the grammar")];
    Ok(plan)
}

/// Whether it is one query that names nothing of the system's, by which it might leave the database or the session's bounds.
fn is_query_of_own(policy: &Policy, sql: &str) -> bool {
    let Ok(mut tokens) = parse::scan(sql) else { return false };
    tokens.retain(|token| !matches!(token.token(), Token::SqlComment | Token::CComment));
    while tokens.last().is_some_and(|token| token.token() == Token::Ascii59) {
        tokens.pop();
    }
    let text = |token: &pg_query::protobuf::ScanToken| {
        let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
        sql.get(start..end)
    };
    let begins =
        tokens.first().and_then(text).is_some_and(|word| QUERIES.contains(&word.to_ascii_lowercase().as_str()));
    let mut names = tokens.iter().map(|token| (token.token(), text(token)));
    begins
        && names.all(|(token, text)| match (token, text) {
            // `U&"..."` could be any name.
            (Token::Ascii59 | Token::Uident, _) | (_, None) => false,
            (_, Some(text)) => !is_of_system(policy, text),
        })
}

fn is_of_system(policy: &Policy, token: &str) -> bool {
    let unquoted = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let name = unquoted.map_or_else(|| token.to_ascii_lowercase(), |inner| inner.replace("\"\"", "\""));
    if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        return false;
    }
    name.starts_with("pg_") || name == "set_config" || names_leave_database(policy, &name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guard::{Protocol, plan_statements};

    fn outcome(version: u32, mode: &Mode, sql: &str) -> String {
        let mut policy = Policy::empty();
        policy.catalog = Arc::new(crate::catalog::Catalog { server_version_num: version, ..(*policy.catalog).clone() });
        match plan_statements(&policy, mode, Protocol::Simple, sql) {
            Ok(plans) => plans.iter().map(|plan| format!("{:?}", plan.effects)).collect(),
            Err(refusal) => format!("{} {}", refusal.error.code, refusal.error.hint.unwrap_or_default()),
        }
    }

    const NEW: &str = "SELECT a, count(*) FROM t GROUP BY ALL HAVING";

    #[test]
    fn unknown_syntax_is_forwarded_to_newer_servers_where_the_database_is_ones_own() {
        for mode in [Mode::Database, Mode::Operator] {
            assert!(outcome(190_000, &mode, NEW).contains("Pin(SessionState)"));
            assert!(outcome(180_004, &mode, NEW).starts_with("42601"));
        }
        for mode in [Mode::Shared, Mode::Schema("a".into())] {
            let told = outcome(190_000, &mode, NEW);
            assert!(told.starts_with("42601") && told.contains("Postgres 19"), "{told}");
        }
    }

    #[test]
    fn nothing_unread_leaves_the_database() {
        for sql in [
            "REPACK t WITH NEW OPTIONS",
            "SELECT a FROM t GROUP BY ALL HAVING; COPY t TO PROGRAM 'x'",
            "SELECT \"pg_read_file\"('x') GROUP BY ALL HAVING",
            "SELECT PG_READ_FILE('x') GROUP BY ALL HAVING",
            "SELECT U&\"p\\0067_read_file\"('x') GROUP BY ALL HAVING",
            "SELECT dblink('x') GROUP BY ALL HAVING",
            "SELECT set_config('role', 'x', false) GROUP BY ALL HAVING",
            "SELECT * FROM pg_stat_activity GROUP BY ALL HAVING",
            "SELECT 'open GROUP BY ALL HAVING",
        ] {
            assert!(outcome(190_000, &Mode::Database, sql).starts_with("42601"), "{sql}");
        }
    }
}
