//! Logins of role "reader": rows of all of their tenants at once, as the tenants are when a transaction begins.

use tokio_postgres::NoTls;

use crate::support::lab::{Lab, block_on};
use crate::support::proxy::{Proxy, Setup, tool};
use crate::support::session::Endpoint;

const TENANT_C: &str = "[[tenant]]\nname = \"c\"\nkey = \"3\"\nkeys = { uuid = \"cccccccc-0000-4000-8000-00000000000c\", account = \"charlie\" }\n";

fn reader(name: &str, tenants: &str) -> String {
    format!("[[login]]\nname = \"{name}\"\npassword = \"{name}_pw\"\nrole = \"reader\"\ntenants = {tenants}\n")
}

fn proxy(database: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let more = format!("{}{}", reader("reports", "\"*\""), reader("two", "[\"a\", \"b\"]"));
    let pool = "{ mode = \"transaction\", size = 1 }".to_owned();
    Proxy::start(lab, &Setup { database: database.to_owned(), pool, more, ..Setup::default() })
}

fn end(proxy: &Proxy, login: &str, database: &str) -> Endpoint {
    Endpoint::new(proxy.port, login, &format!("{login}_pw"), database)
}

/// What a driver prepares is for the tenants of each transaction.
#[test]
fn tenants_come_and_go_between_transactions() {
    let proxy = proxy("readers_go");
    block_on(async {
        let url = end(&proxy, "reports", "readers_go").url();
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = "SELECT DISTINCT tenant_id FROM customers WHERE id > $1 ORDER BY 1";
        let statement = client.prepare(sql).await.unwrap();
        let keys = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();
        assert_eq!(keys(client.query(&statement, &[&0_i64]).await.unwrap()), [1, 2]);
        let by_uuid = client.query("SELECT DISTINCT org_id::text FROM invoices", &[]).await.unwrap();
        assert_eq!(by_uuid.len(), 2);

        let transaction = client.transaction().await.unwrap();
        assert_eq!(keys(transaction.query(&statement, &[&0_i64]).await.unwrap()), [1, 2]);
        proxy.reload(|text| text + TENANT_C);
        assert_eq!(keys(transaction.query(&statement, &[&0_i64]).await.unwrap()), [1, 2]);
        transaction.commit().await.unwrap();
        assert_eq!(keys(client.query(&statement, &[&0_i64]).await.unwrap()), [1, 2, 3]);

        proxy.reload(|text| text.replace("key = \"2\"", "key = \"2\"\nsuspended = true"));
        assert_eq!(keys(client.query(&statement, &[&0_i64]).await.unwrap()), [1, 3]);
        assert_eq!(keys(client.query(sql, &[&0_i64]).await.unwrap()), [1, 3]);
    });
    let mut two = end(&proxy, "two", "readers_go").connect();
    assert_eq!(two.simple("SELECT DISTINCT tenant_id FROM customers").ok().texts(), [["1"]]);
}

/// Read-only for the server too, and of that nothing is left for who has the server connection next.
#[test]
fn the_server_holds_them_to_it() {
    let proxy = proxy("readers_only");
    let mut reader = end(&proxy, "two", "readers_only").connect();
    for (sql, value) in [
        ("SHOW transaction_read_only", "on"),
        ("SHOW app.tenant_id", ""),
        ("SELECT count(DISTINCT tenant_id) FROM orders", "2"),
        ("SELECT count(*) FROM countries", "4"),
        ("WITH o AS (SELECT tenant_id, max(id) AS last FROM orders GROUP BY 1) SELECT count(*) FROM o", "2"),
    ] {
        assert_eq!(reader.simple(sql).ok().value(), value, "{sql}");
        assert_eq!(reader.extended(sql, &[]).ok().value(), value, "{sql}");
    }
    let refused = reader.simple("UPDATE orders SET status = 'x'").refused("25006");
    assert_eq!(refused.errors[0][&'M'], "cannot execute UPDATE: a login of role \"reader\" only reads");
    let (mut a, greeting) = proxy.a().try_connect();
    let reported = greeting.statuses.iter().filter(|(name, _)| name == "default_transaction_read_only");
    assert!(reported.clone().all(|(_, value)| value == "off"), "{:?}", reported.collect::<Vec<_>>());
    a.simple("UPDATE orders SET total_cents = total_cents WHERE id = 1").ok();
    assert_eq!(a.simple("SELECT count(DISTINCT tenant_id) FROM orders").ok().value(), "1");
    assert_eq!(reader.simple("SHOW default_transaction_read_only").ok().value(), "on");
    assert_eq!(reader.simple("SELECT count(DISTINCT tenant_id) FROM orders").ok().value(), "2");
    let (_, named) = end(&proxy, "two", "a").try_connect();
    named.refused("28000");
}

/// `explain` knows such logins, and says what a statement becomes.
#[test]
fn explain_tells_what_is_sent() {
    let lab = Lab::general();
    lab.copy_of_shop("readers_explained");
    let setup =
        Setup { database: "readers_explained".to_owned(), more: reader("two", "[\"a\", \"b\"]"), ..Setup::default() };
    let explain = |sql: &str| tool(lab, &setup, &["explain", "--login", "two", sql]);
    let (passes, said, error) = explain("SELECT id FROM orders");
    assert!(passes, "{error}");
    assert!(said.contains("login    two (reader of 2 tenants on upstream \"main\")"), "{said}");
    assert!(
        said.contains("tenant_id OPERATOR(pg_catalog.=) ANY(CAST('{\"1\",\"2\"}' AS pg_catalog.int4[]))"),
        "{said}"
    );
    let (passes, said, _) = explain("DELETE FROM orders");
    assert!(!passes && said.contains("only reads"), "{said}");
}
