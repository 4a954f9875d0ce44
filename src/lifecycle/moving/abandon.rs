//! A move that does not come to its end is taken back: the gate is opened, and the new place is as before.

use serde_json::{Value as Json, json};

use super::gate;
use super::record::{Move, State};
use crate::config::{GateTables, Layout, Tenant};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::create::{Made, describe};
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::operations::Operation;

impl Lifecycle {
    /// What to do when a step has failed: unless the tenant lives in the new place after all.
    pub(super) async fn after_failure(
        &self,
        record: Move,
        (admin, tables): (&Admin, &GateTables),
        error: LifecycleError,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        // What the connection was doing may have been broken off in the middle.
        let fresh = Admin::connect(&self.home.upstream).await;
        let (Ok(fresh), false) = (fresh, admin.is_closed()) else {
            return Err(LifecycleError::refused(
                format!("{error}; and the registry cannot be reached"),
                format!(
                    "when it can: pgwarden tenant move {} --abort; until then its gate opens by itself",
                    record.tenant
                ),
            ));
        };
        let left = Move::open_of(&fresh, tables, &record.tenant).await?;
        match left.filter(|it| it.id == record.id) {
            Some(it) if !it.state.is_switched() => {
                self.take_back(it, (&fresh, tables), &error.to_string(), operation).await?;
                Err(error)
            }
            _ => Err(error),
        }
    }

    /// A killed run's move.
    pub(super) async fn abort(
        &self,
        name: &str,
        tables: &GateTables,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let admin = operation.admin();
        match Move::open_of(admin, tables, name).await? {
            Some(left) if left.state.is_switched() => Err(LifecycleError::refused(
                format!("tenant \"{name}\" has moved already"),
                format!("pgwarden tenant move {name} --back moves it back, --finish deletes what it had"),
            )),
            Some(left) => {
                let state = left.state.as_str();
                self.take_back(left, (admin, tables), "taken back", operation).await?;
                Ok(json!({ "tenant": name, "taken_back": state }))
            }
            None => Ok(json!({ "tenant": name, "found": "no move that was not finished" })),
        }
    }

    /// Opens the gate, and undoes what was made.
    pub(super) async fn take_back(
        &self,
        mut record: Move,
        (admin, tables): (&Admin, &GateTables),
        why: &str,
        operation: &Operation,
    ) -> Result<(), LifecycleError> {
        if let Some(epoch) = record.epoch {
            gate::open(admin, tables, &record.tenant, epoch).await?;
        }
        self.tell("taking back what was made");
        let target = record.target.tenant(&self.file_alone()).map_err(|why| {
            LifecycleError::refused(
                format!("the new place of tenant \"{}\" is in the configuration no more: {why}", record.tenant),
                "write its upstream there again, until the move is taken back",
            )
        })?;
        match target.layout {
            // Nobody else has the key: that was seen before. Before the last state nothing was committed.
            Layout::Shared if record.state == State::Switching => {
                self.delete_arrived(&target, operation).await?;
            }
            Layout::Shared => {}
            Layout::Schema { .. } | Layout::Database => {
                if self.is_marked(&record, &target).await? {
                    Made::of(&target).undo(&target).await?;
                }
            }
        }
        record.note(admin, tables, None, Some(why)).await?;
        record.reach(admin, tables, State::Aborted).await
    }

    /// Whether the new place is there. One that this move did not make stays.
    async fn is_marked(&self, record: &Move, target: &Tenant) -> Result<bool, LifecycleError> {
        if !self.is_there(target).await? {
            return Ok(false);
        }
        let (sql, name, admin) = match &target.layout {
            Layout::Schema { schema, .. } => (
                "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1",
                schema.to_string(),
                Admin::connect(&target.upstream).await?,
            ),
            Layout::Shared | Layout::Database => (
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
                target.upstream.database.clone(),
                Admin::beside(&target.upstream).await?,
            ),
        };
        match admin.value::<Option<String>>(sql, &[&name]).await?.flatten() {
            Some(mark) if mark == record.mark() => Ok(true),
            _ => Err(LifecycleError::refused(
                format!("{} is there, and does not say that the move made it", describe(target)),
                "if nobody else did, drop it, and say this again",
            )),
        }
    }
}
