//! What a condition is evaluated on, when the statement is planned and when it runs: own rows only. The planner estimates
//! a condition by evaluating its operator on values that ANALYZE kept of all rows, so an operator that raises on
//! others' values must stay silent in every place where a condition can stand, with fresh statistics of all tenants.
//!
//! `PGWARDEN_PLANTIME_COUNT` (statements of each mode), `PGWARDEN_PLANTIME_SECONDS` (at least so long) and
//! `PGWARDEN_PLANTIME_SEED` choose another run.

mod generate;
mod lazy;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::generate::{Statement, statement};
use crate::isolation::Mode;
use crate::property::choices::{Choices, shrink};
use crate::property::number;
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup, free_port, police};
use crate::support::session::{Endpoint, Session};

/// Statements of a mode, unless told otherwise: some seconds.
const COUNT: u64 = 700;

/// The probe: an operator, allowed to tenants, that raises on what is not tenant A's. Both its estimators evaluate it on the
/// statistics' values: `matchingsel` on common values and histogram bounds, `eqjoinsel` on common values of both sides.
const PROBE: &str = "
    CREATE FUNCTION public.look(a text, b text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $$
    BEGIN
        IF a LIKE 'CANARY%' OR b LIKE 'CANARY%' OR a IN ('order_tags', 'ld') OR b IN ('order_tags', 'ld')
           OR a IN ('bravo', 'charlie') OR b IN ('bravo', 'charlie') THEN
            RAISE EXCEPTION 'looked at another tenant''s value' USING ERRCODE = 'PW001';
        END IF;
        RETURN length(a) % 2 = length(b) % 2;
    END $$;
    CREATE OPERATOR public.<%%> (LEFTARG = text, RIGHTARG = text, FUNCTION = public.look, COMMUTATOR = <%%>,
        RESTRICT = matchingsel, JOIN = eqjoinsel);
    -- common values of every tenant, beside the distinct ones
    INSERT INTO comments (id, tenant_id, body) SELECT 900000 + n, 1 + n % 3,
        (ARRAY['ALPHA', 'CANARY_B', 'CANARY_C'])[1 + n % 3] || '_common_' || n % 7 FROM generate_series(1, 300) n;
    UPDATE customers SET secret_note = left(secret_note, 13);
    INSERT INTO note (note_id, tenant_id, note) SELECT 900000 + n, 1 + n % 3,
        (ARRAY['ALPHA', 'CANARY_B', 'CANARY_C'])[1 + n % 3] || '_common_' || n % 5 FROM generate_series(1, 300) n;
    CREATE STATISTICS comment_values (mcv) ON tenant_id, body FROM comments;
    CREATE STATISTICS note_values ON (note || 'x') FROM note;
    ANALYZE;
    ALTER DATABASE {database} SET default_statistics_target = 1000;";

fn database(mode: Mode) -> String {
    let name = format!("plantime_{mode:?}").to_lowercase();
    let lab = Lab::general();
    lab.copy_of_shop(&name);
    lab.run(&name, &PROBE.replace("{database}", &name));
    if mode.is_policed() {
        police(lab, &name);
    }
    name
}

fn proxy(mode: Mode, database: &str) -> Proxy {
    let port = free_port();
    let config = Setup::enforcing(mode.enforcement(), database).text(Lab::general(), port);
    Proxy::launch(&config.replace("allow_functions = [", "allow_functions = [\"public.<%%>\", "), port)
}

/// Runs a statement and takes it back; the SQLSTATE, if it failed.
fn run(session: &mut Session, statement: &Statement) -> String {
    let sent = match statement.value {
        Some(value) => [message::extended(&statement.text, &[Some(value)]), message::sync()].concat(),
        None => message::query(&statement.text),
    };
    session.send(&[message::query("BEGIN"), sent, message::query("ROLLBACK")].concat());
    let reply = session.collect(3);
    assert!(!reply.closed && !reply.timed_out, "{statement:?}: {}", reply.text());
    reply.sqlstate().to_owned()
}

/// The probe has met another's value; or LIKE has, whose pattern is wrong behind what only others' values begin with.
fn tells(sqlstate: &str) -> bool {
    matches!(sqlstate, "PW001" | "22025")
}

fn probe(mode: Mode) {
    let database = database(mode);
    let proxy = proxy(mode, &database);
    let seed = number("PGWARDEN_PLANTIME_SEED", 1);
    let least = number("PGWARDEN_PLANTIME_COUNT", COUNT);
    let until = Instant::now() + Duration::from_secs(number("PGWARDEN_PLANTIME_SECONDS", 0));
    let mut through = Endpoint { database: database.clone(), ..proxy.a() }.connect();
    let mut direct = Lab::general().owner(&database).connect();
    let version: u32 = direct.simple("SHOW server_version_num").ok().value().parse().expect("a number");
    let has_merge = version >= 150_000;
    let (mut leaks, mut bites, mut errors) = (Vec::new(), 0, BTreeMap::<String, usize>::new());
    let mut count = 0;
    while count < least || Instant::now() < until {
        let number = count;
        count += 1;
        let (generated, draws) =
            statement(Choices::seeded(seed.wrapping_mul(7_000_003).wrapping_add(number)), has_merge);
        let outcome = run(&mut through, &generated);
        if tells(&outcome) {
            let small =
                shrink(draws, 300, &mut |it| tells(&run(&mut through, &statement(Choices::replay(it), has_merge).0)));
            leaks.push(format!("statement {number}: {}", statement(Choices::replay(&small), has_merge).0.text));
        } else if !outcome.is_empty() {
            *errors.entry(outcome).or_default() += 1;
        }
        // Where policies hold, the owner is under them too.
        if mode == Mode::Rewrite && number % 10 == 0 {
            bites += u64::from(tells(&run(&mut direct, &generated)));
        }
        if leaks.len() >= 5 {
            break;
        }
    }
    println!("{count} statements (seed {seed}): errors {errors:?}, {bites} of {} would have told", count / 10);
    assert!(leaks.is_empty(), "looked at values of others:\n{}", leaks.join("\n"));
    let failed = errors.values().sum::<usize>() as u64;
    assert!(failed * 20 < count, "{failed} of {count} statements are errors, and prove nothing: {errors:?}");
    assert!(mode != Mode::Rewrite || bites * 20 > count, "without pgwarden, {bites} of {} told", count / 10);
}

#[test]
fn conditions_look_at_own_values_only() {
    probe(Mode::Rewrite);
}

#[test]
fn conditions_look_at_own_values_only_under_policies() {
    probe(Mode::Rls);
}

#[test]
fn conditions_look_at_own_values_only_rewritten_and_under_policies() {
    probe(Mode::Both);
}
