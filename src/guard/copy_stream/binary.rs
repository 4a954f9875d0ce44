//! Binary streams: signature, flags and header extension, then tuples of counted fields ("Binary Format" of COPY).

use super::{Own, foreign_row, malformed, unsupported};
use crate::base::Refusal;
use crate::guard::{CopyIn, CopyTenant};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// What the next bytes are.
#[derive(Debug)]
enum State {
    /// The signature, so many bytes of it read.
    Signature(usize),
    /// The 32-bit flags.
    Flags,
    /// Length of the header extension.
    ExtensionLength,
    /// Bytes to skip: the header extension.
    Extension(u32),
    /// Number of fields of a tuple, or -1: the trailer.
    FieldCount,
    /// Length of this field.
    FieldLength(usize),
    /// Bytes of this field still to come.
    Field(usize, u32),
    /// After the trailer.
    Ended,
}

/// A binary stream.
#[derive(Debug)]
pub(super) struct Binary {
    columns: usize,
    tenant: CopyTenant,
    own: Own,
    /// Length and value of the tenant column, to be put at the end of each tuple.
    suffix: Vec<u8>,
    state: State,
    /// A number that is not yet complete: at most 4 bytes.
    number: Vec<u8>,
    /// The field to be compared.
    capture: Vec<u8>,
}

impl Binary {
    pub(super) fn new(copy: &CopyIn, own: Own) -> Result<Self, Refusal> {
        let binary = own
            .value
            .to_binary(own.type_oid)
            .ok_or_else(|| unsupported("binary COPY is not supported for the tenant column's type; use text or csv"))?;
        let length = i32::try_from(binary.len()).map_err(|_| foreign_row())?;
        let suffix = match copy.tenant {
            CopyTenant::Append => [length.to_be_bytes().as_slice(), &binary].concat(),
            CopyTenant::Check(_) => Vec::new(),
        };
        Ok(Self {
            columns: copy.client_columns,
            tenant: copy.tenant,
            own,
            suffix,
            state: State::Signature(0),
            number: Vec::with_capacity(4),
            capture: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        while !data.is_empty() {
            data = match self.state {
                State::Signature(read) => self.signature(read, data, out)?,
                State::Flags | State::ExtensionLength | State::FieldCount | State::FieldLength(_) => {
                    self.number(data, out)?
                }
                State::Extension(left) => self.extension(left, data, out),
                State::Field(index, left) => self.field(index, left, data, out)?,
                State::Ended => return Err(malformed("received copy data after EOF marker")),
            };
        }
        Ok(())
    }

    fn signature<'a>(&mut self, read: usize, data: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Refusal> {
        let (Some((first, rest)), Some(expected)) = (data.split_first(), SIGNATURE.get(read)) else {
            return Ok(&[]);
        };
        if first != expected {
            return Err(malformed("COPY file signature not recognized"));
        }
        out.push(*first);
        self.state = if read + 1 == SIGNATURE.len() { State::Flags } else { State::Signature(read + 1) };
        Ok(rest)
    }

    /// Collects a number's bytes and acts on it when it is complete.
    fn number<'a>(&mut self, data: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Refusal> {
        let width = if matches!(self.state, State::FieldCount) { 2 } else { 4 };
        let missing = width - self.number.len().min(width);
        let (now, rest) = data.split_at(missing.min(data.len()));
        self.number.extend_from_slice(now);
        if self.number.len() < width {
            return Ok(rest);
        }
        let value = self.number.iter().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        self.number.clear();
        match self.state {
            State::Flags => self.flags(value, out)?,
            State::ExtensionLength => self.extension_length(value, out)?,
            State::FieldCount => self.field_count(value, out)?,
            State::FieldLength(index) => self.field_length(index, value, out)?,
            State::Signature(_) | State::Extension(_) | State::Field(..) | State::Ended => {}
        }
        Ok(rest)
    }

    /// Bits 16 to 31 are critical: none is known (bit 16 were oids, which would shift the fields).
    fn flags(&mut self, value: u32, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if value >> 16 != 0 {
            return Err(malformed("unrecognized critical flags in COPY file header"));
        }
        out.extend_from_slice(&value.to_be_bytes());
        self.state = State::ExtensionLength;
        Ok(())
    }

    fn extension_length(&mut self, value: u32, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if i32::try_from(value).is_err() {
            return Err(malformed("invalid COPY file header (missing length)"));
        }
        out.extend_from_slice(&value.to_be_bytes());
        self.state = if value == 0 { State::FieldCount } else { State::Extension(value) };
        Ok(())
    }

    fn extension<'a>(&mut self, left: u32, data: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (now, rest, left) = take(left, data);
        out.extend_from_slice(now);
        self.state = if left == 0 { State::FieldCount } else { State::Extension(left) };
        rest
    }

    fn field_count(&mut self, value: u32, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if value == 0xffff {
            out.extend_from_slice(&[0xff, 0xff]);
            self.state = State::Ended;
            return Ok(());
        }
        if usize::try_from(value).ok() != Some(self.columns) {
            return Err(malformed(format!("row field count is {value}, expected {}", self.columns)));
        }
        let sent = value + u32::from(self.tenant == CopyTenant::Append);
        let sent = u16::try_from(sent).map_err(|_| malformed("too many columns"))?;
        out.extend_from_slice(&sent.to_be_bytes());
        self.next_field(0, out);
        Ok(())
    }

    /// Field `index` comes next, or the tuple is complete.
    fn next_field(&mut self, index: usize, out: &mut Vec<u8>) {
        if index < self.columns {
            self.state = State::FieldLength(index);
        } else {
            out.extend_from_slice(&self.suffix);
            self.state = State::FieldCount;
        }
    }

    fn field_length(&mut self, index: usize, value: u32, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let is_null = value == u32::MAX;
        if !is_null && i32::try_from(value).is_err() {
            return Err(malformed("invalid field size"));
        }
        if self.compares(index) {
            let limit = self.own.capture_limit();
            // A NULL, an empty or an overlong value is not the tenant's.
            if is_null || value == 0 || usize::try_from(value).is_ok_and(|v| v > limit) {
                return Err(foreign_row());
            }
        }
        out.extend_from_slice(&value.to_be_bytes());
        if is_null || value == 0 {
            self.next_field(index + 1, out);
        } else {
            self.state = State::Field(index, value);
        }
        Ok(())
    }

    fn field<'a>(&mut self, index: usize, left: u32, data: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Refusal> {
        let (now, rest, left) = take(left, data);
        let compares = self.compares(index);
        if compares {
            self.capture.extend_from_slice(now);
        }
        if left > 0 {
            out.extend_from_slice(now);
            self.state = State::Field(index, left);
            return Ok(rest);
        }
        if compares {
            let same = self.own.equals_binary(&self.capture);
            self.capture.clear();
            if !same {
                return Err(foreign_row());
            }
        }
        out.extend_from_slice(now);
        self.next_field(index + 1, out);
        Ok(rest)
    }

    fn compares(&self, index: usize) -> bool {
        self.tenant == CopyTenant::Check(index)
    }
}

/// The next bytes of a run of `left`, what follows them in `data`, and how much of the run is still to come.
fn take(left: u32, data: &[u8]) -> (&[u8], &[u8], u32) {
    let now = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
    let (taken, rest) = data.split_at(now);
    let taken_len = u32::try_from(now).unwrap_or(left);
    (taken, rest, left - taken_len.min(left))
}
