//! The guard as a session calls it: plan a text (cached), bind the plan to a tenant, send what comes out.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::plan::{Plan, Protocol};
use super::policy::{Mode, Policy};
use super::refusal::Refusal;
use crate::ids::Oid;

/// Bytes of statement text (with what is made of it) that the verdict cache may hold.
const CACHE_BYTES: u64 = 64 << 20;
/// Longer texts are planned anew each time: they are bulk loads, and seldom come twice.
const CACHED_TEXT_MAX: usize = 64 << 10;

/// Makes plans of a text's statements; the guard's own is `plan_statements`.
pub type Planner = fn(&Policy, &Mode, Protocol<'_>, &str) -> Result<Vec<Plan>, Refusal>;

/// The statements of one Query or Parse message. A Parse has at most one.
#[derive(Debug)]
pub struct Script {
    /// In the order of the text.
    pub statements: Vec<Arc<Plan>>,
    pub(super) extended: bool,
}

/// Plans and remembers them. One per upstream; cheap to share.
pub struct Guard {
    planner: Planner,
    state: ArcSwap<State>,
}

struct State {
    policy: Arc<Policy>,
    verdicts: Cache<Key, Arc<Script>, ByText>,
}

impl Guard {
    /// A guard that applies this policy.
    pub fn new(policy: Arc<Policy>, planner: Planner) -> Self {
        Self { planner, state: ArcSwap::from_pointee(State::new(policy)) }
    }

    /// Replaces the policy; every verdict of the old one is forgotten.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        self.state.store(Arc::new(State::new(policy)));
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.state.load().policy.clone()
    }

    /// The plans of a text, from the cache where it was seen before.
    ///
    /// # Errors
    /// The refusal of the first statement that does not pass; none of the text may then be sent.
    pub fn plan(&self, mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Result<Arc<Script>, Refusal> {
        let state = self.state.load();
        let key = KeyRef { mode, protocol, sql };
        if let Some(hit) = state.verdicts.get(&key) {
            return Ok(hit);
        }
        let statements = (self.planner)(&state.policy, mode, protocol, sql)?;
        let script = Arc::new(Script {
            statements: statements.into_iter().map(Arc::new).collect(),
            extended: matches!(protocol, Protocol::Extended { .. }),
        });
        if sql.len() <= CACHED_TEXT_MAX {
            state.verdicts.insert(key.to_owned(), script.clone());
        }
        Ok(script)
    }
}

impl State {
    fn new(policy: Arc<Policy>) -> Self {
        // The estimate of entries only sizes the first allocation; the weight is what bounds the cache.
        Self { policy, verdicts: Cache::with_weighter(1_000, CACHE_BYTES, ByText) }
    }
}

#[derive(Clone)]
struct ByText;

impl Weighter<Key, Arc<Script>> for ByText {
    fn weight(&self, key: &Key, _: &Arc<Script>) -> u64 {
        // Text, final text and trees of about the same size, and what an entry costs by itself.
        3 * key.sql.len() as u64 + 512
    }
}

/// What a verdict depends on besides the policy. The tenant is not among it: plans are tenant-independent.
#[derive(PartialEq, Eq)]
struct Key {
    mode: Mode,
    param_types: Option<Box<[Oid]>>,
    sql: Box<str>,
}

struct KeyRef<'a> {
    mode: &'a Mode,
    protocol: Protocol<'a>,
    sql: &'a str,
}

impl KeyRef<'_> {
    fn param_types(&self) -> Option<&[Oid]> {
        match self.protocol {
            Protocol::Simple => None,
            Protocol::Extended { param_types } => Some(param_types),
        }
    }

    fn to_owned(&self) -> Key {
        Key { mode: self.mode.clone(), param_types: self.param_types().map(Into::into), sql: self.sql.into() }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.mode, self.param_types.as_deref(), &*self.sql).hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.mode, self.param_types(), self.sql).hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.sql == *key.sql && *self.mode == key.mode && self.param_types() == key.param_types.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::guard::test_plan;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn planner(_: &Policy, _: &Mode, _: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Ok(vec![test_plan(sql)])
    }

    #[test]
    fn one_text_is_planned_once_per_mode_protocol_and_policy() {
        let guard = Guard::new(Arc::new(Policy::empty()), planner);
        let ask = |mode: &Mode, protocol: Protocol<'_>| guard.plan(mode, protocol, "SELECT 1").map(|_| ()).unwrap();
        let calls = || CALLS.load(Ordering::SeqCst);
        ask(&Mode::Shared, Protocol::Simple);
        ask(&Mode::Shared, Protocol::Simple);
        assert_eq!(calls(), 1);
        ask(&Mode::Schema("a".into()), Protocol::Simple);
        ask(&Mode::Schema("b".into()), Protocol::Simple);
        ask(&Mode::Shared, Protocol::Extended { param_types: &[] });
        ask(&Mode::Shared, Protocol::Extended { param_types: &[23] });
        assert_eq!(calls(), 5);
        ask(&Mode::Shared, Protocol::Extended { param_types: &[23] });
        assert_eq!(calls(), 5);
        guard.set_policy(Arc::new(Policy::empty()));
        ask(&Mode::Shared, Protocol::Simple);
        assert_eq!(calls(), 6);
    }
}
