//! A login that acts for several tenants and names them as it goes: SET, set_config, comments, transactions.

use crate::support::message::{bind, describe, execute, flush, parse, query, sync};
use crate::support::session::Session;

const NAME: &str = "SELECT min(name) FROM customers";
const A: &str = "ALPHA_name_1";
const B: &str = "CANARY_B_name_1";

fn session() -> Session {
    super::app("app", "tenants").connect()
}

/// Whose rows the session sees; "" without a tenant.
#[track_caller]
fn whose(session: &mut Session) -> String {
    let reply = session.simple(NAME);
    match reply.sqlstate() {
        "28000" => String::new(),
        _ => reply.ok().value(),
    }
}

/// The server's own setting, which is asked for within an expression.
#[track_caller]
fn sealed(session: &mut Session) -> String {
    session.simple("SELECT coalesce(current_setting('app.tenant_id', true), '')").ok().value()
}

#[test]
fn without_a_tenant_only_harmless_statements_run() {
    let mut it = session();
    for sql in
        ["SELECT 1", "SHOW timezone", "BEGIN", "COMMIT", "SELECT version()", "SELECT count(*) > 0 FROM pg_type", ""]
    {
        it.simple(sql).ok();
    }
    for sql in [
        NAME,
        "SELECT * FROM countries",
        "INSERT INTO note (note_id, note) VALUES (900, 'x')",
        "COPY customers TO STDOUT",
        "EXPLAIN SELECT * FROM customers",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM customers",
        "PREPARE p AS SELECT * FROM customers",
        "WITH a AS (SELECT 1) SELECT * FROM a, orders",
        "SELECT (SELECT max(name) FROM customers)",
        "SELECT 1; SELECT name FROM customers",
        "SELECT order_label(1)",
    ] {
        let reply = it.simple(sql).refused("28000");
        assert_eq!(reply.errors[0][&'M'], "tenant context required", "{sql}");
        assert!(reply.errors[0][&'H'].contains("SET app.tenant_id"), "{sql}");
    }
    it.extended(NAME, &[]).refused("28000");
}

#[test]
fn set_show_and_reset() {
    let mut it = session();
    assert_eq!(it.simple("SHOW app.tenant_id").ok().value(), "");
    for sql in
        ["SET app.tenant_id = 'a'", "SET SESSION APP.tenant_id TO a", "SELECT set_config('app.tenant_id', 'a', false)"]
    {
        it.simple(sql).ok();
        assert_eq!(whose(&mut it), A, "{sql}");
        assert_eq!(sealed(&mut it), "1");
        let shown = it.simple("SHOW app.tenant_id").ok();
        assert_eq!(
            (shown.value(), shown.tags, shown.columns[0][0].name.as_str()),
            ("a".into(), vec!["SHOW".into()], "app.tenant_id")
        );
        assert_eq!(it.simple("SELECT current_setting('app.tenant_id')").ok().value(), "a");
        assert_eq!(it.simple("RESET app.tenant_id").ok().tags, ["RESET"]);
        assert_eq!(whose(&mut it), "", "{sql}");
        assert_eq!(sealed(&mut it), "");
    }
    assert_eq!(it.simple("SELECT set_config('app.tenant_id', 'b', false) AS who").ok().value(), "b");
    assert_eq!(whose(&mut it), B);
    for sql in ["SET app.tenant_id = DEFAULT", "RESET ALL", "DISCARD ALL", "SET app.tenant_id = ''"] {
        it.simple("SET app.tenant_id = 'b'").ok();
        it.simple(sql).ok();
        assert_eq!(whose(&mut it), "", "{sql}");
    }
}

#[test]
fn only_the_logins_own_tenants() {
    let mut it = session();
    it.simple("SET app.tenant_id = 'a'").ok();
    let texts: Vec<String> = ["sa", "nonesuch", "1", "a b"]
        .iter()
        .map(|name| {
            let reply = it.simple(format!("SET app.tenant_id = '{name}'")).refused("28000");
            reply.errors[0][&'M'].replace(name, "...")
        })
        .collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(whose(&mut it), A);
    for sql in [
        "SELECT set_config('app.tenant' || '_id', '2', false)",
        "SELECT set_config('app.tenant_id', '2', false) FROM customers",
        "SELECT set_config('app.tenant_id', '2', false), 1",
        "SET app.tenant_id = a, b",
        "UPDATE customers SET name = set_config('app.tenant_id', '2', false)",
        "SELECT set_config(U&'app\\002etenant_id', '2', false)",
    ] {
        assert!(!it.simple(sql).sqlstate().is_empty(), "{sql}");
        assert_eq!((whose(&mut it), sealed(&mut it)), (A.into(), "1".into()), "{sql}");
    }
    // A session that named its tenant when it connected keeps it.
    super::app("app@a", "tenants").connect().simple("SET app.tenant_id = 'b'").refused("42501");
}

