//! Logins that the auth query gave and that sessions have: what a session may do is asked of them again and again, long
//! after what was looked up is out of date or forgotten.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::base::LoginName;
use crate::config::Login;

/// A login of which no session is seen is kept for so long: its session may just begin.
const GRACE: Duration = Duration::from_secs(60);

/// Such logins by name.
#[derive(Debug, Default)]
pub struct QueriedLogins(DashMap<LoginName, Admitted, foldhash::fast::RandomState>);

#[derive(Debug)]
struct Admitted {
    login: Arc<Login>,
    at: Instant,
}

impl QueriedLogins {
    /// A login that was proved, as it is kept; and whether it had other rights before.
    pub fn admit(&self, login: &Arc<Login>) -> (Arc<Login>, bool) {
        let at = Instant::now();
        match self.0.entry(login.name.clone()) {
            Entry::Occupied(mut known) if same_rights(&known.get().login, login) => {
                known.get_mut().at = at;
                (Arc::clone(&known.get().login), false)
            }
            other => {
                let changed = matches!(other, Entry::Occupied(_));
                other.insert(Admitted { login: Arc::clone(login), at });
                (Arc::clone(login), changed)
            }
        }
    }

    /// The login of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Login>> {
        self.0.get(name).map(|known| Arc::clone(&known.login))
    }

    /// There is no such login any more. Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// The names that are to be looked up anew: those that sessions have. Others are forgotten.
    pub fn in_use(&self, by_sessions: &HashSet<LoginName>) -> Vec<LoginName> {
        let mut in_use = Vec::new();
        self.0.retain(|name, known| {
            let used = by_sessions.contains(name);
            if used {
                in_use.push(name.clone());
            }
            used || known.at.elapsed() < GRACE
        });
        in_use
    }
}

fn same_rights(one: &Login, other: &Login) -> bool {
    one.tenants == other.tenants
        && one.role == other.role
        && one.allow_from == other.allow_from
        && one.limits == other.limits
}
