//! The split guard: what runs before the tenant predicate must not be able to tell what it saw.
//!
//! The planner orders the conjuncts of a scan by cost, whatever their order in the text. So of the conditions that look at
//! a tenant relation only plain ones (columns, constants and leakproof operators) may stand beside its predicate; the
//! others must be inside a CASE whose condition is the tenant predicate. Subqueries are levels of their own, with their own
//! predicates: what is inside them is not looked at here.

use serde_json::Value;

use super::predicate::Reference;
use super::tree::{conjuncts, field, items, node, node_of, number, strings, text};
use super::{Outcome, Verifier};
use crate::guard::policy::{Policy, TenantTable};

/// The tenant relations of one query level, as its conditions may name them.
pub(super) struct Level<'v, 'p> {
    relations: Vec<Seen<'v, 'p>>,
}

/// A tenant relation of a level.
struct Seen<'v, 'p> {
    reference: Reference<'v>,
    columns: Vec<&'p str>,
    table: &'p TenantTable,
}

impl<'p> Verifier<'p> {
    /// The tenant relations among FROM items, joins included.
    pub(super) fn level<'v>(&self, from: impl IntoIterator<Item = &'v Value>) -> Level<'v, 'p> {
        let mut level = Level { relations: Vec::new() };
        from.into_iter().for_each(|item| self.collect(item, &mut level));
        level
    }

    fn collect<'v>(&self, item: &'v Value, level: &mut Level<'v, 'p>) {
        match node(item) {
            Some(("RangeVar", fields)) => self.collect_relation(fields, level),
            Some(("JoinExpr", fields)) => {
                ["larg", "rarg"].iter().for_each(|arm| self.collect(field(fields, arm), level))
            }
            Some(("RangeTableSample", fields)) => self.collect(field(fields, "relation"), level),
            Some(_) => {}
            // The target of an UPDATE or DELETE stands in its field without a node around it.
            None if item.get("relname").is_some() => self.collect_relation(item, level),
            None => {}
        }
    }

    fn collect_relation<'v>(&self, range_var: &'v Value, level: &mut Level<'v, 'p>) {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        if let (Some(table), Some(reference)) = (self.tenant_table(schema, name), Reference::of(range_var)) {
            let columns = self.relation(schema, name).map(|r| r.columns.iter().map(|c| c.name.as_str()).collect());
            level.relations.push(Seen { reference, columns: columns.unwrap_or_default(), table });
        }
    }

    /// The conjuncts of a WHERE, ON or HAVING at a level.
    pub(super) fn no_leaks(&self, conjuncts: &[&Value], level: &Level<'_, '_>) -> Outcome {
        let leaks = |c: &&&Value| {
            level.is_looked_at_by(c)
                && !self.predicates.is_any_predicate(c)
                && !self.is_guard(c, level)
                && !self.is_equality_of_own_values(c, level)
                && !may_stand_beside(self.policy, c)
        };
        match conjuncts.iter().find(leaks) {
            Some(conjunct) => Err(format!(
                "a condition of kind {} runs beside the tenant predicate",
                node(conjunct).map_or("unknown", |n| n.0)
            )),
            None => Ok(()),
        }
    }

    /// `CASE WHEN <tenant predicates> THEN ... ELSE false END`; in HAVING also `CASE WHEN count(*) >= 0 ...`: an aggregate
    /// cannot run before WHERE.
    fn is_guard(&self, conjunct: &Value, level: &Level<'_, '_>) -> bool {
        self.is_case_of_own_rows(conjunct, level, is_false)
    }

    /// `CASE WHEN <tenant predicates> THEN a ELSE NULL END = CASE ... END`, in the ON of a FULL JOIN; a side that looks at no
    /// tenant relation stands as it is.
    fn is_equality_of_own_values(&self, conjunct: &Value, level: &Level<'_, '_>) -> bool {
        /// `A_Expr_Kind::AEXPR_OP`: not `= ANY`, whose right side is a list.
        const OPERATOR: i64 = 1;
        let Some(("AExpr", equality)) = node(conjunct) else { return false };
        number(equality, "kind") == OPERATOR
            && strings(equality, "name").is_some_and(|name| name == ["="])
            && ["lexpr", "rexpr"].into_iter().all(|side| {
                let value = field(equality, side);
                !level.is_looked_at_by(value) || self.is_case_of_own_rows(value, level, is_null)
            })
    }

    /// The tests are of the relations that the result looks at.
    fn is_case_of_own_rows(&self, value: &Value, level: &Level<'_, '_>, otherwise: fn(&Value) -> bool) -> bool {
        let Some(("CaseExpr", case)) = node(value) else { return false };
        let [when] = items(case, "args") else { return false };
        let Some(("CaseWhen", when)) = node(when) else { return false };
        let tests = conjuncts(field(when, "expr"));
        let own = |test: &&Value| self.is_own_row(test) || is_count(test);
        let tested = |seen: &Seen<'_, '_>| tests.iter().any(|test| is_count(test) || self.is_own_row_of(test, seen));
        field(case, "arg").is_null()
            && !tests.is_empty()
            && tests.iter().all(own)
            && level.is_covered(field(when, "result"), &tested)
            && otherwise(field(case, "defresult"))
    }

    /// The predicate, or the predicate OR the relation's whole row IS NULL (a row that an outer join made up).
    fn is_own_row(&self, test: &Value) -> bool {
        let (own, null) = alternatives(test);
        self.predicates.is_any_predicate(own) && null.is_none_or(|null| whole_row_null(null).is_some())
    }

    /// The same of one relation.
    fn is_own_row_of(&self, test: &Value, seen: &Seen<'_, '_>) -> bool {
        let (own, null) = alternatives(test);
        let of_it = |null| whole_row_null(null).is_some_and(|name| seen.reference.is(name));
        self.predicates.is_predicate(own, seen.reference, seen.table) && null.is_none_or(of_it)
    }
}

