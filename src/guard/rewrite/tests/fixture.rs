//! A hand-made catalog and policy: a shop of the shared layout.

use crate::base::oid::{BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ, UUID};
use crate::base::{Access, Mode, Oid, Refusal};
use crate::catalog::{
    Catalog, Column, Function, FunctionKind, Generated, Identity, Operator, RelKind, Relation, Volatility,
};
use crate::guard::{Piece, Plan, Policy, Protocol, TableRule, TenantTable, fixture, plan_statements};

const INTERVAL: Oid = 1186;

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
    ("sessions", RelKind::Table, &[("key", TEXT), ("data", TEXT)]),
    ("feedback", RelKind::Table, &[("note", TEXT)]),
    ("accounts", RelKind::Table, &[("tenant_id", INT4), ("plan", TEXT)]),
    ("templates", RelKind::Table, &[("id", INT8), ("tenant_id", INT4), ("name", TEXT)]),
    ("order_tags", RelKind::Table, &[("order_id", INT8), ("tag", TEXT)]),
    ("tag_notes", RelKind::Table, &[("id", INT8), ("tag_order", INT8), ("note", TEXT)]),
    ("template_parts", RelKind::Table, &[("template_id", INT8), ("part", TEXT)]),
    ("orgs", RelKind::Table, &[("id", INT4), ("name", TEXT)]),
    ("loose", RelKind::Table, &[("id", INT8)]),
];

fn relation((table, kind, columns): &Shape) -> Relation {
    let columns = columns.iter().map(|(name, type_oid)| {
        let generated = if *name == "doubled" { Generated::Stored } else { Generated::No };
        let identity = if (*table, *name) == ("orgs", "id") { Identity::Always } else { Identity::No };
        Column { generated, identity, ..fixture::column(name, *type_oid) }
    });
    fixture::relation(table, *kind, columns)
}

fn operators() -> Vec<Operator> {
    let mut all = Vec::new();
    let mut add = |name: &str, left, right, leakproof| {
        all.push(fixture::operator(&format!("pg_catalog.{name}"), left, right, leakproof));
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
    all.push(Operator {
        result: TIMESTAMPTZ,
        volatility: Volatility::Stable,
        ..fixture::operator("pg_catalog.-", TIMESTAMPTZ, INTERVAL, false)
    });
    let mut add = |name: &str, left, right, leakproof| {
        all.push(fixture::operator(&format!("pg_catalog.{name}"), left, right, leakproof));
    };
    for name in ["+", "-", "*", "/", "~", "~~", "||"] {
        add(name, TEXT, TEXT, false);
    }
    all
}

const TYPES: &[(Oid, &str)] = &[
    (BOOL, "bool"),
    (INT8, "int8"),
    (INT4, "int4"),
    (TEXT, "text"),
    (NUMERIC, "numeric"),
    (TIMESTAMPTZ, "timestamptz"),
    (UUID, "uuid"),
    (INTERVAL, "interval"),
    (1016, "_int8"),
];

/// The policy of the tests.
pub(in crate::guard) fn policy() -> Policy {
    let functions = [
        ("count", FunctionKind::Aggregate, Volatility::Immutable),
        ("max", FunctionKind::Aggregate, Volatility::Immutable),
        ("lower", FunctionKind::Function, Volatility::Immutable),
        ("concat", FunctionKind::Function, Volatility::Stable),
        ("jsonb_populate_record", FunctionKind::Function, Volatility::Stable),
        ("generate_series", FunctionKind::Function, Volatility::Immutable),
        ("query_to_xml", FunctionKind::Function, Volatility::Volatile),
        ("hashtext", FunctionKind::Function, Volatility::Immutable),
        ("pg_advisory_xact_lock", FunctionKind::Function, Volatility::Volatile),
        ("pg_notify", FunctionKind::Function, Volatility::Volatile),
        ("pg_try_advisory_lock", FunctionKind::Function, Volatility::Volatile),
        ("pg_advisory_unlock", FunctionKind::Function, Volatility::Volatile),
    ];
    let functions = functions.map(|(name, kind, volatility)| Function {
        kind,
        ..fixture::function(&format!("pg_catalog.{name}"), volatility)
    });
    let now =
        Function { arg_types: vec![], returns: TIMESTAMPTZ, ..fixture::function("pg_catalog.now", Volatility::Stable) };
    let functions = functions.into_iter().chain([now]);
    let catalog = Catalog {
        types: fixture::types(TYPES),
        ..fixture::catalog(SHAPES.iter().map(relation), functions, operators())
    };
    let tenant = || TableRule::Tenant(fixture::tenant_table("tenant_id"));
    let by_uuid = TenantTable {
        type_oid: UUID,
        type_name: "pg_catalog.uuid".to_owned(),
        key: Some("uuid".into()),
        ..fixture::tenant_table("org_id")
    };
    let template = || TenantTable { null_is_shared: true, ..fixture::tenant_table("tenant_id") };
    let tag = || fixture::through("order_tags", "order_id", "orders", "id", fixture::tenant_table("tenant_id"));
    let rules = [
        ("order_tags", TableRule::Tenant(tag())),
        ("tag_notes", TableRule::Tenant(fixture::through("tag_notes", "tag_order", "order_tags", "order_id", tag()))),
        (
            "template_parts",
            TableRule::Tenant(fixture::through("template_parts", "template_id", "templates", "id", template())),
        ),
        ("orders", tenant()),
        ("customers", tenant()),
        ("items", tenant()),
        ("invoices", TableRule::Tenant(by_uuid)),
        ("sessions", TableRule::Shared(Access::Write)),
        ("feedback", TableRule::Shared(Access::Insert)),
        ("templates", TableRule::Tenant(template())),
        ("orgs", TableRule::Tenant(fixture::tenant_table("id"))),
        ("accounts", TableRule::Tenant(TenantTable { access: Access::Read, ..fixture::tenant_table("tenant_id") })),
        ("countries", TableRule::Shared(Access::Read)),
    ];
    Policy { epoch: 1, ..fixture::policy(catalog, rules) }
}

/// The only statement's plan, as Parse with no declared types would get it.
pub(in crate::guard) fn plan(sql: &str) -> Result<Plan, Refusal> {
    plan_in(&Mode::Shared, sql)
}

/// The same in another mode.
pub(in crate::guard) fn plan_in(mode: &Mode, sql: &str) -> Result<Plan, Refusal> {
    let mut plans = plan_statements(&policy(), mode, Protocol::Extended { param_types: &[] }, sql)?;
    assert_eq!(plans.len(), 1, "{sql}");
    Ok(plans.remove(0))
}

/// The final text of a plan; slots of the simple protocol as `{0}`.
pub(in crate::guard) fn text(plan: &Plan) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Slot(slot) => format!("{{{slot}}}"),
        Piece::Literal(literal) => format!("<{literal}>"),
        Piece::Channel { slot, kind, name } => format!("{{{kind:?} {name} of {slot}}}"),
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
