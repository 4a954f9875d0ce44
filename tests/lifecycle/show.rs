//! `pgwarden tenant list`, `show`

use super::*;

#[test]
fn all_tenants_are_listed_with_their_places() {
    let stage = Stage::new("life_list");
    stage.ok(&["create", "listed", "--layout", "schema"]);
    lab().run("life_list", "CREATE TABLE listed.t AS SELECT generate_series(1, 1000) AS n");
    lab().run("life_list", "INSERT INTO pgwarden_tenants (name, layout, database, suspended) VALUES ('gone', 'database', 'life_gone', true), ('bad', 'nonesuch', null, false)".replace("'nonesuch'", "'schema'").as_str());
    let list = stage.json(&["list"]);
    let find = |name: &str| {
        list.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap_or_else(|| panic!("{name}"))
    };
    let listed = find("listed");
    assert_eq!((listed["layout"].as_str(), listed["schema"].as_str()), (Some("schema"), Some("listed")));
    assert_eq!(
        listed["size"]["bytes"].as_i64().unwrap().to_string(),
        stage.value("SELECT pg_total_relation_size('listed.t')")
    );
    assert_eq!((find("a")["size"].as_str(), find("a")["layout"].as_str()), (Some("in_shared_tables"), Some("shared")));
    assert!(find("da")["size"]["bytes"].as_i64().unwrap() > 1_000_000);
    assert_eq!((find("gone")["size"].as_str(), find("gone")["suspended"].as_bool()), (Some("missing"), Some(true)));
    let printed = stage.tenant(&["list"]);
    let said = text(&printed);
    assert!(said.lines().any(|line| line.starts_with("sb ") && line.contains("schemas")), "{said}");
    // A row that makes no tenant.
    assert!(said.contains("row \"bad\" is left out"), "{said}");
}

#[test]
fn a_tenants_rows_are_counted_by_the_guards_rules() {
    let stage = Stage::new("life_show");
    let view = stage.json(&["show", "a"]);
    let rows = |table: &str| {
        let tables = view["tables"].as_array().unwrap();
        tables.iter().find(|it| it["table"] == table).map_or(0, |it| it["rows"].as_i64().unwrap())
    };
    let count = |sql: &str| stage.value(sql).parse::<i64>().unwrap();
    assert_eq!(rows("public.customers"), count("SELECT count(*) FROM customers WHERE tenant_id = 1"));
    // Another key, a foreign key, rows of everybody beside the own ones, another column.
    assert_eq!(
        rows("public.invoices"),
        count("SELECT count(*) FROM invoices WHERE org_id = '00000000-0000-4000-8000-00000000000a'")
    );
    assert_eq!(
        rows("public.order_labels"),
        count("SELECT count(*) FROM order_labels l JOIN orders o ON o.id = l.order_id WHERE o.tenant_id = 1")
    );
    assert_eq!(rows("public.templates"), count("SELECT count(*) FROM templates WHERE tenant_id = 1"));
    assert_eq!(rows("public.User"), count("SELECT count(*) FROM \"User\" WHERE \"tenantId\" = 1"));
    for table in ["public.customers", "public.invoices", "public.order_labels", "public.templates", "public.User"] {
        assert!(rows(table) > 0, "{table}: {view}");
        let tables = view["tables"].as_array().unwrap();
        let bytes = tables.iter().find(|it| it["table"] == table).and_then(|it| it["bytes"].as_i64());
        assert!(bytes > Some(0), "{table}: {view}");
    }
    assert_eq!((view["keys"]["key"].as_str(), view["keys"]["account"].as_str()), (Some("1"), Some("acme")));
    let said = stage.ok(&["show", "sa"]);
    assert!(said.contains("t_a.orders") && said.contains("role"), "{said}");
    let own = stage.json(&["show", "da"]);
    assert!(own["sessions"].is_number() && own["tables"].as_array().unwrap().len() > 5, "{own}");
    stage.refused(&["show", "nonesuch"], &["no tenant \"nonesuch\""]);
}
