//! What is refused by default in the shared layout, kind by kind: each row of the table in docs/enforcement.md that is about
//! code, views, sequences and the like.

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Endpoint;

/// Statements that no list of the fixture allows, and what they fail with.
const REFUSED: &[(&str, &str)] = &[
    // User functions by language: what runs SQL out of sight
    ("SELECT customer_count()", "42501"),
    ("SELECT * FROM all_customers()", "42501"),
    ("SELECT find_customer('x')", "42501"),
    ("SELECT * FROM run_report('orders')", "42501"),
    ("SELECT c.siblings FROM customers c", "42501"),
    ("CALL purge_tenant(2)", "42501"),
    ("DO $$ BEGIN END $$", "42501"),
    // Views that show no tenant column, or are not listed
    ("SELECT * FROM customer_totals", "42501"),
    ("REFRESH MATERIALIZED VIEW customer_totals", "42501"),
    // Rules
    ("INSERT INTO legacy_notes VALUES (1, 'x')", "42501"),
    // Sequences: one for all tenants
    ("SELECT setval('orders_id_seq', 1)", "42501"),
    ("SELECT last_value FROM orders_id_seq", "42501"),
    // Large objects
    ("SELECT lo_get(424202)", "42501"),
    ("SELECT lo_create(0)", "42501"),
    ("SELECT * FROM pg_largeobject", "42501"),
    // Statistics and activity
    ("SELECT * FROM pg_stats", "42501"),
    ("SELECT query FROM pg_stat_activity", "42501"),
];

/// What applications need all the same.
const ALLOWED: &[&str] = &[
    "SELECT nextval('orders_id_seq')",
    "SELECT add_cents(1, 2)",
    "SELECT order_label(o) FROM orders o LIMIT 1",
    "SELECT * FROM customers_public",
    "UPDATE rich_customers SET name = 'x'",
    "SELECT relname FROM pg_class WHERE relname = 'orders'",
    "INSERT INTO note (note_id, note) VALUES (990, 'x') RETURNING note_id",
];

#[test]
fn refused_by_default_and_allowed_by_the_lists() {
    let lab = Lab::general();
    lab.copy_of_shop("defaults");
    let proxy = Proxy::start(lab, &Setup { database: "defaults".to_owned(), ..Setup::default() });
    let mut it = proxy.a().connect();
    for (sql, state) in REFUSED {
        let reply = it.simple(sql);
        assert_eq!(reply.sqlstate(), *state, "{sql}: {}", reply.text());
        assert!(reply.errors[0].contains_key(&'H'), "no hint: {sql}");
    }
    for sql in ALLOWED {
        it.simple(sql).ok();
    }
    for (sql, hint) in
        [("SELECT currval('orders_id' || '_seq')", "literal"), ("SELECT setval('orders_id_seq', 1)", "all tenants")]
    {
        assert!(it.simple(sql).errors[0][&'H'].contains(hint), "{sql}");
    }
    // Each has its list.
    let text = std::fs::read_to_string(proxy.config()).unwrap();
    let listed = text
        .replace("\"public.order_label\"", "\"public.order_label\", \"public.customer_count\", \"public.purge_tenant\"")
        .replace(
            "[tenancy.tables]",
            "[tenancy.tables]\n\"public.orders_v\" = { column = \"tenant_id\" }\n\"public.customer_totals\" = { column = \"tenant_id\" }\n\
             \"public.rich_customers\" = { column = \"tenant_id\" }",
        );
    let port = crate::support::proxy::free_port();
    let open = Proxy::launch(&listed.replace(&format!(":{}\"", proxy.port), &format!(":{port}\"")), port);
    let mut it = Endpoint::new(open.port, "tenant_a", "tenant_a_pw", "defaults").connect();
    for sql in ["SELECT customer_count()", "CALL purge_tenant(99)", "SELECT count(*) FROM rich_customers"] {
        it.simple(sql).ok();
    }
    for sql in
        ["SELECT count(DISTINCT tenant_id) FROM orders_v", "SELECT count(DISTINCT tenant_id) FROM customer_totals"]
    {
        assert_eq!(it.simple(sql).ok().value(), "1", "{sql}");
    }
}
