//! Schemas that tenants of the schema layout have in common: behind their own on the search path, for names that are not theirs.
//!
//! Nothing but what the guard allows is reached through them, and nothing is made in them: a schema in which a tenant could create
//! is not taken, for whoever creates there decides what the names of all others mean.

use std::collections::{BTreeSet, HashMap};

use super::{PolicyInput, PolicyNote};
use crate::base::is_tenant_name;
use crate::catalog::{Catalog, RelKind};
use crate::config::{Layout, PatternLayout, Template};
use crate::guard::extension_is_safe;

/// The schemas, in the order of the search path.
pub(super) fn schemas(input: &PolicyInput<'_>, catalog: &Catalog, notes: &mut Vec<PolicyNote>) -> Vec<String> {
    let Some(actors) = Actors::new(input, catalog) else { return Vec::new() };
    let listed = input.tenancy.common_schemas.as_deref();
    let useful = of_extensions(input, catalog);
    let wanted: Vec<&str> = match listed {
        Some(listed) => listed.iter().map(String::as_str).collect(),
        None => useful
            .iter()
            .filter(|(_, it)| it.alone)
            .map(|(schema, _)| *schema)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    };
    let mut common = Vec::new();
    for schema in wanted {
        match objection(input, catalog, &actors, schema, listed.is_some()) {
            Some(note) => notes.push(note),
            None => common.push(schema.to_owned()),
        }
    }
    if listed.is_none() {
        let beside = useful.iter().filter(|(_, it)| !it.alone);
        notes.extend(beside.map(|(schema, it)| PolicyNote::ExtensionOutOfReach {
            extension: it.extension.to_owned(),
            schema: (*schema).to_owned(),
        }));
    }
    common
}

/// Why a schema cannot be common to tenants.
fn objection(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    actors: &Actors<'_>,
    schema: &str,
    listed: bool,
) -> Option<PolicyNote> {
    if !catalog.schemas.contains(schema) {
        return Some(PolicyNote::MissingCommonSchema { schema: schema.to_owned() });
    }
    let of =
        input.tenants.iter().find(|it| matches!(&it.layout, Layout::Schema { schema: own, .. } if **own == *schema));
    if let Some(tenant) = of {
        return Some(PolicyNote::CommonIsPrivate { schema: schema.to_owned(), tenant: tenant.name.clone() });
    }
    actors.creator_in(catalog, schema).map(|role| PolicyNote::CommonIsWritable {
        schema: schema.to_owned(),
        role,
        listed,
    })
}

/// The roles that statements of the schema layout run as.
struct Actors<'a> {
    roles: BTreeSet<&'a str>,
    pattern: Option<&'a Template>,
}

impl<'a> Actors<'a> {
    /// `None`: there is no tenant of that layout.
    fn new(input: &PolicyInput<'a>, catalog: &'a Catalog) -> Option<Self> {
        let own = catalog.role.name.as_str();
        let mut roles: BTreeSet<&str> = input
            .tenants
            .iter()
            .filter_map(|tenant| match &tenant.layout {
                Layout::Schema { role, .. } => Some(role.as_deref().unwrap_or(own)),
                Layout::Shared | Layout::Database => None,
            })
            .collect();
        let pattern = match input.tenancy.pattern.as_ref().map(|pattern| &pattern.layout) {
            Some(PatternLayout::Schema { role, .. }) => {
                if role.is_none() {
                    roles.insert(own);
                }
                role.as_ref()
            }
            Some(PatternLayout::Shared | PatternLayout::Database { .. }) | None => None,
        };
        (!roles.is_empty() || pattern.is_some()).then_some(Self { roles, pattern })
    }

    /// One of them that may create in a schema.
    fn creator_in(&self, catalog: &Catalog, schema: &str) -> Option<String> {
        let own = catalog.role.name.as_str();
        if catalog.role.superuser && self.roles.contains(own) {
            return Some(own.to_owned());
        }
        let creators: BTreeSet<&str> = catalog.creators_of(schema).into_iter().collect();
        let of_pattern = |role: &str| self.pattern.and_then(|it| it.name_in(role)).is_some_and(is_tenant_name);
        let creator = creators.into_iter().find(|it| it.is_empty() || self.roles.contains(it) || of_pattern(it))?;
        Some(if creator.is_empty() { "PUBLIC".to_owned() } else { creator.to_owned() })
    }
}

/// Of a schema that an extension lies in, which tenants may use.
struct Extensions<'c> {
    /// One of them.
    extension: &'c str,
    /// Nothing but members of extensions lies there.
    alone: bool,
}

/// Schemas in which there are extensions whose functions tenants may call.
fn of_extensions<'c>(input: &PolicyInput<'_>, catalog: &'c Catalog) -> HashMap<&'c str, Extensions<'c>> {
    let private = input.private_schemas(catalog);
    let functions = catalog.functions.values().flatten().map(|it| (it.name.schema.as_str(), it.extension.as_deref()));
    let operators = catalog.operators.values().flatten().map(|it| (it.name.schema.as_str(), it.extension.as_deref()));
    let relations = catalog.relations.values().filter_map(|it| match it.kind {
        // Members by what they belong to.
        RelKind::Index | RelKind::Toast | RelKind::CompositeType => None,
        RelKind::Table
        | RelKind::PartitionedTable
        | RelKind::View
        | RelKind::MaterializedView
        | RelKind::ForeignTable
        | RelKind::Sequence => Some((it.name.schema.as_str(), it.extension.as_deref())),
    });
    let mut found: HashMap<&str, Extensions<'_>> = HashMap::new();
    let mut others = BTreeSet::new();
    for (schema, extension) in functions.chain(operators).chain(relations) {
        match extension {
            None => {
                others.insert(schema);
            }
            Some(extension) if extension_is_safe(extension) => {
                let it = found.entry(schema).or_insert(Extensions { extension, alone: true });
                it.extension = it.extension.min(extension);
            }
            Some(_) => {}
        }
    }
    found.retain(|schema, _| !super::rules::is_system_schema(schema) && !private.contains(schema));
    for (schema, it) in &mut found {
        it.alone = !others.contains(schema);
    }
    found
}
