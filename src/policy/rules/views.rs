//! Views among the shared tables: what they read is read with their owners' rights, and no predicate stands in it; what functions
//! read that they call, nobody sees.

use std::collections::{HashMap, HashSet};

use super::Draft;
use crate::base::{Enforcement, Oid, QualifiedName};
use crate::catalog::{Catalog, RelKind, Relation};
use crate::guard::{Policy, TableRule, tenants_may_call};
use crate::policy::PolicyNote;

/// Views, by the relations that they are made of.
struct Views<'a> {
    enforcement: Enforcement,
    callable: &'a Policy,
    by_oid: &'a HashMap<Oid, &'a Relation>,
    draft: &'a Draft,
}

/// A shared view that reads a tenant table shows the rows of all tenants, and one may that calls what tenants may not call: it is no
/// longer shared.
pub(super) fn withdraw(
    enforcement: Enforcement,
    callable: &Policy,
    by_oid: &HashMap<Oid, &Relation>,
    draft: &mut Draft,
    notes: &mut Vec<PolicyNote>,
) {
    let views = Views { enforcement, callable, by_oid, draft };
    let shared = draft
        .iter()
        .filter(|(_, rule)| matches!(rule, Some(TableRule::Shared(_))))
        .filter_map(|(oid, _)| by_oid.get(oid));
    let mut found: Vec<(QualifiedName, Oid, PolicyNote)> = shared
        .filter_map(|view| {
            let name = view.name.clone();
            let note = match views.tenant_table(view, &mut HashSet::new()) {
                Some(table) => PolicyNote::SharedViewOfTenants { name, table: table.name.clone() },
                None => {
                    PolicyNote::SharedViewCalls { name, function: views.called(view, &mut HashSet::new())?.clone() }
                }
            };
            Some((view.name.clone(), view.oid, note))
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for (_, oid, note) in found {
        draft.insert(oid, None);
        notes.push(note);
    }
}

impl Views<'_> {
    /// A tenant table whose rows the view shows; views that it reads are looked into.
    fn tenant_table(&self, view: &Relation, seen: &mut HashSet<Oid>) -> Option<&Relation> {
        if !seen.insert(view.oid) || self.is_bound(view) {
            return None;
        }
        let reads = self.callable.catalog.reads.get(&view.oid).map(Vec::as_slice).unwrap_or_default();
        let relations = reads.iter().filter_map(|oid| self.by_oid.get(oid).copied());
        let mut found: Vec<&Relation> = relations
            .filter_map(|relation| match self.draft.get(&relation.oid) {
                Some(Some(TableRule::Tenant(_))) => Some(relation),
                _ => self.tenant_table(relation, seen),
            })
            .collect();
        // The same one each time.
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found.first().copied()
    }

    /// A function that tenants may not call, and that the view does; views that it reads are looked into.
    fn called(&self, view: &Relation, seen: &mut HashSet<Oid>) -> Option<&QualifiedName> {
        if !seen.insert(view.oid) {
            return None;
        }
        let Catalog { calls, reads, .. } = &*self.callable.catalog;
        let mut own = calls.get(&view.oid).into_iter().flatten();
        own.find(|function| !tenants_may_call(self.callable, function)).or_else(|| {
            let reads = reads.get(&view.oid).into_iter().flatten().filter_map(|oid| self.by_oid.get(oid));
            reads.filter_map(|relation| self.called(relation, seen)).min()
        })
    }

    /// With its caller's rights, the policies of the tables hold.
    fn is_bound(&self, view: &Relation) -> bool {
        view.kind == RelKind::View && view.security_invoker && self.enforcement.uses_rls() && !self.reads_views(view)
    }

    fn reads_views(&self, view: &Relation) -> bool {
        let reads = self.callable.catalog.reads.get(&view.oid).map(Vec::as_slice).unwrap_or_default();
        reads.iter().filter_map(|oid| self.by_oid.get(oid)).any(|relation| match relation.kind {
            RelKind::View | RelKind::MaterializedView | RelKind::ForeignTable => true,
            RelKind::Table
            | RelKind::PartitionedTable
            | RelKind::Sequence
            | RelKind::Index
            | RelKind::Toast
            | RelKind::CompositeType => false,
        })
    }
}
