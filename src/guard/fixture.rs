//! Catalogs and policies made by hand, for unit tests: one builder, so that a new field of a relation or a function has its
//! ordinary value in one place. What a test is about, it sets on what it is given.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Policy, Protection, TableRule, TenantTable, Through};
use crate::base::oid::{BOOL, INT4, TEXT};
use crate::base::{Access, Oid, QualifiedName};
use crate::catalog::{
    Catalog, Column, Function, FunctionKind, Generated, Identity, Operator, RelKind, Relation, TypeInfo, Volatility,
};

/// `schema.name`
pub(crate) fn named(name: &str) -> QualifiedName {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    QualifiedName::new(schema, name)
}

/// An ordinary column; its number is set by [`relation`].
pub(crate) fn column(name: &str, type_oid: Oid) -> Column {
    Column {
        name: name.to_owned(),
        attnum: 1,
        type_oid,
        type_name: String::new(),
        base_type_oid: type_oid,
        not_null: false,
        has_default: false,
        generated: Generated::No,
        identity: Identity::No,
        loose: false,
    }
}

/// A table, or another relation, without row-level security. A catalog gives it an oid.
pub(crate) fn relation(name: &str, kind: RelKind, columns: impl IntoIterator<Item = Column>) -> Relation {
    Relation {
        oid: 0,
        name: named(name),
        kind,
        is_partition: false,
        columns: columns.into_iter().zip(1..).map(|(column, attnum)| Column { attnum, ..column }).collect(),
        parents: Vec::new(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
        row_security: false,
        force_row_security: false,
        row_security_active: false,
        owned: false,
        policies: Vec::new(),
        security_invoker: false,
        extension: None,
    }
}

/// A table with columns of these names and types.
pub(crate) fn table(name: &str, columns: &[(&str, Oid)]) -> Relation {
    relation(name, RelKind::Table, columns.iter().map(|(name, type_oid)| column(name, *type_oid)))
}

/// A function of one text.
pub(crate) fn function(name: &str, volatility: Volatility) -> Function {
    Function {
        oid: 0,
        name: named(name),
        kind: FunctionKind::Function,
        volatility,
        leakproof: false,
        security_definer: false,
        language: "internal".to_owned(),
        arg_types: vec![TEXT],
        returns: TEXT,
        body: None,
        takes_one: true,
        takes_row: false,
        extension: None,
    }
}

/// An operator of two operands of these types.
pub(crate) fn operator(name: &str, left: Oid, right: Oid, leakproof: bool) -> Operator {
    Operator {
        name: named(name),
        left,
        right,
        leakproof,
        result: BOOL,
        volatility: Volatility::Immutable,
        extension: None,
    }
}

/// A catalog of a server of major 15 with the schemas of what is in it.
pub(crate) fn catalog(
    relations: impl IntoIterator<Item = Relation>,
    functions: impl IntoIterator<Item = Function>,
    operators: impl IntoIterator<Item = Operator>,
) -> Catalog {
    let mut catalog = Catalog {
        server_version_num: 150_020,
        search_path: vec!["public".to_owned()],
        schemas: ["public", "pg_catalog", "information_schema"].map(str::to_owned).into(),
        ..Catalog::default()
    };
    for (mut relation, oid) in relations.into_iter().zip(16_400..) {
        relation.oid = if relation.oid == 0 { oid } else { relation.oid };
        catalog.schemas.insert(relation.name.schema.clone());
        catalog.relations.insert(relation.name.clone(), relation);
    }
    for function in functions {
        catalog.schemas.insert(function.name.schema.clone());
        catalog.functions.entry(function.name.name.clone()).or_default().push(function);
    }
    for operator in operators {
        catalog.schemas.insert(operator.name.schema.clone());
        catalog.operators.entry(operator.name.name.clone()).or_default().push(operator);
    }
    catalog
}

/// Types of `pg_catalog`.
pub(crate) fn types(named: &[(Oid, &str)]) -> HashMap<Oid, TypeInfo> {
    let info = |(oid, name): &(Oid, &str)| TypeInfo {
        oid: *oid,
        name: QualifiedName::new("pg_catalog", *name),
        typtype: 'b',
        base: *oid,
    };
    named.iter().map(|it| (it.0, info(it))).collect()
}

/// The rule of a tenant table whose column is an int4.
pub(crate) fn tenant_table(column: &str) -> TenantTable {
    TenantTable {
        column: column.to_owned(),
        type_oid: INT4,
        type_name: "pg_catalog.int4".to_owned(),
        key: None,
        null_is_shared: false,
        through: None,
        access: Access::Write,
        protection: Protection::Predicate,
    }
}

/// The rule of a table whose int8 column leads to another's.
pub(crate) fn through(table: &str, column: &str, parent: &str, key: &str, rule: TenantTable) -> TenantTable {
    let through = Through {
        parent: named(parent),
        key: key.to_owned(),
        rule: rule.clone(),
        child: table.to_owned(),
        constraint: format!("{table}_{column}_fkey"),
        type_name: "pg_catalog.int8".to_owned(),
    };
    TenantTable { column: column.to_owned(), through: Some(Arc::new(through)), ..rule }
}

/// A policy with these rules, by the tables' names.
pub(crate) fn policy(catalog: Catalog, rules: impl IntoIterator<Item = (&'static str, TableRule)>) -> Policy {
    Policy {
        tables: rules.into_iter().map(|(name, rule)| (named(name), rule)).collect(),
        search_path: catalog.search_path.clone(),
        setting: "app.tenant_id".to_owned(),
        catalog: Arc::new(catalog),
        ..Policy::empty()
    }
}
