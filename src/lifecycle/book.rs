//! Where tenants are written down: a table that pgwarden writes, or a file that people do.

use std::fmt::Write as _;

use serde_json::Value as Json;
use tokio_postgres::types::{ToSql, Type};

use super::Lifecycle;
use super::admin::Admin;
use super::error::LifecycleError;
use crate::config::{Address, TenantWrites, Upstream, line_of_tenant};
use crate::sql::quote_qualified;
use crate::tenant::table::Row;

/// What became of a change.
pub(super) enum Written {
    /// It is in the table.
    Table,
    /// It has to be made in the file: how.
    ByHand(String),
}

impl Written {
    /// What is left to do.
    pub fn edit(&self) -> Option<&str> {
        match self {
            Self::Table => None,
            Self::ByHand(edit) => Some(edit),
        }
    }
}

/// A change of what is written.
pub(super) enum Change<'c> {
    /// A new tenant.
    Create(&'c Row, &'c Upstream),
    /// Suspended, or no more.
    Suspend(&'c str, bool),
    /// Gone.
    Delete(&'c str),
}

impl Change<'_> {
    fn tenant(&self) -> &str {
        match self {
            Self::Create(row, _) => row.name.as_deref().unwrap_or_default(),
            Self::Suspend(name, _) | Self::Delete(name) => name,
        }
    }

    /// Whether it is made to a tenant that the file may have.
    fn is_of_known(&self) -> bool {
        match self {
            Self::Create(..) => false,
            Self::Suspend(..) | Self::Delete(_) => true,
        }
    }
}

