//! Into a schema or a database of the tenant's own: definitions, rows, sequences.

use serde_json::{Value as Json, json};

use super::{ImportRequest, copy_in, verify};
use crate::config::{Layout, Tenant};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::Manifest;
use crate::sql::quote_identifier;

/// Relations that are nobody's extension's.
const RELATIONS: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname = $1 \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

pub(super) async fn load(
    lifecycle: &Lifecycle,
    admin: &Admin,
    request: &ImportRequest,
    tenant: &Tenant,
    manifest: &Manifest,
) -> Result<Json, LifecycleError> {
    refuse_code(request, manifest)?;
    let (target, owner) = match &tenant.layout {
        Layout::Schema { schema, role } => (Some(&**schema), role.as_deref().unwrap_or(&tenant.upstream.user)),
        Layout::Shared | Layout::Database => (None, tenant.upstream.user.as_str()),
    };
    let place = |schema: &str| target.unwrap_or(schema).to_owned();
    if let (Some(target), true) = (target, manifest.schemas.len() > 1) {
        let names: Vec<_> = manifest.schemas.iter().map(|it| it.name.as_str()).collect();
        return Err(LifecycleError::refused(
            format!(
                "the export has tables of several schemas ({}), and tenant \"{}\" has one: \"{target}\"",
                names.join(", "),
                request.name
            ),
            "give it a database: pgwarden tenant create --layout database",
        ));
    }
    for schema in &manifest.schemas {
        let target = place(&schema.name);
        if target != schema.name && !schema.fixed.is_empty() {
            return Err(LifecycleError::refused(
                format!(
                    "in schema \"{target}\" these definitions would still name \"{}\": {}",
                    schema.name,
                    schema.fixed.join(", ")
                ),
                "import into a schema of the old name, or export again when they name it no more",
            ));
        }
        if admin.value::<i64>(RELATIONS, &[&target]).await?.unwrap_or_default() > 0 {
            return Err(LifecycleError::refused(
                format!(
                    "there is something in schema \"{target}\" of database \"{}\" already",
                    tenant.upstream.database
                ),
                "an import is for an empty place: create the tenant without --template",
            ));
        }
        if admin.value::<bool>("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", &[&target]).await?
            != Some(true)
        {
            let owner = quote_identifier(owner);
            admin.run(&format!("CREATE SCHEMA {} AUTHORIZATION {owner}", quote_identifier(&target))).await?;
        }
    }
    if target.is_none() {
        extensions(admin, manifest).await?;
    }
    admin.run("SET LOCAL check_function_bodies = off").await?;
    for schema in &manifest.schemas {
        run_in(admin, request, &place(&schema.name), &schema.before).await?;
    }
    let mut rows = 0;
    for table in &manifest.tables {
        lifecycle.tell(&format!("loading {}.{}", table.schema, table.table));
        let into = format!("{}.{}", quote_identifier(&place(&table.schema)), quote_identifier(&table.table));
        copy_in(admin, &request.directory, table, &into, &manifest.copy_format).await?;
        rows += table.rows;
    }
    for schema in &manifest.schemas {
        run_in(admin, request, &place(&schema.name), &schema.after).await?;
    }
    for it in &manifest.sequences {
        let name = format!("{}.{}", quote_identifier(&place(&it.schema)), quote_identifier(&it.sequence));
        admin.rows("SELECT setval($1::text::regclass, $2)", &[&name, &it.last_value]).await?;
    }
    verify_all(admin, request, manifest, &place).await?;
    for schema in &manifest.schemas {
        let role = quote_identifier(owner);
        let give: String = schema.owned.iter().map(|thing| format!("ALTER {thing} OWNER TO {role};\n")).collect();
        admin.run(&format!("SET LOCAL search_path = {};\n{give}", quote_identifier(&place(&schema.name)))).await?;
    }
    admin.run("SET LOCAL search_path = ''").await?;
    Ok(json!({ "tables": manifest.tables.len(), "rows": rows, "left_out": manifest.left_out }))
}

/// What a tenant wrote (a check, a function, a trigger) would run with the rights of who loads it, which are those of all tenants.
fn refuse_code(request: &ImportRequest, manifest: &Manifest) -> Result<(), LifecycleError> {
    match request.trust || manifest.layout == "shared" {
        true => Ok(()),
        false => Err(LifecycleError::refused(
            format!(
                "the definitions may be tenant \"{}\"'s own work, and would run with the admin role's rights",
                manifest.tenant
            ),
            "read the files of schema/ for what does not belong there, and say --trust",
        )),
    }
}

async fn extensions(admin: &Admin, manifest: &Manifest) -> Result<(), LifecycleError> {
    for extension in &manifest.extensions {
        let there = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = $1)";
        if admin.value::<bool>(there, &[&extension.name]).await? == Some(true) {
            continue;
        }
        let (name, schema) = (quote_identifier(&extension.name), quote_identifier(&extension.schema));
        admin.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION {name} SCHEMA {schema}")).await?;
    }
    Ok(())
}

/// Runs a file of definitions with a schema alone in the search path.
async fn run_in(admin: &Admin, request: &ImportRequest, schema: &str, file: &str) -> Result<(), LifecycleError> {
    let path = request.directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(LifecycleError::file(&path))?;
    admin
        .run(&format!("SET LOCAL search_path = {};\n{text}\nSET LOCAL search_path = ''", quote_identifier(schema)))
        .await
}

/// Of a table whose rows came from two files (a tenant's, and everybody's) the number of both.
async fn verify_all(
    admin: &Admin,
    request: &ImportRequest,
    manifest: &Manifest,
    place: &impl Fn(&str) -> String,
) -> Result<(), LifecycleError> {
    for table in &manifest.tables {
        let same = |it: &&crate::lifecycle::export::TableFile| it.schema == table.schema && it.table == table.table;
        let parts = manifest.tables.iter().filter(same).count();
        let only = if table.only { "ONLY " } else { "" };
        let from = format!("{only}{}.{}", quote_identifier(&place(&table.schema)), quote_identifier(&table.table));
        let condition = match (&table.tenant_column, parts) {
            (_, 1) => "true".to_owned(),
            (Some(column), _) => {
                let is = if table.everybodys { "IS NULL" } else { "IS NOT NULL" };
                format!("t.{} {is}", quote_identifier(column))
            }
            // Both parts lead to their owners by a foreign key: their sum was checked as they were loaded.
            (None, _) => continue,
        };
        verify(admin, table, &from, &condition, request.verify).await?;
    }
    Ok(())
}
