//! Reading a client's text for what it does to the tenant context.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DiscardMode, FuncCall, Node, SelectStmt, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt,
    a_const,
};

use super::{Form, Outline, Scope, Step, TransactionStep, Value};
use crate::guard::shape::without_comments;
use crate::guard::{Policy, nodes};
use crate::sql::parse;

/// The tenant that a search path of these schemas names, if it names one; empty: nobody. No schemas: the default path.
pub type OfPath<'a> = &'a dyn Fn(&[String]) -> Option<String>;

/// The outline of a text; `None` where all of it leaves the context alone, or where it is for the guard to refuse.
pub fn outline(policy: &Policy, sql: &str, of_path: OfPath<'_>) -> Option<Outline> {
    if is_plain(sql, &policy.setting) {
        return None;
    }
    parse::with_stack(sql.len(), || {
        let statements = parse::parse(sql, &policy.limits, policy.catalog.server_version_num).ok()?;
        let outline: Outline = statements
            .iter()
            .map(|it| {
                let step = it.tree.node.as_ref().map_or(Step::None, |node| step(node, &policy.setting, of_path));
                (it.text.to_owned(), step)
            })
            .collect();
        outline.iter().any(|(_, step)| *step != Step::None).then_some(outline)
    })
}

/// A single query that cannot name the setting needs no second parse. What hides its name from this look is still a
/// sealed setting to the guard.
pub(super) fn is_plain(sql: &str, setting: &str) -> bool {
    let uncommented = without_comments(sql);
    let text = uncommented.as_deref().unwrap_or(sql).trim_start();
    let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    let query =
        matches!(word.to_ascii_lowercase().as_str(), "select" | "insert" | "update" | "delete" | "with" | "merge");
    let single = !text.trim_end().trim_end_matches(';').contains(';');
    query && single && !contains_ignoring_case(text, setting)
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len().max(1)).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// The tenant that a comment before the first statement names: `/* tenant='acme' */`, among other `key='value'` pairs with
/// commas between them.
pub fn comment(sql: &str) -> Option<&str> {
    let (inside, _) = sql.trim_start().strip_prefix("/*")?.split_once("*/")?;
    // A nested comment ends elsewhere.
    if inside.contains("/*") {
        return None;
    }
    inside.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        (key.trim() == "tenant" && !value.contains('\'')).then_some(value)
    })
}

#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
fn step(node: &NodeEnum, setting: &str, of_path: OfPath<'_>) -> Step {
    match node {
        NodeEnum::VariableSetStmt(stmt) if is_path(stmt) => set_path(stmt, of_path).unwrap_or(Step::None),
        NodeEnum::VariableSetStmt(stmt) => set(stmt, setting),
        NodeEnum::VariableShowStmt(stmt) if stmt.name.eq_ignore_ascii_case(setting) => Step::Show(Form::Command),
        NodeEnum::TransactionStmt(stmt) => transaction(stmt),
        NodeEnum::DiscardStmt(stmt) if stmt.target() == DiscardMode::DiscardAll => Step::Clear,
        NodeEnum::DeclareCursorStmt(_) => Step::Cursor,
        NodeEnum::SelectStmt(select) => function(select, setting).unwrap_or(Step::None),
        // Nothing else changes the tenant: the guard seals the setting, in all statements and calls that could set it.
        nodes::statement!() | nodes::part!() => Step::None,
    }
}

fn is_path(stmt: &VariableSetStmt) -> bool {
    stmt.name.eq_ignore_ascii_case("search_path")
}

/// A search path that begins with a tenant's own schema names that tenant.
fn set_path(stmt: &VariableSetStmt, of_path: OfPath<'_>) -> Option<Step> {
    let scope = if stmt.is_local { Scope::Local } else { Scope::Session };
    let (value, form) = match stmt.kind() {
        VariableSetKind::VarSetValue => {
            let schemas: Vec<String> = stmt.args.iter().map(constant).collect::<Option<_>>()?;
            (Value::Text(of_path(&schemas)?), Form::Command)
        }
        VariableSetKind::VarSetDefault => of_path(&[]).map(|_| (Value::Default, Form::Command))?,
        VariableSetKind::VarReset => of_path(&[]).map(|_| (Value::Default, Form::Reset))?,
        VariableSetKind::VarSetCurrent
        | VariableSetKind::VarSetMulti
        | VariableSetKind::VarResetAll
        | VariableSetKind::Undefined => return None,
    };
    Some(Step::Switch { value, scope, form })
}

fn set(stmt: &VariableSetStmt, setting: &str) -> Step {
    if stmt.kind() == VariableSetKind::VarResetAll {
        return Step::Clear;
    }
    if !stmt.name.eq_ignore_ascii_case(setting) {
        return Step::None;
    }
    let scope = if stmt.is_local { Scope::Local } else { Scope::Session };
    match stmt.kind() {
        VariableSetKind::VarSetValue => {
            let [arg] = stmt.args.as_slice() else { return Step::None };
            let text = constant(arg);
            text.map_or(Step::None, |text| Step::Switch { value: Value::Text(text), scope, form: Form::Command })
        }
        VariableSetKind::VarSetDefault => Step::Switch { value: Value::Default, scope, form: Form::Command },
        VariableSetKind::VarReset => Step::Switch { value: Value::Default, scope, form: Form::Reset },
        VariableSetKind::VarSetCurrent
        | VariableSetKind::VarSetMulti
        | VariableSetKind::VarResetAll
        | VariableSetKind::Undefined => Step::None,
    }
}

