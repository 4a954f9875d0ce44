//! COPY FROM STDIN where the server takes none: into tables whose row-level security binds the upstream's role.
//!
//! The stream, rewritten as any other (so that each row has the tenant's own value), is taken apart into rows, and the rows go
//! out as the parameters of multi-row INSERTs: values are read by the same input functions as COPY's. All in constant memory
//! but for one row.

mod binary;
mod delimited;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use super::copy_stream::CopyRewriter;
use super::{CopyFormat, CopyIn, CopyTarget};
use crate::base::{Oid, Refusal, RefusalKind, SqlState};
use crate::sql::quote_identifier;
use binary::Binary;
use delimited::Delimited;

/// Parameters of one INSERT, at most: more would make planning it dearer than the round trips that it saves.
const MAX_PARAMS: usize = 1_000;
/// Rows of one INSERT, at most.
const MAX_ROWS: usize = 100;
/// Above so many bytes an INSERT goes out with the rows that it has.
const BATCH_BYTES: usize = 256 << 10;
/// A longer row is refused: it is held whole.
const MAX_ROW_BYTES: usize = 64 << 20;

/// A stream that becomes INSERTs.
#[derive(Debug)]
pub struct CopyInserts {
    target: Arc<CopyTarget>,
    client_columns: usize,
    binary: bool,
    rewriter: CopyRewriter,
    rewritten: Vec<u8>,
    rows: Rows,
    batch: Batch,
}

#[derive(Debug)]
enum Rows {
    Delimited(Box<Delimited>),
    Binary(Box<Binary>),
}

/// Rows that are inserted together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each value stands in `bytes`, row by row; `None` is NULL.
    values: Vec<Option<Range<usize>>>,
    rows: usize,
    /// Line (row, in a binary stream) of the first and of the last row, from 1.
    lines: (u64, u64),
}

/// Where rows go as they are found.
trait Sink {
    /// A row is complete.
    fn row(&mut self, batch: &mut Batch);
}

impl<F: FnMut(&mut Batch)> Sink for F {
    fn row(&mut self, batch: &mut Batch) {
        self(batch);
    }
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values, row by row.
    pub fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.values.iter().map(|range| range.clone().map(|range| self.bytes.get(range).unwrap_or_default()))
    }

    /// Line of the first and of the last row.
    pub fn lines(&self) -> (u64, u64) {
        self.lines
    }

    fn push(&mut self, value: Option<&[u8]>) {
        let range = value.map(|value| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(value);
            start..self.bytes.len()
        });
        self.values.push(range);
    }

    fn end_row(&mut self, line: u64) {
        if self.rows == 0 {
            self.lines.0 = line;
        }
        self.lines.1 = line;
        self.rows += 1;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
        self.rows = 0;
    }
}

impl CopyInserts {
    /// For one stream into `target`. `value` is the tenant's key in text form, `type_oid` the tenant column's type.
    ///
    /// # Errors
    /// As [`CopyRewriter::new`].
    pub fn new(copy: &CopyIn, target: &Arc<CopyTarget>, value: &str, type_oid: Oid) -> Result<Self, Refusal> {
        let rewriter = CopyRewriter::new(copy, value, type_oid)?;
        let rows = match &copy.format {
            CopyFormat::Binary => Rows::Binary(Box::default()),
            format @ (CopyFormat::Text { .. } | CopyFormat::Csv { .. }) => {
                Rows::Delimited(Box::new(Delimited::new(format, target, copy.client_columns)?))
            }
        };
        Ok(Self {
            target: Arc::clone(target),
            client_columns: copy.client_columns,
            binary: copy.format == CopyFormat::Binary,
            rewriter,
            rewritten: Vec::new(),
            rows,
            batch: Batch::default(),
        })
    }

    /// Columns that the client sends.
    pub fn client_columns(&self) -> usize {
        self.client_columns
    }

    /// The stream, and so the values, are in binary format.
    pub fn is_binary(&self) -> bool {
        self.binary
    }

