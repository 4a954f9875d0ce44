//! `set_config` of a name or a value that a Bind message carries: judged when it is there.

use std::collections::BTreeMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::{canonical, change, needs_literal};
use crate::base::oid::{TEXT, VARCHAR};
use crate::base::{Mode, Oid, Refusal};
use crate::guard::gate::functions::{literal, parameter};
use crate::guard::gate::names::{parts, truncated};
use crate::guard::{BindValue, BoundText, Effect, PinReason, Plan, Policy};
use crate::sql::walk::{Part, Walk};

/// A name has at most so many bytes: what is longer is no setting's.
const MAX_NAME_BYTES: usize = 63;

/// A literal, or a parameter that is a text as it was sent.
pub(super) fn given(node: &Node) -> Option<BoundText> {
    let text = literal(node).map(|text| BoundText::Text(text.to_owned()));
    text.or_else(|| parameter(node).map(BoundText::Param))
}

/// What a statement's effects have that is known at Bind only stays there, if its Bind is seen. `declared`: the types of its
/// parameters; `None` where no Bind message carries them.
///
/// # Errors
/// 42501 where it is not.
pub(crate) fn left_to_bind(
    mode: &Mode,
    tree: &Node,
    declared: Option<&[Oid]>,
    effects: &mut [Effect],
) -> Result<(), Refusal> {
    let mut uses = None;
    for effect in effects {
        let Effect::SettingAtBind { name, value } = effect else { continue };
        let uses = uses.get_or_insert_with(|| Uses::of(tree));
        let numbers = [Some(&*name), value.as_ref()].into_iter().flatten().filter_map(BoundText::number);
        if declared.is_some_and(|declared| numbers.into_iter().all(|number| uses.are_texts(number, declared))) {
            continue;
        }
        match (mode, &name) {
            // What the database's own code sets is not known either.
            (Mode::Database, BoundText::Param(_)) => *effect = Effect::Pin(PinReason::SessionState),
            _ => return Err(needs_literal("set_config")),
        }
    }
    Ok(())
}

/// What the calls of a statement set, now that its parameters are there.
///
/// # Errors
/// 42501 for a setting or value that the session may not set.
pub(crate) fn at_bind(
    policy: &Policy,
    mode: &Mode,
    plan: &Plan,
    params: &[BindValue<'_>],
) -> Result<Vec<Effect>, Refusal> {
    let mut effects = Vec::new();
    for effect in &plan.effects {
        let Effect::SettingAtBind { name, value } = effect else { continue };
        let Ok(name) = text_of(name, params) else { return Err(needs_literal("set_config")) };
        // The server says what is wrong with no name.
        let Some(name) = name else { continue };
        if !is_name(name) {
            return Err(needs_literal("set_config"));
        }
        let value = value.as_ref().map_or(Ok(None), |value| text_of(value, params));
        let Ok(value) = value else { return Err(needs_literal("set_config")) };
        effects.extend(change(policy, mode, &canonical(name), value)?);
    }
    Ok(effects)
}

/// Nothing that a type could take off a text on its way.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(plain)
}

