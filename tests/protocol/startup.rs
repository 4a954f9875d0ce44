//! Before authentication, and authentication.

use super::PROXY;
use crate::support::lab::Lab;
use crate::support::message::{cancel, gss_request, ssl_request, startup, untagged};
use crate::support::session::{self, Endpoint, Session};

fn raw() -> Session {
    Session::over(session::open(PROXY.get().port))
}

fn is_well() {
    assert_eq!(PROXY.get().a().connect().simple("SELECT 1").ok().value(), "1");
}

#[test]
fn encryption_requests_are_answered_n_without_tls() {
    let end = PROXY.get().a();
    let mut session = raw();
    for request in [gss_request(), ssl_request()] {
        session.send(&request);
        assert_eq!(session.byte(), Ok(b'N'));
    }
    session.login(&end, &startup(196_608, &[("user", &end.user), ("database", &end.database)]));
    session.collect(1).ok();
}

#[test]
fn bytes_that_are_no_startup_packet() {
    let packets: [(&[u8], &str); 8] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""),
        (&[0; 64], ""),
        (&[0xff; 64], ""),
        (&[0, 0, 0, 3, 0, 3, 0, 0], ""),
        (&[0, 0, 0, 8, 0, 2, 0, 0], "E"),
        // The last string is not terminated.
        (&[0, 0, 0, 13, 0, 3, 0, 0, b'u', b's', b'e', b'r', b'!'], "E"),
        (&[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0], ""),
    ];
    let server = Lab::general().owner("postgres").port;
    for (packet, told) in packets {
        for port in [PROXY.get().port, server] {
            let mut session = Session::over(session::open(port));
            session.send(packet);
            let reply = session.collect(1);
            assert!(reply.closed, "{packet:?}: {}", reply.text());
            // In the words of protocol 2, the server tells clients of that.
            if port != server || packet[5] != 2 {
                assert_eq!(reply.kinds, told, "{packet:?}");
            }
        }
    }
    is_well();
}

/// The last one wins, as in Postgres; not where it is who and where.
#[test]
fn a_startup_parameter_given_twice() {
    let end = PROXY.get().a().with("client_encoding", "'utf-8'").with("application_name", "first");
    let end = end.with("client_encoding", "UTF8").with("application_name", "second");
    assert_eq!(end.connect().simple("SHOW application_name").ok().value(), "second");
    for name in ["user", "database", "options"] {
        let (_, reply) = PROXY.get().a().with(name, "").with(name, "").try_connect();
        reply.refused("08P01");
    }
}

/// A client that gives no name has none.
#[test]
fn an_application_without_a_name() {
    for login in ["tenant_a", "schema_a", "database_a", "operator"] {
        let (mut session, reply) = PROXY.get().login(login).try_connect();
        let told = reply.statuses.iter().find(|(name, _)| name == "application_name");
        assert_eq!(told.map(|(_, value)| value.as_str()), Some(""), "{login}");
        assert_eq!(session.simple("SHOW application_name").ok().value(), "", "{login}");
    }
}

#[test]
fn a_startup_packet_has_a_small_limit() {
    let end = PROXY.get().a();
    let name = "x".repeat(20_000);
    let (_, reply) = Endpoint { startup: vec![("application_name".to_owned(), name)], ..end }.try_connect();
    assert!(reply.closed && reply.states.is_empty(), "{}", reply.text());
    is_well();
}

#[test]
fn a_password_message_has_a_small_limit() {
    let end = PROXY.get().a();
    let mut session = raw();
    session.send(&startup(196_608, &[("user", &end.user), ("database", &end.database)]));
    let body = "x".repeat(70_000);
    session.send(&crate::support::message::frame(b'p', body.as_bytes()));
    let reply = session.collect(1);
    assert!(reply.closed && reply.states.is_empty(), "{}", reply.text());
    is_well();
}

#[test]
fn statements_before_authentication_are_refused() {
    let end = PROXY.get().a();
    let mut session = raw();
    session.send(&startup(196_608, &[("user", &end.user), ("database", &end.database)]));
    session.send(&crate::support::message::query("SELECT 1"));
    let reply = session.collect(1);
    assert!(reply.closed && reply.rows.is_empty(), "{}", reply.text());
}

#[test]
fn wrong_passwords_and_unknown_users_look_alike() {
    let end = PROXY.get().a();
    let wrong = Endpoint { password: "nonsense".to_owned(), ..end.clone() };
    let unknown = Endpoint { user: "nobody_here".to_owned(), ..end };
    let [wrong, unknown] = [wrong, unknown].map(|it| {
        let (_, reply) = it.try_connect();
        (reply.errors[0].clone(), reply.kinds, it.user)
    });
    for (fields, _, user) in [&wrong, &unknown] {
        assert_eq!(fields[&'C'], "28P01");
        assert_eq!(fields[&'M'], format!("password authentication failed for user \"{user}\""));
        assert_eq!(fields[&'S'], "FATAL");
    }
    assert_eq!(wrong.1, unknown.1, "the same messages in the same order");
}

#[test]
fn replication_is_refused() {
    for value in ["true", "on", "1", "yes", "database"] {
        let (_, reply) = PROXY.get().a().with("replication", value).try_connect();
        assert!(reply.closed && reply.states.is_empty(), "{value}: {}", reply.text());
        assert_eq!(reply.errors.len(), 1, "{value}: {}", reply.text());
    }
    PROXY.get().a().with("replication", "false").connect();
}

#[test]
fn options_do_not_smuggle_settings() {
    let options = [
        "-c app.tenant_id=2",
        "-capp.tenant_id=2",
        "--app.tenant_id=2",
        "-c role=postgres",
        "-c session_authorization=postgres",
        "-c\\ x=1 -c app.tenant_id=2",
        "-c search_path=extensions",
        "-c standard_conforming_strings=off",
    ];
    for option in options {
        let (mut session, reply) = PROXY.get().a().with("options", option).try_connect();
        if reply.closed {
            continue;
        }
        let rows = session.simple("SELECT name FROM customers").first_column();
        assert!(rows.iter().all(|it| it.starts_with("ALPHA_")), "{option}: {rows:?}");
        let role = session.simple("SELECT current_user").texts();
        assert!(!role.iter().flatten().any(|it| it == "postgres"), "{option}");
    }
}

#[test]
fn cancel_requests_of_strangers_are_dropped() {
    let port = PROXY.get().port;
    session::cancel(port, 0, &[0; 4]);
    session::cancel(port, u32::MAX, &[0xff; 32]);
    for body in [&cancel(1, &[])[..], &cancel(1, &[0; 300]), &untagged(&80_877_102u32.to_be_bytes())] {
        let mut session = raw();
        session.send(body);
        let reply = session.collect(1);
        // A length that no key has may be told.
        assert!(reply.closed && (reply.kinds.is_empty() || reply.kinds == "E"), "{}", reply.text());
    }
    is_well();
}
