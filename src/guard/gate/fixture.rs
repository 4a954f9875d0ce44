//! A small catalog and policy for the tests of this room: a shop with tenants of every layout.

use crate::base::oid::{INT4, TEXT, UUID};
use crate::base::{Mode, Oid, Refusal};
use crate::catalog::{
    Cast, Catalog, Column, Function, Generated, Operator, RelKind, Relation, UpstreamRole, Volatility,
};
use crate::guard::{Policy, SettingRules, TableRule, TenantTable, fixture};

/// The schema layout's tenant of the tests.
pub(super) fn schema_mode() -> Mode {
    Mode::Schema("t_a".into())
}

fn relation(oid: Oid, schema: &str, name: &str, kind: RelKind, columns: &[&str]) -> Relation {
    let columns = columns.iter().map(|name| {
        let generated = if *name == "line_total" { Generated::Stored } else { Generated::No };
        Column { generated, ..fixture::column(name, if *name == "org_id" { UUID } else { INT4 }) }
    });
    Relation { oid, ..fixture::relation(&format!("{schema}.{name}"), kind, columns) }
}

fn function(schema: &str, name: &str, volatility: Volatility, extension: Option<&str>, takes_row: bool) -> Function {
    Function {
        arg_types: if takes_row { vec![2249] } else { vec![TEXT, TEXT] },
        takes_one: true,
        takes_row,
        extension: extension.map(str::to_owned),
        ..fixture::function(&format!("{schema}.{name}"), volatility)
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
        ("pg_notify", Volatile),
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
        function("public", "pg_advisory_note", Volatile, None, false),
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
        extension: extension.map(str::to_owned),
        ..fixture::operator(&format!("{schema}.{name}"), TEXT, TEXT, false)
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
        relation(13102, "information_schema", "applicable_roles", K::View, &["grantee", "role_name", "is_grantable"]),
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
    let operators = [
        operator("pg_catalog", "=", None),
        operator("public", "=", None),
        operator("extensions", "%", Some("pg_trgm")),
        operator("public", "@@@", None),
    ];
    let cast = |(target, function): (&str, &str)| Cast {
        target: fixture::named(target),
        function: fixture::named(function),
        unwritten: false,
    };
    let catalog = Catalog {
        search_path: vec!["public".to_owned(), "extensions".to_owned()],
        casts: [("boxed", "customer_count"), ("labelled", "safe_total")].map(cast).to_vec(),
        types: fixture::types(&[(1082, "date")]),
        modules: ["acme_audit".to_owned()].into(),
        role: UpstreamRole { settings: vec!["app.secret".to_owned()], ..UpstreamRole::default() },
        ..fixture::catalog(relations(), functions(), operators)
    };
    let by_org =
        TenantTable { type_oid: UUID, type_name: "pg_catalog.uuid".to_owned(), ..fixture::tenant_table("org_id") };
    let rules = [
        ("orders", TableRule::Tenant(fixture::tenant_table("tenant_id"))),
        ("invoices", TableRule::Tenant(by_org)),
        ("countries", TableRule::Shared(crate::base::Access::Read)),
    ];
    let deciders = [("app.org".to_owned(), "the function public.org_rows".into())].into();
    Policy {
        allow_functions: [fixture::named("safe_total")].into(),
        settings: SettingRules { deciders, ..SettingRules::default() },
        ..fixture::policy(catalog, rules)
    }
}

/// SQLSTATE of a refusal, `ok` otherwise.
pub(super) fn outcome<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => refusal.error.code.as_str().to_owned(),
    }
}