fn transaction(stmt: &TransactionStmt) -> Step {
    use TransactionStmtKind as K;
    let name = || stmt.savepoint_name.clone();
    match stmt.kind() {
        K::TransStmtBegin => Step::Begin("BEGIN"),
        K::TransStmtStart => Step::Begin("START TRANSACTION"),
        K::TransStmtCommit => Step::Transaction(TransactionStep::Commit { chain: stmt.chain }),
        K::TransStmtRollback => Step::Transaction(TransactionStep::Rollback { chain: stmt.chain }),
        K::TransStmtSavepoint => Step::Transaction(TransactionStep::Savepoint(name())),
        K::TransStmtRelease => Step::Transaction(TransactionStep::Release(name())),
        K::TransStmtRollbackTo => Step::Transaction(TransactionStep::RollbackTo(name())),
        K::TransStmtPrepare | K::TransStmtCommitPrepared | K::TransStmtRollbackPrepared | K::Undefined => Step::None,
    }
}

/// `SELECT set_config(...)` and `SELECT current_setting(...)` of the setting, and nothing else in the query.
fn function(select: &SelectStmt, setting: &str) -> Option<Step> {
    let [target] = select.target_list.as_slice() else { return None };
    let bare = SelectStmt { target_list: Vec::new(), ..select.clone() };
    if bare != empty_select()? {
        return None;
    }
    let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
    let NodeEnum::FuncCall(call) = target.val.as_deref()?.node.as_ref()? else { return None };
    let name = plain_call(call)?;
    let column = if target.name.is_empty() { name.to_owned() } else { target.name.clone() };
    let names_setting = |node: &Node| constant(node).is_some_and(|text| text.eq_ignore_ascii_case(setting));
    match (name, call.args.as_slice()) {
        ("set_config", [which, value, local]) if names_setting(which) => {
            let scope = if boolean(local)? { Scope::Local } else { Scope::Session };
            Some(Step::Switch { value: value_of(value)?, scope, form: Form::Function(column) })
        }
        ("current_setting", [which]) if names_setting(which) => Some(Step::Show(Form::Function(column))),
        ("current_setting", [which, missing]) if names_setting(which) => {
            boolean(missing)?;
            Some(Step::Show(Form::Function(column)))
        }
        _ => None,
    }
}

/// A SELECT of nothing, as the parser gives it.
fn empty_select() -> Option<SelectStmt> {
    match parse::reparse("SELECT").ok()?.pop()?.stmt?.node? {
        NodeEnum::SelectStmt(select) => Some(*select),
        _ => None,
    }
}

/// The name of a function of `pg_catalog` that is called with arguments and nothing else.
fn plain_call(call: &FuncCall) -> Option<&str> {
    let FuncCall {
        funcname,
        args: _,
        agg_order,
        agg_filter,
        over,
        agg_within_group,
        agg_star,
        agg_distinct,
        func_variadic,
        funcformat: _,
        location: _,
    } = call;
    let aggregates = *agg_within_group || *agg_star || *agg_distinct || *func_variadic;
    if aggregates || !agg_order.is_empty() || agg_filter.is_some() || over.is_some() {
        return None;
    }
    let mut parts = funcname.iter().map(|part| {
        let Some(NodeEnum::String(text)) = part.node.as_ref() else { return None };
        Some(text.sval.as_str())
    });
    match (parts.next()??, parts.next(), parts.next()) {
        (name, None, _) => Some(name),
        ("pg_catalog", Some(Some(name)), None) => Some(name),
        _ => None,
    }
}

fn value_of(node: &Node) -> Option<Value> {
    let inner = node.node.as_ref()?;
    if matches!(inner, NodeEnum::ParamRef(param) if param.number == 1) {
        Some(Value::Param)
    } else if matches!(inner, NodeEnum::AConst(constant) if constant.isnull) {
        Some(Value::Default)
    } else if let NodeEnum::TypeCast(cast) = inner
        && is_text(cast.type_name.as_ref()?)
    {
        value_of(cast.arg.as_deref()?)
    } else {
        constant(node).map(Value::Text)
    }
}

fn is_text(name: &pg_query::protobuf::TypeName) -> bool {
    let last = name.names.last().and_then(|part| part.node.as_ref());
    name.typmods.is_empty()
        && name.array_bounds.is_empty()
        && matches!(last, Some(NodeEnum::String(text)) if matches!(text.sval.as_str(), "text" | "varchar"))
}

/// A constant as `SET` reads it.
fn constant(node: &Node) -> Option<String> {
    let inner = node.node.as_ref()?;
    if let NodeEnum::TypeCast(cast) = inner {
        return is_text(cast.type_name.as_ref()?).then(|| constant(cast.arg.as_deref()?)).flatten();
    }
    let NodeEnum::AConst(constant) = inner else { return None };
    match constant.val.as_ref()? {
        a_const::Val::Sval(text) => Some(text.sval.clone()),
        a_const::Val::Ival(number) => Some(number.ival.to_string()),
        a_const::Val::Fval(number) => Some(number.fval.clone()),
        a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
    }
}

fn boolean(node: &Node) -> Option<bool> {
    let NodeEnum::AConst(constant) = node.node.as_ref()? else { return None };
    let a_const::Val::Boolval(value) = constant.val.as_ref()? else { return None };
    Some(value.boolval)
}
