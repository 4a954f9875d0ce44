//! The one reader of text and csv streams: lines, fields, quotes and escapes as `copyfromparse.c` of Postgres reads them, byte
//! by byte, with nothing held but where the next byte stands.

use super::{malformed, unsupported};
use crate::base::Refusal;
use crate::guard::CopyFormat;

/// What is made of the rows that are found.
pub(in crate::guard) trait Rows {
    /// Bytes of the stream, as they are: of a line whose end is not reached yet, or of its last field.
    fn pass(&mut self, bytes: &[u8]);

    /// A byte of the current field: as it is written (text), or without quotes and escapes (csv).
    fn byte(&mut self, byte: u8) -> Result<(), Refusal>;

    /// The current field has a quote in it.
    fn quote(&mut self);

    /// The current field ends, and another follows on the line.
    fn end_field(&mut self) -> Result<(), Refusal>;

    /// The line, and its last field, end with these bytes; with none where the stream ends.
    fn end_line(&mut self, end: &[u8]) -> Result<(), Refusal>;

    /// A line that is the end marker, `\.`, ends likewise. The server ignores what follows, and so it is not read.
    fn end_of_copy(&mut self, end: &[u8]) -> Result<(), Refusal>;

    /// The stream ends between quotes.
    fn unterminated(&mut self) -> Result<(), Refusal>;
}

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
pub(in crate::guard) enum Dialect {
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
    /// After the end marker.
    Ended,
}

/// A text or csv stream.
#[derive(Debug)]
pub(in crate::guard) struct Reader {
    dialect: Dialect,
    delimiter: u8,
    state: State,
    line_end: LineEnd,
    /// Bytes of the current line so far (saturating: only 0, 1 and more matter).
    line_len: usize,
}

impl Reader {
    /// Of a stream of that format.
    pub(in crate::guard) fn new(format: &CopyFormat) -> Result<Self, Refusal> {
        let (dialect, delimiter) = match format {
            CopyFormat::Text { delimiter, .. } => (Dialect::Text, *delimiter),
            CopyFormat::Csv { delimiter, quote, escape, .. } => {
                (Dialect::Csv { quote: *quote, escape: *escape }, *delimiter)
            }
            CopyFormat::Binary => return Err(unsupported("binary COPY data has no delimiters")),
        };
        check_separators(dialect, delimiter)?;
        Ok(Self { dialect, delimiter, state: State::Plain, line_end: LineEnd::Unknown, line_len: 0 })
    }

    pub(in crate::guard) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(in crate::guard) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    pub(in crate::guard) fn push(&mut self, data: &[u8], rows: &mut impl Rows) -> Result<(), Refusal> {
        // Bytes from here on are not yet passed.
        let mut start = 0;
        for (i, &byte) in data.iter().enumerate() {
            if self.state == State::Ended {
                break;
            }
            if self.state == State::AfterCr {
                self.state = State::Plain;
                if byte == b'\n' {
                    self.end_line(LineEnd::CrNl, rows)?;
                    start = i + 1;
                    continue;
                }
                self.end_line(LineEnd::Cr, rows)?;
                start = i;
            }
            let line_ends = match (self.state, byte) {
                (State::Quoted | State::AfterEscape, _) => false,
                // A backslash makes a line end a part of the field; at the beginning of a csv line it is a byte as any other.
                (State::AfterBackslash, _) => matches!(self.dialect, Dialect::Csv { .. }),
                (State::Plain | State::AfterDot | State::AfterQuote | State::AfterCr | State::Ended, _) => true,
            } && matches!(byte, b'\n' | b'\r');
            if !line_ends {
                self.byte(byte, rows)?;
                continue;
            }
            rows.pass(data.get(start..i).unwrap_or_default());
            start = i + 1;
            self.line_break(byte, rows)?;
        }
        if self.state != State::Ended {
            rows.pass(data.get(start..).unwrap_or_default());
        }
        Ok(())
    }

    /// The end of the stream.
    pub(in crate::guard) fn finish(&mut self, rows: &mut impl Rows) -> Result<(), Refusal> {
        match self.state {
            State::AfterCr => {
                self.state = State::Plain;
                self.end_line(LineEnd::Cr, rows)
            }
            State::Quoted | State::AfterEscape => rows.unterminated(),
            State::AfterDot => rows.end_of_copy(b""),
            State::Ended => Ok(()),
            State::AfterBackslash if matches!(self.dialect, Dialect::Text) => {
                Err(malformed("COPY data ends in a backslash"))
            }
            State::Plain | State::AfterQuote | State::AfterBackslash if self.line_len == 0 => Ok(()),
            State::Plain | State::AfterQuote | State::AfterBackslash => rows.end_line(b""),
        }
    }

