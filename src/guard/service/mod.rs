//! The guard as a session calls it: plan a text (cached), bind the plan to a tenant, send what comes out.

#[cfg(test)]
mod tests;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use super::plan::{Piece, Plan, Protocol};
use super::policy::{Names, Policy};
use super::shape::{Lifted, Literals, Template, lift, place_with_comments, without_comments};
use crate::base::{Mode, Oid, Refusal};
use crate::sql::parse::{place_of, position};

/// Bytes of statement text (with what is made of it) that the verdict cache may hold.
const CACHE_BYTES: u64 = 64 << 20;
/// Longer texts are planned anew each time: they are bulk loads, and seldom come twice.
const CACHED_TEXT_MAX: usize = 64 << 10;

/// Makes plans of a text's statements; the guard's own is `plan_statements`.
pub type Planner = fn(&Policy, &Mode, Protocol<'_>, &str) -> Result<Vec<Plan>, Refusal>;

/// The statements of one Query or Parse message. A Parse has at most one.
#[derive(Clone, Debug)]
pub struct Script {
    /// In the order of the text.
    pub statements: Arc<[Arc<Plan>]>,
    pub(super) extended: bool,
    /// Literals of this text, where its plans are shared with others of its shape.
    literals: Option<Literals>,
    /// The client's text, where that is what is sent and the plans' own texts differ from it: in comments, or in what stands
    /// between statements.
    pub(super) written: Option<Box<str>>,
    /// The client's text, where it is kept for the positions of errors and for nothing else.
    pub(super) source: Option<Box<str>>,
}

impl Script {
    pub(super) fn new(statements: Vec<Plan>, extended: bool) -> Self {
        let statements = statements.into_iter().map(Arc::new).collect();
        Self { statements, extended, literals: None, written: None, source: None }
    }

    /// The plans of statements that were guarded one by one, with the values in the text.
    pub(super) fn of_plans(statements: Vec<Arc<Plan>>) -> Arc<Self> {
        Arc::new(Self::of(statements.into(), None))
    }

    fn of(statements: Arc<[Arc<Plan>]>, literals: Option<Literals>) -> Self {
        Self { statements, extended: false, literals, written: None, source: None }
    }

    /// The template's plans with the literals of a text that fits it.
    fn of_shape(template: &Template, sql: &str, lifted: Lifted) -> Arc<Self> {
        let statements = Arc::clone(&template.statements);
        let literals = Some(Literals::new(sql, lifted));
        Arc::new(Self::of(statements, literals).or_written(sql))
    }

    /// The plans of this very text. Where theirs begin elsewhere in it, positions would not be those that the client knows.
    fn or_written(mut self, sql: &str) -> Self {
        let begins_with =
            |plan: &Plan| matches!(plan.pieces.first(), Some(Piece::Text(text)) if sql.starts_with(&**text));
        if !matches!(&*self.statements, [plan] if begins_with(plan)) && !self.is_rewritten() {
            self.written = Some(sql.into());
        }
        if self.literals.is_none() && self.is_rewritten() {
            self.source = Some(sql.into());
        }
        self
    }

    /// The same plans for a text that differs from theirs in comments: it is sent as the client wrote it, unless something of
    /// it was rewritten.
    fn with_comments(self: Arc<Self>, sql: &str) -> Arc<Self> {
        let rewritten = self.is_rewritten();
        let mut script = Arc::unwrap_or_clone(self);
        let text = if rewritten { &mut script.source } else { &mut script.written };
        *text = Some(sql.into());
        Arc::new(script)
    }

    /// The client's text, where it is known still.
    pub(super) fn client_text(&self) -> Option<&str> {
        let kept = self.source.as_deref().or(self.written.as_deref());
        kept.or_else(|| self.literals.as_ref().map(Literals::text))
    }

    fn is_rewritten(&self) -> bool {
        self.statements.iter().any(|plan| plan.rewritten)
    }

    pub(super) fn literal_token(&self, i: usize) -> &str {
        // Every `Piece::Literal` was made of a literal that texts of the shape have; NULL would stay harmless.
        self.literals.as_ref().and_then(|l| l.token(i)).unwrap_or("NULL")
    }

    pub(super) fn literal_value(&self, i: usize) -> Option<String> {
        self.literals.as_ref()?.value(i)
    }
}

/// Plans and remembers them. One per upstream; cheap to share.
pub struct Guard {
    planner: Planner,
    state: ArcSwap<State>,
}

struct State {
    policy: Arc<Policy>,
    verdicts: Cache<Key, Verdict, ByText>,
    /// The same for sessions that have temporary tables, from the first one on.
    temporary: OnceLock<Box<State>>,
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

    /// The number of the policy in force.
    pub fn epoch(&self) -> u64 {
        self.state.load().policy.epoch
    }

    /// The plans of a text, from the cache where it was seen before.
    ///
    /// # Errors
    /// The refusal of the first statement that does not pass; none of the text may then be sent.
    pub fn plan(&self, mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Result<Arc<Script>, Refusal> {
        self.plan_in(Names::Catalog, mode, protocol, sql)
    }

    /// [`Guard::plan`] of a session in which names mean more than the catalog has.
    ///
    /// # Errors
    /// As [`Guard::plan`].
    pub fn plan_in(
        &self,
        names: Names,
        mode: &Mode,
        protocol: Protocol<'_>,
        sql: &str,
    ) -> Result<Arc<Script>, Refusal> {
        let state = self.state.load();
        let state = state.of(names);
        by_plain_text(sql, |plain| match lifted(protocol, plain) {
            Some(lifted) => self.plan_by_shape(state, mode, plain, lifted),
            None => self.plan_by_text(state, mode, protocol, plain),
        })
    }

    /// What [`Guard::plan`] gives, if that needs no planning.
    pub fn remembered(&self, names: Names, mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Option<Arc<Script>> {
        let state = self.state.load();
        let state = state.of(names);
        by_plain_text(sql, |plain| {
            let by_shape = lifted(protocol, plain).and_then(|lifted| {
                match state.verdicts.get(&KeyRef { mode, protocol, sql: &lifted.shape }) {
                    Some(Verdict::Shape(template)) => {
                        template.fits(plain, &lifted).then(|| Script::of_shape(&template, plain, lifted))
                    }
                    Some(Verdict::Text(_) | Verdict::NoShape | Verdict::SeenOnce) | None => None,
                }
            });
            by_shape.or_else(|| state.text(mode, protocol, plain)).ok_or(())
        })
        .ok()
    }

    /// What [`Guard::plan_whole`] gives, if that needs no planning.
    pub fn remembered_whole(
        &self,
        names: Names,
        mode: &Mode,
        protocol: Protocol<'_>,
        sql: &str,
    ) -> Option<Arc<Script>> {
        let state = self.state.load();
        let state = state.of(names);
        by_plain_text(sql, |plain| state.text(mode, protocol, plain).ok_or(())).ok()
    }

    /// The plans of a text of the simple protocol, not shared with others of its shape: they can be put together with
    /// those of other texts.
    ///
    /// # Errors
    /// As [`Guard::plan`].
    pub fn plan_whole(&self, names: Names, mode: &Mode, sql: &str) -> Result<Arc<Script>, Refusal> {
        let state = self.state.load();
        let state = state.of(names);
        by_plain_text(sql, |plain| self.plan_by_text(state, mode, Protocol::Simple, plain))
    }

    fn plan_by_text(
        &self,
        state: &State,
        mode: &Mode,
        protocol: Protocol<'_>,
        sql: &str,
    ) -> Result<Arc<Script>, Refusal> {
        if let Some(hit) = state.text(mode, protocol, sql) {
            return Ok(hit);
        }
        let statements = (self.planner)(&state.policy, mode, protocol, sql)?;
        let script = Script::new(statements, matches!(protocol, Protocol::Extended { .. })).or_written(sql);
        let script = Arc::new(script);
        if sql.len() <= CACHED_TEXT_MAX {
            state.verdicts.insert(KeyRef { mode, protocol, sql }.to_owned(), Verdict::Text(script.clone()));
        }
        Ok(script)
    }

    fn plan_by_shape(&self, state: &State, mode: &Mode, sql: &str, lifted: Lifted) -> Result<Arc<Script>, Refusal> {
        let key = KeyRef { mode, protocol: Protocol::Simple, sql: &lifted.shape };
        match state.verdicts.get(&key) {
            Some(Verdict::Shape(template)) if template.fits(sql, &lifted) => {
                return Ok(Script::of_shape(&template, sql, lifted));
            }
            Some(Verdict::Shape(_) | Verdict::NoShape | Verdict::Text(_)) => {}
            None => state.verdicts.insert(key.to_owned(), Verdict::SeenOnce),
            // Worth a template only when it comes again
            Some(Verdict::SeenOnce) => {
                let plan = |sql: &str| (self.planner)(&state.policy, mode, Protocol::Simple, sql).ok();
                let verdict = match Template::make(sql, &lifted, plan) {
                    Some(template) => Verdict::Shape(Arc::new(template)),
                    None => Verdict::NoShape,
                };
                state.verdicts.insert(key.to_owned(), verdict);
            }
        }
        self.plan_by_text(state, mode, Protocol::Simple, sql)
    }
}

/// What a text without its comments gives, for the text as it is.
fn by_plain_text<E: Wrong>(sql: &str, plan: impl FnOnce(&str) -> Result<Arc<Script>, E>) -> Result<Arc<Script>, E> {
    match Some(sql).filter(|sql| sql.len() <= CACHED_TEXT_MAX).and_then(without_comments) {
        None => plan(sql),
        Some(plain) => match plan(&plain) {
            Ok(script) => Ok(script.with_comments(sql)),
            Err(error) => Err(error.in_text(sql, &plain)),
        },
    }
}

/// What is wrong with a text without its comments, or that nothing is known of it.
trait Wrong {
    /// The same of the text as it is.
    fn in_text(self, sql: &str, plain: &str) -> Self;
}

impl Wrong for () {
    fn in_text(self, _: &str, _: &str) -> Self {}
}

impl Wrong for Refusal {
    fn in_text(mut self, sql: &str, plain: &str) -> Self {
        let place = self.error.position.and_then(|it| place_of(plain, it));
        let place = place.and_then(|place| place_with_comments(sql, place));
        self.error.position = place.map(|place| position(sql, place));
        self
    }
}

/// A text with its literals taken out, if texts of its shape may share a plan.
fn lifted(protocol: Protocol<'_>, sql: &str) -> Option<Lifted> {
    (protocol == Protocol::Simple && sql.len() <= CACHED_TEXT_MAX).then(|| lift(sql)).flatten()
}

/// What the cache holds under a text or a shape. The marks in a shape keep it from being any text.
#[derive(Clone)]
enum Verdict {
    /// The plans of this very text.
    Text(Arc<Script>),
    /// The plans of all texts of this shape.
    Shape(Arc<Template>),
    /// Texts of this shape share nothing.
    NoShape,
    /// The shape was seen once.
    SeenOnce,
}

impl State {
    fn new(policy: Arc<Policy>) -> Self {
        // The estimate of entries only sizes the first allocation; the weight is what bounds the cache.
        Self { policy, verdicts: Cache::with_weighter(1_000, CACHE_BYTES, ByText), temporary: OnceLock::new() }
    }

    /// That of a session in which names mean so much.
    fn of(&self, names: Names) -> &Self {
        match names {
            Names::Catalog => self,
            Names::Temporary => {
                self.temporary.get_or_init(|| Box::new(Self::new(Arc::new(self.policy.with_temporary()))))
            }
        }
    }

    /// The plans of this very text, if it was seen before.
    fn text(&self, mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Option<Arc<Script>> {
        match self.verdicts.get(&KeyRef { mode, protocol, sql }) {
            Some(Verdict::Text(hit)) => Some(hit),
            Some(Verdict::Shape(_) | Verdict::NoShape | Verdict::SeenOnce) | None => None,
        }
    }
}

#[derive(Clone)]
struct ByText;

impl Weighter<Key, Verdict> for ByText {
    fn weight(&self, key: &Key, _: &Verdict) -> u64 {
        // The text twice, final text and trees of about the same size, and what an entry costs by itself.
        4 * key.sql.len() as u64 + 512
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
