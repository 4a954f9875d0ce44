//! What the server is sent in the place of a statement about the tenant context: its own setting, with the tenant's key,
//! so that order, transactions and errors are the server's; the answer speaks of the tenant by name.

use std::sync::Arc;

use super::{Form, Scope};
use crate::base::oid::TEXT;
use crate::base::{Arity, Mode, Refusal};
use crate::guard::plan::{Piece, Plan, StatementKind, TenantSlot};
use crate::guard::service::Script;
use crate::guard::{Guarded, Policy, Protocol, plan_statements};
use crate::sql::{quote_identifier, quote_literal, quote_setting};

/// A switch. `name` is `None` where the client gives it as its parameter `$1`; `key` is the value of the server's setting,
/// empty for no tenant.
///
/// # Errors
/// Never for what this makes of its arguments; the guard's own reading is asked all the same.
pub fn switch(policy: &Policy, scope: Scope, form: &Form, name: Option<&str>, key: &str) -> Result<Guarded, Refusal> {
    let setting = quote_setting(&policy.setting);
    let text = match (form, scope) {
        (Form::Command, Scope::Session) => format!("SET {setting} TO {}", quote_literal(key)),
        (Form::Command, Scope::Local) => format!("SET LOCAL {setting} TO {}", quote_literal(key)),
        (Form::Reset, _) => format!("RESET {setting}"),
        (Form::Function(column), _) => {
            let shown = name.map_or_else(|| "$1".to_owned(), quote_literal);
            let given = if name.is_some() { quote_literal(key) } else { "$2".to_owned() };
            format!(
                "SELECT {shown}::pg_catalog.text AS {} FROM pg_catalog.set_config({}, {given}, {})",
                quote_identifier(column),
                quote_literal(&policy.setting),
                scope == Scope::Local
            )
        }
    };
    // What is sent must be one statement to the server's grammar too.
    plan_statements(policy, &Mode::Operator, Protocol::Extended { param_types: &[] }, &text)?;
    let by_param = matches!(form, Form::Function(_)) && name.is_none();
    Ok(made(text, by_param.then(|| key.into())))
}

/// The answer to SHOW or `current_setting()`.
///
/// # Errors
/// As for [`switch`].
pub fn show(policy: &Policy, form: &Form, name: &str) -> Result<Guarded, Refusal> {
    let column = match form {
        Form::Command | Form::Reset => &policy.setting,
        Form::Function(column) => column,
    };
    let text = format!("SELECT {}::pg_catalog.text AS {}", quote_literal(name), quote_identifier(column));
    plan_statements(policy, &Mode::Operator, Protocol::Extended { param_types: &[] }, &text)?;
    Ok(made(text, None))
}

/// The statements of one Query, each guarded for the tenant that it runs for.
pub fn concat(parts: Vec<Guarded>) -> Guarded {
    let (mut statements, mut values) = (Vec::new(), Vec::new());
    for part in parts {
        let (plans, bound) = part.into_parts();
        statements.extend(plans);
        values.extend(bound);
    }
    Guarded::from_parts(Script::of_plans(statements), values)
}

fn made(text: String, key: Option<Arc<str>>) -> Guarded {
    let slot = TenantSlot { key: None, arity: Arity::One, type_oid: TEXT, type_name: "pg_catalog.text".into() };
    let plan = Plan {
        kind: StatementKind::Utility,
        pieces: vec![Piece::Text(text.into())],
        rewritten: true,
        needs_tenant: false,
        slots: key.iter().map(|_| slot.clone()).collect(),
        inline_slots: false,
        client_params: u16::from(key.is_some()),
        checks: vec![],
        effects: vec![],
        copy_in: None,
        writes: false,
        notes: vec![],
        objection: None,
    };
    Guarded::from_parts(Script::of_plans(vec![Arc::new(plan)]), [key])
}
