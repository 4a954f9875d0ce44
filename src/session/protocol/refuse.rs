//! Refusals that keep Postgres's semantics.
//!
//! With no transaction open and nothing outstanding, pgwarden answers by itself. Otherwise a statement that must fail
//! goes upstream in the refused one's place and its error is replaced: the transaction fails, the pipeline is skipped to
//! Sync and the order of replies is kept by Postgres itself.

use super::replies::{Disposition, Kind, Run, Subject};
use super::{Intake, Session, Wait};
use crate::base::PgError;
use crate::wire::encode::{backend, frontend};
use crate::wire::error::WireError;

/// No grammar accepts it: Postgres answers 42601 before it looks at anything else. As a name, it leaves the client's unnamed
/// statement where it is.
pub(super) const MUST_FAIL: &str = "refused by pgwarden";

impl Session {
    /// Refuses the message at hand, as Postgres would.
    pub(super) fn refuse(&mut self, tag: u8, error: PgError) -> Result<(), Wait> {
        let ends_in_ready = matches!(tag, b'Q' | b'F');
        let written = if self.fail_unsent() || self.server.is_quiet() {
            let status = self.server.tx;
            self.answer(|out| {
                backend::error_response(out, &error);
                if ends_in_ready {
                    backend::ready_for_query(out, status);
                }
            });
            if !ends_in_ready {
                self.client.intake = Intake::Skipping;
            }
            Ok(())
        } else if ends_in_ready {
            self.fail_query(error)
        } else {
            self.fail_batch(error)
        };
        written.map_err(|_| Wait::Closed)
    }

    /// A Query that must fail, and is reported as this.
    fn fail_query(&mut self, error: PgError) -> Result<(), WireError> {
        frontend::query(&mut self.server.out, MUST_FAIL)?;
        self.server.sent_query();
        self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Refused(Box::new(error)));
        Ok(())
    }

    /// The same in the extended protocol.
    fn fail_batch(&mut self, error: PgError) -> Result<(), WireError> {
        frontend::parse(&mut self.server.out, MUST_FAIL, MUST_FAIL, &[])?;
        self.server.sent_extended();
        let kind = Kind::Parse { subject: Subject::None, undo: None, server: None };
        self.server.replies.push(kind, Disposition::Refused(Box::new(error)));
        Ok(())
    }
}
