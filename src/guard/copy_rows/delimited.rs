//! Text and csv streams, whose line ends the rewriter has checked: lines and fields as `copyfromparse.c` reads them.

use super::{Batch, MAX_ROW_BYTES, Sink, malformed, too_long};
use crate::base::Refusal;
use crate::guard::copy_stream::unescape;
use crate::guard::{CopyFormat, CopyTarget};

#[derive(Clone, Copy, Debug)]
enum Dialect {
    Text,
    Csv { quote: u8, escape: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    /// Text: after a backslash.
    AfterBackslash,
    /// Csv: between quotes.
    Quoted,
    /// Csv, between quotes: after the escape (which may be the quote).
    AfterEscape,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Delimited {
    dialect: Dialect,
    delimiter: u8,
    null: Vec<u8>,
    columns: Vec<String>,
    client_columns: usize,
    force_null: Vec<bool>,
    force_not_null: Vec<bool>,
    header: bool,
    header_matches: bool,
    state: State,
    /// The field so far: as written (text), or without quotes and escapes (csv).
    field: Vec<u8>,
    quoted: bool,
    /// Values of the line so far; `None` is NULL.
    fields: Vec<Option<Vec<u8>>>,
    /// Bytes of the line so far.
    length: usize,
    /// A carriage return ended the last line: a newline that follows belongs to it.
    after_return: bool,
    ended: bool,
    line: u64,
}

impl Delimited {
    pub(super) fn new(format: &CopyFormat, target: &CopyTarget, client_columns: usize) -> Self {
        let (dialect, delimiter, null, header) = match format {
            CopyFormat::Text { delimiter, null, header } => (Dialect::Text, *delimiter, null.clone(), *header),
            CopyFormat::Csv { delimiter, quote, escape, null, header } => {
                (Dialect::Csv { quote: *quote, escape: *escape }, *delimiter, null.clone(), *header)
            }
            // The caller reads binary streams by itself.
            CopyFormat::Binary => (Dialect::Text, b'\t', String::new(), false),
        };
        Self {
            dialect,
            delimiter,
            null: null.into_bytes(),
            columns: target.columns.clone(),
            client_columns,
            force_null: target.force_null.clone(),
            force_not_null: target.force_not_null.clone(),
            header,
            header_matches: target.header_matches,
            state: State::Plain,
            field: Vec::new(),
            quoted: false,
            fields: Vec::new(),
            length: 0,
            after_return: false,
            ended: false,
            line: 1,
        }
    }

    /// The line that is being read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn push(&mut self, data: &[u8], batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        for byte in data {
            if self.ended {
                return Ok(());
            }
            if std::mem::take(&mut self.after_return) && *byte == b'\n' {
                continue;
            }
            self.byte(*byte, batch, sink)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        if self.ended || self.length == 0 {
            return Ok(());
        }
        match self.state {
            State::Quoted => Err(malformed("unterminated CSV quoted field".to_owned())),
            State::AfterEscape if !self.escape_is_quote() => Err(malformed("unterminated CSV quoted field".to_owned())),
            State::Plain | State::AfterBackslash | State::AfterEscape => self.end_line(batch, sink),
        }
    }

    fn escape_is_quote(&self) -> bool {
        matches!(self.dialect, Dialect::Csv { quote, escape } if quote == escape)
    }

    fn byte(&mut self, byte: u8, batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        match (self.dialect, self.state) {
            (Dialect::Text, State::AfterBackslash) => {
                self.state = State::Plain;
                self.keep(byte)
            }
            (Dialect::Csv { quote, escape }, State::Quoted) => self.quoted_byte(byte, quote, escape),
            (Dialect::Csv { quote, escape }, State::AfterEscape) => {
                if byte == quote || byte == escape {
                    self.state = State::Quoted;
                    return self.keep(byte);
                }
                if quote == escape {
                    // The quote ended the quoted part.
                    self.state = State::Plain;
                    return self.plain(byte, batch, sink);
                }
                self.state = State::Quoted;
                self.keep(escape)?;
                self.quoted_byte(byte, quote, escape)
            }
            (_, State::Plain | State::AfterBackslash | State::Quoted | State::AfterEscape) => {
                self.plain(byte, batch, sink)
            }
        }
    }

    fn quoted_byte(&mut self, byte: u8, quote: u8, escape: u8) -> Result<(), Refusal> {
        if byte == escape {
            self.state = State::AfterEscape;
            self.count()
        } else if byte == quote {
            self.state = State::Plain;
            self.count()
        } else {
            if byte == b'\n' {
                self.line += 1;
            }
            self.keep(byte)
        }
    }

    fn plain(&mut self, byte: u8, batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        if matches!(byte, b'\n' | b'\r') {
            self.after_return = byte == b'\r';
            return self.end_line(batch, sink);
        }
        if byte == self.delimiter {
            self.end_field();
            return self.count();
        }
        match self.dialect {
            Dialect::Text if byte == b'\\' => {
                self.state = State::AfterBackslash;
                self.keep(byte)
            }
            Dialect::Csv { quote, .. } if byte == quote => {
                self.state = State::Quoted;
                self.quoted = true;
                self.count()
            }
            Dialect::Text | Dialect::Csv { .. } => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) -> Result<(), Refusal> {
        self.field.push(byte);
        self.count()
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.length += 1;
        if self.length > MAX_ROW_BYTES { Err(too_long()) } else { Ok(()) }
    }

    fn end_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        let quoted = std::mem::take(&mut self.quoted);
        let flag = |flags: &[bool]| flags.get(self.fields.len()).copied().unwrap_or(false);
        let is_null = field == self.null && (!quoted || flag(&self.force_null));
        let value = match self.dialect {
            _ if is_null && !flag(&self.force_not_null) => None,
            Dialect::Text => Some(unescape(&field)),
            Dialect::Csv { .. } => Some(field),
        };
        self.fields.push(value);
    }

    fn end_line(&mut self, batch: &mut Batch, sink: &mut dyn Sink) -> Result<(), Refusal> {
        if self.field == b"\\." && self.fields.is_empty() && !self.quoted {
            self.ended = true;
            return Ok(());
        }
        self.end_field();
        self.length = 0;
        let fields = std::mem::take(&mut self.fields);
        if std::mem::take(&mut self.header) {
            if self.header_matches {
                self.check_header(&fields)?;
            }
        } else {
            if let Some(missing) = self.columns.get(fields.len()) {
                return Err(malformed(format!("missing data for column \"{missing}\"")));
            }
            fields.iter().take(self.columns.len()).for_each(|field| batch.push(field.as_deref()));
            batch.end_row(self.line);
            sink.row(batch);
        }
        self.line += 1;
        Ok(())
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
