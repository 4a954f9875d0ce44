//! The life of a tenant: made, shown, suspended, migrated, copied out and in, moved, deleted.
//!
//! Each operation stands by itself, for the command line and for others: a lock on the tenant (of the database's, so that a killed
//! process leaves it free), a record in the table of operations, and nothing half done that a second run does not finish or undo.
//! It connects as `[upstream.*.admin]`, not as the pool's role; but what runs in places of tenants' own, where tenants may have made
//! things, runs with the rights of those places' owners ([`migrate`]).

mod admin;
mod book;
mod create;
mod ddl;
mod delete;
mod error;
mod export;
mod import;
pub mod migrate;
mod moving;
mod operations;
mod plain;
mod questions;
mod rows;
mod show;
mod suspend;
mod tables;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use create::{CreateRequest, RoleChoice};
pub use delete::DeleteRequest;
pub use error::LifecycleError;
pub use export::ExportRequest;
pub use import::ImportRequest;
pub use moving::{Destination, MoveRequest, MoveStep};
pub use questions::{Column, Question, Reduction, Said, ask};
pub use show::{Size, Summary, View};
pub use tables::Home;

use crate::base::{QualifiedName, TenantName};
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Tenant, writers_of};
use crate::guard::Policy;
use crate::policy::PolicyNote;
use crate::tenant::table::Rejected;
use error::place_of;

/// The tenants of a configuration, and what may be done to them.
pub struct Lifecycle {
    config: Config,
    /// Tenants that stand in the file itself.
    in_file: BTreeSet<TenantName>,
    home: Home,
    by: String,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Lifecycle {
    /// Reads the tenants of `[tenants_from]` beside those of the file. `by`: who does it, for the records; `tell` hears what is done.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn open(
        config: Config,
        by: String,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(Self, Vec<Rejected>), LifecycleError> {
        let home = Home::new(&config)?;
        let in_file = config.tenants.iter().map(|tenant| tenant.name.clone()).collect();
        let (config, rejected) = tenants::with_table(config).await?;
        Ok((Self { config, in_file, home, by, tell: Box::new(tell) }, rejected))
    }

    /// Makes pgwarden's own tables, if they are not there.
    ///
    /// # Errors
    /// The admin may not.
    pub async fn init(home: &Home) -> Result<(), LifecycleError> {
        admin::Admin::connect(&home.upstream).await?.run(&home.definition()).await
    }

    /// The tenant of this name.
    fn find(&self, name: &str) -> Result<Arc<Tenant>, LifecycleError> {
        tenants::find(&self.config, name).ok_or_else(|| LifecycleError::NoTenant(name.to_owned()))
    }

    /// The rules of the database where a tenant lives.
    async fn policy_of(&self, tenant: &Tenant) -> Result<Policy, LifecycleError> {
        self.load_rules(&self.config, tenant).await.map(|(policy, _)| policy)
    }

    /// The same by a configuration, and what does not fit. pgwarden's own tables are nobody's, whatever columns they have.
    async fn load_rules(&self, config: &Config, tenant: &Tenant) -> Result<(Policy, Vec<PolicyNote>), LifecycleError> {
        let loaded = load_policy(config, &tenant.upstream).await;
        let (mut policy, notes) =
            loaded.map_err(|error| LifecycleError::Catalog { place: place_of(&tenant.upstream), error })?;
        let own = self.tables_of_pgwarden();
        policy.tables.retain(|name, _| !own.contains(name));
        Ok((policy, notes))
    }

    /// The configuration with a tenant that is not in it yet.
    fn with(&self, tenant: &Tenant) -> Config {
        let mut tenants = self.config.tenants.clone();
        tenants.push(Arc::new(tenant.clone()));
        Config { tenants, ..self.config.clone() }
    }

    /// Tables that pgwarden keeps for itself.
    fn tables_of_pgwarden(&self) -> Vec<QualifiedName> {
        let tenants = self.home.tenants.iter().map(|(table, _)| table.clone());
        let migrations = QualifiedName::new("public", migrate::TABLE);
        let usage = self.config.quota.iter().flat_map(|quota| [quota.table.clone(), writers_of(&quota.table)]);
        let gates = self.home.gates.iter().flat_map(|it| it.clone().all());
        tenants.chain([self.home.operations.clone(), migrations]).chain(usage).chain(gates).collect()
    }

    /// A listed tenant as it is now: another command may have changed it before this one had its lock.
    async fn as_listed_now(&self, name: &str) -> Result<Arc<Tenant>, LifecycleError> {
        let of_file =
            self.config.tenants.iter().filter(|tenant| self.in_file.contains(&tenant.name)).cloned().collect();
        let (config, _) = tenants::with_table(Config { tenants: of_file, ..self.config.clone() }).await?;
        let found = config.tenants.iter().find(|tenant| tenant.name.as_str() == name);
        found.cloned().ok_or_else(|| LifecycleError::NoTenant(name.to_owned()))
    }

    fn tell(&self, what: &str) {
        (self.tell)(what);
    }
}
