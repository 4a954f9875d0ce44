//! What a session uses: the one place that knows when a statement ends and what it moved.
//!
//! Plain integers, a few additions a message; no row is decoded. They go to the account of the tenant that is acted for at
//! the end of each transaction, and in between where one takes long. The clock is read when a server begins to owe a reply
//! and when it owes none any more: twice for a transaction of one round trip.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Session;
use super::replies::{Disposition, Kind};
use super::tenant_context::CurrentTenant;
use crate::base::PgError;
use crate::usage::{Account, Counts};

/// Bytes after which a transaction that goes on is added to the account.
const FLUSH_BYTES: u64 = 1 << 20;
/// Time after which it is, at the end of a round trip.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Which way a COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    In,
    Out,
}

/// What the statement that runs has sent to the client so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Rows; COPY TO has none before its end.
    pub rows: u64,
    /// Bytes of rows and COPY data, message heads included.
    pub bytes: u64,
}

/// Counts of one session.
#[derive(Debug)]
pub(super) struct SessionStats {
    account: Arc<Account>,
    counts: Counts,
    sent: Sent,
    copy: Copy,
    /// Since when a server owes a reply.
    since: Option<Instant>,
    flushed: Option<Instant>,
    /// Warnings of the account that the client has seen.
    warned: u32,
}

impl SessionStats {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            counts: Counts::default(),
            sent: Sent::default(),
            copy: Copy::In,
            since: None,
            flushed: None,
            warned: 0,
        }
    }

    /// Bytes of the client that were dealt with, and bytes that were written for it.
    pub(super) fn moved(&mut self, bytes_in: usize, bytes_out: usize) {
        self.counts.bytes_in += bytes_in as u64;
        self.counts.bytes_out += bytes_out as u64;
    }

    /// Rows, or parts of them, went to the client.
    pub(super) fn rows(&mut self, rows: u64, bytes: usize) {
        self.counts.rows_read += rows;
        self.sent.rows += rows;
        self.sent.bytes += bytes as u64;
    }

    /// A COPY begins: out if the server answered with CopyOutResponse.
    pub(super) fn copies(&mut self, tag: u8) {
        self.copy = if tag == b'H' { Copy::Out } else { Copy::In };
    }

    /// A statement ended, with this body of CommandComplete if it ended well. `counts`: it was not counted before.
    fn statement_ended(&mut self, complete: Option<&[u8]>, counts: bool) {
        self.counts.statements += u64::from(counts);
        if let Some((verb, rows)) = complete.and_then(rows_of) {
            match verb {
                b"INSERT" | b"UPDATE" | b"DELETE" | b"MERGE" => self.counts.rows_written += rows,
                b"COPY" if self.copy == Copy::Out => self.counts.rows_read += rows,
                b"COPY" => self.counts.rows_written += rows,
                // Its rows went nowhere but into a table: CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW.
                b"SELECT" if self.sent.rows == 0 => self.counts.rows_written += rows,
                _ => {}
            }
        }
        self.sent = Sent::default();
        self.copy = Copy::In;
    }

    /// A COPY FROM whose rows went in as INSERTs has ended well.
    pub(super) fn loaded(&mut self, rows: u64) {
        self.counts.statements += 1;
        self.counts.rows_written += rows;
    }

    /// A message of the client has been answered, and no transaction is open any more.
    pub(super) fn transaction_ended(&mut self) {
        self.counts.transactions += 1;
    }

    /// A server owes a reply.
    pub(super) fn busy(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// No server owes a reply; `ends`: no transaction is open any more either.
    pub(super) fn rest(&mut self, ends: bool) {
        let Some(since) = self.since.take() else { return };
        let now = Instant::now();
        self.counts.busy_micros += micros(now.duration_since(since));
        let due = self.flushed.is_none_or(|flushed| now.duration_since(flushed) >= FLUSH_TIME);
        if ends || due {
            self.flushed = Some(now);
            self.flush();
        }
    }

    /// Adds what was counted so far if a lot was moved since.
    pub(super) fn flush_if_large(&mut self) {
        if self.counts.bytes_in + self.counts.bytes_out < FLUSH_BYTES {
            return;
        }
        let now = Instant::now();
        if let Some(since) = self.since.as_mut() {
            self.counts.busy_micros += micros(now.duration_since(*since));
            *since = now;
        }
        self.flushed = Some(now);
        self.flush();
    }

    fn flush(&mut self) {
        self.account.add(&std::mem::take(&mut self.counts));
    }

    /// The session acts for somebody else from now on.
    pub(super) fn count_for(&mut self, account: &Arc<Account>) {
        if !Arc::ptr_eq(&self.account, account) {
            self.flush();
            self.account = Arc::clone(account);
            self.warned = 0;
        }
    }

    /// Whose use is counted now.
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What the client is to be warned of and has not been yet.
    pub(super) fn warning(&mut self) -> Option<PgError> {
        self.account.warning(&mut self.warned)
    }
}

