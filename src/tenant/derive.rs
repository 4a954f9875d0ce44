//! Tenants that nobody listed: `[tenancy.pattern]` says where a tenant of any name lives.
//!
//! Only names that cannot be mistaken for anything else come here ([`is_tenant_name`]), and what is made of them must
//! not be what a listed tenant has.

use std::collections::HashSet;
use std::sync::Arc;

use super::table::{any_type, identifier, own_schema};
use crate::base::{TenantKeys, TenantName, is_tenant_name};
use crate::config::{Address, Config, Layout, Limits, Pattern, PatternLayout, Share, Tenant, Upstream};
use crate::guard::value::TenantValue;

/// Databases that every cluster has.
const SYSTEM_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];

/// A pattern, and what of its results is taken.
#[derive(Debug)]
pub(super) struct Deriver {
    pattern: Pattern,
    upstream: Arc<Upstream>,
    schemas: HashSet<Arc<str>>,
    databases: HashSet<(Address, String)>,
    keys: HashSet<TenantValue>,
    limits: Limits,
}

impl Deriver {
    /// The pattern of a configuration, if it has one.
    pub fn new(config: &Config) -> Option<Self> {
        let pattern = config.tenancy.pattern.clone()?;
        let upstream = Arc::clone(config.upstreams.get(&pattern.upstream)?);
        let here =
            |it: &&Arc<Tenant>| it.upstream.address == upstream.address && it.upstream.database == upstream.database;
        let mut schemas: HashSet<Arc<str>> = HashSet::from(["public".into()]);
        let mut keys = HashSet::new();
        for tenant in config.tenants.iter().filter(here) {
            match &tenant.layout {
                Layout::Schema { schema, .. } => {
                    schemas.insert(Arc::clone(schema));
                }
                Layout::Shared => keys.extend(tenant.keys.default.iter().map(|key| any_type(key))),
                Layout::Database => {}
            }
        }
        let common = config.tenancy.search_path.iter().chain(&config.tenancy.common_schemas);
        schemas.extend(common.flatten().map(|name| Arc::from(name.as_str())));
        let listed = config.tenancy.shared_tables.iter().chain(config.tenancy.tables.keys());
        schemas.extend(listed.map(|name| Arc::from(name.schema.as_str())));
        let configured = config.upstreams.values().chain(config.tenants.iter().map(|tenant| &tenant.upstream));
        let databases = configured.map(|it| (it.address.clone(), it.database.clone())).collect();
        Some(Self { pattern, upstream, schemas, databases, keys, limits: config.limits.clone() })
    }

    /// The name of the tenant that has this schema. `None` where none can have it.
    pub fn tenant_with_schema(&self, schema: &str) -> Option<TenantName> {
        let PatternLayout::Schema { schema: template, .. } = &self.pattern.layout else { return None };
        let tenant = self.tenant(template.name_in(schema)?)?;
        Some(tenant.name)
    }

    /// The tenant of this name. `None` where there can be none.
    pub fn tenant(&self, name: &str) -> Option<Tenant> {
        if !is_tenant_name(name) {
            return None;
        }
        let key = self.pattern.key.as_ref().map(|template| Arc::from(template.fill(name)));
        let mut upstream = Arc::clone(&self.upstream);
        let layout = match &self.pattern.layout {
            PatternLayout::Shared => {
                let free = key.as_ref().is_some_and(|key| !self.keys.contains(&any_type(key)));
                free.then_some(Layout::Shared)?
            }
            PatternLayout::Schema { schema, role } => {
                let schema = schema.fill(name);
                own_schema(&schema).ok().filter(|schema| !self.schemas.contains(*schema))?;
                let role = role.as_ref().map(|role| role.fill(name));
                if let Some(role) = &role {
                    identifier("role", role).ok()?;
                }
                Layout::Schema { schema: schema.into(), role: role.map(Arc::from) }
            }
            PatternLayout::Database { database } => {
                let database = database.fill(name);
                identifier("database", &database).ok()?;
                let taken = self.databases.contains(&(upstream.address.clone(), database.clone()));
                if taken || SYSTEM_DATABASES.contains(&database.as_str()) {
                    return None;
                }
                upstream = Arc::new(Upstream { database, ..Upstream::clone(&upstream) });
                Layout::Database
            }
        };
        let keys = TenantKeys { default: key, ..TenantKeys::default() };
        Some(Tenant {
            name: TenantName::new(name),
            layout,
            keys,
            upstream,
            suspended: false,
            allow_from: None,
            limits: self.limits.clone(),
            share: Share::default(),
            quota: None,
        })
    }
}
