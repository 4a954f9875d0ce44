//! Statements that write: INSERT, UPDATE, DELETE, MERGE, COPY FROM.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, CmdType, ColumnRef, CopyStmt, DeleteStmt, InsertStmt, MergeMatchKind, MergeStmt, MergeWhenClause,
    MultiAssignRef, Node, OnConflictAction, OnConflictClause, RangeVar, SelectStmt, SetOperation, SubLinkType,
    UpdateStmt, a_const,
};

use super::correlated::{Key, key};
use super::from::Conditions;
use super::level::Level;
use super::parent::has_one_row;
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{conjuncts, is_bool, node, nodes, single_case, strings, target, targets};
use super::trial::Held;
use super::{Outcome, Verifier, may};
use crate::base::Access;
use crate::guard::plan::TenantCheck;
use crate::guard::policy::TenantTable;

impl<'v, 'p> Verifier<'v, 'p> {
    pub(super) fn insert(&self, insert: &'v InsertStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: overriding,
        } = insert;
        let ctes = self.with_clause(with_clause.as_ref(), scope)?;
        let scope = scope.with(&ctes);
        let target = target_of(relation.as_ref())?;
        let changes = on_conflict_clause.as_ref().is_some_and(|it| it.action() != OnConflictAction::OnconflictNothing);
        may(self.policy, target, if changes { Access::Write } else { Access::Insert })?;
        if let Some(table) = self.tenant_table(target) {
            self.keeps_given(*overriding, target)?;
            let at = column_index(cols, table)?;
            self.inserted(node(select_stmt), at, cols.len(), table)?;
            self.on_conflict(on_conflict_clause.as_deref(), key(insert), target, table, &scope)?;
        }
        self.walk_all(&[cols, select_stmt, on_conflict_clause, returning_clause], &scope)
    }

    pub(super) fn update(&self, update: &'v UpdateStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause } = update;
        let ctes = self.with_clause(with_clause.as_ref(), scope)?;
        let scope = scope.with(&ctes);
        let target = target_of(relation.as_ref())?;
        may(self.policy, target, Access::Write)?;
        let level = self.level(key(update), Some(target), nodes(from_clause), &scope);
        let conditions = self.target_conditions(target, node(where_clause), &level, &scope)?;
        let inside = scope.within(&level);
        if let Some(table) = self.tenant_table(target) {
            self.keeps_tenant(target)?;
            self.assignments(target_list, target, false, table)?;
        }
        self.from_clause(from_clause, &conditions, &level, &inside)?;
        self.walk(where_clause, &inside)?;
        self.walk_all(&[target_list, returning_clause], &scope)
    }

    pub(super) fn delete(&self, delete: &'v DeleteStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        let ctes = self.with_clause(with_clause.as_ref(), scope)?;
        let scope = scope.with(&ctes);
        let target = target_of(relation.as_ref())?;
        may(self.policy, target, Access::Write)?;
        let level = self.level(key(delete), Some(target), nodes(using_clause), &scope);
        let conditions = self.target_conditions(target, node(where_clause), &level, &scope)?;
        let inside = scope.within(&level);
        self.from_clause(using_clause, &conditions, &level, &inside)?;
        self.walk(where_clause, &inside)?;
        self.walk(returning_clause, &scope)
    }

    pub(super) fn merge(&self, merge: &'v MergeStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause } =
            merge;
        let ctes = self.with_clause(with_clause.as_ref(), scope)?;
        let scope = scope.with(&ctes);
        let target = target_of(relation.as_ref())?;
        may(self.policy, target, Access::Write)?;
        let level = self.level(key(merge), Some(target), node(source_relation), &scope);
        let on = conjuncts(node(join_condition));
        self.no_leaks(&on, level.items(), &scope, Held::Folded)?;
        self.behind_predicate(target, &on, false)?;
        if let Some(table) = self.tenant_table(target) {
            for clause in merge_when_clauses {
                self.merge_action(when_clause(clause)?, target, table, &level, &scope)?;
            }
        }
        // Source rows without a match are kept: ON does not guard them.
        let inside = scope.within(&level);
        self.field_of_from(source_relation, &Conditions::new(), &level, &inside)?;
        self.walk(join_condition, &inside)?;
        self.walk_all(&[merge_when_clauses, returning_clause], &scope)
    }

    /// COPY of a table: into it the stream is rewritten row by row, out of it only a query may be copied.
    pub(super) fn copy(&self, copy: &'v CopyStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let CopyStmt { relation, query, attlist, is_from, is_program: _, filename, options, where_clause } = copy;
        if let Some(target) = relation.as_ref().filter(|_| *is_from) {
            may(self.policy, target, Access::Insert)?;
        }
        if let Some(table) = relation.as_ref().and_then(|target| self.tenant_table(target)) {
            if table.through.is_some() {
                return Err("COPY into a table that belongs through a foreign key".to_owned());
            }
            let named = strings(attlist).is_some_and(|names| names.contains(&table.column.as_str()));
            if !(*is_from && filename.is_empty() && named) {
                return Err("COPY of a tenant table without its tenant column".to_owned());
            }
        }
        self.walk_all(&[query, attlist, options, where_clause], scope)
    }

    /// WHERE of an UPDATE or DELETE, with the target behind its predicate there. `WHERE CURRENT OF` points at a row that a
    /// guarded cursor showed.
    fn target_conditions(
        &self,
        target: &RangeVar,
        condition: Option<&'v NodeEnum>,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Result<Conditions<'v>, String> {
        let conditions = conjuncts(condition);
        if !matches!(condition, Some(NodeEnum::CurrentOfExpr(_))) {
            self.no_leaks(&conditions, level.items(), scope, Held::Once)?;
            self.behind_predicate(target, &conditions, false)?;
        } else if self.tenant_table(target).is_some_and(|table| table.null_is_shared) {
            return Err(format!("WHERE CURRENT OF may point at rows of {} that are everybody's", target.relname));
        }
        Ok(conditions)
    }

    /// Every row of an INSERT's source has the tenant's value in that place.
    fn inserted(&self, source: Option<&NodeEnum>, at: usize, width: usize, table: &TenantTable) -> Outcome {
        let Some(NodeEnum::SelectStmt(select)) = source else { return Err("an INSERT without rows".to_owned()) };
        if self.gives_own(select, at, width, table) {
            Ok(())
        } else {
            Err("an INSERT does not put the tenant's own value into the tenant column".to_owned())
        }
    }

    fn gives_own(&self, select: &SelectStmt, at: usize, width: usize, table: &TenantTable) -> bool {
        if select.op() != SetOperation::SetopNone {
            let own = |arm: &SelectStmt| self.gives_own(arm, at, width, table);
            return [&select.larg, &select.rarg].into_iter().all(|arm| arm.as_deref().is_some_and(own));
        }
        if !select.values_lists.is_empty() {
            return select.values_lists.iter().all(|row| match row.node.as_ref() {
                Some(NodeEnum::List(row)) => self.is_own(value_at(&row.items, at, width), table),
                _ => false,
            });
        }
        // A star shifts what follows; only the last column can then be told, and the server counts them.
        let targets = &select.target_list;
        let star = targets.iter().any(|item| target_value(item).is_some_and(gives_many));
        let item = match star {
            true if at + 1 == width => targets.last(),
            true => None,
            false => targets.get(at),
        };
        self.is_own(item.and_then(target_value), table)
    }

    fn on_conflict(
        &self,
        clause: Option<&'v OnConflictClause>,
        statement: Key,
        target: &'v RangeVar,
        table: &TenantTable,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        let Some(clause) = clause else { return Ok(()) };
        match clause.action() {
            OnConflictAction::OnconflictNothing => Ok(()),
            OnConflictAction::OnconflictUpdate => {
                self.keeps_tenant(target)?;
                let conditions = conjuncts(node(&clause.where_clause));
                let level = self.level(statement, Some(target), None, scope);
                let judged = |condition: &&NodeEnum| !self.fails_for_others(condition, target, table);
                let conditions: Vec<_> = conditions.into_iter().filter(judged).collect();
                self.no_leaks(&conditions, level.items(), scope, Held::Folded)?;
                self.behind_predicate(target, &conditions, false)?;
                self.assignments(&clause.target_list, target, true, table)
            }
            other @ (OnConflictAction::Undefined | OnConflictAction::OnconflictNone) => {
                Err(format!("ON CONFLICT with {} is not known", other.as_str_name()))
            }
        }
    }

    /// `CASE WHEN <predicate of the target> THEN true ELSE <an error> END`: it tells that a row in the way is another's, which
    /// the same INSERT without ON CONFLICT tells.
    fn fails_for_others(&self, condition: &NodeEnum, target: &RangeVar, table: &TenantTable) -> bool {
        let Some((when, otherwise)) = single_case(condition) else { return false };
        let own = node(&when.expr).zip(Reference::of(target));
        own.is_some_and(|(test, target)| self.predicates.is_predicate(test, target, table, false))
            && is_bool(node(&when.result), true)
            && otherwise.is_some_and(always_fails)
    }

    fn merge_action(
        &self,
        clause: &'v MergeWhenClause,
        target: &'v RangeVar,
        table: &TenantTable,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        match clause.match_kind() {
            MergeMatchKind::MergeWhenMatched | MergeMatchKind::MergeWhenNotMatchedByTarget => {}
            MergeMatchKind::MergeWhenNotMatchedBySource => {
                let conditions = conjuncts(node(&clause.condition));
                self.no_leaks(&conditions, level.items(), scope, Held::Folded)?;
                self.behind_predicate(target, &conditions, false)?;
            }
            MergeMatchKind::Undefined => return Err("a MERGE branch of an unknown kind".to_owned()),
        }
        match clause.command_type() {
            CmdType::CmdInsert => {
                self.keeps_given(clause.r#override, target)?;
                let at = column_index(&clause.target_list, table)?;
                let value = value_at(&clause.values, at, clause.target_list.len());
                let own = self.is_own(value, table);
                if own { Ok(()) } else { Err("a MERGE does not insert the tenant's own value".to_owned()) }
            }
            CmdType::CmdUpdate => {
                self.keeps_tenant(target)?;
                self.assignments(&clause.target_list, target, false, table)
            }
            CmdType::CmdDelete | CmdType::CmdNothing => Ok(()),
            other @ (CmdType::Undefined
            | CmdType::CmdUnknown
            | CmdType::CmdSelect
            | CmdType::CmdMerge
            | CmdType::CmdUtility) => Err(format!("a MERGE action of kind {} is not known", other.as_str_name())),
        }
    }

    /// SET leaves the tenant column alone, or sets it to the tenant's own value.
    /// `excluded`: the row that ON CONFLICT found in the way, which is the tenant's own too, may be meant.
    fn assignments(&self, list: &[Node], relation: &RangeVar, excluded: bool, table: &TenantTable) -> Outcome {
        let is_itself = |column: &ColumnRef| match strings(&column.fields).as_deref() {
            Some([column]) => *column == table.column,
            Some([qualifier, column]) => {
                let target = Reference::of(relation).is_some_and(|r| r.is(qualifier));
                *column == table.column && (target || (excluded && *qualifier == "excluded"))
            }
            _ => false,
        };
        for assigned in targets(list).filter(|target| target.name == table.column) {
            let value = match node(&assigned.val) {
                Some(NodeEnum::MultiAssignRef(multi)) => multi_assigned(multi),
                value => value,
            };
            let itself = matches!(value, Some(NodeEnum::ColumnRef(column)) if is_itself(column));
            if !itself && !self.is_own(value, table) {
                return Err(format!("an assignment may change the tenant column {}", table.column));
            }
        }
        Ok(())
    }

    /// Whether an expression is the tenant's value: our parameter, or the client's value under a check.
    fn is_own(&self, value: Option<&NodeEnum>, table: &TenantTable) -> bool {
        let checked = |number: i32| {
            self.checks.iter().any(|check| match check {
                TenantCheck::Param { number: n, .. } => i32::from(*n) == number,
                TenantCheck::Literal { .. } | TenantCheck::Lifted { .. } => false,
            })
        };
        let literal = |value: &str| {
            self.checks.iter().any(|check| match check {
                TenantCheck::Literal { value: v, .. } => **v == *value,
                TenantCheck::Param { .. } | TenantCheck::Lifted { .. } => false,
            })
        };
        if table.through.is_some() {
            return value.is_some_and(|value| self.leads_to_parent(value, table));
        }
        match value {
            Some(NodeEnum::ParamRef(param)) => self.predicates.is_value(value, table) || checked(param.number),
            Some(NodeEnum::AConst(constant)) => constant_text(constant).is_some_and(|text| literal(&text)),
            Some(NodeEnum::TypeCast(cast)) => self.is_own(node(&cast.arg), table),
            Some(case @ NodeEnum::CaseExpr(_)) => self.is_compared(case, table),
            _ => false,
        }
    }

    /// A value that leads to a row of the tenant's, or is an error.
    fn leads_to_parent(&self, value: &NodeEnum, table: &TenantTable) -> bool {
        let value = match value {
            NodeEnum::SubLink(link) if link.sub_link_type() == SubLinkType::ExprSublink => {
                match node(&link.subselect) {
                    Some(NodeEnum::SelectStmt(select)) if has_one_row(select) => match select.target_list.as_slice() {
                        [only] => target_value(only),
                        _ => None,
                    },
                    Some(_) | None => None,
                }
            }
            value => Some(value),
        };
        value.is_some_and(|value| self.predicates.is_checked_parent(value, table, always_fails))
    }

    /// `CASE WHEN x = $n THEN $n ELSE <an error> END`
    fn is_compared(&self, case: &NodeEnum, table: &TenantTable) -> bool {
        let Some((when, otherwise)) = single_case(case) else { return false };
        let Some(NodeEnum::AExpr(test)) = node(&when.expr) else { return false };
        strings(&test.name).is_some_and(|name| name == ["pg_catalog", "="])
            && self.predicates.is_value(node(&test.rexpr), table)
            && self.predicates.is_value(node(&when.result), table)
            && otherwise.is_some_and(always_fails)
    }
}

/// A statement's target, which is never a CTE.
fn target_of(relation: Option<&RangeVar>) -> Result<&RangeVar, String> {
    relation.ok_or_else(|| "a statement that writes nowhere".to_owned())
}

fn when_clause(item: &Node) -> Result<&MergeWhenClause, String> {
    match item.node.as_ref() {
        Some(NodeEnum::MergeWhenClause(clause)) => Ok(clause),
        _ => Err("a MERGE branch of an unknown kind".to_owned()),
    }
}

pub(super) fn target_value(item: &Node) -> Option<&NodeEnum> {
    node(&target(item.node.as_ref()?)?.val)
}

/// Position of the tenant column in a column list, which must name it once.
fn column_index(list: &[Node], table: &TenantTable) -> Result<usize, String> {
    let named = |item: &&Node| item.node.as_ref().and_then(target).is_some_and(|target| target.name == table.column);
    let mut at = list.iter().enumerate().filter(|(_, item)| named(item));
    let (Some((i, _)), None) = (at.next(), at.next()) else {
        return Err(format!("an INSERT does not name the tenant column {} once", table.column));
    };
    Ok(i)
}

/// The value for a column in a row of values. What gives many shifts those behind it: only the last can then be told.
fn value_at(row: &[Node], at: usize, width: usize) -> Option<&NodeEnum> {
    let many = nodes(row).any(gives_many);
    let value = if many { row.last().filter(|_| at + 1 == width) } else { row.get(at) };
    value.and_then(|value| value.node.as_ref())
}

/// `*`, `t.*`, `(x).*`
pub(super) fn gives_many(value: &NodeEnum) -> bool {
    let parts = match value {
        NodeEnum::ColumnRef(column) => &column.fields,
        NodeEnum::AIndirection(indirection) => &indirection.indirection,
        _ => return false,
    };
    nodes(parts).any(|part| matches!(part, NodeEnum::AStar(_)))
}

/// A cast of `pg_catalog.concat(<a sentence>)` to bool, whatever is around it.
fn always_fails(value: &NodeEnum) -> bool {
    let NodeEnum::TypeCast(cast) = value else { return false };
    let Some(inner) = node(&cast.arg) else { return false };
    let NodeEnum::FuncCall(call) = inner else { return always_fails(inner) };
    let to_bool = cast.type_name.as_ref().and_then(|name| strings(&name.names));
    to_bool.is_some_and(|name| name == ["pg_catalog", "bool"])
        && strings(&call.funcname).is_some_and(|name| name == ["pg_catalog", "concat"])
        && matches!(call.args.as_slice(), [Node { node: Some(NodeEnum::AConst(_)) }])
}

/// The value of `(a, b) = ROW(x, y)` for one column, or of `(a, b) = (SELECT x, y ...)` where that has a row for certain;
/// `None` where it cannot be told.
fn multi_assigned(multi: &MultiAssignRef) -> Option<&NodeEnum> {
    let at = usize::try_from(multi.colno).ok()?.checked_sub(1)?;
    match node(&multi.source)? {
        NodeEnum::RowExpr(row) if !nodes(&row.args).any(gives_many) => row.args.get(at)?.node.as_ref(),
        NodeEnum::SubLink(link) if link.sub_link_type() == SubLinkType::ExprSublink => match node(&link.subselect)? {
            NodeEnum::SelectStmt(select) if has_one_row(select) => target_value(select.target_list.get(at)?),
            _ => None,
        },
        _ => None,
    }
}

fn constant_text(constant: &AConst) -> Option<String> {
    match constant.val.as_ref()? {
        a_const::Val::Sval(text) => Some(text.sval.clone()),
        a_const::Val::Fval(number) => Some(number.fval.clone()),
        a_const::Val::Ival(number) => Some(number.ival.to_string()),
        a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
    }
}
