//! Which functions a statement may call. `pg_catalog`: the IMMUTABLE ones and a short list of others, less a deny list; all
//! else only from extensions that compute on values alone, or as the operator lists it.

mod arguments;
mod definitions;
mod fields;
mod lists;
mod pure;
mod reach;

use pg_query::protobuf::Node;

use super::names::{cross_database, denied, parts, schema_is_own, search_path, truncated};
use super::settings;
use crate::base::{Arity, Mode, QualifiedName, Refusal, RefusalKind, SqlState};
use crate::catalog::{Function, FunctionKind, Volatility};
use crate::guard::fault::{Fault, planted};
use crate::guard::{Effect, PinReason, Policy};
pub(super) use arguments::{is_name, is_oid, literal, name_literal, own_text, parameter, split_name};
pub(crate) use definitions::Printed;
pub(crate) use fields::{Before, check_field, gives};
pub(crate) use reach::extension_is_safe;
pub(super) use reach::extension_reaches_out;

const RECORD: u32 = 2249;

/// Whether a call may stand in a tenant's statement, and what it does to the session. `name`: the parts of the name as written.
///
/// # Errors
/// 42501 for a function that is denied, 42883 for one that does not exist, 0A000 for one named with its database.
pub(crate) fn check(policy: &Policy, mode: &Mode, name: &[Node], args: &[Node]) -> Result<Vec<Effect>, Refusal> {
    if planted(Fault::Functions) {
        return Ok(Vec::new());
    }
    let names = parts(name).unwrap_or_default();
    let (schema, bare) = match names.as_slice() {
        [bare] => (None, truncated(bare)),
        [schema, bare] => (Some(truncated(schema)), truncated(bare)),
        [_, schema, bare] if matches!(mode, Mode::Operator) => (Some(truncated(schema)), truncated(bare)),
        // What is done to a call goes by its name with a schema, or without one.
        [_, _, _] => return Err(cross_database(RefusalKind::Function, &names.join("."))),
        _ => return Err(undefined("")),
    };
    if let Some(effects) = settings::function_call(policy, mode, bare, args) {
        return effects;
    }
    match mode {
        Mode::Operator => Ok(effects(bare)),
        Mode::Database => in_database(policy, mode, schema, bare),
        Mode::Shared | Mode::Reader | Mode::Schema(_) => guarded(policy, mode, schema, bare, args),
    }
}

/// What a call does with an advisory lock's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockCall {
    /// It takes the lock, or tries to.
    Take,
    /// It gives the lock back.
    Release,
}

impl LockCall {
    /// Of a function by its name.
    pub(crate) fn of(bare: &str) -> Option<Self> {
        match bare {
            "pg_advisory_unlock" | "pg_advisory_unlock_shared" => Some(Self::Release),
            _ => lists::is_advisory_lock(bare).then_some(Self::Take),
        }
    }
}

/// Whether a call names the key of an advisory lock.
pub(crate) fn lock_call(name: &[Node]) -> Option<LockCall> {
    match parts(name).unwrap_or_default().as_slice() {
        [bare] | ["pg_catalog", bare] | [_, "pg_catalog", bare] => LockCall::of(truncated(bare)),
        _ => None,
    }
}

/// Whether a call draws from a sequence, sets one, or asks what was drawn.
pub(crate) fn is_of_sequences(name: &[Node]) -> bool {
    match parts(name).unwrap_or_default().as_slice() {
        [bare] | ["pg_catalog", bare] | [_, "pg_catalog", bare] => lists::OF_SEQUENCES.contains(&truncated(bare)),
        _ => false,
    }
}

/// The function that notifies.
const NOTIFY: &str = "pg_notify";

/// Whether a call notifies: its first argument names a channel.
pub(crate) fn is_notify(name: &[Node]) -> bool {
    match parts(name).unwrap_or_default().as_slice() {
        [bare] | ["pg_catalog", bare] | [_, "pg_catalog", bare] => truncated(bare) == NOTIFY,
        _ => false,
    }
}

/// Whether a call would show the operator's comments on shared tables, or their size. Its first argument, an oid, must then
/// become NULL: the answer is that of a table without comments, or none, so that psql's `\d+` and ORMs' introspection work.
pub(crate) fn tells_of_shared_tables(mode: &Mode, name: &[Node]) -> bool {
    let names = parts(name).unwrap_or_default();
    let bare = match names.as_slice() {
        [bare] | ["pg_catalog", bare] => *bare,
        _ => return false,
    };
    tells_of_shared(mode, bare)
}

