//! Text and csv streams, taken apart into the values of rows.

use super::{Batch, MAX_ROW_BYTES, Sink, malformed, too_long};
use crate::base::Refusal;
use crate::guard::copy_stream::{Dialect, Reader, Rows, unescape};
use crate::guard::{CopyFormat, CopyTarget};

/// Reads lines.
#[derive(Debug)]
pub(super) struct Delimited {
    reader: Reader,
    values: Values,
}

/// The line that is being read.
#[derive(Debug)]
struct Values {
    dialect: Dialect,
    null: Vec<u8>,
    columns: Vec<String>,
    client_columns: usize,
    force_null: Vec<bool>,
    force_not_null: Vec<bool>,
    header: bool,
    header_matches: bool,
    /// The field so far: as written (text), or without quotes and escapes (csv).
    field: Vec<u8>,
    quoted: bool,
    /// Values of the line so far; `None` is NULL.
    fields: Vec<Option<Vec<u8>>>,
    /// Bytes of the line so far, quotes and escapes left out.
    length: usize,
    line: u64,
}

impl Delimited {
    pub(super) fn new(format: &CopyFormat, target: &CopyTarget, client_columns: usize) -> Result<Self, Refusal> {
        let reader = Reader::new(format)?;
        let (null, header) = match format {
            CopyFormat::Text { null, header, .. } | CopyFormat::Csv { null, header, .. } => (null.clone(), *header),
            // The caller reads binary streams by itself.
            CopyFormat::Binary => (String::new(), false),
        };
        let values = Values {
            dialect: reader.dialect(),
            null: null.into_bytes(),
            columns: target.columns.clone(),
            client_columns,
            force_null: target.force_null.clone(),
            force_not_null: target.force_not_null.clone(),
            header,
            header_matches: target.header_matches,
            field: Vec::new(),
            quoted: false,
            fields: Vec::new(),
            length: 0,
            line: 1,
        };
        Ok(Self { reader, values })
    }

    /// The line that is being read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.values.line
    }

    pub(super) fn push(&mut self, data: &[u8], batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        self.reader.push(data, &mut Found { values: &mut self.values, batch, sink })
    }

    pub(super) fn finish(&mut self, batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        self.reader.finish(&mut Found { values: &mut self.values, batch, sink })
    }
}

/// Values on their way into a batch.
struct Found<'a> {
    values: &'a mut Values,
    batch: &'a mut Batch,
    sink: &'a mut dyn Sink,
}

impl Rows for Found<'_> {
    fn pass(&mut self, _: &[u8]) {}

    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        // Only between quotes; in text a line break behind a backslash begins no line.
        if byte == b'\n' && matches!(self.values.dialect, Dialect::Csv { .. }) {
            self.values.line += 1;
        }
        self.values.field.push(byte);
        self.values.count()
    }

    fn quote(&mut self) {
        self.values.quoted = true;
    }

    fn end_field(&mut self) -> Result<(), Refusal> {
        self.values.end_field();
        self.values.count()
    }

    fn end_line(&mut self, _: &[u8]) -> Result<(), Refusal> {
        if let Some(fields) = self.values.end_line()? {
            fields.iter().for_each(|field| self.batch.push(field.as_deref()));
            self.batch.end_row(self.values.line);
            self.sink.row(self.batch);
        }
        self.values.line += 1;
        Ok(())
    }

    fn end_of_copy(&mut self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn unterminated(&mut self) -> Result<(), Refusal> {
        Err(malformed("unterminated CSV quoted field".to_owned()))
    }
}

impl Values {
    fn count(&mut self) -> Result<(), Refusal> {
        self.length += 1;
        if self.length > MAX_ROW_BYTES { Err(too_long()) } else { Ok(()) }
    }

    fn end_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        let quoted = std::mem::take(&mut self.quoted);
        let flag = |flags: &[bool]| flags.get(self.fields.len()).copied().unwrap_or(false);
        let reads_as_null = field == self.null && (!quoted || flag(&self.force_null));
        let is_null = reads_as_null && !flag(&self.force_not_null);
        let value = match self.dialect {
            Dialect::Text => (!is_null).then(|| unescape(&field)),
            Dialect::Csv { .. } => (!is_null).then_some(field),
        };
        self.fields.push(value);
    }

    /// The values of a row; none of the header.
    fn end_line(&mut self) -> Result<Option<Vec<Option<Vec<u8>>>>, Refusal> {
        self.end_field();
        self.length = 0;
        let mut fields = std::mem::take(&mut self.fields);
        if std::mem::take(&mut self.header) {
            if self.header_matches {
                self.check_header(&fields)?;
            }
            return Ok(None);
        }
        if let Some(missing) = self.columns.get(fields.len()) {
            return Err(malformed(format!("missing data for column \"{missing}\"")));
        }
        fields.truncate(self.columns.len());
        Ok(Some(fields))
    }

    /// `NextCopyFromRawFields`: the names of the columns, in order.
    fn check_header(&self, fields: &[Option<Vec<u8>>]) -> Result<(), Refusal> {
        let expected = self.columns.get(..self.client_columns).unwrap_or_default();
        if fields.len() != expected.len() {
            let (got, wanted) = (fields.len(), expected.len());
            return Err(malformed(format!("wrong number of fields in header line: got {got}, expected {wanted}")));
        }
        for (number, (field, name)) in (1..).zip(fields.iter().zip(expected)) {
            let text = field.as_deref().map(String::from_utf8_lossy);
            if text.as_deref() != Some(name.as_str()) {
                let got = text.map_or("null value (\"\")".to_owned(), |text| format!("\"{text}\""));
                return Err(malformed(format!(
                    "column name mismatch in header line field {number}: got {got}, expected \"{name}\""
                )));
            }
        }
        Ok(())
    }
}