/// `Ok(None)` is NULL.
fn text_of<'a>(given: &'a BoundText, params: &[BindValue<'a>]) -> Result<Option<&'a str>, ()> {
    let number = match given {
        BoundText::Text(text) => return Ok(Some(text)),
        BoundText::Param(number) => usize::from(*number),
    };
    let bound = number.checked_sub(1).and_then(|i| params.get(i)).ok_or(())?;
    bound.bytes.map(std::str::from_utf8).transpose().map_err(|_| ())
}

/// How often the parameters of a statement stand in it, and how often as a text in `set_config`.
#[derive(Default)]
struct Uses {
    all: BTreeMap<u16, usize>,
    texts: BTreeMap<u16, usize>,
}

impl Uses {
    fn of(tree: &Node) -> Self {
        let mut uses = Self::default();
        tree.fields(&mut |part| uses.look(part));
        uses
    }

    fn look(&mut self, part: Part<'_>) -> bool {
        match part {
            Part::Node(NodeEnum::ParamRef(param)) => {
                *self.all.entry(u16::try_from(param.number).unwrap_or(0)).or_default() += 1;
            }
            Part::Node(NodeEnum::FuncCall(call)) if sets(call) => {
                for number in call.args.iter().take(2).filter_map(parameter) {
                    *self.texts.entry(number).or_default() += 1;
                }
            }
            Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => {}
        }
        part.fields(&mut |inner| self.look(inner))
    }

    /// Whether the value that is sent is the one that the function gets: another use of the parameter may give it a type that
    /// changes it (a name is cut, `char(n)` loses blanks).
    fn are_texts(&self, number: u16, declared: &[Oid]) -> bool {
        match usize::from(number).checked_sub(1).and_then(|i| declared.get(i)).copied().unwrap_or(0) {
            TEXT | VARCHAR => true,
            0 => self.all.get(&number) == self.texts.get(&number),
            _ => false,
        }
    }
}

fn sets(call: &FuncCall) -> bool {
    let names = parts(&call.funcname).unwrap_or_default();
    matches!(names.as_slice(), [bare] | ["pg_catalog", bare] if truncated(bare) == "set_config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::gate::fixture::schema_mode;
    use crate::guard::rewrite::tests::fixture::{plan_in, policy};

    /// What becomes of a statement with these texts as its parameters: what it sets, or the error.
    fn bound(mode: &Mode, sql: &str, values: &[&str]) -> String {
        let value = |text: &&'static str| BindValue { bytes: Some(text.as_bytes()), binary: false, declared: 0 };
        let values: Vec<&'static str> = values.iter().map(|it| &*(*it).to_owned().leak()).collect();
        let params: Vec<_> = values.iter().map(value).collect();
        let plan = plan_in(mode, sql);
        match plan.and_then(|plan| at_bind(&policy(), mode, &plan, &params)) {
            Ok(effects) => effects.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(" "),
            Err(refusal) => refusal.error.code.to_string(),
        }
    }

    #[test]
    fn what_bind_names_is_judged_as_a_literal_is() {
        let sql = "SELECT set_config($1, $2::text, false)";
        for (name, value, wanted) in [
            ("TimeZone", "UTC", "Setting(\"timezone\")"),
            ("audit.actor", "ann", "Setting(\"audit.actor\")"),
            ("client_encoding", "UTF8", "Setting(\"client_encoding\")"),
            ("client_encoding", "LATIN1", "42501"),
            ("client_encoding ", "LATIN1", "42501"),
            ("search_path", "pg_temp", "42501"),
            ("app.tenant_id", "2", "42501"),
            ("role", "none", "42501"),
            ("work_mem", "1GB", "42501"),
            ("pgwarden.reset_all", "on", "42501"),
        ] {
            assert_eq!(bound(&Mode::Shared, sql, &[name, value]), wanted, "{name} {value}");
        }
        // In a database of its own a tenant sets what it will, but for what its statements are read by.
        assert_eq!(bound(&Mode::Database, sql, &["work_mem", "1GB"]), "Setting(\"work_mem\")");
        for name in ["client_encoding", "Client_Encoding", "client_encoding  ", "session_authorization"] {
            assert_eq!(bound(&Mode::Database, sql, &[name, "LATIN1"]), "42501", "{name}");
        }
    }

    #[test]
    fn a_value_is_judged_where_it_matters() {
        let sql = "SELECT set_config('client_encoding', $1, false)";
        assert_eq!(bound(&Mode::Shared, sql, &["utf-8"]), "Setting(\"client_encoding\")");
        assert_eq!(bound(&Mode::Shared, sql, &["LATIN1"]), "42501");
        assert_eq!(bound(&Mode::Shared, "SELECT set_config('timezone', $1, false)", &["UTC"]), "");
        let path = "SELECT set_config('search_path', $1, false)";
        assert_eq!(bound(&schema_mode(), path, &["other"]), "42501");
    }

    /// A parameter that is something else on its way, or that no Bind message carries.
    #[test]
    fn only_texts_that_bind_carries() {
        for sql in [
            "SELECT $2::name, set_config('search_path', $2, true)",
            "SELECT set_config('search_path', $1::\"char\", true)",
            "SELECT set_config($1, $1::varchar(3), true)",
            "SELECT set_config($1 || '', 'x', true)",
            "SELECT set_config($1, 'x', true), $1::char(5)",
            "SELECT set_config(lower($1), 'x', true)",
            "PREPARE p AS SELECT set_config($1, $2, false)",
            "PREPARE p AS SELECT set_config('search_path', $1, false)",
            "EXPLAIN SELECT set_config('search_path', $1, false)",
            "DECLARE c CURSOR FOR SELECT set_config('search_path', $1, false)",
        ] {
            for mode in [Mode::Shared, schema_mode()] {
                assert_eq!(bound(&mode, sql, &["timezone", "UTC"]), "42501", "{sql}");
            }
        }
    }

    #[test]
    fn in_a_database_of_its_own_a_name_may_be_computed() {
        for sql in [
            "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'x'",
            "SELECT set_config(lower($1), 'x', true)",
            "PREPARE p AS SELECT set_config($1, $2, false)",
        ] {
            let plan = plan_in(&Mode::Database, sql).unwrap();
            assert!(plan.effects.contains(&Effect::Pin(PinReason::SessionState)), "{sql}");
            assert!(!plan.sets_at_bind(), "{sql}");
        }
        assert!(plan_in(&Mode::Database, "PREPARE p AS SELECT set_config('client_encoding', $1, false)").is_err());
    }
}
