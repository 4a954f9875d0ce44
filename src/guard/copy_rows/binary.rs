//! Binary streams, which the rewriter has checked: tuples of counted fields.

use super::{Batch, MAX_ROW_BYTES, Sink, malformed, too_long};
use crate::base::Refusal;

/// Signature, flags, and length of the extension.
const HEADER: usize = 11 + 4 + 4;

/// Reads tuples.
#[derive(Debug, Default)]
pub(super) struct Binary {
    /// Bytes that do not make a whole header or tuple yet.
    kept: Vec<u8>,
    begun: bool,
    ended: bool,
    row: u64,
}

impl Binary {
    pub(super) fn push(&mut self, data: &[u8], batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        self.kept.extend_from_slice(data);
        let kept = std::mem::take(&mut self.kept);
        let mut rest = kept.as_slice();
        if !self.begun {
            match header(rest) {
                Some(after) => (rest, self.begun) = (after, true),
                None => {
                    self.kept = kept;
                    return Ok(());
                }
            }
        }
        while !self.ended {
            match tuple(rest) {
                Tuple::Partial => break,
                Tuple::End => self.ended = true,
                Tuple::Whole(fields, after) => {
                    self.row += 1;
                    fields.iter().for_each(|field| batch.push(*field));
                    batch.end_row(self.row);
                    sink.row(batch);
                    rest = after;
                }
            }
        }
        if self.ended {
            return Ok(());
        }
        if rest.len() > MAX_ROW_BYTES {
            return Err(too_long());
        }
        let left = rest.len();
        self.kept = kept;
        self.kept.drain(..self.kept.len() - left);
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), Refusal> {
        // A stream may end without its trailer, but not within a tuple.
        if self.begun && (self.ended || self.kept.is_empty()) {
            return Ok(());
        }
        Err(malformed(
            if self.begun { "unexpected EOF in COPY data" } else { "COPY file signature not recognized" }.to_owned(),
        ))
    }

    pub(super) fn row(&self) -> u64 {
        self.row + 1
    }
}

/// What follows the header, if that is there whole.
fn header(data: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(data.get(HEADER - 4..HEADER)?.try_into().ok()?);
    data.get(HEADER.checked_add(usize::try_from(length).ok()?)?..)
}

enum Tuple<'a> {
    Partial,
    End,
    Whole(Vec<Option<&'a [u8]>>, &'a [u8]),
}

fn tuple(data: &[u8]) -> Tuple<'_> {
    let Some((count, mut rest)) = data.split_first_chunk::<2>() else { return Tuple::Partial };
    let Ok(count) = u16::try_from(i16::from_be_bytes(*count)) else { return Tuple::End };
    let mut fields = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Tuple::Partial };
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            fields.push(None);
            rest = after;
            continue;
        };
        let Some((value, after)) = after.split_at_checked(length) else { return Tuple::Partial };
        fields.push(Some(value));
        rest = after;
    }
    Tuple::Whole(fields, rest)
}
