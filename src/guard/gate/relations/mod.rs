//! Which relations a statement may name, and as what.

mod own_part;
mod system;
mod visible;

use pg_query::protobuf::RangeVar;

use crate::base::{Access, Mode, QualifiedName, Refusal, RefusalKind, SqlState};
use crate::catalog::{RelKind, Relation};
use crate::guard::{Policy, Protection, TableRule, TenantTable, ViewQuery};

use super::names::{cross_database, denied, foreign_schema, schema_is_own, search_path, truncated};
use super::temporary;
pub(crate) use system::Mask;
pub(crate) use visible::seen_rows;

/// What a relation is to the session that names it.
#[derive(Clone, Debug)]
pub(crate) enum Resolved<'p> {
    /// A tenant relation: only behind its predicate.
    Tenant(&'p TenantTable, &'p Relation),
    /// A tenant relation that the server's policies guard.
    Policed(&'p TenantTable, &'p Relation),
    /// A shared table: read by all, and what else they may do with it.
    Shared(&'p Relation, Access),
    /// A relation of `pg_catalog` or `information_schema`: read only, and with a mask only through it.
    System(&'p Relation, Option<Mask>),
    /// Nothing to guard: the tenant's own schema or database, or an operator's session. `None`: the catalog does not know the
    /// relation (a table made a moment ago, a temporary one), and the server decides.
    Free(Option<&'p Relation>),
    /// A temporary table of the session, in the shared layout: to be named with its schema.
    Temporary,
    /// The same as free, in the tenant's own schema and to be named with it: a common schema has a relation of that name.
    Own(Option<&'p Relation>),
}

/// Resolves a relation as written (`""` for parts that are not there), exactly as Postgres would with the pinned search path.
///
/// # Errors
/// 42P01 for a relation that does not exist, 42501 for one that tenants may not touch or that is not configured,
/// 0A000 for another database's.
pub(crate) fn resolve<'p>(
    policy: &'p Policy,
    mode: &Mode,
    catalog: &str,
    schema: &str,
    name: &str,
) -> Result<Resolved<'p>, Refusal> {
    let (schema, name) = (truncated(schema), truncated(name));
    if !catalog.is_empty() && !matches!(mode, Mode::Operator) {
        return Err(cross_database(RefusalKind::Relation, &format!("{catalog}.{schema}.{name}")));
    }
    let found = lookup(policy, mode, schema, name);
    match mode {
        Mode::Operator => Ok(Resolved::Free(found)),
        Mode::Database => in_database(policy, found, schema, name),
        Mode::Schema(_) => in_schema(policy, mode, found, schema, name),
        Mode::Shared | Mode::Reader => in_shared(policy, found, schema, name),
    }
}

/// The view of that name, if it stands for its query.
pub(crate) fn view<'p>(
    policy: &'p Policy,
    mode: &Mode,
    relation: &RangeVar,
) -> Option<(&'p QualifiedName, &'p ViewQuery)> {
    let RangeVar { catalogname, schemaname, relname, .. } = relation;
    if policy.views.is_empty() || !mode.is_shared() || !catalogname.is_empty() {
        return None;
    }
    let found = lookup(policy, mode, truncated(schemaname), truncated(relname))?;
    policy.views.get_key_value(&found.name)
}

/// The relation of that name on the mode's search path, or in the schema given.
fn lookup<'p>(policy: &'p Policy, mode: &Mode, schema: &str, name: &str) -> Option<&'p Relation> {
    if !schema.is_empty() {
        return policy.catalog.relation(schema, name);
    }
    search_path(policy, mode).into_iter().find_map(|schema| policy.catalog.relation(schema, name))
}

/// Whether it is one of Postgres's own.
pub(crate) fn is_system(relation: &Relation) -> bool {
    is_system_schema(&relation.name.schema)
}

fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}

fn in_shared<'p>(
    policy: &'p Policy,
    found: Option<&'p Relation>,
    schema: &str,
    name: &str,
) -> Result<Resolved<'p>, Refusal> {
    let Some(relation) = found else {
        let own = temporary::may_mean(policy, schema, name);
        return if own { Ok(Resolved::Temporary) } else { Err(undefined(schema, name)) };
    };
    if is_system(relation) {
        return system::rule(policy, &Mode::Shared, relation);
    }
    match policy.tables.get(&relation.name) {
        Some(TableRule::Tenant(table)) => match &table.protection {
            Protection::Predicate => Ok(Resolved::Tenant(table, relation)),
            Protection::Policies => Ok(Resolved::Policed(table, relation)),
            Protection::Missing(what) => Err(unprotected(relation, what)),
        },
        Some(TableRule::Shared(access)) => Ok(Resolved::Shared(relation, *access)),
        None => Err(unconfigured(policy, relation)),
    }
}

