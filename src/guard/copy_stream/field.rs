//! One field of a text or csv stream: how the tenant's value is written, and how a value is read.

use super::reader::Dialect;
use super::unsupported;
use crate::base::Refusal;

/// Delimiter and value, written so that it is neither NULL nor broken by a separator.
pub(super) fn suffix(dialect: Dialect, delimiter: u8, null: &[u8], value: &str) -> Result<Vec<u8>, Refusal> {
    let mut suffix = vec![delimiter];
    match dialect {
        Dialect::Text => suffix.extend(text_field(delimiter, null, value)?),
        Dialect::Csv { quote, escape } => {
            suffix.push(quote);
            for byte in value.bytes() {
                if byte == quote || byte == escape {
                    suffix.push(escape);
                }
                suffix.push(byte);
            }
            suffix.push(quote);
        }
    }
    Ok(suffix)
}

/// The value in text format: special bytes as octal escapes; and once more with the first byte escaped, where it would
/// read as NULL.
fn text_field(delimiter: u8, null: &[u8], value: &str) -> Result<Vec<u8>, Refusal> {
    let special = |b: u8| b < 0x20 || b == b'\\' || b == delimiter;
    let escape =
        |always_first: bool| -> Vec<u8> {
            value
                .bytes()
                .enumerate()
                .flat_map(|(i, b)| {
                    if special(b) || (always_first && i == 0) { format!("\\{b:03o}").into_bytes() } else { vec![b] }
                })
                .collect()
        };
    [escape(false), escape(true)]
        .into_iter()
        .find(|field| field != null)
        .ok_or_else(|| unsupported("the NULL string of this COPY is the tenant's key"))
}

/// Backslash sequences of a text field, as `CopyReadAttributesText` reads them.
pub(in crate::guard) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            None => {}
            Some(digit @ b'0'..=b'7') => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(next) = bytes.next_if(|b| matches!(b, b'0'..=b'7')) else { break };
                    value = (value << 3) | u32::from(next - b'0');
                }
                out.push(u8::try_from(value & 0xff).unwrap_or_default());
            }
            Some(b'x') => {
                let hex = |b: u8| char::from(b).to_digit(16);
                let Some(first) = bytes.peek().copied().and_then(hex) else {
                    out.push(b'x');
                    continue;
                };
                bytes.next();
                let value = match bytes.peek().copied().and_then(hex) {
                    Some(second) => {
                        bytes.next();
                        (first << 4) | second
                    }
                    None => first,
                };
                out.push(u8::try_from(value & 0xff).unwrap_or_default());
            }
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'v') => out.push(11),
            Some(other) => out.push(other),
        }
    }
    out
}