    /// Takes in a part of the stream; `send` gets each batch that is full.
    ///
    /// # Errors
    /// 42501 for a row of another tenant, 22P04 for a malformed stream: nothing of it may be kept then.
    pub fn push(&mut self, data: &[u8], send: &mut dyn FnMut(&Batch)) -> Result<(), Refusal> {
        self.rewritten.clear();
        let outcome = self.rewriter.push(data, &mut self.rewritten);
        // Rows before the one that is wrong may have errors of their own: those come first.
        self.take(send)?;
        outcome
    }

    /// The client's CopyDone: `send` gets what is left.
    ///
    /// # Errors
    /// As [`CopyInserts::push`].
    pub fn finish(&mut self, send: &mut dyn FnMut(&Batch)) -> Result<(), Refusal> {
        self.rewritten.clear();
        self.rewriter.finish(&mut self.rewritten)?;
        self.take(send)?;
        let full = self.target.full();
        let mut sink = |batch: &mut Batch| flush(batch, full, send);
        match &mut self.rows {
            Rows::Delimited(rows) => rows.finish(&mut self.batch, &mut sink)?,
            Rows::Binary(rows) => rows.finish()?,
        }
        if self.batch.rows > 0 {
            send(&self.batch);
            self.batch.clear();
        }
        Ok(())
    }

    fn take(&mut self, send: &mut dyn FnMut(&Batch)) -> Result<(), Refusal> {
        let full = self.target.full();
        let mut sink = |batch: &mut Batch| flush(batch, full, send);
        match &mut self.rows {
            Rows::Delimited(rows) => rows.push(&self.rewritten, &mut self.batch, &mut sink),
            Rows::Binary(rows) => rows.push(&self.rewritten, &mut self.batch, &mut sink),
        }
    }

    /// Where an error belongs, for its CONTEXT. `parameter`: the one that the server names, from 1.
    pub fn context(&self, lines: (u64, u64), parameter: Option<usize>) -> String {
        let table = &self.target.table.name;
        let width = self.target.columns.len().max(1);
        let at = parameter.and_then(|it| it.checked_sub(1));
        match at.map(|at| (at / width, self.target.columns.get(at % width))) {
            // Without line breaks in values, rows and lines count alike.
            Some((row, Some(column))) if lines.1 - lines.0 + 1 > row as u64 => {
                format!("COPY {table}, line {}, column {column}", lines.0 + row as u64)
            }
            _ if lines.0 == lines.1 => format!("COPY {table}, line {}", lines.0),
            _ => format!("COPY {table}, lines {} to {}", lines.0, lines.1),
        }
    }

    /// Where in the stream the reader stands, for the CONTEXT of a refusal.
    pub fn position(&self) -> String {
        let line = match &self.rows {
            Rows::Delimited(rows) => rows.line(),
            Rows::Binary(rows) => rows.row(),
        };
        format!("COPY {}, line {line}", self.target.table.name)
    }
}

impl CopyTarget {
    /// Rows of a full INSERT.
    pub fn full(&self) -> usize {
        (MAX_PARAMS / self.columns.len().max(1)).clamp(1, MAX_ROWS)
    }

    /// The INSERT of so many rows. Columns that the rows leave out get their defaults; as in COPY, values for identity
    /// columns are taken.
    pub fn insert(&self, rows: usize) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| quote_identifier(name)).collect();
        let width = columns.len();
        let mut sql = format!(
            "INSERT INTO {}.{} ({}) OVERRIDING SYSTEM VALUE VALUES ",
            quote_identifier(&self.table.schema),
            quote_identifier(&self.table.name),
            columns.join(", ")
        );
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..width {
                sql.push_str(if column == 0 { "$" } else { ", $" });
                sql.push_str(&(row * width + column + 1).to_string());
            }
            sql.push(')');
        }
        sql
    }
}

fn flush(batch: &mut Batch, full: usize, send: &mut dyn FnMut(&Batch)) {
    if batch.rows >= full || batch.bytes.len() >= BATCH_BYTES {
        send(batch);
        batch.clear();
    }
}

fn malformed(message: String) -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn too_long() -> Refusal {
    Refusal::new(RefusalKind::Limit, SqlState::PROGRAM_LIMIT_EXCEEDED, "a row of the COPY data is too long")
        .hint("Into a table with row-level security, pgwarden inserts rows one by one; each may have 64 MB.")
}
