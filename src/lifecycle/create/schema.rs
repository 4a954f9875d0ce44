//! A schema of a tenant's own, its role, and what a template schema has: all in one transaction.

use super::Made;
use crate::config::Tenant;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::ddl::{Definitions, script};
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::migrate::copy_applied;
use crate::sql::quote_identifier;

pub(super) async fn make(
    tenant: &Tenant,
    schema: &str,
    role: Option<&str>,
    template: Option<&str>,
) -> Result<Made, LifecycleError> {
    let admin = Admin::connect(&tenant.upstream).await?;
    admin.run("BEGIN").await?;
    if let Some(role) = role {
        make_role(&admin, role, &tenant.upstream.user).await?;
    }
    // The tenant's role owns what is the tenant's.
    let owner = role.unwrap_or(&tenant.upstream.user);
    let (name, owner_name) = (quote_identifier(schema), quote_identifier(owner));
    admin.run(&format!("CREATE SCHEMA {name} AUTHORIZATION {owner_name}")).await?;
    if let Some(template) = template {
        copy(&admin, template, schema, owner).await?;
    }
    admin.run("COMMIT").await?;
    Ok(Made::Schema { schema: schema.to_owned(), role: role.map(str::to_owned) })
}

async fn is_role(admin: &Admin, role: &str) -> Result<bool, LifecycleError> {
    let there = admin.value::<bool>("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", &[&role]).await?;
    Ok(there.unwrap_or_default())
}

/// A schema that is taken over has the role that it has, if any.
pub(super) async fn refuse_without_role(tenant: &Tenant, role: &str) -> Result<(), LifecycleError> {
    let admin = Admin::connect(&tenant.upstream).await?;
    match is_role(&admin, role).await? {
        true => Ok(()),
        false => Err(LifecycleError::refused(
            format!("there is no role \"{role}\" for sessions of a schema that is there already"),
            "--role names the one that they act as, --no-role says that it is the pool's",
        )),
    }
}

async fn make_role(admin: &Admin, role: &str, pool: &str) -> Result<(), LifecycleError> {
    if is_role(admin, role).await? {
        return Err(LifecycleError::refused(
            format!("there is a role \"{role}\" already"),
            "choose another --role: one that somebody else has could see this tenant's rows; or --no-role",
        ));
    }
    let (role, pool) = (quote_identifier(role), quote_identifier(pool));
    admin.run(&format!("CREATE ROLE {role} NOLOGIN")).await?;
    let facts = "SELECT r.rolsuper, current_setting('server_version_num')::int >= 160000 FROM pg_roles r WHERE r.rolname = current_user";
    let facts = admin.rows(facts, &[]).await?;
    let fact = |at: usize| facts.first().and_then(|row| row.try_get::<_, bool>(at).ok()).unwrap_or_default();
    // Only who may become a role gives things to it.
    if !fact(0) {
        admin.run(&format!("GRANT {role} TO CURRENT_USER")).await?;
    }
    // The pool becomes it for this tenant's statements, and must not have its rights for others'.
    let how = if fact(1) { " WITH INHERIT FALSE, SET TRUE" } else { "" };
    admin.run(&format!("GRANT {role} TO {pool}{how}")).await
}

/// Makes what the template has. Nothing of it is left out silently.
async fn copy(admin: &Admin, template: &str, schema: &str, owner: &str) -> Result<(), LifecycleError> {
    let Some(definitions) = Definitions::read(admin, template, &[]).await? else {
        return Err(LifecycleError::refused(
            format!("there is no schema \"{template}\" to begin with in database \"{}\"", admin.at.database),
            "--template names a schema of the same database",
        ));
    };
    if !definitions.left_out.is_empty() {
        return Err(LifecycleError::refused(
            format!("schema \"{template}\" has what is not copied: {}", definitions.left_out.join(", ")),
            "move it to a schema that tenants have in common, or make tenants without --template and run the migrations",
        ));
    }
    if !definitions.fixed.is_empty() {
        return Err(LifecycleError::refused(
            format!("definitions of schema \"{template}\" name that schema itself: {}", definitions.fixed.join(", ")),
            "without the schema, names mean those of the schema that they stand in (search_path); a table or function that is called as \
             one of Postgres's own needs another name",
        ));
    }
    let path = quote_identifier(schema);
    let search_path = format!("SET LOCAL search_path = {path};\n");
    let before = [search_path.as_str(), "SET LOCAL check_function_bodies = off;\n", &script(&definitions.before)];
    admin.run(&before.concat()).await?;
    admin.run("SET LOCAL search_path = ''").await?;
    copy_applied(admin, template, schema).await?;
    let statements = [
        search_path.clone(),
        definitions.after_rows(),
        definitions.give_to(owner),
        "SET LOCAL search_path = ''".to_owned(),
    ];
    admin.run(&statements.concat()).await
}

pub(super) async fn unmake(tenant: &Tenant, schema: &str, role: Option<&str>) -> Result<(), LifecycleError> {
    let admin = Admin::connect(&tenant.upstream).await?;
    let role = role.map(|role| format!("; DROP ROLE {}", quote_identifier(role))).unwrap_or_default();
    admin.run(&format!("BEGIN; DROP SCHEMA {} CASCADE{role}; COMMIT", quote_identifier(schema))).await
}
