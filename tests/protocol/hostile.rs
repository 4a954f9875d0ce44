//! Frames that lie, and plain noise, after authentication: an error or a close, and nobody else notices.

use std::time::Duration;

use super::{PROXY, Shared};
use crate::support::lab::Lab;
use crate::support::message::{bind, close, execute, frame, lying_frame, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;

/// A proxy of their own for statements that take memory: another test here watches the memory of [`PROXY`].
static LARGE: Shared = Shared::over("protocol_large");

fn after(bytes: &[u8]) -> Reply {
    let mut session = PROXY.get().a().connect();
    session.send(bytes);
    session.collect_within(1, Duration::from_secs(2))
}

fn is_well() {
    assert_eq!(PROXY.get().b().connect().simple("SELECT 1").ok().value(), "1");
}

#[test]
fn lengths_below_four_close_the_connection() {
    for length in [0, 1, 3] {
        let reply = after(&[lying_frame(b'Q', b"", length), sync()].concat());
        assert!(reply.closed && reply.rows.is_empty(), "{length}: {}", reply.text());
        assert!(matches!(reply.sqlstate(), "" | "08P01"), "{length}: {}", reply.text());
    }
    is_well();
}

/// What a frame announces is not allocated: the size is checked first.
#[test]
fn announced_gigabytes_cost_nothing() {
    let before = PROXY.get().resident_kib();
    for length in [0x3fff_ffff, 0x7fff_ffff, u32::MAX] {
        let reply = after(&lying_frame(b'Q', b"SELECT 1", length));
        assert!(reply.closed, "{length:#x}: {}", reply.text());
    }
    let grown = PROXY.get().resident_kib().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    is_well();
}

#[test]
fn a_frame_that_never_ends_waits_alone() {
    let reply = after(&lying_frame(b'Q', b"SELECT 1", 1_000));
    assert!(reply.timed_out, "{}", reply.text());
    is_well();
}

/// A body that holds more than its message says, or less.
#[test]
fn bodies_that_do_not_fit_are_refused() {
    let bodies: [(u8, &[u8]); 12] = [
        (b'Q', b"SELECT 1\0SELECT name FROM customers\0"),
        (b'Q', b"SELECT 1"),
        (b'Q', b""),
        (b'P', b"\0SELECT 1\0\0\x09"),
        (b'P', b"\0SELECT 1\0\0\0GARBAGE"),
        (b'P', b"\0SELECT 1"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0"),
        (b'B', b"\0\0\0\x05\0\0\0\0\0\0"),
        (b'D', b"X\0"),
        (b'E', b"\0\0\0"),
        (b'C', b"Sname"),
        (b'S', b"extra"),
    ];
    for (tag, body) in bodies {
        let reply = after(&[frame(tag, body), sync()].concat());
        assert!(reply.rows.is_empty(), "{} {body:?}: {}", tag as char, reply.text());
        // 26000: the statement that a Bind names may be looked up before its values are read.
        let refused = matches!(reply.sqlstate(), "08P01" | "26000");
        assert!(refused, "{} {body:?}: {}", tag as char, reply.text());
    }
    is_well();
}

#[test]
fn unknown_and_backend_message_types_close_the_connection() {
    for tag in [b'Z', b'T', b'R', b'k', b'z', 0, 0xff] {
        let reply = after(&frame(tag, b"\0\0\0\0"));
        assert!(reply.closed, "{tag:#x}: {}", reply.text());
        assert_eq!(reply.sqlstate(), "08P01");
    }
    is_well();
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    let mut session = PROXY.get().a().connect();
    let reply = session.simple(b"SELECT '\xe9\x5c', name FROM customers --'");
    assert_eq!(reply.sqlstate(), "22021", "{}", reply.text());
    assert!(reply.rows.is_empty());
    let reply = session.simple(b"SELECT name FROM customers WHERE name = '\xff'");
    assert_eq!(reply.sqlstate(), "22021", "{}", reply.text());
}

/// Copy messages outside COPY are dropped, as Postgres does.
#[test]
fn copy_messages_outside_copy_are_dropped() {
    let mut session = PROXY.get().a().connect();
    let stray = [frame(b'd', b"2\tplanted\tx\n"), frame(b'c', b""), frame(b'f', b"x\0")].concat();
    session.send(&[stray, query("SELECT 1")].concat());
    assert_eq!(session.collect(1).ok().value(), "1");
}

/// Noise from a generator with a fixed seed, raw and inside well-formed frames.
#[test]
fn noise_harms_nobody() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    for round in 0..150 {
        let length = usize::from(byte());
        let body: Vec<u8> = (0..length).map(|_| byte()).collect();
        let tags = b"QPBDECSHFdcf";
        let bytes = match round % 3 {
            0 => body,
            _ => [frame(tags[usize::from(byte()) % tags.len()], &body), sync()].concat(),
        };
        let mut session = PROXY.get().a().connect();
        session.send(&bytes);
        // Enough to be read; an answer is not required of every noise.
        let reply = session.collect_within(1, Duration::from_millis(30));
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
    }
    is_well();
}

/// A thousand statement names of 60 kB each: names are bounded, or the session ends, but memory is not eaten.
#[test]
fn huge_names_are_bounded() {
    let before = PROXY.get().resident_kib();
    let mut session = PROXY.get().a().connect();
    for n in 0..300 {
        let name = format!("{n}{}", "n".repeat(60_000));
        session.send(&[parse(&name, "SELECT 1", &[]), sync()].concat());
        let reply = session.collect(1);
        if reply.closed {
            break;
        }
    }
    drop(session);
    let grown = PROXY.get().resident_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB");
    is_well();
}

/// Statements larger than any buffer of a session are taken; beyond the limits they are refused, and the session lives on.
#[test]
fn large_statements_are_taken_or_refused() {
    let mut session = LARGE.get().a().connect();
    let list = |bytes: usize| format!("SELECT count(*) FROM customers WHERE name IN ('{}')", "x".repeat(bytes));
    for bytes in [300 << 10, 3 << 20] {
        assert_eq!(session.simple(list(bytes)).ok().value(), "0", "{bytes}");
        assert_eq!(session.extended(&list(bytes), &[]).ok().value(), "0", "{bytes}");
    }
    for bytes in [6 << 20, 20 << 20] {
        assert_eq!(session.simple(list(bytes)).sqlstate(), "54000", "{bytes}");
        assert_eq!(session.extended(&list(bytes), &[]).sqlstate(), "54000", "{bytes}");
        assert_eq!(session.simple("SELECT 1").ok().value(), "1");
    }
    // In a transaction, as any error
    session.simple("BEGIN");
    assert_eq!(session.simple(list(20 << 20)).sqlstate(), "54000");
    assert_eq!(session.simple("SELECT 1").sqlstate(), "25P02");
    session.simple("ROLLBACK");
    is_well();
}

/// What could overflow a stack, or take gigabytes: an error in bounded time, and the session lives on.
#[test]
fn deep_and_wide_statements_are_refused() {
    let mut session = LARGE.get().a().connect();
    let nested = |n: usize| format!("SELECT {}1{}", "(SELECT ".repeat(n), ")".repeat(n));
    let joins = |n: usize| {
        let more: String = (1..n).map(|i| format!(" JOIN customers c{i} ON c{i}.id = c0.id")).collect();
        format!("SELECT 1 FROM customers c0{more}")
    };
    for sql in [
        format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        nested(3_000),
        format!("SELECT 1{}", "+1".repeat(20_000)),
        format!("SELECT {}", "1,".repeat(250_000) + "1"),
        "SELECT 1;".repeat(200_000),
        joins(10_000),
        vec!["SELECT id FROM customers"; 20_000].join(" UNION ALL "),
        "SELECT 'open".to_owned(),
        "SELECT /* open".to_owned(),
    ] {
        let reply = session.simple(&sql);
        assert!(matches!(reply.sqlstate(), "54000" | "54001" | "42601" | "53200"), "{:.40}: {}", sql, reply.text());
        assert_eq!(session.simple("SELECT 1").ok().value(), "1", "{sql:.40}");
    }
    is_well();
}

/// Nested queries over one that is wide: answered as Postgres answers them, or, too deep to be printed again, refused.
#[test]
fn deep_queries_are_answered_or_refused() {
    let mut session = LARGE.get().a().connect();
    let wanted = session.simple("SELECT count(*) FROM customers").ok().value().to_owned();
    let wide: String = (0..1_000).map(|i| format!(", id + {i} AS c{i}")).collect();
    let wide = format!("SELECT id{wide} FROM customers");
    for depth in [4, 10, 80] {
        let nested = |open: &str, close: &str| format!("{}{wide}{}", open.repeat(depth), close.repeat(depth));
        for sql in [
            nested("SELECT id FROM (", ") q"),
            nested("SELECT id FROM customers WHERE id IN (SELECT id FROM (", ") q)"),
            nested("WITH w AS (", ") SELECT id FROM w"),
        ] {
            let reply = session.simple(format!("SELECT count(*) FROM ({sql}) q"));
            match reply.sqlstate() {
                "0A000" | "54001" if depth > 10 => assert!(reply.rows.is_empty(), "{depth}: {sql:.60}"),
                _ => assert_eq!(reply.ok().value(), wanted, "{depth}: {sql:.60}"),
            }
        }
    }
    is_well();
}

/// COPY options without their argument, or with one of another kind: an error, and the process lives on.
#[test]
fn copy_options_without_sense() {
    let proxy = PROXY.get();
    let mut a = proxy.a().connect();
    let names = ["format", "delimiter", "null", "quote", "escape", "encoding", "header", "freeze", "default"];
    let lists =
        ["force_quote", "force_not_null", "force_null", "on_error", "log_verbosity", "reject_limit", "nonsense"];
    for name in names.into_iter().chain(lists) {
        for value in ["", " 5", " 1.5", " x", " 'cv'", " *", " (a)", " true"] {
            for sql in ["COPY (SELECT 1) TO STDOUT", "COPY orders TO STDOUT", "COPY orders (id, note) FROM STDIN"] {
                let mut b = proxy.a().connect();
                b.simple(format!("{sql} WITH ({name}{value})"));
            }
        }
    }
    assert_eq!(a.simple("SELECT 1").ok().value(), "1");
}

/// Statements that other parsers choke on, in both protocols: an answer in bounded time and memory, another client is served
/// meanwhile, and the session lives on.
#[test]
fn what_is_hard_to_read_is_bounded() {
    let mut session = LARGE.get().a().connect();
    let mut other = LARGE.get().b().connect();
    let before = LARGE.get().resident_kib();
    let params = |n: usize| (1..=n).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
    for sql in [
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT 1 FROM customers WHERE {}", vec!["id = 5"; 20_000].join(" AND ")),
        format!("SELECT 1 FROM customers WHERE {}id = 5", "NOT ".repeat(10_000)),
        format!("SELECT 1 FROM customers WHERE id IN ({})", params(70_000)),
        format!("SELECT {}1", "CASE WHEN true THEN ".repeat(5_000)),
        format!("SELECT '{{}}'::jsonb{}", "->'a'".repeat(10_000)),
        format!("SELECT a{}", "[1]".repeat(50_000)),
        format!(
            "WITH {} SELECT 1",
            (0..5_000).map(|i| format!("c{i} AS (SELECT id FROM customers)")).collect::<Vec<_>>().join(",")
        ),
        format!("SELECT $tag${}", "x".repeat(1 << 20)),
        format!("SELECT \"{}", "x".repeat(1 << 20)),
        format!("SELECT E'\\{}", "\\".repeat(1 << 20)),
        format!("SELECT {}", "/*".repeat(1 << 18)),
        format!("SELECT 1 {}{}", "/*".repeat(1 << 18), "*/".repeat(1 << 18)),
        format!("SELECT {}1", "+-".repeat(1 << 19)),
        "x".repeat(10 << 20),
    ] {
        session.send(&[query(&sql), parse("", &sql, &[]), sync()].concat());
        let served = other.simple("SELECT 1");
        assert_eq!(served.ok().value(), "1", "{sql:.40}");
        let reply = session.collect_within(2, Duration::from_secs(60));
        assert!(!reply.timed_out && !reply.closed, "{sql:.40}: {}", reply.text());
        assert!(reply.elapsed < Duration::from_secs(40), "{sql:.40}: {:?}", reply.elapsed);
        assert_eq!(session.simple("SELECT 1").ok().value(), "1", "{sql:.40}");
    }
    let grown = LARGE.get().resident_kib().saturating_sub(before);
    assert!(grown < 1_500 << 10, "{grown} KiB");
}

/// Of one worker, the others' statements do not wait until a long text has been read (seconds, in a debug build).
#[test]
fn a_long_text_holds_nobody_up() {
    let lab = Lab::general();
    lab.copy_of_shop("protocol_long");
    let one_worker =
        Setup { database: "protocol_long".to_owned(), listen: "workers = 1".to_owned(), ..Setup::default() };
    let proxy = Proxy::start(lab, &one_worker);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    b.simple("SELECT count(*) FROM customers").ok();
    let sql = format!("SELECT 1 FROM customers WHERE {}", vec!["id = 5"; 20_000].join(" AND "));
    a.send(&[query(&sql), parse("", &sql, &[]), sync()].concat());
    for _ in 0..3 {
        assert_ne!(b.simple("SELECT count(*) FROM customers").ok().value(), "0");
    }
    assert!(a.collect_within(1, Duration::from_millis(1)).timed_out);
    assert_eq!(a.collect(2).ok().value(), "1");
}

/// As many parameters as the protocol can count, less the tenant's, are taken; NUL is refused.
#[test]
fn sixty_thousand_parameters_are_taken() {
    let mut session = LARGE.get().a().connect();
    let params = (1..=60_000).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
    let values = vec![Some("1"); 60_000];
    let reply = session.extended(&format!("SELECT count(*) FROM customers WHERE id IN ({params})"), &values);
    assert_eq!(reply.ok().value(), "1");
    let reply = session.simple(b"SELECT '\0', name FROM customers".as_slice());
    assert!(!reply.errors.is_empty() && !reply.text().contains("ALPHA"), "{}", reply.text());
    is_well();
}

/// No parameter is left for the tenant's value, which is sent all the same.
#[test]
fn as_many_parameters_as_there_can_be() {
    let numbers: Vec<_> = (1..=65_535).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT DISTINCT left(name, 5) FROM customers WHERE id IN ({})", numbers.join(","));
    let values: Vec<_> = (1..=65_535).map(|number| number.to_string()).collect();
    let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
    for (end, own) in [(LARGE.get().a(), "ALPHA"), (LARGE.get().b(), "CANAR")] {
        let mut session = end.connect();
        let named = [parse("all", &sql, &[23]), bind("", "all", &values, &[]), execute("", 0), sync()];
        for _ in 0..2 {
            assert_eq!(session.exchange(&named, 1).ok().texts(), [[own]]);
            session.exchange(&[close('S', "all"), sync()], 1).ok();
        }
        session.exchange(&[parse("all", &sql, &[23]), bind("", "all", &values[1..], &[]), sync()], 1).refused("08P01");
    }
}
