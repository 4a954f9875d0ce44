//! What tenants may make of settings: as the operator says, and what the database decides by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{TenantSetting, TenantValues};

/// The rules for settings that the guard does not rely on itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingRules {
    /// `[tenancy.settings]`: the first that speaks of a setting counts.
    pub configured: Vec<TenantSetting>,
    /// Custom settings by which something in the database decides, and what that is.
    pub deciders: BTreeMap<String, Arc<str>>,
    /// What reads settings whose names it computes.
    pub any: Option<Arc<str>>,
}

impl SettingRules {
    /// What the operator says of a setting, given in lower case.
    pub fn configured(&self, name: &str) -> Option<TenantValues> {
        self.configured.iter().find(|it| it.is_of(name)).map(|it| it.values)
    }

    /// What in the database decides by a setting, or may.
    pub fn decider(&self, name: &str) -> Option<&Arc<str>> {
        self.deciders.get(name).or(self.any.as_ref())
    }
}
