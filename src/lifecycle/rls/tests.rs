//! DDL and findings for tables made by hand.

use super::check::{Found, missing};
use super::*;
use crate::catalog::QualifiedName;
use crate::guard::key_setting;

fn table(column: &str, key: Option<&str>) -> TenantTable {
    TenantTable {
        column: column.to_owned(),
        type_oid: 23,
        type_name: "pg_catalog.int4".to_owned(),
        key: key.map(Into::into),
    }
}

fn relation(row_security: bool, force_row_security: bool) -> Relation {
    Relation {
        oid: 1,
        name: QualifiedName::new("public", "or\"ders"),
        kind: RelKind::Table,
        is_partition: false,
        columns: Vec::new(),
        parents: Vec::new(),
        row_security,
        force_row_security,
        security_invoker: false,
        extension: None,
    }
}

fn found(command: &str, using: Option<&str>, check: Option<&str>) -> Found {
    Found {
        name: "p".to_owned(),
        permissive: true,
        command: command.to_owned(),
        using: using.map(str::to_owned),
        check: check.map(str::to_owned),
    }
}

/// As Postgres prints the generated one.
const OURS: &str =
    "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::integer AS \"nullif\"))";

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
    let relation = relation(false, false);
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
    assert!(crate::guard::parse::reparse(&ddl).is_ok(), "{ddl}");
}

#[test]
fn what_is_missing() {
    let ask = |relation: &Relation, policies: &[Found], owned| {
        missing(relation, &table("tenant_id", None), "app.tenant_id", policies, owned)
    };
    let sound = relation(true, true);
    assert_eq!(ask(&sound, &[found("ALL", Some(OURS), Some(OURS))], true), Vec::<String>::new());
    assert_eq!(ask(&sound, &[found("ALL", Some(OURS), None)], true), Vec::<String>::new());
    assert_eq!(ask(&relation(true, false), &[found("ALL", Some(OURS), None)], false), Vec::<String>::new());
    assert_eq!(ask(&relation(true, false), &[found("ALL", Some(OURS), None)], true).len(), 1);
    assert_eq!(ask(&relation(false, true), &[found("ALL", Some(OURS), None)], true).len(), 1);
    assert_eq!(ask(&sound, &[], true).len(), 4);
    assert_eq!(ask(&sound, &[found("SELECT", Some(OURS), None)], true).len(), 3);
    for weak in [
        "true",
        "((tenant_id = (current_setting('app.tenant_id'::text))::integer) OR (tenant_id IS NULL))",
        "(tenant_id = COALESCE((current_setting('app.tenant_id'::text, true))::integer, tenant_id))",
        "(tenant_id = (current_setting('other.setting'::text))::integer)",
        "(other = (current_setting('app.tenant_id'::text))::integer)",
    ] {
        assert!(!ask(&sound, &[found("ALL", Some(weak), None)], true).is_empty(), "{weak}");
    }
    let writes = ask(&sound, &[found("ALL", Some(OURS), Some("true"))], true);
    assert!(writes.iter().all(|it| it.starts_with("INSERT") || it.starts_with("UPDATE")), "{writes:?}");
    let beside = ask(&sound, &[found("ALL", Some(OURS), None), found("SELECT", Some("true"), None)], true);
    assert_eq!(beside, ["SELECT: policy \"p\" lets rows through without the setting"]);
}
