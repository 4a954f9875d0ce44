//! Text and csv streams, rewritten: the tenant's value is put at the end of each row, or compared in each.

use super::field::{suffix, unescape};
use super::reader::{Dialect, Reader, Rows};
use super::{Own, foreign_row, malformed, unsupported};
use crate::base::Refusal;
use crate::guard::{CopyFormat, CopyIn, CopyTenant};

/// A text or csv stream.
#[derive(Debug)]
pub(super) struct Delimited {
    reader: Reader,
    rows: Guard,
}

/// What becomes of the rows.
#[derive(Debug)]
struct Guard {
    dialect: Dialect,
    null: Vec<u8>,
    columns: usize,
    tenant: CopyTenant,
    own: Own,
    /// Delimiter and tenant value, to be put before each line end.
    suffix: Vec<u8>,
    /// The next line is the header.
    header: bool,
    /// Index of the current field.
    field: usize,
    capture: Capture,
}

/// The field to be compared, as far as it is needed.
#[derive(Debug, Default)]
struct Capture {
    bytes: Vec<u8>,
    overflow: bool,
    quoted: bool,
}

impl Capture {
    fn clear(&mut self) {
        self.bytes.clear();
        self.overflow = false;
        self.quoted = false;
    }
}

impl Delimited {
    pub(super) fn new(copy: &CopyIn, own: Own) -> Result<Self, Refusal> {
        let reader = Reader::new(&copy.format)?;
        let (null, header) = match &copy.format {
            CopyFormat::Text { null, header, .. } | CopyFormat::Csv { null, header, .. } => {
                (null.clone().into_bytes(), *header)
            }
            CopyFormat::Binary => return Err(unsupported("binary COPY data has no delimiters")),
        };
        if copy.client_columns == 0 {
            return Err(unsupported("COPY of a table with no column but the tenant's is not supported"));
        }
        let dialect = reader.dialect();
        let suffix = match copy.tenant {
            CopyTenant::Append => suffix(dialect, reader.delimiter(), &null, &own.text)?,
            CopyTenant::Check(_) => Vec::new(),
        };
        let (columns, tenant) = (copy.client_columns, copy.tenant);
        let capture = Capture::default();
        let rows = Guard { dialect, null, columns, tenant, own, suffix, header, field: 0, capture };
        Ok(Self { reader, rows })
    }

    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.reader.push(data, &mut Guarded { rows: &mut self.rows, out })
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.reader.finish(&mut Guarded { rows: &mut self.rows, out })
    }
}

/// Rows on their way out.
struct Guarded<'a> {
    rows: &'a mut Guard,
    out: &'a mut Vec<u8>,
}

impl Rows for Guarded<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        self.rows.keep(byte);
        Ok(())
    }

    fn quote(&mut self) {
        self.rows.capture.quoted = true;
    }

    fn end_field(&mut self) -> Result<(), Refusal> {
        self.rows.next_field()
    }

    /// The last check of a row before its line end may go out.
    fn end_line(&mut self, end: &[u8]) -> Result<(), Refusal> {
        if self.rows.end_row()? {
            self.out.extend_from_slice(&self.rows.suffix);
        }
        self.out.extend_from_slice(end);
        Ok(())
    }

    /// Postgres 18 reads it as data in csv: so it must be the tenant's as any row.
    fn end_of_copy(&mut self, end: &[u8]) -> Result<(), Refusal> {
        if matches!(self.rows.dialect, Dialect::Csv { .. }) && !self.rows.header {
            self.rows.check_field()?;
        }
        self.out.extend_from_slice(end);
        Ok(())
    }

    /// The server says so itself.
    fn unterminated(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Guard {
    fn keep(&mut self, byte: u8) {
        if self.tenant != CopyTenant::Check(self.field) {
            return;
        }
        if self.capture.bytes.len() < self.own.capture_limit() {
            self.capture.bytes.push(byte);
        } else {
            self.capture.overflow = true;
        }
    }

    fn next_field(&mut self) -> Result<(), Refusal> {
        if self.header {
            return Ok(());
        }
        self.check_field()?;
        // A quote in this field says nothing of the next.
        self.capture.clear();
        self.field += 1;
        if self.field >= self.columns {
            return Err(malformed("extra data after last expected column"));
        }
        Ok(())
    }

    /// The end of a row (or of the header): whether the tenant's value belongs there.
    fn end_row(&mut self) -> Result<bool, Refusal> {
        let is_row = !std::mem::take(&mut self.header);
        if is_row {
            self.check_field()?;
        }
        // A row with too few fields goes out as it is: the server names the missing column, and takes no such row.
        let whole = is_row && self.field + 1 == self.columns;
        self.field = 0;
        self.capture.clear();
        Ok(whole)
    }

    /// The field that ends here is the tenant's own value, if it is the tenant column's.
    fn check_field(&mut self) -> Result<(), Refusal> {
        if self.tenant != CopyTenant::Check(self.field) {
            return Ok(());
        }
        let Capture { bytes, overflow, quoted } = &self.capture;
        let is_null = !quoted && *bytes == self.null;
        let same = !overflow
            && !is_null
            && match self.dialect {
                Dialect::Text => self.own.equals_text(&unescape(bytes)),
                Dialect::Csv { .. } => self.own.equals_text(bytes),
            };
        self.capture.clear();
        if same { Ok(()) } else { Err(foreign_row()) }
    }
}
