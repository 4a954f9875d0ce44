//! COPY FROM into tables whose policies bind the upstream's role: Postgres refuses it, and pgwarden makes INSERTs of it, which
//! must look like the COPY in every answer.

use crate::support::lab::Lab;
use crate::support::message::{bind, copy_data, copy_done, copy_fail, execute, flush, parse, query, sync};
use crate::support::proxy::{Proxy, Setup, police};
use crate::support::session::Session;

fn proxy(mode: &str, database: &'static str) -> (&'static Lab, Proxy) {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(
        database,
        "CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id int NOT NULL DEFAULT 0, \
         short varchar(3), price numeric(6,2) CHECK (price < 1000), tags text[], at timestamptz DEFAULT '2024-01-01 00:00+00', \
         kind order_status, twice int GENERATED ALWAYS AS (length(short) * 2) STORED, note text); \
         ALTER TABLE wide OWNER TO app_owner",
    );
    police(lab, database);
    (lab, Proxy::start(lab, &Setup::enforcing(mode, database)))
}

fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    session.simple(sql).ok().texts().iter().map(|row| row.join("|")).collect()
}

fn check(mode: &str, database: &'static str) {
    let (lab, proxy) = proxy(mode, database);
    let mut a = proxy.a().connect();
    // Text: NULLs, escapes, arrays, an identity that is given, defaults of what is left out.
    let reply = a.copy(
        "COPY wide (id, short, price, tags, kind, note) FROM STDIN",
        b"7\tabc\t1.005\t{x,\"y z\"}\tpaid\ta\\tb\\\\\n8\t\\N\t2\t\\N\t\\N\t\n",
    );
    assert_eq!((reply.tags.clone(), reply.states.as_str()), (vec!["COPY 2".to_owned()], "I"), "{}", reply.text());
    assert_eq!(
        rows(
            &mut a,
            "SELECT id, tenant_id, short, price, tags, at AT TIME ZONE 'UTC', kind, twice, note FROM wide ORDER BY id"
        ),
        ["7|1|abc|1.01|{x,\"y z\"}|2024-01-01 00:00:00|paid|6|a\tb\\", "8|1|∅|2.00|∅|2024-01-01 00:00:00|∅|∅|"]
    );
    // Csv, with a header, quotes over lines, FORCE_NULL, the tenant column given.
    let sql =
        "COPY wide (tenant_id, id, note, short) FROM STDIN WITH (FORMAT csv, HEADER, FORCE_NULL (short), NULL '-')";
    assert_eq!(
        a.copy(sql, b"tenant_id,id,note,short\n1,9,\"x\ny, \"\"z\"\"\",\"-\"\n1,10,-,\"\"\n").ok().tags,
        ["COPY 2"]
    );
    assert_eq!(
        rows(&mut a, "SELECT id, note, short FROM wide WHERE id IN (9, 10) ORDER BY id"),
        ["9|x\ny, \"z\"|∅", "10|∅|"]
    );
    // Binary: what COPY TO gives comes back.
    let dump =
        a.simple("COPY (SELECT id + 100, short, price, tags, kind, note FROM wide) TO STDOUT (FORMAT binary)").ok();
    let sql = "COPY wide (id, short, price, tags, kind, note) FROM STDIN (FORMAT binary)";
    assert_eq!(a.copy(sql, &dump.copy_out).ok().tags, ["COPY 4"]);
    assert_eq!(rows(&mut a, "SELECT count(*), count(DISTINCT note) FROM wide WHERE id > 100"), ["4|3"]);
    // Many rows in parts of odd lengths: batches, and a rest.
    let data: String = (0..2_345).map(|n| format!("{}\tn{n}\n", 1_000 + n)).collect();
    a.send(&query("COPY wide (id, note) FROM STDIN"));
    data.as_bytes().chunks(777).for_each(|part| a.send(&copy_data(part)));
    a.send(&copy_done());
    assert_eq!(a.collect(1).ok().tags, ["COPY 2345"]);
    assert_eq!(rows(&mut a, "SELECT count(*), min(note), sum(id) FROM wide WHERE id >= 1000"), ["2345|n0|5093340"]);
    // All or nothing, with the line where it is known.
    let before = rows(&mut a, "SELECT count(*) FROM wide");
    let mut bad: Vec<String> = (0..500).map(|n| format!("{}\t1", 10_000 + n)).collect();
    for (line, data, sqlstate, says) in [
        (321, "10320\tx", "22P02", "COPY wide, line 321, column price"),
        (321, "10320\t5000", "23514", "COPY wide, lines 301 to 400"),
        (500, "10000\t1", "23505", "COPY wide, lines 401 to 500"),
        (250, "10249", "22P04", "line 250"),
        (250, "10249\t1\t2", "22P04", ""),
    ] {
        let kept = std::mem::replace(&mut bad[line - 1], data.to_owned());
        let reply = a.copy("COPY wide (id, price) FROM STDIN", (bad.join("\n") + "\n").as_bytes()).refused(sqlstate);
        assert_eq!(reply.states, "I");
        assert_eq!(reply.errors.len(), 1);
        assert!(reply.text().contains(says), "{}", reply.text());
        assert!(!reply.errors[0].contains_key(&'D') || sqlstate == "22P04", "{}", reply.text());
        assert_eq!(rows(&mut a, "SELECT count(*) FROM wide"), before);
        bad[line - 1] = kept;
    }
    a.copy("COPY wide (id, tenant_id) FROM STDIN", b"1\t1\n2\t2\n").refused("42501");
    a.copy("COPY wide (id, short) FROM STDIN", b"1\tlonger\n").refused("22001");
    a.copy("COPY wide (nothing) FROM STDIN", b"").refused("42703");
    a.copy("COPY wide (id) FROM STDIN", b"").ok();
    a.simple("COPY wide (id) FROM STDIN; SELECT 1").refused("0A000");
    assert_eq!(rows(&mut a, "SELECT count(*) FROM wide"), before);
    within_transactions(&mut a);
    over_the_extended_protocol(&mut a);
    assert!(lab.superuser(database).simple("SELECT count(*) FROM wide WHERE tenant_id <> 1").ok().value() == "0");
    // The client leaves in the middle.
    let mut gone = proxy.a().connect();
    gone.send(&query("COPY wide (id) FROM STDIN"));
    gone.send(&copy_data(b"77777\n"));
    drop(gone);
    assert_eq!(rows(&mut a, "SELECT count(*) FROM wide WHERE id = 77777"), ["0"]);
}

