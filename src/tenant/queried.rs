//! Logins that the auth query gave and that sessions have: what a session may do is asked of them again and again, long
//! after what was looked up is out of date or forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::base::LoginName;
use crate::config::Login;

/// A login of which no session is seen is kept for so long: its session may just begin.
const GRACE: Duration = Duration::from_secs(60);

/// Such logins by name.
#[derive(Debug, Default)]
pub struct QueriedLogins(RwLock<HashMap<LoginName, Admitted>>);

#[derive(Debug)]
struct Admitted {
    login: Arc<Login>,
    at: Instant,
}

impl QueriedLogins {
    /// A login that was proved, as it is kept; and whether it had other rights before.
    pub fn admit(&self, login: &Arc<Login>) -> (Arc<Login>, bool) {
        let mut logins = self.0.write();
        let at = Instant::now();
        match logins.get_mut(login.name.as_str()) {
            Some(known) if same_rights(&known.login, login) => {
                known.at = at;
                (Arc::clone(&known.login), false)
            }
            other => {
                let changed = other.is_some();
                logins.insert(login.name.clone(), Admitted { login: Arc::clone(login), at });
                (Arc::clone(login), changed)
            }
        }
    }

    /// The login of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Login>> {
        self.0.read().get(name).map(|known| Arc::clone(&known.login))
    }

    /// There is no such login any more. Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.0.write().remove(name).is_some()
    }

    /// The names that are to be looked up anew: those that sessions have. Others are forgotten.
    pub fn in_use(&self, by_sessions: &HashSet<LoginName>) -> Vec<LoginName> {
        let mut logins = self.0.write();
        logins.retain(|name, known| by_sessions.contains(name) || known.at.elapsed() < GRACE);
        logins.keys().filter(|name| by_sessions.contains(*name)).cloned().collect()
    }
}

fn same_rights(one: &Login, other: &Login) -> bool {
    one.tenants == other.tenants
        && one.role == other.role
        && one.allow_from == other.allow_from
        && one.limits == other.limits
}
