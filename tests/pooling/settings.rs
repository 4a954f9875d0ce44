//! Settings of one client change nothing for another: neither what it reads, nor what the statements mean that both have
//! prepared, under whatever name. For every setting that a tenant may set, with values that are not the default, by every way
//! to set it. The client that has set it is answered as Postgres answers it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{bind, close, describe, execute, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::session::{Endpoint, Session};

/// Every setting that tenants may set, with values for it.
const SETTINGS: &[(&str, &[&str])] = &[
    ("application_name", &["another"]),
    ("audit.actor", &["ann"]),
    ("bytea_output", &["escape"]),
    ("check_function_bodies", &["off"]),
    ("client_encoding", &["utf-8"]),
    ("client_min_messages", &["error"]),
    ("datestyle", &["ISO, DMY", "ISO, YMD", "German", "SQL, DMY", "Postgres, MDY"]),
    ("default_text_search_config", &["english"]),
    ("default_transaction_deferrable", &["on"]),
    ("default_transaction_isolation", &["serializable", "repeatable read"]),
    ("default_transaction_read_only", &["on"]),
    ("extra_float_digits", &["0", "-10", "3"]),
    ("geqo", &["off"]),
    ("geqo_seed", &["0.5"]),
    ("hnsw.ef_search", &["77"]),
    ("hnsw.iterative_scan", &["strict_order"]),
    ("hnsw.max_scan_tuples", &["7777"]),
    ("idle_in_transaction_session_timeout", &["77s"]),
    ("intervalstyle", &["postgres_verbose", "sql_standard", "iso_8601"]),
    ("ivfflat.iterative_scan", &["relaxed_order"]),
    ("ivfflat.max_probes", &["77"]),
    ("ivfflat.probes", &["7"]),
    ("jit", &["off"]),
    ("lock_timeout", &["78s"]),
    ("pg_trgm.similarity_threshold", &["0.9"]),
    ("pg_trgm.strict_word_similarity_threshold", &["0.9"]),
    ("pg_trgm.word_similarity_threshold", &["0.9"]),
    ("plan_cache_mode", &["force_custom_plan"]),
    ("row_security", &["true"]),
    ("search_path", &["public", "pg_catalog, public"]),
    ("standard_conforming_strings", &["true"]),
    ("statement_timeout", &["79s"]),
    ("synchronous_commit", &["off"]),
    ("timezone", &["Asia/Tokyo", "America/New_York", "-3"]),
    ("transaction_deferrable", &["on"]),
    ("transaction_isolation", &["serializable"]),
    ("transaction_read_only", &["on"]),
    ("transaction_timeout", &["80s"]),
];

/// Statements whose meaning or answer depends on settings, with the value of their parameter. Those that fail under some come
/// last: they fail the transaction that others run in.
const STATEMENTS: &[(&str, Option<&str>)] = &[
    ("SELECT '03/04/2026'::date", None),
    ("SELECT date '03-04-2026', '2026-03-04'::date::text", None),
    ("SELECT id FROM sample WHERE d < '03/04/2026' ORDER BY id", None),
    ("SELECT id FROM sample WHERE d < $1 ORDER BY id", Some("03/04/2026")),
    ("SELECT $1::text::date", Some("03/04/2026")),
    ("SELECT d::text, t::text FROM sample ORDER BY d::text", None),
    ("SELECT timestamptz '2026-01-01 12:00', '2026-01-01 12:00'::timestamptz::text", None),
    ("SELECT id FROM sample WHERE t > '2026-01-01 12:00' ORDER BY id", None),
    ("SELECT id FROM sample WHERE t > $1 ORDER BY id", Some("2026-01-01 12:00")),
    ("SELECT timestamp '2026-01-01 00:00'::timestamptz, timestamptz '2026-01-01 00:00+00'::date", None),
    (
        "SELECT extract(hour FROM timestamptz '2026-07-01 12:00+00'), date_trunc('day', timestamptz '2026-07-01 23:00+00')",
        None,
    ),
    ("SELECT to_char(timestamptz '2026-01-01 12:00+00', 'YYYY-MM-DD HH24 TZ'), to_timestamp(0)", None),
    ("SELECT date_trunc('day', t), count(*) FROM sample GROUP BY 1 ORDER BY 1", None),
    ("SELECT t::date AS day FROM sample ORDER BY day, id", None),
    ("SELECT interval '1 year 2 mons -3 days 04:05:06', interval '1-2 3 4:05:06'::text", None),
    ("SELECT interval '-1 2:03:04', i::text FROM sample ORDER BY id", None),
    ("SELECT 1.0::float8 / 3, (0.1::float8 + 0.2::float8)::text, 1::float4 / 3", None),
    ("SELECT f::text || '', round(f::numeric, 3) FROM sample ORDER BY f::text", None),
    (r"SELECT '\x610062'::bytea, ('\x610062'::bytea)::text, b::text FROM sample ORDER BY id", None),
    ("SELECT * FROM sample ORDER BY id", None),
    ("SELECT row_to_json(s)::text, s::text FROM (SELECT d, t, i, f, b FROM sample) s ORDER BY d", None),
    ("SELECT concat(d, ' ', t), format('%s', i), array_agg(t)::text FROM sample GROUP BY d, t, i ORDER BY d", None),
    ("SELECT generate_series('03/04/2026'::date, '04/04/2026'::date, '1 month')::text", None),
    (r"SELECT 'a\b', E'a\tb', 'Ä'", None),
    ("SELECT to_tsvector('The quick foxes')::text, to_tsquery('foxes')::text", None),
    ("SHOW datestyle", None),
    ("SHOW timezone", None),
    ("SHOW transaction_isolation", None),
    ("SHOW statement_timeout", None),
    ("SELECT current_setting('intervalstyle'), current_setting('transaction_read_only')", None),
    ("SELECT similarity('word', 'words')", None),
    ("SELECT 'abc'::citext = 'ABC'", None),
    ("SELECT 'word' % 'words'", None),
    ("UPDATE sample SET n = n WHERE id = 1 RETURNING id", None),
    ("SELECT '13/04/2026'::date", None),
];

