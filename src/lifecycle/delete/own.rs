//! A schema or database of a tenant's own is dropped, after its rows were counted.

use super::Deleted;
use crate::config::Tenant;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::plain::lock_tables;
use crate::sql::quote_identifier;

async fn counted(admin: &Admin, schema: Option<&str>, mode: &str) -> Result<Vec<Deleted>, LifecycleError> {
    let mut counts = Vec::new();
    for table in lock_tables(admin, schema, mode).await?.into_iter().filter(|table| !table.is_partitioned) {
        let sql = format!("SELECT count(*) FROM ONLY {}", table.name());
        let counted = admin.value::<i64>(&sql, &[]).await?.unwrap_or_default();
        counts.push(Deleted { table: format!("{}.{}", table.schema, table.table), counted, deleted: 0 });
    }
    Ok(counts)
}

/// Rows of each table.
pub(in crate::lifecycle) async fn counts(
    tenant: &Tenant,
    schema: Option<&str>,
) -> Result<Vec<Deleted>, LifecycleError> {
    let admin = Admin::connect(&tenant.upstream).await?;
    admin.run("BEGIN READ ONLY").await?;
    counted(&admin, schema, "ACCESS SHARE").await
}

fn gone(counts: Vec<Deleted>) -> Vec<Deleted> {
    counts.into_iter().map(|it| Deleted { deleted: it.counted, ..it }).collect()
}

/// Things of other schemas that would go with it.
const DEPENDENTS: &str = "SELECT format('foreign key %s of %s', k.conname, k.conrelid::regclass) FROM pg_constraint k \
    JOIN pg_class p ON p.oid = k.confrelid JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = p.relnamespace \
    WHERE k.contype = 'f' AND n.nspname = $1 AND c.relnamespace <> p.relnamespace \
    UNION SELECT format('view %s', v.oid::regclass) FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid \
    JOIN pg_class v ON v.oid = r.ev_class JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace n ON n.oid = t.relnamespace \
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND n.nspname = $1 AND v.relnamespace <> t.relnamespace";

/// Drops a schema, and the role if it is nobody else's: all in one transaction.
pub(in crate::lifecycle) async fn drop_schema(
    tenant: &Tenant,
    schema: &str,
    role: Option<&str>,
) -> Result<Vec<Deleted>, LifecycleError> {
    let admin = Admin::connect(&tenant.upstream).await?;
    admin.run("BEGIN").await?;
    let there = admin.value::<bool>("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", &[&schema]).await?;
    let mut counts = Vec::new();
    if there == Some(true) {
        counts = counted(&admin, Some(schema), "ACCESS EXCLUSIVE").await?;
        let dependents = admin.rows(DEPENDENTS, &[&schema]).await?;
        let dependents: Vec<String> = dependents.iter().filter_map(|row| row.try_get(0).ok()).collect();
        if !dependents.is_empty() {
            return Err(LifecycleError::refused(
                format!("things of other schemas stand on schema \"{schema}\": {}", dependents.join(", ")),
                "drop them first: they would go with it",
            ));
        }
        admin.run(&format!("DROP SCHEMA {} CASCADE", quote_identifier(schema))).await?;
    }
    if let Some(role) = role {
        drop_role(&admin, role).await?;
    }
    admin.run("COMMIT").await?;
    Ok(gone(counts))
}

/// A role that nobody can log in as. What it owns besides (large objects) goes with it; if it has something in another database, the
/// server says so.
async fn drop_role(admin: &Admin, role: &str) -> Result<(), LifecycleError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND NOT rolcanlogin)";
    if admin.value::<bool>(sql, &[&role]).await? == Some(true) {
        let role = quote_identifier(role);
        admin.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await?;
    }
    Ok(())
}

/// Drops a database. Its sessions end with it.
pub(in crate::lifecycle) async fn drop_database(tenant: &Tenant) -> Result<Vec<Deleted>, LifecycleError> {
    let beside = Admin::beside(&tenant.upstream).await?;
    let database = &tenant.upstream.database;
    let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    if beside.value::<bool>(sql, &[database]).await? != Some(true) {
        return Ok(Vec::new());
    }
    // The connection that counts is gone before the database is.
    let counts = counts(tenant, None).await?;
    beside.run(&format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(database))).await?;
    Ok(gone(counts))
}
