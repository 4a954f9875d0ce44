//! Every node of Postgres's grammar by what the gate makes of it as a statement. Exhaustive: a new kind does not compile.

use pg_query::NodeEnum;

use crate::guard::nodes;

/// What sort of statement a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT, UPDATE, DELETE, MERGE.
    Dml,
    /// BEGIN, COMMIT, SAVEPOINT ...
    Transaction,
    /// SET, RESET.
    Set,
    /// SHOW.
    Show,
    /// EXPLAIN.
    Explain,
    /// PREPARE.
    Prepare,
    /// EXECUTE.
    Execute,
    /// DEALLOCATE.
    Deallocate,
    /// DECLARE CURSOR.
    Declare,
    /// FETCH, MOVE.
    Fetch,
    /// CLOSE.
    Close,
    /// COPY.
    Copy,
    /// DISCARD.
    Discard,
    /// LISTEN.
    Listen,
    /// NOTIFY.
    Notify,
    /// UNLISTEN.
    Unlisten,
    /// SET CONSTRAINTS.
    Constraints,
    /// DO: code in another language.
    Do,
    /// CALL.
    Call,
    /// Definitions of what lies in a schema; the tenant's own business in the schema layout, if all its names are its own.
    Ddl(&'static str),
    /// Definitions that a schema does not hold (functions, roles of objects, extensions), allowed in a database of one's own.
    DatabaseDdl(&'static str),
    /// What reaches beyond the database: no tenant's.
    Beyond(&'static str),
    /// A node that is no statement.
    NoStatement,
}

/// Statements that take no parameters in the extended protocol: the tenant's values stand in them as literals.
pub(super) fn takes_no_parameters(node: &NodeEnum) -> bool {
    match kind(node) {
        Kind::Copy | Kind::Prepare | Kind::Execute | Kind::Call => true,
        Kind::Explain => {
            let NodeEnum::ExplainStmt(stmt) = node else { return false };
            let inner = stmt.query.as_deref().and_then(|q| q.node.as_ref());
            inner.is_some_and(|n| kind(n) == Kind::Execute)
        }
        Kind::Select
        | Kind::Dml
        | Kind::Transaction
        | Kind::Set
        | Kind::Show
        | Kind::Deallocate
        | Kind::Declare
        | Kind::Fetch
        | Kind::Close
        | Kind::Discard
        | Kind::Listen
        | Kind::Notify
        | Kind::Unlisten
        | Kind::Constraints
        | Kind::Do
        | Kind::Ddl(_)
        | Kind::DatabaseDdl(_)
        | Kind::Beyond(_)
        | Kind::NoStatement => false,
    }
}

/// The kind of a statement's tree.
#[allow(clippy::too_many_lines)] // one arm a kind: splitting it would hide a missing one
pub(super) fn kind(node: &NodeEnum) -> Kind {
    use NodeEnum as N;
    match node {
        N::SelectStmt(_) => Kind::Select,
        N::InsertStmt(_) | N::UpdateStmt(_) | N::DeleteStmt(_) | N::MergeStmt(_) => Kind::Dml,
        N::TransactionStmt(_) => Kind::Transaction,
        N::VariableSetStmt(_) => Kind::Set,
        N::VariableShowStmt(_) => Kind::Show,
        N::ExplainStmt(_) => Kind::Explain,
        N::PrepareStmt(_) => Kind::Prepare,
        N::ExecuteStmt(_) => Kind::Execute,
        N::DeallocateStmt(_) => Kind::Deallocate,
        N::DeclareCursorStmt(_) => Kind::Declare,
        N::FetchStmt(_) => Kind::Fetch,
        N::ClosePortalStmt(_) => Kind::Close,
        N::CopyStmt(_) => Kind::Copy,
        N::DiscardStmt(_) => Kind::Discard,
        N::ListenStmt(_) => Kind::Listen,
        N::NotifyStmt(_) => Kind::Notify,
        N::UnlistenStmt(_) => Kind::Unlisten,
        N::ConstraintsSetStmt(_) => Kind::Constraints,
        N::DoStmt(_) => Kind::Do,
        N::CallStmt(_) => Kind::Call,

        N::CreateStmt(_) => Kind::Ddl("CREATE TABLE"),
        N::CreateTableAsStmt(_) => Kind::Ddl("CREATE TABLE AS"),
        N::AlterTableStmt(_) => Kind::Ddl("ALTER TABLE"),
        N::ViewStmt(_) => Kind::Ddl("CREATE VIEW"),
        N::IndexStmt(_) => Kind::Ddl("CREATE INDEX"),
        N::CreateSeqStmt(_) => Kind::Ddl("CREATE SEQUENCE"),
        N::AlterSeqStmt(_) => Kind::Ddl("ALTER SEQUENCE"),
        N::RenameStmt(_) => Kind::Ddl("ALTER ... RENAME"),
        N::DropStmt(_) => Kind::Ddl("DROP"),
        N::TruncateStmt(_) => Kind::Ddl("TRUNCATE"),
        N::CommentStmt(_) => Kind::Ddl("COMMENT"),
        N::CreateEnumStmt(_) => Kind::Ddl("CREATE TYPE"),
        N::CompositeTypeStmt(_) => Kind::Ddl("CREATE TYPE"),
        N::AlterEnumStmt(_) => Kind::Ddl("ALTER TYPE"),
        N::CreateDomainStmt(_) => Kind::Ddl("CREATE DOMAIN"),
        N::AlterDomainStmt(_) => Kind::Ddl("ALTER DOMAIN"),
        N::RefreshMatViewStmt(_) => Kind::Ddl("REFRESH MATERIALIZED VIEW"),
        N::VacuumStmt(_) => Kind::Ddl("VACUUM or ANALYZE"),
        N::ReindexStmt(_) => Kind::Ddl("REINDEX"),
        N::ClusterStmt(_) => Kind::Ddl("CLUSTER"),
        N::LockStmt(_) => Kind::Ddl("LOCK TABLE"),

        N::CreateSchemaStmt(_) => Kind::DatabaseDdl("CREATE SCHEMA"),
        N::AlterObjectSchemaStmt(_) => Kind::DatabaseDdl("ALTER ... SET SCHEMA"),
        N::AlterObjectDependsStmt(_) => Kind::DatabaseDdl("ALTER ... DEPENDS ON EXTENSION"),
        N::AlterOwnerStmt(_) => Kind::DatabaseDdl("ALTER ... OWNER TO"),
        N::CreateStatsStmt(_) => Kind::DatabaseDdl("CREATE STATISTICS"),
        N::AlterStatsStmt(_) => Kind::DatabaseDdl("ALTER STATISTICS"),
        N::CreateFunctionStmt(_) => Kind::DatabaseDdl("CREATE FUNCTION"),
        N::AlterFunctionStmt(_) => Kind::DatabaseDdl("ALTER FUNCTION"),
        N::CreateTrigStmt(_) => Kind::DatabaseDdl("CREATE TRIGGER"),
        N::RuleStmt(_) => Kind::DatabaseDdl("CREATE RULE"),
        N::CreatePolicyStmt(_) => Kind::DatabaseDdl("CREATE POLICY"),
        N::AlterPolicyStmt(_) => Kind::DatabaseDdl("ALTER POLICY"),
        N::GrantStmt(_) => Kind::DatabaseDdl("GRANT"),
        N::AlterDefaultPrivilegesStmt(_) => Kind::DatabaseDdl("ALTER DEFAULT PRIVILEGES"),
        N::DefineStmt(_) => Kind::DatabaseDdl("CREATE AGGREGATE, OPERATOR, TYPE or COLLATION"),
        N::CreateRangeStmt(_) => Kind::DatabaseDdl("CREATE TYPE"),
        N::AlterTypeStmt(_) => Kind::DatabaseDdl("ALTER TYPE"),
        N::AlterOperatorStmt(_) => Kind::DatabaseDdl("ALTER OPERATOR"),
        N::AlterCollationStmt(_) => Kind::DatabaseDdl("ALTER COLLATION"),
        N::CreateOpClassStmt(_) => Kind::DatabaseDdl("CREATE OPERATOR CLASS"),
        N::CreateOpFamilyStmt(_) => Kind::DatabaseDdl("CREATE OPERATOR FAMILY"),
        N::AlterOpFamilyStmt(_) => Kind::DatabaseDdl("ALTER OPERATOR FAMILY"),
        N::CreateConversionStmt(_) => Kind::DatabaseDdl("CREATE CONVERSION"),
        N::CreateCastStmt(_) => Kind::DatabaseDdl("CREATE CAST"),
        N::CreateTransformStmt(_) => Kind::DatabaseDdl("CREATE TRANSFORM"),
        N::AlterTsdictionaryStmt(_) => Kind::DatabaseDdl("ALTER TEXT SEARCH DICTIONARY"),
        N::AlterTsconfigurationStmt(_) => Kind::DatabaseDdl("ALTER TEXT SEARCH CONFIGURATION"),
        N::SecLabelStmt(_) => Kind::DatabaseDdl("SECURITY LABEL"),
        N::CreateEventTrigStmt(_) => Kind::DatabaseDdl("CREATE EVENT TRIGGER"),
        N::AlterEventTrigStmt(_) => Kind::DatabaseDdl("ALTER EVENT TRIGGER"),
        N::ReassignOwnedStmt(_) => Kind::DatabaseDdl("REASSIGN OWNED"),
        N::AlterExtensionContentsStmt(_) => Kind::DatabaseDdl("ALTER EXTENSION"),
        N::AlterExtensionStmt(_) => Kind::DatabaseDdl("ALTER EXTENSION"),
        N::CreateExtensionStmt(_) => Kind::DatabaseDdl("CREATE EXTENSION"),

        N::CreateTableSpaceStmt(_) => Kind::Beyond("CREATE TABLESPACE"),
        N::DropTableSpaceStmt(_) => Kind::Beyond("DROP TABLESPACE"),
        N::AlterTableSpaceOptionsStmt(_) => Kind::Beyond("ALTER TABLESPACE"),
        N::AlterTableMoveAllStmt(_) => Kind::Beyond("ALTER TABLE ALL IN TABLESPACE"),
        N::CreateFdwStmt(_) => Kind::Beyond("CREATE FOREIGN DATA WRAPPER"),
        N::AlterFdwStmt(_) => Kind::Beyond("ALTER FOREIGN DATA WRAPPER"),
        N::CreateForeignServerStmt(_) => Kind::Beyond("CREATE SERVER"),
        N::AlterForeignServerStmt(_) => Kind::Beyond("ALTER SERVER"),
        N::CreateForeignTableStmt(_) => Kind::Beyond("CREATE FOREIGN TABLE"),
        N::CreateUserMappingStmt(_) => Kind::Beyond("CREATE USER MAPPING"),
        N::AlterUserMappingStmt(_) => Kind::Beyond("ALTER USER MAPPING"),
        N::DropUserMappingStmt(_) => Kind::Beyond("DROP USER MAPPING"),
        N::ImportForeignSchemaStmt(_) => Kind::Beyond("IMPORT FOREIGN SCHEMA"),
        N::CreateAmStmt(_) => Kind::Beyond("CREATE ACCESS METHOD"),
        N::CreatePlangStmt(_) => Kind::Beyond("CREATE LANGUAGE"),
        N::CreateRoleStmt(_) => Kind::Beyond("CREATE ROLE"),
        N::AlterRoleStmt(_) => Kind::Beyond("ALTER ROLE"),
        N::AlterRoleSetStmt(_) => Kind::Beyond("ALTER ROLE ... SET"),
        N::DropRoleStmt(_) => Kind::Beyond("DROP ROLE"),
        N::GrantRoleStmt(_) => Kind::Beyond("GRANT of a role"),
        N::DropOwnedStmt(_) => Kind::Beyond("DROP OWNED"),
        N::CreatedbStmt(_) => Kind::Beyond("CREATE DATABASE"),
        N::AlterDatabaseStmt(_) => Kind::Beyond("ALTER DATABASE"),
        N::AlterDatabaseRefreshCollStmt(_) => Kind::Beyond("ALTER DATABASE"),
        N::AlterDatabaseSetStmt(_) => Kind::Beyond("ALTER DATABASE ... SET"),
        N::DropdbStmt(_) => Kind::Beyond("DROP DATABASE"),
        N::AlterSystemStmt(_) => Kind::Beyond("ALTER SYSTEM"),
        N::CheckPointStmt(_) => Kind::Beyond("CHECKPOINT"),
        N::LoadStmt(_) => Kind::Beyond("LOAD"),
        N::CreatePublicationStmt(_) => Kind::Beyond("CREATE PUBLICATION"),
        N::AlterPublicationStmt(_) => Kind::Beyond("ALTER PUBLICATION"),
        N::CreateSubscriptionStmt(_) => Kind::Beyond("CREATE SUBSCRIPTION"),
        N::AlterSubscriptionStmt(_) => Kind::Beyond("ALTER SUBSCRIPTION"),
        N::DropSubscriptionStmt(_) => Kind::Beyond("DROP SUBSCRIPTION"),
        nodes::part!() => Kind::NoStatement,
    }
}
