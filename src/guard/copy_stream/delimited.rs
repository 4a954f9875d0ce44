//! Text and csv streams: lines, fields, quotes and escapes as `copyfromparse.c` of Postgres reads them.

use super::field::{suffix, unescape};
use super::{Own, foreign_row, malformed, unsupported};
use crate::base::Refusal;
use crate::guard::{CopyFormat, CopyIn, CopyTenant};

/// Which line ends the stream uses: the first one decides, others are malformed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Nl,
    Cr,
    CrNl,
}

impl LineEnd {
    fn bytes(self) -> &'static [u8] {
        match self {
            LineEnd::Unknown | LineEnd::Nl => b"\n",
            LineEnd::Cr => b"\r",
            LineEnd::CrNl => b"\r\n",
        }
    }
}

/// How fields are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Text,
    Csv { quote: u8, escape: u8 },
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of quotes.
    Plain,
    /// After a carriage return outside of quotes, which is withheld until it is known what follows.
    AfterCr,
    /// Text: after a backslash. Csv: after a backslash that begins a line.
    AfterBackslash,
    /// After `\.` at the beginning of a line: the end marker if the line ends here.
    AfterDot,
    /// Csv: between quotes.
    Quoted,
    /// Csv, escape is the quote: after a quote between quotes.
    AfterQuote,
    /// Csv, escape is not the quote: after the escape between quotes.
    AfterEscape,
    /// After the end marker: the server ignores the rest, and so it is dropped.
    Ended,
}

