//! What a tenant had before it moved.

use serde_json::{Value as Json, json};

use super::record::{Move, State};
use super::{Destination, MoveRequest};
use crate::config::{Config, GateTables, Layout, Tenant};
use crate::lifecycle::admin::Admin;
use crate::lifecycle::create::describe;
use crate::lifecycle::delete::{Deleted, Pace, own};
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::operations::Operation;
use crate::lifecycle::{Lifecycle, RoleChoice};
use crate::tenant::table::{Row, merge};

/// A name that no tenant has.
const NOBODY: &str = "what-was-left-behind";

impl Lifecycle {
    /// Deletes what the tenant had in the old place.
    pub(super) async fn finish(
        &self,
        name: &str,
        (batch, rate): (u32, Option<u32>),
        tables: &GateTables,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let admin = operation.admin();
        let Some(mut left) = Move::open_of(admin, tables, name).await? else {
            return Ok(json!({ "tenant": name, "found": "nothing that was left behind" }));
        };
        if !left.state.is_switched() {
            return self.refuse_moving(admin, name).await.map(|()| Json::Null);
        }
        let old = self.place_of_row(&left.source)?;
        self.refuse_whoever_lives_there(&left.source).await?;
        self.refuse_others_place(&old)?;
        left.reach(admin, tables, State::Finishing).await?;
        let deleted = self.delete_place(&old, Pace::new(batch, rate), operation).await?;
        left.reach(admin, tables, State::Done).await?;
        Ok(json!({ "tenant": name, "finished": describe(&old), "deleted": deleted }))
    }

    /// Moves it to where it came from, with the rows that it has now. The old ones go first.
    pub(super) async fn go_back(
        &self,
        request: &MoveRequest,
        tables: &GateTables,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let name = request.name.as_str();
        let Some(left) = Move::open_of(operation.admin(), tables, name).await?.filter(|it| it.state.is_switched())
        else {
            return Err(LifecycleError::refused(
                format!("tenant \"{name}\" has no move that could be undone"),
                "say where it is to live: --to",
            ));
        };
        let old = self.place_of_row(&left.source)?;
        if old.layout != Layout::Shared && !request.trust {
            return Err(LifecycleError::refused(
                "the old place is made again with the definitions of the present one, which may be the tenant's own work",
                "look at them, and say --trust",
            ));
        }
        self.finish(name, (1000, None), tables, operation).await?;
        let text = |value: &Option<Box<str>>| value.as_deref().map(str::to_owned);
        let to = Destination {
            layout: text(&left.source.layout).unwrap_or_else(|| "shared".to_owned()),
            named: text(&left.source.schema).or_else(|| text(&left.source.database)),
            upstream: Some(old.upstream.name.to_string()),
            role: text(&left.source.role).map_or(RoleChoice::None, RoleChoice::Named),
            key: text(&left.source.key),
            ..Destination::default()
        };
        self.begin(request, &to, tables, operation).await
    }

    /// What stands of a tenant's moves.
    pub(super) async fn left_of_moves(
        &self,
        admin: &Admin,
        tables: &GateTables,
        name: &str,
    ) -> Result<Json, LifecycleError> {
        let Some(left) = Move::open_of(admin, tables, name).await? else {
            return Ok(json!({ "found": "no move that was not finished" }));
        };
        let (old, new) = (self.place_of_row(&left.source)?, self.place_of_row(&left.target)?);
        let counts = if left.state.is_switched() { self.counts(&old).await? } else { Vec::new() };
        Ok(
            json!({ "state": left.state.as_str(), "from": describe(&old), "to": describe(&new), "would_delete": counts }),
        )
    }

    /// Rows that came to shared tables, and whose tenant lives elsewhere.
    pub(super) async fn delete_arrived(
        &self,
        target: &Tenant,
        operation: &Operation,
    ) -> Result<Vec<Deleted>, LifecycleError> {
        self.delete_rows(target, Pace::new(1000, None), operation).await
    }

    async fn delete_place(
        &self,
        old: &Tenant,
        pace: Pace,
        operation: &Operation,
    ) -> Result<Vec<Deleted>, LifecycleError> {
        match &old.layout {
            Layout::Shared => self.delete_rows(old, pace, operation).await,
            Layout::Schema { schema, role } => {
                let role = role.as_deref().filter(|role| !self.is_others_role(old, role));
                own::drop_schema(old, schema, role).await
            }
            Layout::Database => own::drop_database(old).await,
        }
    }

    fn place_of_row(&self, row: &Row) -> Result<Tenant, LifecycleError> {
        row.tenant(&self.file_alone()).map_err(|why| {
            LifecycleError::refused(
                format!("the place of a move is in the configuration no more: {why}"),
                "write its upstream there again, until the move is finished",
            )
        })
    }

    /// Nobody may live where a tenant's old rows are, nor it itself.
    async fn refuse_whoever_lives_there(&self, old: &Row) -> Result<(), LifecycleError> {
        let mut rows = self.listed_rows().await?;
        rows.push(Row { name: Some(NOBODY.into()), ..old.clone() });
        match merge(&self.file_alone(), &rows).rejected.into_iter().find(|it| it.name == NOBODY) {
            None => Ok(()),
            Some(it) => Err(LifecycleError::refused(
                format!("somebody lives where the old rows are: {}", it.why),
                "what is there would be deleted with them: see the lines of the tenants",
            )),
        }
    }

    /// Where old rows are, nobody else begins.
    pub(in crate::lifecycle) async fn refuse_remains_of_others(
        &self,
        admin: &Admin,
        row: &Row,
    ) -> Result<(), LifecycleError> {
        let Some(tables) = &self.home.gates else { return Ok(()) };
        let alone = Config { tenants: Vec::new(), ..self.config.clone() };
        for left in Move::all_open(admin, tables).await? {
            for place in [&left.source, &left.target] {
                let place = Row { name: Some(NOBODY.into()), ..place.clone() };
                let dispute = left.tenant != row.name.as_deref().unwrap_or_default()
                    && !merge(&alone, &[row.clone(), place]).rejected.is_empty();
                if dispute {
                    return Err(LifecycleError::refused(
                        format!("what tenant \"{}\" left behind, or brings, is there", left.tenant),
                        format!("pgwarden tenant move {0} --finish deletes it, or --abort takes it back", left.tenant),
                    ));
                }
            }
        }
        Ok(())
    }
}
