//! Settings of one client on whatever server connection it has.
//!
//! The client's own (SET, startup parameters) are followed by asking the server for the outcome once the transaction
//! that touched them has ended: rollback, savepoints, SET LOCAL and `set_config` come out right without a model of
//! them. Before a transaction, the difference between what the client has and what the connection has is applied.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::replies::SettingRow;
use crate::guard::RESET_MARK;
use crate::pool::{AppliedSettings, SameSettings};
use crate::sql::{quote_literal, quote_setting};

/// Settings as the client has them; names in lower case.
#[derive(Debug, Default)]
pub struct Settings {
    /// Set by pgwarden and by nobody else: search path, role, the tenant setting.
    sealed: BTreeMap<String, String>,
    /// What the client asked for when it connected: RESET goes back to these.
    startup: Arc<BTreeMap<String, String>>,
    /// What the client has now, where it differs from the server's defaults. Most clients never change it: one map for both.
    current: Arc<BTreeMap<String, String>>,
    /// Never the client's, also while pgwarden does not set it.
    reserved: Option<String>,
    /// Of the client's: what it may not have where the session is now.
    withheld: BTreeSet<String>,
    touched: BTreeSet<String>,
    touched_all: bool,
    /// Touched before a RESET ALL of the same transaction, and not since.
    touched_before_reset: BTreeSet<String>,
    reset: Reset,
    /// Those that decide what a statement means, as they were applied before the transaction; none where one of them was
    /// touched since.
    in_force: Option<Arc<str>>,
    /// The same as text, while nothing changes.
    counting: Option<Arc<str>>,
    /// Of connections that were found to have all of these, while nothing changes.
    same: Option<SameSettings>,
}

/// A RESET ALL that was sent, and whose outcome is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reset {
    #[default]
    No,
    Sent,
    /// Carried out for the rest of its transaction: the mark is to be removed.
    Done,
}

/// How a server connection's settings become the client's.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Text of one Query.
    pub sql: String,
    /// What holds afterwards: a value, or the default.
    pub changes: Vec<(String, Option<String>)>,
    /// A setting is among them that decides which rows a statement means: nothing may be sent before it is confirmed.
    pub critical: bool,
}

impl Settings {
    /// Settings of a new session.
    pub fn new(sealed: BTreeMap<String, String>, startup: BTreeMap<String, String>) -> Self {
        let startup = Arc::new(startup);
        Self { sealed, current: Arc::clone(&startup), startup, ..Self::default() }
    }

    /// Sets aside a setting that is pgwarden's at times.
    pub fn reserve(&mut self, name: &str) {
        self.reserved = Some(name.to_ascii_lowercase());
    }

    /// Replaces what pgwarden sets.
    pub fn seal(&mut self, sealed: BTreeMap<String, String>) {
        self.changed();
        self.sealed = sealed;
    }

    /// Replaces the search path of what pgwarden sets, where that is another now.
    pub fn seal_path(&mut self, path: String) {
        if self.sealed_path() != Some(&path) {
            self.changed();
            self.sealed.insert("search_path".to_owned(), path);
        }
    }

    /// The search path that pgwarden sets.
    pub fn sealed_path(&self) -> Option<&String> {
        self.sealed.get("search_path")
    }

    /// The session goes to another place: keeps from there what may not be set in it.
    pub fn withhold(&mut self, refused: impl Fn(&str, &str) -> bool) {
        let refused = self.current.iter().filter(|(name, value)| refused(name, value));
        self.withheld = refused.map(|(name, _)| name.clone()).collect();
        self.changed();
    }

    /// A statement was sent that touches a setting. Sealed ones count too: the connection must have them again before the
    /// next transaction, whoever's that is. Returns whether the client's own next transaction must wait for the outcome:
    /// the server's RESET goes back to another value than the client's.
    pub fn touch(&mut self, name: &str) -> bool {
        self.touched.insert(name.to_owned());
        if self.counts(name) {
            self.in_force = None;
        }
        self.startup.contains_key(name) || self.sealed.contains_key(name)
    }

    /// Whether any setting is another than the server's own.
    pub fn any(&self) -> bool {
        !self.sealed.is_empty() || !self.startup.is_empty() || !self.current.is_empty()
    }

    /// RESET ALL was sent, or rather its mark: if that is there when the transaction has ended, the client is back at its startup
    /// settings, and at what it set since.
    pub fn reset_sent(&mut self) {
        self.touched_before_reset.append(&mut self.touched);
        self.reset = Reset::Sent;
        self.in_force = None;
    }

