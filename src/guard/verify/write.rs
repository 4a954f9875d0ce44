//! Statements that write: INSERT, UPDATE, DELETE, MERGE, COPY FROM.

use serde_json::Value;

use super::from::Conditions;
use super::leak::Level;
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{conjuncts, field, items, node, node_of, number, strings, text};
use super::{Outcome, Verifier};
use crate::guard::plan::TenantCheck;
use crate::guard::policy::TenantTable;

/// `OnConflictAction::ONCONFLICT_UPDATE`
const ON_CONFLICT_UPDATE: i64 = 3;
/// `SetOperation::SETOP_NONE`
const SETOP_NONE: i64 = 1;
/// `MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE`
const NOT_MATCHED_BY_SOURCE: i64 = 2;

/// `CmdType`, as far as MERGE has it.
mod command {
    pub const UPDATE: i64 = 3;
    pub const INSERT: i64 = 4;
    pub const DELETE: i64 = 5;
    pub const NOTHING: i64 = 8;
}

impl<'p> Verifier<'p> {
    pub(super) fn insert<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let scope = self.with_clause(fields, scope)?;
        let target = field(fields, "relation");
        if let Some(table) = self.target_table(target) {
            let at = self.column_index(fields, "cols", table)?;
            self.inserted(field(fields, "select_stmt"), at, items(fields, "cols").len(), table)?;
            self.on_conflict(field(fields, "on_conflict_clause"), target, table, &scope)?;
        }
        self.walk_fields(fields, &scope, &["relation", "with_clause"])
    }

    pub(super) fn update<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let scope = self.with_clause(fields, scope)?;
        let level = self.target_level(fields, "from_clause", &scope);
        let conditions = self.target_conditions(fields, &level, &scope)?;
        let inside = scope.within(&level);
        let target = field(fields, "relation");
        if let Some(table) = self.target_table(target) {
            self.assignments(items(fields, "target_list"), target, false, table)?;
        }
        for item in items(fields, "from_clause") {
            self.item_of_from(item, &conditions, &level, &inside)?;
        }
        self.walk(field(fields, "where_clause"), &inside)?;
        self.walk_fields(fields, &scope, &["relation", "from_clause", "where_clause", "with_clause"])
    }

    pub(super) fn delete<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let scope = self.with_clause(fields, scope)?;
        let level = self.target_level(fields, "using_clause", &scope);
        let conditions = self.target_conditions(fields, &level, &scope)?;
        let inside = scope.within(&level);
        for item in items(fields, "using_clause") {
            self.item_of_from(item, &conditions, &level, &inside)?;
        }
        self.walk(field(fields, "where_clause"), &inside)?;
        self.walk_fields(fields, &scope, &["relation", "using_clause", "where_clause", "with_clause"])
    }

    pub(super) fn merge<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let scope = self.with_clause(fields, scope)?;
        let target = field(fields, "relation");
        let source = field(fields, "source_relation");
        let level = self.level([target, source], &scope);
        let on = conjuncts(field(fields, "join_condition"));
        self.no_leaks(&on, &level, &scope)?;
        self.behind_predicate(target, &on)?;
        if let Some(table) = self.target_table(target) {
            for clause in items(fields, "merge_when_clauses").iter().filter_map(|c| node_of(c, "MergeWhenClause")) {
                self.merge_action(clause, target, table, &level, &scope)?;
            }
        }
        // Source rows without a match are kept: ON does not guard them.
        let inside = scope.within(&level);
        self.item_of_from(source, &Conditions::new(), &level, &inside)?;
        self.walk(field(fields, "join_condition"), &inside)?;
        self.walk_fields(fields, &scope, &["relation", "source_relation", "join_condition", "with_clause"])
    }

    /// COPY of a table: into it the stream is rewritten row by row, out of it only a query may be copied.
    pub(super) fn copy<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let target = field(fields, "relation");
        if let Some(table) = self.target_table(target) {
            let into = field(fields, "is_from").as_bool().unwrap_or_default() && text(fields, "filename").is_empty();
            let named = strings(fields, "attlist").is_some_and(|names| names.contains(&table.column.as_str()));
            if !(into && named) {
                return Err("COPY of a tenant table without its tenant column".to_owned());
            }
        }
        self.walk_fields(fields, scope, &["relation"])
    }

    /// The rule of a statement's target. A target is never a CTE.
    fn target_table(&self, target: &Value) -> Option<&TenantTable> {
        self.tenant_table(text(target, "schemaname"), text(target, "relname"))
    }

    fn target_level<'v>(&self, fields: &'v Value, from: &str, scope: &Scope<'v, 'p>) -> Level<'v, 'p> {
        self.level(std::iter::once(field(fields, "relation")).chain(items(fields, from)), scope)
    }

    /// WHERE of an UPDATE or DELETE, with the target behind its predicate there. `WHERE CURRENT OF` points at a row that a
    /// guarded cursor showed.
    fn target_conditions<'v>(
        &self,
        fields: &'v Value,
        level: &Level<'v, 'p>,
        scope: &Scope<'v, 'p>,
    ) -> Result<Conditions<'v>, String> {
        let condition = field(fields, "where_clause");
        let conditions = conjuncts(condition);
        if node_of(condition, "CurrentOfExpr").is_none() {
            self.no_leaks(&conditions, level, scope)?;
            self.behind_predicate(field(fields, "relation"), &conditions)?;
        }
        Ok(conditions)
    }

    /// Position of the tenant column in a column list, which must name it once.
    fn column_index(&self, fields: &Value, list: &str, table: &TenantTable) -> Result<usize, String> {
        let names: Vec<&str> =
            items(fields, list).iter().filter_map(|t| node_of(t, "ResTarget")).map(|t| text(t, "name")).collect();
        let mut at = names.iter().enumerate().filter(|(_, name)| **name == table.column);
        let (Some((i, _)), None) = (at.next(), at.next()) else {
            return Err(format!("an INSERT does not name the tenant column {} once", table.column));
        };
        Ok(i)
    }

    /// Every row of an INSERT's source has the tenant's value in that place.
    fn inserted(&self, source: &Value, at: usize, width: usize, table: &TenantTable) -> Outcome {
        let select = node_of(source, "SelectStmt").ok_or("an INSERT without rows")?;
        if self.gives_own(select, at, width, table) {
            Ok(())
        } else {
            Err("an INSERT does not put the tenant's own value into the tenant column".to_owned())
        }
    }

    fn gives_own(&self, select: &Value, at: usize, width: usize, table: &TenantTable) -> bool {
        if number(select, "op") != SETOP_NONE {
            return ["larg", "rarg"].iter().all(|arm| self.gives_own(field(select, arm), at, width, table));
        }
        let rows = items(select, "values_lists");
        if !rows.is_empty() {
            return rows.iter().all(|row| {
                let row = node_of(row, "List").map_or(&[][..], |list| items(list, "items"));
                let many = row.iter().any(gives_many);
                let value = if many { row.last().filter(|_| at + 1 == width) } else { row.get(at) };
                value.is_some_and(|v| self.is_own(v, table))
            });
        }
        let targets = items(select, "target_list");
        // A star shifts what follows; only the last column can then be told, and the server counts them.
        let star = targets.iter().any(|t| gives_many(field(node_of(t, "ResTarget").unwrap_or(&Value::Null), "val")));
        let target = match star {
            true if at + 1 == width => targets.last(),
            true => None,
            false => targets.get(at),
        };
        let value = target.and_then(|t| node_of(t, "ResTarget")).map(|t| field(t, "val"));
        value.is_some_and(|v| self.is_own(v, table))
    }

    fn on_conflict<'v>(
        &self,
        clause: &'v Value,
        target: &'v Value,
        table: &TenantTable,
        scope: &Scope<'v, 'p>,
    ) -> Outcome {
        if clause.is_null() || number(clause, "action") != ON_CONFLICT_UPDATE {
            return Ok(());
        }
        let conditions = conjuncts(field(clause, "where_clause"));
        self.no_leaks(&conditions, &self.level([target], scope), scope)?;
        self.behind_predicate(target, &conditions)?;
        self.assignments(items(clause, "target_list"), target, true, table)
    }

    fn merge_action<'v>(
        &self,
        clause: &'v Value,
        target: &'v Value,
        table: &TenantTable,
        level: &Level<'v, 'p>,
        scope: &Scope<'v, 'p>,
    ) -> Outcome {
        if number(clause, "match_kind") == NOT_MATCHED_BY_SOURCE {
            let conditions = conjuncts(field(clause, "condition"));
            self.no_leaks(&conditions, level, scope)?;
            self.behind_predicate(target, &conditions)?;
        }
        match number(clause, "command_type") {
            command::INSERT => {
                let at = self.column_index(clause, "target_list", table)?;
                let values = items(clause, "values");
                let last = at + 1 == items(clause, "target_list").len();
                let value = if values.iter().any(gives_many) { values.last().filter(|_| last) } else { values.get(at) };
                let own = value.is_some_and(|v| self.is_own(v, table));
                if own { Ok(()) } else { Err("a MERGE does not insert the tenant's own value".to_owned()) }
            }
            command::UPDATE => self.assignments(items(clause, "target_list"), target, false, table),
            command::DELETE | command::NOTHING => Ok(()),
            other => Err(format!("a MERGE action of kind {other} is not known")),
        }
    }

    /// SET leaves the tenant column alone, or sets it to the tenant's own value.
    /// `excluded`: the row that ON CONFLICT found in the way, which is the tenant's own too, may be meant.
    fn assignments(&self, targets: &[Value], relation: &Value, excluded: bool, table: &TenantTable) -> Outcome {
        let is_itself = |value: &Value| {
            let fields = node_of(value, "ColumnRef").and_then(|c| strings(c, "fields")).unwrap_or_default();
            match fields.as_slice() {
                [column] => *column == table.column,
                [qualifier, column] => {
                    let target = Reference::of(relation).is_some_and(|r| r.is(qualifier));
                    *column == table.column && (target || (excluded && *qualifier == "excluded"))
                }
                _ => false,
            }
        };
        let targets = targets.iter().filter_map(|t| node_of(t, "ResTarget"));
        for target in targets.filter(|t| text(t, "name") == table.column) {
            let value = field(target, "val");
            let value = node_of(value, "MultiAssignRef").map_or(Some(value), multi_assigned);
            if !value.is_some_and(|v| self.is_own(v, table) || is_itself(v)) {
                return Err(format!("an assignment may change the tenant column {}", table.column));
            }
        }
        Ok(())
    }

    /// Whether an expression is the tenant's value: our parameter, or the client's value under a check.
    fn is_own(&self, value: &Value, table: &TenantTable) -> bool {
        let checked = |number: i64| {
            self.checks.iter().any(|check| match check {
                TenantCheck::Param { number: n, .. } => i64::from(*n) == number,
                TenantCheck::Literal { .. } | TenantCheck::Lifted { .. } => false,
            })
        };
        let literal = |value: &str| {
            self.checks.iter().any(|check| match check {
                TenantCheck::Literal { value: v, .. } => **v == *value,
                TenantCheck::Param { .. } | TenantCheck::Lifted { .. } => false,
            })
        };
        match node(value) {
            Some(("ParamRef", param)) => self.predicates.is_value(value, table) || checked(number(param, "number")),
            Some(("AConst", constant)) => constant_text(constant).is_some_and(|text| literal(&text)),
            Some(("TypeCast", cast)) => self.is_own(field(cast, "arg"), table),
            Some(("CaseExpr", case)) => self.is_compared(case, table),
            Some(_) | None => false,
        }
    }

    /// `CASE WHEN x = $n THEN $n ELSE <an error> END`
    fn is_compared(&self, case: &Value, table: &TenantTable) -> bool {
        let [when] = items(case, "args") else { return false };
        let Some(when) = node_of(when, "CaseWhen") else { return false };
        let equal = node_of(field(when, "expr"), "AExpr").is_some_and(|e| {
            strings(e, "name").is_some_and(|name| name == ["pg_catalog", "="])
                && self.predicates.is_value(field(e, "rexpr"), table)
        });
        field(case, "arg").is_null()
            && equal
            && self.predicates.is_value(field(when, "result"), table)
            && always_fails(field(case, "defresult"))
    }
}

