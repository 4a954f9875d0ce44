//! What pgwarden refused since the process started: how often, and which statements, for the console and for metrics. What it
//! would have refused of those whom it only observes is kept apart. All of it has a bound.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::span::loggable;
use crate::base::{LoginName, Refusal, RefusalKind, SqlState, TenantName};
use crate::sql::{fingerprint, normalized};

/// So many refusals are told apart. Further ones take the place of those that were seen least.
const MAX_SEEN: usize = 500;
/// So many logins and tenants are counted by themselves, the others together.
const MAX_PARTIES: usize = 1_000;
/// In the place of a name in what is counted together.
pub const OTHERS: &str = "(others)";

/// Whether a refusal was one, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Enforced {
    /// The statement was not sent.
    Refused,
    /// It was sent: the session is only observed.
    Observed,
}

impl Enforced {
    /// A word for tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Enforced::Refused => "refused",
            Enforced::Observed => "observed",
        }
    }
}

/// Whose statement it was.
#[derive(Clone, Debug)]
pub struct Whose<'a> {
    /// The login.
    pub login: &'a LoginName,
    /// The tenant that it acted for, if one was known.
    pub tenant: Option<&'a TenantName>,
}

/// Refusals of one kind, about one object, of statements of one shape.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether they were.
    pub enforced: Enforced,
    /// What sort.
    pub kind: RefusalKind,
    /// What they are about; empty where that has no name.
    pub object: Box<str>,
    /// The statements' fingerprint.
    pub fingerprint: Box<str>,
    /// Its text without literals, where that is kept.
    pub statement: Option<Box<str>>,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: SystemTime,
    /// The last one's login.
    pub login: LoginName,
    /// The last one's tenant.
    pub tenant: Option<TenantName>,
    /// SQLSTATE of the last one.
    pub code: SqlState,
    /// Its message.
    pub message: Box<str>,
    /// Its hint.
    pub hint: Box<str>,
    /// Grows with each refusal: which came last.
    serial: u64,
}

/// A statement, as it is known by.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub fingerprint: String,
    pub statement: Option<String>,
}

impl Shape {
    pub fn of(sql: &str) -> Self {
        let kept = KEEPS_STATEMENTS.load(Ordering::Relaxed);
        Self {
            fingerprint: fingerprint(sql),
            statement: kept.then(|| normalized(sql)).flatten().map(|text| loggable_text(&text)),
        }
    }
}

type Key = (Enforced, RefusalKind, Box<str>, Box<str>);