impl Level<'_, '_> {
    /// Whether an expression names a column, or the whole row, of a tenant relation of this level.
    fn is_looked_at_by(&self, value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.is_looked_at_by(item)),
            Value::Object(fields) => match node(value) {
                Some(("ColumnRef", column)) => self.holds(column),
                Some(("SelectStmt", _)) => false,
                Some((_, inner)) => self.is_looked_at_by(inner),
                None => fields.values().any(|field| self.is_looked_at_by(field)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    fn holds(&self, column_ref: &Value) -> bool {
        // A star, or anything else that is no plain name, may mean every relation.
        let Some(parts) = strings(column_ref, "fields").or_else(|| qualifiers(column_ref)) else {
            return !self.relations.is_empty();
        };
        self.relations.iter().any(|Seen { reference, columns, .. }| match parts.as_slice() {
            [name] => reference.is(name) || columns.contains(name),
            [first, second, ..] => reference.is(first) || reference.is(second),
            [] => true,
        })
    }

    /// Whether all that an expression looks at passes a test.
    fn is_covered(&self, value: &Value, tested: &dyn Fn(&Seen<'_, '_>) -> bool) -> bool {
        match value {
            Value::Array(items) => items.iter().all(|item| self.is_covered(item, tested)),
            Value::Object(fields) => match node(value) {
                Some(("ColumnRef", column)) => self.is_column_covered(column, tested),
                Some(("SelectStmt", _)) => true,
                Some((_, inner)) => self.is_covered(inner, tested),
                None => fields.values().all(|field| self.is_covered(field, tested)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    fn is_column_covered(&self, column_ref: &Value, tested: &dyn Fn(&Seen<'_, '_>) -> bool) -> bool {
        let parts = strings(column_ref, "fields").or_else(|| qualifiers(column_ref)).unwrap_or_default();
        let means = |seen: &&Seen<'_, '_>| match parts.as_slice() {
            [name] => seen.reference.is(name) || seen.columns.contains(name),
            [relation, _] | [_, relation, ..] => seen.reference.is(relation),
            [] => true,
        };
        let mut meant = self.relations.iter().filter(means).peekable();
        match parts.as_slice() {
            // A star, or anything else that is no plain name, may mean every relation.
            [] => meant.all(tested),
            // A bare name means one relation, or what a USING joined.
            _ => meant.peek().is_none() || meant.any(tested),
        }
    }
}

/// `name.*` as its name twice, so that it is taken for a qualified column.
fn qualifiers(column_ref: &Value) -> Option<Vec<&str>> {
    let (_star, names) = items(column_ref, "fields").split_last()?;
    let names: Vec<&str> =
        names.iter().filter_map(|n| n.pointer("/node/String/sval").and_then(Value::as_str)).collect();
    let last = *names.last()?;
    Some(names.into_iter().chain([last]).collect())
}

fn is_false(value: &Value) -> bool {
    value.pointer("/node/AConst/val/Boolval/boolval").is_some_and(|b| b == false)
}

fn is_null(value: &Value) -> bool {
    value.pointer("/node/AConst/isnull").is_some_and(|b| b == true)
}

/// A test, and what it may be otherwise: `own OR null`.
fn alternatives(test: &Value) -> (&Value, Option<&Value>) {
    /// `BoolExprType::OrExpr`
    const OR: i64 = 2;
    match node(test) {
        Some(("BoolExpr", or)) if number(or, "boolop") == OR => match items(or, "args") {
            [own, null] => (own, Some(null)),
            _ => (test, None),
        },
        Some(_) | None => (test, None),
    }
}

/// The relation of `relation.* IS NULL`.
fn whole_row_null(test: &Value) -> Option<&str> {
    /// `NullTestType::IsNull`
    const IS_NULL: i64 = 1;
    let test = node_of(test, "NullTest").filter(|test| number(test, "nulltesttype") == IS_NULL)?;
    let column = node_of(field(test, "arg"), "ColumnRef")?;
    strings(column, "fields").is_none().then(|| qualifiers(column))??.last().copied()
}

fn is_count(test: &Value) -> bool {
    let Some(("AExpr", expr)) = node(test) else { return false };
    let Some(("FuncCall", call)) = node(field(expr, "lexpr")) else { return false };
    strings(call, "funcname").is_some_and(|name| name == ["pg_catalog", "count"])
        && field(call, "agg_star") == true
        && strings(expr, "name").is_some_and(|name| name == ["pg_catalog", ">="])
}

/// A plain condition, an EXISTS, NOT EXISTS or IN, which become joins, or a comparison with a query that is evaluated late.
fn may_stand_beside(policy: &Policy, conjunct: &Value) -> bool {
    match node(conjunct) {
        Some(("SubLink", link)) => becomes_join(policy, link),
        Some(("BoolExpr", not)) if number(not, "boolop") == NOT && is_exists(items(not, "args")) => true,
        Some(("AExpr", expr)) => comparison(policy, expr, &|side| is_plain(policy, side) || is_late(policy, side)),
        Some(_) | None => is_plain(policy, conjunct),
    }
}

/// `BoolExprType::NotExpr`
const NOT: i64 = 3;

/// `SubLinkType`s
mod sublink {
    pub const EXISTS: i64 = 1;
    pub const ANY: i64 = 3;
    pub const EXPR: i64 = 5;
}

/// The query is a level of its own; of this level it looks at what it is compared with.
fn becomes_join(policy: &Policy, link: &Value) -> bool {
    match number(link, "sub_link_type") {
        sublink::EXISTS => true,
        sublink::ANY => is_plain(policy, field(link, "testexpr")),
        _ => false,
    }
}

fn is_exists(args: &[Value]) -> bool {
    let exists = |arg: &Value| node_of(arg, "SubLink").is_some_and(|l| number(l, "sub_link_type") == sublink::EXISTS);
    !args.is_empty() && args.iter().all(exists)
}

/// `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT ...) END`: the call makes it dearer than the predicate. Or a
/// row of such and of plain values.
fn is_late(policy: &Policy, side: &Value) -> bool {
    match node(side) {
        Some(("RowExpr", row)) => items(row, "args").iter().all(|v| is_plain(policy, v) || is_late(policy, v)),
        Some(("CaseExpr", case)) => {
            let [when] = items(case, "args") else { return false };
            let Some(when) = node_of(when, "CaseWhen") else { return false };
            let call = node_of(field(when, "expr"), "NullTest").and_then(|t| node_of(field(t, "arg"), "FuncCall"));
            let query = node_of(field(case, "defresult"), "SubLink");
            field(case, "arg").is_null()
                && call.is_some_and(|c| strings(c, "funcname").is_some_and(|name| name == ["pg_catalog", "now"]))
                && is_null(field(when, "result"))
                && query.is_some_and(|q| number(q, "sub_link_type") == sublink::EXPR)
        }
        Some(_) | None => false,
    }
}

/// An operator of which a leakproof one exists, between such sides.
fn comparison(policy: &Policy, expr: &Value, side: &dyn Fn(&Value) -> bool) -> bool {
    let operands = [field(expr, "lexpr"), field(expr, "rexpr")];
    is_leakproof(policy, expr) && operands.into_iter().all(|o| o.is_null() || side(o))
}

/// Columns, constants, parameters, NULL tests, and operators of which a leakproof one exists, joined by AND, OR and NOT.
fn is_plain(policy: &Policy, value: &Value) -> bool {
    let plain = |value: &Value| is_plain(policy, value);
    match node(value) {
        Some(("ColumnRef" | "ParamRef" | "AConst" | "SqlvalueFunction", _)) => true,
        Some(("BoolExpr", expr)) => items(expr, "args").iter().all(plain),
        Some(("NullTest" | "BooleanTest", test)) => plain(field(test, "arg")),
        Some(("RowExpr", row)) => items(row, "args").iter().all(plain),
        Some(("List", list)) => items(list, "items").iter().all(plain),
        Some(("AArrayExpr", array)) => items(array, "elements").iter().all(is_constant),
        // A cast of a constant: the planner folds it before any row is read.
        Some(("TypeCast", cast)) => is_constant(field(cast, "arg")),
        Some(("AExpr", expr)) => comparison(policy, expr, &plain),
        Some(_) | None => false,
    }
}

fn is_constant(value: &Value) -> bool {
    match node(value) {
        Some(("AConst" | "ParamRef", _)) => true,
        Some(("TypeCast", cast)) => is_constant(field(cast, "arg")),
        Some(("AArrayExpr", array)) => items(array, "elements").iter().all(is_constant),
        Some(_) | None => false,
    }
}

/// `A_Expr_Kind`s that call the named operator and nothing else: `op`, `op ANY`, `op ALL`, IS [NOT] DISTINCT FROM, IN.
const COMPARISONS: [i64; 6] = [1, 2, 3, 4, 5, 7];
/// ... and BETWEEN, NOT BETWEEN, which call `<=` and `>=`.
const RANGES: [i64; 2] = [11, 12];

fn is_leakproof(policy: &Policy, expr: &Value) -> bool {
    let kind = number(expr, "kind");
    let leakproof = |name: &str| policy.catalog.operators.get(name).is_some_and(|all| all.iter().any(|o| o.leakproof));
    if RANGES.contains(&kind) {
        return leakproof("<=") && leakproof(">=");
    }
    match strings(expr, "name").as_deref() {
        Some(["pg_catalog", name] | [name]) => COMPARISONS.contains(&kind) && leakproof(name),
        _ => false,
    }
}
