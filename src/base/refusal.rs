//! Why a statement is refused: for the client as a Postgres error, for the audit log as a kind.

use std::borrow::Cow;

use crate::base::{PgError, SqlState};

/// What sort of refusal it is, for the audit log and metrics. The client sees the [`PgError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Postgres's grammar does not accept the text: an ordinary error, not an attack.
    Syntax,
    /// A relation, column or function that does not exist: the error Postgres would give.
    Undefined,
    /// A relation that no tenant may touch, or that is not configured.
    Relation,
    /// A function or operator that is not on the allow list.
    Function,
    /// A setting that is sealed.
    Setting,
    /// A statement kind that tenants may not run.
    Statement,
    /// A value for another tenant.
    ForeignTenant,
    /// Legal SQL that the guard cannot yet make safe.
    Unsupported,
    /// Too large, too deep, too many.
    Limit,
    /// The verifier found the rewritten text wanting: a defect of pgwarden, and the statement did not go out.
    Verifier,
    /// The witness, which reads by another grammar, sees a tenant relation uncovered that the verifier accepted.
    Witness,
}

impl RefusalKind {
    /// A short stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalKind::Syntax => "syntax",
            RefusalKind::Undefined => "undefined",
            RefusalKind::Relation => "relation",
            RefusalKind::Function => "function",
            RefusalKind::Setting => "setting",
            RefusalKind::Statement => "statement",
            RefusalKind::ForeignTenant => "foreign_tenant",
            RefusalKind::Unsupported => "unsupported",
            RefusalKind::Limit => "limit",
            RefusalKind::Verifier => "verifier",
            RefusalKind::Witness => "witness",
        }
    }
}

/// Stands in the message of every refusal of a value for another tenant, also of the error that a statement raises which is
/// compared only when it runs.
pub const OWN_VALUE_ONLY: &str = "may hold only the tenant's own value";

/// What the server is made to say of a foreign key that leads to no row of the tenant's, with a prefix.
pub const FOREIGN_PARENT: &str = "violates foreign key constraint";

/// What the server is made to say where ON CONFLICT DO UPDATE meets a row that the tenant may not change.
pub const FOREIGN_ROW: &str = "the row in the way of ON CONFLICT is not the tenant's";

/// A statement that was not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the audit log.
    pub kind: RefusalKind,
    /// What it is about, for the audit log: the relation, function, setting, column or kind of statement.
    pub object: Option<Box<str>>,
    /// For the client.
    pub error: Box<PgError>,
}

impl Refusal {
    /// A refusal with any SQLSTATE; add detail and hint with [`Refusal::detail`] and [`Refusal::hint`].
    pub fn new(kind: RefusalKind, code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, object: None, error: Box::new(PgError::error(code, message)) }
    }

    /// Names what it is about.
    pub fn about(self, object: impl ToString) -> Self {
        Self { object: Some(object.to_string().into()), ..self }
    }

    /// Adds a detail.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.error.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }
}