impl Lifecycle {
    /// Makes a change where it can be made, and says how where it cannot.
    pub(super) async fn write(&self, admin: &Admin, change: Change<'_>) -> Result<Written, LifecycleError> {
        let in_file = change.is_of_known() && self.in_file.contains(change.tenant());
        let Some(from) = self.config.tenants_from.as_ref().filter(|_| !in_file) else {
            return Ok(Written::ByHand(self.in_words(&change)));
        };
        let (sql, values): (String, Vec<String>) = match (&from.writes, &change) {
            (TenantWrites::Own(table), Change::Create(row, _)) => {
                let columns = "name, key, keys, layout, schema, role, upstream, database";
                let sql = format!(
                    "INSERT INTO {} ({columns}) SELECT {columns} FROM jsonb_to_record($1::jsonb) AS r(name text, key text, \
                     keys jsonb, layout text, schema text, role text, upstream text, database text)",
                    quote_qualified(table)
                );
                (sql, vec![json(row).to_string()])
            }
            (TenantWrites::Own(table), Change::Suspend(name, suspended)) => {
                let sql = format!("UPDATE {} SET suspended = {suspended} WHERE name = $1", quote_qualified(table));
                (sql, vec![(*name).to_owned()])
            }
            (TenantWrites::Own(table), Change::Delete(name)) => {
                (format!("DELETE FROM {} WHERE name = $1", quote_qualified(table)), vec![(*name).to_owned()])
            }
            (TenantWrites::Statements { create: Some(sql), .. }, Change::Create(row, _)) => {
                (sql.clone(), vec![json(row).to_string()])
            }
            (TenantWrites::Statements { suspend: Some(sql), .. }, Change::Suspend(name, suspended)) => {
                return self.execute(admin, sql, &[name, suspended], &[Type::TEXT, Type::BOOL]).await;
            }
            (TenantWrites::Statements { delete: Some(sql), .. }, Change::Delete(name)) => {
                (sql.clone(), vec![(*name).to_owned()])
            }
            (TenantWrites::Statements { .. }, _) => return Ok(Written::ByHand(self.in_words(&change))),
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
        self.execute(admin, &sql, &values, &[Type::TEXT]).await
    }

    /// Changes where a tenant lives, in the transaction that the connection is in.
    pub(super) async fn write_place(&self, admin: &Admin, row: &Row) -> Result<(), LifecycleError> {
        let sql = match self.config.tenants_from.as_ref().map(|from| &from.writes) {
            Some(TenantWrites::Own(table)) => {
                let columns = "key, keys, layout, schema, role, upstream, database";
                format!(
                    "UPDATE {} SET ({columns}) = (SELECT {columns} FROM jsonb_to_record($1::jsonb) AS r(key text, keys jsonb, \
                     layout text, schema text, role text, upstream text, database text)) WHERE name = $1::jsonb ->> 'name'",
                    quote_qualified(table)
                )
            }
            Some(TenantWrites::Statements { moved: Some(sql), .. }) => sql.clone(),
            Some(TenantWrites::Statements { .. }) | None => return self.refuse_unmoved(&row_name(row)),
        };
        self.change_one(admin, &sql, &[&json(row).to_string()], &[Type::TEXT]).await?;
        admin.run("SET LOCAL search_path = ''").await
    }

    /// A tenant moves where all proxies hear of its new place at one moment.
    pub(super) fn refuse_unmoved(&self, name: &str) -> Result<(), LifecycleError> {
        let path = self.config.path.display();
        let adopt = "with --adopt, and let the proxies read the file again";
        match self.config.tenants_from.as_ref().map(|from| &from.writes) {
            Some(TenantWrites::Own(_) | TenantWrites::Statements { moved: Some(_), .. })
                if !self.in_file.contains(name) =>
            {
                Ok(())
            }
            Some(TenantWrites::Statements { moved: None, .. }) if !self.in_file.contains(name) => {
                Err(LifecycleError::refused(
                    "[tenants_from.write] has no \"move\": nobody can say at one moment where the tenant lives",
                    "a statement that writes layout, schema, role, upstream and database of the row in $1 (JSON), and a query that reads them",
                ))
            }
            from => {
                let line = line_of_tenant(&std::fs::read_to_string(&self.config.path).unwrap_or_default(), name);
                let place = line.map_or_else(|| path.to_string(), |line| format!("{path}:{line}"));
                let table = match from {
                    Some(_) => "",
                    None => {
                        "make a table of tenants ([tenants_from] table = \"public.pgwarden_tenants\", pgwarden tenant init), "
                    }
                };
                Err(LifecycleError::refused(
                    format!(
                        "tenant \"{name}\" stands in the file, which proxies do not read at one moment: its gate cannot be shut"
                    ),
                    format!("{table}take [[tenant]] \"{name}\" out ({place}), pgwarden tenant create {name} {adopt}"),
                ))
            }
        }
    }

    async fn execute(
        &self,
        admin: &Admin,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
        types: &[Type],
    ) -> Result<Written, LifecycleError> {
        admin.run("BEGIN").await?;
        let written = self.change_one(admin, sql, values, types).await;
        admin.run(if written.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        written?;
        Ok(Written::Table)
    }

    /// Runs a statement that changes one row, and tells the proxies.
    async fn change_one(
        &self,
        admin: &Admin,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
        types: &[Type],
    ) -> Result<(), LifecycleError> {
        let failed = |error| admin.failed(error);
        let from = self.config.tenants_from.as_ref();
        let own = matches!(from.map(|from| &from.writes), Some(TenantWrites::Own(_)));
        if !own {
            // A user's statement means tables as the user's own sessions do.
            admin.run("SET LOCAL search_path TO DEFAULT").await?;
        }
        let statement = admin.prepare_typed(sql, types).await.map_err(failed)?;
        let count = admin.execute(&statement, values).await.map_err(failed)?;
        if count != 1 {
            return Err(LifecycleError::refused(
                format!("the statement that writes the table of tenants changed {count} rows, not one"),
                "see [tenants_from.write], and the row of this tenant",
            ));
        }
        // Its own table has a trigger for it.
        if let Some(channel) = from.and_then(|from| from.channel.as_ref()).filter(|_| !own) {
            admin.rows("SELECT pg_catalog.pg_notify($1, '')", &[channel]).await?;
        }
        Ok(())
    }

    /// What somebody has to write.
    fn in_words(&self, change: &Change<'_>) -> String {
        let path = self.config.path.display();
        let place = |name: &str| {
            let text = std::fs::read_to_string(&self.config.path).unwrap_or_default();
            match line_of_tenant(&text, name) {
                Some(line) => format!("{path}:{line}"),
                None => path.to_string(),
            }
        };
        let in_table = self.config.tenants_from.is_some() && !self.in_file.contains(change.tenant());
        let reload = "and let the proxies read it again (SIGHUP, or RELOAD on the console)";
        match change {
            Change::Create(row, _) if in_table => {
                format!("add the row to the table of tenants, which has no [tenants_from.write] create: {}", json(row))
            }
            Change::Suspend(name, on) if in_table => {
                format!(
                    "[tenants_from.write] has no \"suspend\": set tenant \"{name}\" to suspended = {on} in its table"
                )
            }
            Change::Delete(name) if in_table => {
                format!("[tenants_from.write] has no \"delete\": take tenant \"{name}\" out of its table")
            }
            Change::Create(row, upstream) => format!("add to {path}, {reload}:\n{}", toml(row, upstream)),
            Change::Suspend(name, true) => {
                format!("{}: write suspended = true in [[tenant]] \"{name}\", {reload}", place(name))
            }
            Change::Suspend(name, false) => {
                format!("{}: take suspended = true out of [[tenant]] \"{name}\", {reload}", place(name))
            }
            Change::Delete(name) => format!("{}: take [[tenant]] \"{name}\" out, {reload}", place(name)),
        }
    }
}

fn row_name(row: &Row) -> String {
    row.name.as_deref().unwrap_or_default().to_owned()
}

/// The row that [`json`] made.
pub(super) fn row_of(json: &Json) -> Row {
    let text = |name: &str| json.get(name).and_then(Json::as_str).map(Into::into);
    Row {
        name: text("name"),
        key: text("key"),
        keys: json.get("keys").map(|keys| keys.to_string().into()),
        layout: text("layout"),
        schema: text("schema"),
        role: text("role"),
        upstream: text("upstream"),
        database: text("database"),
        ..Row::default()
    }
}

/// A row as JSON, without what it does not say.
pub(super) fn json(row: &Row) -> Json {
    let Row { name, key, keys, layout, schema, role, upstream, database, .. } = row;
    let texts = [
        ("name", name),
        ("key", key),
        ("layout", layout),
        ("schema", schema),
        ("role", role),
        ("upstream", upstream),
        ("database", database),
    ];
    let mut object: serde_json::Map<String, Json> =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?.into()))).collect();
    if let Some(keys) = keys.as_deref().and_then(|keys| serde_json::from_str(keys).ok()) {
        object.insert("keys".to_owned(), keys);
    }
    Json::Object(object)
}

