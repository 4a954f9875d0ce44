use std::sync::Arc;

use super::*;
use crate::guard::gate::fixture::{outcome, policy, schema_mode};
use crate::sql::parse;

fn name(mode: &Mode, name: &str) -> String {
    name_by(&policy(), mode, name)
}

fn name_by(policy: &Policy, mode: &Mode, name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let resolved = match parts.as_slice() {
        [name] => resolve(policy, mode, "", "", name),
        [schema, name] => resolve(policy, mode, "", schema, name),
        [catalog, schema, name] => resolve(policy, mode, catalog, schema, name),
        _ => panic!("{name}"),
    };
    match resolved {
        Ok(Resolved::Tenant(table, _)) => format!("tenant {}", table.column),
        Ok(Resolved::Policed(table, _)) => format!("policed {}", table.column),
        Ok(Resolved::Shared(..)) => "shared".to_owned(),
        Ok(Resolved::System(_, None)) => "system".to_owned(),
        Ok(Resolved::System(_, Some(_))) => "masked".to_owned(),
        Ok(Resolved::Free(_)) => "free".to_owned(),
        Ok(Resolved::Own(found)) => if found.is_some() { "own" } else { "own, unknown" }.to_owned(),
        Ok(Resolved::Temporary) => "temporary".to_owned(),
        Err(refusal) => refusal.error.code.as_str().to_owned(),
    }
}

#[test]
fn the_shared_layout_knows_configured_relations_only() {
    for (relation, wanted) in [
        ("orders", "tenant tenant_id"),
        ("public.invoices", "tenant org_id"),
        ("countries", "shared"),
        ("order_tags", "42501"),
        ("orders_v", "42501"),
        ("orders_id_seq", "42501"),
        ("customers_remote", "42501"),
        ("t_a.customers", "42501"),
        ("nothing", "42P01"),
        ("public.nothing", "42P01"),
        ("customers", "42P01"),
        ("shop.public.orders", "0A000"),
        ("pg_enum", "system"),
        ("pg_class", "masked"),
        ("pg_catalog.pg_attribute", "masked"),
        ("information_schema.tables", "masked"),
        ("pg_settings", "masked"),
        ("pg_database", "masked"),
        ("pg_stats", "42501"),
        ("pg_statistic", "42501"),
        ("pg_stat_activity", "42501"),
        ("pg_locks", "42501"),
        ("pg_authid", "42501"),
        ("pg_stat_statements", "42501"),
    ] {
        assert_eq!(name(&Mode::Shared, relation), wanted, "{relation}");
    }
}

#[test]
fn the_schema_layout_knows_its_schema_and_the_system() {
    let mode = schema_mode();
    for (relation, wanted) in [
        ("customers", "free"),
        ("t_a.customers", "free"),
        ("made_a_moment_ago", "free"),
        ("pg_temp.x", "free"),
        ("t_b.customers", "42501"),
        ("t_b.nothing", "42501"),
        ("public.orders", "42501"),
        ("public.countries", "shared"),
        ("remote", "42501"),
        ("pg_temp_3.x", "42501"),
        ("shop.t_a.customers", "0A000"),
        ("pg_namespace", "masked"),
        ("pg_stat_activity", "42501"),
        ("pg_stats", "42501"),
        ("pg_catalog.nothing", "42P01"),
    ] {
        assert_eq!(name(&mode, relation), wanted, "{relation}");
    }
}

#[test]
fn a_database_of_ones_own_hides_the_servers_other_databases_only() {
    for (relation, wanted) in [
        ("orders", "free"),
        ("order_tags", "free"),
        ("nothing", "free"),
        ("pg_class", "free"),
        ("pg_stats", "free"),
        ("pg_database", "masked"),
        ("pg_stat_activity", "masked"),
        ("pg_catalog.pg_stat_database", "42501"),
        ("pg_locks", "masked"),
        ("pg_authid", "42501"),
        ("pg_stat_statements", "42501"),
        ("customers_remote", "42501"),
        ("other.public.orders", "0A000"),
    ] {
        assert_eq!(name(&Mode::Database, relation), wanted, "{relation}");
    }
    for relation in ["pg_authid", "nothing", "other.public.orders"] {
        assert_eq!(name(&Mode::Operator, relation), "free", "{relation}");
    }
}

#[test]
fn refusals_say_what_and_how() {
    let policy = policy();
    let refusal = resolve(&policy, &Mode::Shared, "", "", "order_tags").unwrap_err();
    assert_eq!(refusal.error.message, "permission denied for table order_tags");
    let hint = refusal.error.hint.unwrap();
    assert!(hint.contains("tenancy.shared_tables") && hint.contains("[tenancy.tables]"), "{hint}");
    let refusal = resolve(&policy, &Mode::Shared, "", "nowhere", "x").unwrap_err();
    assert_eq!(refusal.error.message, "relation \"nowhere.x\" does not exist");
    assert_eq!(refusal.kind, RefusalKind::Undefined);
}

