//! Attacks on a tenant that lives in another schema or another database: its tables are not the attacker's to name.

use super::client::Session;
use super::corpus::{Template, Via, simple};
use super::judge::Expect::{NoRows, Refused, Unmarked, Untouched, Zero};
use super::owner::{Rows, condition, rule};
use super::plant::{Plot, Row};
use super::target::{Examined, Foreign, Held, Target};
use super::{Right, VerifyError};
use crate::base::Access;
use crate::catalog::{RelKind, Relation};
use crate::config::{Layout, Tenant};
use crate::guard::{Policy, TableRule};
use crate::sql::quote_qualified;

/// Attacks on each table of the other tenant. `{t}` is its table, qualified; `{bare}` its name alone, which may be a table of
/// the attacker's as well.
pub const BEYOND: &[Template] = &[
    simple("list", &["SELECT * FROM {t}"], Unmarked),
    simple("list", &["TABLE {t}"], Unmarked),
    simple("list", &["SELECT * FROM {bare}"], Unmarked),
    simple("list", &["SELECT * FROM {db}.{t}"], Refused),
    simple("by id", &["SELECT * FROM {t} WHERE {id} = {bid}"], NoRows),
    simple("by id", &["SELECT * FROM {bare} WHERE {id} = {bid}"], NoRows),
    simple("by id", &["SELECT * FROM {t} WHERE {id} = {bid} FOR UPDATE"], NoRows),
    simple("search", &["SELECT * FROM {t} WHERE {text} LIKE {like}"], NoRows),
    simple("join", &["SELECT o.* FROM {bare} me RIGHT JOIN {t} o ON true"], Unmarked),
    simple("subquery", &["SELECT EXISTS (SELECT 1 FROM {t} WHERE {id} = {bid})"], Zero),
    simple("subquery", &["SELECT array(SELECT {id}::text FROM {t})"], Unmarked),
    simple("subquery", &["WITH all_of_it AS MATERIALIZED (SELECT * FROM {t}) SELECT * FROM all_of_it"], Unmarked),
    simple("aggregate", &["SELECT count(*) FROM {t} WHERE {id} = {bid}"], Zero),
    simple("aggregate", &["SELECT max({id}::text), min({id}::text) FROM {t}"], Unmarked),
    simple("aggregate", &["SELECT string_agg({text}, ',') FROM {t}"], Unmarked),
    simple("update", &["UPDATE {t} SET {set} = {set} WHERE {id} = {bid}"], Untouched),
    simple("delete", &["DELETE FROM {t} WHERE {id} = {bid}"], Untouched),
    Template { family: "copy", via: Via::CopyOut, steps: &["COPY {t} TO STDOUT"], expect: Unmarked },
    Template {
        family: "copy",
        via: Via::CopyOut,
        steps: &["COPY (SELECT * FROM {t} WHERE {id} = {bid}) TO STDOUT"],
        expect: NoRows,
    },
    simple("returning", &["DELETE FROM {t} RETURNING *"], Unmarked),
    simple("cursor", &["DECLARE c CURSOR FOR SELECT * FROM {t}", "FETCH ALL FROM c"], Unmarked),
    Template {
        family: "prepared",
        via: Via::Prepared,
        steps: &["SELECT {id}::text FROM {t} WHERE {id}::text <> $1"],
        expect: Unmarked,
    },
    simple("prepared", &["DEALLOCATE ALL", "PREPARE p AS SELECT * FROM {t}", "EXECUTE p"], Unmarked),
    simple("function", &["SELECT query_to_xml('SELECT * FROM {t}', true, false, '')"], Unmarked),
    simple("function", &["SELECT * FROM dblink('dbname={dbname}', 'SELECT 1') AS t(x int)"], Refused),
    simple("path", &["SET LOCAL search_path = {schema}", "SELECT * FROM {bare}"], Unmarked),
    simple("path", &["SELECT set_config('search_path', '{schema}', true)", "SELECT * FROM {bare}"], Unmarked),
    simple("role", &["SET LOCAL ROLE {role}", "SELECT * FROM {t}"], Unmarked),
    simple("role", &["RESET ROLE", "SELECT * FROM {t}"], Unmarked),
    simple("context", &["SET LOCAL {setting} = {bname}"], Refused),
    simple("context", &["/* tenant={bname} */ SELECT * FROM {t}"], Unmarked),
];

