//! A tenant's keys: the values of its tenant columns.

use std::collections::{BTreeSet, HashMap};
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

/// Of how many tenants a value tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arity {
    /// A tenant's key.
    #[default]
    One,
    /// An array of the keys of several.
    Several,
}

/// A tenant's key values, as text in the input format of their types; or the arrays of several tenants'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantKeys {
    /// Which of both.
    pub arity: Arity,
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

    /// The keys of several tenants in arrays. A key that one of them does not have is left out: it is asked for in vain, as that
    /// tenant's own would be.
    pub fn of_several<'k>(tenants: impl Iterator<Item = &'k TenantKeys> + Clone) -> Self {
        let all = |name: &KeyName| -> Option<Arc<str>> {
            let values: Option<Vec<&Arc<str>>> = tenants.clone().map(|keys| keys.get(name)).collect();
            values.map(|values| array(values.into_iter().map(|value| &**value)).into())
        };
        let names: BTreeSet<&Arc<str>> = tenants.clone().flat_map(|keys| keys.named.keys()).collect();
        let named = names.into_iter().filter_map(|name| Some((Arc::clone(name), all(&Some(Arc::clone(name)))?)));
        Self { arity: Arity::Several, default: all(&None), named: named.collect() }
    }
}

/// An array in its text input format.
fn array<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let mut out = String::from("{");
    for value in values {
        out.push_str(if out.len() > 1 { ",\"" } else { "\"" });
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(default: &str, uuid: Option<&str>) -> TenantKeys {
        let named = uuid.map(|value| ("uuid".into(), value.into())).into_iter().collect();
        TenantKeys { default: Some(default.into()), named, ..TenantKeys::default() }
    }

    #[test]
    fn the_keys_of_several_stand_in_one_array() {
        let several = |all: &[TenantKeys]| TenantKeys::of_several(all.iter());
        let both = several(&[keys("1", Some("a")), keys("2", Some("b"))]);
        assert_eq!(both.default.as_deref(), Some(r#"{"1","2"}"#));
        assert_eq!(both.get(&Some("uuid".into())).map(|it| &**it), Some(r#"{"a","b"}"#));
        // What would be another element, or none, is a value.
        assert_eq!(
            several(&[keys(r#"a",\"#, None), keys("NULL", None)]).default.as_deref(),
            Some(r#"{"a\",\\","NULL"}"#)
        );
        assert_eq!(several(&[]).default.as_deref(), Some("{}"));
    }

    #[test]
    fn a_key_that_one_does_not_have_is_none_of_theirs() {
        let both = TenantKeys::of_several([keys("1", Some("a")), keys("2", None)].iter());
        assert!(both.named.is_empty() && both.default.is_some());
    }
}
