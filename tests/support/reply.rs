//! What came back for a request, read without trust in who sent it.

use std::collections::BTreeMap;

use bytes::BytesMut;
use pgwire::messages::data::{DataRow, FieldDescription, ParameterDescription, RowDescription};
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, NotificationResponse, ReadyForQuery};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{DecodeContext, Message};

/// The fields of an error or notice by their letter: `C` the SQLSTATE, `M` the message, `D` the detail ...
pub type Fields = BTreeMap<char, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub table: u32,
    pub attribute: i16,
    pub type_oid: u32,
    pub format: i16,
}

/// All that arrived until the expected number of ReadyForQuery, or a close, or the time limit.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub columns: Vec<Vec<Column>>,
    pub tags: Vec<String>,
    pub errors: Vec<Fields>,
    pub notices: Vec<Fields>,
    pub notifications: Vec<(String, String)>,
    pub copy_out: Vec<u8>,
    pub parameter_types: Vec<Vec<u32>>,
    pub statuses: Vec<(String, String)>,
    /// Transaction states of the ReadyForQuery messages.
    pub states: String,
    /// The tags of all messages, in order.
    pub kinds: String,
    pub closed: bool,
    pub timed_out: bool,
    pub elapsed: std::time::Duration,
}

impl Reply {
    /// SQLSTATE of the first error, or `""`.
    pub fn sqlstate(&self) -> &str {
        self.errors.first().and_then(|it| it.get(&'C')).map_or("", String::as_str)
    }

    /// Rows as text; NULL is `∅`.
    pub fn texts(&self) -> Vec<Vec<String>> {
        let cell = |it: &Option<Vec<u8>>| match it {
            None => "∅".to_owned(),
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        self.rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    /// The only value of the only row.
    #[track_caller]
    pub fn value(&self) -> String {
        let rows = self.texts();
        assert!(rows.len() == 1 && rows[0].len() == 1, "one value expected, got {}", self.text());
        rows[0][0].clone()
    }

    /// The values of the first column.
    pub fn first_column(&self) -> Vec<String> {
        self.texts().into_iter().filter_map(|row| row.into_iter().next()).collect()
    }

    /// No error, no close, no time-out.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.errors.is_empty() && !self.closed && !self.timed_out, "failed: {}", self.text());
        self
    }

    /// Failed with this SQLSTATE.
    #[track_caller]
    pub fn refused(self, sqlstate: &str) -> Self {
        assert_eq!(self.sqlstate(), sqlstate, "{}", self.text());
        self
    }

    /// Everything that a client could read, a line a row: what the canary search looks at.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self.texts().iter().map(|row| row.join("|")).collect();
        let show = |kind: &str, fields: &Fields| {
            let words: Vec<_> = fields.iter().map(|(letter, text)| format!("{letter}:{text}")).collect();
            format!("{kind} {}", words.join(" "))
        };
        lines.extend(self.errors.iter().map(|it| show("ERROR", it)));
        lines.extend(self.notices.iter().map(|it| show("NOTICE", it)));
        lines.extend(self.notifications.iter().map(|(channel, payload)| format!("NOTIFY {channel} {payload}")));
        lines.extend(self.columns.iter().flatten().map(|it| format!("COLUMN {}", it.name)));
        lines.extend(self.statuses.iter().map(|(name, value)| format!("STATUS {name}={value}")));
        lines.extend(self.tags.iter().map(|it| format!("TAG {it}")));
        if !self.copy_out.is_empty() {
            lines.push(format!("COPY {}", String::from_utf8_lossy(&self.copy_out)));
        }
        if self.closed {
            lines.push("CLOSED".to_owned());
        }
        if self.timed_out {
            lines.push("TIMED OUT".to_owned());
        }
        lines.join("\n")
    }

    /// Takes one message in. A body that is longer or shorter than its message fails the test.
    pub fn add(&mut self, tag: u8, body: &[u8]) {
        self.kinds.push(tag as char);
        match tag {
            b'D' => self.rows.push(values(&decoded(body))),
            b'T' => self.columns.push(decoded::<RowDescription>(body).fields.into_iter().map(Column::from).collect()),
            b'C' => self.tags.push(decoded::<CommandComplete>(body).tag),
            b'E' => self.errors.push(fields(decoded::<ErrorResponse>(body).fields)),
            b'N' => self.notices.push(fields(decoded::<NoticeResponse>(body).fields)),
            b'A' => {
                let NotificationResponse { channel, payload, .. } = decoded(body);
                self.notifications.push((channel, payload));
            }
            b'd' => self.copy_out.extend(body),
            b't' => self.parameter_types.push(decoded::<ParameterDescription>(body).types),
            b'S' => {
                let ParameterStatus { name, value, .. } = decoded(body);
                self.statuses.push((name, value));
            }
            b'Z' => self.states.push(decoded::<ReadyForQuery>(body).status as u8 as char),
            _ => {}
        }
    }
}

/// Read by a codec that is not ours: what both sides get wrong alike would not show otherwise.
fn decoded<M: Message>(body: &[u8]) -> M {
    let mut left = BytesMut::from(body);
    let message = M::decode_body(&mut left, body.len() + 4, &DecodeContext::default()).expect("a well-formed message");
    assert!(left.is_empty(), "bytes behind the last field: {left:?}");
    message
}

fn values(row: &DataRow) -> Vec<Option<Vec<u8>>> {
    let mut data = Cursor(&row.data);
    let values = (0..row.field_count).map(|_| data.value()).collect();
    assert!(data.0.is_empty(), "bytes behind the last value");
    values
}

fn fields(fields: Vec<(u8, String)>) -> Fields {
    fields.into_iter().map(|(letter, text)| (letter as char, text)).collect()
}

impl From<FieldDescription> for Column {
    fn from(field: FieldDescription) -> Self {
        let FieldDescription { name, table_id, column_id, type_id, format_code, .. } = field;
        Self { name, table: table_id as u32, attribute: column_id, type_oid: type_id, format: format_code }
    }
}

/// Reads a body from the front; panics on a short one, which fails the test.
pub struct Cursor<'a>(pub &'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_first_chunk().expect("message body too short");
        self.0 = tail;
        *head
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.u32() as i32).ok()?;
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        Some(head.to_vec())
    }
}
