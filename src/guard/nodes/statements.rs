//! The one table of statements: what each node of the grammar that is a statement is to the guard.

use pg_query::NodeEnum;

use super::part;

/// What a statement acts on, and so who may send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Rows.
    Query,
    /// The session; or it holds a query, or runs code.
    Session,
    /// What lies in a schema: the tenant's own business in the schema layout, if all its names are its own.
    Schema,
    /// What a schema does not hold (functions, roles of objects, extensions): allowed in a database of one's own.
    Database,
    /// What reaches beyond the database: no tenant's.
    Server,
}

/// Whether a statement writes, for quotas of which only writing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    /// It does, or may for all that its text tells.
    Always,
    /// It does not.
    Never,
    /// What stands inside tells.
    Inside,
}

/// Whether a statement takes parameters in the extended protocol. Where it takes none, the tenant's values stand in it as
/// literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    /// It takes them (or none are used in it).
    Bound,
    /// It takes none.
    Unbound,
    /// As what stands inside.
    Inside,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its name in a refusal: the command tag, or what the grammar has one node for.
    pub(crate) tag: &'static str,
    /// What it acts on.
    pub(crate) class: Class,
    /// Whether it writes.
    pub(crate) writes: Writes,
    /// Whether it takes parameters.
    pub(crate) parameters: Parameters,
}

