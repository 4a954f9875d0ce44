//! Steps of the scripts in the corpora (`tests/*/corpus/*.toml`): what clients send, in order.
//!
//! A step is an SQL text (one Query of client A), or a table:
//!
//! | key | meaning |
//! | --- | --- |
//! | `on` | the client: `A` (default), `A2`, `B` ..., `S` the superuser, directly |
//! | `sql`, `data` | one Query; rows for a COPY FROM STDIN in it |
//! | `background`, `wait` | send only; read the answer of what was sent |
//! | `flood` | so many further connections, each sends `sql` |
//! | `hex` | one Query whose text is given as hexadecimal bytes |
//! | `bound`, `values`, `types` | one statement in the extended protocol |
//! | `send` | messages, each an array of its name and its parts |
//! | `connect` | a new connection: `user`, `password`, `database`, `startup`; or `raw` bytes instead |
//! | `pending` | reads what comes unasked, for so many seconds |
//! | `cancel`, `pid_offset`, `key_offset` | a CancelRequest with that client's key, or near it |
//! | `vanish` | the client is gone without a word |
//! | `sleep` | seconds |
//! | `within` | seconds to wait for the answer |
//! | `expect`, `forbid`, `victim` | what another tenant must get, must not get; that it must be served in time |

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::message;
use super::reply::Reply;
use super::session::{CopyIn, Session};

#[derive(Clone, Debug, Deserialize)]
#[serde(from = "StepText")]
pub struct Step {
    pub on: String,
    pub act: Act,
    pub within: Duration,
    pub expect: Option<String>,
    pub forbid: Option<String>,
    pub victim: Option<Victim>,
    /// The step as it was written, for messages and for the search of canaries in what A sent itself.
    pub source: String,
}

