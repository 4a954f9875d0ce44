//! Sessions of readers: the keys of all of their tenants, as they are when a transaction begins.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::statements::Statement;
use super::{Batch, Session};
use crate::base::{PgError, Refusal, TenantKeys};

/// Finds whose rows a reader reads.
pub trait Reads: Send + Sync {
    /// Changes with what [`Reads::keys`] gives.
    fn version(&self) -> u64;
    /// The keys of the tenants, and their version.
    ///
    /// # Errors
    /// Why the session may read nothing now.
    fn keys(&self) -> (u64, Result<TenantKeys, PgError>);
}

/// Whose rows the session reads.
pub(super) struct Reading {
    source: Box<dyn Reads>,
    /// Of the keys here; `None`: there are none yet.
    version: Option<u64>,
    keys: Result<TenantKeys, PgError>,
}

impl Reading {
    /// Those of the transaction.
    pub(super) fn keys(&self) -> Result<&TenantKeys, Refusal> {
        self.keys.as_ref().map_err(|error| Refusal {
            kind: crate::base::RefusalKind::Relation,
            object: None,
            error: Box::new(error.clone()),
        })
    }
}

impl Session {
    /// Makes this the session of a reader.
    #[must_use]
    pub fn reading(mut self, source: Box<dyn Reads>) -> Self {
        let reading = Reading { source, version: None, keys: Ok(TenantKeys::default()) };
        self.context.reading = Some(Box::new(reading));
        self
    }

    /// Before a text is bound: a transaction that begins with it is for the tenants that there are now. Where that is not known,
    /// because replies are outstanding, they are waited for.
    pub(super) fn renew_keys(&mut self) -> Result<(), NotReady> {
        let Some(reading) = self.context.reading.as_ref() else { return Ok(()) };
        if reading.version == Some(reading.source.version()) {
            return Ok(());
        }
        if !self.starts() && self.server.batch == Batch::Closed {
            self.server.settle()?;
        }
        if !self.starts() {
            return Ok(());
        }
        if let Some(reading) = self.context.reading.as_mut() {
            let (version, keys) = reading.source.keys();
            (reading.version, reading.keys) = (Some(version), keys);
        }
        Ok(())
    }

    /// A statement that was prepared for other tenants, as it is for those of the transaction.
    pub(super) fn with_keys_now(&mut self, statement: Arc<Statement>) -> Result<Arc<Statement>, NotReady> {
        self.renew_keys()?;
        let Some(reading) = self.context.reading.as_ref() else { return Ok(statement) };
        let refused = |refusal: Refusal| NotReady::Refuse(*refusal.error);
        let guarded = reading.keys().and_then(|keys| statement.guarded.rebind(keys)).map_err(refused)?;
        if guarded.has_values_of(&statement.guarded) {
            return Ok(statement);
        }
        let backend = Arc::clone(&self.context.backend);
        Ok(self.renew(Statement::clone(&statement), guarded, backend))
    }
}
