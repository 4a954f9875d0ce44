//! A database of the tenant's own: what is in a statement is its own business, and of what the server shares it sees its part.

use super::PROXY;
use crate::support::lab::Lab;
use crate::support::message::{parse, sync};
use crate::support::session::Session;

fn session() -> Session {
    PROXY.get().login("database_a").connect()
}

/// Queries go out as they were written, whether the catalog knows what they name or not.
#[test]
fn queries_are_nobody_elses_business() {
    let mut through = session();
    let mut directly = Lab::general().owner("db_tenant_a").connect();
    for sql in [
        "CREATE TEMP TABLE fresh AS SELECT n % 3 AS id, n FROM generate_series(1, 9) n",
        "SELECT * FROM fresh JOIN (SELECT id, sum(n) AS total FROM fresh GROUP BY id) t USING (id) ORDER BY n",
        "SELECT * FROM fresh NATURAL JOIN (SELECT id, max(n) AS n FROM fresh GROUP BY id) m ORDER BY id",
        "SELECT f.ctid, g.x FROM fresh f FULL JOIN (VALUES (1, 'one')) g (id, x) USING (id) ORDER BY f.n NULLS LAST",
        "SELECT n FROM fresh TABLESAMPLE system (100) ORDER BY n LIMIT 1",
        "EXPLAIN (COSTS off) WITH RECURSIVE r (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r",
        "EXPLAIN (COSTS off) SELECT name FROM customers WHERE id = 1",
        "SELECT current_query() /* as written */",
        "WITH pg_authid AS (SELECT 'mine' AS rolname) SELECT rolname FROM pg_authid",
        "CREATE TEMP TABLE numbered (id serial, n int)",
        "INSERT INTO numbered (n) VALUES (1), (2)",
        "SELECT lastval(), currval('numbered_id_seq')",
        "PREPARE numbers (int) AS SELECT n FROM generate_series(1, $1) n",
        "CREATE TEMP TABLE taken AS EXECUTE numbers (3)",
        "EXPLAIN (COSTS off) CREATE TEMP TABLE more AS EXECUTE numbers (3)",
        "SELECT count(*) FROM taken",
        "SELECT pg_stat_clear_snapshot()",
        "DROP TABLE fresh, numbered, taken",
    ] {
        let wanted = directly.simple(sql).ok();
        let reply = through.simple(sql).ok();
        assert_eq!((reply.texts(), &reply.tags), (wanted.texts(), &wanted.tags), "{sql}");
        if !sql.contains("TABLE") && !sql.starts_with("INSERT") && !sql.starts_with("PREPARE") {
            let reply = through.extended(sql, &[]).ok();
            assert_eq!(reply.texts(), wanted.texts(), "{sql}");
        }
    }
}

#[test]
fn the_servers_views_show_this_database() {
    let mut it = session();
    let lab = Lab::general();
    let mut other = lab.superuser("postgres");
    other.simple("BEGIN; LOCK TABLE pg_catalog.pg_am IN ACCESS SHARE MODE").ok();
    for (sql, value) in [
        ("SELECT string_agg(DISTINCT datname, ',') FROM pg_stat_activity", "db_tenant_a"),
        ("SELECT state FROM pg_stat_activity WHERE pid = pg_backend_pid()", "active"),
        ("SELECT datname FROM pg_stat_database", "db_tenant_a"),
        ("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pg_locks'::regclass AND pid = pg_backend_pid()", "t"),
        ("SELECT count(*) FROM pg_locks WHERE database <> 0 AND database <> (SELECT oid FROM pg_database)", "0"),
        ("SELECT count(*) FROM pg_prepared_xacts", "0"),
    ] {
        assert_eq!(it.simple(sql).ok().value(), value, "{sql}");
        assert_eq!(it.extended(sql, &[]).ok().value(), value, "{sql}");
    }
    let wanted =
        lab.superuser("db_tenant_a").simple("SELECT pg_database_size(current_database()) / 1000000").ok().value();
    for own in ["current_database()", "pg_catalog.current_database()", "current_catalog", "current_database()::name"] {
        let sql = format!("SELECT pg_database_size({own}) / 1000000");
        assert_eq!(it.simple(sql).ok().value(), wanted, "{own}");
    }
    for sql in
        ["SELECT pg_database_size('db_tenant_b')", "SELECT * FROM pg_authid", "SELECT * FROM pg_stat_replication"]
    {
        assert_eq!(it.simple(sql).sqlstate(), "42501", "{sql}");
    }
}

