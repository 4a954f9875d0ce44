//! A login whose tenants live in all layouts, on several databases: it goes from one to the next between transactions.

use std::sync::mpsc::RecvTimeoutError;

use crate::support::ENDLESS;
use crate::support::message::{bind, describe, execute, parse, query, sync};
use crate::support::session::{Endpoint, Session};

const NAME: &str = "SELECT min(name) FROM customers";
const A: &str = "ALPHA_name_1";
const B: &str = "CANARY_B_name_1";
/// The tenants in all layouts: name, whose rows, database, schema.
const ALL: [(&str, &str, &str, &str); 6] = [
    ("a", A, "tenants", "public"),
    ("sa", A, "schemas", "t_a"),
    ("da", A, "db_tenant_a", "public"),
    ("b", B, "tenants", "public"),
    ("sb", B, "schemas", "t_b"),
    // Holds rows of all; the database tells it apart.
    ("db", A, "db_tenant_b", "public"),
];

fn endpoint() -> Endpoint {
    Endpoint::new(super::PROXY.get().port, "jobs", "jobs_pw", "tenants")
}

fn session() -> Session {
    endpoint().connect()
}

/// Whose rows the session sees, and where; "" without a tenant.
#[track_caller]
fn whose(session: &mut Session) -> String {
    let reply =
        session.simple("SELECT min(name) || ' ' || current_database() || ' ' || current_schema() FROM customers");
    match reply.sqlstate() {
        "28000" => String::new(),
        _ => reply.ok().value(),
    }
}

fn of(tenant: &str) -> String {
    let (_, rows, database, schema) = ALL.iter().find(|(name, ..)| *name == tenant).unwrap();
    format!("{rows} {database} {schema}")
}

#[test]
fn from_one_layout_to_the_next_between_transactions() {
    let mut it = session();
    assert_eq!(whose(&mut it), "");
    for _ in 0..2 {
        for (tenant, _, database, _) in ALL {
            it.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
            assert_eq!(whose(&mut it), of(tenant), "{tenant}");
            assert_eq!(it.simple("SHOW app.tenant_id").ok().value(), tenant);
            assert_eq!(it.simple("SELECT current_database()").ok().value(), database);
            it.simple(format!("SELECT set_config('app.tenant_id', '{tenant}', true)")).ok();
            assert_eq!(it.extended(NAME, &[]).ok().value(), of(tenant).split(' ').next().unwrap());
        }
    }
    it.simple("RESET app.tenant_id").ok();
    assert_eq!(whose(&mut it), "");
    it.simple("SELECT 1").ok();
    assert_eq!(it.simple("SELECT current_database()").ok().value(), "tenants");
}

/// What every ORM does: BEGIN, then the tenant, then the statements.
#[test]
fn named_first_in_a_transaction() {
    let mut it = session();
    for _ in 0..2 {
        for (tenant, ..) in ALL {
            for begin in ["BEGIN", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
                assert_eq!(it.simple(begin).ok().states, "T");
                it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
                assert_eq!(whose(&mut it), of(tenant), "{tenant}");
                let level = it.simple("SHOW transaction_isolation").ok().value();
                assert_eq!(level == "repeatable read", begin != "BEGIN", "{level}");
                assert_eq!(it.simple("COMMIT").ok().tags, ["COMMIT"]);
                assert_eq!(whose(&mut it), "");
            }
            let text = format!("BEGIN; SET LOCAL app.tenant_id = '{tenant}'; {NAME}; COMMIT");
            assert_eq!(it.simple(text).ok().value(), of(tenant).split(' ').next().unwrap());
            assert_eq!(whose(&mut it), "");
            // In one write, with the name as a parameter
            let set = "SELECT set_config('app.tenant_id', $1, true)";
            let mut all = Vec::new();
            for (sql, value) in [("BEGIN", None), (set, Some(tenant)), (NAME, None), ("COMMIT", None)] {
                let values: Vec<Option<&str>> = value.into_iter().map(Some).collect();
                all.extend([parse("", sql, &[]), bind("", "", &values, &[]), describe('P', ""), execute("", 0)]);
            }
            all.push(sync());
            let reply = it.exchange(&all, 1).ok();
            assert_eq!(reply.texts(), [[tenant], [of(tenant).split(' ').next().unwrap()]]);
            assert_eq!(reply.tags, ["BEGIN", "SELECT 1", "SELECT 1", "COMMIT"]);
        }
    }
    let all: Vec<_> = ALL
        .iter()
        .flat_map(|(tenant, ..)| {
            ["BEGIN".into(), format!("SET LOCAL app.tenant_id = '{tenant}'"), NAME.into(), "COMMIT".into()]
        })
        .map(|sql| query(&sql))
        .collect();
    assert_eq!(it.exchange(&all, all.len()).ok().texts(), ALL.map(|(_, rows, ..)| [rows.to_owned()]));
}

