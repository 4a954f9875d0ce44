//! A new tenant: its place is made, then it is written down. What a run made is taken back if it fails later; what a killed run
//! had made is finished by the next.

pub(super) mod database;
mod schema;
mod shared;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::admin::Admin;
use super::book::{self, Change};
use super::error::{LifecycleError, place_of};
use super::migrate::FirstFiles;
use super::operations::{self, Operation, Verb};
use super::{Lifecycle, TenantName};
use crate::config::{Layout, PatternLayout, Tenant};
use crate::tenant::Registry;
use crate::tenant::table::{Row, merge};

/// The role that a tenant with a schema has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoleChoice {
    /// One that is called as its schema.
    #[default]
    OfSchema,
    /// This one.
    Named(String),
    /// None: its sessions act as the pool's role.
    None,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// The tenant's name.
    pub name: String,
    /// `shared`, `schema` or `database`.
    pub layout: String,
    /// Where; without it, as `[tenancy]` has it.
    pub upstream: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// Further keys.
    pub keys: BTreeMap<String, String>,
    /// Its schema; without it, by the pattern, or as its name.
    pub schema: Option<String>,
    /// Its role.
    pub role: RoleChoice,
    /// Its database; without it, by the pattern, or as its name.
    pub database: Option<String>,
    /// A schema or database that it begins with.
    pub template: Option<String>,
    /// Migrations that are applied in its schema or database.
    pub migrations: Option<PathBuf>,
    /// What is there already is the tenant's.
    pub adopt: bool,
    /// Say what would be done.
    pub dry_run: bool,
}

/// What the run made, and takes back if it cannot go on.
pub(super) enum Made {
    Nothing,
    Schema { schema: String, role: Option<String> },
    Database(String),
}

impl Lifecycle {
    /// Makes a tenant. Returns what was made, and what is left to do by hand.
    ///
    /// # Errors
    /// The name, key or place is taken, or the servers do not let it.
    pub async fn create(&self, request: &CreateRequest) -> Result<Json, LifecycleError> {
        let started = Instant::now();
        let (row, tenant) = self.planned(request)?;
        let migrations = request.migrations.as_deref().map(FirstFiles::read).transpose()?;
        let arguments = json!({
            "row": book::json(&row), "template": request.template, "migrations": request.migrations, "adopt": request.adopt,
        });
        if request.dry_run {
            let exists = self.is_there(&tenant).await?;
            self.refuse_taken(&tenant, exists && !request.adopt)?;
            return Ok(
                json!({ "dry_run": true, "would_create": arguments, "at": place_of(&tenant.upstream), "exists": exists }),
            );
        }
        let operation = Operation::begin(&self.home, &request.name, Verb::Create, &self.by, &arguments).await?;
        let outcome = self.make(request, &row, &tenant, migrations, &operation).await.map(|mut result| {
            if let Some(object) = result.as_object_mut() {
                let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                object.insert("milliseconds".to_owned(), took.into());
            }
            result
        });
        operation.end(outcome).await
    }