#[test]
fn sessions_of_this_database_may_be_ended_and_no_others() {
    let mut it = session();
    let mut own = session();
    own.simple("BEGIN").ok();
    let pid = own
        .simple("SELECT pid FROM pg_stat_activity WHERE query LIKE '%of itself%' /* of itself */")
        .ok()
        .first_column();
    let mut other = PROXY.get().login("database_b").connect();
    other.simple("BEGIN").ok();
    let others = other.simple("SELECT pid FROM pg_stat_activity WHERE state = 'active'").ok().first_column();
    for pid in &others {
        for function in ["pg_terminate_backend", "pg_catalog.pg_cancel_backend"] {
            assert_eq!(it.simple(format!("SELECT {function}({pid})")).ok().value(), "∅");
            assert_eq!(it.extended(&format!("SELECT {function}($1)"), &[Some(pid)]).ok().value(), "∅");
        }
    }
    assert_eq!(other.simple("SELECT 1").ok().value(), "1");
    assert_eq!(pid.len(), 1, "{pid:?}");
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%of itself%' AND pid <> pg_backend_pid()";
    assert_eq!(it.simple(sql).ok().value(), "t");
    assert_eq!(own.simple("SELECT 1").sqlstate(), "57P01");
    assert_eq!(other.simple("SELECT 1").ok().value(), "1");
}

/// Settings whose names are computed, as pg_dump does it, stay with the client's server connection.
#[test]
fn settings_may_have_computed_names() {
    let pid = |session: &mut Session| session.simple("SELECT pg_backend_pid()").ok().value();
    let mut it = session();
    let sql = "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings \
               WHERE name = 'restrict_nonsystem_relation_kind'";
    it.simple(sql).ok();
    let own = pid(&mut it);
    it.simple("SELECT set_config('time' || 'zone', 'Asia/Tokyo', false)").ok();
    for _ in 0..8 {
        let mut neighbour = session();
        assert_ne!(neighbour.simple("SHOW timezone").ok().value(), "Asia/Tokyo");
        assert_ne!(pid(&mut neighbour), own);
        assert_eq!(it.simple("SHOW timezone").ok().value(), "Asia/Tokyo");
    }
    drop(it);
    for _ in 0..8 {
        assert_ne!(session().simple("SHOW timezone").ok().value(), "Asia/Tokyo");
    }
    let mut it = session();
    it.extended("SELECT set_config($1, $2, false)", &[Some("timezone"), Some("Asia/Tokyo")]).ok();
    assert_eq!(it.simple("SHOW timezone").ok().value(), "Asia/Tokyo");
    let refused = it.extended("SELECT set_config($1, $2, false)", &[Some("client_encoding"), Some("LATIN1")]);
    assert_eq!(refused.sqlstate(), "42501");
}

/// What PREPARE has made is listed under the client's names, and nothing that pgwarden has prepared.
#[test]
fn prepared_statements_have_the_names_that_they_were_given() {
    let mut it = session();
    let list = "SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY name";
    for asked in [false, true] {
        let texts = |it: &mut Session| if asked { it.extended(list, &[]) } else { it.simple(list) }.ok().texts();
        it.exchange(&[parse("kept", "SELECT 3", &[]), sync()], 1).ok();
        it.simple("PREPARE one AS SELECT 1").ok();
        it.simple("PREPARE \"Client_two\" AS SELECT 2").ok();
        let row = |name: &str, text: &str| vec![name.to_owned(), text.to_owned(), "t".to_owned()];
        let wanted = [row("Client_two", "PREPARE \"Client_two\" AS SELECT 2"), row("one", "PREPARE one AS SELECT 1")];
        let mut found = texts(&mut it);
        found.sort_unstable();
        assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
        it.simple("DEALLOCATE ALL").ok();
        assert_eq!(texts(&mut it).len(), 0);
    }
}
