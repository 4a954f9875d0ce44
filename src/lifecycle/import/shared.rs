//! Into tables that tenants share: rows alone, under the tenant's own keys.

use serde_json::{Value as Json, json};

use super::{ImportRequest, copy_in, failed_at, verify};
use crate::catalog::{Generated, Identity};
use crate::config::Tenant;
use crate::guard::Policy;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::{Manifest, TableFile};
use crate::lifecycle::rows::{OwnTable, own_tables};
use crate::sql::quote_identifier;

impl Lifecycle {
    pub(super) async fn load_shared(
        &self,
        admin: &Admin,
        request: &ImportRequest,
        tenant: &Tenant,
        manifest: &Manifest,
    ) -> Result<Json, LifecycleError> {
        let policy = self.policy_of(tenant).await?;
        let tables: Vec<_> = own_tables(&policy).into_iter().flatten().collect();
        let pairs = paired(&policy, &tables, manifest)?;
        for table in &tables {
            let sql = format!("SELECT EXISTS (SELECT FROM {} t WHERE {})", table.from(), table.is_own(&tenant.keys)?);
            if admin.value::<bool>(&sql, &[]).await? == Some(true) {
                return Err(LifecycleError::refused(
                    format!("tenant \"{}\" has rows in {} already", request.name, table.relation.name),
                    "an import is for a tenant without rows",
                ));
            }
        }
        admin.run("SET CONSTRAINTS ALL DEFERRED").await?;
        let mut rows = 0;
        // In the order of the tables, so that foreign keys find what they lead to.
        for table in &tables {
            let Some((_, file)) = pairs.iter().find(|(it, _)| it.relation.oid == table.relation.oid) else { continue };
            self.tell(&format!("loading {}", table.relation.name));
            insert(admin, request, tenant, table, file, &manifest.copy_format).await?;
            raise_sequences(admin, table).await?;
            rows += file.rows;
        }
        admin.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        for (table, file) in &pairs {
            verify(admin, &as_here(table, file), &table.from(), &table.is_own(&tenant.keys)?, request.verify).await?;
        }
        Ok(json!({ "tables": pairs.len(), "rows": rows }))
    }
}

/// A file whose rows are compared without the tenant column of the table that they are in now.
fn as_here(table: &OwnTable<'_>, file: &TableFile) -> TableFile {
    let tenant_column = file.tenant_column.clone().filter(|column| *column == table.rule.column);
    TableFile { tenant_column, ..file.clone() }
}

/// The tables of an export and those that their rows go into.
fn paired<'t, 'p>(
    policy: &Policy,
    tables: &[OwnTable<'p>],
    manifest: &'t Manifest,
) -> Result<Vec<(OwnTable<'p>, &'t TableFile)>, LifecycleError> {
    let mut pairs = Vec::new();
    for file in manifest.tables.iter().filter(|file| !file.everybodys && file.rows > 0) {
        let name = |schema: &str| {
            tables.iter().find(|it| it.relation.name.schema == schema && it.relation.name.name == file.table)
        };
        // What was in a schema of the tenant's own goes where a bare name leads.
        let target = match manifest.layout.as_str() {
            "schema" => policy.search_path.iter().find_map(|schema| name(schema)),
            _ => name(&file.schema),
        };
        let Some(target) = target else {
            return Err(LifecycleError::refused(
                format!(
                    "{}.{} has {} rows, and there is no table of tenants for them",
                    file.schema, file.table, file.rows
                ),
                "make the table with the tenant column, or list it in [tenancy.tables]",
            ));
        };
        let is_there =
            |column: &&String| target.relation.column(column).is_some_and(|column| column.generated == Generated::No);
        if let Some(column) = file.columns.iter().find(|column| !is_there(column)) {
            return Err(LifecycleError::refused(
                format!(
                    "{} has no column \"{column}\", which {}.{} had",
                    target.relation.name, file.schema, file.table
                ),
                "run the migrations on both sides first",
            ));
        }
        pairs.push((*target, file));
    }
    Ok(pairs)
}

/// The rows go into a table of their own first, and from there, under this tenant's key, where they belong.
async fn insert(
    admin: &Admin,
    request: &ImportRequest,
    tenant: &Tenant,
    table: &OwnTable<'_>,
    file: &TableFile,
    copy_format: &str,
) -> Result<(), LifecycleError> {
    let quoted: Vec<String> = file.columns.iter().map(|column| quote_identifier(column)).collect();
    let name = table.name();
    admin
        .run(&format!(
            "DROP TABLE IF EXISTS pg_temp.pgwarden_import; \
             CREATE TEMPORARY TABLE pgwarden_import ON COMMIT DROP AS SELECT {} FROM {name} WITH NO DATA",
            quoted.join(", ")
        ))
        .await?;
    copy_in(admin, &request.directory, file, "pg_temp.pgwarden_import", copy_format).await?;
    let value = table.value(&tenant.keys)?;
    let own = quote_identifier(&table.rule.column);
    let is_own = |column: &String| value.is_some() && *column == own;
    let mut into: Vec<String> = quoted.iter().filter(|column| !is_own(column)).cloned().collect();
    let mut values: Vec<String> = into.iter().map(|column| format!("i.{column}")).collect();
    if let Some(value) = &value {
        into.push(own.clone());
        values.push(value.clone());
    }
    let always = table.relation.columns.iter().any(|column| column.identity == Identity::Always);
    let overriding = if always { " OVERRIDING SYSTEM VALUE" } else { "" };
    let sql = format!(
        "INSERT INTO {name} ({}){overriding} SELECT {} FROM pg_temp.pgwarden_import i",
        into.join(", "),
        values.join(", ")
    );
    admin.execute(&sql, &[]).await.map_err(|error| failed_at(admin, file, error)).map(drop)
}

/// What new rows will be called must not be what these are: sequences are raised, and never lowered.
pub(in crate::lifecycle) async fn raise_sequences(admin: &Admin, table: &OwnTable<'_>) -> Result<(), LifecycleError> {
    let sql = "SELECT a.attname::text, format('%I.%I', n.nspname, s.relname) FROM pg_depend d JOIN pg_class s ON s.oid = d.objid \
               JOIN pg_namespace n ON n.oid = s.relnamespace JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
               WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND s.relkind = 'S' AND d.deptype IN ('a', 'i') \
               AND d.refobjid = $1";
    for row in admin.rows(sql, &[&table.relation.oid]).await? {
        let failed = |error| admin.failed(error);
        let (column, sequence): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        let column = quote_identifier(&column);
        let raise = format!(
            "SELECT setval('{}'::regclass, m.most) FROM (SELECT max({column})::bigint AS most FROM {}) m, {sequence} s \
             WHERE m.most > s.last_value",
            sequence.replace('\'', "''"),
            table.from()
        );
        admin.rows(&raise, &[]).await?;
    }
    Ok(())
}