fn in_schema<'p>(
    policy: &'p Policy,
    mode: &Mode,
    found: Option<&'p Relation>,
    schema: &str,
    name: &str,
) -> Result<Resolved<'p>, Refusal> {
    if !schema.is_empty() && !schema_is_own(mode, schema) && !is_temporary(schema) {
        return shared_elsewhere(policy, found).ok_or_else(|| foreign_schema(schema));
    }
    match found {
        Some(relation) if is_system(relation) => system::rule(policy, mode, relation),
        None if is_system_schema(schema) => Err(undefined(schema, name)),
        // As for the server, a shared table stands behind the tenant's own of that name, which may have been made just now.
        Some(relation)
            if schema.is_empty()
                && !is_in_own(mode, relation)
                && let Some(access) = policy.access_in_common(name) =>
        {
            Ok(Resolved::Shared(relation, access))
        }
        Some(relation) if is_in_own(mode, relation) && relation.kind == RelKind::ForeignTable => {
            foreign_table(policy, relation)
        }
        // What is not shared in a common schema is as if it were not there.
        Some(relation) if schema.is_empty() && policy.in_common(name).next().is_some() => {
            Ok(Resolved::Own(Some(relation).filter(|it| is_in_own(mode, it))))
        }
        Some(_) | None => Ok(Resolved::Free(found)),
    }
}

fn is_in_own(mode: &Mode, relation: &Relation) -> bool {
    matches!(mode, Mode::Schema(own) if relation.name.schema == own.as_ref())
}

/// A configured shared table may be named with its schema in the schema layout too.
fn shared_elsewhere<'p>(policy: &'p Policy, found: Option<&'p Relation>) -> Option<Resolved<'p>> {
    let relation = found?;
    match policy.tables.get(&relation.name) {
        Some(TableRule::Shared(access)) => Some(Resolved::Shared(relation, *access)),
        Some(TableRule::Tenant(_)) | None => None,
    }
}

fn in_database<'p>(
    policy: &'p Policy,
    found: Option<&'p Relation>,
    schema: &str,
    name: &str,
) -> Result<Resolved<'p>, Refusal> {
    match found {
        Some(relation) if is_system(relation) => system::rule(policy, &Mode::Database, relation),
        Some(relation) if system::leaves_database(&relation.name.name) && relation.extension.is_some() => {
            Err(system_denied(&relation.name))
        }
        None if is_system_schema(schema) && system::leaves_database(name) => {
            Err(system_denied(&QualifiedName::new(schema, name)))
        }
        Some(relation) if relation.kind == RelKind::ForeignTable => foreign_table(policy, relation),
        Some(_) | None => Ok(Resolved::Free(found)),
    }
}

/// A foreign table lies in another database, whoever's that is: readable if the operator lists it as shared.
fn foreign_table<'p>(policy: &Policy, relation: &'p Relation) -> Result<Resolved<'p>, Refusal> {
    match policy.tables.get(&relation.name) {
        Some(TableRule::Shared(access)) => Ok(Resolved::Shared(relation, *access)),
        Some(TableRule::Tenant(_)) | None => Err(unconfigured(policy, relation)),
    }
}

/// `pg_temp` and `pg_temp_3`: the session's own temporary schema by its alias only.
fn is_temporary(schema: &str) -> bool {
    schema == "pg_temp"
}

fn undefined(schema: &str, name: &str) -> Refusal {
    let shown = if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") };
    Refusal::new(RefusalKind::Undefined, SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"))
        .about(shown)
}

/// Policies alone should keep tenants apart, and do not.
fn unprotected(relation: &Relation, what: &str) -> Refusal {
    denied(
        RefusalKind::Relation,
        format!("permission denied for table {}: its row-level security is incomplete", relation.name.name),
        "Enforcement is rls, and pgwarden serves no table whose policies do not keep tenants apart. For the operator: pgwarden rls \
         check says what is missing, pgwarden rls generate prints what mends it.",
    )
    .detail(what.to_owned())
    .about(&relation.name)
}

fn unconfigured(policy: &Policy, relation: &Relation) -> Refusal {
    let name = &relation.name;
    let (what, is_sequence) = match relation.kind {
        RelKind::View => ("view", false),
        RelKind::MaterializedView => ("materialized view", false),
        RelKind::ForeignTable => ("foreign table", false),
        RelKind::Sequence => ("sequence", true),
        RelKind::Table | RelKind::PartitionedTable | RelKind::Index | RelKind::Toast | RelKind::CompositeType => {
            ("table", false)
        }
    };
    let hint = match policy.left_out.get(name) {
        Some(why) => why.to_string(),
        None if is_sequence => "A sequence shows how much other tenants insert: use nextval() on it.".to_owned(),
        None => format!(
            "pgwarden has no rule for \"{name}\". If it holds no tenant's data, list it in tenancy.shared_tables; \
             if a column tells the tenant, configure it in [tenancy.tables]."
        ),
    };
    denied(RefusalKind::Relation, format!("permission denied for {what} {}", name.name), hint).about(name)
}

fn system_denied(name: &QualifiedName) -> Refusal {
    denied(
        RefusalKind::Relation,
        format!("permission denied for view {}", name.name),
        format!("\"{name}\" shows other tenants' data or activity: use an operator login."),
    )
    .about(name)
}

#[cfg(test)]
mod tests;
