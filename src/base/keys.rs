//! A tenant's keys: the values of its tenant columns.

use std::collections::HashMap;
use std::sync::Arc;

/// Name of a tenant's key: `None` is the default key, `Some("uuid")` one of `keys = { uuid = ... }`.
pub type KeyName = Option<Arc<str>>;

/// The server's setting that holds a tenant's key: `app.tenant_id`, and `app.tenant_id_uuid` for the key named `uuid`.
/// `None` for a key whose name cannot stand in the name of a setting.
pub fn key_setting(setting: &str, key: &KeyName) -> Option<String> {
    let setting = setting.to_ascii_lowercase();
    match key {
        None => Some(setting),
        Some(name) => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            .then(|| format!("{setting}_{}", name.to_ascii_lowercase())),
    }
}

/// A tenant's key values, as text in the input format of their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantKeys {
    /// The `key`.
    pub default: Option<Arc<str>>,
    /// The `keys` by name.
    pub named: HashMap<Arc<str>, Arc<str>>,
}

impl TenantKeys {
    /// The value of a key, if the tenant has one of that name.
    pub fn get(&self, name: &KeyName) -> Option<&Arc<str>> {
        match name {
            None => self.default.as_ref(),
            Some(name) => self.named.get(name),
        }
    }
}
