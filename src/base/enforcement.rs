//! What keeps tenants apart, as the configuration spells it.

use std::sync::Arc;

use super::keys::Arity;

/// What keeps the tenants of the shared layout apart on an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The guard puts the tenant's predicate into every statement.
    #[default]
    Rewrite,
    /// Row-level security does; the guard denies what it always denies, and leaves conditions as they are.
    Rls,
    /// Both.
    RewriteAndRls,
}

impl Enforcement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rewrite, Self::Rls, Self::RewriteAndRls];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Rls => "rls",
            Self::RewriteAndRls => "rewrite+rls",
        }
    }

    /// Policies are counted on.
    pub fn uses_rls(self) -> bool {
        match self {
            Self::Rewrite => false,
            Self::Rls | Self::RewriteAndRls => true,
        }
    }
}

/// What a tenant may do with the rows of a table that it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read them.
    #[default]
    Read,
    /// And add some.
    Insert,
    /// And change them.
    Write,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Insert, Self::Write];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Write => "write",
        }
    }
}

/// What becomes of what the witness says of a text: the reading by a second grammar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Witness {
    /// A statement in which it sees a tenant relation uncovered is refused.
    #[default]
    Enforce,
    /// It is sent, and audited.
    Report,
    /// It is not heard.
    Off,
}

impl Witness {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Report, Self::Off];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}

/// Where the statements of a session go, and so what is refused of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Shared layout: every tenant relation behind its predicate.
    Shared,
    /// Shared layout, of several tenants at once: every tenant relation behind the predicate with all their keys. Nothing is
    /// written.
    Reader,
    /// Schema layout: the search path is pinned to this schema, other schemas are refused.
    Schema(Arc<str>),
    /// Database layout: only what leaves the database is refused.
    Database,
    /// An operator login: nothing is refused; effects on the session are still followed.
    Operator,
}

impl Mode {
    /// Whether tenants are told apart by a column: in the tables of the shared layout.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Shared | Self::Reader => true,
            Self::Schema(_) | Self::Database | Self::Operator => false,
        }
    }

    /// Of how many tenants statements mean the rows at a time.
    pub fn arity(&self) -> Arity {
        match self {
            Self::Reader => Arity::Several,
            Self::Shared | Self::Schema(_) | Self::Database | Self::Operator => Arity::One,
        }
    }
}
