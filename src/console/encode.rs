//! What the console answers with, encoded by `pgwire`. It only writes here: what clients send is read by our own `wire`, which
//! confines a body to its frame and does not panic on any.

use bytes::{BufMut as _, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, ReadyForQuery, TransactionStatus};

use super::table::{Cell, Column};
use crate::base::oid::{INT8, TEXT};
use crate::base::{PgError, SqlState};

/// Appends a message; all of it or nothing.
///
/// # Errors
/// It is longer than a client takes.
pub(super) fn put(out: &mut BytesMut, message: &impl Message) -> Result<(), PgError> {
    let start = out.len();
    message.encode(out).map_err(|_| {
        out.truncate(start);
        too_long()
    })
}

/// ReadyForQuery: the console has no transactions.
pub(super) fn ready(out: &mut BytesMut) -> Result<(), PgError> {
    put(out, &ReadyForQuery::new(TransactionStatus::Idle))
}

/// CommandComplete.
pub(super) fn complete(out: &mut BytesMut, tag: impl Into<String>) -> Result<(), PgError> {
    put(out, &CommandComplete::new(tag.into()))
}

/// RowDescription; `binary` is by column, and text where it says nothing.
pub(super) fn describe(out: &mut BytesMut, columns: &[Column], binary: &[bool]) -> Result<(), PgError> {
    let fields = columns.iter().enumerate().map(|(at, column)| {
        let (type_oid, size) = if column.numbers { (INT8, 8) } else { (TEXT, -1) };
        let format = if is_binary(binary, at) { FORMAT_CODE_BINARY } else { FORMAT_CODE_TEXT };
        // Of no table, and without a modifier.
        FieldDescription::new(column.name.to_owned(), 0, 0, type_oid, size, -1, format)
    });
    put(out, &RowDescription::new(fields.collect()))
}

/// DataRow.
pub(super) fn data_row(out: &mut BytesMut, row: &[Cell], binary: &[bool]) -> Result<(), PgError> {
    let mut data = BytesMut::new();
    for (at, cell) in row.iter().enumerate() {
        match cell {
            Cell::Null => data.put_i32(-1),
            Cell::Text(text) => put_value(&mut data, text.as_bytes())?,
            Cell::Int(number) if is_binary(binary, at) => put_value(&mut data, &number.to_be_bytes())?,
            Cell::Int(number) => put_value(&mut data, number.to_string().as_bytes())?,
        }
    }
    let count = i16::try_from(row.len()).map_err(|_| too_long())?;
    put(out, &DataRow::new(data, count))
}

fn put_value(data: &mut BytesMut, value: &[u8]) -> Result<(), PgError> {
    data.put_i32(i32::try_from(value.len()).map_err(|_| too_long())?);
    data.put_slice(value);
    Ok(())
}

fn is_binary(binary: &[bool], at: usize) -> bool {
    binary.get(at).copied().unwrap_or(false)
}

fn too_long() -> PgError {
    PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, "an answer of the console is longer than a message can be")
}

#[cfg(test)]
mod tests {
    use pgwire::messages::data::{NoData, ParameterDescription};
    use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
    use pgwire::messages::response::EmptyQueryResponse;

    use super::*;
    use crate::console::table::{number, text};
    use crate::wire::backend::TransactionStatus as Status;
    use crate::wire::encode::backend;
    use crate::wire::frontend::Format;

    fn bytes(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::from(&b"before"[..]);
        write(&mut out);
        out
    }

    /// Two codecs, one by others and one by us, say the same.
    #[test]
    fn as_our_own_encoder_writes_it() {
        let ours = |columns: &[backend::Column<'_>]| bytes(|out| backend::row_description(out, columns).unwrap());
        let plain = backend::Column::text("name");
        let count = backend::Column { name: "count", type_oid: 20, type_size: 8, format: Format::Text };
        let columns = [text("name"), number("count")];
        assert_eq!(bytes(|out| describe(out, &columns, &[]).unwrap()), ours(&[plain, count]));
        let binary = backend::Column { format: Format::Binary, ..count };
        assert_eq!(bytes(|out| describe(out, &columns, &[false, true]).unwrap()), ours(&[plain, binary]));

        let row = [Cell::text("fünf\0"), Cell::Null, Cell::Int(-5), Cell::text(""), Cell::Int(i64::MAX)];
        let max = i64::MAX.to_string();
        let texts = [Some("fünf\0".as_bytes()), None, Some(&b"-5"[..]), Some(b""), Some(max.as_bytes())];
        assert_eq!(
            bytes(|out| data_row(out, &row, &[true, true]).unwrap()),
            bytes(|out| backend::data_row(out, &texts).unwrap())
        );
        let mut binary = texts;
        let five = (-5_i64).to_be_bytes();
        binary[2] = Some(&five);
        assert_eq!(
            bytes(|out| data_row(out, &row, &[false, false, true]).unwrap()),
            bytes(|out| backend::data_row(out, &binary).unwrap())
        );
        assert_eq!(bytes(|out| data_row(out, &[], &[]).unwrap()), bytes(|out| backend::data_row(out, &[]).unwrap()));
    }

    #[test]
    fn short_ones_too() {
        type Theirs = fn(&mut BytesMut) -> Result<(), PgError>;
        type Ours = fn(&mut BytesMut);
        let pairs: [(Theirs, Ours); 9] = [
            (ready, |out| backend::ready_for_query(out, Status::Idle)),
            (|out| complete(out, "SHOW 12"), |out| backend::command_complete(out, "SHOW 12").unwrap()),
            (|out| put(out, &ParseComplete::new()), backend::parse_complete),
            (|out| put(out, &BindComplete::new()), backend::bind_complete),
            (|out| put(out, &CloseComplete::new()), backend::close_complete),
            (|out| put(out, &PortalSuspended::new()), backend::portal_suspended),
            (|out| put(out, &NoData::new()), backend::no_data),
            (|out| put(out, &EmptyQueryResponse::new()), backend::empty_query_response),
            (
                |out| put(out, &ParameterDescription::new(Vec::new())),
                |out| backend::parameter_description(out, &[]).unwrap(),
            ),
        ];
        for (at, (theirs, ours)) in pairs.into_iter().enumerate() {
            assert_eq!(bytes(|out| theirs(out).unwrap()), bytes(ours), "{at}");
        }
    }

    #[test]
    fn what_is_too_long_leaves_nothing_behind() {
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(complete(&mut out, "x".repeat(40_000)).unwrap_err().code, SqlState::PROGRAM_LIMIT_EXCEEDED);
        assert_eq!(out, &b"before"[..]);
    }
}