    /// The row, and the tenant that it makes beside the others.
    fn planned(&self, request: &CreateRequest) -> Result<(Row, Tenant), LifecycleError> {
        let CreateRequest { name, layout, .. } = request;
        if self.config.tenants.iter().any(|tenant| tenant.name.as_str() == name) {
            return Err(LifecycleError::refused(
                format!("there is a tenant \"{name}\" already"),
                format!("pgwarden tenant show {name}"),
            ));
        }
        let unfit = |option: &str, layout: &str| {
            LifecycleError::refused(
                format!("{option} is for layout \"{layout}\""),
                "leave it out, or ask for that layout",
            )
        };
        match layout.as_str() {
            "schema" if request.database.is_some() => return Err(unfit("--database", "database")),
            "database" | "shared" if request.schema.is_some() || request.role != RoleChoice::OfSchema => {
                return Err(unfit("--schema, --role", "schema"));
            }
            "shared" if request.database.is_some() || request.template.is_some() || request.migrations.is_some() => {
                return Err(unfit("--database, --template, --migrations", "database"));
            }
            _ => {}
        }
        let mut row = Row {
            name: Some(name.as_str().into()),
            key: request.key.as_deref().map(Into::into),
            upstream: request.upstream.as_deref().map(Into::into),
            ..Row::default()
        };
        if !request.keys.is_empty() {
            row.keys = Some(json!(request.keys).to_string().into());
        }
        let own = request.schema.as_deref().or(request.database.as_deref());
        self.settle(&mut row, layout, own, &request.role);
        let because = |why: String| {
            LifecycleError::refused(
                format!("tenant \"{name}\" cannot be: {why}"),
                "what tenants are made of: docs/configuration.md",
            )
        };
        let tenant = row.tenant(&self.config).map_err(because)?;
        if let Some(rejected) = merge(&self.config, std::slice::from_ref(&row)).rejected.pop() {
            return Err(because(rejected.why));
        }
        Ok((row, tenant))
    }

    /// Writes into a row what a tenant of this layout has of its own: what is named, else by the pattern, or as its name.
    pub(super) fn settle(&self, row: &mut Row, layout: &str, named: Option<&str>, role: &RoleChoice) {
        let pattern = self.config.tenancy.pattern.as_ref().map(|pattern| &pattern.layout);
        let name = row.name.as_deref().unwrap_or_default().to_owned();
        row.layout = Some(layout.into());
        (row.schema, row.role, row.database) = (None, None, None);
        if layout == "schema" {
            let schema = named.map(str::to_owned).unwrap_or_else(|| match pattern {
                Some(PatternLayout::Schema { schema, .. }) => schema.fill(&name),
                _ => name.clone(),
            });
            row.role = match role {
                RoleChoice::None => None,
                RoleChoice::Named(role) => Some(role.as_str().into()),
                RoleChoice::OfSchema => Some(match pattern {
                    Some(PatternLayout::Schema { role: Some(role), .. }) => role.fill(&name).into(),
                    _ => schema.as_str().into(),
                }),
            };
            row.schema = Some(schema.into());
        }
        if layout == "database" {
            let database = named.map(str::to_owned).unwrap_or_else(|| match pattern {
                Some(PatternLayout::Database { database }) => database.fill(&name),
                _ => name.clone(),
            });
            row.database = Some(database.into());
        }
    }

    async fn make(
        &self,
        request: &CreateRequest,
        row: &Row,
        tenant: &Tenant,
        migrations: Option<FirstFiles>,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        self.refuse_remains_of_others(operation.admin(), row).await?;
        let step = format!("making {}", describe(tenant));
        let resumes = self.was_left(operation, &request.name, &step).await?;
        let exists = self.is_there(tenant).await?;
        let takes_over = exists && (request.adopt || resumes);
        self.refuse_taken(tenant, exists && !takes_over)?;
        if let (Layout::Schema { role: Some(role), .. }, true) = (&tenant.layout, takes_over) {
            schema::refuse_without_role(tenant, role).await?;
        }
        operation.step(&step).await?;
        self.tell(&step);
        let made = match &tenant.layout {
            Layout::Shared => {
                self.check_shared(tenant, request.adopt).await?;
                Made::Nothing
            }
            Layout::Schema { .. } if takes_over => Made::Nothing,
            Layout::Schema { schema, role } => {
                schema::make(tenant, schema, role.as_deref(), request.template.as_deref()).await?
            }
            Layout::Database => database::make(tenant, request.template.as_deref(), takes_over).await?,
        };
        let completed = async {
            let applied = match &migrations {
                Some(files) => Some(self.bring_up(tenant, files).await?),
                None => None,
            };
            let written = self.write(operation.admin(), Change::Create(row, &tenant.upstream)).await?;
            Ok((applied, written))
        };
        let (applied, written) = match completed.await {
            Ok(completed) => completed,
            Err(error) => {
                made.undo(tenant).await?;
                return Err(error);
            }
        };
        let edit = written.edit().filter(|_| !self.is_by_pattern(tenant));
        Ok(json!({
            "tenant": request.name, "created": book::json(row), "at": place_of(&tenant.upstream), "template": request.template,
            "applied": applied, "took_over": takes_over, "left_to_do": edit,
        }))
    }