fn tells_of_shared(mode: &Mode, bare: &str) -> bool {
    let of_the_server = bare == "shobj_description" && matches!(mode, Mode::Schema(_));
    let of_tables = matches!(bare, "obj_description" | "col_description" | "shobj_description");
    of_the_server || (mode.is_shared() && (of_tables || lists::SIZES.contains(&bare)))
}

/// A cast to a type: it calls a function where the operator has made it so.
///
/// # Errors
/// 42501 for a function that has no rule.
pub(crate) fn check_cast(policy: &Policy, mode: &Mode, schema: Option<&str>, name: &str) -> Result<(), Refusal> {
    if matches!(mode, Mode::Operator | Mode::Database) {
        return Ok(());
    }
    let casts = policy.catalog.casts.iter();
    let mut casts = casts.filter(|it| it.target.name == name && schema.is_none_or(|s| it.target.schema == s));
    let denied = casts.find(|cast| {
        let known = policy.catalog.functions.get(&cast.function.name).into_iter().flatten();
        let mut functions = known.filter(|function| function.name == cast.function);
        let own = matches!(mode, Mode::Schema(_)) && schema_is_own(mode, &cast.function.schema);
        !own && !functions.all(|function| may_call(policy, mode, function))
    });
    match denied {
        Some(cast) => Err(super::names::denied(
            RefusalKind::Function,
            format!("permission denied for cast to type {name}: it calls function {}", cast.function),
            "If the function is safe for every tenant, list it as schema.name in tenancy.allow_functions.",
        )
        .about(&cast.function)),
        None => Ok(()),
    }
}

/// Whether a call may be of an aggregate or a window function.
pub(crate) fn may_aggregate(policy: &Policy, mode: &Mode, name: &[Node]) -> bool {
    let names = parts(name).unwrap_or_default();
    let Some((bare, schema)) = names.split_last() else { return true };
    candidates(policy, mode, schema.last().map(|it| truncated(it)), truncated(bare))
        .into_iter()
        .any(|it| matches!(it.kind, FunctionKind::Aggregate | FunctionKind::Window))
}

/// All functions that the name may mean: every overload in the schema named, or on the search path.
fn candidates<'p>(policy: &'p Policy, mode: &Mode, schema: Option<&str>, bare: &str) -> Vec<&'p Function> {
    let path = search_path(policy, mode);
    policy
        .catalog
        .functions
        .get(bare)
        .into_iter()
        .flatten()
        .filter(|f| match schema {
            Some(schema) => f.name.schema == schema,
            None => path.contains(&f.name.schema.as_str()),
        })
        .collect()
}

fn in_database(policy: &Policy, mode: &Mode, schema: Option<&str>, bare: &str) -> Result<Vec<Effect>, Refusal> {
    let leaves = reach::name_leaves_database(bare)
        || candidates(policy, mode, schema, bare).into_iter().any(reach::leaves_database);
    if leaves {
        return Err(refused(bare));
    }
    Ok(effects(bare))
}

fn guarded(
    policy: &Policy,
    mode: &Mode,
    schema: Option<&str>,
    bare: &str,
    args: &[Node],
) -> Result<Vec<Effect>, Refusal> {
    if let Some(schema) = schema
        && !schema_is_own(mode, schema)
        && candidates(policy, mode, Some(schema), bare).is_empty()
    {
        return Err(super::names::foreign_schema(schema));
    }
    // A denied name is refused whether or not this catalog knows it: snapshots age.
    let only_system = schema.is_none_or(|s| s == "pg_catalog");
    if only_system && lists::DENIED.contains(&bare) {
        return Err(refused(bare));
    }
    let found = candidates(policy, mode, schema, bare);
    if found.is_empty() {
        return not_a_function(policy, mode, schema, bare, args);
    }
    let looks_up = |function: &Function| matches!(mode, Mode::Shared) && policy.without_tenant.contains(&function.name);
    if let Some(function) = found.iter().find(|f| !may_call(policy, mode, f) && !looks_up(f)) {
        return Err(refused_function(mode, function));
    }
    arguments::check(policy, mode, bare, args)?;
    arguments::name_own_objects(policy, mode, bare, &found, args)?;
    let mut effects = effects(bare);
    effects.extend(found.into_iter().any(looks_up).then_some(Effect::LooksUp));
    Ok(effects)
}

/// Whether a function may read or change what belongs to the application: listed ones, and those of sequences and
/// large objects.
pub(crate) fn may_touch_data(policy: &Policy, funcname: &[Node]) -> bool {
    let Some(pg_query::NodeEnum::String(last)) = funcname.last().and_then(|part| part.node.as_ref()) else {
        return true;
    };
    let bare = truncated(&last.sval);
    lists::OF_SEQUENCES.contains(&bare)
        || bare.starts_with("lo_")
        || policy.allow_functions.iter().any(|function| function.name == bare)
}

