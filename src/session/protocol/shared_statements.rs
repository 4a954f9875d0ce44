//! Statements that clients share on servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::circumstances::Circumstances;
use crate::base::Oid;
use crate::pool::StatementId;

/// Bytes of text in the table of shared statements, over all clients of a process.
const SHARED_BYTES: u64 = 64 << 20;

/// Ids for texts, so that clients that prepare the same text share one statement on a server. Identity is the full text
/// with all that changes how it is planned, never a hash. Bounded: a text that fell out gets a new id when it comes again.
pub struct SharedStatements {
    ids: Cache<SharedKey, StatementId, ByText>,
    next: AtomicU64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct SharedKey {
    /// Layout and schema: the same text means other tables under another search path.
    context: Arc<str>,
    /// Settings that decide what it means.
    settings: Arc<str>,
    /// The catalog: a plan of an older one may be of no use.
    epoch: u64,
    types: Box<[Oid]>,
    text: Box<str>,
}

#[derive(Clone)]
struct ByText;

impl Weighter<SharedKey, StatementId> for ByText {
    fn weight(&self, key: &SharedKey, _: &StatementId) -> u64 {
        (key.text.len() + key.settings.len() + 4 * key.types.len() + 160) as u64
    }
}

impl Default for SharedStatements {
    fn default() -> Self {
        // The estimate only sizes the first allocation; the weight bounds it.
        Self { ids: Cache::with_weighter(1_000, SHARED_BYTES, ByText), next: AtomicU64::new(1) }
    }
}

impl SharedStatements {
    /// The id of a statement: the same for the same context, circumstances, text and parameter types. Where nobody knows
    /// the circumstances it is the same as no other.
    pub fn id(&self, context: &Arc<str>, circumstances: &Circumstances, text: &str, types: &[Oid]) -> StatementId {
        let Some(settings) = circumstances.settings.clone() else { return self.next_id() };
        let epoch = circumstances.epoch;
        let key = SharedKey { context: context.clone(), settings, epoch, types: types.into(), text: text.into() };
        match self.ids.get_or_insert_with(&key, || Ok::<_, std::convert::Infallible>(self.next_id())) {
            Ok(id) => id,
            Err(never) => match never {},
        }
    }

    /// An id that is the same as no other: of a statement that means something in its session alone.
    pub fn next_id(&self) -> StatementId {
        StatementId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