/// How a client sets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Set,
    Local,
    Function,
    Bound,
    Parameter,
    Options,
}

const WAYS: [Way; 6] = [Way::Set, Way::Local, Way::Function, Way::Bound, Way::Parameter, Way::Options];

impl Way {
    /// A session that has it; `None` where it cannot be set so.
    fn session(self, end: &Endpoint, name: &str, value: &str) -> Option<Session> {
        let quoted = value.replace(' ', "\\ ");
        let (mut session, reply) = match self {
            Way::Set | Way::Local | Way::Function | Way::Bound => end.try_connect(),
            Way::Parameter => end.clone().with(name, value).try_connect(),
            Way::Options => end.clone().with("options", &format!("-c {name}={quoted}")).try_connect(),
        };
        // A list is no literal.
        let literal = if matches!(name, "search_path" | "datestyle") { value.to_owned() } else { format!("'{value}'") };
        let reply = match self {
            Way::Set => session.simple(format!("SET {name} TO {literal}")),
            Way::Local => session.simple(format!("BEGIN; SET LOCAL {name} TO {literal}")),
            Way::Function => session.simple(format!("SELECT set_config('{name}', '{value}', false)")),
            Way::Bound => session.extended("SELECT set_config($1, $2, false)", &[Some(name), Some(value)]),
            Way::Parameter | Way::Options => reply,
        };
        (reply.errors.is_empty() && !reply.closed).then_some(session)
    }
}

/// All statements, each under its own name and prepared anew, then by the simple protocol where they have no parameter; and
/// how many answers there will be.
fn all(name: &str) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (n, (sql, _)) in STATEMENTS.iter().enumerate() {
        let name_n = format!("{name}{n}");
        bytes.extend([close('S', &name_n), parse(&name_n, sql, &[]), sync(), one(name, n)].concat());
    }
    let simple: Vec<_> = STATEMENTS.iter().filter(|(_, value)| value.is_none()).map(|(sql, _)| query(sql)).collect();
    (bytes.into_iter().chain(simple.concat()).collect(), 2 * STATEMENTS.len() + simple.len())
}

/// One that is prepared.
fn one(name: &str, n: usize) -> Vec<u8> {
    let values: Vec<_> = STATEMENTS[n].1.iter().map(|it| Some(*it)).collect();
    let bind = bind("", &format!("{name}{n}"), &values, &[]);
    [bind, describe('P', ""), execute("", 0), sync()].concat()
}

/// Those that are prepared.
fn again(name: &str) -> (Vec<u8>, usize) {
    ((0..STATEMENTS.len()).flat_map(|n| one(name, n)).collect(), STATEMENTS.len())
}

fn answers(session: &mut Session, (bytes, count): (Vec<u8>, usize)) -> Vec<String> {
    session.send(&bytes);
    let answer = |_| {
        let reply = session.collect(1);
        assert!(!reply.timed_out && !reply.closed, "{}", reply.text());
        seen(&reply)
    };
    (0..count).map(answer).collect()
}

fn seen(reply: &Reply) -> String {
    let types: Vec<_> = reply.columns.iter().flatten().map(|column| column.type_oid).collect();
    format!("{} {:?} {types:?} {} {}", reply.sqlstate(), reply.texts(), reply.tags.join(" "), reply.states)
}

struct Scene {
    proxy: Proxy,
    solo: Endpoint,
}