    /// A line end byte outside of quotes. The first carriage return is withheld until the next byte tells what it is.
    fn line_break(&mut self, byte: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
        if self.state == State::AfterDot {
            self.state = State::Ended;
            return rows.end_of_copy(self.line_end.bytes());
        }
        match (byte, self.line_end) {
            (b'\n', _) => self.end_line(LineEnd::Nl, rows),
            (_, LineEnd::Cr) => self.end_line(LineEnd::Cr, rows),
            (_, LineEnd::Nl) => Err(malformed(self.stray("carriage return"))),
            (_, LineEnd::Unknown | LineEnd::CrNl) => {
                self.state = State::AfterCr;
                Ok(())
            }
        }
    }

    fn end_line(&mut self, end: LineEnd, rows: &mut impl Rows) -> Result<(), Refusal> {
        if self.line_end == LineEnd::Unknown {
            self.line_end = end;
        } else if self.line_end != end {
            return Err(malformed(match end {
                LineEnd::Nl => self.stray("newline"),
                LineEnd::Cr | LineEnd::CrNl | LineEnd::Unknown => self.stray("carriage return"),
            }));
        }
        rows.end_line(end.bytes())?;
        self.line_len = 0;
        self.state = State::Plain;
        Ok(())
    }

    fn stray(&self, what: &'static str) -> String {
        match self.dialect {
            Dialect::Text => format!("literal {what} found in data"),
            Dialect::Csv { .. } => format!("unquoted {what} found in data"),
        }
    }

    /// A byte that does not end the line.
    fn byte(&mut self, byte: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
        let first = self.line_len == 0;
        self.line_len = self.line_len.saturating_add(1);
        match self.dialect {
            Dialect::Text => self.text_byte(byte, rows),
            Dialect::Csv { quote, escape } => self.csv_byte(byte, first, quote, escape, rows),
        }
    }

    fn text_byte(&mut self, byte: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
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
                rows.byte(byte)
            }
            State::AfterDot => Err(malformed("end-of-copy marker is not alone on its line")),
            State::Plain | State::AfterCr | State::Quoted | State::AfterQuote | State::AfterEscape | State::Ended => {
                if byte == self.delimiter {
                    return rows.end_field();
                }
                if byte == b'\\' {
                    self.state = State::AfterBackslash;
                }
                rows.byte(byte)
            }
        }
    }

    fn csv_byte(&mut self, byte: u8, first: bool, quote: u8, escape: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
        match self.state {
            State::Plain if first && byte == b'\\' => {
                self.state = State::AfterBackslash;
                rows.byte(byte)
            }
            State::AfterBackslash if byte == b'.' => {
                self.state = State::AfterDot;
                rows.byte(byte)
            }
            State::AfterQuote if byte == quote => {
                self.state = State::Quoted;
                rows.byte(byte)
            }
            State::Plain | State::AfterBackslash | State::AfterDot | State::AfterQuote => {
                self.csv_unquoted(byte, quote, rows)
            }
            State::AfterEscape => {
                self.state = State::Quoted;
                if byte == quote || byte == escape {
                    return rows.byte(byte);
                }
                rows.byte(escape)?;
                self.csv_quoted(byte, quote, escape, rows)
            }
            State::Quoted => self.csv_quoted(byte, quote, escape, rows),
            State::AfterCr | State::Ended => Ok(()),
        }
    }

    fn csv_unquoted(&mut self, byte: u8, quote: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
        self.state = State::Plain;
        if byte == self.delimiter {
            return rows.end_field();
        }
        if byte != quote {
            return rows.byte(byte);
        }
        self.state = State::Quoted;
        rows.quote();
        Ok(())
    }

    fn csv_quoted(&mut self, byte: u8, quote: u8, escape: u8, rows: &mut impl Rows) -> Result<(), Refusal> {
        if byte == escape && escape == quote {
            self.state = State::AfterQuote;
        } else if byte == escape {
            self.state = State::AfterEscape;
        } else if byte == quote {
            self.state = State::Plain;
        } else {
            return rows.byte(byte);
        }
        Ok(())
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
