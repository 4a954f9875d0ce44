//! The moment from which the tenant lives in the new place.

use super::gate::Gate;
use super::record::{Move, State};
use crate::config::GateTables;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::tenant::table::{Row, read};

impl Lifecycle {
    /// Changes the tenant's line, opens its gate and records both: all or nothing, and not after the deadline.
    pub(super) async fn switch(
        &self,
        row: &Row,
        gate: &Gate<'_>,
        record: &mut Move,
        (admin, tables): (&Admin, &GateTables),
    ) -> Result<(), LifecycleError> {
        admin.run("BEGIN").await?;
        let written = async {
            gate.hold().await?;
            self.write_place(admin, row).await?;
            self.refuse_unread(admin, row).await?;
            gate.open().await?;
            record.reach(admin, tables, State::Switched).await
        };
        match written.await {
            // If its answer is lost, the record says what became of it.
            Ok(()) => admin.run("COMMIT").await,
            Err(error) => {
                record.state = State::Switching;
                admin.run("ROLLBACK").await?;
                Err(error)
            }
        }
    }

    /// What proxies will read must be what was meant: a statement or a query of one's own may know no layouts.
    async fn refuse_unread(&self, admin: &Admin, row: &Row) -> Result<(), LifecycleError> {
        let Some(from) = &self.config.tenants_from else { return Ok(()) };
        admin.run("SET LOCAL search_path TO DEFAULT").await?;
        let rows = read(admin, &from.query).await.map_err(|error| LifecycleError::Tenants(error.into()))?;
        admin.run("SET LOCAL search_path = ''").await?;
        let config = self.file_alone();
        let place = |row: &Row| {
            row.tenant(&config).map(|it| (it.layout, it.upstream.name.clone(), it.upstream.database.clone(), it.keys))
        };
        let found = rows.iter().find(|it| it.name == row.name).map(place);
        match found {
            Some(Ok(found)) if place(row).as_ref() == Ok(&found) => Ok(()),
            _ => Err(LifecycleError::refused(
                "the query of [tenants_from] does not give the tenant's new place when it is written",
                "it reads layout, schema, role, upstream and database; [tenants_from.write] move writes them",
            )),
        }
    }
}
