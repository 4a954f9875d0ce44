//! The split guard: what runs before the tenant predicate must not be able to tell what it saw.
//!
//! The planner orders the conjuncts of a scan by cost, whatever their order in the text. So of the conditions that look at
//! a tenant relation only plain ones (columns, constants and leakproof operators) may stand beside its predicate; the
//! others must be inside a CASE whose condition is the tenant predicate. Subqueries are levels of their own, with their own
//! predicates: what is inside them is not looked at here. What looks at no tenant relation by name, but at what is derived
//! from one (see [`super::derived`]), must be inside a CASE as well, on a predicate or on `(SELECT true)`.

use serde_json::Value;

use super::derived::Derived;
use super::plain::{may_stand_beside, sublink};
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{conjuncts, field, is_null, items, node, node_of, number, strings, text};
use super::{Outcome, Verifier};
use crate::guard::policy::TenantTable;

/// What holds values of others at one query level, as its conditions may name it.
#[derive(Clone, Default)]
pub(super) struct Level<'v, 'p> {
    relations: Vec<Seen<'v, 'p>>,
    pub(super) derived: Vec<Derived<'v>>,
    /// Names of all its items.
    names: Vec<&'v str>,
    /// Its joins, inner ones first.
    joins: Vec<JoinRange>,
}

/// Which items of a level stand in a join. The three lists of a level are filled from left to right.
#[derive(Clone, Copy)]
struct JoinRange {
    /// The join, by its place in memory.
    join: *const Value,
    start: [usize; 3],
    end: [usize; 3],
}

/// A tenant relation of a level.
#[derive(Clone)]
struct Seen<'v, 'p> {
    reference: Reference<'v>,
    columns: Vec<&'p str>,
    table: &'p TenantTable,
}