#[test]
fn transactions_treat_it_as_a_setting() {
    let mut it = session();
    it.simple("BEGIN").ok();
    it.simple("SET LOCAL app.tenant_id = 'a'").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (A.into(), "1".into()));
    it.simple("SAVEPOINT s").ok();
    it.simple("SET LOCAL app.tenant_id = 'b'").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (B.into(), "2".into()));
    it.simple("ROLLBACK TO s").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (A.into(), "1".into()));
    it.simple("SET app.tenant_id = 'b'").ok();
    it.simple("RELEASE s").ok();
    it.simple("COMMIT AND CHAIN").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (B.into(), "2".into()));
    it.simple("SET LOCAL app.tenant_id = 'a'").ok();
    assert_eq!(whose(&mut it), A);
    it.simple("SELECT 1/0").refused("22012");
    it.simple("SET LOCAL app.tenant_id = 'a'").refused("25P02");
    it.simple("COMMIT").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (B.into(), "2".into()));
    it.simple("BEGIN; SET app.tenant_id = 'a'; ROLLBACK").ok();
    assert_eq!((whose(&mut it), sealed(&mut it)), (B.into(), "2".into()));
    // Outside of a transaction LOCAL is gone with its statement; an implicit one is one transaction.
    it.simple("RESET app.tenant_id").ok();
    it.simple("SET LOCAL app.tenant_id = 'a'").ok();
    assert_eq!(whose(&mut it), "");
    let reply =
        it.simple(format!("SET LOCAL app.tenant_id = 'a'; {NAME}; SET app.tenant_id = 'b'; {NAME}; SELECT 1/0"));
    assert_eq!(reply.texts(), [[A], [B]]);
    assert_eq!(whose(&mut it), "");
    let reply = it.simple(format!("BEGIN; SET LOCAL app.tenant_id = 'a'; {NAME}; COMMIT; {NAME}")).refused("28000");
    assert!(reply.rows.is_empty());
    let reply =
        it.simple(format!("SET app.tenant_id = 'a'; COMMIT; BEGIN; SET app.tenant_id = 'b'; {NAME}; ROLLBACK; {NAME}"));
    assert_eq!(reply.texts(), [[B], [A]]);
    assert_eq!(whose(&mut it), A);
}

/// All of a transaction in one write, in both protocols.
#[test]
fn pipelined_with_the_statements_that_use_it() {
    let mut it = session();
    let statements = |tenant: &str| {
        let set = "SELECT set_config('app.tenant_id', $1, true)";
        let mut all = Vec::new();
        for (sql, value) in [("BEGIN", None), (set, Some(tenant)), (NAME, None), ("COMMIT", None)] {
            let values: Vec<Option<&str>> = value.into_iter().map(Some).collect();
            all.extend([parse("", sql, &[]), bind("", "", &values, &[]), describe('P', ""), execute("", 0)]);
        }
        all.push(sync());
        all
    };
    let reply = it.exchange(&[statements("a"), statements("b")].concat(), 2).ok();
    assert_eq!(reply.texts(), [["a"], [A], ["b"], [B]]);
    let all = ["BEGIN", "SET LOCAL app.tenant_id = 'b'", NAME, "COMMIT", "SET app.tenant_id = 'a'", NAME];
    let reply = it.exchange(&all.map(query), all.len()).ok();
    assert_eq!(reply.texts(), [[B], [A]]);
    // A batch that fails takes its switch along, also for what was sent right behind it.
    let batch = |sql: &str| vec![parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)];
    let failing =
        [batch("SET app.tenant_id = 'b'"), batch("SELECT 1/0"), vec![sync()], batch(NAME), vec![sync()]].concat();
    let reply = it.exchange(&failing, 2);
    assert_eq!((reply.sqlstate(), reply.texts()), ("22012", vec![vec![A.to_owned()]]));
}

/// A prepared statement is for whoever is acted for when it is bound.
#[test]
fn prepared_statements_follow_the_context() {
    let mut it = session();
    it.simple("SET app.tenant_id = 'a'").ok();
    it.exchange(&[parse("s", NAME, &[]), parse("w", "SHOW app.tenant_id", &[]), sync()], 1).ok();
    let run = |it: &mut Session, name: &str| {
        it.exchange(&[bind("", name, &[], &[]), describe('P', ""), execute("", 0), sync()], 1)
    };
    assert_eq!((run(&mut it, "s").ok().value(), run(&mut it, "w").ok().value()), (A.into(), "a".into()));
    it.simple("SET app.tenant_id = 'b'").ok();
    assert_eq!((run(&mut it, "s").ok().value(), run(&mut it, "w").ok().value()), (B.into(), "b".into()));
    it.simple("RESET app.tenant_id").ok();
    run(&mut it, "s").refused("28000");
    assert_eq!(run(&mut it, "w").ok().value(), "");
    it.simple("SET app.tenant_id = 'a'").ok();
    assert_eq!(run(&mut it, "s").ok().value(), A);
}

