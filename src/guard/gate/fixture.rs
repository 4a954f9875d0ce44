//! A small catalog and policy for the tests of this room: a shop with tenants of every layout.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::base::{Mode, Oid, QualifiedName, Refusal};
use crate::catalog::{
    Cast, Catalog, Column, Function, FunctionKind, Generated, Identity, Operator, RelKind, Relation, TypeInfo,
    Volatility,
};
use crate::guard::{Policy, TableRule, TenantTable};

/// The schema layout's tenant of the tests.
pub(super) fn schema_mode() -> Mode {
    Mode::Schema("t_a".into())
}

fn column(attnum: i16, name: &str, type_oid: Oid, generated: Generated) -> Column {
    Column {
        name: name.to_owned(),
        attnum,
        type_oid,
        type_name: String::new(),
        base_type_oid: type_oid,
        not_null: false,
        has_default: false,
        generated,
        identity: Identity::No,
    }
}

fn relation(oid: Oid, schema: &str, name: &str, kind: RelKind, columns: &[&str]) -> Relation {
    let columns = columns.iter().zip(1..).map(|(name, attnum)| {
        let generated = if *name == "line_total" { Generated::Stored } else { Generated::No };
        column(attnum, name, if *name == "org_id" { 2950 } else { 23 }, generated)
    });
    Relation {
        oid,
        name: QualifiedName::new(schema, name),
        kind,
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

fn function(schema: &str, name: &str, volatility: Volatility, extension: Option<&str>, takes_row: bool) -> Function {
    Function {
        oid: 0,
        name: QualifiedName::new(schema, name),
        kind: FunctionKind::Function,
        volatility,
        leakproof: false,
        security_definer: false,
        language: "internal".to_owned(),
        arg_types: if takes_row { vec![2249] } else { vec![25, 25] },
        body: None,
        takes_row,
        extension: extension.map(str::to_owned),
    }
}

fn functions() -> Vec<Function> {
    use Volatility::{Immutable, Stable, Volatile};
    let system = [
        ("lower", Immutable),
        ("abs", Immutable),
        ("count", Immutable),
        ("now", Stable),
        ("row_to_json", Stable),
        ("nextval", Volatile),
        ("currval", Volatile),
        ("lastval", Volatile),
        ("setval", Volatile),
        ("pg_sleep", Volatile),
        ("set_config", Volatile),
        ("current_setting", Stable),
        ("query_to_xml", Volatile),
        ("ts_rewrite", Immutable),
        ("ts_rewrite", Volatile),
        ("pg_read_file", Volatile),
        ("pg_terminate_backend", Volatile),
        ("pg_database_size", Volatile),
        ("pg_relation_size", Volatile),
        ("pg_stat_get_activity", Stable),
        ("pg_advisory_lock", Volatile),
        ("pg_advisory_xact_lock", Volatile),
        ("pg_advisory_unlock_all", Volatile),
        ("has_table_privilege", Stable),
        ("pg_table_is_visible", Stable),
        ("pg_get_viewdef", Stable),
        ("pg_get_userbyid", Stable),
        ("obj_description", Stable),
        ("format_type", Stable),
        ("regclass", Stable),
        ("to_regclass", Stable),
        ("lo_get", Volatile),
        ("lo_import", Volatile),
        ("gen_random_uuid", Volatile),
    ];
    let mut all: Vec<Function> =
        system.iter().map(|(name, volatility)| function("pg_catalog", name, *volatility, None, false)).collect();
    all.extend([
        function("extensions", "similarity", Immutable, Some("pg_trgm"), false),
        function("extensions", "set_limit", Volatile, Some("pg_trgm"), false),
        function("extensions", "gen_salt", Volatile, Some("pgcrypto"), false),
        function("extensions", "st_area", Immutable, Some("postgis"), false),
        function("extensions", "st_estimatedextent", Stable, Some("postgis"), false),
        function("extensions", "dblink", Volatile, Some("dblink"), false),
        function("extensions", "crosstab", Stable, Some("tablefunc"), false),
        function("pg_catalog", "pg_file_write", Volatile, Some("adminpack"), false),
        function("public", "customer_count", Volatile, None, false),
        function("public", "order_label", Stable, None, true),
        function("public", "lower", Stable, None, false),
        function("public", "safe_total", Stable, None, false),
        function("t_b", "my_customers", Stable, None, false),
    ]);
    // An overload on the search path: `lower` is the system's only under its own schema.
    all.retain(|f| !(f.name.schema == "public" && f.name.name == "lower"));
    all.push(function("public", "abs", Stable, None, false));
    all
}

fn operator(schema: &str, name: &str, extension: Option<&str>) -> Operator {
    Operator {
        name: QualifiedName::new(schema, name),
        left: 25,
        right: 25,
        leakproof: false,
        extension: extension.map(str::to_owned),
    }
}

fn relations() -> Vec<Relation> {
    use RelKind as K;
    let mut relations = vec![
        relation(16401, "public", "orders", K::Table, &["id", "tenant_id", "status", "line_total"]),
        relation(16402, "public", "invoices", K::PartitionedTable, &["id", "org_id", "memo"]),
        relation(16403, "public", "countries", K::Table, &["code", "name"]),
        relation(16404, "public", "order_tags", K::Table, &["order_id", "tag"]),
        relation(16405, "public", "orders_v", K::View, &["id", "tenant_id"]),
        relation(16406, "public", "orders_id_seq", K::Sequence, &["last_value"]),
        relation(16407, "public", "customers_remote", K::ForeignTable, &["id", "email"]),
        relation(16504, "t_a", "remote", K::ForeignTable, &["id"]),
        relation(16501, "t_a", "customers", K::Table, &["id", "email"]),
        relation(16502, "t_b", "customers", K::Table, &["id", "email"]),
        relation(16503, "t_b", "v_orders", K::View, &["id"]),
        relation(
            1259,
            "pg_catalog",
            "pg_class",
            K::Table,
            &["oid", "relname", "relnamespace", "reltuples", "relpages"],
        ),
        relation(1249, "pg_catalog", "pg_attribute", K::Table, &["attrelid", "attname", "attmissingval"]),
        relation(2615, "pg_catalog", "pg_namespace", K::Table, &["oid", "nspname"]),
        relation(1247, "pg_catalog", "pg_type", K::Table, &["oid", "typname", "typnamespace"]),
        relation(2609, "pg_catalog", "pg_description", K::Table, &["objoid", "description"]),
        relation(13000, "pg_catalog", "pg_tables", K::View, &["schemaname", "tablename"]),
        relation(13100, "information_schema", "tables", K::View, &["table_schema", "table_name"]),
        relation(13101, "information_schema", "columns", K::View, &["table_schema", "table_name", "column_name"]),
    ];
    let mut oid = 14_000;
    for name in [
        "pg_enum",
        "pg_settings",
        "pg_database",
        "pg_roles",
        "pg_stats",
        "pg_statistic",
        "pg_stat_activity",
        "pg_locks",
        "pg_authid",
    ] {
        oid += 1;
        relations.push(relation(oid, "pg_catalog", name, K::View, &["name", "setting", "datname", "rolname"]));
    }
    let mut statements = relation(14_900, "public", "pg_stat_statements", K::View, &["query"]);
    statements.extension = Some("pg_stat_statements".to_owned());
    relations.push(statements);
    relations
}

/// The policy: `orders` and `invoices` are tenant tables, `countries` is shared, the rest is not configured.
pub(super) fn policy() -> Policy {
    let relations = relations().into_iter().map(|r| (r.name.clone(), r)).collect();
    let mut by_name: HashMap<String, Vec<Function>> = HashMap::new();
    for function in functions() {
        by_name.entry(function.name.name.clone()).or_default().push(function);
    }
    let operators = [
        operator("pg_catalog", "=", None),
        operator("public", "=", None),
        operator("extensions", "%", Some("pg_trgm")),
        operator("public", "@@@", None),
    ];
    let mut by_operator: HashMap<String, Vec<Operator>> = HashMap::new();
    for operator in operators {
        by_operator.entry(operator.name.name.clone()).or_default().push(operator);
    }
    let date = TypeInfo { oid: 1082, name: QualifiedName::new("pg_catalog", "date"), typtype: 'b', base: 1082 };
    let names = ["public", "extensions", "t_a", "t_b", "pg_catalog", "information_schema"];
    let catalog = Catalog {
        server_version_num: 150_020,
        role: crate::catalog::UpstreamRole::default(),
        search_path: vec!["public".to_owned(), "extensions".to_owned()],
        schemas: names.iter().map(|s| (*s).to_owned()).collect(),
        relations,
        functions: by_name,
        operators: by_operator,
        casts: [("boxed", "customer_count"), ("labelled", "safe_total")]
            .map(|(target, function)| Cast {
                target: QualifiedName::new("public", target),
                function: QualifiedName::new("public", function),
                unwritten: false,
            })
            .to_vec(),
        types: HashMap::from([(1082, date)]),
        ..Catalog::default()
    };
    let tenant = |column: &str, type_oid, type_name: &str| {
        TableRule::Tenant(TenantTable {
            column: column.to_owned(),
            type_oid,
            type_name: type_name.to_owned(),
            key: None,
            protection: crate::guard::Protection::Predicate,
        })
    };
    Policy {
        catalog: Arc::new(catalog),
        tables: HashMap::from([
            (QualifiedName::new("public", "orders"), tenant("tenant_id", 23, "pg_catalog.int4")),
            (QualifiedName::new("public", "invoices"), tenant("org_id", 2950, "pg_catalog.uuid")),
            (QualifiedName::new("public", "countries"), TableRule::Shared),
        ]),
        search_path: vec!["public".to_owned(), "extensions".to_owned()],
        allow_functions: HashSet::from([QualifiedName::new("public", "safe_total")]),
        setting: "app.tenant_id".to_owned(),
        ..Policy::empty()
    }
}

/// SQLSTATE of a refusal, `ok` otherwise.
pub(super) fn outcome<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.error.code.as_str().to_owned(),
    }
}