    /// What carries out a RESET ALL for the rest of its transaction, once; nothing where a savepoint has undone it. From then on
    /// the server knows what each setting is.
    pub fn put_back(&mut self) -> Option<String> {
        if self.reset != Reset::Sent {
            return None;
        }
        self.reset = Reset::Done;
        let mut names = std::mem::take(&mut self.touched_before_reset);
        names.extend(self.current.keys().chain(self.startup.keys()).cloned());
        names.retain(|name| {
            !self.sealed.contains_key(name) && !self.is_reserved(name) && !self.touched.contains(name) && is_reset(name)
        });
        let row = |(name, value): (&String, Option<&String>)| {
            let value = value.map_or_else(|| "NULL".to_owned(), |value| quote_literal(value));
            format!("({}, {value})", quote_literal(name))
        };
        let cleared = names.iter().map(|name| row((name, None)));
        let set =
            self.startup.iter().filter(|(name, _)| names.contains(*name)).map(|(name, value)| row((name, Some(value))));
        let rows = cleared.chain(set).map(|row| row + ", ").collect::<String>();
        self.touched.extend(names);
        let mark = quote_literal(RESET_MARK);
        Some(format!(
            "SELECT pg_catalog.set_config(r.n, r.v, false) FROM (VALUES {rows}({mark}, 'done')) AS r(n, v) \
             WHERE pg_catalog.current_setting({mark}, true) OPERATOR(pg_catalog.=) 'on'"
        ))
    }

    fn reset(&mut self) {
        self.current = Arc::clone(&self.startup);
        self.in_force = None;
        self.changed();
    }

    /// What was known of these settings holds no more.
    fn changed(&mut self) {
        (self.counting, self.same) = (None, None);
    }

    /// A statement was sent that touches them all. Returns as [`Settings::touch`].
    pub fn touch_all(&mut self) -> bool {
        self.touched_all = true;
        self.in_force = None;
        !self.startup.is_empty() || !self.sealed.is_empty()
    }

    /// DISCARD ALL succeeded: the client is back at its startup settings.
    pub fn discard(&mut self) {
        self.reset();
        self.touched.clear();
        self.touched_all = false;
        self.touched_before_reset.clear();
        self.reset = Reset::No;
    }

    /// They are the server connection's now, or will be when it comes to what is sent next.
    pub fn applied(&mut self) {
        let counting = self.counting.take().unwrap_or_else(|| self.that_count());
        self.in_force = Some(Arc::clone(&counting));
        self.counting = Some(counting);
    }

    /// Those that decide what a statement means, if it is known what the server has.
    pub fn in_force(&self) -> Option<&Arc<str>> {
        self.in_force.as_ref()
    }

    /// What must be sent before the client's next transaction; `None` if the connection's settings are the client's.
    pub fn difference(&mut self, applied: &mut AppliedSettings) -> Option<Difference> {
        if self.same.is_some() && self.same == applied.same() {
            return None;
        }
        let difference = if self.all_hold(applied) { None } else { self.compare(applied) };
        if difference.is_none() {
            let mark = SameSettings::agreed(self.same, applied.same());
            self.same = Some(mark);
            applied.are_same(mark);
        }
        difference
    }

    fn compare(&self, applied: &BTreeMap<String, String>) -> Option<Difference> {
        let mut set = Vec::new();
        let mut wanted = 0;
        for (name, value) in self.wanted() {
            wanted += 1;
            if applied.get(name) != Some(value) {
                set.push((name, value));
            }
        }
        if set.is_empty() && wanted == applied.len() {
            return None;
        }
        let stale = applied.keys().filter(|name| !self.wants(name)).collect::<Vec<_>>();
        Some(compose(&set, &stale))
    }

    /// The question for the outcome of what was touched since the last one; `None` if nothing was.
    pub fn question(&mut self, applied: &BTreeMap<String, String>) -> Option<String> {
        if self.reset == Reset::No && !self.touched_all && self.touched.is_empty() {
            // Nothing was touched before a RESET ALL either: there was none.
            return None;
        }
        if self.touched_all {
            let all = self.current.keys().chain(self.startup.keys()).chain(self.sealed.keys()).chain(applied.keys());
            self.touched.extend(all.cloned());
        }
        let after = std::mem::take(&mut self.touched);
        self.touched_before_reset.retain(|name| !after.contains(name));
        let mark = (self.reset != Reset::No).then(|| RESET_MARK.to_owned());
        let names = after.iter().chain(&self.touched_before_reset).chain(&mark).collect::<Vec<_>>();
        if names.is_empty() {
            return None;
        }
        self.touched_all = false;
        let remove = mark.as_deref().map(|mark| format!("; RESET {}", quote_setting(mark))).unwrap_or_default();
        let names = names.iter().map(|name| quote_literal(name)).collect::<Vec<_>>().join(", ");
        // What was said is kept, also where it is the server's own default: the client may have connected with another value,
        // and another server may have another default.
        Some(format!(
            "SELECT n, pg_catalog.current_setting(n, true), s.source OPERATOR(pg_catalog.<>) 'session' \
             FROM pg_catalog.unnest(ARRAY[{names}]::pg_catalog.text[]) AS n \
             LEFT JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) n{remove}"
        ))
    }

