//! One client twice: through pgwarden, and on a database that holds its rows alone. Both are sent the same bytes.

use std::time::{Duration, Instant};

use super::step::Step;
use super::{Kind, Outcome, trouble};
use crate::support::message;
use crate::support::proxy::Proxy;
use crate::support::reply::Reply;
use crate::support::session::{CopyIn, End, Endpoint, PATIENCE, Session, cancel};

/// How the two compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// They must answer the same.
    Alike,
    /// They have differed as they may: from then on nothing is said of it.
    Excused(String),
    /// The client's connection has ended.
    Over,
}

pub struct Pair {
    through: Session,
    alone: Session,
    state: State,
    /// What is not sent yet, and whether a COPY is in it.
    unsent: Vec<u8>,
    copies: bool,
    /// The client may keep the server connection.
    pinned: bool,
    /// Transaction state in its last ReadyForQuery.
    status: char,
    reread: Reread,
}

/// Whether a statement that was prepared under some settings may run under others: Postgres keeps the meaning that its
/// constants had (until it reads the text again for reasons of its own), pgwarden prepares it anew.
#[derive(Default)]
struct Reread {
    /// Something was set that constants are read by, and for the transaction alone.
    set: bool,
    local: bool,
    /// A statement with a name is there.
    prepared: bool,
    may_be: bool,
}

impl Reread {
    fn add(&mut self, step: Step) {
        self.set |= step.sets_meaning();
        self.local |= step.sets_meaning() && step.is_local();
        let changes = step.sets_meaning() || step.ends_transaction() || (self.local && step == Step::Sync);
        self.may_be |= self.set && self.prepared && changes;
        self.prepared |= matches!(step, Step::Parse(name, _) if !name.is_empty());
    }
}

/// The answer to [`barrier`]: nothing else gives so many CloseComplete.
const AT_REST: &str = "33333333Z";

/// Behind these, all that was sent before is answered or skipped. A COPY that is still fed fails, and so does nothing else; the
/// first Sync ends the skipping after an error. Closing what does not exist succeeds even in a failed transaction.
fn barrier(copies: bool) -> Vec<u8> {
    let ends_copy = if copies { message::copy_fail("at rest") } else { Vec::new() };
    let closes = message::close('S', "at_rest").repeat(AT_REST.len() - 1);
    [ends_copy, message::sync(), closes, message::sync()].concat()
}

/// SQLSTATEs of what pgwarden does not do.
const REFUSALS: [&str; 4] = ["0A000", "42501", "53400", "54000"];

impl Pair {
    pub fn connect(through: &Endpoint, alone: &Endpoint) -> Self {
        let [mut through, mut alone] = [through, alone].map(Endpoint::connect);
        for session in [&mut through, &mut alone] {
            session.copy_in = CopyIn::Nothing;
        }
        let state = State::Alike;
        Self {
            through,
            alone,
            state,
            unsent: Vec::new(),
            copies: false,
            pinned: false,
            status: 'I',
            reread: Reread::default(),
        }
    }

    /// Adds a message to what is sent next.
    pub fn add(&mut self, step: Step, bytes: &[u8]) {
        self.unsent.extend(bytes);
        self.copies |= step.copies();
        self.pinned |= step.pins();
        self.reread.add(step);
    }

    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Between transactions, and nothing that the client did keeps the server connection: others are to be served.
    pub fn rests(&self) -> bool {
        self.status == 'I' && !self.pinned
    }

    /// What ended the comparison, if something did.
    pub fn excuse(&self) -> Option<&str> {
        match &self.state {
            State::Excused(why) => Some(why),
            State::Alike | State::Over => None,
        }
    }

    /// Sends what is unsent and reads all answers: they must be those of Postgres.
    pub fn settle(&mut self, patience: Duration) -> Outcome {
        let mut bytes = std::mem::take(&mut self.unsent);
        let copies = std::mem::take(&mut self.copies);
        bytes.extend(barrier(copies));
        self.through.send(&bytes);
        self.alone.send(&bytes);
        let wanted = collect(&mut self.alone, PATIENCE);
        let got = collect(&mut self.through, patience);
        self.status = got.states.chars().last().unwrap_or(self.status);
        let by_postgres = seen(&wanted);
        let shown = || format!("through pgwarden:\n  {}\nPostgres:\n  {by_postgres}", seen(&got));
        if got.timed_out {
            return trouble(Kind::Hangs, format!("the client has no answer\n{}", shown()));
        }
        let wanted = as_we_say(&got, &wanted);
        if self.state == State::Alike && seen(&got) != seen(&wanted) {
            let reread = self.reread.may_be.then(|| "prepared under other settings".to_owned());
            let only_rows = kinds(&got) == kinds(&wanted) && states(&got) == states(&wanted);
            match excuse(&got, &wanted).or(reread.filter(|_| only_rows)) {
                Some(why) => self.state = State::Excused(why),
                None => return trouble(Kind::Differs, shown()),
            }
        }
        // Its last message was a Sync.
        self.reread.add(Step::Sync);
        if got.closed {
            self.state = State::Over;
        }
        Ok(())
    }

