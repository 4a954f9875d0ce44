//! The console: a database called `pgwarden` that answers SHOW and takes operators' orders, over psql or any driver, like
//! PgBouncer's.
//!
//! What SHOW can show stands in a list of [`ShowTable`]s: other rooms' tables are added where the process is put together.

mod command;
mod conversation;
mod encode;
pub mod metrics;
mod run;
pub mod table;
mod tables;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use command::Shutdown;
pub use table::{Cell, Column, ShowTable, View};

use crate::base::{PgError, UpstreamName};
use crate::config::Config;
use crate::pool::Pools;
use crate::session::{ConsoleHost, ConsoleSession, SharedState};

/// A future of the console.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the console can have done.
pub trait Operations: Send + Sync {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;
    /// Reads the configuration again. What an operator should know of it comes back a line each.
    ///
    /// # Errors
    /// All that is wrong with it.
    fn reload(&self) -> Boxed<'_, Result<Vec<String>, PgError>>;
    /// Lets clients of an upstream (of all) wait; returns when its server connections are closed.
    ///
    /// # Errors
    /// There is none of that name.
    fn pause<'a>(&'a self, upstream: Option<&'a UpstreamName>) -> Boxed<'a, Result<(), PgError>>;
    /// Ends a pause.
    ///
    /// # Errors
    /// There is none of that name.
    fn resume(&self, upstream: Option<&UpstreamName>) -> Result<(), PgError>;
    /// Shuts a tenant's gate for so long at most; returns when nothing of the tenant is under way.
    ///
    /// # Errors
    /// There is none of that name, its gate is shut already, or its transactions do not end in time.
    fn pause_tenant<'a>(&'a self, tenant: &'a str, time: Duration) -> Boxed<'a, Result<(), PgError>>;
    /// Opens a tenant's gate that was shut so.
    ///
    /// # Errors
    /// It was not.
    fn resume_tenant<'a>(&'a self, tenant: &'a str) -> Boxed<'a, Result<(), PgError>>;
    /// Stops the process.
    fn shut_down(&self, how: Shutdown);
}

/// The console.
pub struct Console {
    shared: Arc<SharedState>,
    pools: Pools,
    operations: Arc<dyn Operations>,
    tables: Vec<Box<dyn ShowTable>>,
}

impl Console {
    /// A console with the tables of this room.
    pub fn new(shared: Arc<SharedState>, pools: Pools, operations: Arc<dyn Operations>) -> Self {
        Self { shared, pools, operations, tables: tables::all() }
    }

    /// Adds something to SHOW.
    pub fn show(mut self, table: impl ShowTable + 'static) -> Self {
        self.tables.push(Box::new(table));
        self
    }

    fn view(&self) -> View {
        View { shared: Arc::clone(&self.shared), pools: self.pools.clone(), config: self.operations.config() }
    }
}

impl ConsoleHost for Console {
    fn serve(&self, session: ConsoleSession) -> Boxed<'_, ()> {
        Box::pin(conversation::serve(self, session))
    }
}
