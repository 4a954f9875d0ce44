//! pgwarden's own tables: tenants, and the operations on them. Their definitions, and where they are.

use std::sync::Arc;

use super::error::LifecycleError;
use crate::base::QualifiedName;
use crate::config::{Config, TenantWrites, Upstream};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// Where tenants are written down, and the operations on them.
#[derive(Clone, Debug)]
pub struct Home {
    /// The upstream whose database has the tables.
    pub upstream: Arc<Upstream>,
    /// The table of operations.
    pub operations: QualifiedName,
    /// pgwarden's own table of tenants, and the channel on which it tells of changes.
    pub tenants: Option<(QualifiedName, String)>,
}

impl Home {
    /// That of a configuration: where `[tenants_from]` is, else where tenants live that name no upstream.
    ///
    /// # Errors
    /// The upstream is missing.
    pub fn new(config: &Config) -> Result<Self, LifecycleError> {
        let from = config.tenants_from.as_ref();
        let name = from.map_or(&config.tenancy.upstream, |from| &from.upstream);
        let upstream = config.upstreams.get(name).cloned().ok_or_else(|| {
            LifecycleError::refused(format!("no upstream \"{name}\""), "name one in [tenants_from] or [tenancy]")
        })?;
        let tenants = from.and_then(|from| match &from.writes {
            TenantWrites::Own(table) => Some((table.clone(), from.channel.clone().unwrap_or_default())),
            TenantWrites::Statements { .. } => None,
        });
        let schema = tenants.as_ref().map_or("public", |(table, _)| table.schema.as_str());
        Ok(Self { upstream, operations: QualifiedName::new(schema, "pgwarden_operations"), tenants })
    }

    /// The SQL that makes the tables, if they are not there, and lets the pool's role read the tenants.
    pub fn definition(&self) -> String {
        let mut sql = operations(&self.operations);
        if let Some((table, channel)) = &self.tenants {
            sql.push_str(&tenants(table, channel, &self.upstream.user));
        }
        sql
    }
}

fn operations(table: &QualifiedName) -> String {
    let (schema, index) = (quote_identifier(&table.schema), quote_identifier(&format!("{}_tenant", table.name)));
    let table = quote_qualified(table);
    // Whoever may make tables in "public" need not be allowed to make schemas.
    let place = if schema == "\"public\"" { String::new() } else { format!("CREATE SCHEMA IF NOT EXISTS {schema};\n") };
    format!(
        "{place}CREATE TABLE IF NOT EXISTS {table} (\n    \
         id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
         tenant text NOT NULL,\n    \
         verb text NOT NULL,\n    \
         state text NOT NULL, -- running, done, failed, or abandoned: its process ended\n    \
         step text, -- how far it came\n    \
         started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),\n    \
         ended_at timestamptz,\n    \
         by_whom text NOT NULL,\n    \
         as_role text NOT NULL DEFAULT session_user,\n    \
         arguments jsonb NOT NULL,\n    \
         result jsonb, -- counts; of a deletion: the evidence\n    \
         error text\n);\n\
         CREATE INDEX IF NOT EXISTS {index} ON {table} (tenant, id);\n"
    )
}

fn tenants(table: &QualifiedName, channel: &str, reader: &str) -> String {
    let index = |suffix: &str| quote_identifier(&format!("{}_{suffix}", table.name));
    let (key, place) = (index("key"), index("place"));
    let function = quote_qualified(&QualifiedName::new(table.schema.as_str(), format!("{}_changed", table.name)));
    let trigger = index("changed");
    let (schema, table) = (quote_identifier(&table.schema), quote_qualified(table));
    let (channel, reader) = (quote_literal(channel), quote_identifier(reader));
    let usage =
        if schema == "\"public\"" { String::new() } else { format!("GRANT USAGE ON SCHEMA {schema} TO {reader};\n") };
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n    \
         name text PRIMARY KEY,\n    \
         key text,\n    \
         keys jsonb,\n    \
         layout text NOT NULL DEFAULT 'shared' CHECK (layout IN ('shared', 'schema', 'database')),\n    \
         schema text,\n    \
         role text,\n    \
         upstream text,\n    \
         database text,\n    \
         suspended boolean NOT NULL DEFAULT false,\n    \
         allow_from jsonb,\n    \
         limits jsonb,\n    \
         weight integer,\n    \
         pool jsonb,\n    \
         quota jsonb,\n    \
         created_at timestamptz NOT NULL DEFAULT pg_catalog.now()\n);\n\
         CREATE UNIQUE INDEX IF NOT EXISTS {key} ON {table} (COALESCE(upstream, ''), key) WHERE layout = 'shared';\n\
         CREATE UNIQUE INDEX IF NOT EXISTS {place} ON {table} (COALESCE(upstream, ''), COALESCE(database, ''), COALESCE(schema, ''))\n    \
         WHERE layout <> 'shared';\n\
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS\n    \
         $$ BEGIN PERFORM pg_catalog.pg_notify({channel}, ''); RETURN NULL; END $$;\n\
         CREATE OR REPLACE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}\n    \
         FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n\
         {usage}\
         GRANT SELECT ON {table} TO {reader};\n"
    )
}