/// Further ones where both are in one database: there the name can only mean the other's table.
pub const IN_ONE_DATABASE: &[Template] = &[
    simple("aggregate", &["SELECT count(*) FROM {t}"], Refused),
    simple("insert", &["INSERT INTO {t} ({cols}) VALUES ({vals})"], Refused),
    simple("insert", &["INSERT INTO {t} DEFAULT VALUES"], Refused),
    simple("update", &["UPDATE {t} SET {set} = {set}"], Refused),
    simple("delete", &["DELETE FROM {t}"], Refused),
    simple(
        "upsert",
        &["MERGE INTO {t} x USING (SELECT 1) s ON true WHEN MATCHED THEN UPDATE SET {set} = x.{set}"],
        Refused,
    ),
    Template { family: "copy", via: Via::CopyIn, steps: &["COPY {t} ({cols}) FROM STDIN"], expect: Refused },
    simple("ddl", &["TRUNCATE {t}"], Refused),
    simple("ddl", &["LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE NOWAIT"], Refused),
    simple("ddl", &["ALTER TABLE {t} ADD COLUMN pgwarden_attack int"], Refused),
    simple("ddl", &["DROP TABLE {t}"], Refused),
    simple("ddl", &["CREATE VIEW pgwarden_attack AS SELECT * FROM {t}"], Refused),
    simple("ddl", &["CREATE TABLE pgwarden_attack (LIKE {t})"], Refused),
    simple("ddl", &["CREATE TABLE pgwarden_attack AS SELECT * FROM {t}"], Refused),
    simple("explain", &["EXPLAIN ANALYZE SELECT * FROM {t}"], Refused),
    simple("catalog", &["SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats"], Unmarked),
];

/// The tables in which a tenant's rows are, each with what picks them out where it shares it.
pub fn tables<'p>(policy: &'p Policy, tenant: &'p Tenant) -> Vec<Plot<'p>> {
    let stored =
        policy.catalog.relations.values().filter(|it| it.extension.is_none() && !it.is_partition && is_stored(it));
    let all_of_it = |relation| Plot { relation, owner: None, filter: None, writable: true };
    let mut tables: Vec<_> = stored
        .filter_map(|it| match &tenant.layout {
            Layout::Schema { schema, .. } => (it.name.schema == **schema).then(|| all_of_it(it)),
            Layout::Database => (!is_system(&it.name.schema)).then(|| all_of_it(it)),
            Layout::Shared => {
                let rule = rule(policy, &it.name)?;
                let key = (rule.column.as_str(), &**tenant.keys.get(&rule.key)?);
                Some(Plot {
                    relation: it,
                    owner: rule.through.is_none().then_some(key),
                    filter: Some(condition(rule, tenant, Rows::Own)?),
                    writable: rule.access == Access::Write,
                })
            }
        })
        .collect();
    tables.sort_by(|x, y| x.relation.name.cmp(&y.relation.name));
    tables
}

/// The tables that an attacker reads by right, its own and the shared ones: what stands in them tells nothing.
pub fn readable<'p>(policy: &'p Policy, tenant: &'p Tenant) -> Vec<(&'p Relation, Option<String>)> {
    let own = tables(policy, tenant).into_iter().map(|it| match rule(policy, &it.relation.name) {
        Some(rule) if tenant.layout == Layout::Shared => (it.relation, condition(rule, tenant, Rows::Readable)),
        Some(_) | None => (it.relation, it.filter),
    });
    own.chain(shared(policy, tenant).into_iter().map(|it| (it, None))).collect()
}

