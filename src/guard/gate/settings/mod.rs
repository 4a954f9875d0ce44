//! Which settings a session may read and change: SET, RESET, SHOW, set_config, current_setting, startup parameters.
//! Default deny; what is allowed is followed by the session and put back when the server connection changes hands.

mod at_bind;
mod lists;
mod values;

pub(crate) use at_bind::{at_bind, left_to_bind};
pub(super) use lists::READ_ONLY as READ_ONLY_SETTINGS;

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, String as PgString, VariableSetKind, VariableSetStmt, a_const};

use super::functions::literal;
use super::names::denied;
use crate::base::{Mode, Refusal, RefusalKind, SqlState, is_custom_setting};
use crate::config::{Amount, TenantValues};
use crate::guard::{BoundText, Effect, PinReason, Policy, RESET_MARK};

/// What may become of a setting.
enum Rule {
    /// Any value.
    Free,
    /// Only values that change nothing that the guard relies on.
    Only(fn(&Policy, &Mode, &str) -> bool, &'static str),
    /// Up to an amount that the operator names.
    UpTo(Amount),
    /// No value.
    Sealed,
    /// Something in the database decides by it.
    Decides(Arc<str>),
}

/// What stands in the place of RESET ALL, which would undo the sealed settings too.
pub(crate) fn mark_of_reset() -> VariableSetStmt {
    let value =
        AConst { isnull: false, location: -1, val: Some(a_const::Val::Sval(PgString { sval: "on".to_owned() })) };
    VariableSetStmt {
        kind: VariableSetKind::VarSetValue.into(),
        name: RESET_MARK.to_owned(),
        args: vec![Node { node: Some(NodeEnum::AConst(value)) }],
        ..VariableSetStmt::default()
    }
}

/// Takes out of `SET search_path` what stands in it for nothing; whether it did.
pub(crate) fn shorten_path(policy: &Policy, mode: &Mode, stmt: &mut VariableSetStmt) -> bool {
    let is_path = stmt.name.eq_ignore_ascii_case("search_path");
    let kept = values::without_public(policy, mode, &stmt.args).filter(|_| is_path);
    kept.map(|kept| stmt.args = kept).is_some()
}

/// SET, SET LOCAL, RESET, RESET ALL, SET TRANSACTION and the like: what it does to the session.
///
/// # Errors
/// 42501 for a sealed setting or value.
pub(crate) fn set(policy: &Policy, mode: &Mode, stmt: &VariableSetStmt) -> Result<Vec<Effect>, Refusal> {
    let VariableSetStmt { kind: _, name, args, jumble_args: _, is_local: _, location: _ } = stmt;
    let name = canonical(name);
    match stmt.kind() {
        VariableSetKind::VarSetValue => {
            let value = values::of_args(&name, args);
            change(policy, mode, &name, value.as_deref())
        }
        VariableSetKind::VarSetDefault | VariableSetKind::VarReset => change_to_default(policy, mode, &name),
        VariableSetKind::VarResetAll => Ok(match mode {
            Mode::Shared | Mode::Reader | Mode::Schema(_) => vec![Effect::ResetOwn],
            Mode::Database | Mode::Operator => vec![Effect::ResetAll],
        }),
        VariableSetKind::VarSetMulti => multi(mode, &name, args),
        VariableSetKind::VarSetCurrent | VariableSetKind::Undefined => Err(sealed(policy, &name)),
    }
}

/// SET ROLE NONE, RESET ROLE, SET SESSION AUTHORIZATION DEFAULT and the like: what resets of pooled connections consist of.
pub(crate) fn puts_role_back(stmt: &VariableSetStmt) -> bool {
    let name = canonical(&stmt.name);
    match stmt.kind() {
        VariableSetKind::VarReset | VariableSetKind::VarSetDefault => {
            matches!(name.as_str(), "role" | "session_authorization")
        }
        VariableSetKind::VarSetValue => name == "role" && values::of_args(&name, &stmt.args).as_deref() == Some("none"),
        VariableSetKind::VarSetMulti
        | VariableSetKind::VarSetCurrent
        | VariableSetKind::VarResetAll
        | VariableSetKind::Undefined => false,
    }
}

/// `SET TRANSACTION ...` (of the transaction alone) and `SET SESSION CHARACTERISTICS AS TRANSACTION ...` (three defaults).
fn multi(mode: &Mode, name: &str, args: &[Node]) -> Result<Vec<Effect>, Refusal> {
    match name {
        "transaction" => Ok(Vec::new()),
        "session characteristics" => Ok(args.iter().filter_map(default_of).collect()),
        _ if matches!(mode, Mode::Operator) => Ok(Vec::new()),
        // TRANSACTION SNAPSHOT
        _ => {
            let message = format!("permission denied to set parameter \"{name}\"");
            Err(denied(RefusalKind::Setting, message, "A snapshot is another session's: use an operator login.")
                .about(name))
        }
    }
}

fn default_of(arg: &Node) -> Option<Effect> {
    let Some(NodeEnum::DefElem(elem)) = arg.node.as_ref() else { return None };
    Some(Effect::Setting(format!("default_{}", elem.defname)))
}

fn change(policy: &Policy, mode: &Mode, name: &str, value: Option<&str>) -> Result<Vec<Effect>, Refusal> {
    allow_value(policy, mode, name, value)?;
    Ok(effect(name))
}

/// DEFAULT and RESET: as good as any value where any is allowed; a setting that must keep its value is not touched.
fn change_to_default(policy: &Policy, mode: &Mode, name: &str) -> Result<Vec<Effect>, Refusal> {
    match rule(policy, mode, name) {
        Rule::Free => Ok(effect(name)),
        // The server's own default may be another encoding or another path than the one that the proxy pinned.
        Rule::Only(_, hint)
            if matches!(name, "search_path" | "client_encoding") || lists::READ_ONLY.contains(&name) =>
        {
            Err(sealed_value(name, hint))
        }
        Rule::Only(_, _) | Rule::UpTo(_) => Ok(effect(name)),
        Rule::Sealed => Err(sealed(policy, name)),
        Rule::Decides(what) => Err(decides(name, &what)),
    }
}

fn allow_value(policy: &Policy, mode: &Mode, name: &str, value: Option<&str>) -> Result<(), Refusal> {
    match rule(policy, mode, name) {
        Rule::Free => Ok(()),
        Rule::Only(harmless, hint) => match value {
            Some(value) if harmless(policy, mode, value) => Ok(()),
            Some(_) | None => Err(sealed_value(name, hint)),
        },
        Rule::UpTo(amount) => match value {
            Some(value) if amount.holds(name, value) => Ok(()),
            Some(_) | None => Err(sealed_value(name, "The greatest value for tenants is set in [tenancy.settings].")),
        },
        Rule::Sealed => Err(sealed(policy, name)),
        Rule::Decides(what) => Err(decides(name, &what)),
    }
}

/// Settings of the transaction alone need no following. Where the seed of random() has come to cannot be asked.
pub(crate) fn effect(name: &str) -> Vec<Effect> {
    match name {
        "seed" => vec![Effect::Pin(PinReason::Seed)],
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => Vec::new(),
        _ => vec![Effect::Setting(name.to_owned())],
    }
}

/// SHOW: the answer is the session's own, but some settings tell of the server or hold an application's secrets.
///
/// # Errors
/// 42501 for a setting that tenants may not read.
pub(crate) fn show(policy: &Policy, mode: &Mode, name: &str) -> Result<(), Refusal> {
    let name = canonical(name);
    let allowed = match mode {
        Mode::Operator | Mode::Database => true,
        Mode::Shared | Mode::Reader | Mode::Schema(_) => {
            name == policy.setting.to_ascii_lowercase()
                || lists::FREE.contains(&name.as_str())
                || lists::READABLE.contains(&name.as_str())
                || only(&name).is_some()
                || match rule(policy, mode, &name) {
                    Rule::Free | Rule::Only(..) | Rule::UpTo(_) => true,
                    Rule::Sealed | Rule::Decides(_) => false,
                }
        }
    };
    if allowed { Ok(()) } else { Err(unreadable(&name)) }
}

/// A setting of the startup packet, or `-c name=value` in its options.
///
/// # Errors
/// 42501 for a sealed setting or value.
pub fn startup_setting(policy: &Policy, mode: &Mode, name: &str, value: &str) -> Result<(), Refusal> {
    allow_value(policy, mode, &canonical(name), Some(value))
}

/// `set_config` and `current_setting`; `None` for any other function.
pub(super) fn function_call(
    policy: &Policy,
    mode: &Mode,
    bare: &str,
    args: &[Node],
) -> Option<Result<Vec<Effect>, Refusal>> {
    match bare {
        "set_config" => Some(set_config(policy, mode, args)),
        "current_setting" => Some(current_setting(policy, mode, args)),
        _ => None,
    }
}

fn set_config(policy: &Policy, mode: &Mode, args: &[Node]) -> Result<Vec<Effect>, Refusal> {
    let [name, value, _] = args else { return unknown_name(mode, args) };
    let value = at_bind::given(value);
    match (at_bind::given(name), mode) {
        (Some(BoundText::Text(name)), _) => {
            let name = canonical(&name);
            match value {
                Some(value @ BoundText::Param(_)) if goes_by_value(&rule(policy, mode, &name)) => {
                    let bound = Effect::SettingAtBind { name: BoundText::Text(name.clone()), value: Some(value) };
                    Ok(effect(&name).into_iter().chain([bound]).collect())
                }
                Some(BoundText::Text(value)) => change(policy, mode, &name, Some(&value)),
                Some(BoundText::Param(_)) | None => change(policy, mode, &name, None),
            }
        }
        (Some(name @ BoundText::Param(_)), Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Database) => {
            Ok(vec![Effect::SettingAtBind { name, value }])
        }
        (Some(BoundText::Param(_)) | None, _) => unknown_name(mode, args),
    }
}

/// The name is known only when it runs: the session keeps the connection. A definition's calls come without their arguments.
fn unknown_name(mode: &Mode, args: &[Node]) -> Result<Vec<Effect>, Refusal> {
    match mode {
        Mode::Operator => Ok(vec![Effect::Pin(PinReason::SessionState)]),
        Mode::Database if !args.is_empty() => Ok(vec![Effect::Pin(PinReason::SessionState)]),
        Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Database => Err(needs_literal("set_config")),
    }
}

/// Whether some values are allowed, and others are not.
fn goes_by_value(rule: &Rule) -> bool {
    match rule {
        Rule::Only(..) | Rule::UpTo(_) => true,
        Rule::Free | Rule::Sealed | Rule::Decides(_) => false,
    }
}

fn current_setting(policy: &Policy, mode: &Mode, args: &[Node]) -> Result<Vec<Effect>, Refusal> {
    match mode {
        Mode::Operator | Mode::Database => Ok(Vec::new()),
        Mode::Shared | Mode::Reader | Mode::Schema(_) => {
            let name = args.first().and_then(literal).ok_or_else(|| needs_literal("current_setting"))?;
            show(policy, mode, name).map(|()| Vec::new())
        }
    }
}

/// The rule for a setting by its canonical name.
fn rule(policy: &Policy, mode: &Mode, name: &str) -> Rule {
    if matches!(mode, Mode::Operator) {
        return Rule::Free;
    }
    // Which triggers fire is the business of whose the tables are.
    let own = matches!(mode, Mode::Database) && name == "session_replication_role";
    if name == RESET_MARK || name == policy.setting.to_ascii_lowercase() || (lists::SEALED.contains(&name) && !own) {
        return Rule::Sealed;
    }
    if matches!(mode, Mode::Reader) && lists::READ_ONLY.contains(&name) {
        return Rule::Only(values::is_on, "A login of role \"reader\" only reads.");
    }
    if let Some((harmless, hint)) = only(name) {
        let own = matches!(mode, Mode::Database) && matches!(name, "search_path" | "row_security");
        return if own { Rule::Free } else { Rule::Only(harmless, hint) };
    }
    if matches!(mode, Mode::Database) {
        return Rule::Free;
    }
    // Those of the tenant's further keys.
    if name.strip_prefix(&policy.setting.to_ascii_lowercase()).is_some_and(|rest| rest.starts_with('_')) {
        return Rule::Sealed;
    }
    match policy.settings.configured(name) {
        Some(TenantValues::Any) => Rule::Free,
        Some(TenantValues::UpTo(amount)) => Rule::UpTo(amount),
        Some(TenantValues::None) => Rule::Sealed,
        None if lists::FREE.contains(&name) => Rule::Free,
        None if is_custom_setting(name) => custom(policy, name),
        None => Rule::Sealed,
    }
}

/// A setting of the application's own. What the operator gives a value to is the operator's: it may be a secret.
fn custom(policy: &Policy, name: &str) -> Rule {
    let module = name.split('.').next().unwrap_or_default();
    let catalog = &policy.catalog;
    if catalog.modules.contains(module) || catalog.role.settings.iter().any(|given| given == name) {
        return Rule::Sealed;
    }
    match policy.settings.decider(name) {
        Some(what) => Rule::Decides(Arc::clone(what)),
        None => Rule::Free,
    }
}

type Only = (fn(&Policy, &Mode, &str) -> bool, &'static str);

/// Settings that drivers and ORMs send at connect, with the one value that the guard relies on anyway.
fn only(name: &str) -> Option<Only> {
    match name {
        "client_encoding" => Some((values::is_utf8, "Only UTF8 is accepted.")),
        "standard_conforming_strings" => Some((values::is_on, "Only on is accepted.")),
        "row_security" => Some((values::is_on, "Only on is accepted.")),
        "search_path" => {
            Some((values::is_pinned_path, "The search path is pinned by pgwarden; only schemas of it are accepted."))
        }
        _ => None,
    }
}

/// Whether the value of an option is on, as `SET` takes it.
pub(super) fn is_on(value: &Node) -> bool {
    let text = values::of_args("", std::slice::from_ref(value));
    text.is_some_and(|text| values::is_on_word(&text))
}

/// Lower case, and the spellings that mean another name.
fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "time zone" => "timezone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        _ => name,
    }
}

