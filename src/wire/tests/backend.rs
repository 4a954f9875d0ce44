use bytes::BytesMut;
use proptest::prelude::*;

use crate::base::{PgError, SqlState};
use crate::wire::backend::{
    Authentication, BackendKeyData, CommandComplete, CopyResponse, FieldChange, NegotiateProtocolVersion,
    ParameterStatus, Report, TransactionStatus, code, data_row, drop_last_params, parameter_description,
    rewrite_report,
};
use crate::wire::encode::backend as encode;
use crate::wire::error::WireError;
use crate::wire::frame::Head;
use crate::wire::frontend::Format;

fn body(out: &BytesMut) -> &[u8] {
    &out[Head::LEN..]
}

#[test]
fn an_error_is_written_and_read() {
    let mut out = BytesMut::new();
    let error = PgError::error(SqlState::UNDEFINED_TABLE, "relation \"x\0y\" does not exist").hint("h").position(15);
    encode::error_response(&mut out, &error);
    assert_eq!(&out[..], b"E\0\0\0\x3fSERROR\0VERROR\0C42P01\0Mrelation \"xy\" does not exist\0Hh\0P15\0\0".as_slice());
    let report = Report::read(body(&out)).unwrap();
    assert_eq!(report.sqlstate(), Some(SqlState::UNDEFINED_TABLE));
    assert_eq!(report.log_text(code::MESSAGE), "relation \"xy\" does not exist");
    assert_eq!(report.field(code::DETAIL), None);
    assert!(!report.is_fatal());
}

#[test]
fn fields_are_dropped_and_replaced() {
    let original = b"SERROR\0VERROR\0C23505\0Mduplicate key\0DKey (id)=(7) exists.\0P20\0torders\0\0";
    let report = Report::read(original).unwrap();
    let mut out = BytesMut::new();
    rewrite_report(&mut out, b'E', &report, None, |field, _| match field {
        code::DETAIL => FieldChange::Drop,
        code::POSITION => FieldChange::Replace("3".into()),
        _ => FieldChange::Keep,
    })
    .unwrap();
    assert_eq!(body(&out), b"SERROR\0VERROR\0C23505\0Mduplicate key\0P3\0torders\0\0");
    assert_eq!(out[..5], [b'E', 0, 0, 0, 52]);
}

#[test]
fn errors_get_what_every_error_has() {
    let passed_on = |tag, original: &[u8]| {
        let mut out = BytesMut::new();
        rewrite_report(&mut out, tag, &Report::read(original).unwrap(), None, |_, _| FieldChange::Keep).unwrap();
        body(&out).to_vec()
    };
    assert_eq!(passed_on(b'E', b"\0"), b"SERROR\0VERROR\0CXX000\0Mthe server gave no message\0\0");
    assert_eq!(passed_on(b'E', b"SERROR\0VERROR\0Mno\0\0"), b"SERROR\0VERROR\0Mno\0CXX000\0\0");
    assert_eq!(passed_on(b'E', b"SERROR\0VERROR\0C23\0Mno\0\0"), b"SERROR\0VERROR\0Mno\0CXX000\0\0");
    assert_eq!(passed_on(b'N', b"Mno\0\0"), b"Mno\0\0");
}

#[test]
fn damaged_errors_are_refused() {
    assert_eq!(Report::read(b"SERROR\0"), Err(WireError::Truncated("ErrorResponse")));
    assert_eq!(Report::read(b"SERROR"), Err(WireError::Unterminated("ErrorResponse")));
    assert_eq!(Report::read(b"\0x"), Err(WireError::Trailing("ErrorResponse")));
    assert!(Report::read(b"SFATAL\0\0").unwrap().is_fatal());
}

#[test]
fn parameter_description_loses_its_last_types() {
    let mut out = BytesMut::new();
    encode::parameter_description(&mut out, &[23, 25, 20]).unwrap();
    let described = out.split();
    drop_last_params(&mut out, body(&described), 2).unwrap();
    assert_eq!(&out[..], b"t\0\0\0\x0a\0\x01\0\0\0\x17");
    assert_eq!(parameter_description(body(&out)).unwrap().iter().collect::<Vec<_>>(), [23]);
    assert!(drop_last_params(&mut out, body(&described), 4).is_err());
}

