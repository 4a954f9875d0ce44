//! Tables that tenants share, as where a tenant goes: its rows among others', under its keys.

mod fit;

use super::copy::{Arrival, Way};
use super::destination::Ends;
use crate::base::QualifiedName;
use crate::catalog::{Catalog, Generated, Relation};
use crate::config::Layout;
use crate::guard::Policy;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::{Source, Sources};
use crate::lifecycle::import::raise_sequences;
use crate::lifecycle::rows::{OwnTable, own_tables};
use crate::sql::{quote_identifier, quote_qualified};

/// Where its rows go.
pub(super) struct Shared {
    policy: Policy,
    /// Triggers of the tables do not fire, and foreign keys are looked at afterwards.
    silent: bool,
}

/// Triggers that would fire for rows that come, and whether they would whatever the session says.
const TRIGGERS: &str = "SELECT format('%I on %s', t.tgname, t.tgrelid::regclass), t.tgenabled = 'A' FROM pg_trigger t \
    WHERE t.tgrelid IN (SELECT unnest($1::oid[]) UNION SELECT p.relid FROM unnest($1::oid[]) AS o(oid), pg_partition_tree(o.oid::regclass) p) \
    AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 4 > 0 ORDER BY 1";

/// Constraints that triggers hold, and that are not looked at otherwise: foreign keys of single partitions too.
const DEFERRABLE: &str = "SELECT format('%I of %s', k.conname, k.conrelid::regclass) FROM pg_constraint k \
    WHERE k.conrelid = ANY ($1) AND k.contype IN ('p', 'u', 'x') AND k.condeferrable OR k.contype = 'f' AND k.conparentid = 0 \
    AND k.conrelid IN (SELECT p.relid FROM unnest($1::oid[]) AS o(oid), pg_partition_tree(o.oid::regclass) p WHERE p.relid <> o.oid) ORDER BY 1";

impl Shared {
    /// Looks at the tables, and refuses what cannot be.
    pub async fn plan(lifecycle: &Lifecycle, ends: &Ends) -> Result<Self, LifecycleError> {
        lifecycle.check_shared(&ends.to, false).await.map_err(|error| match error {
            LifecycleError::Refused { message, .. } => LifecycleError::refused(
                message,
                "move it with another --key; or delete such rows, if they are nobody's",
            ),
            other => other,
        })?;
        let policy = lifecycle.policy_of(&ends.to).await?;
        let admin = Admin::connect(&ends.to.upstream).await?;
        let oids: Vec<u32> = own_tables(&policy).into_iter().flatten().map(|it| it.relation.oid).collect();
        let failed = |error| admin.failed(error);
        let (mut firing, mut always) = (Vec::new(), false);
        for row in admin.rows(TRIGGERS, &[&oids]).await? {
            firing.push(row.try_get::<_, String>(0).map_err(failed)?);
            always |= row.try_get::<_, bool>(1).map_err(failed)?;
        }
        if firing.is_empty() {
            return Ok(Self { policy, silent: false });
        }
        if always || admin.run("BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK").await.is_err() {
            return Err(LifecycleError::refused(
                format!("these triggers would fire for each row that comes: {}", firing.join(", ")),
                "GRANT SET ON PARAMETER session_replication_role to the admin role (Postgres 15 and later), and none of them may be ENABLE ALWAYS",
            ));
        }
        let deferrable: Vec<String> = column(&admin, DEFERRABLE, &oids).await?;
        match deferrable.is_empty() {
            true => Ok(Self { policy, silent: true }),
            false => Err(LifecycleError::refused(
                format!("without triggers nobody looks at these constraints: {}", deferrable.join(", ")),
                "make keys NOT DEFERRABLE, and foreign keys those of the whole table",
            )),
        }
    }

    /// The tenant's tables there, each with the rows that go into it.
    pub fn arrivals(&self, ends: &Ends, sources: &Sources) -> Result<Vec<Arrival>, LifecycleError> {
        let tables: Vec<_> = own_tables(&self.policy).into_iter().flatten().collect();
        let mut arrivals = Vec::new();
        for table in &tables {
            let own = |it: &&Source| {
                !it.everybodys && self.is_for(ends, it, &table.relation.name.name, &table.relation.name.schema)
            };
            let Some(source) = sources.tables.iter().find(own) else { continue };
            arrivals.push(Arrival {
                into: table.name(),
                from: table.from(),
                condition: table.is_own(&ends.to.keys)?,
                tenant_column: table.rule.through.is_none().then(|| table.rule.column.clone()),
                ways: vec![way(ends, table, source)?],
            });
        }
        Ok(arrivals)
    }

    /// Whether a table of the old place is this one: of a tenant with a schema, where a bare name leads.
    fn is_for(&self, ends: &Ends, source: &Source, table: &str, schema: &str) -> bool {
        let led = |schema: &&String| {
            let name = QualifiedName::new(schema.as_str(), source.table.as_str());
            self.policy.catalog.relations.contains_key(&name)
        };
        let expected = match ends.from.layout {
            Layout::Schema { .. } => self.policy.search_path.iter().find(led).map(String::as_str),
            Layout::Shared | Layout::Database => Some(source.schema.as_str()),
        };
        source.table == table && expected == Some(schema)
    }

