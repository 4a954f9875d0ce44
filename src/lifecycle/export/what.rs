//! What belongs to a tenant: its tables and their rows, the definitions of their schemas, sequences.

use std::collections::BTreeSet;
use std::path::Path;

use super::files;
use super::manifest::{Extension, Manifest, SchemaFiles, SequenceValue};
use crate::base::Access;
use crate::catalog::{Generated, RelKind};
use crate::config::{Layout, Tenant};
use crate::guard::TableRule;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::ddl::{Definitions, script};
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::plain::{lock, lock_tables};
use crate::lifecycle::rows::own_tables;
use crate::sql::{quote_identifier, quote_qualified};

/// Rows of a table.
#[derive(Clone, Debug)]
pub(in crate::lifecycle) struct Source {
    pub schema: String,
    pub table: String,
    pub columns: Vec<String>,
    pub tenant_column: Option<String>,
    pub everybodys: bool,
    /// As FROM has it.
    pub from: String,
    /// Which rows; they are called `t`.
    pub condition: String,
    /// The tenant's value of the tenant column, as SQL.
    pub tenant_value: Option<String>,
}

impl Source {
    /// Count and hash of the rows that a condition is for.
    pub fn digest(columns: &[String], tenant_column: Option<&str>, from: &str, condition: &str) -> String {
        let columns = columns.iter().filter(|column| tenant_column != Some(column.as_str()));
        let columns: Vec<_> = columns.map(|column| format!("t.{}", quote_identifier(column))).collect();
        format!(
            "SELECT pg_catalog.count(*), COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(CAST(ROW({}) AS pg_catalog.text), 0)), 0)::text \
             FROM {from} t WHERE {condition}",
            columns.join(", ")
        )
    }
}

/// All that belongs to a tenant.
pub(in crate::lifecycle) struct Sources {
    pub tables: Vec<Source>,
    pub schemas: BTreeSet<String>,
    pub left_out: Vec<String>,
    /// Tables that are pgwarden's own.
    pub not_of_it: Vec<String>,
}

const COLUMNS: &str = "SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
    AND a.attgenerated = '' ORDER BY a.attnum";

impl Lifecycle {
    /// Finds and locks what belongs to a tenant, in a transaction of this connection.
    pub(in crate::lifecycle) async fn source(&self, admin: &Admin, tenant: &Tenant) -> Result<Sources, LifecycleError> {
        admin.run("BEGIN").await?;
        let not_of_it = self.tables_of_pgwarden().into_iter().map(|table| table.name).collect();
        let mut sources = Sources { tables: Vec::new(), schemas: BTreeSet::new(), left_out: Vec::new(), not_of_it };
        let schema = match &tenant.layout {
            Layout::Shared => {
                self.shared_sources(admin, tenant, &mut sources).await?;
                return Ok(sources);
            }
            Layout::Schema { schema, .. } => Some(&**schema),
            Layout::Database => None,
        };
        sources.schemas.extend(schema.map(str::to_owned));
        for table in lock_tables(admin, schema, "ACCESS SHARE").await? {
            sources.schemas.insert(table.schema.clone());
            // What is in partitions is copied by their table.
            if table.is_partition {
                continue;
            }
            let columns = admin.rows(COLUMNS, &[&table.oid]).await?;
            sources.tables.push(Source {
                columns: columns.iter().filter_map(|row| row.try_get(0).ok()).collect(),
                from: table.from(),
                schema: table.schema,
                table: table.table,
                tenant_column: None,
                everybodys: false,
                condition: "true".to_owned(),
                tenant_value: None,
            });
        }
        Ok(sources)
    }