/// What was made for one tenant does not serve another.
#[test]
fn cursors_and_sql_level_statements_stay_with_their_tenant() {
    let mut it = session();
    it.simple("BEGIN; SET LOCAL app.tenant_id = 'a'").ok();
    it.simple("DECLARE c CURSOR FOR SELECT name FROM customers ORDER BY name").ok();
    assert_eq!(it.simple("FETCH c").ok().value(), A);
    it.simple("SET LOCAL app.tenant_id = 'b'").ok();
    it.simple("FETCH c").refused("25001");
    it.simple("ROLLBACK").ok();
    it.simple("SET app.tenant_id = 'a'").ok();
    it.simple(format!("PREPARE p AS {NAME}")).ok();
    assert_eq!(it.simple("EXECUTE p").ok().value(), A);
    for sql in ["SET app.tenant_id = 'b'", "RESET app.tenant_id"] {
        it.simple(sql).ok();
        it.simple("EXECUTE p").refused("25001");
    }
    it.simple("DISCARD ALL").ok();
    it.simple(format!("SET app.tenant_id = 'b'; PREPARE q AS {NAME}")).refused("0A000");
    it.simple("SET app.tenant_id = 'b'").ok();
    assert_eq!(whose(&mut it), B);
}

/// The same where all of it is one Query.
#[test]
fn what_is_opened_for_one_tenant_is_not_read_for_another_in_one_text() {
    let mut it = session();
    let declare = "DECLARE c CURSOR FOR SELECT name FROM customers ORDER BY name";
    let switch = "SET LOCAL app.tenant_id = ";
    for use_of_it in ["FETCH c", "MOVE c", "CLOSE c", "DELETE FROM customers WHERE CURRENT OF c", "SELECT 1"] {
        let text = format!("BEGIN; {switch}'a'; {declare}; {switch}'b'; {use_of_it}");
        it.simple(&text).refused("25001");
        it.simple("ROLLBACK").ok();
        it.simple(text.replacen("BEGIN; ", "", 1)).refused("25001");
        // Opened before
        it.simple(format!("BEGIN; {switch}'a'; {declare}")).ok();
        it.simple(format!("{switch}'b'; {use_of_it}")).refused("25001");
        it.simple("ROLLBACK").ok();
    }
    it.simple("SET app.tenant_id = 'a'").ok();
    it.simple(format!("PREPARE p AS {NAME}")).ok();
    it.simple("SET app.tenant_id = 'b'; EXECUTE p").refused("25001");
    it.simple("DISCARD ALL").ok();
    // The transaction's end closes it, and its own tenant may read it.
    let own = format!("BEGIN; {switch}'a'; {declare}; FETCH c; {switch}'b'; {switch}'a'; FETCH c; COMMIT");
    it.simple(&own).ok();
    it.simple(format!("BEGIN; {switch}'a'; {declare}; COMMIT; BEGIN; {switch}'b'; {NAME}; COMMIT")).ok();
    assert_eq!(whose(&mut it), "");
}

/// A portal is a cursor, by whichever protocol it is reached.
#[test]
fn portals_stay_with_their_tenant() {
    let mut it = session();
    let list = "SELECT name FROM customers ORDER BY name";
    let switch = |to: &str| {
        let set = format!("SET LOCAL app.tenant_id = '{to}'");
        vec![parse("", &set, &[]), bind(to, "", &[], &[]), execute(to, 0)]
    };
    for portal in ["p", ""] {
        let opened = vec![parse("", list, &[]), bind(portal, "", &[], &[]), execute(portal, 1)];
        let again = vec![execute(portal, 1), sync()];
        // In one batch, and in one transaction
        let all = [switch("a"), opened.clone(), switch("b"), again.clone()].concat();
        it.exchange(&all, 1).refused("25001");
        it.simple("BEGIN").ok();
        it.exchange(&[switch("a"), opened, vec![flush()]].concat(), 0);
        let reply = it.exchange(&[switch("b"), again].concat(), 1);
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
        reply.refused("25001");
        it.simple("ROLLBACK").ok();
    }
    let begin = [
        vec![query("BEGIN; SET LOCAL app.tenant_id = 'a'")],
        vec![parse("", list, &[]), bind("p", "", &[], &[]), sync()],
    ];
    it.exchange(&begin.concat(), 2).ok();
    assert_eq!(it.simple("FETCH p").ok().value(), A);
    it.simple("SET LOCAL app.tenant_id = 'b'").ok();
    it.simple("FETCH p").refused("25001");
    it.simple("ROLLBACK").ok();
    // A cursor of SQL by the protocol
    it.simple("BEGIN; SET LOCAL app.tenant_id = 'a'; DECLARE c CURSOR FOR SELECT name FROM customers ORDER BY name")
        .ok();
    assert_eq!(it.exchange(&[execute("c", 1), sync()], 1).ok().value(), A);
    it.simple("SET LOCAL app.tenant_id = 'b'").ok();
    it.exchange(&[execute("c", 1), sync()], 1).refused("25001");
    it.simple("ROLLBACK").ok();
    assert_eq!(whose(&mut it), "");
}

