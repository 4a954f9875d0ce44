//! Prepared statements are shared on a server connection: what one client drops is there for the others, and what the
//! server has lost or can no longer use is prepared anew. One server connection.

use std::time::{Duration, Instant};

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{bind, close, describe, execute, extended, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::session::Session;

const KEPT: &str = "SELECT 7";

fn run(name: &str) -> [Vec<u8>; 3] {
    [bind("", name, &[], &[]), execute("", 0), sync()]
}

fn prepare(session: &mut Session, name: &str, sql: &str) {
    session.exchange(&[parse(name, sql, &[]), sync()], 1).ok();
}

/// What a client could tell of a reply: kinds of messages, tags, states, errors, rows.
fn seen(reply: &Reply) -> String {
    let codes: Vec<_> = reply.errors.iter().map(|it| it[&'C'].as_str()).collect();
    let kinds = reply.kinds.replace(['S', 'N'], "");
    format!("{kinds} {:?} {} {codes:?} {:?}", reply.tags, reply.states, reply.texts())
}

#[test]
fn what_a_client_drops_is_there_for_the_others() {
    let proxy = proxy("dropping_shared", 1);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let mut plain = Lab::general().superuser("dropping_shared");
    for session in [&mut a, &mut b, &mut plain] {
        prepare(session, "kept", KEPT);
    }
    for wipe in [
        "DEALLOCATE ALL",
        "DEALLOCATE ALL; SELECT 1/0",
        "DEALLOCATE ALL; SELECT 1",
        "SELECT 1; DEALLOCATE ALL; DEALLOCATE ALL",
        "BEGIN; DEALLOCATE ALL; ROLLBACK",
        "SELECT 1; DEALLOCATE kept; SELECT 1/0",
        "DEALLOCATE kept; DEALLOCATE nothing",
        "SELECT 1/0; DEALLOCATE ALL",
        "DISCARD ALL",
        "DISCARD ALL; SELECT 1",
        "BEGIN; DISCARD ALL",
        "ROLLBACK",
        "DISCARD PLANS; DISCARD SEQUENCES",
    ] {
        let (mine, theirs) = (a.simple(wipe), plain.simple(wipe));
        assert_eq!(seen(&mine), seen(&theirs), "{wipe}");
        if mine.states == "I" {
            assert_eq!(b.exchange(&run("kept"), 1).ok().value(), "7", "{wipe}");
        }
        let (mine, theirs) = (a.exchange(&run("kept"), 1), plain.exchange(&run("kept"), 1));
        assert_eq!(seen(&mine), seen(&theirs), "{wipe}, then run");
        for session in [&mut a, &mut plain] {
            session.exchange(&[close('S', "kept"), parse("kept", KEPT, &[]), sync()], 1);
        }
    }
}

/// Replies up to the row that says so.
fn up_to_the_end(session: &mut Session) -> Reply {
    let mut reply = Reply::default();
    let deadline = Instant::now() + Duration::from_secs(10);
    let ends = |reply: &Reply| reply.texts().last().is_some_and(|row| row == &["the end"]);
    loop {
        let (tag, body) = session.message(deadline).unwrap_or_else(|end| panic!("{end:?}: {}", reply.text()));
        reply.add(tag, &body);
        if tag == b'Z' && ends(&reply) {
            return reply;
        }
    }
}

/// A name that is given, dropped and given again in one pipeline, in every order and way.
#[test]
fn names_mean_in_a_pipeline_what_they_mean_in_postgres() {
    let proxy = proxy("dropping_names", 1);
    let mut plain = Lab::general().superuser("dropping_names");
    let mut client = proxy.a().connect();
    let steps: [(&str, Vec<u8>); 8] = [
        ("Parse 1", parse("k", "SELECT 1", &[])),
        ("Parse 2", parse("k", "SELECT 2", &[])),
        ("Query DEALLOCATE", query("DEALLOCATE k")),
        ("Query DEALLOCATE ALL", query("DEALLOCATE ALL; SELECT 3")),
        ("DEALLOCATE", extended("DEALLOCATE k", &[])),
        ("Close", close('S', "k")),
        ("run", [bind("", "k", &[], &[]), execute("", 0)].concat()),
        ("error", parse("", "SELECT nosuch", &[])),
    ];
    let count = steps.len();
    for n in 0..count.pow(3) * 4 {
        let (order, syncs) = (n / 4, n % 4);
        let picked: Vec<_> = [order % count, order / count % count, order / count / count].into();
        let mut messages = vec![parse("k", "SELECT 0", &[]), sync()];
        let mut what = String::new();
        for (i, step) in picked.into_iter().enumerate() {
            messages.push(steps[step].1.clone());
            what += steps[step].0;
            if syncs >> i & 1 == 1 {
                messages.push(sync());
                what += ", Sync";
            }
            what += ", ";
        }
        messages.extend([sync(), bind("", "k", &[], &[]), execute("", 0), sync()]);
        messages.extend([query("DEALLOCATE ALL"), query("SELECT 'the end'")]);
        let mut answers = [&mut client, &mut plain].map(|session| {
            session.send(&messages.concat());
            seen(&up_to_the_end(session))
        });
        let theirs = answers[1].clone();
        assert_eq!(std::mem::take(&mut answers[0]), theirs, "{what}");
    }
}

/// A change of the schema that makes plans useless: the client does not hear of it, unless in a transaction.
#[test]
fn plans_are_made_anew_when_the_schema_changes() {
    let proxy = proxy("dropping_plans", 1);
    let mut superuser = Lab::general().superuser("dropping_plans");
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let sql = "SELECT * FROM customers ORDER BY id";
    for session in [&mut a, &mut b] {
        prepare(session, "s", sql);
        session.exchange(&run("s"), 1).ok();
    }
    for round in 0..3 {
        superuser.simple(format!("ALTER TABLE customers ADD COLUMN more_{round} int DEFAULT {round}")).ok();
        if round == 2 {
            // In a transaction block the error has been seen by the server.
            a.simple("BEGIN").ok();
            let reply = a.exchange(&run("s"), 1);
            assert!(
                matches!((reply.sqlstate(), reply.states.as_str()), ("0A000", "E") | ("", "T")),
                "{}",
                reply.text()
            );
            a.simple("ROLLBACK").ok();
        }
        let (mine, theirs) = (a.exchange(&run("s"), 1).ok(), b.exchange(&run("s"), 1).ok());
        assert!(mine.texts()[0].iter().any(|it| it == "ALPHA_name_1"), "{}", mine.text());
        assert!(theirs.texts()[0].iter().any(|it| it == "CANARY_B_name_1"), "{}", theirs.text());
        let described = a.exchange(&[describe('S', "s"), sync()], 1).ok();
        assert_eq!(described.columns[0].len(), mine.rows[0].len());
        // And who prepares the same now.
        let name = format!("now{round}");
        prepare(&mut b, &name, sql);
        b.exchange(&run(&name), 1).ok();
    }
}

/// What a function drops out of sight is prepared again.
#[test]
fn what_the_server_has_lost_is_prepared_again() {
    let lab = Lab::general();
    lab.copy_of_shop("dropping_lost");
    let function = "CREATE FUNCTION probe_free() RETURNS int LANGUAGE plpgsql AS \
                    $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END $$";
    lab.superuser("dropping_lost").simple(function).ok();
    let pool = r#"{ mode = "transaction", size = 1 }"#.to_owned();
    let proxy = Proxy::start(lab, &Setup { database: "dropping_lost".to_owned(), pool, ..Setup::default() });
    let mut a = proxy.a().connect();
    prepare(&mut a, "kept", KEPT);
    prepare(&mut a, "other", "SELECT 8");
    let lose = |proxy: &Proxy| {
        proxy.b().connect().simple("SELECT probe_free()").ok();
    };
    lose(&proxy);
    for (name, value) in [("kept", "7"), ("other", "8"), ("kept", "7")] {
        assert_eq!(a.exchange(&run(name), 1).ok().value(), value);
    }
    lose(&proxy);
    assert_eq!(a.exchange(&[describe('S', "kept"), sync()], 1).ok().columns[0].len(), 1);
    // In a transaction block the client is told, once.
    a.exchange(&run("kept"), 1).ok();
    lose(&proxy);
    a.simple("BEGIN").ok();
    a.exchange(&run("kept"), 1).refused("26000");
    a.simple("ROLLBACK").ok();
    for name in ["kept", "other"] {
        a.exchange(&run(name), 1).ok();
    }
}

/// Drivers send the reset of a connection that goes back to their pool along with the next batch, or in it. What follows runs
/// under what the client connected with, for its own tenant.
#[test]
fn a_reset_and_what_follows_in_one_pipeline() {
    let proxy = proxy("dropping_reset", 1);
    let owner = Lab::general().owner("dropping_reset").with("TimeZone", "Asia/Tokyo");
    let shown = "SELECT current_setting('timezone'), current_setting('lock_timeout')";
    let own =
        "SELECT count(*) FROM customers WHERE left(name, 5) = 'ALPHA' HAVING count(*) = count(DISTINCT tenant_id) * 8";
    let all = |sql| extended(sql, &[]);
    for (login, reset) in ["tenant_a", "schema_a", "database_a", "jobs", "operator"]
        .into_iter()
        .flat_map(|login| ["DISCARD ALL", "DEALLOCATE ALL"].map(|reset| (login, reset)))
    {
        let mut client = proxy.login(login).with("TimeZone", "Asia/Tokyo").connect();
        let mut alone = owner.connect();
        for order in [
            vec![query(reset), all(shown), sync()],
            vec![all(reset), parse("later", "SELECT 42", &[]), all(shown), sync()],
            vec![all(reset), parse("s", "SELECT 43", &[]), sync()],
            vec![all(reset), all(reset), parse("s", "SELECT 44", &[]), all(shown), sync()],
            vec![all(reset), parse("s", "SELECT nosuch", &[]), all(shown), sync()],
            vec![all(reset), query(shown)],
            vec![parse("s", "SELECT 45", &[]), all(reset), bind("", "s", &[], &[]), execute("", 0), sync()],
            vec![all(reset), all("SELECT 1/0"), all(shown), sync()],
            vec![all("SELECT 1/0"), all(reset), sync()],
        ] {
            let end = [bind("", "s", &[], &[]), execute("", 0), sync(), query("DEALLOCATE ALL"), query(shown)];
            let [got, wanted] = [&mut client, &mut alone].map(|session| {
                session.simple("SET lock_timeout = '9s'").ok();
                prepare(session, "s", "SELECT 'before'");
                session.send(&order.concat());
                let first = seen(&session.collect(1 + usize::from(order.len() == 3 && order[0][0] == b'Q')));
                session.send(&end.concat());
                format!("{first}, then {}", seen(&session.collect(3)))
            });
            assert_eq!(got, wanted, "{login}, {reset}");
        }
        if login == "tenant_a" {
            let mut b = proxy.b().connect();
            b.simple("SELECT 1").ok();
            let reply = client.exchange(&[all(reset), all(own), sync()], 1).ok();
            assert_eq!(reply.texts(), [["8"]]);
        }
    }
}
