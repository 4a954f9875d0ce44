//! pgwarden's own tables: tenants, and the operations on them. Their definitions, and where they are.

use std::sync::Arc;

use super::error::LifecycleError;
use crate::base::QualifiedName;
use crate::config::{Config, GATE_CHANNEL, GateTables, TenantWrites, Upstream};
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
    /// By which proxies and whoever moves a tenant agree: where pgwarden writes the table of tenants.
    pub gates: Option<GateTables>,
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
        let gates = from.filter(|from| from.writes.any()).map(|from| GateTables::beside(&from.writes));
        Ok(Self { upstream, operations: QualifiedName::new(schema, "pgwarden_operations"), tenants, gates })
    }

    /// The SQL that makes the tables, if they are not there, and lets the pool's role read the tenants.
    pub fn definition(&self) -> String {
        let mut sql = operations(&self.operations);
        if let Some((table, channel)) = &self.tenants {
            sql.push_str(&tenants(table, channel, &self.upstream.user));
        }
        if let Some(tables) = &self.gates {
            sql.push_str(&gates(tables, &self.upstream.user));
            sql.push_str(&moves(&tables.moves(), &self.upstream.user));
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

/// The pool's role says that a proxy is there and what it has done, and opens what was shut for too long or from the console;
/// what else shuts a gate is the admin's.
fn gates(tables: &GateTables, pool: &str) -> String {
    let function = quote_qualified(&QualifiedName::new(tables.gates.schema.as_str(), "pgwarden_gates_changed"));
    let (proxies, acks) = (quote_qualified(&tables.proxies), quote_qualified(&tables.acks));
    let (gates, channel, pool) = (quote_qualified(&tables.gates), quote_literal(GATE_CHANNEL), quote_identifier(pool));
    format!(
        "CREATE TABLE IF NOT EXISTS {proxies} (\n    \
         proxy text PRIMARY KEY,\n    \
         started_at timestamptz NOT NULL,\n    \
         lease_until timestamptz NOT NULL, -- past: it serves no tenant that could be moved\n    \
         address text NOT NULL\n);\n\
         CREATE TABLE IF NOT EXISTS {gates} (\n    \
         tenant text PRIMARY KEY,\n    \
         epoch bigint NOT NULL,\n    \
         reason text NOT NULL,\n    \
         closed_at timestamptz NOT NULL,\n    \
         deadline timestamptz NOT NULL, -- past: proxies open it themselves\n    \
         travel boolean NOT NULL DEFAULT true -- false: its sessions end rather than go on elsewhere\n);\n\
         CREATE TABLE IF NOT EXISTS {acks} (\n    \
         proxy text NOT NULL,\n    \
         tenant text NOT NULL,\n    \
         epoch bigint NOT NULL,\n    \
         drained_at timestamptz NOT NULL, -- nothing of the tenant is under way since\n    \
         PRIMARY KEY (proxy, tenant)\n);\n\
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS\n    \
         $$ BEGIN PERFORM pg_catalog.pg_notify({channel}, ''); RETURN NULL; END $$;\n\
         CREATE OR REPLACE TRIGGER pgwarden_gates_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {gates}\n    \
         FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n\
         REVOKE ALL ON {proxies}, {gates}, {acks} FROM {pool};\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON {proxies}, {acks} TO {pool};\n\
         GRANT SELECT, INSERT, DELETE ON {gates} TO {pool};\n\
         ALTER TABLE {gates} ENABLE ROW LEVEL SECURITY;\n\
         DROP POLICY IF EXISTS seen ON {gates};\n\
         DROP POLICY IF EXISTS shut ON {gates};\n\
         DROP POLICY IF EXISTS opened ON {gates};\n\
         CREATE POLICY seen ON {gates} FOR SELECT TO {pool} USING (true);\n\
         CREATE POLICY shut ON {gates} FOR INSERT TO {pool} WITH CHECK (reason = 'console');\n\
         CREATE POLICY opened ON {gates} FOR DELETE TO {pool}\n    \
         USING (reason = 'console' OR deadline <= pg_catalog.clock_timestamp());\n"
    )
}

/// Moves: nothing of them is the pool's role's to see.
fn moves(table: &QualifiedName, pool: &str) -> String {
    let index = quote_identifier(&format!("{}_open", table.name));
    let (table, pool) = (quote_qualified(table), quote_identifier(pool));
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n    \
         id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
         tenant text NOT NULL,\n    \
         state text NOT NULL, -- preparing, closing, copying, switching: it lives where it did; switched, finishing; done, aborted\n    \
         epoch bigint, -- of its gate\n    \
         source jsonb NOT NULL, -- the tenant's line before\n    \
         target jsonb NOT NULL, -- and after\n    \
         counts jsonb,\n    \
         error text,\n    \
         by_whom text NOT NULL,\n    \
         started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),\n    \
         switched_at timestamptz,\n    \
         ended_at timestamptz\n);\n\
         CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} (tenant) WHERE state NOT IN ('done', 'aborted');\n\
         REVOKE ALL ON {table} FROM {pool};\n"
    )
}
