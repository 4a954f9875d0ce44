//! Walks UPDATE and DELETE, and what all writing statements share: the target and RETURNING.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeleteStmt, Node, OverridingKind, RangeVar, ReturningClause, ReturningOption, UpdateStmt};

use super::from::{Place, alias_of};
use super::outputs::of_targets;
use super::scope::{Guard, Level, Output};
use super::trial::Held;
use super::{Rewriter, unsupported};
use crate::base::{Access, OWN_VALUE_ONLY, Refusal, RefusalKind, SqlState};
use crate::catalog::{Generated, Identity, Relation};
use crate::guard::TenantTable;
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::relations::Resolved;
use crate::guard::gate::temporary;

/// What a statement writes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'p> {
    Tenant(&'p TenantTable, &'p Relation),
    /// A tenant table that the server's policies guard: what is written must only name the tenant.
    Policed(&'p TenantTable, &'p Relation),
    /// No tenant table: the tenant's own schema or database, or a shared table that it may write to.
    Free,
}

impl<'p> Target<'p> {
    pub(super) fn table(&self) -> Option<&'p TenantTable> {
        match self {
            Target::Tenant(table, _) => Some(table),
            // A key that leads to no own row is the error that it is without policies.
            Target::Policed(table, _) if table.through.is_some() => Some(table),
            Target::Policed(..) | Target::Free => None,
        }
    }

    /// Values that are given must be those that are stored: OVERRIDING USER VALUE draws the next of a sequence for an identity
    /// column. Which columns of a view are such is not seen.
    ///
    /// # Errors
    /// 42501 if the tenant column is one, or may be.
    pub(super) fn keeps_given(self, overriding: i32) -> Result<(), Refusal> {
        let (Target::Tenant(table, found) | Target::Policed(table, found)) = self else { return Ok(()) };
        let given = found.column(&table.column).is_some_and(|column| column.identity == Identity::No);
        let user = OverridingKind::try_from(overriding) == Ok(OverridingKind::OverridingUserValue);
        if !user || (given && found.kind.is_table()) {
            return Ok(());
        }
        Err(own_value_only(table, found, "and OVERRIDING USER VALUE would draw another")
            .hint("Leave OVERRIDING USER VALUE out: pgwarden gives the column the tenant's value."))
    }

    /// A row that is changed stays the tenant's: a tenant column that is generated follows from others.
    ///
    /// # Errors
    /// 42501 if it is generated, and no policy looks at the new row.
    pub(super) fn keeps_tenant(self) -> Result<(), Refusal> {
        match self {
            Target::Tenant(table, found)
                if found.column(&table.column).is_some_and(|column| column.generated != Generated::No) =>
            {
                Err(own_value_only(table, found, "and is generated from columns that an UPDATE could change")
                    .hint("Delete the row and insert another, or have an operator change it."))
            }
            Target::Tenant(..) | Target::Policed(..) | Target::Free => Ok(()),
        }
    }
}

fn own_value_only(table: &TenantTable, found: &Relation, why: &str) -> Refusal {
    let message = format!("column \"{}\" {OWN_VALUE_ONLY}, {why}", table.column);
    Refusal::new(RefusalKind::ForeignTenant, SqlState::INSUFFICIENT_PRIVILEGE, message).about(&found.name)
}

