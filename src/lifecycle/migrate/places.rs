//! Where migrations are run: schemas and databases of tenants, and databases with shared tables, each once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::QualifiedName;
use crate::config::{Layout, PatternLayout, Tenant, Upstream};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::{LifecycleError, place_of};
use crate::lifecycle::show::word_of;
use crate::tenant::Registry;

/// The table in each place.
pub(crate) const TABLE: &str = "pgwarden_migrations";

/// A schema or a database.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What it is called in reports: the tenant's name, or the upstream of shared tables.
    pub label: String,
    /// Whose it is; several where tenants share it.
    pub tenants: Vec<String>,
    pub layout: Layout,
    pub upstream: Arc<Upstream>,
}

impl Place {
    pub fn of(tenant: &Tenant) -> Self {
        let label = match tenant.layout {
            Layout::Shared => format!("shared tables of {}", tenant.upstream.name),
            Layout::Schema { .. } | Layout::Database => tenant.name.to_string(),
        };
        Self {
            label,
            tenants: vec![tenant.name.to_string()],
            layout: tenant.layout.clone(),
            upstream: Arc::clone(&tenant.upstream),
        }
    }

    /// The tenant's schema, where it has one.
    pub fn schema(&self) -> Option<&str> {
        match &self.layout {
            Layout::Schema { schema, .. } => Some(schema),
            Layout::Shared | Layout::Database => None,
        }
    }

    /// The table that says what was applied there.
    pub fn table(&self) -> QualifiedName {
        QualifiedName::new(self.schema().unwrap_or("public"), TABLE)
    }

    pub fn word(&self) -> &'static str {
        word_of(&self.layout)
    }

    /// For errors.
    pub fn describe(&self) -> String {
        match self.schema() {
            Some(schema) => format!("schema \"{schema}\" in {}", place_of(&self.upstream)),
            None => place_of(&self.upstream),
        }
    }

    /// Under whose names operations on it are locked and recorded. Shared tables are no single tenant's.
    pub fn owners(&self) -> Vec<String> {
        match self.layout {
            Layout::Shared => vec![self.label.clone()],
            Layout::Schema { .. } | Layout::Database => self.tenants.clone(),
        }
    }

    /// Which it is, whatever it is called.
    fn key(&self) -> (String, String, Option<String>) {
        (self.upstream.address.to_string(), self.upstream.database.clone(), self.schema().map(str::to_owned))
    }
}

/// Which places are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `shared`, `schema`, `database`; empty: what tenants have of their own.
    pub layouts: Vec<String>,
    /// Tenants' names, with `*` and `?`; empty: all.
    pub tenants: Vec<String>,
}

impl Selection {
    fn has_layout(&self, layout: &Layout) -> bool {
        match self.layouts.is_empty() {
            true => !matches!(layout, Layout::Shared),
            false => self.layouts.iter().any(|it| it == word_of(layout)),
        }
    }

    fn names(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|pattern| matches(pattern, tenant))
    }
}

/// Whether a name is as a pattern says.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    let mut parts = pattern.split('*');
    let begins = |text: &str, part: &str| {
        text.len() >= part.len() && part.bytes().zip(text.bytes()).all(|(one, other)| one == b'?' || one == other)
    };
    let Some(first) = parts.next().filter(|first| begins(rest, first)) else { return false };
    rest = rest.get(first.len()..).unwrap_or_default();
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let found = (0..=rest.len()).find(|at| rest.get(*at..).is_some_and(|text| begins(text, part)));
        let Some(at) = found else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    let end = rest.len().checked_sub(last.len()).and_then(|at| rest.get(at..));
    end.is_some_and(|end| begins(end, last))
}

const SCHEMAS: &str = "SELECT nspname::text FROM pg_namespace ORDER BY 1";
const DATABASES: &str = "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";