/// A text or csv stream.
#[derive(Debug)]
pub(super) struct Delimited {
    dialect: Dialect,
    delimiter: u8,
    null: Vec<u8>,
    columns: usize,
    tenant: CopyTenant,
    own: Own,
    /// Delimiter and tenant value, to be put before each line end.
    suffix: Vec<u8>,
    state: State,
    line_end: LineEnd,
    /// The next line is the header.
    header: bool,
    /// Bytes of the current line so far (saturating: only 0, 1 and more matter).
    line_len: usize,
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
        let (dialect, delimiter, null, header) = match &copy.format {
            CopyFormat::Text { delimiter, null, header } => (Dialect::Text, *delimiter, null, *header),
            CopyFormat::Csv { delimiter, quote, escape, null, header } => {
                (Dialect::Csv { quote: *quote, escape: *escape }, *delimiter, null, *header)
            }
            CopyFormat::Binary => return Err(unsupported("binary COPY data has no delimiters")),
        };
        check_separators(dialect, delimiter)?;
        if copy.client_columns == 0 {
            return Err(unsupported("COPY of a table with no column but the tenant's is not supported"));
        }
        let suffix = match copy.tenant {
            CopyTenant::Append => suffix(dialect, delimiter, null.as_bytes(), &own.text)?,
            CopyTenant::Check(_) => Vec::new(),
        };
        Ok(Self {
            dialect,
            delimiter,
            null: null.clone().into_bytes(),
            columns: copy.client_columns,
            tenant: copy.tenant,
            own,
            suffix,
            state: State::Plain,
            line_end: LineEnd::Unknown,
            header,
            line_len: 0,
            field: 0,
            capture: Capture::default(),
        })
    }

    pub(super) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        // Bytes from here on are not yet in `out`.
        let mut start = 0;
        for (i, &byte) in data.iter().enumerate() {
            if self.state == State::Ended {
                break;
            }
            if self.state == State::AfterCr {
                self.state = State::Plain;
                if byte == b'\n' {
                    self.end_line(LineEnd::CrNl, out)?;
                    start = i + 1;
                    continue;
                }
                self.end_line(LineEnd::Cr, out)?;
                start = i;
            }
            let line_ends = match (self.state, byte) {
                (State::Quoted | State::AfterEscape, _) => false,
                // A backslash makes a line end a part of the field; at the beginning of a csv line it is a byte as any other.
                (State::AfterBackslash, _) => matches!(self.dialect, Dialect::Csv { .. }),
                (State::Plain | State::AfterDot | State::AfterQuote | State::AfterCr | State::Ended, _) => true,
            } && matches!(byte, b'\n' | b'\r');
            if !line_ends {
                self.byte(byte)?;
                continue;
            }
            out.extend_from_slice(data.get(start..i).unwrap_or_default());
            start = i + 1;
            self.line_break(byte, out)?;
        }
        if self.state != State::Ended {
            out.extend_from_slice(data.get(start..).unwrap_or_default());
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self.state {
            State::AfterCr => {
                self.state = State::Plain;
                self.end_line(LineEnd::Cr, out)
            }
            // The server says "unterminated CSV quoted field".
            State::Quoted | State::AfterEscape | State::AfterDot | State::Ended => Ok(()),
            State::AfterBackslash if matches!(self.dialect, Dialect::Text) => {
                Err(malformed("COPY data ends in a backslash"))
            }
            State::Plain | State::AfterQuote | State::AfterBackslash => {
                if self.line_len > 0 {
                    self.end_row(out)?;
                }
                Ok(())
            }
        }
    }

    /// A line end byte outside of quotes. The first carriage return is withheld until the next byte tells what it is.
    fn line_break(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.state == State::AfterDot {
            return self.end_of_copy(out);
        }
        match (byte, self.line_end) {
            (b'\n', _) => self.end_line(LineEnd::Nl, out),
            (_, LineEnd::Cr) => self.end_line(LineEnd::Cr, out),
            (_, LineEnd::Nl) => Err(malformed(self.stray("carriage return"))),
            (_, LineEnd::Unknown | LineEnd::CrNl) => {
                self.state = State::AfterCr;
                Ok(())
            }
        }
    }

    /// `\.` alone on its line. Postgres 18 reads it as data in csv: so it must be the tenant's as any row.
    fn end_of_copy(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if matches!(self.dialect, Dialect::Csv { .. }) && !self.header {
            self.end_field()?;
        }
        out.extend_from_slice(self.line_end.bytes());
        self.state = State::Ended;
        Ok(())
    }

    fn end_line(&mut self, end: LineEnd, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.line_end == LineEnd::Unknown {
            self.line_end = end;
        } else if self.line_end != end {
            return Err(malformed(match end {
                LineEnd::Nl => self.stray("newline"),
                LineEnd::Cr | LineEnd::CrNl | LineEnd::Unknown => self.stray("carriage return"),
            }));
        }
        self.end_row(out)?;
        self.state = State::Plain;
        out.extend_from_slice(end.bytes());
        Ok(())
    }

    fn stray(&self, what: &'static str) -> String {
        match self.dialect {
            Dialect::Text => format!("literal {what} found in data"),
            Dialect::Csv { .. } => format!("unquoted {what} found in data"),
        }
    }

    /// The end of a row (or of the header): the last check before its line end may go out.
    fn end_row(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.header {
            self.header = false;
        } else {
            self.end_field()?;
            // A row with too few fields goes out as it is: the server names the missing column, and takes no such row.
            if self.field + 1 == self.columns {
                out.extend_from_slice(&self.suffix);
            }
        }
        self.line_len = 0;
        self.field = 0;
        self.capture.clear();
        Ok(())
    }

    /// A byte that does not end the line.
    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        let first = self.line_len == 0;
        self.line_len = self.line_len.saturating_add(1);
        match self.dialect {
            Dialect::Text => self.text_byte(byte),
            Dialect::Csv { quote, escape } => self.csv_byte(byte, first, quote, escape),
        }
    }

    fn text_byte(&mut self, byte: u8) -> Result<(), Refusal> {
        match self.state {
            State::AfterBackslash if byte == b'.' => {
                if self.line_len != 2 {
                    return Err(malformed("end-of-copy marker is not alone on its line"));
                }
                self.state = State::AfterDot;
                Ok(())
            }
            State::AfterBackslash => {
                self.state = State::Plain;
                self.keep(byte);
                Ok(())
            }
            State::AfterDot => Err(malformed("end-of-copy marker is not alone on its line")),
            State::Plain | State::AfterCr | State::Quoted | State::AfterQuote | State::AfterEscape | State::Ended => {
                if byte == self.delimiter {
                    return self.next_field();
                }
                if byte == b'\\' {
                    self.state = State::AfterBackslash;
                }
                self.keep(byte);
                Ok(())
            }
        }
    }

    fn csv_byte(&mut self, byte: u8, first: bool, quote: u8, escape: u8) -> Result<(), Refusal> {
        match self.state {
            State::Plain if first && byte == b'\\' => {
                self.state = State::AfterBackslash;
                self.keep(byte);
                Ok(())
            }
            State::AfterBackslash if byte == b'.' => {
                self.state = State::AfterDot;
                self.keep(byte);
                Ok(())
            }
            State::Plain | State::AfterBackslash | State::AfterDot => self.csv_unquoted(byte, quote),
            State::AfterQuote => {
                if byte == quote {
                    self.state = State::Quoted;
                    self.keep(byte);
                    return Ok(());
                }
                self.csv_unquoted(byte, quote)
            }
            State::AfterEscape => {
                self.state = State::Quoted;
                if byte == quote || byte == escape {
                    self.keep(byte);
                    return Ok(());
                }
                self.keep(escape);
                self.csv_quoted(byte, quote, escape);
                Ok(())
            }
            State::Quoted => {
                self.csv_quoted(byte, quote, escape);
                Ok(())
            }
            State::AfterCr | State::Ended => Ok(()),
        }
    }

    fn csv_unquoted(&mut self, byte: u8, quote: u8) -> Result<(), Refusal> {
        self.state = State::Plain;
        if byte == self.delimiter {
            return self.next_field();
        }
        if byte == quote {
            self.state = State::Quoted;
            self.capture.quoted = true;
        } else {
            self.keep(byte);
        }
        Ok(())
    }

    fn csv_quoted(&mut self, byte: u8, quote: u8, escape: u8) {
        if byte == escape && escape == quote {
            self.state = State::AfterQuote;
        } else if byte == escape {
            self.state = State::AfterEscape;
        } else if byte == quote {
            self.state = State::Plain;
        } else {
            self.keep(byte);
        }
    }

    fn next_field(&mut self) -> Result<(), Refusal> {
        if self.header {
            return Ok(());
        }
        self.end_field()?;
        // A quote in this field says nothing of the next.
        self.capture.clear();
        self.field += 1;
        if self.field >= self.columns {
            return Err(malformed("extra data after last expected column"));
        }
        Ok(())
    }

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

    fn end_field(&mut self) -> Result<(), Refusal> {
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

/// Separators that would leave it open where a row ends. (The server refuses most of them before any data.)
fn check_separators(dialect: Dialect, delimiter: u8) -> Result<(), Refusal> {
    let line_byte = |b: u8| matches!(b, b'\n' | b'\r' | 0 | b'\\' | 0x80..);
    let bad = match dialect {
        Dialect::Text => line_byte(delimiter),
        Dialect::Csv { quote, escape } => {
            line_byte(delimiter)
                || line_byte(quote)
                || delimiter == quote
                || matches!(escape, b'\n' | b'\r' | 0 | 0x80..)
                || escape == delimiter
        }
    };
    if bad { Err(unsupported("these COPY separators are not supported")) } else { Ok(()) }
}
