//! The settings that a session starts with: those that pgwarden seals, and those that the client asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Mode, PgError, Refusal, Severity, SqlState, TenantKeys, key_setting};
use crate::config::{Layout, PoolMode, Tenant};
use crate::guard::{Effect, Guard, Protocol};
use crate::session::protocol::{Backend, Settings};
use crate::session::upstream::Upstream;
use crate::sql::{quote_identifier, quote_literal, quote_setting};
use crate::tenant::{TENANT_OPTION, Target};
use crate::wire::startup::StartupMessage;

/// How a session is guarded, and what it starts with.
pub(in crate::session) struct Opening {
    pub place: Arc<Backend>,
    pub keys: TenantKeys,
    pub sealed: BTreeMap<String, String>,
    pub startup: BTreeMap<String, String>,
}

impl Opening {
    /// The opening of a session on `target`.
    ///
    /// # Errors
    /// A startup setting that the session may not have, FATAL.
    pub fn new(
        target: &Target,
        upstream: &Upstream,
        sealed_setting: &str,
        message: &StartupMessage,
    ) -> Result<Self, PgError> {
        let guard = &upstream.guard;
        let place = place(target, upstream).ok_or_else(no_place)?;
        let (keys, sealed, mut startup) = match target {
            Target::Tenant(tenant) => {
                (tenant.keys.clone(), sealed_settings(tenant, guard, sealed_setting), BTreeMap::new())
            }
            Target::Unbound { .. } => (TenantKeys::default(), shared_path(guard), BTreeMap::new()),
            Target::Reader { .. } => (TenantKeys::default(), reader_settings(guard, sealed_setting), BTreeMap::new()),
            // Opened elsewhere; were it opened here, nothing on any relation would be allowed.
            Target::Console => (TenantKeys::default(), BTreeMap::new(), BTreeMap::new()),
            Target::Operator { tenant, .. } | Target::Observed { tenant, .. } => {
                let startup = tenant.as_deref().map(|tenant| schema_path(tenant, guard)).unwrap_or_default();
                (TenantKeys::default(), BTreeMap::new(), startup)
            }
        };
        startup.extend(client_settings(message, guard, &place.mode)?);
        Ok(Self { place, keys, sealed, startup })
    }

    /// The settings as the session keeps them.
    pub fn settings(&self) -> Settings {
        Settings::new(self.sealed.clone(), self.startup.clone())
    }
}

/// The console has no place among upstreams.
pub(in crate::session) fn no_place() -> PgError {
    PgError::fatal(SqlState::INTERNAL_ERROR, "the console has no upstream")
}

/// Where a session on `target` works.
pub(in crate::session) fn place(target: &Target, upstream: &Upstream) -> Option<Arc<Backend>> {
    let observed = matches!(target, Target::Observed { .. });
    let (mode, role) = match target {
        Target::Tenant(tenant) => match &tenant.layout {
            Layout::Schema { role, .. } => (tenant.layout.mode(), role.as_deref()),
            Layout::Shared | Layout::Database => (tenant.layout.mode(), None),
        },
        Target::Unbound { .. } | Target::Console => (Mode::Shared, None),
        Target::Reader { .. } => (Mode::Reader, None),
        Target::Operator { .. } | Target::Observed { .. } => (Mode::Operator, None),
    };
    // An observed client has its server connection for itself, as it has without pgwarden.
    let pool_mode = if observed { PoolMode::Session } else { upstream.pool.settings().mode };
    let kind = if observed { "Observed" } else { "" };
    Some(Arc::new(Backend {
        upstream: Arc::clone(target.upstream()?),
        database: target.database()?.to_owned(),
        guard: Arc::clone(&upstream.guard),
        catalog: Arc::clone(&upstream.catalog),
        notifications: Arc::clone(&upstream.notifications),
        planning_context: format!("{kind}{mode:?} {role:?}").into(),
        mode,
        pool_mode,
        observed,
    }))
}

/// The pinned search path of the shared layout.
pub(in crate::session) fn shared_path(guard: &Guard) -> BTreeMap<String, String> {
    let path = &guard.policy().search_path;
    if path.is_empty() {
        return BTreeMap::new();
    }
    let path = path.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ");
    BTreeMap::from([("search_path".to_owned(), path)])
}

/// What the server must have while a reader of several tenants is served: the path, nobody's key, and transactions in which nothing
/// is written.
fn reader_settings(guard: &Guard, setting: &str) -> BTreeMap<String, String> {
    let mut sealed = shared_path(guard);
    sealed.insert("default_transaction_read_only".to_owned(), "on".to_owned());
    sealed.insert(setting.to_ascii_lowercase(), String::new());
    sealed
}