/// A row as the file has it.
fn toml(row: &Row, upstream: &Upstream) -> String {
    let mut text = "[[tenant]]\n".to_owned();
    let quoted = |value: &str| toml::Value::from(value).to_string();
    for (name, value) in json(row).as_object().into_iter().flatten() {
        let value = match value {
            Json::String(value) => quoted(value),
            Json::Object(keys) => {
                let keys = keys
                    .iter()
                    .map(|(name, key)| format!("{} = {}", quoted(name), quoted(key.as_str().unwrap_or_default())));
                format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
            }
            _ => continue,
        };
        // Writing to a String cannot fail. A database of its own stands in a URL there.
        let _ = match name.as_str() {
            "upstream" if row.database.is_some() => continue,
            "database" => writeln!(text, "upstream = {{ url = {} }} # and its password", quoted(&url(upstream))),
            _ => writeln!(text, "{name} = {value}"),
        };
    }
    text
}

/// Where an upstream is, without a password.
fn url(upstream: &Upstream) -> String {
    let Upstream { user, database, .. } = upstream;
    match &upstream.address {
        Address::Tcp { .. } => format!("postgres://{user}@{}/{database}", upstream.address),
        Address::Unix(path) => {
            let directory = path.parent().unwrap_or(path);
            format!("postgres://{user}@/{database}?host={}", directory.display())
        }
    }
}
