//! From where to where: the tenant's line as it is, and as it will be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::MoveRequest;
use crate::config::{Config, Layout, Tenant};
use crate::control;
use crate::lifecycle::create::describe;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::{Lifecycle, RoleChoice};
use crate::tenant::table::{Row, merge, read};

/// Where a tenant is to live.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    /// `shared`, `schema` or `database`.
    pub layout: String,
    /// The schema or database; without it, by the pattern, or as the tenant's name.
    pub named: Option<String>,
    /// The upstream; without it, where the tenant is.
    pub upstream: Option<String>,
    /// The role of a tenant with a schema.
    pub role: RoleChoice,
    /// Its key, if it has none or is to have another.
    pub key: Option<String>,
    /// Further keys.
    pub keys: BTreeMap<String, String>,
    /// A database that its own begins as a copy of: with the extensions that the admin role may not make.
    pub template: Option<String>,
}

/// Both ends of a move.
pub(super) struct Ends {
    pub from_row: Row,
    pub from: Arc<Tenant>,
    pub to_row: Row,
    pub to: Tenant,
}

impl Lifecycle {
    /// All rows of the tenants' table, as proxies read them.
    pub(super) async fn listed_rows(&self) -> Result<Vec<Row>, LifecycleError> {
        let Some(from) = &self.config.tenants_from else { return Ok(Vec::new()) };
        let client = control::connect(&self.home.upstream, "pgwarden tenant").await;
        let client = client.map_err(LifecycleError::at(&self.home.upstream))?;
        read(&client, &from.query).await.map_err(|error| LifecycleError::Tenants(error.into()))
    }

    /// The configuration with the tenants of the file alone.
    pub(super) fn file_alone(&self) -> Config {
        let tenants = self.config.tenants.iter().filter(|it| self.in_file.contains(&it.name)).cloned().collect();
        Config { tenants, ..self.config.clone() }
    }

    /// Both ends, if the tenant may live there beside all others.
    pub(super) async fn ends(&self, request: &MoveRequest, to: &Destination) -> Result<Ends, LifecycleError> {
        let name = request.name.as_str();
        let mut rows = self.listed_rows().await?;
        let Some(row) = rows.iter_mut().find(|row| row.name.as_deref() == Some(name)) else {
            return Err(match self.find(name) {
                Ok(_) => LifecycleError::refused(
                    format!("tenant \"{name}\" is not listed: the pattern makes it"),
                    format!("list it where it is: pgwarden tenant create {name} --adopt, with its layout"),
                ),
                Err(error) => error,
            });
        };
        if row.url.is_some() {
            return Err(LifecycleError::refused(
                format!("tenant \"{name}\" lives at a url"),
                "give its server a section [upstream.x], and the tenant \"upstream\" and \"database\" in its place",
            ));
        }
        let from_row = row.clone();
        row.upstream = to.upstream.as_deref().map(Into::into).or_else(|| row.upstream.take());
        self.settle(row, &to.layout, to.named.as_deref(), &to.role);
        if let Some(key) = &to.key {
            row.key = Some(key.as_str().into());
        }
        if !to.keys.is_empty() {
            row.keys = Some(serde_json::json!(to.keys).to_string().into());
        }
        let to_row = row.clone();
        let config = self.file_alone();
        let cannot = |why: String| {
            LifecycleError::refused(
                format!("tenant \"{name}\" cannot be there: {why}"),
                "what tenants are made of: docs/configuration.md",
            )
        };
        let from = Arc::new(from_row.tenant(&config).map_err(cannot)?);
        let to = to_row.tenant(&config).map_err(cannot)?;
        if same_place(&from, &to) {
            return Err(LifecycleError::refused(
                format!("tenant \"{name}\" lives there already: {}", describe(&to)),
                "nothing is to be done",
            ));
        }
        let rejected = merge(&config, &rows).rejected;
        let before: Vec<&str> = self.config.tenants.iter().map(|it| it.name.as_str()).collect();
        if let Some(it) = rejected.into_iter().find(|it| it.name == name || before.contains(&it.name.as_str())) {
            return Err(cannot(it.why));
        }
        Ok(Ends { from_row, from, to_row, to })
    }
}

/// One place, whatever it is called.
fn same_place(one: &Tenant, other: &Tenant) -> bool {
    one.upstream.address == other.upstream.address
        && one.upstream.database == other.upstream.database
        && match (&one.layout, &other.layout) {
            (Layout::Shared, Layout::Shared) | (Layout::Database, Layout::Database) => true,
            (Layout::Schema { schema, .. }, Layout::Schema { schema: other, .. }) => schema == other,
            (Layout::Shared | Layout::Schema { .. } | Layout::Database, _) => false,
        }
}
