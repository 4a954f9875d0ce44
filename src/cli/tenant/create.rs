//! `pgwarden tenant create`

use clap::ValueEnum;

use crate::lifecycle::{CreateRequest, RoleChoice};

/// Options of `pgwarden tenant create`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The tenant's name
    name: String,
    /// Where its data lives
    #[arg(long, value_enum, default_value_t = LayoutWord::Shared)]
    layout: LayoutWord,
    /// The upstream; default: that of section tenancy
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Its value of the tenant column (shared)
    #[arg(long)]
    key: Option<String>,
    /// A further key by name (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    keys: Vec<(String, String)>,
    /// Its schema; default: by [tenancy.pattern], or as its name
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The role that its sessions act as (schema); default: as its schema
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// It has no role of its own: its sessions act as the pool's
    #[arg(long, conflicts_with = "role")]
    no_role: bool,
    /// Its database; default: by [tenancy.pattern], or as its name
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// A schema or database of the same server that it begins as a copy of
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Apply the migrations of a directory in its new schema or database, those that its template does not have
    #[arg(long, value_name = "DIRECTORY")]
    migrations: Option<std::path::PathBuf>,
    /// What is there already (schema, database, rows with the key) is this tenant's
    #[arg(long)]
    adopt: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutWord {
    /// In the same tables as others'
    Shared,
    /// In a schema of its own
    Schema,
    /// In a database of its own
    Database,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty()).ok_or("uuid=6f1c...")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl CreateArgs {
    pub fn request(&self) -> CreateRequest {
        let layout = match self.layout {
            LayoutWord::Shared => "shared",
            LayoutWord::Schema => "schema",
            LayoutWord::Database => "database",
        };
        let role = match &self.role {
            Some(role) => RoleChoice::Named(role.clone()),
            None if self.no_role => RoleChoice::None,
            None => RoleChoice::OfSchema,
        };
        CreateRequest {
            name: self.name.clone(),
            layout: layout.to_owned(),
            upstream: self.upstream.clone(),
            key: self.key.clone(),
            keys: self.keys.iter().cloned().collect(),
            schema: self.schema.clone(),
            role,
            database: self.database.clone(),
            template: self.template.clone(),
            migrations: self.migrations.clone(),
            adopt: self.adopt,
            dry_run: self.dry_run,
        }
    }
}
