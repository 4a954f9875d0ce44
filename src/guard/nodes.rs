//! Every node of Postgres's grammar, in groups, as patterns: a `match` on a node names the kinds that it knows and the groups that
//! it leaves alone, and has no catch-all. A node that a later libpg_query adds is in none of them, and nothing that walks
//! trees compiles until somebody has said what it is.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Makes a group: a macro that is a pattern of all its kinds, and where it is asked for a list of their names as they are
/// serialised.
macro_rules! group {
    ($(#[$doc:meta])* $pattern:ident: $($kind:ident)*) => {
        $(#[$doc])*
        macro_rules! $pattern {
            () => { $(pg_query::NodeEnum::$kind(_))|* };
        }
        pub(crate) use $pattern;
    };
    ($(#[$doc:meta])* $pattern:ident, $names:ident: $($kind:ident)*) => {
        group! { $(#[$doc])* $pattern: $($kind)* }

        $(#[$doc])*
        const $names: &[&str] = &[$(stringify!($kind)),*];
    };
}

group! {
    /// Statements that read and write rows.
    query, QUERIES:
        SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt
}

group! {
    /// Statements about the session, and those that hold a query or run code.
    session:
        TransactionStmt VariableSetStmt VariableShowStmt ExplainStmt PrepareStmt ExecuteStmt DeallocateStmt
        DeclareCursorStmt FetchStmt ClosePortalStmt CopyStmt DiscardStmt ListenStmt NotifyStmt UnlistenStmt
        ConstraintsSetStmt DoStmt CallStmt
}

group! {
    /// Definitions of what lies in a schema, and its maintenance.
    definition:
        CreateStmt CreateTableAsStmt AlterTableStmt ViewStmt IndexStmt CreateSeqStmt AlterSeqStmt RenameStmt
        DropStmt TruncateStmt CommentStmt CreateEnumStmt CompositeTypeStmt AlterEnumStmt CreateDomainStmt
        AlterDomainStmt RefreshMatViewStmt VacuumStmt ReindexStmt ClusterStmt LockStmt
}

group! {
    /// Definitions that a schema does not hold.
    database_definition:
        CreateSchemaStmt AlterObjectSchemaStmt AlterObjectDependsStmt AlterOwnerStmt CreateStatsStmt AlterStatsStmt
        CreateFunctionStmt AlterFunctionStmt CreateTrigStmt RuleStmt CreatePolicyStmt AlterPolicyStmt GrantStmt
        AlterDefaultPrivilegesStmt DefineStmt CreateRangeStmt AlterTypeStmt AlterOperatorStmt AlterCollationStmt
        CreateOpClassStmt CreateOpFamilyStmt AlterOpFamilyStmt CreateConversionStmt CreateCastStmt
        CreateTransformStmt AlterTsdictionaryStmt AlterTsconfigurationStmt SecLabelStmt CreateEventTrigStmt
        AlterEventTrigStmt ReassignOwnedStmt AlterExtensionContentsStmt AlterExtensionStmt CreateExtensionStmt
}

group! {
    /// Statements that reach beyond the database.
    beyond:
        CreateTableSpaceStmt DropTableSpaceStmt AlterTableSpaceOptionsStmt AlterTableMoveAllStmt CreateFdwStmt
        AlterFdwStmt CreateForeignServerStmt AlterForeignServerStmt CreateForeignTableStmt CreateUserMappingStmt
        AlterUserMappingStmt DropUserMappingStmt ImportForeignSchemaStmt CreateAmStmt CreatePlangStmt
        CreateRoleStmt AlterRoleStmt AlterRoleSetStmt DropRoleStmt GrantRoleStmt DropOwnedStmt CreatedbStmt
        AlterDatabaseStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt DropdbStmt AlterSystemStmt
        CheckPointStmt LoadStmt CreatePublicationStmt AlterPublicationStmt CreateSubscriptionStmt
        AlterSubscriptionStmt DropSubscriptionStmt
}

group! {
    /// What stands in expressions, SQL/JSON aside.
    expression, EXPRESSIONS:
        ColumnRef ParamRef AConst AExpr BoolExpr TypeCast CollateClause FuncCall AIndirection AIndices AArrayExpr
        SubLink NullTest BooleanTest CaseExpr CaseWhen RowExpr CoalesceExpr MinMaxExpr SqlvalueFunction
        NamedArgExpr GroupingFunc GroupingSet List SetToDefault MergeSupportFunc ResTarget SortBy WindowDef XmlExpr
        XmlSerialize
}

group! {
    /// SQL/JSON.
    json, JSON:
        JsonFormat JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior JsonOutput JsonArgument JsonFuncExpr
        JsonTablePathSpec JsonTable JsonTableColumn JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr
        JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg
        JsonArrayAgg
}

group! {
    /// Items of FROM (JSON_TABLE aside).
    from_item, FROM_ITEMS:
        RangeVar JoinExpr RangeSubselect RangeFunction RangeTableFunc RangeTableSample
}

group! {
    /// Values inside of other nodes: names, numbers.
    literal, LITERALS:
        Integer Float Boolean String BitString
}

group! {
    /// Parts of queries that are neither expressions nor items of FROM.
    query_part, QUERY_PARTS:
        Alias TypeName AStar MultiAssignRef RangeTableFuncCol ColumnDef IndexElem DefElem LockingClause WithClause
        InferClause OnConflictClause CtesearchClause CtecycleClause CommonTableExpr MergeWhenClause ReturningOption
        ReturningClause CurrentOfExpr IntoClause
}

group! {
    /// Parts of definitions (DDL, GRANT, VACUUM).
    definition_part:
        RoleSpec TableLikeClause PartitionElem PartitionSpec PartitionBoundSpec PartitionRangeDatum PartitionCmd
        TriggerTransition AlterTableCmd AtalterConstraint ReplicaIdentityStmt ObjectWithArgs AccessPriv Constraint
        CreateOpClassItem StatsElem FunctionParameter VacuumRelation PublicationTable PublicationObjSpec
}

group! {
    /// What Postgres makes of a tree later, and other languages' statements: the grammar gives none of these.
    planned:
        TableFunc Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr DistinctExpr
        NullIfExpr ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore RelabelType CoerceViaIo
        ArrayCoerceExpr ConvertRowtypeExpr CollateExpr CaseTestExpr ArrayExpr RowCompareExpr JsonConstructorExpr
        JsonExpr JsonTablePath JsonTablePathScan JsonTableSiblingJoin MergeAction CoerceToDomain
        CoerceToDomainValue NextValueExpr InferenceElem ReturningExpr TargetEntry RangeTblRef FromExpr
        OnConflictExpr Query RangeTblEntry RtepermissionInfo RangeTblFunction TableSampleClause WithCheckOption
        SortGroupClause WindowClause RowMarkClause SetOperationStmt InlineCodeBlock CallContext IntList OidList
        RawStmt ReturnStmt PlassignStmt
}

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

/// Parts of statements: all that is no statement.
macro_rules! part {
    () => {
        $crate::guard::nodes::expression!()
            | $crate::guard::nodes::json!()
            | $crate::guard::nodes::from_item!()
            | $crate::guard::nodes::literal!()
            | $crate::guard::nodes::query_part!()
            | $crate::guard::nodes::definition_part!()
            | $crate::guard::nodes::planned!()
    };
}
pub(crate) use part;

/// All that stands neither in an expression nor in SQL/JSON.
macro_rules! no_expression {
    () => {
        $crate::guard::nodes::statement!()
            | $crate::guard::nodes::from_item!()
            | $crate::guard::nodes::literal!()
            | $crate::guard::nodes::query_part!()
            | $crate::guard::nodes::definition_part!()
            | $crate::guard::nodes::planned!()
    };
}
pub(crate) use no_expression;

/// Whether a node of that name (as it is serialised) may stand in a query.
pub(crate) fn is_in_queries(kind: &str) -> bool {
    static KINDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        [QUERIES, EXPRESSIONS, JSON, FROM_ITEMS, LITERALS, QUERY_PARTS].into_iter().flatten().copied().collect()
    });
    KINDS.contains(kind)
}

#[cfg(test)]
mod tests {
    use pg_query::NodeEnum;

    use super::*;

    /// Compiles as long as the groups are all there is, and no kind is in two of them.
    #[deny(unreachable_patterns)]
    fn group(node: &NodeEnum) -> &'static str {
        match node {
            query!() => "query",
            session!() => "session",
            definition!() => "definition",
            database_definition!() => "database definition",
            beyond!() => "beyond",
            expression!() => "expression",
            json!() => "json",
            from_item!() => "item of FROM",
            literal!() => "literal",
            query_part!() => "query part",
            definition_part!() => "definition part",
            planned!() => "planned",
        }
    }

    #[test]
    fn names_are_those_that_trees_are_serialised_with() {
        let tree = crate::sql::parse::expression("CASE WHEN a IS NULL THEN CURRENT_USER ELSE b[1] END").unwrap();
        let value = serde_json::to_value(&tree).unwrap();
        let mut kinds = Vec::new();
        collect(&value, &mut kinds);
        assert!(kinds.iter().any(|k| k == "SqlvalueFunction") && kinds.iter().any(|k| k == "AIndices"));
        assert!(kinds.iter().all(|k| is_in_queries(k)), "{kinds:?}");
        assert!(tree.node.as_ref().is_some_and(|n| group(n) == "expression"));
        for other in ["Var", "VacuumStmt", "AlterTableCmd", "Unheard"] {
            assert!(!is_in_queries(other), "{other}");
        }
    }

    fn collect(value: &serde_json::Value, kinds: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(node) = fields.get("node").and_then(|n| n.as_object()) {
                    kinds.extend(node.keys().cloned());
                }
                fields.values().for_each(|field| collect(field, kinds));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, kinds)),
            _scalar => {}
        }
    }
}