fn scene(name: &str) -> Scene {
    let lab = Lab::general();
    let [shared, solo] = ["shared", "solo"].map(|side| format!("settings_{name}_{side}"));
    for database in [&shared, &solo] {
        lab.copy_of_shop(database);
        let rows = |tenant: u32| {
            format!(
                r"({tenant}, 1, 1, '2026-03-03', '2026-01-01 03:30+00', '1 year -2 days 03:04:05', 1.0 / 3, '\x61005c'),
                ({tenant}, 2, 1, '2026-03-05', '2026-01-01 12:30+00', '-1 day 00:00:01', 0.1, '\x00ff'),
                ({tenant}, 3, 1, '2026-04-01', '2026-07-01 23:30+00', '1 mon', 1e20, '')"
            )
        };
        let more = if database == &shared { format!(", {}", rows(2)) } else { String::new() };
        lab.run(
            database,
            &format!(
                "CREATE TABLE sample (tenant_id int NOT NULL, id int, n int, d date, t timestamptz, i interval, f float8, b bytea);
                 ALTER TABLE sample OWNER TO app_owner; INSERT INTO sample VALUES {}{more}",
                rows(1)
            ),
        );
    }
    let pool = r#"{ mode = "transaction", size = 1 }"#.to_owned();
    Scene { solo: lab.owner(&solo), proxy: Proxy::start(lab, &Setup { database: shared, pool, ..Setup::default() }) }
}

/// The first answer that is neither the same nor a refusal of pgwarden's.
fn difference(got: &[String], wanted: &[String]) -> Option<String> {
    let refused = |answer: &str| answer.starts_with("42501") || answer.starts_with("0A000");
    let differs = |(got, wanted): &(&String, &String)| got != wanted && !refused(got);
    let (got, wanted) = got.iter().zip(wanted).find(differs)?;
    Some(format!("\n  {got}\ninstead of\n  {wanted}\n"))
}

#[test]
fn what_one_client_sets_changes_nothing_for_others() {
    let Scene { proxy, solo } = scene("all");
    // Prepared before anything was set, and prepared after each.
    let mut neighbour = proxy.b().connect();
    let untouched = answers(&mut neighbour, all("old"));
    let kept = answers(&mut neighbour, again("old"));
    let mut failures = Vec::new();
    let mut tried = std::collections::BTreeSet::new();
    for (name, values) in SETTINGS {
        for (value, way) in values.iter().flat_map(|value| WAYS.map(|way| (value, way))) {
            let Some(mut alone) = way.session(&solo, name, value) else { continue };
            let Some(mut client) = way.session(&proxy.a(), name, value) else { continue };
            tried.insert(*name);
            let what = format!("{name} = {value} by {way:?}");
            let mut compare = |got: &[String], wanted: &[String], who: &str| {
                failures.extend(difference(got, wanted).map(|text| format!("{what}: {who}{text}")));
            };
            let [got, wanted] = [&mut client, &mut alone].map(|it| answers(it, all("own")));
            // A path is for the transaction, whatever was said: the next one has pgwarden's again.
            let lasts = *name != "search_path" || way == Way::Local;
            if lasts {
                compare(&got, &wanted, "the client's own");
            }
            if way == Way::Local {
                client.simple("COMMIT");
                alone.simple("COMMIT");
            }
            compare(&answers(&mut neighbour, again("old")), &kept, "the neighbour's, prepared before");
            compare(&answers(&mut neighbour, all("new")), &untouched, "the neighbour's, prepared now");
            // What was prepared under settings that are gone may be prepared anew.
            if lasts && way != Way::Local {
                let [got, wanted] = [&mut client, &mut alone].map(|it| answers(it, again("own")));
                compare(&got, &wanted, "the client's own, again");
            }
        }
    }
    let shown = &failures[..failures.len().min(12)];
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), shown.concat());
    let untried: Vec<_> = SETTINGS.iter().map(|(name, _)| *name).filter(|name| !tried.contains(name)).collect();
    // The server lacks the one (before Postgres 17), or they are for extensions that it does not have.
    assert!(untried.iter().all(|name| *name == "transaction_timeout"), "{untried:?}");
}

/// A setting that tenants may set is in the list above.
#[test]
fn no_setting_is_forgotten() {
    let Scene { proxy, .. } = scene("list");
    let names = "SELECT name FROM pg_settings WHERE context IN ('user', 'superuser')";
    let names = Lab::general().superuser("postgres").simple(names).ok().first_column();
    let mut client = proxy.a().connect();
    for name in names {
        let name = name.to_lowercase();
        let allowed = client.simple(format!("SET {name} TO DEFAULT")).errors.is_empty();
        let listed = SETTINGS.iter().any(|(listed, _)| *listed == name);
        assert!(listed || !allowed, "{name} may be set");
    }
}

