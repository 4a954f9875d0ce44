//! DDL for tables made by hand.

use super::*;
use crate::base::{QualifiedName, key_setting};

fn table(column: &str, key: Option<&str>) -> TenantTable {
    TenantTable {
        column: column.to_owned(),
        type_oid: 23,
        type_name: "pg_catalog.int4".to_owned(),
        key: key.map(Into::into),
        protection: crate::guard::Protection::Predicate,
    }
}

fn relation() -> Relation {
    Relation {
        oid: 1,
        name: QualifiedName::new("public", "or\"ders"),
        kind: crate::catalog::RelKind::Table,
        is_partition: false,
        columns: Vec::new(),
        parents: Vec::new(),
        row_security: false,
        force_row_security: false,
        row_security_active: false,
        owned: true,
        policies: Vec::new(),
        security_invoker: false,
        extension: None,
    }
}

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
    let relation = relation();
    policy.tables.insert(relation.name.clone(), TableRule::Tenant(table("org id", Some("uuid"))));
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
