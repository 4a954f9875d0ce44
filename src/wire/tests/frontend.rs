use bytes::BytesMut;
use proptest::prelude::*;

use crate::base::SqlState;
use crate::wire::encode::frontend as encode;
use crate::wire::error::WireError;
use crate::wire::frame::Head;
use crate::wire::frontend::{
    Bind, BindRewrite, Execute, ExtraParam, Format, FrontendMessage, Parse, SaslInitialResponse, Target,
    parse_with_extra, password, rewrite_bind,
};

/// A body from parts: numbers are written by hand in the tests so that nothing of the code under test makes them.
fn body(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend(body);
    frame
}

#[test]
fn texts_are_checked_and_never_repaired() {
    assert_eq!(FrontendMessage::read(b'Q', "SELECT 'ä'\0".as_bytes()), Ok(FrontendMessage::Query("SELECT 'ä'")));
    let error = FrontendMessage::read(b'Q', b"SELECT '\xc3\x28'\0").unwrap_err().to_pg();
    assert_eq!(error.code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    assert_eq!(error.message, "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28");
    let error = FrontendMessage::read(b'P', b"\xff\0SELECT 1\0\0\0").unwrap_err().to_pg();
    assert_eq!(error.message, "invalid byte sequence for encoding \"UTF8\": 0xff");
}

#[test]
fn a_nul_ends_a_text_and_nothing_may_follow() {
    assert_eq!(FrontendMessage::read(b'Q', b"SELECT 1\0; DROP TABLE t\0"), Err(WireError::Trailing("Query")));
    assert_eq!(FrontendMessage::read(b'Q', b"SELECT 1"), Err(WireError::Unterminated("Query")));
    assert_eq!(FrontendMessage::read(b'Q', b""), Err(WireError::Unterminated("Query")));
    assert_eq!(FrontendMessage::read(b'S', b"x"), Err(WireError::Trailing("Sync")));
    assert_eq!(FrontendMessage::read(b'p', b"secret\0"), Err(WireError::UnknownTag(b'p')));
}

#[test]
fn statement_messages_are_read() {
    let bytes = body(&[b"s1\0", b"SELECT $1, $2\0", &[0, 2], &[0, 0, 0, 23], &[0, 0, 0, 0]]);
    let parse = Parse::read(&bytes).unwrap();
    assert_eq!((parse.name, parse.sql), ("s1", "SELECT $1, $2"));
    assert_eq!(parse.param_types.iter().collect::<Vec<_>>(), [23, 0]);
    assert_eq!(Parse::read(&bytes[..bytes.len() - 1]), Err(WireError::Truncated("Parse")));
    assert_eq!(FrontendMessage::read(b'D', b"Sx\0"), Ok(FrontendMessage::Describe(Target::Statement("x"))));
    assert_eq!(FrontendMessage::read(b'C', b"P\0"), Ok(FrontendMessage::Close(Target::Portal(""))));
    assert!(FrontendMessage::read(b'C', b"X\0").is_err());
    assert_eq!(Execute::read(b"p\0\0\0\0\x05"), Ok(Execute { portal: "p", max_rows: 5 }));
    assert!(FrontendMessage::read(b'F', b"\x01\x02").is_err());
    let call = b"\0\0\x05\x75\0\x01\0\0\0\x01\0\0\0\x02-5\0\0";
    let Ok(FrontendMessage::FunctionCall(read)) = FrontendMessage::read(b'F', call) else { panic!() };
    assert_eq!(read.function, 1397);
    let mut out = BytesMut::new();
    encode::function_call(&mut out, &read).unwrap();
    assert_eq!(out[5..], call[..]);
    for cut in 0..call.len() {
        assert!(FrontendMessage::read(b'F', &call[..cut]).is_err(), "{cut}");
    }
    assert_eq!(password(b"secret\0"), Ok(&b"secret"[..]));
    assert_eq!(password(b"sec\0ret\0"), Err(WireError::Trailing("PasswordMessage")));
    assert_eq!(
        SaslInitialResponse::read(b"M\0\0\0\0\x02ab"),
        Ok(SaslInitialResponse { mechanism: "M", data: Some(b"ab") })
    );
    assert_eq!(
        SaslInitialResponse::read(b"M\0\xff\xff\xff\xff"),
        Ok(SaslInitialResponse { mechanism: "M", data: None })
    );
    assert!(SaslInitialResponse::read(b"M\0\x7f\xff\xff\xffab").is_err());
}

/// `$1` = `ab`, `$2` = NULL, with these format codes (each two bytes) and two result formats.
fn client_bind(formats: &[u8]) -> Vec<u8> {
    body(&[b"p\0s\0", formats, &[0, 2], &[0, 0, 0, 2], b"ab", &[0xff, 0xff, 0xff, 0xff], &[0, 2, 0, 1, 0, 0]])
}

#[test]
fn bind_is_read() {
    let bytes = client_bind(&[0, 2, 0, 0, 0, 1]);
    let bind = Bind::read(&bytes).unwrap();
    assert_eq!((bind.portal, bind.statement), ("p", "s"));
    assert_eq!(bind.params.iter().collect::<Vec<_>>(), [Some(&b"ab"[..]), None]);
    assert_eq!(bind.params.get(0), None);
    assert_eq!(bind.params.get(1), Some(Some(&b"ab"[..])));
    assert_eq!(bind.params.get(2), Some(None));
    assert_eq!(bind.params.get(3), None);
    assert_eq!((bind.format_code(1), bind.format_code(2)), (0, 1));
    assert_eq!(bind.result_formats.iter().collect::<Vec<_>>(), [1, 0]);
    for end in 0..bytes.len() {
        assert!(Bind::read(&bytes[..end]).is_err(), "{end} bytes");
    }
    let error = Bind::read(&client_bind(&[0, 3, 0, 0, 0, 1, 0, 1])).unwrap_err();
    assert_eq!(error.to_pg().message, "bind message has 3 parameter formats but 2 parameters");
    let negative = body(&[b"\0\0", &[0, 0], &[0, 1], &[0xff, 0xff, 0xff, 0xfe], &[0, 0]]);
    assert_eq!(Bind::read(&negative), Err(WireError::Truncated("Bind")));
}

/// The rewritten message, with its parameters' formats as `formats` and the extra values as `extra` bytes.
fn expected_bind(formats: &[u8], count: u8, extra: &[u8]) -> Vec<u8> {
    framed(
        b'B',
        &body(&[
            b"q\0t1\0",
            formats,
            &[0, count],
            &[0, 0, 0, 2],
            b"ab",
            &[0xff, 0xff, 0xff, 0xff],
            extra,
            &[0, 2, 0, 1, 0, 0],
        ]),
    )
}

fn rewritten(formats: &[u8], extra: &[ExtraParam<'_>]) -> Vec<u8> {
    let bytes = client_bind(formats);
    let change = BindRewrite { portal: "q", statement: "t1", client_params: 2, extra };
    let mut out = BytesMut::new();
    rewrite_bind(&mut out, &Bind::read(&bytes).unwrap(), &change).unwrap();
    out.to_vec()
}

#[test]
fn values_are_appended_to_a_bind_by_every_rule_for_formats() {
    let text = ExtraParam { format: Format::Text, value: Some(b"42") };
    let binary = ExtraParam { format: Format::Binary, value: Some(&[0, 0, 0, 42]) };
    let (text_value, binary_value) = (b"\0\0\0\x0242", b"\0\0\0\x04\0\0\0\x2a");
    // No codes: all text.
    assert_eq!(rewritten(&[0, 0], &[text]), expected_bind(&[0, 0], 3, text_value));
    assert_eq!(rewritten(&[0, 0], &[binary]), expected_bind(&[0, 3, 0, 0, 0, 0, 0, 1], 3, binary_value));
    // One code for all.
    assert_eq!(rewritten(&[0, 1, 0, 1], &[binary]), expected_bind(&[0, 1, 0, 1], 3, binary_value));
    assert_eq!(rewritten(&[0, 1, 0, 1], &[text]), expected_bind(&[0, 3, 0, 1, 0, 1, 0, 0], 3, text_value));
    assert_eq!(rewritten(&[0, 1, 0, 0], &[text]), expected_bind(&[0, 1, 0, 0], 3, text_value));
    // One code each.
    assert_eq!(
        rewritten(&[0, 2, 0, 0, 0, 1], &[text, binary]),
        expected_bind(&[0, 4, 0, 0, 0, 1, 0, 0, 0, 1], 4, &body(&[text_value, binary_value]))
    );
    // A code that Postgres refuses stays for Postgres to refuse.
    assert_eq!(rewritten(&[0, 1, 0, 7], &[text]), expected_bind(&[0, 3, 0, 7, 0, 7, 0, 0], 3, text_value));
    // Nothing to append: only the names change.
    assert_eq!(rewritten(&[0, 2, 0, 0, 0, 1], &[]), expected_bind(&[0, 2, 0, 0, 0, 1], 2, b""));
}

#[test]
fn one_format_code_without_parameters_does_not_reach_the_appended_value() {
    let bytes = body(&[b"\0\0", &[0, 1, 0, 1], &[0, 0], &[0, 0]]);
    let extra = [ExtraParam { format: Format::Text, value: Some(b"42") }];
    let change = BindRewrite { portal: "", statement: "", client_params: 0, extra: &extra };
    let mut out = BytesMut::new();
    rewrite_bind(&mut out, &Bind::read(&bytes).unwrap(), &change).unwrap();
    let expected = framed(b'B', &body(&[b"\0\0", &[0, 1, 0, 0], &[0, 1], b"\0\0\0\x0242", &[0, 0]]));
    assert_eq!(out, expected);
}

#[test]
fn a_bind_with_another_number_of_parameters_is_refused() {
    let bytes = client_bind(&[0, 0]);
    let extra = [ExtraParam { format: Format::Text, value: Some(b"42") }];
    for client_params in [0, 1, 3] {
        let change = BindRewrite { portal: "", statement: "x", client_params, extra: &extra };
        let mut out = BytesMut::from("before");
        let error = rewrite_bind(&mut out, &Bind::read(&bytes).unwrap(), &change).unwrap_err().to_pg();
        assert_eq!(error.code, SqlState::PROTOCOL_VIOLATION);
        assert_eq!(
            error.message,
            format!("bind message supplies 2 parameters, but prepared statement \"s\" requires {client_params}")
        );
        assert_eq!(out, "before");
    }
}

#[test]
fn more_parameters_than_the_protocol_counts_are_refused() {
    let mut bytes = body(&[b"\0\0", &[0, 0], &[0xff, 0xff]]);
    bytes.extend(vec![0xff; 65535 * 4]);
    bytes.extend([0, 0]);
    let bind = Bind::read(&bytes).unwrap();
    let extra = [ExtraParam { format: Format::Text, value: None }];
    let change = BindRewrite { portal: "", statement: "", client_params: 65535, extra: &extra };
    assert_eq!(rewrite_bind(&mut BytesMut::new(), &bind, &change), Err(WireError::TooManyParams));
}

#[test]
fn types_are_appended_to_a_parse_behind_all_of_the_clients_parameters() {
    let mut out = BytesMut::new();
    parse_with_extra(&mut out, "t1", "SELECT $1, $2, $3", [23].into_iter(), 2, &[20]).unwrap();
    let types = [0, 3, 0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 20];
    assert_eq!(out, framed(b'P', &body(&[b"t1\0SELECT $1, $2, $3\0", &types])));
    out.clear();
    parse_with_extra(&mut out, "", "SELECT $1", [].into_iter(), 1, &[]).unwrap();
    assert_eq!(out, framed(b'P', b"\0SELECT $1\0\0\0"));
    // More types than parameters: the appended one would belong to another.
    let error = parse_with_extra(&mut out, "", "SELECT 1", [23, 23].into_iter(), 1, &[20]);
    assert_eq!(error, Err(WireError::TooManyParams));
}

#[test]
fn texts_with_nul_are_never_sent() {
    let mut out = BytesMut::from("before");
    assert_eq!(encode::query(&mut out, "SELECT 1\0X"), Err(WireError::EmbeddedNul("Query")));
    assert_eq!(encode::describe(&mut out, Target::Portal("a\0")), Err(WireError::EmbeddedNul("Describe")));
    assert_eq!(encode::password(&mut out, b"a\0b"), Err(WireError::EmbeddedNul("PasswordMessage")));
    assert_eq!(out, "before");
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Text), Just(Format::Binary)]
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(tag in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = FrontendMessage::read(tag, &body);
        for tag in *b"QPBDECHSXFdcf" {
            let _ = FrontendMessage::read(tag, &body);
        }
        let _ = SaslInitialResponse::read(&body);
        let _ = password(&body);
    }

    #[test]
    fn damaged_binds_never_panic_and_agree_with_themselves(
        at in 0usize..40, byte in any::<u8>(), cut in 0usize..60,
    ) {
        let mut bytes = client_bind(&[0, 2, 0, 0, 0, 1]);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        if let Ok(bind) = Bind::read(&bytes) {
            prop_assert_eq!(bind.params.iter().count(), usize::from(bind.params.count()));
        }
    }

    #[test]
    fn an_appended_bind_reads_back_as_the_client_sent_it_and_ours(
        client in proptest::collection::vec((any_format(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))), 0..6),
        ours in proptest::collection::vec((any_format(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))), 0..3),
    ) {
        let params = |list: &[(Format, Option<Vec<u8>>)]| -> Vec<(u16, Option<Vec<u8>>)> {
            list.iter().map(|(format, value)| (format.code(), value.clone())).collect()
        };
        fn extra(list: &[(Format, Option<Vec<u8>>)]) -> Vec<ExtraParam<'_>> {
            list.iter().map(|(format, value)| ExtraParam { format: *format, value: value.as_deref() }).collect()
        }
        let mut sent = BytesMut::new();
        encode::bind(&mut sent, "p", "s", &extra(&client), Format::Binary).unwrap();
        let bind = Bind::read(&sent[Head::LEN..]).unwrap();
        let appended = extra(&ours);
        let change = BindRewrite {
            portal: "q", statement: "t", client_params: client.len() as u16, extra: &appended,
        };
        let mut out = BytesMut::new();
        rewrite_bind(&mut out, &bind, &change).unwrap();
        let read = Bind::read(&out[Head::LEN..]).unwrap();
        let found: Vec<_> = (1..=read.params.count())
            .map(|number| (read.format_code(number), read.params.get(number).unwrap().map(<[u8]>::to_vec)))
            .collect();
        let mut expected = params(&client);
        expected.extend(params(&ours));
        prop_assert_eq!(found, expected);
        prop_assert_eq!((read.portal, read.statement), ("q", "t"));
        prop_assert_eq!(read.result_formats, bind.result_formats);
    }

    #[test]
    fn statement_messages_round_trip(name in "[^\0]{0,20}", sql in "[^\0]{0,80}", types in proptest::collection::vec(any::<u32>(), 0..5), rows in any::<i32>()) {
        let mut out = BytesMut::new();
        encode::parse(&mut out, &name, &sql, &types).unwrap();
        let parse = Parse::read(&out[Head::LEN..]).unwrap();
        prop_assert_eq!((parse.name, parse.sql), (&name[..], &sql[..]));
        prop_assert_eq!(parse.param_types.iter().collect::<Vec<_>>(), types);
        out.clear();
        encode::execute(&mut out, &name, rows).unwrap();
        prop_assert_eq!(Execute::read(&out[Head::LEN..]), Ok(Execute { portal: &name, max_rows: rows }));
        out.clear();
        encode::close(&mut out, Target::Statement(&name)).unwrap();
        prop_assert_eq!(FrontendMessage::read(b'C', &out[Head::LEN..]), Ok(FrontendMessage::Close(Target::Statement(&name))));
        out.clear();
        encode::query(&mut out, &sql).unwrap();
        prop_assert_eq!(FrontendMessage::read(b'Q', &out[Head::LEN..]), Ok(FrontendMessage::Query(&sql)));
    }
}