#[test]
fn cancel_keys_have_4_to_256_bytes() {
    for (length, ok) in [(0, false), (3, false), (4, true), (32, true), (256, true), (257, false)] {
        let mut out = BytesMut::new();
        encode::backend_key_data(&mut out, 7, &vec![9; length]).unwrap();
        let read = BackendKeyData::read(body(&out));
        assert_eq!(read.is_ok(), ok, "{length}");
        if let Ok(data) = read {
            assert_eq!((data.pid, data.key.len()), (7, length));
        }
    }
}

#[test]
fn small_messages_are_read() {
    assert_eq!(TransactionStatus::read(b"T"), Ok(TransactionStatus::Active));
    assert!(TransactionStatus::read(b"x").is_err());
    assert!(TransactionStatus::read(b"II").is_err());
    assert_eq!(CommandComplete::read(b"INSERT 0 5\0").unwrap().rows(), Some(5));
    assert_eq!(CommandComplete::read(b"BEGIN\0").unwrap().rows(), None);
    assert_eq!(ParameterStatus::read(b"TimeZone\0UTC\0"), Ok(ParameterStatus { name: "TimeZone", value: "UTC" }));
    let mut out = BytesMut::new();
    encode::copy_in_response(&mut out, Format::Binary, &[Format::Binary, Format::Binary]).unwrap();
    assert_eq!(&out[..], b"G\0\0\0\x0b\x01\0\x02\0\x01\0\x01");
    let copy = CopyResponse::read(body(&out)).unwrap();
    assert!(copy.binary);
    assert_eq!(copy.columns.len(), 2);
    out.clear();
    encode::data_row(&mut out, &[Some(b"a"), None]).unwrap();
    assert_eq!(data_row(body(&out)), Ok(vec![Some(&b"a"[..]), None]));
    out.clear();
    encode::row_description(&mut out, &[encode::Column::text("n")]).unwrap();
    assert_eq!(&out[..], b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
}

#[test]
fn authentication_messages_are_read() {
    let mut out = BytesMut::new();
    encode::authentication_sasl(&mut out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]).unwrap();
    match Authentication::read(body(&out)).unwrap() {
        Authentication::Sasl(list) => {
            assert_eq!(list.iter().collect::<Vec<_>>(), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
            assert!(list.offers("SCRAM-SHA-256") && !list.offers("SCRAM"));
        }
        other => panic!("{other:?}"),
    }
    out.clear();
    encode::authentication_md5(&mut out, *b"salt");
    assert_eq!(Authentication::read(body(&out)), Ok(Authentication::Md5Password { salt: *b"salt" }));
    assert_eq!(Authentication::read(&[0, 0, 0, 7, 1]), Ok(Authentication::Unsupported(7)));
    assert!(Authentication::read(b"\0\0\0\x0aSCRAM").is_err());
    out.clear();
    encode::negotiate_protocol_version(&mut out, 0x0003_0002, &["_pq_.x".into()]).unwrap();
    let read = NegotiateProtocolVersion::read(body(&out)).unwrap();
    assert_eq!((read.version, read.unknown_options), (0x0003_0002, vec!["_pq_.x"]));
    // A count of four billion allocates nothing.
    assert!(NegotiateProtocolVersion::read(&[0, 3, 0, 0, 0xff, 0xff, 0xff, 0xff]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), code in 0u32..14) {
        let _ = Report::read(&bytes).map(|report| (report.fields().count(), report.sqlstate(), report.is_fatal()));
        let _ = Authentication::read(&bytes);
        let _ = Authentication::read(&[&code.to_be_bytes(), &bytes[..]].concat());
        let _ = NegotiateProtocolVersion::read(&bytes);
        let _ = ParameterStatus::read(&bytes);
        let _ = BackendKeyData::read(&bytes);
        let _ = CopyResponse::read(&bytes);
        let _ = CommandComplete::read(&bytes).map(|complete| complete.rows());
        let _ = data_row(&bytes);
        let _ = drop_last_params(&mut BytesMut::new(), &bytes, 1);
    }

    #[test]
    fn a_report_kept_whole_stays_as_it_is(fields in proptest::collection::vec((1u8.., "[^\0]{0,20}"), 0..8)) {
        let mut bytes = Vec::new();
        for (code, value) in &fields {
            bytes.push(*code);
            bytes.extend(value.bytes());
            bytes.push(0);
        }
        bytes.push(0);
        let mut out = BytesMut::new();
        rewrite_report(&mut out, b'N', &Report::read(&bytes).unwrap(), None, |_, _| FieldChange::Keep).unwrap();
        prop_assert_eq!(body(&out), &bytes[..]);
    }
}
