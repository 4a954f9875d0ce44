//! The tenancy rules applied to one upstream's catalog: which relations are whose. Pure.
//!
//! When in doubt a relation gets no rule, which the guard reads as refused; a note says why.

mod common;
mod functions;
mod keys;
mod note;
pub mod rls;
mod rules;
mod settings;
#[cfg(test)]
mod tests;
mod views;

use std::collections::HashSet;
use std::sync::Arc;

pub use note::{NoteLevel, PolicyNote};

use crate::base::{Enforcement, QualifiedName, UpstreamName, is_tenant_name};
use crate::catalog::{Catalog, Relation};
use crate::config::{Config, Layout, PatternLayout, Tenancy, Tenant};
use crate::guard::{NEWEST_TESTED, Names, Policy};
use crate::sql::StatementLimits;

/// What the rules of one upstream are made from.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// `[tenancy]`
    pub tenancy: &'a Tenancy,
    /// The tenants that live on this upstream, of whatever layout.
    pub tenants: &'a [Arc<Tenant>],
    /// The pattern makes tenants of the shared layout there besides.
    pub derives_shared: bool,
    /// What keeps tenants of the shared layout apart there.
    pub enforcement: Enforcement,
    /// pgwarden's own table there, beside `pgwarden_...`.
    pub usage_table: Option<&'a QualifiedName>,
    /// Bounds on a statement.
    pub limits: StatementLimits,
}

/// The table on an upstream that usage is kept in.
pub fn usage_table<'a>(config: &'a Config, upstream: &UpstreamName) -> Option<&'a QualifiedName> {
    config.quota.as_ref().filter(|quota| quota.upstream.name == *upstream).map(|quota| &quota.table)
}

/// The tenants of a configuration that live on an upstream.
pub fn tenants_of(config: &Config, upstream: &UpstreamName) -> Vec<Arc<Tenant>> {
    config.tenants.iter().filter(|t| t.upstream.name == *upstream).map(Arc::clone).collect()
}

/// Whether the pattern makes tenants of the shared layout on an upstream.
pub fn derives_shared(config: &Config, upstream: &UpstreamName) -> bool {
    let pattern = config.tenancy.pattern.as_ref();
    pattern.is_some_and(|pattern| pattern.layout == PatternLayout::Shared && pattern.upstream == *upstream)
}

/// The column of a foreign key by which a table without a rule could belong to a tenant table.
pub fn proposed_key(policy: &Policy, relation: &Relation) -> Option<String> {
    rules::proposal(&policy.catalog, relation, &policy.tables)
}

impl<'a> PolicyInput<'a> {
    fn shared_tenants(&self) -> impl Iterator<Item = &'a Tenant> + use<'a> {
        self.tenants.iter().map(Arc::as_ref).filter(|t| t.layout == Layout::Shared)
    }

    /// Schemas that belong to one tenant of the schema layout each: nothing in them is anybody else's, whatever columns
    /// it has.
    fn private_schemas<'c>(&self, catalog: &'c Catalog) -> HashSet<&'c str>
    where
        'a: 'c,
    {
        let common = |schema: &str| self.tenancy.common_schemas.iter().flatten().any(|it| it == schema);
        let derived = |schema: &&str| match self.tenancy.pattern.as_ref().map(|pattern| &pattern.layout) {
            Some(PatternLayout::Schema { schema: template, .. }) => {
                template.name_in(schema).is_some_and(is_tenant_name) && !common(schema)
            }
            Some(PatternLayout::Shared | PatternLayout::Database { .. }) | None => false,
        };
        let listed = self.tenants.iter().filter_map(|t| match &t.layout {
            Layout::Schema { schema, .. } => Some(schema.as_ref()),
            Layout::Shared | Layout::Database => None,
        });
        listed.chain(catalog.schemas.iter().map(AsRef::as_ref).filter(derived)).collect()
    }
}

/// Builds the policy of one upstream, and what an operator should know of it, worst first.
pub fn build_policy(input: &PolicyInput<'_>, catalog: Arc<Catalog>, epoch: u64) -> (Policy, Vec<PolicyNote>) {
    let mut notes = Vec::new();
    let search_path = input.tenancy.search_path.clone().unwrap_or_else(|| catalog.search_path.clone());
    let allow_functions = functions::allowed(input, &catalog, &mut notes);
    let callable = Policy { catalog: Arc::clone(&catalog), allow_functions, ..Policy::empty() };
    let mut tables = rules::table_rules(input, &callable, &mut notes);
    rls::protect(input.enforcement, &catalog, &input.tenancy.setting, &mut tables, &mut notes);
    let views = views::standing_for_queries(input, &catalog, &tables, &search_path);
    let without_tenant = functions::without_tenant(input, &catalog, &mut notes);
    // Only the shared layout goes by these rules; without such a tenant here there is nothing to warn of.
    if input.derives_shared || input.shared_tenants().next().is_some() {
        rules::note_unconfigured(input, &catalog, (&tables, &views), &mut notes);
        rules::check_names(input, &catalog, &search_path, &mut notes);
        keys::check_keys(input, &mut tables, &mut notes);
    } else {
        notes.clear();
    }
    let common_schemas = common::schemas(input, &catalog, &mut notes);
    rules::check_schemas(input, &catalog, &mut notes);
    let major = catalog.server_version_num / 10_000;
    if major > NEWEST_TESTED {
        notes.push(PolicyNote::UntestedServer { major });
    }
    notes.sort_by_key(PolicyNote::level);
    let settings = settings::rules(input, &catalog, &tables);
    let left_out =
        notes.iter().filter_map(PolicyNote::left_out).map(|(name, why)| (name.clone(), why.into())).collect();
    let policy = Policy {
        epoch,
        catalog,
        tables,
        left_out,
        views,
        search_path,
        common_schemas,
        allow_functions: callable.allow_functions,
        without_tenant,
        complete_conflict_targets: input.tenancy.complete_conflict_targets,
        setting: input.tenancy.setting.clone(),
        settings,
        enforcement: input.enforcement,
        witness: input.tenancy.witness,
        limits: input.limits,
        names: Names::Catalog,
    };
    (policy, notes)
}