/// Prepared before it is known where it will run, as asyncpg and tokio-postgres do.
#[test]
fn prepared_and_described_before_it_is_bound() {
    let mut it = session();
    let set = "SELECT set_config('app.tenant_id', $1, true) AS who";
    let reply = it.exchange(&[parse("set", set, &[]), describe('S', "set"), sync()], 1).ok();
    assert_eq!(reply.columns[0][0].name, "who");
    it.exchange(&[parse("name", NAME, &[]), sync()], 1).refused("28000");
    it.exchange(&[parse("begin", "BEGIN", &[]), describe('S', "begin"), sync()], 1).ok();
    it.exchange(&[parse("commit", "COMMIT", &[]), sync()], 1).ok();
    it.simple("SET app.tenant_id = 'b'").ok();
    it.exchange(&[parse("name", NAME, &[]), sync()], 1).ok();
    let run = |it: &mut Session, name: &str, values: &[Option<&str>]| {
        it.exchange(&[bind("", name, values, &[]), execute("", 0), sync()], 1)
    };
    for (tenant, rows, ..) in ALL.iter().chain(&ALL) {
        assert_eq!(run(&mut it, "begin", &[]).ok().states, "T");
        assert_eq!(run(&mut it, "set", &[Some(tenant)]).ok().value(), *tenant);
        assert_eq!(run(&mut it, "name", &[]).ok().value(), *rows);
        assert_eq!(run(&mut it, "commit", &[]).ok().tags, ["COMMIT"]);
    }
    assert_eq!(run(&mut it, "name", &[]).ok().value(), B);
}

#[test]
fn never_within_a_transaction() {
    let mut it = session();
    for (from, to) in [("a", "sa"), ("sa", "a"), ("sa", "sb"), ("da", "db"), ("b", "db")] {
        it.simple("BEGIN").ok();
        it.simple(format!("SET LOCAL app.tenant_id = '{from}'")).ok();
        let reply = it.simple(format!("SET LOCAL app.tenant_id = '{to}'")).refused("25001");
        assert!(reply.errors[0][&'H'].contains("right after BEGIN"));
        it.simple(NAME).refused("25P02");
        assert_eq!(it.simple("COMMIT").ok().tags, ["ROLLBACK"]);
        it.simple(format!("BEGIN; SET LOCAL app.tenant_id = '{from}'; {NAME}")).ok();
        it.simple(format!("/* tenant='{to}' */ {NAME}")).refused("25001");
        it.simple("ROLLBACK").ok();
        for text in [
            format!("SET app.tenant_id = '{from}'; {NAME}; SET app.tenant_id = '{to}'; {NAME}"),
            format!("BEGIN; SET LOCAL app.tenant_id = '{from}'; {NAME}; COMMIT; SET app.tenant_id = '{to}'; {NAME}"),
        ] {
            assert!(it.simple(text).refused("25001").rows.is_empty());
        }
        it.simple("ROLLBACK").ok();
        assert_eq!(whose(&mut it), "", "{from} {to}");
        let batch = |sql: String| vec![parse("", &sql, &[]), bind("", "", &[], &[]), execute("", 0)];
        let all = [
            batch(format!("SET app.tenant_id = '{from}'")),
            batch(NAME.into()),
            batch(format!("SET app.tenant_id = '{to}'")),
            batch(NAME.into()),
            vec![sync()],
        ];
        assert_eq!(it.exchange(&all.concat(), 1).refused("25001").rows.len(), 1);
        assert_eq!(whose(&mut it), "", "{from} {to}");
    }
    // Something ran for nobody
    it.simple("BEGIN").ok();
    it.simple("SELECT 1").ok();
    it.simple("SET LOCAL app.tenant_id = 'sa'").refused("25001");
    it.simple("ROLLBACK").ok();
}