fn within_transactions(a: &mut Session) {
    a.simple("BEGIN").ok();
    assert_eq!(a.copy("COPY wide (id, note) FROM STDIN", b"50001\tx\n").ok().states, "T");
    a.simple("SAVEPOINT s").ok();
    let reply = a.copy("COPY wide (id, price) FROM STDIN", b"50002\tx\n").refused("22P02");
    assert_eq!(reply.states, "E");
    let reply = a.copy("COPY wide (id) FROM STDIN", b"50003\n").refused("25P02");
    assert_eq!(reply.states, "E");
    a.simple("ROLLBACK TO s").ok();
    assert_eq!(rows(a, "SELECT id FROM wide WHERE id > 50000 AND id < 60000"), ["50001"]);
    // The client gives up.
    a.send(&query("COPY wide (id) FROM STDIN"));
    a.send(&copy_data(b"50004\n"));
    a.send(&copy_fail("no more"));
    let reply = a.collect(1).refused("57014");
    assert!(reply.states == "E" && reply.text().contains("COPY from stdin failed: no more"), "{}", reply.text());
    a.simple("ROLLBACK").ok();
    assert_eq!(rows(a, "SELECT count(*) FROM wide WHERE id > 50000 AND id < 60000"), ["0"]);
}

fn over_the_extended_protocol(a: &mut Session) {
    let sql = "COPY wide (id, note) FROM STDIN";
    // With the Sync that drivers send right behind Execute, and without.
    for (id, early) in [(60_001, sync()), (60_002, flush())] {
        a.send(&[parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0), early].concat());
        a.send(&[copy_data(format!("{id}\tx\n").as_bytes()), copy_done(), sync()].concat());
        assert_eq!(a.collect(1).ok().tags, ["COPY 1"]);
    }
    // In the middle of a pipeline that fails later: gone with it.
    a.send(&[parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat());
    a.send(&[copy_data(b"60003\tx\n"), copy_done()].concat());
    a.send(&[parse("", "SELECT 1 / 0", &[]), bind("", "", &[], &[]), execute("", 0), sync()].concat());
    a.collect(1).refused("22012");
    // An error in the rows, and the session goes on.
    a.send(&[parse("", "COPY wide (id) FROM STDIN", &[]), bind("", "", &[], &[]), execute("", 0), sync()].concat());
    a.send(&[copy_data(b"x\n"), copy_done(), sync()].concat());
    a.collect(1).refused("22P02");
    assert_eq!(rows(a, "SELECT id FROM wide WHERE id > 60000 ORDER BY id"), ["60001", "60002"]);
    assert_eq!(a.extended("SELECT $1::int", &[Some("5")]).ok().value(), "5");
}

#[test]
fn copy_where_policies_alone_keep_tenants_apart() {
    check("rls", "loads_rls");
}

#[test]
fn copy_where_statements_are_rewritten_over_policies() {
    check("rewrite", "loads_rewrite");
}
