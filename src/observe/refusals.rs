//! How often pgwarden refused something, by SQLSTATE, since the process started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::base::SqlState;

/// Refusals are not on the hot path. The number of codes is that of the codes in the source.
static COUNTS: Mutex<BTreeMap<[u8; 5], u64>> = Mutex::new(BTreeMap::new());

static LOGINS: AtomicU64 = AtomicU64::new(0);

/// Counts a statement that was refused.
pub fn count(code: SqlState) {
    *COUNTS.lock().entry(code.0).or_default() += 1;
}

/// Counts a login that was turned away.
pub fn count_login() {
    LOGINS.fetch_add(1, Ordering::Relaxed);
}

/// Logins that were turned away.
pub fn logins() -> u64 {
    LOGINS.load(Ordering::Relaxed)
}

/// All codes that were ever counted.
pub fn counts() -> Vec<(String, u64)> {
    COUNTS.lock().iter().map(|(code, count)| (SqlState(*code).to_string(), *count)).collect()
}