#[test]
fn a_comment_names_the_tenant_of_its_statement() {
    let mut it = session();
    let as_a = format!("/* tenant='a' */ {NAME}");
    let as_b = format!("/* request='7', tenant='b' */ {NAME}");
    for _ in 0..2 {
        assert_eq!(it.simple(&as_a).ok().value(), A);
        assert_eq!(it.extended(&as_b, &[]).ok().value(), B);
        assert_eq!(whose(&mut it), "");
    }
    let setting = "SELECT current_setting('app.tenant_id', true) || ''";
    it.simple("BEGIN").ok();
    assert_eq!(it.simple(&as_a).ok().value(), A);
    assert_eq!(it.extended(&as_b, &[]).ok().value(), B);
    assert_eq!(it.extended(&format!("/* tenant='b' */ {setting}"), &[]).ok().value(), "2");
    assert_eq!(it.simple(format!("/* tenant='a' */ {setting}")).ok().value(), "1");
    assert_eq!(sealed(&mut it), "");
    it.simple("SET LOCAL app.tenant_id = 'b'").ok();
    assert_eq!(it.simple(&as_a).ok().value(), A);
    assert_eq!((whose(&mut it), sealed(&mut it)), (B.into(), "2".into()));
    it.simple("COMMIT").ok();
    assert_eq!(whose(&mut it), "");
    for sql in ["/* tenant='sa' */ SELECT 1", "/* tenant='nonesuch' */ SELECT 1"] {
        it.simple(sql).refused("28000");
    }
    // All pipelined, in one batch
    let batch = |sql: &str| vec![parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)];
    let all = [batch(&as_a), batch(&as_b), batch(&as_a), vec![sync()]].concat();
    assert_eq!(it.exchange(&all, 1).ok().texts(), [[A], [B], [A]]);
    let all = [&as_a, &as_b, &as_a].map(query);
    assert_eq!(it.exchange(&all, 3).ok().texts(), [[A], [B], [A]]);
}

/// What one session sets is nothing to the next one on the same server connection.
#[test]
fn nothing_reaches_the_next_session() {
    for round in 0..3 {
        let (mut one, mut other) = (session(), session());
        one.simple("SET app.tenant_id = 'a'").ok();
        assert_eq!((whose(&mut other), sealed(&mut other)), (String::new(), String::new()), "round {round}");
        other.simple("BEGIN; SET LOCAL app.tenant_id = 'b'; COMMIT").ok();
        assert_eq!((whose(&mut one), sealed(&mut one)), (A.into(), "1".into()), "round {round}");
        assert_eq!(sealed(&mut super::app("app@b", "tenants").connect()), "2", "round {round}");
    }
}

#[test]
fn writes_carry_the_tenant() {
    let mut it = session();
    it.simple("BEGIN; SET LOCAL app.tenant_id = 'a'").ok();
    it.simple("INSERT INTO note (note_id, note) VALUES (9001, 'of a')").ok();
    it.simple("INSERT INTO note (note_id, tenant_id, note) VALUES (9002, 2, 'of b')").refused("42501");
    it.simple("ROLLBACK").ok();
    it.simple("BEGIN; SET LOCAL app.tenant_id = 'b'").ok();
    assert_eq!(it.copy("COPY note (note_id, note) FROM STDIN", b"9003\tof b\n").ok().tags, ["COPY 1"]);
    assert_eq!(it.simple("SELECT tenant_id FROM note WHERE note_id = 9003").ok().value(), "2");
    it.simple("ROLLBACK").ok();
    let copy = "BEGIN; SET LOCAL app.tenant_id = 'b'; COPY note (note_id, note) FROM STDIN; \
                SELECT tenant_id FROM note WHERE note_id = 9003; ROLLBACK";
    assert_eq!(it.copy(copy, b"9003\tof b\n").ok().value(), "2");
    assert_eq!(whose(&mut it), "");
}
