//! As whom migrations run: with the rights of who owns the place, and no more.
//!
//! In a place of a tenant's own there may be things that the tenant made: a trigger, a function with the name of another, a default.
//! A migration runs them. `SET ROLE` on the admin's connection would keep nothing from them, for they could reset it. So the session
//! logs in as a role that has the owner's rights and no others: the pool's role where that is the owner, else one that is made for
//! this run and dropped at its end.

use rand::RngExt as _;

use super::places::Place;
use crate::auth::ScramVerifier;
use crate::base::{Secret, hex};
use crate::config::{Layout, Upstream};
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::{quote_identifier, quote_literal};
use tokio_postgres::error::SqlState;

/// Begins the names of roles that are made for a run.
const PREFIX: &str = "pgwarden_migrate_";

/// How a session logs in, and what it becomes.
pub(super) struct Login {
    /// Address, database, role and password.
    pub at: Upstream,
    /// The role that it acts as.
    pub role: String,
    /// Where unqualified names lead; `None`: as the database has it.
    pub search_path: Option<String>,
    /// `at.user` was made for this run.
    is_temporary: bool,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct ActAs {
    /// This role, not the owner.
    pub role: Option<String>,
    /// Nobody but operators makes things in the tenants' places: as the admin, which becomes the owner.
    pub trust: bool,
}

pub(super) struct Owner {
    name: String,
    is_superuser: bool,
}

impl Login {
    /// Finds out as whom to run in a place, and makes a role for it where none fits.
    ///
    /// # Errors
    /// The place is not there, or what runs in it would have more rights than its owner.
    pub async fn make(
        admin: &Admin,
        place: &Place,
        wanted: &ActAs,
        common: &[String],
        lasts: &str,
    ) -> Result<Self, LifecycleError> {
        let owner = owner(admin, place, wanted.role.as_deref()).await?;
        let search_path = place.schema().map(|own| {
            let path = std::iter::once(own).chain(common.iter().map(String::as_str));
            path.map(quote_identifier).collect::<Vec<_>>().join(", ")
        });
        let by =
            |at, is_temporary| Self { at, role: owner.name.clone(), search_path: search_path.clone(), is_temporary };
        let Upstream { user, password, .. } = &*place.upstream;
        if owner.name == *user {
            return Ok(by(Upstream { user: user.clone(), password: password.clone(), ..admin.at.clone() }, false));
        }
        // Tenants of shared tables make nothing there.
        if wanted.trust || place.layout == Layout::Shared {
            return Ok(by(admin.at.clone(), false));
        }
        if owner.is_superuser || owner.name == admin.at.user {
            return Err(LifecycleError::refused(
                format!(
                    "{} belongs to \"{}\", with whose rights what the tenant made there would run",
                    place.describe(),
                    owner.name
                ),
                "say --role with the role that owns the tables, or --trust if tenants can make nothing there",
            ));
        }
        let (user, password) = temporary(admin, &owner.name, search_path.as_deref(), lasts).await?;
        Ok(by(Upstream { user, password: Some(password), ..admin.at.clone() }, true))
    }

    /// Drops the role, if it was made for this run. What a file made as that role (`SET ROLE NONE`) is the owner's.
    ///
    /// # Errors
    /// The server's.
    pub async fn end(&self, admin: &Admin) -> Result<(), LifecycleError> {
        if !self.is_temporary {
            return Ok(());
        }
        let (role, owner) = (quote_identifier(&self.at.user), quote_identifier(&self.role));
        let drop = format!("DROP ROLE IF EXISTS {role}");
        match admin.run(&drop).await {
            Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
                admin
                    .run(&format!(
                        "BEGIN; GRANT {role} TO CURRENT_USER; REASSIGN OWNED BY {role} TO {owner}; DROP OWNED BY {role}; {drop}; COMMIT"
                    ))
                    .await
            }
            other => other,
        }
    }

    /// The statements that a session begins with, and goes back to before each file.
    pub fn pinned(&self, settings: &str) -> String {
        let path = self.search_path.as_ref().map(|path| format!("SET search_path = {path}; ")).unwrap_or_default();
        let role = quote_identifier(&self.role);
        let becomes = if self.role == self.at.user { String::new() } else { format!("SET ROLE {role}; ") };
        format!(
            "RESET ALL; RESET ROLE; {becomes}{path}SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
             SET standard_conforming_strings = on; {settings}"
        )
    }
}

