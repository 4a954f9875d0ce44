//! Temporary tables of tenants that share server connections: the connection stays with its client as long as there is one, and
//! nobody else ever sees what was in it.

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};

fn proxy(database: &str, size: usize) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let pool = format!(r#"{{ mode = "transaction", size = {size}, wait_timeout = "10s" }}"#);
    Proxy::start(lab, &Setup { database: database.to_owned(), pool, ..Setup::default() })
}

/// One server connection for all: who has a temporary table keeps it, and who has none any more gives it back.
#[test]
fn the_connection_goes_back_when_the_last_one_is_gone() {
    let proxy = proxy("temporary_pins", 1);
    let mut a = proxy.a().connect();
    let mut b = proxy.b().connect();
    for ends in [
        &["BEGIN", "CREATE TEMP TABLE short_a (x int) ON COMMIT DROP", "INSERT INTO short_a VALUES (1)", "COMMIT"][..],
        &["BEGIN", "CREATE TEMP TABLE short_a (x int)", "ROLLBACK"],
        &["CREATE TEMP TABLE short_a (x int)", "CREATE INDEX ON short_a (x)", "DROP TABLE short_a"],
        &["CREATE TEMP TABLE short_a (x int)", "DISCARD TEMP"],
        &["CREATE TEMP TABLE short_a (x int)", "DISCARD ALL"],
        &["CREATE TEMP TABLE short_a AS SELECT 1 AS x; SELECT * FROM short_a; DROP TABLE short_a"],
        &["BEGIN", "CREATE TEMP TABLE short_a (x int)", "SELECT 1/0", "ROLLBACK"],
    ] {
        for sql in ends {
            a.simple(sql);
        }
        // Were it kept, this would wait in vain.
        assert_eq!(b.simple("SELECT count(*) FROM settings").ok().value(), "4", "{ends:?}");
        assert_eq!(b.simple("SELECT * FROM short_a").sqlstate(), "42P01");
        assert_eq!(a.simple("SELECT * FROM short_a").sqlstate(), "42P01");
    }
}

#[test]
fn advisory_locks_outlive_the_last_one() {
    let proxy = proxy("temporary_locks", 4);
    let mut a = proxy.a().connect();
    a.simple("CREATE TEMP TABLE short_b (x int)").ok();
    a.simple("SELECT pg_advisory_lock(7)").ok();
    a.simple("DROP TABLE short_b").ok();
    a.simple("SELECT 1").ok();
    let mut other = proxy.a().connect();
    assert_eq!(other.simple("SELECT pg_try_advisory_lock(7)").ok().value(), "f");
    assert_eq!(a.simple("SELECT pg_advisory_unlock(7)").ok().value(), "t");
    assert_eq!(other.simple("SELECT pg_try_advisory_lock(7)").ok().value(), "t");
}

/// The same text means another table in each session, and what is prepared of it in one is nothing to the other.
#[test]
fn two_clients_with_the_same_text() {
    let proxy = proxy("temporary_texts", 3);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let mut mate = proxy.a().connect();
    a.simple("CREATE TEMP TABLE same_name AS SELECT 'of a' AS word, name FROM customers WHERE id % 1000 = 1").ok();
    b.simple("CREATE TEMP TABLE same_name AS SELECT name, 'of b' AS word FROM customers WHERE id % 1000 = 1").ok();
    for _ in 0..3 {
        let of_a = a.extended("SELECT word, name FROM same_name", &[]).ok();
        assert_eq!(of_a.texts(), [["of a", "ALPHA_name_1"]]);
        let of_b = b.extended("SELECT word, name FROM same_name", &[]).ok();
        assert_eq!(of_b.texts(), [["of b", "CANARY_B_name_1"]]);
        assert_eq!(a.simple("SELECT * FROM same_name").ok().texts(), [["of a", "ALPHA_name_1"]]);
        assert_eq!(b.simple("SELECT * FROM same_name").ok().texts(), [["CANARY_B_name_1", "of b"]]);
        // Of the same tenant, but another session.
        assert_eq!(mate.simple("SELECT word, name FROM same_name").sqlstate(), "42P01");
    }
    a.quit();
    b.quit();
    for _ in 0..3 {
        assert_eq!(proxy.b().connect().simple("SELECT * FROM same_name").sqlstate(), "42P01");
        assert_eq!(proxy.b().connect().simple("SELECT * FROM pg_temp.same_name").sqlstate(), "42P01");
    }
}

#[test]
fn no_more_than_the_servers_locks_allow() {
    let proxy = proxy("temporary_many", 2);
    let mut a = proxy.a().connect();
    a.simple("BEGIN").ok();
    let refused =
        (0..300).map(|i| a.simple(format!("CREATE TEMP TABLE many_{i} (x int)"))).find(|it| !it.errors.is_empty());
    assert_eq!(refused.expect("a limit").sqlstate(), "54000");
    a.simple("ROLLBACK").ok();
    a.simple("CREATE TEMP TABLE many_1 (x int)").ok();
}