#[test]
fn long_names_are_cut_as_the_server_cuts_them() {
    let mut policy = policy();
    let long = "x".repeat(63);
    let catalog = std::sync::Arc::make_mut(&mut policy.catalog);
    let mut relation = catalog.relation("public", "countries").unwrap().clone();
    relation.name.name.clone_from(&long);
    policy.tables.insert(relation.name.clone(), TableRule::Shared(crate::base::Access::Read));
    catalog.relations.insert(relation.name.clone(), relation);
    assert_eq!(outcome(resolve(&policy, &Mode::Shared, "", "", &format!("{long}yz"))), "ok");
}

fn mask(mode: &Mode, schema: &str, relation: &str) -> String {
    let policy = policy();
    match resolve(&policy, mode, "", schema, relation).unwrap() {
        Resolved::System(relation, Some(mask)) => mask.subquery(relation, false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn masks_hide_numbers_schemas_and_unconfigured_relations() {
    let sql = mask(&Mode::Shared, "", "pg_class");
    assert!(sql.contains("'-1'::pg_catalog.float4 AS \"reltuples\""), "{sql}");
    assert!(sql.contains("\"relname\", \"relnamespace\""), "{sql}");
    assert!(
        sql.contains("oid OPERATOR(pg_catalog.<>) ALL ('{16404,16405,14900}'") || sql.contains("16404,16405"),
        "{sql}"
    );
    assert!(sql.contains("to_regnamespace('\"public\"')") && !sql.contains("t_a"), "{sql}");

    let sql = mask(&Mode::Shared, "information_schema", "tables");
    assert!(sql.contains("'public.order_tags'") && !sql.contains("public.orders'"), "{sql}");

    let sql = mask(&schema_mode(), "", "pg_namespace");
    assert!(sql.contains("'t_a'") && !sql.contains("t_b"), "{sql}");
    let sql = mask(&schema_mode(), "", "pg_attribute");
    assert!(sql.contains("NULL::pg_catalog.text AS \"attmissingval\"") && sql.contains("relnamespace"), "{sql}");

    let sql = mask(&Mode::Shared, "", "pg_description");
    assert!(sql.contains("NULL::pg_catalog.text AS \"description\""), "{sql}");
    let sql = mask(&Mode::Database, "", "pg_database");
    assert!(sql.contains("current_database()"), "{sql}");
    // Whose role the pool may become is no tenant's business.
    let sql = mask(&schema_mode(), "information_schema", "applicable_roles");
    assert!(sql.ends_with("WHERE false"), "{sql}");
}

#[test]
fn masks_are_sql_that_names_no_other_relation_than_the_systems() {
    let policy = policy();
    for mode in [Mode::Shared, schema_mode(), Mode::Database] {
        for relation in policy.catalog.relations.values().filter(|r| is_system(r)) {
            let resolved = resolve(&policy, &mode, "", &relation.name.schema, &relation.name.name);
            if let Ok(Resolved::System(relation, Some(mask))) = resolved {
                for tableoid in [false, true] {
                    let sql = mask.subquery(relation, tableoid);
                    assert_eq!(parse::reparse(&sql).map(|s| s.len()), Ok(1), "{sql}");
                }
            }
        }
    }
}

/// What Postgres shares between databases (`pg_class.relisshared`, 14 to 18): a tenant with a database of its own sees its own part.
/// Only `pg_tablespace` is open to every tenant of any layout.
#[test]
fn what_databases_share_is_not_free() {
    let policy = policy();
    let mut pg_class = policy.catalog.relation("pg_catalog", "pg_class").unwrap().clone();
    assert!(matches!(system::rule(&policy, &Mode::Database, &pg_class), Ok(Resolved::Free(_))));
    for name in [
        "pg_authid",
        "pg_auth_members",
        "pg_database",
        "pg_db_role_setting",
        "pg_parameter_acl",
        "pg_replication_origin",
        "pg_shdepend",
        "pg_shdescription",
        "pg_shseclabel",
        "pg_subscription",
    ] {
        pg_class.name.name = name.to_owned();
        match system::rule(&policy, &Mode::Database, &pg_class) {
            Err(_) | Ok(Resolved::System(_, Some(_))) => {}
            Ok(other) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_common_schema_stands_behind_the_tenants_own() {
    let mut policy = policy();
    policy.common_schemas = vec!["public".to_owned()];
    let name = QualifiedName::new("t_a", "order_tags");
    let relation = policy.catalog.relations[&QualifiedName::new("t_a", "customers")].clone();
    Arc::make_mut(&mut policy.catalog).relations.insert(name.clone(), Relation { name, ..relation });
    for (relation, wanted) in [
        // The tenant's, and no common schema's
        ("customers", "free"),
        ("nosuch", "free"),
        // The tenant's, and a common schema's
        ("order_tags", "own"),
        ("t_a.order_tags", "free"),
        // A common schema's alone, whatever it is to tenants of the shared layout
        ("orders", "own, unknown"),
        ("orders_v", "own, unknown"),
        ("customers_remote", "own, unknown"),
        ("pg_stat_statements", "own, unknown"),
        ("countries", "shared"),
        ("public.countries", "shared"),
        ("public.orders", "42501"),
        ("public.order_tags", "42501"),
    ] {
        assert_eq!(name_by(&policy, &schema_mode(), relation), wanted, "{relation}");
    }
}