/// Makes of the table a pattern for each section, and [`statement_of`].
macro_rules! statements {
    ($(
        $(#[$doc:meta])* $pattern:ident ($class:ident) {
            $($kind:ident $tag:literal $writes:ident $parameters:ident;)*
        }
    )*) => {
        $(super::group! { $(#[$doc])* $pattern: $($kind)* })*

        /// The row of a node; `None`: it is no statement.
        pub(crate) fn statement_of(node: &NodeEnum) -> Option<Statement> {
            let (tag, class, writes, parameters) = match node {
                $($(NodeEnum::$kind(_) => {
                    ($tag, Class::$class, Writes::$writes, Parameters::$parameters)
                })*)*
                part!() => return None,
            };
            Some(Statement { tag, class, writes, parameters })
        }
    };
}

statements! {
    /// Statements that read and write rows.
    query (Query) {
        SelectStmt                    "SELECT"                                             Inside  Bound;
        InsertStmt                    "INSERT"                                             Always  Bound;
        UpdateStmt                    "UPDATE"                                             Always  Bound;
        DeleteStmt                    "DELETE"                                             Always  Bound;
        MergeStmt                     "MERGE"                                              Always  Bound;
    }

    /// Statements about the session, and those that hold a query or run code.
    session (Session) {
        TransactionStmt               "BEGIN, COMMIT, SAVEPOINT or PREPARE TRANSACTION"    Never   Bound;
        VariableSetStmt               "SET"                                                Never   Bound;
        VariableShowStmt              "SHOW"                                               Never   Bound;
        ExplainStmt                   "EXPLAIN"                                            Inside  Inside;
        // What is prepared writes when it is executed; a cursor's query cannot.
        PrepareStmt                   "PREPARE"                                            Never   Unbound;
        // What it executes is not in its text.
        ExecuteStmt                   "EXECUTE"                                            Always  Unbound;
        DeallocateStmt                "DEALLOCATE"                                         Never   Bound;
        DeclareCursorStmt             "DECLARE CURSOR"                                     Never   Bound;
        FetchStmt                     "FETCH"                                              Never   Bound;
        ClosePortalStmt               "CLOSE"                                              Never   Bound;
        CopyStmt                      "COPY"                                               Inside  Unbound;
        DiscardStmt                   "DISCARD"                                            Never   Bound;
        ListenStmt                    "LISTEN"                                             Never   Unbound;
        NotifyStmt                    "NOTIFY"                                             Never   Unbound;
        UnlistenStmt                  "UNLISTEN"                                           Never   Unbound;
        ConstraintsSetStmt            "SET CONSTRAINTS"                                    Never   Bound;
        DoStmt                        "DO"                                                 Always  Bound;
        CallStmt                      "CALL"                                               Always  Unbound;
    }

    /// Definitions that are made of a query.
    definition_of_query (Schema) {
        CreateTableAsStmt             "CREATE TABLE AS"                                    Always  Bound;
        ViewStmt                      "CREATE VIEW"                                        Always  Bound;
    }

    /// Definitions of tables, sequences and types; temporary ones too.
    definition_of_object (Schema) {
        CreateStmt                    "CREATE TABLE"                                       Always  Bound;
        CreateSeqStmt                 "CREATE SEQUENCE"                                    Always  Bound;
        CompositeTypeStmt             "CREATE TYPE"                                        Always  Bound;
        CreateEnumStmt                "CREATE TYPE"                                        Always  Bound;
        CreateDomainStmt              "CREATE DOMAIN"                                      Always  Bound;
    }

    /// Changes of what lies in a schema, and what is made where its table lies.
    change (Schema) {
        AlterTableStmt                "ALTER TABLE"                                        Always  Bound;
        IndexStmt                     "CREATE INDEX"                                       Always  Bound;
        AlterSeqStmt                  "ALTER SEQUENCE"                                     Always  Bound;
        RenameStmt                    "ALTER ... RENAME"                                   Always  Bound;
        DropStmt                      "DROP"                                               Always  Bound;
        CommentStmt                   "COMMENT"                                            Always  Bound;
        AlterEnumStmt                 "ALTER TYPE"                                         Always  Bound;
        AlterDomainStmt               "ALTER DOMAIN"                                       Always  Bound;
    }

    /// What leaves the catalog as it is.
    maintenance (Schema) {
        TruncateStmt                  "TRUNCATE"                                           Always  Bound;
        RefreshMatViewStmt            "REFRESH MATERIALIZED VIEW"                          Always  Bound;
        VacuumStmt                    "VACUUM or ANALYZE"                                  Always  Bound;
        ReindexStmt                   "REINDEX"                                            Always  Bound;
        ClusterStmt                   "CLUSTER"                                            Always  Bound;
        LockStmt                      "LOCK TABLE"                                         Always  Bound;
    }

    /// Definitions that a schema does not hold, and that may name something outside of the database: see `database::names_beyond`.
    reaching_definition (Database) {
        CreateExtensionStmt           "CREATE EXTENSION"                                   Always  Bound;
        AlterExtensionStmt            "ALTER EXTENSION"                                    Always  Bound;
        AlterExtensionContentsStmt    "ALTER EXTENSION"                                    Always  Bound;
        CreateSchemaStmt              "CREATE SCHEMA"                                      Always  Bound;
        AlterObjectSchemaStmt         "ALTER ... SET SCHEMA"                               Always  Bound;
        AlterObjectDependsStmt        "ALTER ... DEPENDS ON EXTENSION"                     Always  Bound;
        AlterOwnerStmt                "ALTER ... OWNER TO"                                 Always  Bound;
        SecLabelStmt                  "SECURITY LABEL"                                     Always  Bound;
        GrantStmt                     "GRANT"                                              Always  Bound;
        ReassignOwnedStmt             "REASSIGN OWNED"                                     Always  Bound;
        CreateFunctionStmt            "CREATE FUNCTION"                                    Always  Bound;
    }

    /// Definitions that a schema does not hold; what they name lies in the database. (Event triggers and casts are a superuser's,
    /// or need an owner of the types.)
    contained_definition (Database) {
        CreateStatsStmt               "CREATE STATISTICS"                                  Always  Bound;
        AlterStatsStmt                "ALTER STATISTICS"                                   Always  Bound;
        AlterFunctionStmt             "ALTER FUNCTION"                                     Always  Bound;
        CreateTrigStmt                "CREATE TRIGGER"                                     Always  Bound;
        RuleStmt                      "CREATE RULE"                                        Always  Bound;
        CreatePolicyStmt              "CREATE POLICY"                                      Always  Bound;
        AlterPolicyStmt               "ALTER POLICY"                                       Always  Bound;
        AlterDefaultPrivilegesStmt    "ALTER DEFAULT PRIVILEGES"                           Always  Bound;
        DefineStmt                    "CREATE AGGREGATE, OPERATOR, TYPE or COLLATION"      Always  Bound;
        CreateRangeStmt               "CREATE TYPE"                                        Always  Bound;
        AlterTypeStmt                 "ALTER TYPE"                                         Always  Bound;
        AlterOperatorStmt             "ALTER OPERATOR"                                     Always  Bound;
        AlterCollationStmt            "ALTER COLLATION"                                    Always  Bound;
        CreateOpClassStmt             "CREATE OPERATOR CLASS"                              Always  Bound;
        CreateOpFamilyStmt            "CREATE OPERATOR FAMILY"                             Always  Bound;
        AlterOpFamilyStmt             "ALTER OPERATOR FAMILY"                              Always  Bound;
        CreateConversionStmt          "CREATE CONVERSION"                                  Always  Bound;
        CreateCastStmt                "CREATE CAST"                                        Always  Bound;
        CreateTransformStmt           "CREATE TRANSFORM"                                   Always  Bound;
        AlterTsdictionaryStmt         "ALTER TEXT SEARCH DICTIONARY"                       Always  Bound;
        AlterTsconfigurationStmt      "ALTER TEXT SEARCH CONFIGURATION"                    Always  Bound;
        CreateEventTrigStmt           "CREATE EVENT TRIGGER"                               Always  Bound;
        AlterEventTrigStmt            "ALTER EVENT TRIGGER"                                Always  Bound;
    }

    /// Statements that reach beyond the database.
    beyond (Server) {
        CreateTableSpaceStmt          "CREATE TABLESPACE"                                  Always  Bound;
        DropTableSpaceStmt            "DROP TABLESPACE"                                    Always  Bound;
        AlterTableSpaceOptionsStmt    "ALTER TABLESPACE"                                   Always  Bound;
        AlterTableMoveAllStmt         "ALTER TABLE ALL IN TABLESPACE"                      Always  Bound;
        CreateFdwStmt                 "CREATE FOREIGN DATA WRAPPER"                        Always  Bound;
        AlterFdwStmt                  "ALTER FOREIGN DATA WRAPPER"                         Always  Bound;
        CreateForeignServerStmt       "CREATE SERVER"                                      Always  Bound;
        AlterForeignServerStmt        "ALTER SERVER"                                       Always  Bound;
        CreateForeignTableStmt        "CREATE FOREIGN TABLE"                               Always  Bound;
        CreateUserMappingStmt         "CREATE USER MAPPING"                                Always  Bound;
        AlterUserMappingStmt          "ALTER USER MAPPING"                                 Always  Bound;
        DropUserMappingStmt           "DROP USER MAPPING"                                  Always  Bound;
        ImportForeignSchemaStmt       "IMPORT FOREIGN SCHEMA"                              Always  Bound;
        CreateAmStmt                  "CREATE ACCESS METHOD"                               Always  Bound;
        CreatePlangStmt               "CREATE LANGUAGE"                                    Always  Bound;
        CreateRoleStmt                "CREATE ROLE"                                        Always  Bound;
        AlterRoleStmt                 "ALTER ROLE"                                         Always  Bound;
        AlterRoleSetStmt              "ALTER ROLE ... SET"                                 Always  Bound;
        DropRoleStmt                  "DROP ROLE"                                          Always  Bound;
        GrantRoleStmt                 "GRANT of a role"                                    Always  Bound;
        DropOwnedStmt                 "DROP OWNED"                                         Always  Bound;
        CreatedbStmt                  "CREATE DATABASE"                                    Always  Bound;
        AlterDatabaseStmt             "ALTER DATABASE"                                     Always  Bound;
        AlterDatabaseRefreshCollStmt  "ALTER DATABASE"                                     Always  Bound;
        AlterDatabaseSetStmt          "ALTER DATABASE ... SET"                             Always  Bound;
        DropdbStmt                    "DROP DATABASE"                                      Always  Bound;
        AlterSystemStmt               "ALTER SYSTEM"                                       Always  Bound;
        CheckPointStmt                "CHECKPOINT"                                         Always  Bound;
        LoadStmt                      "LOAD"                                               Always  Bound;
        CreatePublicationStmt         "CREATE PUBLICATION"                                 Always  Bound;
        AlterPublicationStmt          "ALTER PUBLICATION"                                  Always  Bound;
        CreateSubscriptionStmt        "CREATE SUBSCRIPTION"                                Always  Bound;
        AlterSubscriptionStmt         "ALTER SUBSCRIPTION"                                 Always  Bound;
        DropSubscriptionStmt          "DROP SUBSCRIPTION"                                  Always  Bound;
    }
}

/// Definitions of what lies in a schema, and its maintenance.
macro_rules! definition {
    () => {
        $crate::guard::nodes::definition_of_query!()
            | $crate::guard::nodes::definition_of_object!()
            | $crate::guard::nodes::change!()
            | $crate::guard::nodes::maintenance!()
    };
}
pub(crate) use definition;

/// Definitions that a schema does not hold.
macro_rules! database_definition {
    () => {
        $crate::guard::nodes::reaching_definition!() | $crate::guard::nodes::contained_definition!()
    };
}
pub(crate) use database_definition;

/// Statements.
macro_rules! statement {
    () => {
        $crate::guard::nodes::query!()
            | $crate::guard::nodes::session!()
            | $crate::guard::nodes::definition!()
            | $crate::guard::nodes::database_definition!()
            | $crate::guard::nodes::beyond!()
    };
}
pub(crate) use statement;
