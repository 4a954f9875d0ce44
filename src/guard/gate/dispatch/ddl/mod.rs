//! Definitions of tables, views, indexes, sequences and types. Shared layout: refused. Schema layout: allowed where every name
//! in them is the tenant's own. In a database of one's own: allowed.

mod expressions;
mod names;
mod own;
mod temporary;

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableType, IntoClause, Node, ObjectType, RangeVar, ReindexObjectType, RenameStmt};

use super::{Gated, Parts, Sent, database, refused, session, unsupported};
use crate::base::{Mode, Refusal, RefusalKind};
use crate::guard::gate::names::{ambiguous, denied, truncated};
use crate::guard::{Effect, PinReason, Policy, StatementKind, nodes};

pub(super) fn gate(
    policy: &Policy,
    mode: &Mode,
    name: &'static str,
    tree: &mut Node,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let Some(node) = tree.node.as_mut() else {
        return Err(refused(mode, name));
    };
    match mode {
        Mode::Shared => match temporary::gate(policy, mode, node, parts)? {
            Some(gated) => Ok(gated),
            None => Err(in_shared(mode, name, node)),
        },
        Mode::Reader => Err(in_shared(mode, name, node)),
        Mode::Database if database::names_beyond(node) => Err(refused(mode, name)),
        Mode::Database | Mode::Operator => {
            guard_query(node, parts)?;
            let gated = with_effects(node, if executes(node) { Sent::Changed } else { Sent::AsWritten });
            if matches!(mode, Mode::Database) {
                names::check(policy, mode, tree)?;
            }
            Ok(gated)
        }
        Mode::Schema(_) => {
            own::name(policy, mode, node);
            in_schema(policy, mode, name, node)?;
            guard_query(node, parts)?;
            // The query was guarded with its own names; what is around it is checked here.
            names::check(policy, mode, tree)?;
            match tree.node.as_ref() {
                Some(node) => Ok(with_effects(node, Sent::Printed)),
                None => Err(refused(mode, name)),
            }
        }
    }
}

/// Of another definition in a database of the tenant's own: nothing that it calls leaves the database.
pub(super) fn names_stay(policy: &Policy, mode: &Mode, tree: &Node) -> Result<(), Refusal> {
    match mode {
        Mode::Database => names::check(policy, mode, tree),
        // Shared and schema layouts have none of them.
        Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Operator => Ok(()),
    }
}

/// `SELECT ... INTO t`: a CREATE TABLE AS that looks like a query. The query comes without its INTO, which is no relation that
/// it reads.
pub(super) fn select_into(
    policy: &Policy,
    mode: &Mode,
    mut into: IntoClause,
    tree: &mut Node,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let temporary = into.rel.as_ref().is_some_and(is_temporary);
    match mode {
        Mode::Shared if temporary => return self::temporary::select_into(policy, into, tree, parts),
        Mode::Shared | Mode::Reader => return Err(refused(mode, "SELECT INTO")),
        Mode::Schema(_) => {
            own::relation(policy, mode, into.rel.as_mut());
            names::range_var(policy, mode, into.rel.as_ref())?;
        }
        Mode::Database | Mode::Operator => {}
    }
    parts.query(tree)?;
    if let Some(NodeEnum::SelectStmt(select)) = tree.node.as_mut() {
        select.into_clause = Some(Box::new(into));
    }
    if matches!(mode, Mode::Schema(_)) {
        names::check(policy, mode, tree)?;
    }
    let sent = if matches!(mode, Mode::Schema(_)) { Sent::Printed } else { Sent::AsWritten };
    let gated = Gated::new(StatementKind::Utility, sent).effects(vec![Effect::CatalogChanged]);
    Ok(if temporary { gated.pinned(PinReason::TempObject) } else { gated })
}

fn in_shared(mode: &Mode, name: &'static str, node: &NodeEnum) -> Refusal {
    if makes_temporary(node) {
        return denied(
            RefusalKind::Statement,
            "permission denied: of temporary objects, only tables are allowed here",
            "Tenants share server connections; use a temporary table or a CTE, or an operator login.",
        )
        .about(name);
    }
    refused(mode, name)
}

