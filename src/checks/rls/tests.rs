//! DDL for tables made by hand.

use super::*;
use crate::base::key_setting;
use crate::guard::fixture;

#[test]
fn settings_by_key() {
    assert_eq!(key_setting("App.tenant_id", &None).as_deref(), Some("app.tenant_id"));
    assert_eq!(key_setting("app.tenant_id", &Some("UUID".into())).as_deref(), Some("app.tenant_id_uuid"));
    assert_eq!(key_setting("app.tenant_id", &Some("a-b".into())), None);
}

#[test]
fn the_ddl_of_a_table() {
    let mut policy = Policy::empty();
    let mut catalog = crate::catalog::Catalog::default();
    let relation = Relation { owned: true, ..fixture::table("or\"ders", &[]) };
    let table = TenantTable { key: Some("uuid".into()), ..fixture::tenant_table("org id") };
    policy.tables.insert(relation.name.clone(), TableRule::Tenant(table));
    catalog.relations.insert(relation.name.clone(), relation);
    policy.catalog = std::sync::Arc::new(catalog);
    let ddl = generate(&policy);
    for part in [
        "ALTER TABLE \"public\".\"or\"\"ders\" ENABLE ROW LEVEL SECURITY;",
        "ALTER TABLE \"public\".\"or\"\"ders\" FORCE ROW LEVEL SECURITY;",
        "USING (\"org id\" OPERATOR(pg_catalog.=) (SELECT CAST(NULLIF(pg_catalog.current_setting('app.tenant_id_uuid', true), '') AS pg_catalog.int4)))",
        "WITH CHECK (\"org id\" OPERATOR",
    ] {
        assert!(ddl.contains(part), "no {part} in\n{ddl}");
    }
    assert!(crate::sql::parse::reparse(&ddl).is_ok(), "{ddl}");
}
