//! ReadyForQuery: what is settled at the end of a message, and at the end of a transaction.

use super::Session;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::resetting::resets;
use super::server_bytes::Broken;
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};

impl Session {
    pub(super) fn on_ready(&mut self, body: &[u8]) -> Result<(), Broken> {
        let status = TransactionStatus::read(body)?;
        let expected = self.server.replies.ready(status).ok_or_else(|| Broken::unexpected(b'Z'))?;
        if !matches!(expected.disposition, Disposition::Swallow(InternalQuery::Context(_))) {
            // What is sent before a transaction says nothing of one that is on its way behind it.
            self.server.tx = status;
            self.server.tx_left = false;
        }
        // Around the client's transactions: portals of a batch that the server has not seen yet may be there already.
        let between = matches!(
            expected.disposition,
            Disposition::Swallow(
                InternalQuery::Context(_)
                    | InternalQuery::Outcome(_)
                    | InternalQuery::Locks(_)
                    | InternalQuery::Temporary(_)
                    | InternalQuery::Channels(_)
            )
        );
        match (expected.kind, expected.disposition) {
            (Kind::Query(run), Disposition::Swallow(internal)) => self.internal_query_done(internal, run.failed),
            (Kind::Query(run), disposition) => {
                if let (false, Disposition::Cut(error)) = (run.failed, disposition) {
                    self.tell_of_cut(&run, *error);
                }
                if !run.failed && status == TransactionStatus::Active && run.subject.guarded().is_some_and(resets) {
                    self.put_back();
                }
                self.client_ready(status);
            }
            (Kind::Sync, Disposition::Swallow(InternalQuery::BatchReplay)) => self.go_through_again(),
            (Kind::Sync, Disposition::Swallow(InternalQuery::Split)) => self.context_settled(status),
            (Kind::Sync, _) => {
                self.loaded();
                self.client_ready(status);
            }
            _ => return Err(Broken::unexpected(b'Z')),
        }
        self.copy.stream = super::copy::CopyStream::None;
        self.send_local();
        if self.server.tx == TransactionStatus::Idle {
            if !between && self.server.batch == super::Batch::Closed {
                self.prepared.portals.clear();
            }
            self.transaction_ended();
            self.observed_transaction_ended();
        }
        Ok(())
    }

    /// ReadyForQuery that is the client's.
    fn client_ready(&mut self, status: TransactionStatus) {
        self.context_settled(status);
        if status == TransactionStatus::Idle {
            self.stats.transaction_ended();
        }
        self.warn_of_quota();
        self.tell_unguarded();
        self.batch_is_over();
        self.channels_heard_out();
        if !self.spoils(status) {
            backend::ready_for_query(&mut self.client.out, status);
        }
    }

    fn internal_query_done(&mut self, internal: InternalQuery, failed: bool) {
        match internal {
            InternalQuery::Context(_) if failed => self.context_failed(),
            InternalQuery::Context(changes) => self.context_applied(changes),
            InternalQuery::Outcome(rows) => self.outcome_known(rows, failed),
            InternalQuery::Locks(held) => self.locks_known(held),
            InternalQuery::Temporary(count) => self.temporary_known(count),
            InternalQuery::Channels(marks) => self.channels_known(&marks, failed),
            InternalQuery::Begin => self.begun(failed),
            InternalQuery::Fail if failed => {}
            InternalQuery::Fail => self.context_failed(),
            InternalQuery::Prepared | InternalQuery::Load(_) | InternalQuery::BatchReplay | InternalQuery::Split => {}
            InternalQuery::Spoil => self.client_ready(self.server.tx),
        }
    }

    fn outcome_known(&mut self, rows: Vec<super::replies::SettingRow>, failed: bool) {
        let Some(link) = self.server.link.as_mut() else { return };
        // Without an answer nobody knows what the connection holds: it must not reach another client.
        link.poisoned |= failed;
        self.context.settings.learn(rows, &mut link.known.applied);
    }

    fn transaction_ended(&mut self) {
        self.record_transaction_end();
        if std::mem::take(&mut self.context.catalog_changed) {
            self.context.backend.catalog.changed();
        }
        if self.server.replies.is_empty() && self.server.batch == super::Batch::Closed {
            self.ask_for_outcome();
            self.ask_for_locks();
            self.ask_for_temporary();
            self.ask_for_channels();
        }
    }

    /// Asks what has become of settings that the transaction touched.
    fn ask_for_outcome(&mut self) {
        let Some(link) = self.server.link.as_mut() else { return };
        let Some(question) = self.context.settings.question(&link.known.applied) else { return };
        link.unnamed = None;
        if frontend::query(&mut self.server.out, &question).is_ok() {
            self.server
                .replies
                .push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(InternalQuery::Outcome(Vec::new())));
        } else {
            link.poisoned = true;
        }
    }
}