fn with_effects(node: &NodeEnum, sent: Sent) -> Gated {
    let gated = Gated::new(StatementKind::Utility, sent);
    let leaves_catalog = matches!(node, nodes::maintenance!());
    let gated = if leaves_catalog { gated } else { gated.effects(vec![Effect::CatalogChanged]) };
    if makes_temporary(node) { gated.pinned(PinReason::TempObject) } else { gated }
}

fn is_temporary(name: &RangeVar) -> bool {
    name.relpersistence == "t" || name.schemaname.starts_with("pg_temp")
}

fn makes_temporary(node: &NodeEnum) -> bool {
    let name = match node {
        NodeEnum::CreateStmt(stmt) => stmt.relation.as_ref(),
        NodeEnum::CreateTableAsStmt(stmt) => stmt.into.as_ref().and_then(|i| i.rel.as_ref()),
        NodeEnum::ViewStmt(stmt) => stmt.view.as_ref(),
        NodeEnum::CreateSeqStmt(stmt) => stmt.sequence.as_ref(),
        NodeEnum::CompositeTypeStmt(stmt) => stmt.typevar.as_ref(),
        NodeEnum::CreateEnumStmt(stmt) => return names::in_temporary(&stmt.type_name),
        NodeEnum::CreateDomainStmt(stmt) => return names::in_temporary(&stmt.domainname),
        nodes::change!() | nodes::maintenance!() => None,
        nodes::query!() | nodes::session!() | nodes::database_definition!() | nodes::beyond!() | nodes::part!() => None,
    };
    name.is_some_and(is_temporary)
}

/// The query of CREATE TABLE AS and CREATE VIEW.
fn guard_query(node: &mut NodeEnum, parts: &mut impl Parts) -> Result<(), Refusal> {
    match node {
        NodeEnum::CreateTableAsStmt(stmt) => match stmt.query.as_deref_mut() {
            Some(Node { node: Some(NodeEnum::ExecuteStmt(execute)) }) => session::execute(execute, parts),
            other => session::guard_inner(other, parts),
        },
        NodeEnum::ViewStmt(stmt) => session::guard_inner(stmt.query.as_deref_mut(), parts),
        // No query stands in these; what they call is looked at by `names::check`.
        nodes::definition_of_object!() | nodes::change!() | nodes::maintenance!() => Ok(()),
        nodes::query!() | nodes::session!() | nodes::database_definition!() | nodes::beyond!() | nodes::part!() => {
            Err(unsupported("this definition is not supported here"))
        }
    }
}

/// CREATE TABLE AS EXECUTE: the name of the prepared statement was changed.
fn executes(node: &NodeEnum) -> bool {
    let query = if let NodeEnum::CreateTableAsStmt(stmt) = node { stmt.query.as_deref() } else { None };
    query.is_some_and(|query| matches!(query.node, Some(NodeEnum::ExecuteStmt(_))))
}

/// What a definition names besides relations, types and functions (those: `names::check`).
fn in_schema(policy: &Policy, mode: &Mode, name: &'static str, node: &NodeEnum) -> Result<(), Refusal> {
    match node {
        NodeEnum::AlterTableStmt(stmt) => {
            if stmt.objtype() == ObjectType::ObjectForeignTable || stmt.cmds.iter().any(changes_owner) {
                return Err(refused(mode, name));
            }
            Ok(())
        }
        NodeEnum::RenameStmt(stmt) => rename(policy, mode, name, stmt),
        NodeEnum::DropStmt(stmt) => {
            stmt.objects.iter().try_for_each(|object| object_name(policy, mode, name, stmt.remove_type(), object))
        }
        NodeEnum::CommentStmt(stmt) => match stmt.object.as_deref() {
            Some(object) => object_name(policy, mode, name, stmt.objtype(), object),
            None => Err(refused(mode, name)),
        },
        NodeEnum::CreateEnumStmt(stmt) => names::list(policy, mode, &stmt.type_name, 1),
        NodeEnum::AlterEnumStmt(stmt) => names::list(policy, mode, &stmt.type_name, 1),
        NodeEnum::CreateDomainStmt(stmt) => names::list(policy, mode, &stmt.domainname, 1),
        NodeEnum::AlterDomainStmt(stmt) => names::list(policy, mode, &stmt.type_name, 1),
        NodeEnum::CreateSeqStmt(stmt) => stmt.options.iter().try_for_each(|o| names::owned_by(policy, mode, o)),
        NodeEnum::AlterSeqStmt(stmt) => stmt.options.iter().try_for_each(|o| names::owned_by(policy, mode, o)),
        // Without names they mean the whole database.
        NodeEnum::VacuumStmt(stmt) if stmt.rels.is_empty() => Err(refused(mode, "VACUUM or ANALYZE of the database")),
        NodeEnum::ClusterStmt(stmt) if stmt.relation.is_none() => Err(refused(mode, name)),
        NodeEnum::ReindexStmt(stmt) => match stmt.kind() {
            ReindexObjectType::ReindexObjectIndex | ReindexObjectType::ReindexObjectTable => Ok(()),
            ReindexObjectType::ReindexObjectSchema
            | ReindexObjectType::ReindexObjectSystem
            | ReindexObjectType::ReindexObjectDatabase
            | ReindexObjectType::Undefined => Err(refused(mode, name)),
        },
        NodeEnum::CreateStmt(stmt) if !stmt.tablespacename.is_empty() => Err(refused(mode, "TABLESPACE")),
        NodeEnum::CreateStmt(_)
        | NodeEnum::CreateTableAsStmt(_)
        | NodeEnum::ViewStmt(_)
        | NodeEnum::IndexStmt(_)
        | NodeEnum::TruncateStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::RefreshMatViewStmt(_)
        | NodeEnum::VacuumStmt(_)
        | NodeEnum::ClusterStmt(_)
        | NodeEnum::LockStmt(_) => Ok(()),
        nodes::query!() | nodes::session!() | nodes::database_definition!() | nodes::beyond!() | nodes::part!() => {
            Err(refused(mode, name))
        }
    }
}