#[derive(Default)]
struct Book {
    /// By SQLSTATE and kind: as many as there are in the source.
    codes: BTreeMap<(Enforced, [u8; 5], &'static str), u64>,
    /// By login and tenant.
    parties: BTreeMap<(Enforced, String, String, &'static str), u64>,
    seen: HashMap<Key, Seen>,
    serial: u64,
}

/// Refusals are not on the hot path.
static BOOK: Mutex<Option<Book>> = Mutex::new(None);

static KEEPS_STATEMENTS: AtomicBool = AtomicBool::new(false);

/// Whether the texts of refused statements are kept, without their literals.
pub(super) fn keep_statements(keep: bool) {
    KEEPS_STATEMENTS.store(keep, Ordering::Relaxed);
}

static NOT_JUDGED: AtomicU64 = AtomicU64::new(0);

static LOGINS: AtomicU64 = AtomicU64::new(0);

/// Counts a statement that was refused, or would have been. Mere mistakes are counted, and not told apart.
pub(super) fn count(enforced: Enforced, refusal: &Refusal, shape: &Shape, whose: &Whose<'_>) {
    BOOK.lock().get_or_insert_default().count(enforced, refusal, shape, whose);
}

/// Counts a statement of an observed login that could not be looked at.
pub fn count_not_judged() {
    NOT_JUDGED.fetch_add(1, Ordering::Relaxed);
}

/// Statements of observed logins that were too long to be looked at.
pub fn not_judged() -> u64 {
    NOT_JUDGED.load(Ordering::Relaxed)
}

/// Counts a login that was turned away.
pub fn count_login() {
    LOGINS.fetch_add(1, Ordering::Relaxed);
}

/// Logins that were turned away.
pub fn logins() -> u64 {
    LOGINS.load(Ordering::Relaxed)
}

/// How often by SQLSTATE and kind.
pub fn by_code(enforced: Enforced) -> Vec<(String, &'static str, u64)> {
    let book = BOOK.lock();
    let codes = book.iter().flat_map(|it| &it.codes).filter(|((of, ..), _)| *of == enforced);
    codes.map(|((_, code, kind), count)| (SqlState(*code).to_string(), *kind, *count)).collect()
}

/// How often by login, tenant (empty: none) and kind.
pub fn by_party(enforced: Enforced) -> Vec<(String, String, &'static str, u64)> {
    let book = BOOK.lock();
    let parties = book.iter().flat_map(|it| &it.parties).filter(|((of, ..), _)| *of == enforced);
    parties.map(|((_, login, tenant, kind), count)| (login.clone(), tenant.clone(), *kind, *count)).collect()
}

/// Those that are told apart, the most frequent first.
pub fn most_frequent() -> Vec<Seen> {
    let mut seen = all();
    seen.sort_by_key(|it| std::cmp::Reverse((it.count, it.serial)));
    seen
}

/// Those that are told apart, the last first.
pub fn last() -> Vec<Seen> {
    let mut seen = all();
    seen.sort_by_key(|it| std::cmp::Reverse(it.serial));
    seen
}

fn all() -> Vec<Seen> {
    BOOK.lock().iter().flat_map(|it| it.seen.values()).cloned().collect()
}

impl Book {
    fn count(&mut self, enforced: Enforced, refusal: &Refusal, shape: &Shape, whose: &Whose<'_>) {
        let (kind, error) = (refusal.kind.as_str(), &refusal.error);
        *self.codes.entry((enforced, error.code.0, kind)).or_default() += 1;
        let tenant = whose.tenant.map_or("", TenantName::as_str).to_owned();
        let mut party = (enforced, whose.login.to_string(), tenant, kind);
        if self.parties.len() >= MAX_PARTIES && !self.parties.contains_key(&party) {
            party = (enforced, OTHERS.to_owned(), OTHERS.to_owned(), kind);
        }
        *self.parties.entry(party).or_default() += 1;
        match refusal.kind {
            RefusalKind::Syntax | RefusalKind::Undefined => return,
            RefusalKind::Relation
            | RefusalKind::Function
            | RefusalKind::Setting
            | RefusalKind::Statement
            | RefusalKind::ForeignTenant
            | RefusalKind::Unsupported
            | RefusalKind::Limit
            | RefusalKind::Verifier
            | RefusalKind::Witness => {}
        }
        let object: Box<str> = loggable(refusal.object.as_deref().unwrap_or_default()).into();
        let key = (enforced, refusal.kind, object.clone(), Box::from(&*shape.fingerprint));
        if self.seen.len() >= MAX_SEEN && !self.seen.contains_key(&key) {
            self.make_room();
        }
        self.serial += 1;
        let seen = self.seen.entry(key).or_insert_with(|| Seen {
            enforced,
            kind: refusal.kind,
            object,
            fingerprint: shape.fingerprint.as_str().into(),
            statement: None,
            count: 0,
            last: SystemTime::UNIX_EPOCH,
            login: whose.login.clone(),
            tenant: None,
            code: error.code,
            message: Box::default(),
            hint: Box::default(),
            serial: 0,
        });
        seen.count += 1;
        seen.last = SystemTime::now();
        seen.serial = self.serial;
        seen.login = whose.login.clone();
        seen.tenant = whose.tenant.cloned();
        seen.code = error.code;
        seen.message = cut(&error.message).into();
        seen.hint = cut(error.hint.as_deref().unwrap_or_default()).into();
        seen.statement = shape.statement.as_deref().map(|text| cut(text).into()).or(seen.statement.take());
    }

    /// The one that was seen least goes, of these the one that was seen longest ago.
    fn make_room(&mut self) {
        let least = self.seen.iter().min_by_key(|(_, it)| (it.count, it.serial)).map(|(key, _)| key.clone());
        least.map(|key| self.seen.remove(&key));
    }
}

/// A text as it may stand in a line: white space is one space, control characters are escaped.
fn loggable_text(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&words.join(" "))
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// What is kept of a text.
fn cut(text: &str) -> &str {
    const MAX: usize = 1_000;
    let end = (0..=MAX.min(text.len())).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(book: &mut Book, object: &str, fingerprint: &str, tenant: &str) {
        let refusal =
            Refusal::new(RefusalKind::Relation, SqlState::INSUFFICIENT_PRIVILEGE, "no").hint("do").about(object);
        let shape = Shape { fingerprint: fingerprint.to_owned(), statement: None };
        let (login, tenant) = (LoginName::new("app"), TenantName::new(tenant));
        book.count(Enforced::Refused, &refusal, &shape, &Whose { login: &login, tenant: Some(&tenant) });
    }

    #[test]
    fn the_frequent_ones_outlast_a_flood_and_all_has_a_bound() {
        let mut book = Book::default();
        for _ in 0..10 {
            refuse(&mut book, "public.secrets", "f", "acme");
        }
        for i in 0..5_000 {
            refuse(&mut book, &"x".repeat(500), &i.to_string(), &format!("t{i}"));
        }
        assert_eq!((book.seen.len(), book.codes.len()), (MAX_SEEN, 1));
        assert!(book.parties.len() <= MAX_PARTIES + 1);
        let of =
            |object: &str| book.seen.values().find(|it| &*it.object == object).map(|it| (it.count, it.hint.clone()));
        assert_eq!(of("public.secrets"), Some((10, "do".into())));
        assert!(book.seen.values().all(|it| it.object.len() < 200));
        let newest = book.seen.values().max_by_key(|it| it.serial).unwrap();
        assert_eq!(&*newest.fingerprint, "4999");
        let others = (Enforced::Refused, OTHERS.to_owned(), OTHERS.to_owned(), "relation");
        assert_eq!(book.parties.get(&others), Some(&(5_001 - MAX_PARTIES as u64)));
    }

    #[test]
    fn mistakes_are_counted_and_not_told_apart() {
        let mut book = Book::default();
        let (refusal, login) =
            (Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, "near \"hunter2\""), LoginName::new("app"));
        let shape = Shape { fingerprint: "f".to_owned(), statement: None };
        book.count(Enforced::Observed, &refusal, &shape, &Whose { login: &login, tenant: None });
        assert!(book.seen.is_empty());
        assert_eq!(book.codes.get(&(Enforced::Observed, *b"42601", "syntax")), Some(&1));
    }
}