/// `*`, `t.*`, `(x).*`
fn gives_many(value: &Value) -> bool {
    let parts = match node(value) {
        Some(("ColumnRef", column)) => items(column, "fields"),
        Some(("AIndirection", indirection)) => items(indirection, "indirection"),
        Some(_) | None => &[],
    };
    parts.iter().any(|part| node_of(part, "AStar").is_some())
}

/// A cast of `pg_catalog.concat(<a sentence>)` to bool, whatever is around it.
fn always_fails(value: &Value) -> bool {
    let Some(cast) = node_of(value, "TypeCast") else { return false };
    let Some(call) = node_of(field(cast, "arg"), "FuncCall") else { return always_fails(field(cast, "arg")) };
    strings(field(cast, "type_name"), "names").is_some_and(|name| name == ["pg_catalog", "bool"])
        && strings(call, "funcname").is_some_and(|name| name == ["pg_catalog", "concat"])
        && matches!(items(call, "args"), [sentence] if node_of(sentence, "AConst").is_some())
}

/// The value of `(a, b) = ROW(x, y)` for one column; `None` where the row is not written out.
fn multi_assigned(multi: &Value) -> Option<&Value> {
    let row = items(node_of(field(multi, "source"), "RowExpr")?, "args");
    if row.iter().any(gives_many) {
        return None;
    }
    row.get(usize::try_from(number(multi, "colno")).ok()?.checked_sub(1)?)
}

fn constant_text(constant: &Value) -> Option<String> {
    let value = field(constant, "val");
    let text = |path: &str| value.pointer(path);
    text("/Sval/sval")
        .or(text("/Fval/fval"))
        .and_then(Value::as_str)
        .map(str::to_owned)
        .or_else(|| text("/Ival/ival").and_then(Value::as_i64).map(|n| n.to_string()))
}