/// The tables that everybody reads. Of what a view among them shows, none is anybody's by right.
pub fn shared<'p>(policy: &'p Policy, tenant: &Tenant) -> Vec<&'p Relation> {
    if tenant.layout == Layout::Database {
        return Vec::new();
    }
    let shared = policy.tables.iter().filter(|(_, rule)| matches!(rule, TableRule::Shared(_)));
    shared.filter_map(|(name, _)| policy.catalog.relations.get(name)).filter(|it| is_stored(it)).collect()
}

fn is_stored(relation: &Relation) -> bool {
    relation.kind.is_table()
}

/// Views that a tenant of the schema or database layout can name: what they read, they read with their owner's rights.
pub fn views(policy: &Policy, tenant: &Tenant) -> Vec<String> {
    let mut views: Vec<String> = policy
        .catalog
        .relations
        .values()
        .filter(|it| matches!(it.kind, RelKind::View | RelKind::MaterializedView | RelKind::ForeignTable))
        .filter(|it| match &tenant.layout {
            Layout::Schema { schema, .. } => it.name.schema == **schema,
            // The server's own views tell of this database alone, and some take minutes.
            Layout::Database => it.extension.is_none() && !is_system(&it.name.schema),
            Layout::Shared => policy.tables.contains_key(&it.name) || policy.views.contains_key(&it.name),
        })
        .map(|it| format!("SELECT * FROM {}", quote_qualified(&it.name)))
        .collect();
    views.sort();
    views
}

fn is_system(schema: &str) -> bool {
    schema == "information_schema" || schema.starts_with("pg_")
}

/// Whether both work in one database.
pub fn in_one_database(one: &Tenant, other: &Tenant) -> bool {
    one.upstream.address == other.upstream.address && one.upstream.database == other.upstream.database
}

/// Reads the other tenant's rows of a table, as that tenant.
///
/// # Errors
/// It cannot read its own rows.
pub async fn examine(
    Plot { relation, filter, .. }: Plot<'_>,
    planted: Option<&Row>,
    other: &Tenant,
    setting: &str,
    own: &Held,
    b: &Session,
) -> Result<Examined, VerifyError> {
    let role = match &other.layout {
        Layout::Schema { role: Some(role), .. } => role.to_string(),
        Layout::Schema { role: None, .. } | Layout::Shared | Layout::Database => other.upstream.user.clone(),
    };
    let foreign = Foreign {
        relation,
        filter: filter.as_deref(),
        database: &other.upstream.database,
        role: &role,
        other_name: other.name.as_str(),
        setting,
        planted,
    };
    Target::beyond(foreign, own, b).await
}

/// What the attacker's role on the upstream may do with the other tenant's tables, in layouts that keep them apart.
///
/// # Errors
/// Whatever the upstream answers.
pub async fn rights(
    client: &tokio_postgres::Client,
    one: &Tenant,
    other: &Tenant,
    others: &Policy,
) -> Result<Vec<Right>, tokio_postgres::Error> {
    let both_shared = one.layout == Layout::Shared && other.layout == Layout::Shared;
    if both_shared || !in_one_database(one, other) {
        return Ok(Vec::new());
    }
    let (role, own_role) = match &one.layout {
        Layout::Schema { role: Some(role), .. } => (role.to_string(), true),
        Layout::Schema { role: None, .. } | Layout::Shared | Layout::Database => (one.upstream.user.clone(), false),
    };
    let oids: Vec<u32> = tables(others, other).iter().map(|it| it.relation.oid).collect();
    let sql = "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[]) \
               AND pg_catalog.has_schema_privilege($2::text::name, c.relnamespace, 'USAGE') \
               AND pg_catalog.has_table_privilege($2::text::name, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1";
    let rows = client.query(sql, &[&oids, &role]).await?;
    Ok(rows.iter().map(|row| Right { table: row.get(0), role: role.clone(), own_role }).collect())
}