impl<'p> Rewriter<'p> {
    /// Resolves the target, which is never a common table expression, and makes it item 0 of a new level.
    pub(super) fn open_target(
        &mut self,
        relation: &mut Option<RangeVar>,
        wanted: Access,
    ) -> Result<Target<'p>, Refusal> {
        let Some(relation) = relation.as_mut() else { return Err(unsupported("a statement without a target")) };
        let resolved = self.resolve(relation)?;
        self.levels.push(Level::default());
        match resolved {
            Resolved::Tenant(table, found) | Resolved::Policed(table, found) if table.access < wanted => {
                Err(read_only(found, "read by tenants, and not written"))
            }
            Resolved::Tenant(table, found) => {
                if relation.alias.as_ref().is_some_and(|a| !a.colnames.is_empty()) {
                    return Err(unsupported("a column list on a target's alias"));
                }
                self.met_tenant();
                self.rewritten = true;
                let guard = Guard { reads: false, ..self.guard_for(relation, table, found)? };
                relation.schemaname.clone_from(&found.name.schema);
                relation.relname.clone_from(&found.name.name);
                self.add_relation(relation, found, false, Some(guard));
                Ok(Target::Tenant(table, found))
            }
            Resolved::Policed(table, found) => {
                relation.schemaname.clone_from(&found.name.schema);
                relation.relname.clone_from(&found.name.name);
                let guard = Guard { reads: false, ..self.guard_for(relation, table, found)? };
                self.add_policed(relation, found, guard);
                Ok(Target::Policed(table, found))
            }
            Resolved::Shared(found, access) if access >= wanted => {
                // In the schema layout a bare name is the tenant's own first, which may have been made a moment ago.
                if self.guarding() || !relation.schemaname.is_empty() {
                    relation.schemaname.clone_from(&found.name.schema);
                    relation.relname.clone_from(&found.name.name);
                }
                self.add_relation(relation, found, false, None);
                Ok(Target::Free)
            }
            Resolved::Shared(found, Access::Read) => {
                Err(read_only(found, "a shared table: tenants may read it, and none may write it"))
            }
            Resolved::Shared(found, Access::Insert | Access::Write) => {
                Err(read_only(found, "a shared table: tenants may add rows, and none may change them"))
            }
            Resolved::System(found, _) => Err(read_only(found, "a system relation")),
            Resolved::Free(Some(found)) => {
                self.add_relation(relation, found, false, None);
                Ok(Target::Free)
            }
            Resolved::Free(None) => {
                self.add_unknown(relation);
                Ok(Target::Free)
            }
            Resolved::Temporary => {
                self.names_temporary();
                self.add_unknown(relation);
                temporary::SCHEMA.clone_into(&mut relation.schemaname);
                Ok(Target::Free)
            }
            Resolved::Own(found) => {
                match found {
                    Some(found) => {
                        self.add_relation(relation, found, false, None);
                    }
                    None => self.add_unknown(relation),
                }
                let written = relation.clone();
                self.in_own_schema(&written, |own| own.clone_into(&mut relation.schemaname))?;
                Ok(Target::Free)
            }
        }
    }

    pub(super) fn update(&mut self, update: &mut UpdateStmt) -> Result<Option<Vec<Output>>, Refusal> {
        let UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause } = update;
        let depth = self.open_with(with_clause.as_mut())?;
        let target = self.open_target(relation, Access::Write)?;
        target.keeps_tenant()?;
        self.walk_from_and_guard(target, from_clause, where_clause)?;
        let alias = relation.as_ref().map(|r| alias_of(r).aliasname).unwrap_or_default();
        let names = [alias.as_str()];
        self.assignments(target_list, target.table().map(|t| (t, names.as_slice())))?;
        let outputs = self.returning(returning_clause)?;
        self.put_fences(from_clause, 1);
        self.levels.pop();
        self.close_with(with_clause.as_mut(), depth);
        if let Target::Tenant(_, found) = target {
            self.note(format!("{}: the tenant's rows only are updated", found.name));
        }
        Ok(outputs)
    }

    pub(super) fn delete(&mut self, delete: &mut DeleteStmt) -> Result<Option<Vec<Output>>, Refusal> {
        let DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        let depth = self.open_with(with_clause.as_mut())?;
        let target = self.open_target(relation, Access::Write)?;
        self.walk_from_and_guard(target, using_clause, where_clause)?;
        let outputs = self.returning(returning_clause)?;
        self.put_fences(using_clause, 1);
        self.levels.pop();
        self.close_with(with_clause.as_mut(), depth);
        if let Target::Tenant(_, found) = target {
            self.note(format!("{}: the tenant's rows only are deleted", found.name));
        }
        Ok(outputs)
    }

    fn walk_from_and_guard(
        &mut self,
        target: Target<'p>,
        from: &mut [Node],
        condition: &mut Option<Box<Node>>,
    ) -> Result<(), Refusal> {
        let mut pending = match target {
            Target::Tenant(..) if !planted(Fault::TargetWhere) => vec![0],
            Target::Tenant(..) | Target::Policed(..) | Target::Free => vec![],
        };
        let own = pending.len();
        for item in from {
            self.item_of_from(item, Place::Outside, &mut pending)?;
        }
        if let Some(NodeEnum::CurrentOfExpr(_)) = condition.as_deref().and_then(|c| c.node.as_ref()) {
            // The grammar allows nothing beside it. The cursor's own query is guarded.
            if pending.len() > own {
                return Err(unsupported("WHERE CURRENT OF beside other tenant tables"));
            }
            // It may have shown rows of everybody.
            if let Target::Tenant(table, _) | Target::Policed(table, _) = target
                && table.null_is_shared
            {
                return Err(
                    unsupported("WHERE CURRENT OF on a table with rows of everybody").hint("Name the row by its key.")
                );
            }
            return Ok(());
        }
        *condition = self.conditions(condition.take(), &pending, Held::Once)?;
        self.semi_joins(condition, &pending)?;
        self.rows_are_filtered();
        Ok(())
    }

    pub(super) fn returning(&mut self, clause: &mut Option<ReturningClause>) -> Result<Option<Vec<Output>>, Refusal> {
        let Some(ReturningClause { options, exprs }) = clause else { return Ok(Some(Vec::new())) };
        for option in options.iter() {
            let Some(NodeEnum::ReturningOption(ReturningOption { option: _, value: _, location: _ })) =
                option.node.as_ref()
            else {
                return Err(unsupported("this RETURNING"));
            };
            self.since(180_000, "RETURNING WITH")?;
        }
        let outputs = of_targets(&self.levels, exprs);
        self.exprs(exprs)?;
        Ok(outputs)
    }
}

fn read_only(relation: &Relation, why: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Relation,
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("permission denied for table {}", relation.name.name),
    )
    .hint(format!("\"{}\" is {why}.", relation.name))
    .about(&relation.name)
}
