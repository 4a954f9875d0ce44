//! PAUSE TENANT, RESUME TENANT

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::GateKeeper;
use crate::app::tenants::SourceError;
use crate::base::{PgError, SqlState, TenantName};
use crate::control::connect;
use crate::tenant::Gate;

/// A gate that is shut for all proxies is known here within this time.
const HEARD: Duration = Duration::from_secs(10);
/// How often it is looked whether the tenant is drained.
const LOOK: Duration = Duration::from_millis(10);

impl GateKeeper {
    /// Shuts a tenant's gate for so long at most: at all proxies, where they agree by tables, else at this one. Returns when nothing of
    /// the tenant is under way here.
    ///
    /// # Errors
    /// There is no such tenant, its gate is shut already, or its transactions do not end in time.
    pub async fn pause(self: &Arc<Self>, name: &str, time: Duration) -> Result<(), PgError> {
        let tenant = self.known_tenant(name)?;
        let deadline = Instant::now() + time;
        if self.gates().get(&tenant).is_some() {
            return Err(shut_already(name));
        }
        match self.part().filter(|_| !self.is_of_file(&tenant)) {
            Some(part) => {
                let client =
                    connect(&part.upstream, "pgwarden console").await.map_err(|error| failed(&error.into()))?;
                let shut = part.within(part.tables.shut(&client, name, time)).await.map_err(|error| failed(&error))?;
                if !shut {
                    return Err(shut_already(name));
                }
                self.wake.notify_one();
            }
            None => self.shut_here(&tenant, deadline),
        }
        self.wait_until_drained(&tenant, deadline).await
    }

    /// Opens a tenant's gate that [`GateKeeper::pause`] has shut.
    ///
    /// # Errors
    /// It was not.
    pub async fn resume(self: &Arc<Self>, name: &str) -> Result<(), PgError> {
        let tenant = TenantName::new(name);
        if self.gates().get(&tenant).is_some_and(|it| it.gate.epoch.is_none()) {
            self.open(&[tenant]);
            return Ok(());
        }
        let Some(part) = self.part() else { return Err(not_shut(name)) };
        let client = connect(&part.upstream, "pgwarden console").await.map_err(|error| failed(&error.into()))?;
        let opened = part.within(part.tables.open(&client, name)).await.map_err(|error| failed(&error))?;
        self.wake.notify_one();
        if opened { self.wait_until_open(&tenant).await } else { Err(not_shut(name)) }
    }

    fn known_tenant(&self, name: &str) -> Result<TenantName, PgError> {
        let registry = self.shared.registry.load();
        let tenant = registry.tenant(name).map(|tenant| tenant.name.clone());
        tenant.ok_or_else(|| {
            PgError::error(SqlState::UNDEFINED_OBJECT, format!("no tenant \"{name}\"")).hint("SHOW TENANTS lists them.")
        })
    }

    fn is_of_file(&self, tenant: &TenantName) -> bool {
        self.reloader.tenants_of_file().contains(tenant)
    }

    /// Shuts a gate that no other proxy knows of.
    fn shut_here(self: &Arc<Self>, tenant: &TenantName, deadline: Instant) {
        self.shut(tenant, Gate { epoch: None, reason: "console".into(), deadline, travel: true });
        let (keeper, tenant) = (Arc::clone(self), tenant.clone());
        let since = self.gates().get(&tenant).map(|it| it.since);
        tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            if keeper.gates().get(&tenant).map(|it| it.since) == since {
                keeper.open(&[tenant]);
            }
        });
    }

    async fn wait_until_drained(&self, tenant: &TenantName, deadline: Instant) -> Result<(), PgError> {
        let heard = Instant::now() + HEARD;
        let mut seen = false;
        loop {
            match self.gates().get(tenant) {
                Some(it) if it.drained => return Ok(()),
                Some(_) => seen = true,
                None if !seen && Instant::now() < heard.min(deadline) => {}
                None => {
                    let message = format!("the gate of tenant \"{tenant}\" opened before its transactions had ended");
                    return Err(PgError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                        .hint("SHOW CLIENTS lists them; PAUSE TENANT name FOR '5min' waits longer."));
                }
            }
            sleep(LOOK).await;
        }
    }

    async fn wait_until_open(&self, tenant: &TenantName) -> Result<(), PgError> {
        let end = Instant::now() + HEARD;
        while self.gates().get(tenant).is_some() && Instant::now() < end {
            sleep(LOOK).await;
        }
        Ok(())
    }
}

fn shut_already(name: &str) -> PgError {
    PgError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("the gate of tenant \"{name}\" is shut already"))
        .hint("SHOW GATES tells why.")
}

fn not_shut(name: &str) -> PgError {
    PgError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("tenant \"{name}\" was not paused"))
        .hint("SHOW GATES lists gates that are shut. One that a move has shut opens with that, or at its deadline.")
}

fn failed(error: &SourceError) -> PgError {
    PgError::error(SqlState::CONNECTION_FAILURE, "the tables by which proxies agree cannot be written")
        .detail(error.to_string())
}
