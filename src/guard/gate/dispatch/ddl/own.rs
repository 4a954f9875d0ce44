//! Names of a definition that a common schema has too are put into the tenant's schema, where they are looked for first: whether
//! they are there, only the server knows. What stays without a schema, [`names`](super::names) refuses.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ObjectType, RangeVar};

use crate::base::Mode;
use crate::guard::gate::names::{parts, truncated};
use crate::guard::{Policy, nodes};

/// Names what a definition makes, changes or refers to.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
pub(super) fn name(policy: &Policy, mode: &Mode, statement: &mut NodeEnum) {
    let one = |name: Option<&mut RangeVar>| relation(policy, mode, name);
    match statement {
        NodeEnum::AlterTableStmt(stmt) => {
            one(stmt.relation.as_mut());
            all(policy, mode, &mut stmt.cmds);
        }
        NodeEnum::RenameStmt(stmt) => {
            one(stmt.relation.as_mut());
            let what = stmt.rename_type();
            object(policy, mode, what, stmt.object.as_deref_mut());
        }
        NodeEnum::DropStmt(stmt) => {
            let what = stmt.remove_type();
            stmt.objects.iter_mut().for_each(|it| object(policy, mode, what, Some(it)));
        }
        NodeEnum::CommentStmt(stmt) => {
            let what = stmt.objtype();
            object(policy, mode, what, stmt.object.as_deref_mut());
        }
        NodeEnum::CreateEnumStmt(stmt) => list(policy, mode, &mut stmt.type_name, 1),
        NodeEnum::AlterEnumStmt(stmt) => list(policy, mode, &mut stmt.type_name, 1),
        NodeEnum::CreateDomainStmt(stmt) => list(policy, mode, &mut stmt.domainname, 1),
        NodeEnum::AlterDomainStmt(stmt) => list(policy, mode, &mut stmt.type_name, 1),
        NodeEnum::CompositeTypeStmt(stmt) => one(stmt.typevar.as_mut()),
        NodeEnum::CreateSeqStmt(stmt) => {
            one(stmt.sequence.as_mut());
            all(policy, mode, &mut stmt.options);
        }
        NodeEnum::AlterSeqStmt(stmt) => {
            one(stmt.sequence.as_mut());
            all(policy, mode, &mut stmt.options);
        }
        NodeEnum::CreateStmt(stmt) => {
            one(stmt.relation.as_mut());
            all(policy, mode, &mut stmt.table_elts);
            all(policy, mode, &mut stmt.inh_relations);
            all(policy, mode, &mut stmt.constraints);
        }
        NodeEnum::CreateTableAsStmt(stmt) => one(stmt.into.as_mut().and_then(|into| into.rel.as_mut())),
        NodeEnum::ViewStmt(stmt) => one(stmt.view.as_mut()),
        NodeEnum::IndexStmt(stmt) => one(stmt.relation.as_mut()),
        NodeEnum::RefreshMatViewStmt(stmt) => one(stmt.relation.as_mut()),
        NodeEnum::ClusterStmt(stmt) => one(stmt.relation.as_mut()),
        NodeEnum::ReindexStmt(stmt) => one(stmt.relation.as_mut()),
        NodeEnum::TruncateStmt(stmt) => all(policy, mode, &mut stmt.relations),
        NodeEnum::LockStmt(stmt) => all(policy, mode, &mut stmt.relations),
        NodeEnum::VacuumStmt(stmt) => all(policy, mode, &mut stmt.rels),
        nodes::statement!() | nodes::part!() => {}
    }
}

fn all(policy: &Policy, mode: &Mode, nodes: &mut [Node]) {
    nodes.iter_mut().for_each(|node| part(policy, mode, node));
}

/// Places in a definition at which relations are named.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
fn part(policy: &Policy, mode: &Mode, node: &mut Node) {
    match node.node.as_mut() {
        Some(NodeEnum::RangeVar(name)) => relation(policy, mode, Some(name)),
        Some(NodeEnum::Constraint(constraint)) => relation(policy, mode, constraint.pktable.as_mut()),
        Some(NodeEnum::ColumnDef(column)) => all(policy, mode, &mut column.constraints),
        Some(NodeEnum::TableLikeClause(like)) => relation(policy, mode, like.relation.as_mut()),
        Some(NodeEnum::PartitionCmd(command)) => relation(policy, mode, command.name.as_mut()),
        Some(NodeEnum::VacuumRelation(of)) => relation(policy, mode, of.relation.as_mut()),
        Some(NodeEnum::AlterTableCmd(command)) => {
            command.def.as_deref_mut().into_iter().for_each(|def| part(policy, mode, def));
        }
        Some(NodeEnum::DefElem(option)) if option.defname == "owned_by" => {
            if let Some(NodeEnum::List(names)) = option.arg.as_deref_mut().and_then(|arg| arg.node.as_mut()) {
                list(policy, mode, &mut names.items, 2);
            }
        }
        Some(nodes::statement!() | nodes::part!()) | None => {}
    }
}

/// The object of DROP, COMMENT and ALTER ... RENAME, as a list of names or as a type.
fn object(policy: &Policy, mode: &Mode, what: ObjectType, object: Option<&mut Node>) {
    let own_parts = if matches!(what, ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint) { 2 } else { 1 };
    match object.and_then(|object| object.node.as_mut()) {
        Some(NodeEnum::List(names)) => list(policy, mode, &mut names.items, own_parts),
        Some(NodeEnum::TypeName(name)) => list(policy, mode, &mut name.names, own_parts),
        Some(_) | None => {}
    }
}

/// A name without a schema; temporary ones have their own.
pub(super) fn relation(policy: &Policy, mode: &Mode, name: Option<&mut RangeVar>) {
    let (Mode::Schema(own), Some(name)) = (mode, name) else { return };
    if name.schemaname.is_empty() && name.relpersistence != "t" && policy.is_held_in_common(truncated(&name.relname)) {
        own.as_ref().clone_into(&mut name.schemaname);
    }
}

/// The same as a list of strings, of which the last `own_parts` are below the schema.
fn list(policy: &Policy, mode: &Mode, names: &mut Vec<Node>, own_parts: usize) {
    let (Mode::Schema(own), Some(texts)) = (mode, parts(names)) else { return };
    if texts.len() == own_parts && texts.first().is_some_and(|name| policy.is_held_in_common(truncated(name))) {
        let schema = NodeEnum::String(pg_query::protobuf::String { sval: own.as_ref().to_owned() });
        names.insert(0, Node { node: Some(schema) });
    }
}