const OWNER_OF_SCHEMA: &str =
    "SELECT r.rolname::text, r.rolsuper FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1";
const OWNER_OF_DATABASE: &str =
    "SELECT r.rolname::text, r.rolsuper FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $1";
const ROLE: &str = "SELECT rolname::text, rolsuper FROM pg_roles WHERE rolname = $1";

/// Who owns a place, or the role that is asked for.
pub(super) async fn owner(admin: &Admin, place: &Place, wanted: Option<&str>) -> Result<Owner, LifecycleError> {
    let (sql, name) = match (wanted, place.schema()) {
        (Some(role), _) => (ROLE, role),
        (None, Some(schema)) => (OWNER_OF_SCHEMA, schema),
        (None, None) => (OWNER_OF_DATABASE, place.upstream.database.as_str()),
    };
    let rows = admin.rows(sql, &[&name]).await?;
    let Some(row) = rows.first() else {
        return Err(match wanted {
            Some(role) => {
                LifecycleError::refused(format!("there is no role \"{role}\""), "--role names one of the server's")
            }
            None => missing(place),
        });
    };
    let failed = |error| admin.failed(error);
    Ok(Owner { name: row.try_get(0).map_err(failed)?, is_superuser: row.try_get(1).map_err(failed)? })
}

/// A place that the configuration has, and the server has not.
pub(super) fn missing(place: &Place) -> LifecycleError {
    LifecycleError::refused(
        format!("{} is not there", place.describe()),
        "make it with pgwarden tenant create, or take the tenant out of the configuration",
    )
}

/// A role with the rights of another. Its sessions begin as that one, whatever the tool: what they make is the owner's.
async fn temporary(
    admin: &Admin,
    owner: &str,
    search_path: Option<&str>,
    lasts: &str,
) -> Result<(String, Secret), LifecycleError> {
    let name = format!("{PREFIX}{}", hex(&rand::rng().random::<[u8; 8]>()));
    let password = Secret::new(hex(&rand::rng().random::<[u8; 16]>()));
    let verifier = ScramVerifier::from_password(password.expose()).to_text();
    let until = "SELECT (now() + $1::text::interval)::text";
    let until: Option<String> = admin.value(until, &[&lasts]).await?;
    let (role, owner_name) = (quote_identifier(&name), quote_identifier(owner));
    let path = search_path.map(|path| format!("ALTER ROLE {role} SET search_path = {path}; ")).unwrap_or_default();
    let made = admin
        .run(&format!(
            "BEGIN; CREATE ROLE {role} LOGIN PASSWORD {} VALID UNTIL {}; GRANT {owner_name} TO {role}; \
             ALTER ROLE {role} SET role = {owner_name}; {path}COMMIT",
            quote_literal(verifier.expose()),
            quote_literal(&until.unwrap_or_default()),
        ))
        .await;
    match made {
        Ok(()) => Ok((name, password)),
        Err(error) => {
            admin.run("ROLLBACK").await?;
            Err(match error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                true => LifecycleError::refused(
                    format!("role \"{}\" may make no role that can become \"{owner}\": {error}", admin.at.user),
                    format!(
                        "GRANT {owner_name} TO {} WITH ADMIN OPTION, and CREATEROLE; or say --trust if tenants can make nothing in their \
                         places: then the admin becomes the owner, which a tenant's own trigger could undo",
                        quote_identifier(&admin.at.user)
                    ),
                ),
                false => error,
            })
        }
    }
}

/// Drops roles of runs that were killed, as soon as nobody could log in as them any more.
pub(super) async fn sweep(admin: &Admin) -> Result<(), LifecycleError> {
    let sql = "SELECT rolname::text FROM pg_roles WHERE rolname ~ ('^' || $1 || '[0-9a-f]{16}$') AND rolvaliduntil < now() \
               AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = rolname)";
    for row in admin.rows(sql, &[&PREFIX]).await? {
        let name: String = row.try_get(0).map_err(|error| admin.failed(error))?;
        // Another run may have dropped it, or it is another admin's.
        if let Err(error) = admin.run(&format!("DROP ROLE IF EXISTS {}", quote_identifier(&name))).await {
            tracing::debug!(%error, role = name, "not dropped");
        }
    }
    Ok(())
}