impl<'p> Verifier<'p> {
    /// The tenant relations among FROM items, joins included, and what is derived from such.
    pub(super) fn level<'v>(&self, from: impl IntoIterator<Item = &'v Value>, scope: &Scope<'v, 'p>) -> Level<'v, 'p> {
        let mut level = Level::default();
        from.into_iter().for_each(|item| self.collect(item, &mut level, scope));
        level
    }

    fn collect<'v>(&self, item: &'v Value, level: &mut Level<'v, 'p>, scope: &Scope<'v, 'p>) {
        match node(item) {
            Some(("RangeVar", fields)) => self.collect_relation(fields, level, scope),
            Some(("JoinExpr", fields)) => self.collect_join(fields, level, scope),
            Some(("RangeTableSample", fields)) => self.collect(field(fields, "relation"), level, scope),
            Some(("RangeSubselect", fields)) => {
                level.names.push(text(field(fields, "alias"), "aliasname"));
                let derived = self.subselect(fields, scope);
                level.derived.extend(derived.or_else(|| level.lateral(fields)));
            }
            Some(("RangeFunction", fields)) => {
                level.names.push(text(field(fields, "alias"), "aliasname"));
                level.derived.extend(self.function(fields));
            }
            Some((_, fields)) => level.names.push(text(field(fields, "alias"), "aliasname")),
            // The target of an UPDATE or DELETE stands in its field without a node around it.
            None if item.get("relname").is_some() => self.collect_relation(item, level, scope),
            None => {}
        }
    }

    fn collect_join<'v>(&self, join: &'v Value, level: &mut Level<'v, 'p>, scope: &Scope<'v, 'p>) {
        let start = level.ends();
        ["larg", "rarg"].iter().for_each(|arm| self.collect(field(join, arm), level, scope));
        let range = JoinRange { join: std::ptr::from_ref(join), start, end: level.ends() };
        let inside = level.within(&range);
        level.joins.push(range);
        let private = !(inside.relations.is_empty() && inside.derived.is_empty());
        let open = !inside.relations.is_empty() || inside.derived.iter().any(|derived| derived.open);
        for alias in ["alias", "join_using_alias"].map(|name| field(join, name)) {
            if !alias.is_null() {
                level.names.push(text(alias, "aliasname"));
                level.derived.extend(private.then(|| Derived::join(alias, open)));
            }
        }
    }

    fn collect_relation<'v>(&self, range_var: &'v Value, level: &mut Level<'v, 'p>, scope: &Scope<'v, 'p>) {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        let alias = text(field(range_var, "alias"), "aliasname");
        level.names.push(if alias.is_empty() { name } else { alias });
        if let Some(cte) = scope.cte(name).filter(|_| schema.is_empty()) {
            level.derived.extend(self.cte_reference(range_var, cte));
        } else if let (Some(table), Some(reference)) = (self.any_tenant_table(schema, name), Reference::of(range_var)) {
            let columns = self.relation(schema, name).map(|r| r.columns.iter().map(|c| c.name.as_str()).collect());
            level.relations.push(Seen { reference, columns: columns.unwrap_or_default(), table });
        }
    }

    /// The conjuncts of a WHERE, ON or HAVING at a level.
    pub(super) fn no_leaks(&self, conjuncts: &[&Value], level: &Level<'_, '_>, scope: &Scope<'_, '_>) -> Outcome {
        conjuncts.iter().try_for_each(|conjunct| {
            let kind = node(conjunct).map_or("unknown", |n| n.0);
            if self.predicates.is_any_predicate(conjunct) {
                return Ok(());
            }
            if may_stand_beside(self.policy, conjunct) {
                return match level.is_moved_by(conjunct) {
                    true => Err(format!("a condition of kind {kind} may be moved beside the tenant predicate")),
                    false => Ok(()),
                };
            }
            if level.is_looked_at_by(conjunct)
                && !self.is_guard(conjunct, level)
                && !self.is_equality_of_own_values(conjunct, level)
            {
                return Err(format!("a condition of kind {kind} runs beside the tenant predicate"));
            }
            if level.is_near(conjunct, scope) && !self.is_shielded(conjunct, level, scope) {
                return Err(format!("a condition of kind {kind} may be tried on values of others"));
            }
            Ok(())
        })
    }

    /// A condition, or the sides of the equality of a FULL JOIN, behind a CASE that the planner does not look into.
    fn is_shielded(&self, conjunct: &Value, level: &Level<'_, '_>, scope: &Scope<'_, '_>) -> bool {
        let shields = |value: &Value, otherwise| self.is_shield(value, level, scope, otherwise);
        let of_equality = |side: &Value| !level.is_near(side, scope) || shields(side, is_null);
        shields(conjunct, is_false) || equality(conjunct).is_some_and(|sides| sides.into_iter().all(of_equality))
    }

    /// `CASE WHEN (SELECT true) THEN ... ELSE false END`, where what the result looks at is fenced; or a CASE on predicates,
    /// of what is not fenced too.
    fn is_shield(
        &self,
        value: &Value,
        level: &Level<'_, '_>,
        scope: &Scope<'_, '_>,
        otherwise: fn(&Value) -> bool,
    ) -> bool {
        let Some((tests, result)) = case_of(value, otherwise) else { return false };
        let predicates = |qualifier: &str| {
            tests
                .iter()
                .any(|test| is_count(test) || self.predicates.qualifier(alternatives(test).0) == Some(qualifier))
        };
        let own = |test: &&Value| self.is_own_row(test) || is_count(test) || is_query_of_true(test);
        let levels = || std::iter::once(level).chain(&scope.around);
        let moved = levels().flat_map(|level| &level.derived).any(|derived| {
            let named = |parts: &[&str]| parts.len() > 1 && parts.first() == Some(&derived.name);
            derived.open && !predicates(derived.name) && level.any_column(result, &named)
        });
        !tests.is_empty() && tests.iter().all(own) && !moved
    }

    /// `CASE WHEN <tenant predicates> THEN ... ELSE false END`; in HAVING also `CASE WHEN count(*) >= 0 ...`: an aggregate
    /// cannot run before WHERE.
    fn is_guard(&self, conjunct: &Value, level: &Level<'_, '_>) -> bool {
        self.is_case_of_own_rows(conjunct, level, is_false)
    }

    /// `CASE WHEN <tenant predicates> THEN a ELSE NULL END = CASE ... END`, in the ON of a FULL JOIN; a side that looks at no
    /// tenant relation stands as it is.
    fn is_equality_of_own_values(&self, conjunct: &Value, level: &Level<'_, '_>) -> bool {
        equality(conjunct).is_some_and(|sides| {
            sides.iter().all(|value| !level.is_looked_at_by(value) || self.is_case_of_own_rows(value, level, is_null))
        })
    }

    /// The tests are of the relations that the result looks at.
    fn is_case_of_own_rows(&self, value: &Value, level: &Level<'_, '_>, otherwise: fn(&Value) -> bool) -> bool {
        let Some((tests, result)) = case_of(value, otherwise) else { return false };
        let own = |test: &&Value| self.is_own_row(test) || is_count(test);
        let tested = |seen: &Seen<'_, '_>| tests.iter().any(|test| is_count(test) || self.is_own_row_of(test, seen));
        !tests.is_empty() && tests.iter().all(own) && level.is_covered(result, &tested)
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

impl<'v, 'p> Level<'v, 'p> {
    /// What the ON of a join can name: the items in it.
    pub(super) fn of_join(&self, join: &Value) -> Level<'v, 'p> {
        let range = self.joins.iter().find(|range| std::ptr::eq(range.join, join));
        range.map_or_else(|| self.clone(), |range| self.within(range))
    }

    fn within(&self, range: &JoinRange) -> Level<'v, 'p> {
        let ([r0, d0, n0], [r1, d1, n1]) = (range.start, range.end);
        Level {
            relations: self.relations.get(r0..r1).unwrap_or_default().to_vec(),
            derived: self.derived.get(d0..d1).unwrap_or_default().to_vec(),
            names: self.names.get(n0..n1).unwrap_or_default().to_vec(),
            joins: Vec::new(),
        }
    }

    fn ends(&self) -> [usize; 3] {
        [self.relations.len(), self.derived.len(), self.names.len()]
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

    /// Whether a condition names a column where something derived stands, or something of a level around that holds values
    /// of others.
    fn is_near(&self, value: &Value, scope: &Scope<'_, '_>) -> bool {
        self.any_column(value, &|parts| match parts {
            // `s.t.x`: a relation, and no alias.
            [_, qualifier, _] | [qualifier, _] if self.names.contains(qualifier) => self.is_derived(qualifier),
            [_, qualifier, _] | [qualifier, _] => scope.around.iter().any(|level| level.is_private(qualifier)),
            // A bare name, or a star, may be a column of anything.
            _ => !self.derived.is_empty(),
        })
    }

    /// Whether any column of a tenant relation, or of something derived, is named, in subqueries too.
    pub(super) fn is_named_in(&self, value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.is_named_in(item)),
            Value::Object(fields) => match node(value) {
                Some(("ColumnRef", column)) => self.holds(column) || self.is_near_column(column),
                Some((_, inner)) => self.is_named_in(inner),
                None => fields.values().any(|field| self.is_named_in(field)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    /// Whether a column reference names something derived.
    fn is_near_column(&self, column: &Value) -> bool {
        let parts = strings(column, "fields").or_else(|| qualifiers(column)).unwrap_or_default();
        matches!(parts.as_slice(), [_, qualifier, _] | [qualifier, _] if self.is_derived(qualifier))
    }

    fn is_derived(&self, name: &str) -> bool {
        self.derived.iter().any(|derived| derived.name == name)
    }

    fn is_private(&self, name: &str) -> bool {
        self.is_derived(name) || self.relations.iter().any(|r| r.reference.is(name))
    }

    /// Whether any column that an expression names, outside of its subqueries, passes a test of the name's parts.
    pub(super) fn any_column(&self, value: &Value, test: &dyn Fn(&[&str]) -> bool) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.any_column(item, test)),
            Value::Object(fields) => match node(value) {
                Some(("ColumnRef", column)) => {
                    test(&strings(column, "fields").or_else(|| qualifiers(column)).unwrap_or_default())
                }
                Some(("SelectStmt", _)) => false,
                Some((_, inner)) => self.any_column(inner, test),
                None => fields.values().any(|field| self.any_column(field, test)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
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

/// The tests and the result of `CASE WHEN <tests> THEN <result> ELSE <otherwise> END`.
fn case_of(value: &Value, otherwise: fn(&Value) -> bool) -> Option<(Vec<&Value>, &Value)> {
    let case = node_of(value, "CaseExpr")?;
    let [when] = items(case, "args") else { return None };
    let when = node_of(when, "CaseWhen")?;
    let simple = field(case, "arg").is_null() && otherwise(field(case, "defresult"));
    simple.then(|| (conjuncts(field(when, "expr")), field(when, "result")))
}

/// The sides of `a = b`.
fn equality(conjunct: &Value) -> Option<[&Value; 2]> {
    /// `A_Expr_Kind::AEXPR_OP`: not `= ANY`, whose right side is a list.
    const OPERATOR: i64 = 1;
    let equality = node_of(conjunct, "AExpr").filter(|e| number(e, "kind") == OPERATOR)?;
    let named = strings(equality, "name").is_some_and(|name| name == ["="]);
    named.then(|| ["lexpr", "rexpr"].map(|side| field(equality, side)))
}

/// `(SELECT true)`
fn is_query_of_true(test: &Value) -> bool {
    let Some(link) = node_of(test, "SubLink").filter(|link| number(link, "sub_link_type") == sublink::EXPR) else {
        return false;
    };
    let Some(select) = node_of(field(link, "subselect"), "SelectStmt") else { return false };
    let [target] = items(select, "target_list") else { return false };
    let value = field(node_of(target, "ResTarget").unwrap_or(&Value::Null), "val");
    let alone = ["from_clause", "values_lists"].iter().all(|list| items(select, list).is_empty());
    let whole = ["where_clause", "having_clause", "larg", "rarg", "limit_count", "limit_offset"];
    alone
        && whole.iter().all(|part| field(select, part).is_null())
        && value.pointer("/node/AConst/val/Boolval/boolval").is_some_and(|b| b == true)
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
