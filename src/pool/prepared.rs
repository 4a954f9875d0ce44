//! Which shared statements one server connection has prepared, bounded.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

/// Identifies a prepared statement across all server connections: equal texts (and all that changes how they are planned)
/// have equal ids. The session room gives the numbers; ids are never used twice for different texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(pub u64);

impl StatementId {
    /// The statement's name on a server connection. Clients never choose server-side names.
    pub fn server_name(self) -> ServerName {
        let mut name = ServerName::default();
        let mut left = self.0;
        for byte in name.bytes.iter_mut().rev() {
            name.start -= 1;
            *byte = b"0123456789".get((left % 10) as usize).copied().unwrap_or_default();
            left /= 10;
            if left == 0 {
                break;
            }
        }
        for (byte, letter) in name.bytes.iter_mut().take(name.start).rev().zip(*b"wgp") {
            name.start -= 1;
            *byte = letter;
        }
        name
    }
}

/// Longest name: three letters and the digits of a `u64`.
const NAME: usize = 23;

/// Name of a prepared statement on a server connection; the default is the unnamed one's. Not on the heap: one is made for
/// each Bind.
#[derive(Clone, Copy)]
pub struct ServerName {
    bytes: [u8; NAME],
    /// Where it begins.
    start: usize,
}

impl Default for ServerName {
    fn default() -> Self {
        Self { bytes: [0; NAME], start: NAME }
    }
}

impl std::ops::Deref for ServerName {
    type Target = str;

    fn deref(&self) -> &str {
        // Letters and digits.
        std::str::from_utf8(self.bytes.get(self.start..).unwrap_or_default()).unwrap_or_default()
    }
}

/// Statements prepared on one server connection, least recently used first out.
#[derive(Debug)]
pub struct PreparedSet {
    limit: usize,
    clock: u64,
    /// The server may hold statements that are not noted here.
    doubtful: bool,
    last_use: HashMap<StatementId, u64, RandomState>,
    by_use: BTreeMap<u64, StatementId>,
}

impl PreparedSet {
    /// An empty set that holds at most `limit` statements (at least one).
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), clock: 0, doubtful: false, last_use: HashMap::default(), by_use: BTreeMap::new() }
    }

    /// Whether the statement is prepared here; if so, it becomes the most recently used one.
    pub fn touch(&mut self, id: StatementId) -> bool {
        let Some(used) = self.last_use.get_mut(&id) else {
            return false;
        };
        if *used == self.clock {
            // It is the most recently used one already: the same statement over and over.
            return true;
        }
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, id);
        true
    }

    /// Notes that the statement is (about to be) prepared here. Returns the statement that must be closed to keep within
    /// the bound, if any: send `Close` for its [`StatementId::server_name`] before the next Sync, and swallow the reply.
    #[must_use = "the returned statement must be closed on the server"]
    pub fn insert(&mut self, id: StatementId) -> Option<StatementId> {
        if self.touch(id) {
            return None;
        }
        let evicted =
            if self.last_use.len() >= self.limit { self.by_use.pop_first().map(|(_, oldest)| oldest) } else { None };
        if let Some(oldest) = evicted {
            self.last_use.remove(&oldest);
        }
        self.clock += 1;
        self.last_use.insert(id, self.clock);
        self.by_use.insert(self.clock, id);
        evicted
    }

    /// Forgets a statement: its Parse failed, or it was closed. Returns whether it was known.
    pub fn remove(&mut self, id: StatementId) -> bool {
        match self.last_use.remove(&id) {
            Some(used) => self.by_use.remove(&used).is_some(),
            None => false,
        }
    }

    /// Notes again a statement whose Close the server skipped.
    pub fn restore(&mut self, id: StatementId) {
        if !self.doubtful && !self.touch(id) {
            self.clock += 1;
            self.last_use.insert(id, self.clock);
            self.by_use.insert(self.clock, id);
        }
    }

    /// Forgets all: after DISCARD ALL or DEALLOCATE ALL on the server.
    pub fn clear(&mut self) {
        self.last_use.clear();
        self.by_use.clear();
        self.doubtful = false;
    }

    /// What the server holds is not what was noted here: nothing is known of it any more.
    pub fn doubt(&mut self) {
        self.clear();
        self.doubtful = true;
    }

    /// Whether a name must be closed before a statement is prepared under it: it may be there.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Number of prepared statements.
    pub fn len(&self) -> usize {
        self.last_use.len()
    }

    /// Whether none is prepared.
    pub fn is_empty(&self) -> bool {
        self.last_use.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StatementId = StatementId(1);
    const B: StatementId = StatementId(2);
    const C: StatementId = StatementId(3);

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut set = PreparedSet::new(2);
        assert!(!set.touch(A));
        assert_eq!(set.insert(A), None);
        assert_eq!(set.insert(B), None);
        assert!(set.touch(A));
        assert_eq!(set.insert(C), Some(B));
        assert!(set.touch(A) && set.touch(C) && !set.touch(B));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn inserting_again_evicts_nothing() {
        let mut set = PreparedSet::new(1);
        assert_eq!(set.insert(A), None);
        assert_eq!(set.insert(A), None);
        assert_eq!(set.insert(B), Some(A));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_statement_that_was_not_closed_is_there() {
        let mut set = PreparedSet::new(1);
        assert_eq!(set.insert(A), None);
        assert_eq!(set.insert(B), Some(A));
        set.remove(B);
        set.restore(A);
        assert!(set.touch(A));
        set.doubt();
        set.restore(A);
        assert!(set.is_doubtful() && set.is_empty(), "it may have been dropped");
        set.clear();
        assert!(!set.is_doubtful());
    }

    #[test]
    fn a_failed_parse_is_forgotten() {
        let mut set = PreparedSet::new(2);
        assert_eq!(set.insert(A), None);
        assert!(set.remove(A));
        assert!(!set.remove(A));
        assert_eq!(set.insert(B), None);
        assert_eq!(set.insert(C), None);
        set.clear();
        assert!(set.is_empty() && !set.touch(B));
    }
}
