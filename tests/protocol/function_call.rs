//! FunctionCall: as on the server itself for operators and in a database of the tenant's own, refused elsewhere.

use std::time::Instant;

use super::PROXY;
use crate::support::lab::Lab;
use crate::support::message::{bind, execute, frame, function_call, parse, query, sync};
use crate::support::session::{PATIENCE, Session};

/// Arguments and the result in binary format.
fn binary(oid: u32, arguments: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1]);
    body.extend((arguments.len() as u16).to_be_bytes());
    for value in arguments {
        body.extend(value.map_or(-1, |it| it.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body.extend([0, 1]);
    frame(b'F', &body)
}

/// Sends it, and reads so many ReadyForQuery: what came, SQLSTATEs in the place of errors.
fn answers(session: &mut Session, bytes: &[u8], ready: usize) -> Vec<(char, Vec<u8>)> {
    session.send(bytes);
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while seen.iter().filter(|(tag, _)| *tag == 'Z').count() < ready {
        let (tag, body) = session.message(deadline).expect("an answer");
        match tag {
            b'E' => {
                let state = body.split(|byte| *byte == 0).find(|it| it.starts_with(b"C")).unwrap().to_vec();
                seen.push(('E', state));
            }
            b'N' | b'S' => {}
            _ => seen.push((tag as char, body)),
        }
    }
    seen
}

#[test]
fn functions_are_called_as_by_postgres() {
    let lo = b"\0\x06\x7a\x11";
    let calls: Vec<(&str, Vec<u8>, usize)> = vec![
        ("int4abs", function_call(1397, &["-5"]), 1),
        ("binary", binary(1397, &[Some(&(-5i32).to_be_bytes())]), 1),
        ("NULL to a strict one", binary(1397, &[None]), 1),
        ("version, no arguments", function_call(89, &[]), 1),
        ("too few arguments", function_call(1397, &[]), 1),
        ("no number", function_call(1397, &["x"]), 1),
        ("no such function", function_call(3_999_999_999, &["x"]), 1),
        ("an aggregate", function_call(2803, &[]), 1),
        ("a set", function_call(1067, &["1", "3"]), 1),
        ("division by zero", function_call(154, &["1", "0"]), 1),
        ("a longer value", function_call(1622, &[&"x".repeat(100_000), "7"]), 1),
        ("within a transaction", [query("BEGIN"), function_call(1397, &["-5"]), query("COMMIT")].concat(), 3),
        ("in a failed one", [query("BEGIN; SELECT 1/0"), function_call(1397, &["-5"]), query("ROLLBACK")].concat(), 3),
        (
            "among others",
            [
                parse("", "SELECT 42", &[]),
                function_call(1397, &["-6"]),
                bind("", "", &[], &[]),
                execute("", 0),
                sync(),
                function_call(1397, &["-7"]),
            ]
            .concat(),
            3,
        ),
        (
            "skipped behind an error",
            [parse("", "SELECT nosuch", &[]), function_call(1397, &["-6"]), sync()].concat(),
            1,
        ),
        ("a large object is made", binary(715, &[Some(lo)]), 1),
        (
            "written and read",
            [
                query("BEGIN"),
                binary(952, &[Some(lo), Some(&0x60000i32.to_be_bytes())]),
                binary(955, &[Some(&0i32.to_be_bytes()), Some(b"written")]),
                binary(956, &[Some(&0i32.to_be_bytes()), Some(&0i32.to_be_bytes()), Some(&0i32.to_be_bytes())]),
                binary(954, &[Some(&0i32.to_be_bytes()), Some(&100i32.to_be_bytes())]),
                query("COMMIT"),
            ]
            .concat(),
            6,
        ),
        ("and removed", binary(964, &[Some(lo)]), 1),
    ];
    Lab::general().copy_of_shop("function_calls");
    for login in ["database_a", "operator"] {
        let (mut client, mut alone) =
            (PROXY.get().login(login).connect(), Lab::general().owner("function_calls").connect());
        for (what, bytes, ready) in &calls {
            let [got, wanted] = [&mut client, &mut alone].map(|session| answers(session, bytes, *ready));
            assert_eq!(got, wanted, "{login}: {what}");
        }
    }
}

/// What is refused in a SELECT is refused here, and the session goes on.
#[test]
fn functions_that_are_refused_by_name_are_refused_by_number() {
    for (login, oid, arguments) in [
        ("tenant_a", 1397, &["-5"][..]),
        ("schema_a", 1397, &["-5"]),
        ("jobs", 1397, &["-5"]),
        // pg_read_file, pg_terminate_backend, set_config, pg_ls_dir
        ("database_a", 2624, &["postgresql.conf", "0", "10"]),
        ("database_a", 2096, &["1"]),
        ("database_a", 2078, &["role", "postgres", "f"]),
        ("database_a", 2625, &["."]),
    ] {
        let mut client = PROXY.get().login(login).connect();
        let got = answers(&mut client, &function_call(oid, arguments), 1);
        assert_eq!(got.len(), 2, "{login}, {oid}: {got:?}");
        assert!(matches!(&got[0], ('E', state) if state == b"C0A000" || state == b"C42501"), "{login}, {oid}: {got:?}");
        assert_eq!(client.simple("SELECT 1").ok().value(), "1");
    }
}
