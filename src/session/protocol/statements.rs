//! Prepared statements of one client: its names for them, and what stands behind each name.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Backend;
use super::circumstances::Circumstances;
use super::switching::Change;
use super::tenant_context::CurrentTenant;
use crate::base::{Oid, PgError, SqlState};
use crate::guard::context::Step;
use crate::guard::{Effect, Guarded, SQL_PREPARED_PREFIX};
use crate::pool::{ServerName, StatementId};

/// Bytes of statement text that one client may have prepared.
pub const CLIENT_BYTES: usize = 16 << 20;
/// Portals that one client may have open at one time.
const CLIENT_PORTALS: usize = 10_000;
/// Statements that one client may have prepared.
pub const CLIENT_STATEMENTS: usize = 10_000;

/// The epoch of no policy.
pub const OUTDATED: u64 = u64::MAX;

/// What a statement is called on a server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStatement {
    /// The unnamed statement; the number tells this client's unnamed statements apart.
    Unnamed(u64),
    /// A statement shared by all clients that prepare the same text.
    Shared(StatementId),
    /// One that SQL's PREPARE made, under the client's name.
    BySql,
}

/// The name of a statement in protocol messages to the server.
pub enum WireName {
    /// One that pgwarden gives.
    OfOurs(ServerName),
    /// The client's, in SQL.
    BySql(String),
}

impl std::ops::Deref for WireName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            WireName::OfOurs(name) => name,
            WireName::BySql(name) => name,
        }
    }
}

/// A prepared statement as its client sees it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The client's name, empty for the unnamed one.
    pub name: Box<str>,
    /// What the guard made of it.
    pub guarded: Guarded,
    /// Which of the client's Parses made it. It stays when the statement is made anew.
    pub parse: u64,
    /// Parameter types as the client declared them.
    pub declared: Box<[Oid]>,
    /// What it is called on servers.
    pub server: ServerStatement,
    /// Under what it was given that name.
    pub circumstances: Circumstances,
    /// What it was made of, where that may come to mean something else.
    pub origin: Option<Origin>,
    /// The epoch of the policy that it was decided by.
    pub epoch: u64,
    /// Who it was guarded for there.
    pub actor: CurrentTenant,
    /// A comment in its text named that one.
    pub commented: bool,
    /// What it is to the tenant context.
    pub step: Step,
    /// What running it does to the context.
    pub change: Change,
    /// pgwarden carries it out itself: the server sees an empty statement, and this is the command tag.
    pub tag: Option<&'static str>,
}

/// A portal that the client has bound.
#[derive(Debug)]
pub struct Portal {
    /// What it runs.
    pub statement: Arc<Statement>,
    /// An Execute of it was sent.
    pub begun: bool,
    /// What its parameters make it do to the session.
    pub sets: Box<[Effect]>,
}

/// What a statement was made of: it is made anew where another tenant lives elsewhere, and when the catalog has changed.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's text.
    pub text: Arc<str>,
    /// Whose guard it passed.
    pub backend: Arc<Backend>,
}

/// The portals of one client by name.
#[derive(Debug, Default)]
pub struct Portals {
    named: HashMap<Box<str>, Portal, RandomState>,
    unnamed: Option<Portal>,
}

impl Portals {
    /// Whether another portal of this name may be bound; one of the same name gives way to it.
    pub fn has_room(&self, name: &str) -> bool {
        name.is_empty() || self.named.len() < CLIENT_PORTALS || self.named.contains_key(name)
    }

    /// A portal by its name.
    pub fn get(&self, name: &str) -> Option<&Portal> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// A portal by its name.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Portal> {
        if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) }
    }

    /// Notes a portal under its name.
    pub fn insert(&mut self, name: &str, portal: Portal) -> PortalUndo {
        let before =
            if name.is_empty() { self.unnamed.replace(portal) } else { self.named.insert(name.into(), portal) };
        PortalUndo { name: name.into(), before }
    }

    /// Drops a name.
    pub fn close(&mut self, name: &str) -> PortalUndo {
        PortalUndo { name: name.into(), before: self.remove(name) }
    }

    /// The name stands for what it stood for before. Whether that still exists is the server's word.
    pub fn undo(&mut self, undo: PortalUndo) {
        match undo.before {
            Some(portal) => drop(self.insert(&undo.name, portal)),
            None => drop(self.remove(&undo.name)),
        }
    }

    /// Takes a portal out.
    pub fn remove(&mut self, name: &str) -> Option<Portal> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }
}

impl Statement {
    /// Its name in protocol messages to the server.
    pub fn wire_name(&self) -> WireName {
        match self.server {
            ServerStatement::Unnamed(_) => WireName::OfOurs(ServerName::default()),
            ServerStatement::Shared(id) => WireName::OfOurs(id.server_name()),
            ServerStatement::BySql => WireName::BySql(format!("{SQL_PREPARED_PREFIX}{}", self.name)),
        }
    }

    /// The number of parameters that a Bind must have, where pgwarden has to know: where it appends some. Otherwise the
    /// number given, for the server to judge.
    pub fn expected_params(&self, given: u16) -> u16 {
        let appends = !self.guarded.extra_values().is_empty();
        self.guarded.plans().first().filter(|_| appends).map_or(given, |plan| plan.client_params)
    }

    /// Parameter types to prepare it with.
    pub fn param_types(&self) -> Vec<Oid> {
        self.guarded.param_types(&self.declared)
    }