    /// Whether a run that was killed had come to this step.
    async fn was_left(&self, operation: &Operation, name: &str, step: &str) -> Result<bool, LifecycleError> {
        let last = operations::last(operation.admin(), &self.home.operations, name, 2).await?;
        let before = last.into_iter().find(|record| record.id != operation.id());
        Ok(before.is_some_and(|it| it.verb == "create" && it.state == "abandoned" && it.step.as_deref() == Some(step)))
    }

    pub(super) async fn is_there(&self, tenant: &Tenant) -> Result<bool, LifecycleError> {
        match &tenant.layout {
            Layout::Shared => Ok(false),
            Layout::Schema { schema, .. } => {
                let admin = Admin::connect(&tenant.upstream).await?;
                let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
                Ok(admin.value::<bool>(sql, &[&&**schema]).await?.unwrap_or_default())
            }
            Layout::Database => {
                let admin = Admin::beside(&tenant.upstream).await?;
                let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
                Ok(admin.value::<bool>(sql, &[&tenant.upstream.database]).await?.unwrap_or_default())
            }
        }
    }

    pub(super) fn refuse_taken(&self, tenant: &Tenant, is_taken: bool) -> Result<(), LifecycleError> {
        match is_taken {
            true => Err(LifecycleError::refused(
                format!("{} is there already", describe(tenant)),
                "choose another name for it, or say --adopt if what is in it is this tenant's",
            )),
            false => Ok(()),
        }
    }

    /// Whether the pattern makes this very tenant of its name.
    fn is_by_pattern(&self, tenant: &Tenant) -> bool {
        let derived = Registry::new(&self.config).derive(TenantName::as_str(&tenant.name));
        derived.is_some_and(|it| {
            it.layout == tenant.layout
                && it.keys == tenant.keys
                && it.upstream.name == tenant.upstream.name
                && it.upstream.database == tenant.upstream.database
        })
    }
}

/// A tenant's place.
pub(super) fn describe(tenant: &Tenant) -> String {
    match &tenant.layout {
        Layout::Shared => format!("rows in {}", place_of(&tenant.upstream)),
        Layout::Schema { schema, .. } => format!("schema \"{schema}\" in {}", place_of(&tenant.upstream)),
        Layout::Database => place_of(&tenant.upstream),
    }
}

impl Made {
    /// An empty place for a tenant that has one of its own.
    pub async fn place(tenant: &Tenant, template: Option<&str>) -> Result<Self, LifecycleError> {
        match &tenant.layout {
            Layout::Shared => Ok(Self::Nothing),
            Layout::Schema { schema, role } => schema::make(tenant, schema, role.as_deref(), None).await,
            Layout::Database => database::make(tenant, template, false).await,
        }
    }

    /// What [`Made::place`] makes.
    pub fn of(tenant: &Tenant) -> Self {
        match &tenant.layout {
            Layout::Shared => Self::Nothing,
            Layout::Schema { schema, role } => {
                Self::Schema { schema: schema.to_string(), role: role.as_deref().map(str::to_owned) }
            }
            Layout::Database => Self::Database(tenant.upstream.database.clone()),
        }
    }

    /// Takes it back.
    pub async fn undo(self, tenant: &Tenant) -> Result<(), LifecycleError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Schema { schema, role } => schema::unmake(tenant, &schema, role.as_deref()).await,
            Self::Database(database) => database::unmake(tenant, &database).await,
        }
    }
}