#[derive(Clone, Debug)]
pub enum Act {
    Sql { text: String, data: Option<String> },
    Background(String),
    Wait,
    Flood { clients: usize, sql: String },
    Hex(Vec<u8>),
    Bound { text: String, values: Vec<String>, types: Vec<u32> },
    Messages { bytes: Vec<u8>, ready: usize, data: Option<String> },
    Connect(Connect),
    Pending(Duration),
    Cancel { of: String, pid_offset: i32, key_offset: i32 },
    Vanish,
    Sleep(Duration),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connect {
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: Option<String>,
    pub startup: BTreeMap<String, String>,
    /// Hexadecimal bytes in place of a startup packet.
    pub raw: Option<String>,
}

/// How well the other tenant must be served meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Victim {
    /// An answer in time, be it an error.
    Served,
    /// An answer in time without an error.
    Unharmed,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StepText {
    Sql(String),
    Table(Box<StepTable>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StepTable {
    on: Option<String>,
    sql: Option<String>,
    data: Option<String>,
    background: bool,
    wait: bool,
    flood: Option<usize>,
    hex: Option<String>,
    bound: Option<String>,
    values: Vec<String>,
    types: Vec<u32>,
    send: Option<Vec<Vec<String>>>,
    connect: Option<Connect>,
    pending: Option<f64>,
    cancel: Option<String>,
    pid_offset: i32,
    key_offset: i32,
    vanish: bool,
    sleep: Option<f64>,
    within: Option<f64>,
    expect: Option<String>,
    forbid: Option<String>,
    victim: Option<Victim>,
}

impl StepTable {
    /// What is sent, in one line.
    fn source(&self) -> String {
        let mut parts: Vec<String> =
            self.sql.iter().chain(&self.bound).chain(&self.data).chain(&self.hex).cloned().collect();
        parts.extend(self.values.iter().cloned());
        parts.extend(self.send.iter().flatten().map(|it| it.join(" ")));
        parts.extend(self.connect.iter().map(|it| format!("{it:?}")));
        parts.join(" | ")
    }
}

impl From<StepText> for Step {
    fn from(text: StepText) -> Self {
        let table = match text {
            StepText::Sql(sql) => StepTable { sql: Some(sql), ..StepTable::default() },
            StepText::Table(table) => *table,
        };
        Self {
            on: table.on.clone().unwrap_or_else(|| "A".to_owned()),
            within: Duration::from_secs_f64(table.within.unwrap_or(5.0)),
            expect: table.expect.clone(),
            forbid: table.forbid.clone(),
            victim: table.victim,
            source: table.source(),
            act: act(table),
        }
    }
}

fn act(table: StepTable) -> Act {
    let seconds = Duration::from_secs_f64;
    match table {
        StepTable { flood: Some(clients), sql: Some(sql), .. } => Act::Flood { clients, sql },
        StepTable { background: true, sql: Some(sql), .. } => Act::Background(sql),
        StepTable { sql: Some(text), data, .. } => Act::Sql { text, data },
        StepTable { wait: true, .. } => Act::Wait,
        StepTable { hex: Some(hex), .. } => Act::Hex(unhex(&hex)),
        StepTable { bound: Some(text), values, types, .. } => Act::Bound { text, values, types },
        StepTable { send: Some(messages), data, .. } => Act::Messages {
            bytes: messages.iter().flat_map(|it| encode(it)).collect(),
            ready: messages.iter().filter(|it| matches!(it[0].as_str(), "sync" | "query" | "function_call")).count(),
            data,
        },
        StepTable { connect: Some(connect), .. } => Act::Connect(connect),
        StepTable { pending: Some(time), .. } => Act::Pending(seconds(time)),
        StepTable { cancel: Some(of), pid_offset, key_offset, .. } => Act::Cancel { of, pid_offset, key_offset },
        StepTable { vanish: true, .. } => Act::Vanish,
        StepTable { sleep: Some(time), .. } => Act::Sleep(seconds(time)),
        other => panic!("a step that does nothing: {other:?}"),
    }
}

/// Hexadecimal digits to bytes.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex digits")).collect()
}

fn encode(message: &[String]) -> Vec<u8> {
    let parts: Vec<&str> = message.iter().map(String::as_str).collect();
    let numbers = |texts: &[&str]| texts.iter().map(|it| it.parse().expect("a number")).collect::<Vec<u32>>();
    match parts.as_slice() {
        ["parse", name, sql, types @ ..] => message::parse(name, sql, &numbers(types)),
        ["bind", portal, statement, values @ ..] => {
            message::bind(portal, statement, &values.iter().map(|it| Some(*it)).collect::<Vec<_>>(), &[])
        }
        ["describe", kind, name] => message::describe(kind.chars().next().unwrap(), name),
        ["close", kind, name] => message::close(kind.chars().next().unwrap(), name),
        ["execute", portal] => message::execute(portal, 0),
        ["execute", portal, rows] => message::execute(portal, rows.parse().expect("a number")),
        ["sync"] => message::sync(),
        ["flush"] => message::flush(),
        ["query", sql] => message::query(sql),
        ["copy_data", data] => message::copy_data(data.as_bytes()),
        ["copy_done"] => message::copy_done(),
        ["copy_fail", reason] => message::copy_fail(reason),
        ["function_call", oid, arguments @ ..] => message::function_call(oid.parse().expect("an oid"), arguments),
        ["terminate"] => message::terminate(),
        ["raw", hex] => unhex(hex),
        other => panic!("unknown message {other:?}"),
    }
}

/// How plain SQL steps are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Simple,
    Extended,
}

/// Does what a step on one connection says; `None` for those that are about connections.
pub fn perform(session: &mut Session, step: &Step, protocol: Protocol) -> Option<Reply> {
    let within = step.within;
    let reply = match &step.act {
        Act::Sql { text, data: None } if protocol == Protocol::Extended => {
            session.send(&[message::extended(text, &[]), message::sync()].concat());
            session.collect_within(1, within)
        }
        Act::Sql { text, data } => with_data(session, data.as_deref(), |session| {
            session.send(&message::query(text));
            session.collect_within(1, within)
        }),
        Act::Hex(bytes) => {
            session.send(&message::query(bytes));
            session.collect_within(1, within)
        }
        Act::Bound { text, values, types } => {
            let values: Vec<_> = values.iter().map(|it| Some(it.as_str())).collect();
            let messages = [
                message::parse("", text, types),
                message::bind("", "", &values, &[]),
                message::describe('P', ""),
                message::execute("", 0),
                message::sync(),
            ];
            session.send(&messages.concat());
            session.collect_within(1, within)
        }
        Act::Messages { bytes, ready, data } => with_data(session, data.as_deref(), |session| {
            session.send(bytes);
            session.collect_within(*ready, within)
        }),
        Act::Background(sql) => {
            session.send(&message::query(sql));
            Reply::default()
        }
        Act::Wait => session.collect_within(1, within),
        Act::Pending(time) => Reply { timed_out: false, ..session.collect_within(usize::MAX, *time) },
        Act::Flood { .. } | Act::Connect(_) | Act::Cancel { .. } | Act::Vanish | Act::Sleep(_) => return None,
    };
    Some(reply)
}

fn with_data(session: &mut Session, data: Option<&str>, act: impl FnOnce(&mut Session) -> Reply) -> Reply {
    session.copy_in = data.map_or(CopyIn::Fail, |it| CopyIn::Data(it.as_bytes().to_vec()));
    let reply = act(session);
    session.copy_in = CopyIn::Fail;
    reply
}