    /// The text to prepare. One that is shared holds no client's comments.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self.server {
            _ if self.tag.is_some() => "".into(),
            ServerStatement::Unnamed(_) | ServerStatement::BySql => self.guarded.text(),
            ServerStatement::Shared(_) => self.shared_text(),
        }
    }

    /// The text to prepare under a name.
    pub fn shared_text(&self) -> std::borrow::Cow<'_, str> {
        if self.tag.is_some() { "".into() } else { self.guarded.plain_text() }
    }

    /// Whether the text to prepare is the client's.
    pub fn is_as_written(&self) -> bool {
        let shared = matches!(self.server, ServerStatement::Shared(_));
        self.guarded.is_as_written() && !(shared && self.guarded.has_comments())
    }
}

/// Takes back what was done to the client's names by a message that failed, or that the server skips.
#[derive(Debug)]
pub enum Undo {
    /// A statement was prepared.
    Parsed {
        /// The statement.
        statement: Arc<Statement>,
        /// The unnamed one that gave way to it.
        replaced: Option<Arc<Statement>>,
    },
    /// A statement was dropped.
    Dropped(Arc<Statement>),
}

impl Undo {
    /// Of an unnamed statement: which Parse made it, and what there is without that.
    pub fn unnamed(&self, failed: bool) -> Option<(u64, Option<Arc<Statement>>)> {
        match self {
            Undo::Parsed { statement, replaced } if statement.name.is_empty() => {
                Some((statement.parse, replaced.clone().filter(|_| !failed)))
            }
            Undo::Parsed { .. } | Undo::Dropped(_) => None,
        }
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        match self {
            Undo::Parsed { statement, .. } | Undo::Dropped(statement) => &statement.name,
        }
    }
}

/// A portal's name, and what it stood for before it was bound or closed.
#[derive(Debug)]
pub struct PortalUndo {
    name: Box<str>,
    before: Option<Portal>,
}

/// The statements of one client by name.
#[derive(Debug, Default)]
pub struct Statements {
    named: HashMap<Box<str>, Arc<Statement>, RandomState>,
    unnamed: Option<Arc<Statement>>,
    bytes: usize,
    serial: u64,
}

impl Statements {
    /// A number for a new unnamed statement.
    pub fn next_unnamed(&mut self) -> ServerStatement {
        ServerStatement::Unnamed(self.next_parse())
    }

    /// A number for a Parse.
    pub fn next_parse(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A statement by the client's name.
    pub fn get(&self, name: &str) -> Option<&Arc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Whether another statement of this size may be prepared.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.named.len() < CLIENT_STATEMENTS && self.bytes.saturating_add(bytes) <= CLIENT_BYTES
    }

    /// Notes a statement under its name. The caller has checked that a named one does not exist yet.
    pub fn insert(&mut self, statement: Arc<Statement>) -> Undo {
        let replaced = if statement.name.is_empty() {
            self.unnamed.replace(statement.clone())
        } else {
            self.bytes += weight(&statement);
            self.named.insert(statement.name.clone(), statement.clone());
            None
        };
        Undo::Parsed { statement, replaced }
    }

    /// Drops a name. Returns the statement, if there was one.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Statement>> {
        if name.is_empty() {
            return self.unnamed.take();
        }
        let old = self.named.remove(name)?;
        self.bytes = self.bytes.saturating_sub(weight(&old));
        Some(old)
    }

    /// Puts a statement in the place of another one, if its name stands for that.
    pub fn supersede(&mut self, old: &Arc<Statement>, new: Statement) -> Arc<Statement> {
        let stands = self.get(&old.name).is_some_and(|current| Arc::ptr_eq(current, old));
        if stands { self.replace(new) } else { Arc::new(new) }
    }

    /// Puts a statement in the place of the one of its name.
    pub fn replace(&mut self, statement: Statement) -> Arc<Statement> {
        let statement = Arc::new(statement);
        self.remove(&statement.name);
        self.insert(Arc::clone(&statement));
        statement
    }

    /// All are decided anew before they are used: the session works elsewhere.
    pub fn outdate(&mut self) {
        for statement in self.named.values_mut().chain(&mut self.unnamed) {
            Arc::make_mut(statement).epoch = OUTDATED;
        }
    }

    /// Whether all can be decided anew.
    pub fn can_be_remade(&self) -> bool {
        self.named.values().chain(&self.unnamed).all(|statement| statement.origin.is_some())
    }

    /// Drops all names (DEALLOCATE ALL leaves the unnamed statement alone, DISCARD ALL too).
    pub fn clear_named(&mut self) {
        self.named.clear();
        self.bytes = 0;
    }

    /// Takes a change back, unless the name stands for what another Parse made. A Parse that `failed` was begun: the
    /// unnamed statement before it is gone, as in Postgres.
    pub fn undo(&mut self, undo: Undo, failed: bool) {
        match undo {
            Undo::Parsed { statement, replaced } => {
                if self.get(&statement.name).is_some_and(|current| current.parse == statement.parse) {
                    self.remove(&statement.name);
                    replaced.filter(|_| !failed).into_iter().for_each(|it| drop(self.insert(it)));
                }
            }
            Undo::Dropped(statement) => {
                if self.get(&statement.name).is_none() {
                    self.insert(statement);
                }
            }
        }
    }
}

fn weight(statement: &Statement) -> usize {
    let origin = statement.origin.as_ref().map_or(0, |origin| origin.text.len());
    statement.guarded.text().len() + origin + statement.name.len() + 256
}

/// 26000, in Postgres's words.
pub fn no_such_statement(name: &str) -> PgError {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    PgError::error(SqlState::INVALID_SQL_STATEMENT_NAME, message)
}
