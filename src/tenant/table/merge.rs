//! The file's tenants and the table's, together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::row::Row;
use crate::base::oid::{BPCHAR, INT8, UUID};
use crate::base::{KeyName, UpstreamName};
use crate::config::{Address, Config, Layout, Tenant};
use crate::guard::value::TenantValue;

/// A row that gave no tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// The name in it, cut.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub struct Merged {
    /// The file's tenants, and behind them the table's.
    pub tenants: Vec<Arc<Tenant>>,
    /// Rows that are left out.
    pub rejected: Vec<Rejected>,
}

/// A database, wherever it is named.
type Place<'t> = (&'t Address, &'t str);

/// Something that no two tenants may have.
#[derive(PartialEq, Eq, Hash)]
enum Claim<'t> {
    Key(Place<'t>, KeyName, TenantValue),
    Schema(Place<'t>, &'t str),
}

#[derive(Default)]
struct Lodgers {
    /// Tenants of layout `database`.
    alone: u32,
    /// Of these, the file's.
    alone_in_file: u32,
    others: u32,
}

/// Puts the table's tenants beside those of the file.
pub fn merge(config: &Config, rows: &[Row]) -> Merged {
    let mut merged = Merged { tenants: config.tenants.clone(), rejected: Vec::new() };
    let in_file: HashSet<&str> = config.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    let mut names: HashMap<&str, u32> = HashMap::new();
    for name in rows.iter().filter_map(|row| row.name.as_deref()) {
        *names.entry(name).or_default() += 1;
    }
    let mut candidates = Vec::new();
    for row in rows {
        let name = row.name.as_deref().unwrap_or_default();
        let tenant = if in_file.contains(name) {
            Err("a tenant of this name is configured in the file, which stands".to_owned())
        } else if names.get(name).is_some_and(|count| *count > 1) {
            Err("the name comes more than once".to_owned())
        } else {
            row.tenant(config).and_then(|tenant| own_registry(config, &tenant).map_or(Ok(tenant), Err))
        };
        match tenant {
            Ok(tenant) => candidates.push(Arc::new(tenant)),
            Err(why) => merged.reject(name, why),
        }
    }
    let disputes: Vec<_> = {
        let in_file = config.tenants.iter().map(|tenant| (tenant.as_ref(), true));
        let disputes = Disputes::new(in_file.chain(candidates.iter().map(|tenant| (tenant.as_ref(), false))));
        candidates.iter().map(|tenant| disputes.of(tenant)).collect()
    };
    let mut promised = Promised::default();
    config.tenants.iter().for_each(|tenant| promised.keep(tenant));
    for (tenant, dispute) in candidates.into_iter().zip(disputes) {
        match dispute.or_else(|| promised.make(&tenant)) {
            None => merged.tenants.push(tenant),
            Some(why) => merged.reject(tenant.name.as_str(), why),
        }
    }
    merged
}

/// Why a tenant may not have the database that tenants are written down in: it could write there what it likes.
fn own_registry(config: &Config, tenant: &Tenant) -> Option<String> {
    let registry = config.upstreams.get(config.tenants_from.as_ref()?.upstream.as_str())?;
    let there = (&registry.address, registry.database.as_str());
    (tenant.layout == Layout::Database && place(tenant) == there)
        .then(|| "its database is the one that holds the table of tenants".to_owned())
}

impl Merged {
    fn reject(&mut self, name: &str, why: String) {
        // It may be anything: what is logged and shown is one line.
        let name = name.chars().take(63).flat_map(char::escape_debug).collect();
        self.rejected.push(Rejected { name, why });
    }
}

/// Server connections that are promised to the tenants of each pool.
#[derive(Default)]
struct Promised(HashMap<(UpstreamName, String), usize>);

impl Promised {
    fn of(&mut self, tenant: &Tenant) -> &mut usize {
        self.0.entry((tenant.upstream.name.clone(), tenant.upstream.database.clone())).or_default()
    }

