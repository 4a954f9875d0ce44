//! One row, and the tenant that it says.

use std::sync::Arc;

use crate::base::{CONSOLE_DATABASE, TenantKeys, TenantName, UpstreamName, is_tenant_name};
use crate::config::{Config, Layout, TERM_COLUMNS, Tenant, TenantTerms, Upstream, terms_of_row, upstream_at};

/// Longest identifier of Postgres, in bytes.
const MAX_IDENTIFIER: usize = 63;

macro_rules! columns {
    ($($field:ident),*) => {
        /// The columns that the query may have.
        pub const COLUMNS: &[&str] = &[$(stringify!($field)),*];

        /// A row, each value as text; `None` for NULL and for columns that the query does not have.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Row {
            $(
                #[doc = concat!("`", stringify!($field), "`")]
                pub $field: Option<Box<str>>,
            )*
        }

        impl Row {
            fn set(&mut self, column: &str, value: &str) {
                match column {
                    $(stringify!($field) => self.$field = Some(value.into()),)*
                    // A shape has no other columns.
                    _ => {}
                }
            }
        }
    };
}

columns!(
    name, key, keys, layout, schema, role, upstream, database, url, suspended, allow_from, limits, weight, pool, quota
);

/// Which columns a result has.
#[derive(Clone, Debug)]
pub struct Shape(Vec<&'static str>);

/// The query's columns are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// One that means nothing.
    #[error("the query has a column \"{0}\", which means nothing: it may have {known}", known = COLUMNS.join(", "))]
    Unknown(String),
    /// One comes twice.
    #[error("the query has the column \"{0}\" twice")]
    Twice(&'static str),
    /// The one that must be there.
    #[error("the query has no column \"name\"")]
    NoName,
}

impl Shape {
    /// The shape of a result with these columns.
    ///
    /// # Errors
    /// As [`ShapeError`] says.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, ShapeError> {
        let mut shape = Vec::new();
        for name in names {
            let known = COLUMNS.iter().find(|known| **known == name).ok_or_else(|| ShapeError::Unknown(name.into()))?;
            if shape.contains(known) {
                return Err(ShapeError::Twice(known));
            }
            shape.push(*known);
        }
        if shape.contains(&"name") { Ok(Self(shape)) } else { Err(ShapeError::NoName) }
    }

    /// A row of that shape.
    pub fn row<'v>(&self, value: impl Fn(usize) -> Option<&'v str>) -> Row {
        let mut row = Row::default();
        for (i, column) in self.0.iter().enumerate() {
            if let Some(value) = value(i) {
                row.set(column, value);
            }
        }
        row
    }
}

impl Row {
    /// The tenant that the row says.
    ///
    /// # Errors
    /// Why it says none, in words for an operator.
    pub fn tenant(&self, config: &Config) -> Result<Tenant, String> {
        let name = self.name.as_deref().ok_or("it has no name")?;
        if !is_tenant_name(name) || name == CONSOLE_DATABASE {
            return Err("this is no name for a tenant: letters, digits, _ and -, at most 63".to_owned());
        }
        let layout = self.layout()?;
        let TenantTerms { allow_from, limits, share, quota } = self.terms(config)?;
        Ok(Tenant {
            name: TenantName::new(name),
            keys: self.keys(&layout, config)?,
            upstream: self.upstream(name, &layout, config)?,
            suspended: self.suspended()?,
            allow_from,
            limits,
            share,
            layout,
            quota,
        })
    }