#[test]
fn transactions_treat_it_as_a_setting_in_every_layout() {
    let mut it = session();
    it.simple("SET app.tenant_id = 'b'").ok();
    for tenant in ["sa", "da"] {
        it.simple("BEGIN").ok();
        it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
        it.simple("SAVEPOINT s").ok();
        it.simple("RESET app.tenant_id").ok();
        assert_eq!(whose(&mut it), "");
        it.simple("ROLLBACK TO s").ok();
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("COMMIT").ok();
        assert_eq!(whose(&mut it), of("b"));
        it.simple("BEGIN").ok();
        it.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("ROLLBACK").ok();
        assert_eq!(whose(&mut it), of("b"));
        it.simple("BEGIN").ok();
        it.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        it.simple("COMMIT AND CHAIN").ok();
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("COMMIT").ok();
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("SELECT nonsense").refused("42703");
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("SET app.tenant_id = 'a'; SELECT 1/0").refused("22012");
        assert_eq!(whose(&mut it), of(tenant));
        it.simple("SET app.tenant_id = 'b'").ok();
        // The chained transaction is where the first one was
        it.simple("BEGIN").ok();
        it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
        it.simple("COMMIT AND CHAIN").ok();
        it.simple(NAME).refused("25001");
        it.simple("ROLLBACK").ok();
        assert_eq!(whose(&mut it), of("b"));
    }
}

/// A transaction that the server has not been told of fails like one that it has.
#[test]
fn errors_before_the_first_statement() {
    let mut it = session();
    it.simple("BEGIN").ok();
    let reply = it.simple("SET LOCAL app.tenant_id = 'nonesuch'").refused("28000");
    assert_eq!(reply.states, "E");
    it.simple("SET LOCAL app.tenant_id = 'a'").refused("25P02");
    it.simple(NAME).refused("28000");
    assert_eq!(it.simple("COMMIT").ok().tags, ["ROLLBACK"]);
    it.simple("BEGIN").ok();
    assert_eq!(it.simple(NAME).refused("28000").states, "E");
    let reply = it.simple("ROLLBACK; SET app.tenant_id = 'sb'").ok();
    assert_eq!((reply.tags, reply.states), (vec!["ROLLBACK".into(), "SET".into()], "I".into()));
    assert_eq!(whose(&mut it), of("sb"));
    it.simple("BEGIN").ok();
    it.simple("TRUNCATE nonsense; nonsense").refused("42601");
    it.simple("ROLLBACK TO s").refused("3B001");
    it.simple("ROLLBACK").ok();
    for end in ["COMMIT", "ROLLBACK", "END", "ABORT"] {
        it.simple("BEGIN").ok();
        it.simple(end).ok();
    }
    it.simple("BEGIN").ok();
    assert_eq!(it.simple("BEGIN").ok().notices.len(), 1);
    assert_eq!(it.simple("COMMIT AND CHAIN").ok().states, "T");
    it.simple("ROLLBACK AND CHAIN").ok();
    assert_eq!(it.simple("COMMIT").ok().states, "I");
    it.simple("START TRANSACTION READ ONLY").ok();
    it.simple("COMMIT AND CHAIN").ok();
    assert_eq!(it.simple("SHOW transaction_read_only").ok().value(), "on");
    it.simple("COMMIT").ok();
    let batch = |sql: &str| vec![parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)];
    let all = [batch("BEGIN"), batch("SELECT FROM WHERE"), batch(NAME), vec![sync()]].concat();
    assert_eq!(it.exchange(&all, 1).refused("42601").states, "E");
    let all = [batch("ROLLBACK"), batch("BEGIN"), batch("SELECT 1/0"), vec![sync()]].concat();
    assert_eq!(it.exchange(&all, 1).refused("22012").states, "E");
    assert_eq!(it.exchange(&[batch("COMMIT"), vec![sync()]].concat(), 1).ok().tags, ["ROLLBACK"]);
}

