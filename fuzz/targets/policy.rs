//! A small shop, as the guard would know it from an upstream.

use std::collections::HashMap;
use std::sync::Arc;

use pgwarden::base::QualifiedName;
use pgwarden::catalog::{
    Catalog, Column, Function, FunctionKind, Generated, Identity, Operator, RelKind, Relation, TypeInfo, UpstreamRole,
    Volatility,
};
use pgwarden::guard::{Policy, Protection, TableRule, TenantTable};

const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const UUID: u32 = 2950;

/// `public.orders`, `customers` (tenant_id int4), `invoices` (org_id uuid), shared `countries`, and `loose`, which no rule
/// covers; in `pg_catalog` what a SELECT needs.
pub fn policy() -> Policy {
    let relations: HashMap<_, _> = [
        relation(16_400, "public", "orders", &[("id", INT8), ("tenant_id", INT4), ("note", TEXT), ("open", BOOL)]),
        relation(16_401, "public", "customers", &[("id", INT8), ("tenant_id", INT4), ("name", TEXT)]),
        relation(16_402, "public", "invoices", &[("id", INT8), ("org_id", UUID), ("memo", TEXT)]),
        relation(16_403, "public", "countries", &[("code", TEXT), ("name", TEXT)]),
        relation(16_404, "public", "loose", &[("id", INT8)]),
        relation(1_259, "pg_catalog", "pg_class", &[("oid", 26), ("relname", 19), ("reltuples", 700)]),
    ]
    .into_iter()
    .map(|r| (r.name.clone(), r))
    .collect();
    let tables = [
        ("orders", tenant("tenant_id", INT4, "pg_catalog.int4", None)),
        ("customers", tenant("tenant_id", INT4, "pg_catalog.int4", None)),
        ("invoices", tenant("org_id", UUID, "pg_catalog.uuid", Some("uuid"))),
        ("countries", TableRule::Shared(pgwarden::base::Access::Read)),
    ];
    Policy {
        catalog: Arc::new(Catalog {
            server_version_num: 180_000,
            search_path: vec!["public".to_owned()],
            schemas: ["public", "pg_catalog"].map(str::to_owned).into(),
            relations,
            role: UpstreamRole::default(),
            functions: functions(),
            operators: operators(),
            types: types(),
            ..Catalog::default()
        }),
        tables: tables.into_iter().map(|(name, rule)| (QualifiedName::new("public", name), rule)).collect(),
        search_path: vec!["public".to_owned()],
        ..Policy::empty()
    }
}

fn relation(oid: u32, schema: &str, name: &str, columns: &[(&str, u32)]) -> Relation {
    let columns = columns.iter().zip(1..).map(|((name, type_oid), attnum)| Column {
        name: (*name).to_owned(),
        attnum,
        type_oid: *type_oid,
        type_name: String::new(),
        base_type_oid: *type_oid,
        not_null: false,
        has_default: false,
        generated: Generated::No,
        identity: Identity::No,
        loose: false,
    });
    Relation {
        oid,
        name: QualifiedName::new(schema, name),
        kind: RelKind::Table,
        is_partition: false,
        columns: columns.collect(),
        parents: vec![],
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
        row_security: false,
        force_row_security: false,
        row_security_active: false,
        owned: false,
        policies: vec![],
        security_invoker: false,
        extension: None,
    }
}

fn tenant(column: &str, type_oid: u32, type_name: &str, key: Option<&str>) -> TableRule {
    let [column, type_name] = [column, type_name].map(str::to_owned);
    TableRule::Tenant(TenantTable {
        null_is_shared: false,
        through: None,
        access: pgwarden::base::Access::Write,
        column,
        type_oid,
        type_name,
        key: key.map(Into::into),
        protection: Protection::Predicate,
    })
}

fn functions() -> HashMap<String, Vec<Function>> {
    let named = [
        ("lower", FunctionKind::Function, Volatility::Immutable),
        ("length", FunctionKind::Function, Volatility::Immutable),
        ("now", FunctionKind::Function, Volatility::Stable),
        ("generate_series", FunctionKind::Function, Volatility::Immutable),
        ("count", FunctionKind::Aggregate, Volatility::Immutable),
        ("max", FunctionKind::Aggregate, Volatility::Immutable),
        ("row_number", FunctionKind::Window, Volatility::Immutable),
        ("set_config", FunctionKind::Function, Volatility::Volatile),
        ("pg_sleep", FunctionKind::Function, Volatility::Volatile),
    ];
    let function = |(name, kind, volatility): (&str, FunctionKind, Volatility)| {
        let function = Function {
            oid: 0,
            name: QualifiedName::new("pg_catalog", name),
            kind,
            volatility,
            leakproof: false,
            security_definer: false,
            language: "internal".to_owned(),
            body: None,
            arg_types: vec![TEXT],
            returns: TEXT,
            takes_one: true,
            takes_row: false,
            extension: None,
        };
        (name.to_owned(), vec![function])
    };
    named.into_iter().map(function).collect()
}

fn operators() -> HashMap<String, Vec<Operator>> {
    let operator = |name: &str, oid: u32, leakproof| Operator {
        name: QualifiedName::new("pg_catalog", name),
        left: oid,
        right: oid,
        leakproof,
        result: if leakproof { BOOL } else { oid },
        volatility: Volatility::Immutable,
        extension: None,
    };
    let comparisons = ["=", "<>", "<", "<=", ">", ">="]
        .map(|name| (name.to_owned(), [BOOL, INT4, INT8, TEXT, UUID].map(|oid| operator(name, oid, true)).into()));
    let others = ["+", "-", "*", "/", "~", "||"].map(|name| (name.to_owned(), vec![operator(name, TEXT, false)]));
    comparisons.into_iter().chain(others).collect()
}

fn types() -> HashMap<u32, TypeInfo> {
    [(BOOL, "bool"), (INT8, "int8"), (INT4, "int4"), (TEXT, "text"), (UUID, "uuid")]
        .map(|(oid, name)| {
            (oid, TypeInfo { oid, name: QualifiedName::new("pg_catalog", name), typtype: 'b', base: oid })
        })
        .into()
}
