//! A database of a tenant's own, perhaps as a copy of a template.

use super::Made;
use crate::config::Tenant;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::{quote_identifier, quote_literal};

/// Settings whose value is a list of quoted names already.
const LISTS: [&str; 5] = [
    "search_path",
    "local_preload_libraries",
    "session_preload_libraries",
    "temp_tablespaces",
    "createrole_self_grant",
];

pub(super) async fn make(tenant: &Tenant, template: Option<&str>, is_there: bool) -> Result<Made, LifecycleError> {
    let admin = Admin::beside(&tenant.upstream).await?;
    let (database, pool) = (&tenant.upstream.database, &tenant.upstream.user);
    if !is_there {
        let from = template.map(|template| format!(" TEMPLATE {}", quote_identifier(template))).unwrap_or_default();
        let (name, owner) = (quote_identifier(database), quote_identifier(pool));
        admin.run(&format!("CREATE DATABASE {name} OWNER {owner}{from}")).await?;
    }
    match close_to_others(&admin, database, pool, template).await {
        Ok(()) if is_there => Ok(Made::Nothing),
        Ok(()) => Ok(Made::Database(database.clone())),
        Err(error) if is_there => Err(error),
        Err(error) => {
            unmake(tenant, database).await?;
            Err(error)
        }
    }
}

/// Nobody but the pool comes in. What ALTER DATABASE set on a template is no part of its copy.
async fn close_to_others(
    admin: &Admin,
    database: &str,
    pool: &str,
    template: Option<&str>,
) -> Result<(), LifecycleError> {
    let (name, pool) = (quote_identifier(database), quote_identifier(pool));
    let mut sql = format!(
        "REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {pool};"
    );
    if let Some(template) = template {
        sql.push_str(&set(database, &settings(admin, template).await?));
    }
    admin.run(&sql).await
}

/// What ALTER DATABASE has set on a database.
pub(in crate::lifecycle) async fn settings(admin: &Admin, database: &str) -> Result<Vec<String>, LifecycleError> {
    let sql = "SELECT s.setting FROM pg_db_role_setting r JOIN pg_database d ON d.oid = r.setdatabase, \
               unnest(r.setconfig) AS s(setting) WHERE r.setrole = 0 AND d.datname = $1";
    let rows = admin.rows(sql, &[&database]).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

/// The statements that set the same on another.
pub(in crate::lifecycle) fn set(database: &str, settings: &[String]) -> String {
    let name = quote_identifier(database);
    let statements = settings.iter().filter_map(|setting| setting.split_once('=')).map(|(setting, value)| {
        let value = match LISTS.contains(&setting) {
            true if !value.is_empty() => value.to_owned(),
            true | false => quote_literal(value),
        };
        let setting = setting.split('.').map(quote_identifier).collect::<Vec<_>>().join(".");
        format!(" ALTER DATABASE {name} SET {setting} TO {value};")
    });
    statements.collect()
}

pub(super) async fn unmake(tenant: &Tenant, database: &str) -> Result<(), LifecycleError> {
    let admin = Admin::beside(&tenant.upstream).await?;
    admin.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(database))).await
}
