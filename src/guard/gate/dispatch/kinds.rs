//! Every node of Postgres's grammar by what the gate makes of it as a statement. Exhaustive: a new kind does not compile.

use pg_query::NodeEnum;

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
        Kind::Explain => match node {
            NodeEnum::ExplainStmt(stmt) => {
                let inner = stmt.query.as_deref().and_then(|q| q.node.as_ref());
                inner.is_some_and(|n| kind(n) == Kind::Execute)
            }
            _ => false,
        },
        _ => false,
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
        N::Alias(_)
        | N::RangeVar(_)
        | N::TableFunc(_)
        | N::IntoClause(_)
        | N::Var(_)
        | N::Param(_)
        | N::Aggref(_)
        | N::GroupingFunc(_)
        | N::WindowFunc(_)
        | N::WindowFuncRunCondition(_)
        | N::MergeSupportFunc(_)
        | N::SubscriptingRef(_)
        | N::FuncExpr(_)
        | N::NamedArgExpr(_)
        | N::OpExpr(_)
        | N::DistinctExpr(_)
        | N::NullIfExpr(_)
        | N::ScalarArrayOpExpr(_)
        | N::BoolExpr(_)
        | N::SubLink(_)
        | N::SubPlan(_)
        | N::AlternativeSubPlan(_)
        | N::FieldSelect(_)
        | N::FieldStore(_)
        | N::RelabelType(_)
        | N::CoerceViaIo(_)
        | N::ArrayCoerceExpr(_)
        | N::ConvertRowtypeExpr(_)
        | N::CollateExpr(_)
        | N::CaseExpr(_)
        | N::CaseWhen(_)
        | N::CaseTestExpr(_)
        | N::ArrayExpr(_)
        | N::RowExpr(_)
        | N::RowCompareExpr(_)
        | N::CoalesceExpr(_)
        | N::MinMaxExpr(_)
        | N::SqlvalueFunction(_)
        | N::XmlExpr(_)
        | N::JsonFormat(_)
        | N::JsonReturning(_)
        | N::JsonValueExpr(_)
        | N::JsonConstructorExpr(_)
        | N::JsonIsPredicate(_)
        | N::JsonBehavior(_)
        | N::JsonExpr(_)
        | N::JsonTablePath(_)
        | N::JsonTablePathScan(_)
        | N::JsonTableSiblingJoin(_)
        | N::NullTest(_)
        | N::BooleanTest(_)
        | N::MergeAction(_)
        | N::CoerceToDomain(_)
        | N::CoerceToDomainValue(_)
        | N::SetToDefault(_)
        | N::CurrentOfExpr(_)
        | N::NextValueExpr(_)
        | N::InferenceElem(_)
        | N::ReturningExpr(_)
        | N::TargetEntry(_)
        | N::RangeTblRef(_)
        | N::JoinExpr(_)
        | N::FromExpr(_)
        | N::OnConflictExpr(_)
        | N::Query(_)
        | N::TypeName(_)
        | N::ColumnRef(_)
        | N::ParamRef(_)
        | N::AExpr(_)
        | N::TypeCast(_)
        | N::CollateClause(_)
        | N::RoleSpec(_)
        | N::FuncCall(_)
        | N::AStar(_)
        | N::AIndices(_)
        | N::AIndirection(_)
        | N::AArrayExpr(_)
        | N::ResTarget(_)
        | N::MultiAssignRef(_)
        | N::SortBy(_)
        | N::WindowDef(_)
        | N::RangeSubselect(_)
        | N::RangeFunction(_)
        | N::RangeTableFunc(_)
        | N::RangeTableFuncCol(_)
        | N::RangeTableSample(_)
        | N::ColumnDef(_)
        | N::TableLikeClause(_)
        | N::IndexElem(_)
        | N::DefElem(_)
        | N::LockingClause(_)
        | N::XmlSerialize(_)
        | N::PartitionElem(_)
        | N::PartitionSpec(_)
        | N::PartitionBoundSpec(_)
        | N::PartitionRangeDatum(_)
        | N::PartitionCmd(_)
        | N::RangeTblEntry(_)
        | N::RtepermissionInfo(_)
        | N::RangeTblFunction(_)
        | N::TableSampleClause(_)
        | N::WithCheckOption(_)
        | N::SortGroupClause(_)
        | N::GroupingSet(_)
        | N::WindowClause(_)
        | N::RowMarkClause(_)
        | N::WithClause(_)
        | N::InferClause(_)
        | N::OnConflictClause(_)
        | N::CtesearchClause(_)
        | N::CtecycleClause(_)
        | N::CommonTableExpr(_)
        | N::MergeWhenClause(_)
        | N::ReturningOption(_)
        | N::ReturningClause(_)
        | N::TriggerTransition(_)
        | N::JsonOutput(_)
        | N::JsonArgument(_)
        | N::JsonFuncExpr(_)
        | N::JsonTablePathSpec(_)
        | N::JsonTable(_)
        | N::JsonTableColumn(_)
        | N::JsonKeyValue(_)
        | N::JsonParseExpr(_)
        | N::JsonScalarExpr(_)
        | N::JsonSerializeExpr(_)
        | N::JsonObjectConstructor(_)
        | N::JsonArrayConstructor(_)
        | N::JsonArrayQueryConstructor(_)
        | N::JsonAggConstructor(_)
        | N::JsonObjectAgg(_)
        | N::JsonArrayAgg(_)
        | N::RawStmt(_)
        | N::SetOperationStmt(_)
        | N::ReturnStmt(_)
        | N::PlassignStmt(_)
        | N::AlterTableCmd(_)
        | N::AtalterConstraint(_)
        | N::ReplicaIdentityStmt(_)
        | N::ObjectWithArgs(_)
        | N::AccessPriv(_)
        | N::Constraint(_)
        | N::CreateOpClassItem(_)
        | N::StatsElem(_)
        | N::FunctionParameter(_)
        | N::InlineCodeBlock(_)
        | N::CallContext(_)
        | N::VacuumRelation(_)
        | N::PublicationTable(_)
        | N::PublicationObjSpec(_)
        | N::Integer(_)
        | N::Float(_)
        | N::Boolean(_)
        | N::String(_)
        | N::BitString(_)
        | N::List(_)
        | N::IntList(_)
        | N::OidList(_)
        | N::AConst(_) => Kind::NoStatement,
    }
}
