//! ReadyForQuery: what is settled at the end of a message, and at the end of a transaction.

use super::Machine;
use super::backend::Broken;
use super::replies::{Errand, Fate, Kind, Run, Subject};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};

impl Machine {
    pub(super) fn on_ready(&mut self, body: &[u8]) -> Result<(), Broken> {
        let status = TransactionStatus::read(body)?;
        let expected = self.server.replies.ready(status).ok_or_else(|| Broken::unexpected(b'Z'))?;
        if !matches!(expected.fate, Fate::Swallow(Errand::Context(_))) {
            // What is sent before a transaction says nothing of one that is on its way behind it.
            self.server.tx = status;
        }
        // Around the client's transactions: portals of a batch that the server has not seen yet may be there already.
        let between = matches!(expected.fate, Fate::Swallow(Errand::Context(_) | Errand::Outcome(_)));
        match (expected.kind, expected.fate) {
            (Kind::Query(run), Fate::Swallow(errand)) => self.errand_done(errand, run.failed),
            (Kind::Query(run), fate) => {
                if !run.failed {
                    self.ran(&run);
                    if let Fate::Cut(error) = fate {
                        self.tell_of_cut(&run, *error);
                    }
                }
                self.client_ready(status);
            }
            (Kind::Sync, Fate::Swallow(Errand::Again)) => self.go_through_again(),
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
        }
        Ok(())
    }

    /// ReadyForQuery that is the client's.
    fn client_ready(&mut self, status: TransactionStatus) {
        self.context_settled(status);
        if status == TransactionStatus::Idle {
            self.tally.transaction_ended();
        }
        self.warn_of_quota();
        self.batch_is_over();
        if !self.spoils(status) {
            backend::ready_for_query(&mut self.client.out, status);
        }
    }

    fn errand_done(&mut self, errand: Errand, failed: bool) {
        match errand {
            Errand::Context(_) if failed => self.context_failed(),
            Errand::Context(changes) => self.context_applied(changes),
            Errand::Outcome(rows) => self.outcome_known(rows, failed),
            Errand::Begin => self.begun(failed),
            Errand::Fail if failed => {}
            Errand::Fail => self.context_failed(),
            Errand::Prepared | Errand::Load(_) | Errand::Again => {}
            Errand::Spoil => self.client_ready(self.server.tx),
        }
    }

    fn outcome_known(&mut self, rows: Vec<super::replies::SettingRow>, failed: bool) {
        let Some(link) = self.server.link.as_mut() else { return };
        // Without an answer nobody knows what the connection holds: it must not reach another client.
        link.poisoned |= failed;
        self.context.settings.learn(rows, &mut link.applied);
    }

    fn transaction_ended(&mut self) {
        self.note_transaction_end();
        if std::mem::take(&mut self.context.catalog_changed) {
            self.context.place.catalog.changed();
        }
        if self.server.replies.is_empty() && self.server.batch == super::Batch::Closed {
            self.ask_for_outcome();
        }
    }

    /// Asks what has become of settings that the transaction touched.
    fn ask_for_outcome(&mut self) {
        let Some(link) = self.server.link.as_mut() else { return };
        let Some(question) = self.context.settings.question(&link.applied) else { return };
        link.unnamed = None;
        if frontend::query(&mut self.server.out, &question).is_ok() {
            self.server.replies.push(Kind::Query(Run::new(Subject::None)), Fate::Swallow(Errand::Outcome(Vec::new())));
        } else {
            link.poisoned = true;
        }
    }
}