/// The rule for one function of the catalog, its arguments aside.
fn may_call(policy: &Policy, mode: &Mode, function: &Function) -> bool {
    let bare = function.name.name.as_str();
    // What is listed was read as for one tenant: it may go by the setting that says which.
    if policy.allow_functions.contains(&function.name) && mode.arity() == Arity::One {
        return true;
    }
    if let Some(extension) = function.extension.as_deref() {
        return reach::extension_function_is_safe(extension, function);
    }
    if function.name.schema != "pg_catalog" {
        return pure::is_pure(policy, mode, function);
    }
    if lists::DENIED.contains(&bare) {
        return false;
    }
    function.volatility == Volatility::Immutable
        || lists::ALLOWED.contains(&bare)
        || lists::is_advisory_lock(bare)
        || bare == NOTIFY
        || (lists::SIZES.contains(&bare) && mode.is_shared())
}

/// Whether tenants of shared tables may call every function of that name, so that a view may call it for them: what it reads
/// then is what they could read themselves.
pub(crate) fn tenants_may_call(policy: &Policy, name: &QualifiedName) -> bool {
    let known = policy.catalog.functions.get(&name.name).into_iter().flatten();
    let mut found = known.filter(|function| function.name == *name).peekable();
    found.peek().is_some() && found.all(|function| may_call(policy, &Mode::Shared, function))
}

/// No function of that name: `name(x)` may still be a cast (`date(x)`) or a column (`email(t)`), which need no rule.
fn not_a_function(
    policy: &Policy,
    mode: &Mode,
    schema: Option<&str>,
    bare: &str,
    args: &[Node],
) -> Result<Vec<Effect>, Refusal> {
    let [_] = args else {
        return Err(undefined(bare));
    };
    let path = search_path(policy, mode);
    let is_type = policy.catalog.types.values().any(|t| {
        t.name.name == bare
            && match schema {
                Some(schema) => t.name.schema == schema,
                None => path.contains(&t.name.schema.as_str()),
            }
    });
    let is_column = schema.is_none() && policy.catalog.relations.values().any(|r| r.column(bare).is_some());
    if is_type || is_column {
        return Ok(Vec::new());
    }
    Err(undefined(bare))
}

/// Whether a function of that name, in whatever schema, reaches beyond its database.
pub(crate) fn names_leave_database(policy: &Policy, bare: &str) -> bool {
    let known = policy.catalog.functions.get(truncated(bare)).into_iter().flatten();
    reach::name_leaves_database(truncated(bare)) || known.into_iter().any(reach::leaves_database)
}

/// What a call leaves behind in the server's session.
fn effects(bare: &str) -> Vec<Effect> {
    if lists::is_advisory_lock(bare) && !bare.contains("_xact_") {
        return vec![Effect::Pin(PinReason::AdvisoryLock)];
    }
    match bare {
        _ if bare.starts_with("pg_advisory_unlock") => vec![Effect::Unlocks],
        "nextval" => vec![Effect::Draws],
        "setval" => vec![Effect::MayDraw],
        "currval" | "lastval" => vec![Effect::AsksSequences],
        "setseed" => vec![Effect::Pin(PinReason::Seed)],
        "dblink_connect" | "dblink_connect_u" => {
            vec![Effect::Pin(PinReason::SessionState)]
        }
        _ => Vec::new(),
    }
}

fn refused(bare: &str) -> Refusal {
    let hint = match bare {
        "setval" => "A sequence is shared by all tenants: an operator login may set it.".to_owned(),
        _ => format!(
            "{bare}() reaches beyond the tenant's own rows, or pgwarden has no rule for it. \
             An operator login may call it."
        ),
    };
    denied(RefusalKind::Function, format!("permission denied for function {bare}"), hint).about(bare)
}

fn refused_function(mode: &Mode, function: &Function) -> Refusal {
    if function.name.schema == "pg_catalog" {
        return refused(&function.name.name);
    }
    let hint = match mode.arity() {
        Arity::One => format!(
            "If \"{}\" is safe for every tenant to call (it reads no other tenant's rows), list it in tenancy.allow_functions.",
            function.name
        ),
        Arity::Several => {
            "What tenancy.allow_functions lists is for one tenant at a time. Ask the tables themselves, or \
                           each tenant: pgwarden query."
                .to_owned()
        }
    };
    denied(RefusalKind::Function, format!("permission denied for function {}", function.name.name), hint)
        .about(&function.name)
}

fn undefined(bare: &str) -> Refusal {
    Refusal::new(RefusalKind::Undefined, SqlState::UNDEFINED_FUNCTION, format!("function {bare} does not exist"))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
        .about(bare)
}

#[cfg(test)]
mod tests;