/// Bound while it was pgwarden's business, run when it is the server's.
#[test]
fn a_portal_of_begin_that_runs_late() {
    let mut it = session();
    let mut all = vec![parse("begin", "BEGIN", &[]), bind("p", "begin", &[], &[])];
    all.extend([parse("", "SELECT 1", &[]), bind("", "", &[], &[]), execute("", 0)]);
    all.extend([describe('P', "p"), execute("p", 0), sync()]);
    let reply = it.exchange(&all, 1).ok();
    assert_eq!((reply.tags, reply.states), (vec!["SELECT 1".into(), "BEGIN".into()], "T".into()));
    it.simple("COMMIT").ok();
}

#[test]
fn a_comment_goes_anywhere_outside_of_a_transaction() {
    let mut it = session();
    for _ in 0..2 {
        for (tenant, rows, ..) in ALL {
            let sql = format!("/* tenant='{tenant}' */ {NAME}");
            assert_eq!(it.simple(&sql).ok().value(), rows);
            assert_eq!(it.extended(&sql, &[]).ok().value(), rows);
        }
    }
    let all: Vec<_> = ALL.iter().map(|(tenant, ..)| query(format!("/* tenant='{tenant}' */ {NAME}"))).collect();
    assert_eq!(it.exchange(&all, all.len()).ok().texts(), ALL.map(|(_, rows, ..)| [rows.to_owned()]));
    // All of a transaction, as sqlcommenter writes it
    for (tenant, rows, ..) in ALL {
        for sql in ["BEGIN", NAME, "COMMIT"] {
            let reply = it.simple(format!("/* tenant='{tenant}' */ {sql}")).ok();
            assert!(sql != NAME || reply.value() == rows);
        }
    }
}

/// What may be set in one layout and would disarm the guard of another stays behind.
#[test]
fn settings_go_along_as_far_as_they_may() {
    let mut it = session();
    it.simple("SET timezone = 'Asia/Tokyo'").ok();
    it.simple("SET app.tenant_id = 'da'").ok();
    assert_eq!(it.simple("SHOW timezone").ok().value(), "Asia/Tokyo");
    for sql in [
        "CREATE SCHEMA IF NOT EXISTS mine",
        "SET search_path = mine, public",
        "SET enable_seqscan = off",
        "SET row_security = off",
    ] {
        it.simple(sql).ok();
    }
    for tenant in ["a", "sb", "b"] {
        it.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        assert_eq!(whose(&mut it), of(tenant));
        assert_eq!(it.simple("SHOW timezone").ok().value(), "Asia/Tokyo");
        assert_eq!(it.simple("SHOW row_security").ok().value(), "on");
        it.simple("SET statement_timeout = '7s'").ok();
    }
    it.simple("SET app.tenant_id = 'da'").ok();
    assert_eq!(it.simple("SHOW search_path").ok().value(), "mine, public");
    assert_eq!(it.simple("SHOW enable_seqscan").ok().value(), "off");
    assert_eq!(it.simple("SHOW statement_timeout").ok().value(), "7s");
    it.simple("DROP SCHEMA mine").ok();
    it.simple("RESET ALL").ok();
}