    /// In the transaction that copies.
    pub async fn begin(&self, admin: &Admin) -> Result<(), LifecycleError> {
        let silent = if self.silent { "; SET LOCAL session_replication_role = replica" } else { "" };
        admin.run(&format!("SET CONSTRAINTS ALL DEFERRED{silent}")).await
    }

    /// Sequences are raised, and what the server did not look at is looked at.
    pub async fn complete(&self, admin: &Admin, ends: &Ends) -> Result<(), LifecycleError> {
        admin.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        for table in own_tables(&self.policy).iter().flatten() {
            raise_sequences(admin, table).await?;
            if self.silent {
                self.check_foreign_keys(admin, table, ends).await?;
            }
        }
        Ok(())
    }

    async fn check_foreign_keys(&self, admin: &Admin, table: &OwnTable<'_>, ends: &Ends) -> Result<(), LifecycleError> {
        for key in &table.relation.foreign_keys {
            let Some(parent) = relation(&self.policy.catalog, key.parent) else { continue };
            let pairs: Vec<_> = key
                .columns
                .iter()
                .zip(&key.parent_columns)
                .map(|(column, parent)| format!("p.{} = t.{}", quote_identifier(parent), quote_identifier(column)))
                .collect();
            let (pairs, own) = (pairs.join(" AND "), table.is_own(&ends.to.keys)?);
            let (from, parent_name) = (table.from(), quote_qualified(&parent.name));
            // As the server does: whoever would delete them waits.
            let hold = format!(
                "SELECT FROM {parent_name} p WHERE EXISTS (SELECT FROM {from} t WHERE {pairs} AND {own}) FOR KEY SHARE"
            );
            admin.rows(&hold, &[]).await?;
            let given: Vec<_> =
                key.columns.iter().map(|column| format!("t.{} IS NOT NULL", quote_identifier(column))).collect();
            let sql = format!(
                "SELECT count(*) FROM {from} t WHERE {own} AND {} AND NOT EXISTS (SELECT FROM {parent_name} p WHERE {pairs})",
                given.join(" AND ")
            );
            refuse_missing(admin.value::<i64>(&sql, &[]).await?, table, &key.name, parent)?;
        }
        Ok(())
    }
}

async fn column(admin: &Admin, sql: &str, oids: &[u32]) -> Result<Vec<String>, LifecycleError> {
    let rows = admin.rows(sql, &[&oids]).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

fn relation(catalog: &Catalog, oid: crate::base::Oid) -> Option<&Relation> {
    catalog.relations.values().find(|it| it.oid == oid)
}

fn refuse_missing(
    count: Option<i64>,
    table: &OwnTable<'_>,
    key: &str,
    parent: &Relation,
) -> Result<(), LifecycleError> {
    match count.unwrap_or_default() {
        0 => Ok(()),
        count => Err(LifecycleError::refused(
            format!(
                "{count} rows of {} refer to rows of {} that are not there ({key})",
                table.relation.name, parent.name
            ),
            "put the missing rows into that table first",
        )),
    }
}

/// How a table's rows become those of the shared one.
fn way(ends: &Ends, table: &OwnTable<'_>, source: &Source) -> Result<Way, LifecycleError> {
    let mut way = Way::of(source);
    let target = table.relation;
    let is_there = |column: &&String| target.column(column).is_some_and(|column| column.generated == Generated::No);
    if let Some(column) = source.columns.iter().find(|column| !is_there(column)) {
        return Err(other_columns(format!(
            "{} has no column \"{column}\", which {}.{} has",
            target.name, source.schema, source.table
        )));
    }
    let value = table.value(&ends.to.keys)?;
    let own = |column: &String| value.is_some() && *column == table.rule.column;
    let known = |column: &str| source.columns.iter().any(|it| it == column);
    let plain = target.columns.iter().filter(|column| column.generated == Generated::No);
    if let Some(column) = plain.map(|it| &it.name).find(|column| !known(column) && !own(column)) {
        return Err(other_columns(format!(
            "{}.{} has no column \"{column}\", which {} has",
            source.schema, source.table, target.name
        )));
    }
    if ends.from.layout != Layout::Shared {
        way.source.condition = own_condition(ends, table, source);
    }
    if let Some(value) = value {
        match way.columns.iter().position(|column| *column == table.rule.column) {
            Some(at) => way.select.iter_mut().skip(at).take(1).for_each(|it| it.clone_from(&value)),
            None => {
                way.columns.push(table.rule.column.clone());
                way.select.push(value);
            }
        }
    }
    Ok(way)
}

fn other_columns(message: String) -> LifecycleError {
    LifecycleError::refused(message, "run the migrations on both sides first")
}

/// In a place of its own all rows are the tenant's, but for copies of those that are everybody's where it goes.
fn own_condition(ends: &Ends, table: &OwnTable<'_>, source: &Source) -> String {
    let has_column = source.columns.contains(&table.rule.column);
    let schema = match &ends.from.layout {
        Layout::Schema { schema, .. } => Some(&**schema),
        Layout::Shared | Layout::Database => None,
    };
    match table.is_everybodys_in(schema).filter(|_| has_column) {
        Some(everybodys) => format!("NOT ({everybodys})"),
        None => "true".to_owned(),
    }
}
