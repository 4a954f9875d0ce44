//! Rows of COPY that an observed session writes or reads: whose are they? The stream is read as the guard would read it, beside the
//! one that passes.

use std::sync::Arc;

use super::Session;
use super::copy::rewriter;
use super::observed_rows::foreign_rows;
use super::offload::LONG_TEXT;
use crate::base::{QualifiedName, Refusal};
use crate::guard::copy_stream::CopyRewriter;
use crate::guard::{Policy, Protocol};
use crate::sql::{Named, copy_back};
use crate::wire::frame::{Head, UpstreamLimits, peek_head};

/// A stream that is being looked at.
pub(super) struct ObservedCopy {
    reader: CopyRewriter,
    /// What the guard would send.
    sent: Vec<u8>,
    /// Of a stream of the server's: its table.
    table: Option<String>,
}

impl ObservedCopy {
    /// Whether all rows so far are the tenant's own; else, why not.
    fn read(&mut self, data: &[u8]) -> Result<(), Refusal> {
        self.sent.clear();
        self.reader.push(data, &mut self.sent)
    }
}

impl Session {
    /// A COPY stream begins: the client's, or the server's of a table.
    pub(super) fn observe_copy(&mut self, is_clients: bool) {
        let Some(observation) = self.observation.as_deref_mut() else { return };
        observation.copy = None;
        let Some(tenant) = observation.tenant().cloned() else { return };
        let backend = Arc::clone(&self.context.backend);
        let Some((guarded, statement)) = self.head_guarded() else { return };
        let text = guarded.text().into_owned();
        if text.len() >= LONG_TEXT {
            return;
        }
        let policy = backend.guard.policy();
        let (text, statement, table) = if is_clients {
            (text, statement, None)
        } else {
            let back = copy_back(&text, &policy.limits, policy.catalog.server_version_num);
            let Some((table, back)) = back else { return };
            (
                back,
                0,
                Some(
                    policy
                        .tables
                        .keys()
                        .find(|it| is_named(it, &table, &policy))
                        .map_or(table.name, ToString::to_string),
                ),
            )
        };
        // A statement that would be refused was told of.
        let Ok(script) = backend.guard.plan(&tenant.mode, Protocol::Simple, &text) else { return };
        let reader = script.bind(&tenant.keys).and_then(|guarded| rewriter(&guarded, statement));
        if let (Ok(Some(reader)), Some(observation)) = (reader, self.observation.as_deref_mut()) {
            observation.copy = Some(ObservedCopy { reader, sent: Vec::new(), table });
        }
    }

    /// A part of the client's stream.
    pub(super) fn observe_copy_in(&mut self, data: &[u8]) {
        let Some(copy) = self.observation.as_deref_mut().and_then(|it| it.copy.as_mut()) else { return };
        if let Err(refusal) = copy.read(data) {
            self.observed_copy_ended();
            self.env.observer.would_refuse(&refusal, "COPY FROM STDIN");
        }
    }

    /// Whole messages of the server's. Each CopyData holds a row.
    pub(super) fn observe_copy_out(&mut self, mut frames: &[u8]) {
        let Some(copy) = self.observation.as_deref_mut().and_then(|it| it.copy.as_mut()) else { return };
        while let Ok(Some(head)) = peek_head(frames, &UpstreamLimits)
            && let Some((frame, rest)) = frames.split_at_checked(head.frame_len())
        {
            frames = rest;
            let row = frame.get(Head::LEN..).filter(|_| head.tag == b'd').unwrap_or_default();
            if let Some(table) = copy.read(row).err().and_then(|_| copy.table.take()) {
                self.observed_copy_ended();
                return self.env.observer.would_refuse(&foreign_rows(&table, true), "COPY TO STDOUT");
            }
        }
    }

    /// Nothing of the stream is looked at any more.
    pub(super) fn observed_copy_ended(&mut self) {
        if let Some(observation) = self.observation.as_deref_mut() {
            observation.copy = None;
        }
    }
}

pub(super) fn is_named(table: &QualifiedName, named: &Named, policy: &Policy) -> bool {
    let in_schema =
        named.schema.as_ref().map_or_else(|| policy.search_path.contains(&table.schema), |it| *it == table.schema);
    table.name == named.name && in_schema
}