impl Lifecycle {
    /// The places that are meant, in the order of their names.
    pub(super) async fn places(&self, selection: &Selection) -> Result<Vec<Place>, LifecycleError> {
        let mut tenants = self.config.tenants.clone();
        let registry = Registry::new(&self.config);
        for name in &selection.tenants {
            if !name.contains(['*', '?']) && registry.tenant(name).is_none() {
                tenants.push(self.find(name)?);
            }
        }
        tenants.extend(self.by_pattern(&registry, selection).await?);
        let mut places: BTreeMap<_, Place> = BTreeMap::new();
        for tenant in tenants {
            if !selection.has_layout(&tenant.layout) || !selection.names(tenant.name.as_str()) {
                continue;
            }
            let place = Place::of(&tenant);
            let known = places.entry(place.key()).or_insert_with(|| Place { tenants: Vec::new(), ..place });
            let name = tenant.name.to_string();
            if !known.tenants.contains(&name) {
                known.tenants.push(name);
            }
        }
        // Shared tables that nobody has rows in yet.
        if places.is_empty()
            && selection.tenants.is_empty()
            && selection.has_layout(&Layout::Shared)
            && let Some(upstream) = self.config.upstreams.get(&self.config.tenancy.upstream)
        {
            let label = format!("shared tables of {}", upstream.name);
            let upstream = Arc::clone(upstream);
            return Ok(vec![Place { label, tenants: Vec::new(), layout: Layout::Shared, upstream }]);
        }
        if places.is_empty() {
            return Err(LifecycleError::refused(
                "there is no such place",
                "pgwarden tenant list names tenants and layouts; for tables that tenants share, say --shared",
            ));
        }
        let mut places: Vec<Place> = places.into_values().collect();
        places.iter_mut().for_each(|it| it.tenants.sort());
        places.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(places)
    }

    /// Tenants that are not listed: those whose schema or database is there, as the pattern calls it.
    async fn by_pattern(&self, registry: &Registry, selection: &Selection) -> Result<Vec<Arc<Tenant>>, LifecycleError> {
        let Some(pattern) = &self.config.tenancy.pattern else { return Ok(Vec::new()) };
        let template = match &pattern.layout {
            PatternLayout::Shared => return Ok(Vec::new()),
            PatternLayout::Schema { schema, .. } => schema,
            PatternLayout::Database { database } => database,
        };
        let is_schema = matches!(pattern.layout, PatternLayout::Schema { .. });
        let word = if is_schema { "schema" } else { "database" };
        if !selection.layouts.is_empty() && !selection.layouts.iter().any(|it| it == word) {
            return Ok(Vec::new());
        }
        if template.is_bare() {
            self.tell("tenants that [tenancy.pattern] makes of any name are left out where they are not listed: name them with --tenants");
            return Ok(Vec::new());
        }
        let Some(upstream) = self.config.upstreams.get(&pattern.upstream) else { return Ok(Vec::new()) };
        let admin = Admin::to_ask(upstream).await?;
        let rows = admin.rows(if is_schema { SCHEMAS } else { DATABASES }, &[]).await?;
        let names = rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok());
        let tenant = |name: String| {
            let name = template.name_in(&name)?.to_owned();
            registry.derive(&name).filter(|_| registry.tenant(&name).is_none())
        };
        Ok(names.filter_map(tenant).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_pattern() {
        for (pattern, name) in [
            ("acme", "acme"),
            ("*", ""),
            ("*", "x"),
            ("eu-*", "eu-1"),
            ("eu-*", "eu-"),
            ("*-test", "a-test"),
            ("a*b*c", "a-b-b-c"),
            ("t??", "t42"),
            ("a*?", "ab"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("acme", "acme2"),
            ("acme", "Acme"),
            ("", "x"),
            ("eu-*", "us-1"),
            ("*-test", "test"),
            ("a*a", "a"),
            ("t??", "t4"),
            ("a*b*c", "a-c"),
            ("a*?", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