    async fn shared_sources(
        &self,
        admin: &Admin,
        tenant: &Tenant,
        sources: &mut Sources,
    ) -> Result<(), LifecycleError> {
        let policy = self.policy_of(tenant).await?;
        let columns = |relation: &crate::catalog::Relation| {
            let plain = relation.columns.iter().filter(|column| column.generated == Generated::No);
            plain.map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        let mut names = Vec::new();
        for table in own_tables(&policy).into_iter().flatten() {
            let name = &table.relation.name;
            names.push(table.from());
            let tenant_value = table.value(&tenant.keys)?;
            let source = |everybodys: bool, condition: String| Source {
                tenant_value: tenant_value.clone(),
                schema: name.schema.clone(),
                table: name.name.clone(),
                columns: columns(table.relation),
                tenant_column: table.rule.through.is_none().then(|| table.rule.column.clone()),
                everybodys,
                from: table.from(),
                condition,
            };
            sources.tables.push(source(false, table.is_own(&tenant.keys)?));
            sources.tables.extend(table.is_everybodys().map(|condition| source(true, condition)));
            sources.schemas.insert(name.schema.clone());
        }
        let mut shared: Vec<_> =
            policy.tables.iter().filter(|(_, rule)| matches!(rule, TableRule::Shared(_))).collect();
        shared.sort_by(|one, other| one.0.cmp(other.0));
        for (name, rule) in shared {
            let Some(relation) = policy.catalog.relations.get(name) else { continue };
            if relation.kind != RelKind::Table || relation.is_partition {
                continue;
            }
            // What tenants may write there need not be this one's.
            if *rule != TableRule::Shared(Access::Read) {
                sources.left_out.push(format!("rows of {name}, which all tenants write"));
                continue;
            }
            names.push(format!("ONLY {}", quote_qualified(name)));
            sources.schemas.insert(name.schema.clone());
            sources.tables.push(Source {
                schema: name.schema.clone(),
                table: name.name.clone(),
                columns: columns(relation),
                tenant_column: None,
                everybodys: true,
                from: format!("ONLY {}", quote_qualified(name)),
                condition: "true".to_owned(),
                tenant_value: None,
            });
        }
        lock(admin, &names, "ACCESS SHARE").await
    }
}

pub(in crate::lifecycle) const EXTENSIONS: &str = "SELECT e.extname::text, n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
    WHERE e.extname <> 'plpgsql' ORDER BY 1";
const SEQUENCES: &str = "SELECT n.nspname::text, c.relname::text, pg_sequence_last_value(c.oid) FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND n.nspname = ANY ($1) ORDER BY 1, 2";

impl Sources {
    /// psql reads a command to the end of its line: what stands behind a line break in a name would be the next command.
    pub fn refuse_unwritable(&self) -> Result<(), LifecycleError> {
        let names = |table: &'_ Source| {
            [table.schema.clone(), table.table.clone()].into_iter().chain(table.columns.clone()).collect::<Vec<_>>()
        };
        let unwritable = self.tables.iter().flat_map(names).find(|name| name.contains(char::is_control));
        match unwritable {
            Some(name) => Err(LifecycleError::refused(
                format!("there is a control character in the name {name:?} of a schema, table or column"),
                "rename it: a script for psql could not be told from what the name says",
            )),
            None => Ok(()),
        }
    }

    /// Writes the definitions, and describes all but the rows.
    pub async fn describe(&self, admin: &Admin, tenant: &Tenant, directory: &Path) -> Result<Manifest, LifecycleError> {
        let failed = |error| admin.failed(error);
        let facts = admin.rows("SELECT now()::text, current_setting('server_version_num')::int", &[]).await?;
        let mut manifest = Manifest {
            format: 1,
            tenant: tenant.name.to_string(),
            pgwarden: env!("CARGO_PKG_VERSION").to_owned(),
            left_out: self.left_out.clone(),
            ..Manifest::default()
        };
        if let Some(row) = facts.first() {
            (manifest.taken_at, manifest.server_version) =
                (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        }
        if !matches!(tenant.layout, Layout::Schema { .. }) {
            for row in admin.rows(EXTENSIONS, &[]).await? {
                manifest
                    .extensions
                    .push(Extension { name: row.try_get(0).map_err(failed)?, schema: row.try_get(1).map_err(failed)? });
            }
        }
        let schemas: Vec<&String> = self.schemas.iter().collect();
        for (n, schema) in schemas.iter().enumerate() {
            let Some(definitions) = Definitions::read(admin, schema, &self.not_of_it).await? else { continue };
            let (before, after) = (script(&definitions.before), definitions.after_rows());
            let (before_file, after_file) = (format!("schema/{n:03}.before.sql"), format!("schema/{n:03}.after.sql"));
            files::write(directory, &before_file, &before)?;
            files::write(directory, &after_file, &after)?;
            manifest.left_out.extend(definitions.left_out.iter().map(|it| format!("{it} in schema {schema}")));
            manifest.schemas.push(SchemaFiles {
                name: (*schema).clone(),
                before: before_file,
                after: after_file,
                owned: definitions.owned,
                fixed: definitions.fixed,
                sha256: files::hex_of(&[before.as_bytes(), after.as_bytes()]),
            });
        }
        for row in admin.rows(SEQUENCES, &[&schemas]).await? {
            let Some(last_value) = row.try_get::<_, Option<i64>>(2).map_err(failed)? else { continue };
            let (schema, sequence): (String, String) =
                (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            manifest.sequences.push(SequenceValue { schema, sequence, last_value });
        }
        Ok(manifest)
    }
}