/// What a client says over the settings that it connected with holds, also where the value is the server's own default; RESET
/// goes back to what it connected with.
#[test]
fn what_was_said_is_kept() {
    let Scene { proxy, solo } = scene("said");
    let mut plain = solo.connect();
    let server = |plain: &mut Session, name: &str| plain.simple(format!("SHOW {name}")).ok().value();
    let (zone, timeout) = (server(&mut plain, "timezone"), server(&mut plain, "statement_timeout"));
    let said = [
        format!("SET TIME ZONE '{zone}'"),
        format!("SET statement_timeout = '{timeout}'"),
        "SET datestyle = 'ISO, MDY'".to_owned(),
        "RESET timezone".to_owned(),
        "SET TIME ZONE DEFAULT; RESET statement_timeout".to_owned(),
        format!("BEGIN; SET TIME ZONE '{zone}'; ROLLBACK"),
        format!("BEGIN; SET LOCAL TIME ZONE '{zone}'; COMMIT"),
        format!("SELECT set_config('timezone', '{zone}', false)"),
        format!(
            "SELECT set_config('statement_timeout', '{timeout}', false), set_config('timezone', 'Asia/Tokyo', false)"
        ),
        "RESET ALL".to_owned(),
        format!("SET statement_timeout = '{timeout}'"),
        "DISCARD ALL".to_owned(),
    ];
    let connected = |end: Endpoint| {
        let end = end.with("TimeZone", "America/New_York").with("DateStyle", "German");
        end.with("options", "-c statement_timeout=1500").connect()
    };
    for login in ["tenant_a", "database_a", "operator"] {
        let (mut client, mut alone) = (connected(proxy.login(login)), connected(solo.clone()));
        let mut neighbour = proxy.login(login).connect();
        for sql in &said {
            let [got, wanted] = [&mut client, &mut alone].map(|session| {
                session.simple(sql).ok();
                ["timezone", "statement_timeout", "datestyle"].map(|name| server(session, name))
            });
            assert_eq!(got, wanted, "{login}: {sql}");
            // On the same server connection.
            assert_eq!(server(&mut neighbour, "timezone"), zone, "{login}: {sql}");
            assert_eq!(server(&mut client, "statement_timeout"), wanted[1], "{login}: {sql}");
        }
    }
}

/// Which state random() is in cannot be asked, nor put back: the server connection stays with who has seeded it, and is then
/// nobody's.
#[test]
fn a_seed_is_for_the_connection() {
    let Scene { proxy, solo } = scene("seed");
    let pid = |session: &mut Session| session.simple("SELECT pg_backend_pid()").ok().value();
    for (login, seed) in [
        ("database_a", "SET seed = 0.25"),
        ("operator", "SET seed = 0.25"),
        ("database_a", "SELECT set_config('seed', '0.25', false)"),
        ("operator", "SELECT setseed(0.25)"),
    ] {
        let (mut client, mut alone) = (proxy.login(login).connect(), solo.connect());
        let drawn = [&mut client, &mut alone].map(|session| {
            session.simple(seed).ok();
            [(); 3].map(|()| session.simple("SELECT random()").ok().value())
        });
        assert_eq!(drawn[0], drawn[1], "{login}: {seed}");
        let seeded = pid(&mut client);
        drop(client);
        for _ in 0..6 {
            let mut next = proxy.login(login).connect();
            assert_ne!(pid(&mut next), seeded, "{login}: {seed}");
            next.simple("DISCARD ALL").ok();
        }
    }
    proxy.login("database_a").with("options", "-c seed=0.5").try_connect().1.refused("42501");
}

/// What ALTER DATABASE and ALTER ROLE give sessions to begin with reaches those that begin now; what a client has set holds.
#[test]
fn sessions_begin_with_what_the_database_says() {
    let Scene { proxy, .. } = scene("begin");
    let show = |session: &mut Session, name: &str| session.simple(format!("SHOW {name}")).ok().value();
    let mut client = proxy.a().connect();
    client.simple("SET lock_timeout = '7s'").ok();
    for (given, zone) in [("SET timezone = 'Asia/Tokyo'", "Asia/Tokyo"), ("SET timezone = 'Asia/Seoul'", "Asia/Seoul")]
    {
        Lab::general().run("postgres", &format!("ALTER DATABASE settings_begin_shared {given}"));
        let end = Instant::now() + Duration::from_secs(30);
        while show(&mut proxy.a().connect(), "timezone") != zone {
            assert!(Instant::now() < end, "{given}");
            sleep(Duration::from_millis(50));
        }
        assert_eq!(show(&mut client, "lock_timeout"), "7s");
        let mut other = proxy.login("operator").connect();
        assert_eq!(show(&mut other, "timezone"), zone);
    }
}