    fn keep(&mut self, tenant: &Tenant) {
        if tenant.share.min > 0 {
            *self.of(tenant) += tenant.share.min;
        }
    }

    /// Promises the tenant what it asks for. Returns why that cannot be.
    fn make(&mut self, tenant: &Tenant) -> Option<String> {
        if tenant.share.min == 0 {
            return None;
        }
        let size = tenant.upstream.pool.size;
        let promised = self.of(tenant);
        if *promised + tenant.share.min > size {
            return Some(format!(
                "\"min\" in \"pool\": {promised} of the pool's {size} connections are promised already"
            ));
        }
        *promised += tenant.share.min;
        None
    }
}

/// What more than one tenant claims.
struct Disputes<'t> {
    places: HashMap<Place<'t>, Lodgers>,
    claims: HashMap<Claim<'t>, u32>,
}

impl<'t> Disputes<'t> {
    /// Tenants, and whether they are the file's.
    fn new(tenants: impl Iterator<Item = (&'t Tenant, bool)>) -> Self {
        let mut disputes = Self { places: HashMap::new(), claims: HashMap::new() };
        for (tenant, in_file) in tenants {
            let lodgers = disputes.places.entry(place(tenant)).or_default();
            match tenant.layout {
                Layout::Database => {
                    lodgers.alone += 1;
                    lodgers.alone_in_file += u32::from(in_file);
                }
                Layout::Shared | Layout::Schema { .. } => lodgers.others += 1,
            }
            for claim in claims(tenant) {
                *disputes.claims.entry(claim).or_default() += 1;
            }
        }
        disputes
    }

    /// Why this tenant cannot be beside the others.
    fn of(&self, tenant: &Tenant) -> Option<String> {
        let lodgers = self.places.get(&place(tenant))?;
        let (alone, others) = (lodgers.alone, lodgers.others);
        match tenant.layout {
            Layout::Database if alone > 1 || others > 0 => {
                return Some("another tenant lives in its database".to_owned());
            }
            // A row that claims a database in which others live must not put them out: it is out itself.
            Layout::Shared | Layout::Schema { .. } if lodgers.alone_in_file > 0 => {
                return Some("it would live in another tenant's own database".to_owned());
            }
            Layout::Database | Layout::Shared | Layout::Schema { .. } => {}
        }
        let disputed =
            claims(tenant).into_iter().find(|claim| self.claims.get(claim).is_some_and(|count| *count > 1))?;
        Some(match disputed {
            Claim::Schema(..) => "another tenant has the same schema".to_owned(),
            Claim::Key(_, None, _) => "another tenant has the same key".to_owned(),
            Claim::Key(_, Some(name), _) => format!("another tenant has the same key \"{name}\""),
        })
    }
}

fn place(tenant: &Tenant) -> Place<'_> {
    (&tenant.upstream.address, tenant.upstream.database.as_str())
}

fn claims(tenant: &Tenant) -> Vec<Claim<'_>> {
    let place = place(tenant);
    match &tenant.layout {
        Layout::Database => Vec::new(),
        Layout::Schema { schema, .. } => vec![Claim::Schema(place, schema)],
        Layout::Shared => {
            let named = tenant.keys.named.iter().map(|(name, key)| (Some(Arc::clone(name)), key));
            let all = tenant.keys.default.iter().map(|key| (None, key)).chain(named);
            all.map(|(name, key)| Claim::Key(place, name, any_type(key))).collect()
        }
    }
}

/// The value that a key could be, whatever the type of its column: two spellings of a number or of a uuid are one.
pub(in crate::tenant) fn any_type(key: &str) -> TenantValue {
    [INT8, UUID, BPCHAR]
        .into_iter()
        .find_map(|oid| TenantValue::from_text(oid, key))
        .unwrap_or_else(|| TenantValue::Other(key.to_owned()))
}
