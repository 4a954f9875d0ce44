//! Frontend messages as bytes. What is well-formed is encoded by `pgwire`, a codec that is not ours: what both sides get wrong
//! alike would not show otherwise. What tests make wrong on purpose is put together by hand.

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;

fn encoded(message: &impl Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&mut out).expect("a message that can be encoded");
    out.to_vec()
}

fn name_of(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A frame: tag, length, body.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    lying_frame(tag, body, body.len() as u32 + 4)
}

/// A frame whose length field says something else.
pub fn lying_frame(tag: u8, body: &[u8], length: u32) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(length.to_be_bytes());
    out.extend(body);
    out
}

fn text(out: &mut Vec<u8>, value: impl AsRef<[u8]>) {
    out.extend(value.as_ref());
    out.push(0);
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.extend((n as u16).to_be_bytes());
}

fn value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend((-1i32).to_be_bytes()),
        Some(bytes) => {
            out.extend((bytes.len() as i32).to_be_bytes());
            out.extend(bytes);
        }
    }
}

pub fn startup(version: u32, params: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, setting) in params {
        text(&mut body, name);
        text(&mut body, setting);
    }
    body.push(0);
    untagged(&body)
}

/// A frame of the time before authentication: no tag.
pub fn untagged(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

pub fn ssl_request() -> Vec<u8> {
    untagged(&80_877_103u32.to_be_bytes())
}

pub fn gss_request() -> Vec<u8> {
    untagged(&80_877_104u32.to_be_bytes())
}

pub fn cancel(pid: u32, key: &[u8]) -> Vec<u8> {
    let mut body = 80_877_102u32.to_be_bytes().to_vec();
    body.extend(pid.to_be_bytes());
    body.extend(key);
    untagged(&body)
}

pub fn query(sql: impl AsRef<[u8]>) -> Vec<u8> {
    match std::str::from_utf8(sql.as_ref()) {
        Ok(sql) => encoded(&Query::new(sql.to_owned())),
        Err(_) => {
            let mut body = Vec::new();
            text(&mut body, sql);
            frame(b'Q', &body)
        }
    }
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    encoded(&Parse::new(name_of(name), sql.to_owned(), types.to_vec()))
}

/// Bind with values in text format; `result_formats` as on the wire: none, one for all, or one a column.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>], result_formats: &[i16]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|it| it.map(str::as_bytes)).collect();
    bind_raw(portal, statement, &[], &values, result_formats)
}

pub fn bind_raw(
    portal: &str,
    statement: &str,
    formats: &[i16],
    values: &[Option<&[u8]>],
    result_formats: &[i16],
) -> Vec<u8> {
    let values = values.iter().map(|it| it.map(Bytes::copy_from_slice)).collect();
    let (formats, results) = (formats.to_vec(), result_formats.to_vec());
    encoded(&Bind::new(name_of(portal), name_of(statement), formats, values, results))
}

/// `kind` is `S` (statement) or `P` (portal).
pub fn describe(kind: char, name: &str) -> Vec<u8> {
    encoded(&Describe::new(kind as u8, name_of(name)))
}

/// `kind` is `S` (statement) or `P` (portal).
pub fn close(kind: char, name: &str) -> Vec<u8> {
    encoded(&Close::new(kind as u8, name_of(name)))
}

/// `rows` 0 means all.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    encoded(&Execute::new(name_of(portal), rows as i32))
}

pub fn sync() -> Vec<u8> {
    encoded(&Sync::new())
}

pub fn flush() -> Vec<u8> {
    encoded(&Flush::new())
}

pub fn copy_data(data: &[u8]) -> Vec<u8> {
    encoded(&CopyData::new(Bytes::copy_from_slice(data)))
}

pub fn copy_done() -> Vec<u8> {
    encoded(&CopyDone::new())
}

pub fn copy_fail(reason: &str) -> Vec<u8> {
    encoded(&CopyFail::new(reason.to_owned()))
}

pub fn function_call(oid: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    count(&mut body, 0);
    count(&mut body, arguments.len());
    for it in arguments {
        value(&mut body, Some(it.as_bytes()));
    }
    count(&mut body, 0);
    frame(b'F', &body)
}

pub fn terminate() -> Vec<u8> {
    encoded(&Terminate::new())
}

/// Unnamed Parse, Bind, Describe of the portal, Execute; no Sync.
pub fn extended(sql: &str, values: &[Option<&str>]) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", values, &[]), describe('P', ""), execute("", 0)].concat()
}
