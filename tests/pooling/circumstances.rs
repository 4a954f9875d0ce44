//! What one client has set changes nothing for another that sends the same text. One server connection.

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, sync};
use crate::support::session::{Endpoint, Session};

/// Statements whose constants, plans or results some setting decides.
const STATEMENTS: &[&str] = &[
    "SELECT extract(month FROM date '03/04/2066')",
    "SELECT extract(epoch FROM timestamptz '2066-03-04 05:06')",
    "SELECT extract(epoch FROM interval '-1 2:03:04')",
    "SELECT '2066-03-04 05:06'::timestamptz::text, date '2066-03-04'::text, interval '1 month 2 days 3:04'::text",
    "SELECT '\\x6162'::bytea::text, (0.1::float8 + 0.2::float8)::text, 1.5::float4::text",
    "SELECT count(*) FROM countries WHERE date '03/04/2066' > date '2066-03-15'",
    "SELECT to_char(timestamptz '2066-03-04 05:06', 'HH24 TZ'), timestamptz '2066-03-04 05:06' AT TIME ZONE 'UTC'",
];

/// A setting that clients may change, and another value than it usually has.
type Setting = (String, String);

/// All settings that a client of this kind may set, each with another value than usual: what the server lists as a user's
/// own, less what pgwarden refuses.
fn settings(end: &Endpoint, database: &str) -> Vec<Setting> {
    let listed = Lab::general()
        .superuser(database)
        .simple(
            "SELECT lower(name), CASE vartype \
                 WHEN 'bool' THEN CASE setting WHEN 'on' THEN 'off' ELSE 'on' END \
                 WHEN 'enum' THEN (SELECT v FROM unnest(enumvals) v WHERE v <> setting ORDER BY v DESC LIMIT 1) \
                 WHEN 'integer' THEN CASE WHEN setting::bigint + 7 <= max_val::bigint THEN setting::bigint + 7 \
                                          ELSE greatest(setting::bigint - 7, min_val::bigint) END::text \
                 WHEN 'real' THEN CASE WHEN setting::float8 <= 1 THEN 0.5 ELSE setting::float8 - 1 END::text END \
             FROM pg_settings WHERE context = 'user' AND vartype <> 'string' \
                 AND name NOT LIKE '%timeout%' AND name NOT LIKE 'transaction\\_%' ORDER BY 1",
        )
        .ok();
    let mut settings: Vec<Setting> =
        listed.texts().into_iter().map(|mut row| (row.swap_remove(0), row.swap_remove(0))).collect();
    let strings = [
        ("datestyle", "ISO, DMY"),
        ("datestyle", "German"),
        ("datestyle", "SQL, YMD"),
        ("timezone", "Asia/Tokyo"),
        ("timezone", "America/New_York"),
        ("intervalstyle", "sql_standard"),
        ("statement_timeout", "77s"),
        ("lc_monetary", "C"),
        ("timezone_abbreviations", "Australia"),
        ("application_name", "another"),
        ("never.heard_of", "x"),
    ];
    settings.extend(strings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut client = end.connect();
    settings.retain(|(name, value)| {
        let reply = client.simple(format!("BEGIN; SET LOCAL {name} = '{value}'"));
        client.simple("ROLLBACK");
        reply.errors.is_empty()
    });
    settings
}

/// What a session sees that prepares all of them, under new names, and runs them.
fn results(session: &mut Session, round: &str) -> Vec<String> {
    let one = |(n, sql): (usize, &&str)| {
        let name = format!("c{round}_{n}");
        let messages = [parse(&name, sql, &[]), sync(), bind("", &name, &[], &[]), execute("", 0), sync()];
        let reply = session.exchange(&messages, 2);
        format!("{sql}: {} {:?}", reply.sqlstate(), reply.texts())
    };
    STATEMENTS.iter().enumerate().map(one).collect()
}

/// How a client comes to have a setting.
#[derive(Clone, Copy, Debug)]
enum Way {
    Set,
    Startup,
    Local,
    Function,
}

fn with(end: &Endpoint, way: Way, (name, value): &Setting, round: &str) -> Vec<String> {
    let mut session = match way {
        Way::Startup => end.clone().with(name, value).connect(),
        Way::Set | Way::Local | Way::Function => end.connect(),
    };
    session.simple(match way {
        Way::Startup => "SELECT 1".to_owned(),
        Way::Set => format!("SET {name} = '{value}'"),
        Way::Local => format!("BEGIN; SET LOCAL {name} = '{value}'"),
        Way::Function => format!("BEGIN; SELECT set_config('{name}', '{value}', true)"),
    });
    let seen = results(&mut session, round);
    session.simple("ROLLBACK");
    session.quit();
    seen
}

fn nobody_is_touched(end: &Endpoint, plain: &Endpoint, database: &str, ways: &[Way]) {
    let settings = settings(end, database);
    assert!(settings.len() > 10, "{settings:?}");
    let fresh = results(&mut plain.connect(), "plain");
    for setting in &settings {
        for &way in ways {
            // Under no such setting first, and then under it; and the other way round.
            let mut own = end.connect();
            assert_eq!(results(&mut own, "own"), fresh, "before {setting:?}");
            let expected = with(plain, way, setting, "plain");
            assert_eq!(with(end, way, setting, "other"), expected, "{way:?} {setting:?}");
            let mut next = end.connect();
            assert_eq!(results(&mut next, "next"), fresh, "after {way:?} {setting:?}");
            assert_eq!(results(&mut own, "again"), fresh, "after {way:?} {setting:?}");
        }
    }
}

#[test]
fn settings_of_one_client_change_nothing_for_another() {
    let proxy = proxy("circumstances_shared", 1);
    let plain = Lab::general().owner("circumstances_shared").with("options", "-c search_path=public,extensions");
    let ways = [Way::Set, Way::Startup, Way::Local, Way::Function];
    nobody_is_touched(&proxy.a(), &plain, "circumstances_shared", &ways);
}

#[test]
fn settings_in_a_database_of_ones_own() {
    let proxy = proxy("circumstances_database", 1);
    let plain = Lab::general().owner("db_tenant_a");
    nobody_is_touched(&proxy.login("database_a"), &plain, "db_tenant_a", &[Way::Set, Way::Local]);
}

/// The order of day and month that a client names no value for is not another client's.
#[test]
fn half_a_date_style_is_completed_by_the_default() {
    let proxy = proxy("circumstances_half", 1);
    let mut other = proxy.b().connect();
    let mut half = proxy.a().with("DateStyle", "SQL").connect();
    for style in ["ISO, DMY", "German", "ISO, YMD"] {
        other.simple(format!("SET DateStyle = '{style}'")).ok();
        assert_eq!(half.simple("SHOW DateStyle").ok().value(), "SQL, MDY", "behind {style}");
        other.simple("SELECT 1").ok();
    }
}

/// A statement means what the settings of its client say that hold when it runs, whichever connection it runs on.
#[test]
fn a_prepared_statement_follows_its_clients_settings() {
    let proxy = proxy("circumstances_follow", 2);
    let mut client = proxy.a().connect();
    let sql = "SELECT extract(month FROM date '03/04/2066')";
    client.exchange(&[parse("s", sql, &[]), sync()], 1).ok();
    let run = || [bind("", "s", &[], &[]), execute("", 0), sync()];
    for (style, month) in [("ISO, DMY", "4"), ("ISO, MDY", "3"), ("ISO, DMY", "4")] {
        client.simple(format!("SET DateStyle = '{style}'")).ok();
        let mut blocker = proxy.b().connect();
        for block in [false, true, false] {
            blocker.simple(if block { "BEGIN; SELECT 1" } else { "ROLLBACK" }).ok();
            assert_eq!(client.exchange(&run(), 1).ok().value(), month, "{style}");
        }
    }
}
