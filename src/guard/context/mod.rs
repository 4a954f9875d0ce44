//! The tenant context of a login that acts for several tenants: which statements of a text set it, show it, or end or
//! undo what was set, and which tenant a leading comment names. What is not read here stays with the guard's own rules,
//! which seal the setting: a form that is not known is refused, never passed on.

mod read;
#[cfg(test)]
mod tests;
mod text;

pub use read::{OfPath, comment, outline};
pub use text::{concat, show, switch};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It stands in the text. Empty: no tenant.
    Text(String),
    /// It is the client's only parameter.
    Param,
    /// What the session started with: no tenant.
    Default,
}

/// How long a switch lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Beyond the transaction, if that commits.
    Session,
    /// To the end of the transaction.
    Local,
}

/// How the client worded it, which decides how it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// SET or SHOW.
    Command,
    /// RESET.
    Reset,
    /// `set_config()` or `current_setting()` in a SELECT, with the name of its column.
    Function(String),
}

/// What the end or the parts of a transaction do to settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStep {
    /// COMMIT.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT of this name.
    Savepoint(String),
    /// RELEASE of this name.
    Release(String),
    /// ROLLBACK TO this name.
    RollbackTo(String),
}

/// One statement, as far as the tenant context goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It leaves the context alone.
    None,
    /// It names the tenant.
    Switch {
        /// Which.
        value: Value,
        /// For how long.
        scope: Scope,
        /// In which words.
        form: Form,
    },
    /// It asks for the tenant.
    Show(Form),
    /// It begins a transaction, and is answered with this tag.
    Begin(&'static str),
    /// It ends or marks a transaction.
    Transaction(TransactionStep),
    /// DISCARD ALL or RESET ALL: no tenant.
    Clear,
    /// DECLARE: what it opens belongs to the tenant of the moment, up to the end of the transaction.
    Cursor,
}

/// The statements of a text, each with its own.
pub type Outline = Vec<(String, Step)>;