    fn terms(&self, config: &Config) -> Result<TenantTerms, String> {
        let [allow_from, limits, weight, pool, quota] = TERM_COLUMNS;
        let columns = [
            (allow_from, &self.allow_from),
            (limits, &self.limits),
            (weight, &self.weight),
            (pool, &self.pool),
            (quota, &self.quota),
        ];
        terms_of_row(config, columns.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))))
    }

    fn layout(&self) -> Result<Layout, String> {
        let layout = match self.layout.as_deref().unwrap_or("shared") {
            "shared" => Layout::Shared,
            "database" => Layout::Database,
            "schema" => Layout::Schema {
                schema: Arc::from(own_schema(self.schema.as_deref().ok_or("layout \"schema\" needs \"schema\"")?)?),
                role: self.role.as_deref().map(|role| identifier("role", role)).transpose()?.map(Arc::from),
            },
            other => return Err(format!("\"{other}\" is no layout: shared, schema or database")),
        };
        let schemas = [("schema", &self.schema), ("role", &self.role)];
        match layout {
            Layout::Schema { .. } => {}
            Layout::Shared | Layout::Database => none_of(&schemas, "schema")?,
        }
        Ok(layout)
    }

    fn keys(&self, layout: &Layout, config: &Config) -> Result<TenantKeys, String> {
        let mut keys = TenantKeys {
            default: self.key.as_deref().map(|key| key_value("key", key)).transpose()?,
            ..TenantKeys::default()
        };
        for (name, value) in self.named_keys()? {
            keys.named.insert(Arc::from(name.as_str()), key_value(&name, &value)?);
        }
        if *layout == Layout::Shared {
            if keys.default.is_none() {
                return Err("layout \"shared\" needs \"key\"".to_owned());
            }
            let missing = |name: &&Arc<str>| !keys.named.contains_key(*name);
            if let Some(name) = config.tenancy.tables.values().filter_map(|over| over.key()).find(missing) {
                return Err(format!("it has no key \"{name}\", which [tenancy.tables] asks for"));
            }
        }
        Ok(keys)
    }

    fn named_keys(&self) -> Result<Vec<(String, String)>, String> {
        let Some(text) = self.keys.as_deref() else { return Ok(Vec::new()) };
        let wrong = || "\"keys\" must be a JSON object of texts and whole numbers".to_owned();
        let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|_| wrong())?;
        let value = |(name, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Ok((name, text)),
            serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => Ok((name, number.to_string())),
            _ => Err(wrong()),
        };
        read.into_iter().map(value).collect()
    }

    fn upstream(&self, tenant: &str, layout: &Layout, config: &Config) -> Result<Arc<Upstream>, String> {
        let base = match self.upstream.as_deref() {
            Some(name) => {
                config.upstreams.get(&UpstreamName::new(name)).ok_or_else(|| format!("no upstream \"{name}\""))?
            }
            None => config.upstreams.get(&config.tenancy.upstream).ok_or("the default upstream is missing")?,
        };
        if *layout != Layout::Database {
            none_of(&[("database", &self.database), ("url", &self.url)], "database")?;
            return Ok(Arc::clone(base));
        }
        match (self.database.as_deref(), self.url.as_deref()) {
            (Some(database), None) => Ok(Arc::new(Upstream {
                database: identifier("database", database)?.to_owned(),
                ..Upstream::clone(base)
            })),
            (None, Some(url)) => upstream_at(url, UpstreamName::new(format!("tenant/{tenant}")), base).map(Arc::new),
            (None, None) => Err("layout \"database\" needs \"database\" or \"url\"".to_owned()),
            (Some(_), Some(_)) => Err("it has both \"database\" and \"url\"".to_owned()),
        }
    }

    fn suspended(&self) -> Result<bool, String> {
        match self.suspended.as_deref() {
            None | Some("f" | "false") => Ok(false),
            Some("t" | "true") => Ok(true),
            Some(_) => Err("\"suspended\" must be a boolean".to_owned()),
        }
    }
}

fn none_of(columns: &[(&str, &Option<Box<str>>)], layout: &str) -> Result<(), String> {
    match columns.iter().find(|(_, value)| value.is_some()) {
        Some((column, _)) => Err(format!("\"{column}\" is for layout \"{layout}\"")),
        None => Ok(()),
    }
}

/// A name that Postgres would keep as it is.
pub(in crate::tenant) fn identifier<'t>(what: &str, text: &'t str) -> Result<&'t str, String> {
    if text.is_empty() || text.len() > MAX_IDENTIFIER || text.contains(char::is_control) {
        return Err(format!("\"{what}\" must be a name of 1 to {MAX_IDENTIFIER} bytes"));
    }
    Ok(text)
}

/// A schema that can be one tenant's.
pub(in crate::tenant) fn own_schema(text: &str) -> Result<&str, String> {
    if text.starts_with("pg_") || text == "information_schema" {
        return Err(format!("\"{text}\" is one of Postgres's own schemas"));
    }
    identifier("schema", text)
}

fn key_value(name: &str, text: &str) -> Result<Arc<str>, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("its \"{name}\" is empty"));
    }
    Ok(Arc::from(text))
}
