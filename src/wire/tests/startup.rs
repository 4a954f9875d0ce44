use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::base::SqlState;
use crate::wire::backend::{NegotiateProtocolVersion, Report, code};
use crate::wire::encode::frontend as encode;
use crate::wire::options::{OptionsError, parse_options};
use crate::wire::startup::{FirstPacket, Misfit, ProtocolVersion, StartupError, StartupMessage, Wish, accept};

fn packet(code: u32, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn startup(version: u32, body: &[u8]) -> Result<StartupMessage, (SqlState, String)> {
    match FirstPacket::take(&mut packet(version, body)) {
        Ok(Some(FirstPacket::Startup(message))) => Ok(*message),
        Err(Misfit::Refused(error)) => Err((error.code, error.message.into_owned())),
        Err(Misfit::NoPacket(why)) => panic!("{why}"),
        Ok(other) => panic!("{other:?}"),
    }
}

const V3: u32 = 3 << 16;

#[test]
fn a_startup_packet_is_taken_apart() {
    let body = b"user\0app@acme\0database\0shop\0application_name\0psql\0options\0-c work_mem=4MB --search-path=a\\ b\0_pq_.x\x001\0\0";
    let message = startup(V3 | 2, body).unwrap();
    assert_eq!((message.user.as_str(), message.database.as_deref()), ("app@acme", Some("shop")));
    assert_eq!(message.settings, [("application_name".to_owned(), "psql".to_owned())]);
    assert_eq!(
        message.options,
        [("work_mem".to_owned(), "4MB".to_owned()), ("search_path".to_owned(), "a b".to_owned())]
    );
    assert_eq!(message.unknown_options, ["_pq_.x"]);
    assert_eq!(message.version(), ProtocolVersion::V3_2);
    assert!(message.version().has_long_cancel_keys());
    assert_eq!(startup(V3, b"user\0u\0database\0\0\0").unwrap().database, None);
}

#[test]
fn what_is_not_known_is_negotiated() {
    let answer = |version: u32, body: &[u8]| {
        let mut out = BytesMut::new();
        startup(version, body).unwrap().negotiate(&mut out).unwrap();
        out
    };
    assert!(answer(V3, b"user\0u\0\0").is_empty());
    assert!(answer(V3 | 2, b"user\0u\0\0").is_empty());
    let out = answer(V3 | 9999, b"user\0u\0_pq_.a\0\0_pq_.b\0x\0\0");
    let read = NegotiateProtocolVersion::read(&out[5..]).unwrap();
    assert_eq!((read.version, read.unknown_options), (V3 | 2, vec!["_pq_.a", "_pq_.b"]));
    // An option alone does not lower the version.
    let out = answer(V3, b"user\0u\0_pq_.a\0\0\0");
    assert_eq!(NegotiateProtocolVersion::read(&out[5..]).unwrap().version, V3);
}

#[test]
fn bad_startup_packets_are_refused_in_postgres_words() {
    let refused = |version, body: &[u8]| startup(version, body).unwrap_err();
    let layout = "invalid startup packet layout: expected terminator as last byte";
    assert_eq!(refused(V3, b"user\0u\0"), (SqlState::PROTOCOL_VIOLATION, layout.into()));
    assert_eq!(refused(V3, b"user\0u\0\0x"), (SqlState::PROTOCOL_VIOLATION, layout.into()));
    assert_eq!(refused(V3, b"user\0\0"), (SqlState::PROTOCOL_VIOLATION, layout.into()));
    assert_eq!(
        refused(V3, b"database\0d\0\0"),
        (SqlState::INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet".into())
    );
    assert_eq!(
        refused(2 << 16, b""),
        (SqlState::FEATURE_NOT_SUPPORTED, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2".into())
    );
    assert_eq!(
        refused(V3, b"user\0a\0user\0b\0\0"),
        (SqlState::PROTOCOL_VIOLATION, "duplicate startup parameter \"user\"".into())
    );
    for name in ["database", "options"] {
        let (code, message) = refused(V3, format!("user\0u\0{name}\0\0{name}\0\0\0").as_bytes());
        assert_eq!((code, message), (SqlState::PROTOCOL_VIOLATION, format!("duplicate startup parameter \"{name}\"")));
    }
    assert_eq!(refused(V3, b"user\0\xff\0\0").0, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    assert_eq!(
        refused(V3, b"user\0u\0options\0-B 5\0\0"),
        (SqlState::SYNTAX_ERROR, "invalid command-line argument for server process: -B".into())
    );
}

#[test]
fn replication_is_refused() {
    for value in ["true", "on", "1", "yes", "database", "DATABASE", "t", "o", "x"] {
        let error = startup(V3, format!("user\0u\0replication\0{value}\0\0").as_bytes()).unwrap_err();
        assert_eq!(error, (SqlState::FEATURE_NOT_SUPPORTED, "replication connections are not supported".into()));
    }
    for value in ["false", "off", "of", "no", "0", "f", "N"] {
        let message = startup(V3, format!("user\0u\0replication\0{value}\0\0").as_bytes()).unwrap();
        assert!(message.settings.is_empty());
    }
}

#[test]
fn lengths_are_checked_before_the_packet_comes() {
    for length in [0u32, 7, 10_001, 0x4745_5420 /* "GET " */, u32::MAX] {
        let error = FirstPacket::take(&mut BytesMut::from(&length.to_be_bytes()[..])).unwrap_err();
        assert_eq!(error, Misfit::NoPacket("invalid length of startup packet"), "{length}");
    }
    assert_eq!(FirstPacket::take(&mut BytesMut::from(&10_000u32.to_be_bytes()[..])), Ok(None));
    assert!(FirstPacket::take(&mut packet((1234 << 16) | 5679, b"x")).is_err());
}

#[test]
fn cancel_keys_of_every_length_are_read() {
    for (length, ok) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
        let mut bytes = BytesMut::new();
        encode::cancel_request(&mut bytes, 77, &vec![5; length]).unwrap();
        match FirstPacket::take(&mut bytes) {
            Ok(Some(FirstPacket::Cancel(request))) => {
                assert!(ok);
                assert_eq!((request.pid, request.key.len()), (77, length));
                assert!(!format!("{request:?}").contains("5, 5"));
            }
            Err(error) => {
                assert!(!ok);
                assert_eq!(error, Misfit::NoPacket("invalid length of query cancel packet"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn options_follow_the_command_line_of_the_server() {
    let pairs =
        |text: &str| parse_options(text).map(|list| list.into_iter().map(|(a, b)| format!("{a}={b}")).collect());
    let ok = |list: &[&str]| Ok(list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    assert_eq!(pairs(""), ok(&[]));
    assert_eq!(pairs("  \t -c a=1\n-cb=2 --c-d=3  "), ok(&["a=1", "b=2", "c_d=3"]));
    assert_eq!(pairs(r"-c a=x\ y\\z -c b="), ok(&[r"a=x y\z", "b="]));
    assert_eq!(pairs("-c pgwarden.tenant=acme=1"), ok(&["pgwarden.tenant=acme=1"]));
    assert_eq!(pairs("-c"), Err(OptionsError::NoValue("-c".into())));
    assert_eq!(pairs("-c a"), Err(OptionsError::NoValue("-c a".into())));
    assert_eq!(pairs("--=1"), Err(OptionsError::NoValue("--=1".into())));
    assert_eq!(pairs("-e"), Err(OptionsError::UnknownSwitch("-e".into())));
    assert_eq!(pairs("a=1"), Err(OptionsError::UnknownSwitch("a=1".into())));
}

/// What `accept` makes of these bytes, and what the client got.
async fn negotiation(writes: &[&[u8]]) -> (Result<Wish, StartupError>, Vec<u8>) {
    let (mut client, server) = UnixStream::pair().unwrap();
    let server = tokio::spawn(async move {
        let result = accept(server.into(), None).await;
        result.map(|(_, wish)| wish)
    });
    let mut got = Vec::new();
    for (index, bytes) in writes.iter().enumerate() {
        client.write_all(bytes).await.unwrap();
        if index + 1 < writes.len() {
            got.push(client.read_u8().await.unwrap());
        }
    }
    client.shutdown().await.unwrap();
    let result = server.await.unwrap();
    client.read_to_end(&mut got).await.unwrap();
    (result, got)
}

#[tokio::test]
async fn encryption_is_declined_and_the_session_begins() {
    let (ssl, gss) = (packet((1234 << 16) | 5679, b""), packet((1234 << 16) | 5680, b""));
    let start = packet(V3, b"user\0u\0\0");
    let (result, got) = negotiation(&[&gss, &ssl, &start]).await;
    assert!(matches!(result, Ok(Wish::Session(message)) if message.user == "u"));
    assert_eq!(got, b"NN");
    let (result, got) = negotiation(&[&ssl, &ssl]).await;
    assert!(matches!(result, Err(StartupError::Refused(_))));
    assert_eq!(got[..2], *b"NE");
}

#[tokio::test]
async fn bytes_behind_a_request_for_encryption_are_refused() {
    for code in [(1234 << 16) | 5679, (1234 << 16) | 5680] {
        let mut bytes = packet(code, b"");
        bytes.extend_from_slice(&packet(V3, b"user\0u\0\0"));
        let (result, got) = negotiation(&[&bytes]).await;
        assert!(matches!(result, Err(StartupError::Refused(_))));
        let report = Report::read(&got[5..]).unwrap();
        assert_eq!(report.sqlstate(), Some(SqlState::PROTOCOL_VIOLATION));
        assert!(report.log_text(code::MESSAGE).starts_with("received unencrypted data after"));
    }
}

#[tokio::test]
async fn clients_that_say_nothing_or_half_a_packet_are_told_apart() {
    assert!(matches!(negotiation(&[]).await.0, Err(StartupError::Silent)));
    assert!(matches!(negotiation(&[b"\0\0\0\x20"]).await.0, Err(StartupError::Conn(_))));
    let (result, got) = negotiation(&[b"GET / HTTP/1.1\r\n\r\n"]).await;
    assert!(matches!(result, Err(StartupError::NoPacket(_))));
    assert!(got.is_empty(), "closed without a word, as by Postgres");
}

proptest! {
    #[test]
    fn no_bytes_make_the_first_packet_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), minor in any::<u16>()) {
        let _ = FirstPacket::take(&mut BytesMut::from(&bytes[..]));
        for code in [V3 | u32::from(minor), (1234 << 16) | 5678, (1234 << 16) | 5679] {
            let _ = FirstPacket::take(&mut packet(code, &bytes));
        }
    }

    #[test]
    fn options_never_panic_and_keep_escaped_values(text in ".{0,60}", value in "[^\0]{0,30}") {
        let _ = parse_options(&text);
        let escaped: String = value.chars().flat_map(|it| ['\\', it]).collect();
        prop_assert_eq!(parse_options(&format!("-c name={escaped}")), Ok(vec![("name".to_owned(), value)]));
    }

    #[test]
    fn startup_packets_round_trip(user in "[^\0]{1,20}", name in "[a-z]{3,10}x", value in "[^\0]{0,30}") {
        let mut out = BytesMut::new();
        encode::startup(&mut out, V3, [("user", &user[..]), (&name, &value)]).unwrap();
        match FirstPacket::take(&mut out).unwrap().unwrap() {
            FirstPacket::Startup(message) => {
                prop_assert_eq!(message.user, user);
                prop_assert_eq!(message.settings, vec![(name, value)]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