    /// Sends a part of what is unsent (in percent), to both.
    pub fn send_part(&mut self, percent: usize) {
        let bytes = std::mem::take(&mut self.unsent);
        let part = &bytes[..bytes.len() * percent / 100];
        self.through.send(part);
        self.alone.send(part);
    }

    /// A cancel request of the client's.
    pub fn cancel(&self, proxy: &Proxy) {
        if let Some((pid, key)) = &self.through.cancel_key {
            cancel(proxy.port, *pid, key);
        }
    }
}

fn collect(session: &mut Session, patience: Duration) -> Reply {
    let mut reply = Reply::default();
    let deadline = Instant::now() + patience;
    while !reply.kinds.ends_with(AT_REST) {
        match session.message(deadline) {
            Ok((tag, body)) => reply.add(tag, &body),
            Err(End::Closed) => {
                reply.closed = true;
                break;
            }
            Err(End::TimedOut) => {
                reply.timed_out = true;
                break;
            }
        }
    }
    reply
}

/// What a client sees of its answers, without what differs by design: words, notices, and when it is told of settings.
fn seen(reply: &Reply) -> String {
    let columns: Vec<Vec<_>> = reply
        .columns
        .iter()
        .map(|it| it.iter().map(|column| format!("{} {}", column.name, column.type_oid)).collect())
        .collect();
    let mut parts =
        vec![kinds(reply), format!("{:?}", states(reply)), format!("{:?}", reply.tags), reply.states.clone()];
    parts.push(format!("{:?} {columns:?} {:?}", reply.texts(), reply.parameter_types));
    if !reply.copy_out.is_empty() {
        parts.push(String::from_utf8_lossy(&reply.copy_out).into_owned());
    }
    parts.extend(
        [(reply.closed, "closed"), (reply.timed_out, "and no more")]
            .map(|(is, word)| if is { word.to_owned() } else { String::new() }),
    );
    parts.join(" ")
}

fn kinds(reply: &Reply) -> String {
    reply.kinds.chars().filter(|kind| !matches!(kind, 'N' | 'S' | 'A')).collect()
}

fn states(reply: &Reply) -> Vec<&str> {
    reply.errors.iter().map(|it| it.get(&'C').map_or("", String::as_str)).collect()
}

/// Postgres's answer with the SQLSTATEs that pgwarden gives for the same: it looks at a statement's name before its text, and
/// at the pieces of a COPY's rows as they come.
fn as_we_say(got: &Reply, wanted: &Reply) -> Reply {
    let mut wanted = wanted.clone();
    for (ours, theirs) in got.errors.iter().zip(&mut wanted.errors) {
        if let Some(state) = ours.get(&'C').filter(|it| matches!(it.as_str(), "42P05" | "22P04")) {
            theirs.insert('C', state.clone());
        }
    }
    wanted
}

/// Why pgwarden may answer otherwise than Postgres, and the two may differ from then on.
fn excuse(got: &Reply, wanted: &Reply) -> Option<String> {
    if got.closed && wanted.closed {
        // What either has not sent yet is lost at Terminate.
        return Some("the end of the session".to_owned());
    }
    let (ours, theirs) = (states(got), states(wanted));
    let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at));
    let [ours_there, theirs_there] = [&ours, &theirs].map(|it| at.and_then(|at| it.get(at)).copied());
    match (ours_there, theirs_there) {
        (Some(state), _) if REFUSALS.contains(&state) => {
            let message = at.and_then(|at| got.errors[at].get(&'M'));
            Some(format!("{state} {}", message.map_or("", String::as_str)))
        }
        // Postgres may have found an error in the rows before, and then takes other messages again.
        (Some("08P01"), _) if got.closed => Some("a message of another kind during COPY".to_owned()),
        // A row that has too many columns is one before its line ends, and the client may give up in the middle of it.
        (Some("22P04"), Some("57014")) => Some("a row that was given up".to_owned()),
        // Whether a Sync in the middle of rows belongs to them is a matter of when their error is found.
        (None, None) if kinds(got).replace('Z', "") == kinds(wanted).replace('Z', "") && kinds(got).contains('G') => {
            Some("a Sync during COPY".to_owned())
        }
        _ => None,
    }
}
