//! What of a client's context was applied to a server connection.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands for the settings that were compared under it: two holders of the same mark have the same settings. Whoever changes what it
/// holds lets go of the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SameSettings(u64);

impl SameSettings {
    /// For two that have just been found to be the same. The older mark is kept, so that those of many clients and connections with
    /// the same settings become one.
    pub fn agreed(one: Option<Self>, other: Option<Self>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let known = one.into_iter().chain(other).min();
        known.unwrap_or_else(|| Self(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Lower-case setting name to value, beyond the startup settings of the connection.
#[derive(Debug, Default)]
pub struct AppliedSettings {
    values: BTreeMap<String, String>,
    same: Option<SameSettings>,
}

impl AppliedSettings {
    /// The connection has this value now, or the default.
    pub fn set(&mut self, name: String, value: Option<String>) {
        self.same = None;
        match value {
            Some(value) => self.values.insert(name, value),
            None => self.values.remove(&name),
        };
    }

    /// All are the defaults now.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The mark of those that have the same, if they were compared since the last change.
    pub fn same(&self) -> Option<SameSettings> {
        self.same
    }

    /// They were compared with others, which are the same.
    pub fn are_same(&mut self, mark: SameSettings) {
        self.same = Some(mark);
    }
}

impl Deref for AppliedSettings {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl From<BTreeMap<String, String>> for AppliedSettings {
    fn from(values: BTreeMap<String, String>) -> Self {
        Self { values, same: None }
    }
}