fn changes_owner(command: &Node) -> bool {
    let Some(NodeEnum::AlterTableCmd(command)) = command.node.as_ref() else { return true };
    matches!(
        command.subtype(),
        AlterTableType::AtChangeOwner
            | AlterTableType::AtGenericOptions
            | AlterTableType::AtAlterColumnGenericOptions
            | AlterTableType::AtSetTableSpace
            | AlterTableType::Undefined
    )
}

fn rename(policy: &Policy, mode: &Mode, name: &'static str, stmt: &RenameStmt) -> Result<(), Refusal> {
    let (what, object) = (stmt.rename_type(), stmt.object.as_deref());
    let of_whole = !matches!(
        what,
        ObjectType::ObjectColumn
            | ObjectType::ObjectAttribute
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectDomconstraint
    );
    // A temporary table would stand before the tenant's own, under a name that is sent with the tenant's schema.
    if let Mode::Schema(own) = mode
        && of_whole
        && policy.is_held_in_common(truncated(&stmt.newname))
    {
        return Err(ambiguous(own, &stmt.newname));
    }
    let of_relation = matches!(
        what,
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectIndex
            | ObjectType::ObjectSequence
            | ObjectType::ObjectColumn
            | ObjectType::ObjectAttribute
            | ObjectType::ObjectTabconstraint
    );
    let of_type = matches!(what, ObjectType::ObjectType | ObjectType::ObjectDomain | ObjectType::ObjectDomconstraint);
    match object {
        // The relation is a RangeVar, which `names::check` sees.
        None if of_relation => Ok(()),
        Some(object) if of_type => object_name(policy, mode, name, ObjectType::ObjectType, object),
        None | Some(_) => Err(refused(mode, name)),
    }
}

/// The object of DROP and COMMENT.
fn object_name(
    policy: &Policy,
    mode: &Mode,
    name: &'static str,
    what: ObjectType,
    object: &Node,
) -> Result<(), Refusal> {
    let whole = matches!(
        what,
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectIndex
            | ObjectType::ObjectSequence
            | ObjectType::ObjectType
            | ObjectType::ObjectDomain
    );
    let part = matches!(what, ObjectType::ObjectColumn | ObjectType::ObjectTabconstraint);
    if !whole && !part {
        return Err(refused(mode, name));
    }
    let own_parts = if whole { 1 } else { 2 };
    if let Some(NodeEnum::List(list)) = object.node.as_ref() {
        names::list(policy, mode, &list.items, own_parts)
    } else if let Some(NodeEnum::TypeName(name)) = object.node.as_ref() {
        names::list(policy, mode, &name.names, own_parts)
    } else {
        Err(unsupported("this form of the statement is not supported here"))
    }
}