fn sealed(policy: &Policy, name: &str) -> Refusal {
    let setting = policy.setting.to_ascii_lowercase();
    let hint = if name.strip_prefix(&*setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
        "It says whom a session acts for, and pgwarden sets it itself. Only a login of several tenants that names none when it \
         connects may set it, to a tenant's name."
            .to_owned()
    } else if lists::SEALED.contains(&name) {
        "No key of the configuration opens it for tenants: it decides as whom, or by which code, statements run. An operator \
         login may set it."
            .to_owned()
    } else {
        format!("If tenants may choose it, list \"{name}\" = true, or its greatest value, under [tenancy.settings].")
    };
    denied(RefusalKind::Setting, format!("permission denied to set parameter \"{name}\""), hint).about(name)
}

fn decides(name: &str, what: &str) -> Refusal {
    denied(
        RefusalKind::Setting,
        format!("permission denied to set parameter \"{name}\""),
        format!(
            "It may decide what {what} does. If tenants may choose that, list \"{name}\" = true under [tenancy.settings]."
        ),
    )
    .about(name)
}

fn sealed_value(name: &str, hint: &'static str) -> Refusal {
    denied(RefusalKind::Setting, format!("permission denied to set parameter \"{name}\" to this value"), hint)
        .about(name)
}

fn unreadable(name: &str) -> Refusal {
    denied(
        RefusalKind::Setting,
        format!("permission denied to examine \"{name}\""),
        "Tenants may read settings of their own session only.",
    )
    .about(name)
}

fn needs_literal(function: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Setting,
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied for function {function}"),
    )
    .hint(format!("{function}() needs the setting's name as a literal here."))
    .about(function)
}

#[cfg(test)]
mod tests;