/// A server connection that holds something of the session is not left behind unasked.
#[test]
fn a_pinned_connection_holds_the_session() {
    let mut it = session();
    it.simple("SET app.tenant_id = 'da'").ok();
    it.simple("CREATE TEMP TABLE mine (x int)").ok();
    let reply = it.simple("SET app.tenant_id = 'a'").refused("25001");
    assert!(reply.errors[0][&'H'].contains("DISCARD ALL"));
    it.simple(format!("/* tenant='b' */ {NAME}")).refused("25001");
    it.simple("SELECT * FROM mine").ok();
    it.simple("DISCARD ALL").ok();
    assert_eq!(whose(&mut it), "");
    it.simple("SET app.tenant_id = 'a'").ok();
    assert_eq!(whose(&mut it), of("a"));
    // Made in a transaction whose tenant has gone with it
    it.simple("RESET app.tenant_id").ok();
    it.simple("BEGIN").ok();
    it.simple("SET LOCAL app.tenant_id = 'db'").ok();
    it.simple("CREATE TEMP TABLE mine (x int)").ok();
    it.simple("COMMIT").ok();
    it.simple("SELECT 1").refused("25001");
    it.simple("DISCARD ALL").ok();
    it.simple("SELECT 1").ok();
}

/// Nobody is nobody in every layout.
#[test]
fn without_a_tenant_nothing_runs_anywhere() {
    let mut it = session();
    for tenant in ["sa", "da"] {
        for sql in [
            NAME,
            "CREATE TABLE mine (x int)",
            "INSERT INTO customers VALUES (1)",
            "COPY customers TO STDOUT",
            "SELECT my_customers()",
            "CREATE TEMP TABLE mine (x int)",
            "DO $$ BEGIN END $$",
            "LISTEN x",
        ] {
            it.simple("BEGIN").ok();
            it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
            it.simple("RESET app.tenant_id").ok();
            let state = it.simple(sql).sqlstate().to_owned();
            assert!(matches!(state.as_str(), "28000" | "42501" | "42883"), "{tenant}: {sql}: {state}");
            it.simple("ROLLBACK").ok();
        }
    }
}

/// Sessions that take turns on the same server connections.
#[test]
fn nothing_reaches_the_next_session() {
    let mut sessions = [session(), session(), session()];
    for round in 0..12 {
        let (tenant, ..) = ALL[round % ALL.len()];
        let it = &mut sessions[round % 3];
        it.simple("BEGIN").ok();
        it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
        assert_eq!(whose(it), of(tenant));
        for other in 1..3 {
            assert_eq!(whose(&mut sessions[(round + other) % 3]), "");
        }
        sessions[round % 3].simple("COMMIT").ok();
        let (user, password) = [("schema_a", "schema_a_pw"), ("database_a", "database_a_pw")][round % 2];
        let mut plain = Endpoint::new(super::PROXY.get().port, user, password, "tenants").connect();
        assert_eq!(plain.simple(NAME).ok().value(), A);
    }
}

/// A cancel request reaches the server that the session is on now.
#[test]
fn cancel_follows_the_session() {
    let mut it = session();
    let (pid, key) = it.cancel_key.clone().unwrap();
    for tenant in ["sb", "da", "a"] {
        it.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let canceller = std::thread::spawn({
            let key = key.clone();
            // Again and again: one that comes before the statement runs is for nothing.
            move || {
                while end
                    .recv_timeout(std::time::Duration::from_millis(500))
                    .is_err_and(|it| it == RecvTimeoutError::Timeout)
                {
                    crate::support::session::cancel(super::PROXY.get().port, pid, &key);
                }
            }
        });
        it.simple(ENDLESS).refused("57014");
        drop(ended);
        canceller.join().unwrap();
    }
}