impl Drop for SessionStats {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.counts.busy_micros += micros(since.elapsed());
        }
        self.flush();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// First word and last number of a command tag, `INSERT 0 5` for instance.
fn rows_of(body: &[u8]) -> Option<(&[u8], u64)> {
    let tag = body.strip_suffix(b"\0")?;
    let verb = tag.split(|byte| *byte == b' ').next()?;
    let digits = tag.rsplit(|byte| *byte == b' ').next()?;
    // u64::MAX has 20 digits.
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let rows = digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })?;
    Some((verb, rows))
}

impl Session {
    /// What the statement that runs has sent to the client so far.
    #[cfg(test)]
    pub fn sent_by_statement(&self) -> Sent {
        self.stats.sent
    }

    /// What is sent from now on is used by this actor: nothing of another's is outstanding.
    pub(super) fn count_for(&mut self, actor: &CurrentTenant) {
        let account = actor.as_ref().map_or(&self.env.account, |acting| &acting.account);
        self.stats.count_for(account);
        self.forget_sequences();
    }

    /// A message that ends a statement of the client, or an Execute, has come: CommandComplete, EmptyQueryResponse or
    /// PortalSuspended.
    pub(super) fn record_statement_end(&mut self, tag: u8, body: &[u8]) {
        let Some(expected) = self.server.replies.head() else { return };
        let (Kind::Query(run) | Kind::Execute(run), Disposition::Forward | Disposition::Cut(_)) =
            (&expected.kind, &expected.disposition)
        else {
            return;
        };
        let counts = !run.resumes;
        match tag {
            b'C' => self.stats.statement_ended(Some(body), counts),
            // Carried out by pgwarden, in its place in the order of things.
            b'I' => self.stats.statement_ended(None, run.tag.is_some()),
            b's' => self.stats.statement_ended(None, counts),
            _ => {}
        }
    }

    /// An error has come: the statement that runs has failed.
    pub(super) fn record_statement_failure(&mut self) {
        let Some(expected) = self.server.replies.head() else { return };
        if let (Kind::Query(run) | Kind::Execute(run), Disposition::Forward | Disposition::Cut(_)) =
            (&expected.kind, &expected.disposition)
        {
            let counts = !run.resumes;
            self.stats.statement_ended(None, counts);
        }
    }

    /// Server bytes were dealt with, and so much written for the client.
    pub(super) fn record_server_bytes(&mut self, bytes_out: usize) {
        self.stats.moved(0, bytes_out);
        if self.server.replies.is_empty() {
            self.stats.rest(self.between_transactions());
        } else {
            self.stats.flush_if_large();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert_eq!(rows_of(b"INSERT 0 5\0"), Some((&b"INSERT"[..], 5)));
        assert_eq!(rows_of(b"SELECT 18446744073709551615\0"), Some((&b"SELECT"[..], u64::MAX)));
        for none in
            [&b"BEGIN\0"[..], b"CREATE TABLE\0", b"\0", b"", b"SELECT 18446744073709551616\0", b"COPY 5", b"COPY -1\0"]
        {
            assert_eq!(rows_of(none), None, "{none:?}");
        }
    }
}
