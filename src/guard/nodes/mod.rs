//! Every node of Postgres's grammar, in groups, as patterns: a `match` on a node names the kinds that it knows and the groups that
//! it leaves alone, and has no catch-all. A node that a later libpg_query adds is in none of them, and nothing that walks
//! trees compiles until somebody has said what it is. Statements have a table of their own ([`statements`]).

/// Makes a group: a macro that is a pattern of all its kinds.
macro_rules! group {
    ($(#[$doc:meta])* $pattern:ident: $($kind:ident)*) => {
        $(#[$doc])*
        macro_rules! $pattern {
            () => { $(pg_query::NodeEnum::$kind(_))|* };
        }
        pub(crate) use $pattern;
    };
}
use group;

mod statements;

pub(crate) use statements::*;

group! {
    /// What stands in expressions, SQL/JSON aside.
    expression:
        ColumnRef ParamRef AConst AExpr BoolExpr TypeCast CollateClause FuncCall AIndirection AIndices AArrayExpr
        SubLink NullTest BooleanTest CaseExpr CaseWhen RowExpr CoalesceExpr MinMaxExpr SqlvalueFunction
        NamedArgExpr GroupingFunc GroupingSet List SetToDefault MergeSupportFunc ResTarget SortBy WindowDef XmlExpr
        XmlSerialize
}

group! {
    /// SQL/JSON.
    json:
        JsonFormat JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior JsonOutput JsonArgument JsonFuncExpr
        JsonTablePathSpec JsonTable JsonTableColumn JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr
        JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg
        JsonArrayAgg
}

group! {
    /// Items of FROM (JSON_TABLE aside).
    from_item:
        RangeVar JoinExpr RangeSubselect RangeFunction RangeTableFunc RangeTableSample
}

group! {
    /// Values inside of other nodes: names, numbers.
    literal:
        Integer Float Boolean String BitString
}

group! {
    /// Parts of queries that are neither expressions nor items of FROM.
    query_part:
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
            definition_of_query!() => "definition of a query",
            definition_of_object!() => "definition of an object",
            change!() => "change",
            maintenance!() => "maintenance",
            reaching_definition!() => "definition that may reach out of the database",
            contained_definition!() => "definition that does not",
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
    fn a_node_is_in_one_group() {
        let tree = crate::sql::parse::expression("CURRENT_USER").unwrap();
        assert_eq!(tree.node.as_ref().map(group), Some("expression"));
    }
}
