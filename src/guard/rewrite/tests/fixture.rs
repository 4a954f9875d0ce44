//! A hand-made catalog and policy: a shop of the shared layout.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::base::oid::{BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ, UUID};
use crate::base::{Mode, Oid, QualifiedName, Refusal};
use crate::catalog::{
    Catalog, Column, Function, FunctionKind, Generated, Identity, Operator, RelKind, Relation, TypeInfo, Volatility,
};
use crate::guard::{Piece, Plan, Policy, Protocol, TableRule, TenantTable, plan_statements};
use crate::sql::StatementLimits;

/// Name, kind and columns (name, type).
type Shape = (&'static str, RelKind, &'static [(&'static str, Oid)]);

const SHAPES: &[Shape] = &[
    (
        "orders",
        RelKind::Table,
        &[
            ("id", INT8),
            ("tenant_id", INT4),
            ("customer_id", INT8),
            ("status", TEXT),
            ("total", NUMERIC),
            ("open", BOOL),
            ("placed_at", TIMESTAMPTZ),
        ],
    ),
    ("customers", RelKind::Table, &[("id", INT8), ("tenant_id", INT4), ("name", TEXT), ("country", TEXT)]),
    ("items", RelKind::Table, &[("tenant_id", INT4), ("order_id", INT8), ("sku", TEXT), ("doubled", INT4)]),
    ("invoices", RelKind::PartitionedTable, &[("id", INT8), ("org_id", UUID), ("memo", TEXT)]),
    ("countries", RelKind::Table, &[("code", TEXT), ("name", TEXT)]),
    ("loose", RelKind::Table, &[("id", INT8)]),
];

fn relation(shape: &Shape, oid: Oid) -> Relation {
    let columns = shape.2.iter().zip(1..).map(|((name, type_oid), attnum)| Column {
        name: (*name).to_owned(),
        attnum,
        type_oid: *type_oid,
        type_name: String::new(),
        base_type_oid: *type_oid,
        not_null: false,
        has_default: false,
        generated: if *name == "doubled" { Generated::Stored } else { Generated::No },
        identity: Identity::No,
    });
    Relation {
        oid,
        name: QualifiedName::new("public", shape.0),
        kind: shape.1,
        is_partition: false,
        columns: columns.collect(),
        parents: vec![],
        row_security: false,
        force_row_security: false,
        row_security_active: false,
        owned: false,
        policies: Vec::new(),
        security_invoker: false,
        extension: None,
    }
}

fn function(name: &str, kind: FunctionKind, volatility: Volatility) -> Function {
    Function {
        oid: 0,
        name: QualifiedName::new("pg_catalog", name),
        kind,
        volatility,
        leakproof: false,
        security_definer: false,
        language: "internal".to_owned(),
        arg_types: vec![TEXT],
        body: None,
        takes_row: false,
        extension: None,
    }
}

fn operators() -> HashMap<String, Vec<Operator>> {
    let mut all: HashMap<String, Vec<Operator>> = HashMap::new();
    let mut add = |name: &str, left, right, leakproof| {
        let name_ = QualifiedName::new("pg_catalog", name);
        all.entry(name.to_owned()).or_default().push(Operator { name: name_, left, right, leakproof, extension: None });
    };
    for name in ["=", "<>", "<", "<=", ">", ">="] {
        for oid in [BOOL, INT4, INT8, TEXT, UUID, TIMESTAMPTZ] {
            add(name, oid, oid, true);
        }
        add(name, INT8, INT4, true);
        add(name, INT4, INT8, true);
        add(name, NUMERIC, NUMERIC, false);
    }
    for name in ["^@", "~<~", "~>=~"] {
        add(name, TEXT, TEXT, true);
    }
    for name in ["+", "-", "*", "/", "~", "~~", "||"] {
        add(name, TEXT, TEXT, false);
    }
    all
}

fn types() -> HashMap<Oid, TypeInfo> {
    let named = [
        (BOOL, "bool"),
        (INT8, "int8"),
        (INT4, "int4"),
        (TEXT, "text"),
        (NUMERIC, "numeric"),
        (TIMESTAMPTZ, "timestamptz"),
        (UUID, "uuid"),
        (1016, "_int8"),
    ];
    let types = named.iter().map(|(oid, name)| TypeInfo {
        oid: *oid,
        name: QualifiedName::new("pg_catalog", *name),
        typtype: 'b',
        base: *oid,
    });
    types.map(|t| (t.oid, t)).collect()
}

fn rule(name: &str) -> Option<TableRule> {
    let tenant = |column: &str, type_oid, type_name: &str, key: Option<&str>| {
        Some(TableRule::Tenant(TenantTable {
            column: column.to_owned(),
            type_oid,
            type_name: type_name.to_owned(),
            key: key.map(Into::into),
            protection: crate::guard::Protection::Predicate,
        }))
    };
    match name {
        "orders" | "customers" | "items" => tenant("tenant_id", INT4, "pg_catalog.int4", None),
        "invoices" => tenant("org_id", UUID, "pg_catalog.uuid", Some("uuid")),
        "countries" => Some(TableRule::Shared),
        _ => None,
    }
}

/// The policy of the tests.
pub(in crate::guard) fn policy() -> Policy {
    let relations: HashMap<_, _> =
        SHAPES.iter().zip(16_400..).map(|(s, oid)| relation(s, oid)).map(|r| (r.name.clone(), r)).collect();
    let tables = relations.keys().filter_map(|name| Some((name.clone(), rule(&name.name)?))).collect();
    let functions = [
        ("count", FunctionKind::Aggregate, Volatility::Immutable),
        ("max", FunctionKind::Aggregate, Volatility::Immutable),
        ("lower", FunctionKind::Function, Volatility::Immutable),
        ("concat", FunctionKind::Function, Volatility::Stable),
        ("generate_series", FunctionKind::Function, Volatility::Immutable),
        ("query_to_xml", FunctionKind::Function, Volatility::Volatile),
    ];
    let functions = functions.map(|(name, kind, volatility)| (name.to_owned(), vec![function(name, kind, volatility)]));
    Policy {
        epoch: 1,
        catalog: Arc::new(Catalog {
            server_version_num: 150_020,
            role: crate::catalog::UpstreamRole::default(),
            search_path: vec!["public".to_owned()],
            schemas: HashSet::from(["public".to_owned(), "pg_catalog".to_owned()]),
            relations,
            functions: functions.into_iter().collect(),
            operators: operators(),
            types: types(),
            ..Catalog::default()
        }),
        tables,
        search_path: vec!["public".to_owned()],
        setting: "app.tenant_id".to_owned(),
        limits: StatementLimits::default(),
        ..Policy::empty()
    }
}

/// The only statement's plan, as Parse with no declared types would get it.
pub(in crate::guard) fn plan(sql: &str) -> Result<Plan, Refusal> {
    let mut plans = plan_statements(&policy(), &Mode::Shared, Protocol::Extended { param_types: &[] }, sql)?;
    assert_eq!(plans.len(), 1, "{sql}");
    Ok(plans.remove(0))
}

/// The final text of a plan; slots of the simple protocol as `{0}`.
pub(in crate::guard) fn text(plan: &Plan) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Slot(slot) => format!("{{{slot}}}"),
        Piece::Literal(literal) => format!("<{literal}>"),
    };
    plan.pieces.iter().map(piece).collect()
}

/// The final text, with the predicate's operator shortened to `=T=`.
pub(super) fn sent(sql: &str) -> String {
    match plan(sql) {
        Ok(plan) => text(&plan).replace("OPERATOR(pg_catalog.=)", "=T="),
        Err(refusal) => panic!("{sql}: {:?}", refusal.error),
    }
}

/// SQLSTATE and message of a refusal.
pub(super) fn refused(sql: &str) -> String {
    match plan(sql) {
        Ok(plan) => panic!("{sql} became {}", text(&plan)),
        Err(refusal) => format!("{} {}", refusal.error.code, refusal.error.message),
    }
}
