//! Definitions outside of a schema's tables: a tenant's own business only in a database of its own, and there only what
//! stays in the database.

use pg_query::NodeEnum;
use pg_query::protobuf::ObjectType;

use super::{Gated, Sent, refused};
use crate::base::{Mode, Refusal};
use crate::guard::gate::functions;
use crate::guard::{Effect, PinReason, StatementKind, nodes};

/// Functions, triggers, rights, extensions ...
pub(super) fn ddl(mode: &Mode, name: &'static str, node: &NodeEnum) -> Result<Gated, Refusal> {
    match mode {
        Mode::Shared | Mode::Reader | Mode::Schema(_) => Err(refused(mode, name)),
        Mode::Database if names_beyond(node) => Err(refused(mode, name)),
        Mode::Database | Mode::Operator => Ok(changed(StatementKind::Utility)),
    }
}

/// Roles, databases, servers, replication ...
pub(super) fn beyond(mode: &Mode, name: &'static str, node: &NodeEnum) -> Result<Gated, Refusal> {
    match mode {
        Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Database => Err(refused(mode, name)),
        // LOAD changes the server's session, the rest at most the catalog.
        Mode::Operator if matches!(node, NodeEnum::LoadStmt(_)) => {
            Ok(changed(StatementKind::Utility).pinned(PinReason::SessionState))
        }
        Mode::Operator => Ok(changed(StatementKind::Utility)),
    }
}

pub(super) fn changed(kind: StatementKind) -> Gated {
    Gated::new(kind, Sent::AsWritten).effects(vec![Effect::CatalogChanged])
}

/// Whether a definition names something outside of its database. For `DROP` and `ALTER ... RENAME` too.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
pub(super) fn names_beyond(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::CreateExtensionStmt(stmt) => functions::extension_reaches_out(&stmt.extname),
        NodeEnum::AlterExtensionStmt(stmt) => functions::extension_reaches_out(&stmt.extname),
        NodeEnum::AlterExtensionContentsStmt(stmt) => functions::extension_reaches_out(&stmt.extname),
        NodeEnum::CreateSchemaStmt(stmt) => {
            stmt.schema_elts.iter().filter_map(|element| element.node.as_ref()).any(names_beyond)
        }
        NodeEnum::DropStmt(stmt) => object_is_beyond(stmt.remove_type()),
        NodeEnum::AlterTableStmt(stmt) => object_is_beyond(stmt.objtype()),
        NodeEnum::AlterObjectSchemaStmt(stmt) => object_is_beyond(stmt.object_type()),
        NodeEnum::AlterObjectDependsStmt(stmt) => object_is_beyond(stmt.object_type()),
        NodeEnum::RenameStmt(stmt) => object_is_beyond(stmt.rename_type()),
        NodeEnum::AlterOwnerStmt(stmt) => object_is_beyond(stmt.object_type()),
        NodeEnum::CommentStmt(stmt) => object_is_beyond(stmt.objtype()),
        NodeEnum::SecLabelStmt(stmt) => object_is_beyond(stmt.objtype()),
        NodeEnum::GrantStmt(stmt) => object_is_beyond(stmt.objtype()),
        NodeEnum::ReassignOwnedStmt(_) => true,
        // A function in C, or in a language without a sandbox, runs in the server's process.
        NodeEnum::CreateFunctionStmt(stmt) => stmt.options.iter().any(untrusted_language),
        nodes::contained_definition!()
        | nodes::definition_of_query!()
        | nodes::definition_of_object!()
        | nodes::change!()
        | nodes::maintenance!() => false,
        nodes::query!() | nodes::session!() | nodes::beyond!() | nodes::part!() => true,
    }
}

fn untrusted_language(option: &pg_query::protobuf::Node) -> bool {
    let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
        return true;
    };
    if elem.defname != "language" {
        return false;
    }
    let Some(NodeEnum::String(language)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else { return true };
    !matches!(language.sval.to_ascii_lowercase().as_str(), "sql" | "plpgsql" | "plperl" | "pltcl" | "plv8")
}

fn object_is_beyond(object: ObjectType) -> bool {
    use ObjectType as O;
    match object {
        O::ObjectAccessMethod
        | O::ObjectDatabase
        | O::ObjectFdw
        | O::ObjectForeignServer
        | O::ObjectForeignTable
        | O::ObjectLanguage
        | O::ObjectParameterAcl
        | O::ObjectPublication
        | O::ObjectPublicationNamespace
        | O::ObjectPublicationRel
        | O::ObjectRole
        | O::ObjectSubscription
        | O::ObjectTablespace
        | O::ObjectUserMapping
        | O::Undefined => true,
        O::ObjectAggregate
        | O::ObjectAmop
        | O::ObjectAmproc
        | O::ObjectAttribute
        | O::ObjectCast
        | O::ObjectCollation
        | O::ObjectColumn
        | O::ObjectConversion
        | O::ObjectDefacl
        | O::ObjectDefault
        | O::ObjectDomain
        | O::ObjectDomconstraint
        | O::ObjectEventTrigger
        | O::ObjectExtension
        | O::ObjectFunction
        | O::ObjectIndex
        | O::ObjectLargeobject
        | O::ObjectMatview
        | O::ObjectOpclass
        | O::ObjectOperator
        | O::ObjectOpfamily
        | O::ObjectPolicy
        | O::ObjectProcedure
        | O::ObjectRoutine
        | O::ObjectRule
        | O::ObjectSchema
        | O::ObjectSequence
        | O::ObjectStatisticExt
        | O::ObjectTabconstraint
        | O::ObjectTable
        | O::ObjectTransform
        | O::ObjectTrigger
        | O::ObjectTsconfiguration
        | O::ObjectTsdictionary
        | O::ObjectTsparser
        | O::ObjectTstemplate
        | O::ObjectType
        | O::ObjectView => false,
    }
}