/// What the server must have while this tenant is acted for.
pub(crate) fn sealed_settings(tenant: &Tenant, guard: &Guard, setting: &str) -> BTreeMap<String, String> {
    let mut sealed = BTreeMap::new();
    let named = tenant.keys.named.iter().map(|(name, key)| (Some(Arc::clone(name)), key));
    for (name, key) in tenant.keys.default.iter().map(|key| (None, key)).chain(named) {
        if let Some(setting) = key_setting(setting, &name) {
            sealed.insert(setting, key.to_string());
        }
    }
    match &tenant.layout {
        Layout::Shared => sealed.extend(shared_path(guard)),
        Layout::Schema { schema, role } => {
            sealed.insert("search_path".to_owned(), guard.policy().schema_path(schema));
            if let Some(role) = role {
                sealed.insert("role".to_owned(), role.to_string());
            }
        }
        Layout::Database => {}
    }
    sealed
}

/// An operator who names a tenant of the schema layout works in its schema, but may leave it.
fn schema_path(tenant: &Tenant, guard: &Guard) -> BTreeMap<String, String> {
    match &tenant.layout {
        Layout::Schema { schema, .. } => {
            BTreeMap::from([("search_path".to_owned(), guard.policy().schema_path(schema))])
        }
        Layout::Shared | Layout::Database => BTreeMap::new(),
    }
}

/// The tenant that the startup packet names as a setting.
///
/// # Errors
/// Two different ones, FATAL.
pub(in crate::session) fn tenant_option(message: &StartupMessage) -> Result<Option<&str>, PgError> {
    let mut found: Option<&str> = None;
    for (name, value) in message.options.iter().chain(&message.settings) {
        if !name.eq_ignore_ascii_case(TENANT_OPTION) {
            continue;
        }
        if found.is_some_and(|earlier| earlier != value) {
            let error = format!("{TENANT_OPTION} is given twice with different values");
            return Err(PgError::fatal(SqlState::INVALID_PARAMETER_VALUE, error));
        }
        found = Some(value);
    }
    Ok(found)
}

/// Settings of the startup packet, each one passed by the guard as if it were SET. `options` comes first, as in Postgres.
fn client_settings(message: &StartupMessage, guard: &Guard, mode: &Mode) -> Result<BTreeMap<String, String>, PgError> {
    let mut settings = BTreeMap::new();
    for (name, value) in message.options.iter().chain(&message.settings) {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            TENANT_OPTION => {}
            "client_encoding" => check_encoding(value)?,
            _ => {
                check_setting(&name, value, guard, mode)?;
                settings.insert(name, value.clone());
            }
        }
    }
    Ok(settings)
}

/// Texts are read, rewritten and cached as UTF-8; in some encodings a quote hides in the second byte of a character.
fn check_encoding(value: &str) -> Result<(), PgError> {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    if matches!(plain.to_ascii_lowercase().as_str(), "utf8" | "unicode") {
        return Ok(());
    }
    Err(PgError::fatal(SqlState::INVALID_PARAMETER_VALUE, format!("client_encoding \"{value}\" is not supported"))
        .hint("pgwarden speaks UTF8: set client_encoding to UTF8, or PGCLIENTENCODING=UTF8."))
}

fn check_setting(name: &str, value: &str, guard: &Guard, mode: &Mode) -> Result<(), PgError> {
    let fatal = |refusal: Refusal| PgError { severity: Severity::Fatal, position: None, ..*refusal.error };
    let quoted = quote_setting(name);
    let sql = format!("SET {quoted} TO {}", quote_literal(value));
    let plan = guard.plan(mode, Protocol::Simple, &sql).map_err(fatal)?;
    if plan.statements.iter().flat_map(|plan| &plan.effects).any(|effect| matches!(effect, Effect::Pin(_))) {
        // It would be set anew on every server connection.
        let message = format!("parameter \"{name}\" cannot be set when connecting to pgwarden");
        return Err(PgError::fatal(SqlState::INSUFFICIENT_PRIVILEGE, message).hint("SET it once connected."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_in_all_spellings_and_nothing_else() {
        for good in ["UTF8", "utf-8", "'utf-8'", "UNICODE", "Utf_8"] {
            assert!(check_encoding(good).is_ok(), "{good}");
        }
        for bad in ["SJIS", "LATIN1", "SQL_ASCII", "", "UTF88"] {
            assert!(check_encoding(bad).is_err(), "{bad}");
        }
    }
}