    /// Takes in the answer.
    pub fn learn(&mut self, rows: Vec<SettingRow>, applied: &mut AppliedSettings) {
        self.changed();
        let before = std::mem::take(&mut self.touched_before_reset);
        let resets = std::mem::take(&mut self.reset) == Reset::Sent && rows.iter().any(is_mark);
        if resets {
            self.reset();
        }
        for row in rows {
            if row.name == RESET_MARK {
                continue;
            }
            let reserved = self.reserved.as_ref() == Some(&row.name);
            let held = row.value.filter(|value| !(row.is_default || reserved && value.is_empty()));
            applied.set(row.name.clone(), held.clone());
            if reserved || self.sealed.contains_key(&row.name) {
                continue;
            }
            self.withheld.remove(&row.name);
            if resets && before.contains(&row.name) {
                continue;
            }
            match held.or_else(|| self.startup.get(&row.name).cloned()) {
                Some(value) => Arc::make_mut(&mut self.current).insert(row.name, value),
                None if self.current.contains_key(&row.name) => Arc::make_mut(&mut self.current).remove(&row.name),
                None => None,
            };
        }
    }

    /// The usual case, told at once: nothing is withheld or set by both, and each of the connection's settings is wanted.
    fn all_hold(&self, applied: &BTreeMap<String, String>) -> bool {
        if !self.withheld.is_empty() || applied.len() != self.sealed.len() + self.current.len() {
            return false;
        }
        // All are sorted by name. One that both set is missed here, and looked at the long way.
        let (mut sealed, mut current) = (self.sealed.iter().peekable(), self.current.iter().peekable());
        applied.iter().all(|held| sealed.next_if_eq(&held).or_else(|| current.next_if_eq(&held)).is_some())
    }

    fn wanted(&self) -> impl Iterator<Item = (&String, &String)> {
        self.sealed.iter().chain(self.own())
    }

    /// The client's, as it has them here.
    pub(super) fn own(&self) -> impl Iterator<Item = (&String, &String)> {
        let own = |name: &String| !self.sealed.contains_key(name) && !self.withheld.contains(name);
        self.current.iter().filter(move |(name, _)| own(name))
    }

    /// Whether pgwarden sets it.
    pub(super) fn is_sealed(&self, name: &str) -> bool {
        self.sealed.contains_key(name)
    }

    /// Whether it is pgwarden's at times.
    pub(super) fn is_reserved(&self, name: &str) -> bool {
        self.reserved.as_deref() == Some(name)
    }

    fn wants(&self, name: &str) -> bool {
        self.sealed.contains_key(name) || (self.current.contains_key(name) && !self.withheld.contains(name))
    }
}

/// The schema layout stands on these: a statement that runs under another tenant's is that tenant's statement.
pub(super) fn is_critical(name: &str) -> bool {
    matches!(name, "search_path" | "role" | "session_authorization")
}

fn compose(set: &[(&String, &String)], stale: &[&String]) -> Difference {
    let partial = set.iter().map(|(name, _)| name).filter(|name| keeps_a_part(name));
    let mut statements: Vec<String> =
        stale.iter().chain(partial).map(|name| format!("RESET {}", quote_setting(name))).collect();
    let calls = set
        .iter()
        .map(|(name, value)| format!("pg_catalog.set_config({}, {}, false)", quote_literal(name), quote_literal(value)))
        .collect::<Vec<_>>();
    if !calls.is_empty() {
        statements.push(format!("SELECT {}", calls.join(", ")));
    }
    let changes = stale
        .iter()
        .map(|name| ((*name).clone(), None))
        .chain(set.iter().map(|(name, value)| ((*name).clone(), Some((*value).clone()))))
        .collect::<Vec<_>>();
    let critical = changes.iter().any(|(name, _)| is_critical(name));
    Difference { sql: statements.join("; "), changes, critical }
}

/// RESET ALL has happened: its mark is there.
fn is_mark(row: &SettingRow) -> bool {
    row.name == RESET_MARK && row.value.as_deref() == Some("on")
}

/// Whether RESET ALL resets it: `GUC_NO_RESET_ALL` of Postgres's guc_tables.c.
fn is_reset(name: &str) -> bool {
    !matches!(
        name,
        "is_superuser"
            | "role"
            | "seed"
            | "session_authorization"
            | "transaction_deferrable"
            | "transaction_isolation"
            | "transaction_read_only"
    )
}

/// Whether a setting keeps a part of the value that it has, which may be another client's: of DateStyle, what is not named.
fn keeps_a_part(name: &str) -> bool {
    name == "datestyle"
}
