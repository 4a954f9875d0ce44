//! Whether a tenant's rows can be among others': looked at before anybody waits.

use super::{Shared, refuse_missing, relation};
use crate::base::QualifiedName;
use crate::config::Layout;
use crate::guard::{TableRule, TenantTable};
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::Sources;
use crate::lifecycle::moving::copy::{Arrival, Way, copy};
use crate::lifecycle::moving::destination::Ends;
use crate::lifecycle::rows::{OwnTable, own_tables};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

impl Shared {
    /// Refuses what would fail later, or be other than it was. Returns what is left where it is.
    pub async fn refuse_unfit(
        &self,
        ends: &Ends,
        (holder, sources): (&Admin, &Sources),
    ) -> Result<Vec<String>, LifecycleError> {
        let notes = self.refuse_homeless(ends, (holder, sources)).await?;
        let arrivals = self.arrivals(ends, sources)?;
        if ends.from.layout != Layout::Shared {
            refuse_foreign_types(holder, ends, self).await?;
            refuse_others_rows(holder, ends, self, &arrivals).await?;
        }
        let there = Admin::connect(&ends.to.upstream).await?;
        // Keys are brought along in tables that are gone with the transaction.
        there.run("BEGIN").await?;
        let tables: Vec<_> = own_tables(&self.policy).into_iter().flatten().collect();
        for arrival in &arrivals {
            let table = tables.iter().find(|it| it.name() == arrival.into);
            let (Some(table), Some(way)) = (table, arrival.ways.first()) else { continue };
            refuse_taken_keys(holder, &there, table, way).await?;
            self.refuse_missing_rows(holder, &there, table, way).await?;
        }
        there.run("ROLLBACK").await?;
        Ok(notes)
    }

    /// Tables of the old place with rows that would go nowhere.
    async fn refuse_homeless(
        &self,
        ends: &Ends,
        (holder, sources): (&Admin, &Sources),
    ) -> Result<Vec<String>, LifecycleError> {
        let mut notes = Vec::new();
        for source in sources.tables.iter().filter(|it| !it.everybodys) {
            let rule = self.policy.tables.iter().find(|(name, _)| self.is_for(ends, source, &name.name, &name.schema));
            let rows = match rule {
                Some((_, TableRule::Tenant(_))) => continue,
                Some((name, TableRule::Shared(_))) => {
                    notes.push(format!("rows of {name} are everybody's there: the tenant's copy stays behind"));
                    continue;
                }
                None => Way::of(source).count(holder).await?,
            };
            if rows > 0 {
                return Err(LifecycleError::refused(
                    format!(
                        "{}.{} has {rows} rows, and there is no table of tenants for them",
                        source.schema, source.table
                    ),
                    "make the table with the tenant column, or list it in [tenancy.tables]",
                ));
            }
        }
        Ok(notes)
    }

    /// Rows of everybody that are not there.
    async fn refuse_missing_rows(
        &self,
        holder: &Admin,
        to: &Admin,
        table: &OwnTable<'_>,
        way: &Way,
    ) -> Result<(), LifecycleError> {
        for key in &table.relation.foreign_keys {
            let Some(parent) = relation(&self.policy.catalog, key.parent) else { continue };
            // Those of the tenant itself come along.
            if matches!(self.policy.tables.get(&parent.name), Some(TableRule::Tenant(_))) {
                continue;
            }
            let Some(stage) = stage(holder, to, way, &table.name(), &key.columns).await? else { continue };
            let pairs = key.columns.iter().zip(&key.parent_columns);
            let pairs: Vec<_> = pairs
                .map(|(it, parent)| format!("p.{} = k.{}", quote_identifier(parent), quote_identifier(it)))
                .collect();
            let given: Vec<_> =
                key.columns.iter().map(|it| format!("k.{} IS NOT NULL", quote_identifier(it))).collect();
            let sql = format!(
                "SELECT count(*) FROM {stage} k WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})",
                given.join(" AND "),
                quote_qualified(&parent.name),
                pairs.join(" AND ")
            );
            refuse_missing(to.value::<i64>(&sql, &[]).await?, table, &key.name, parent)?;
        }
        Ok(())
    }
}

/// Keys that somebody has there already, of each unique constraint that the tenant column is not in.
async fn refuse_taken_keys(holder: &Admin, to: &Admin, table: &OwnTable<'_>, way: &Way) -> Result<(), LifecycleError> {
    let without_tenant = |key: &&Vec<String>| table.rule.through.is_some() || !key.contains(&table.rule.column);
    for key in table.relation.unique_keys.iter().filter(without_tenant) {
        let Some(stage) = stage(holder, to, way, &table.name(), key).await? else { continue };
        let pairs: Vec<_> = key.iter().map(|it| quote_identifier(it)).map(|it| format!("t.{it} = k.{it}")).collect();
        let sql = format!("SELECT count(*) FROM {} t JOIN {stage} k ON {}", table.name(), pairs.join(" AND "));
        let count = to.value::<i64>(&sql, &[]).await?.unwrap_or_default();
        if count > 0 {
            let (name, key) = (&table.relation.name, key.join(", "));
            return Err(LifecycleError::refused(
                format!("{name}: {count} of the tenant's values of ({key}) are others' already"),
                "give the tenant a schema or a database of its own, where its keys are free, or free the keys",
            ));
        }
    }
    Ok(())
}

/// Some columns of the tenant's rows, in a table that is gone with the transaction. `None`: the old place has not all of them.
async fn stage(
    holder: &Admin,
    to: &Admin,
    way: &Way,
    into: &str,
    columns: &[String],
) -> Result<Option<&'static str>, LifecycleError> {
    const NAME: &str = "pg_temp.pgwarden_keys";
    let mut select = Vec::new();
    for column in columns {
        let at = way.columns.iter().position(|it| it == column);
        let Some(expression) = at.and_then(|at| way.select.get(at)) else { return Ok(None) };
        select.push(expression.clone());
    }
    let quoted: Vec<_> = columns.iter().map(|it| quote_identifier(it)).collect();
    to.run(&format!(
        "DROP TABLE IF EXISTS {NAME}; CREATE TEMPORARY TABLE pgwarden_keys AS SELECT {} FROM {into} WITH NO DATA",
        quoted.join(", ")
    ))
    .await?;
    let keys = Way { source: way.source.clone(), select, columns: columns.to_vec(), binary: false };
    copy(holder, to, &keys, NAME).await?;
    Ok(Some(NAME))
}

/// Rows that say that they are somebody else's.
async fn refuse_others_rows(
    holder: &Admin,
    ends: &Ends,
    shared: &Shared,
    arrivals: &[Arrival],
) -> Result<(), LifecycleError> {
    for table in own_tables(&shared.policy).iter().flatten() {
        let arrival = arrivals.iter().find(|it| it.into == table.name());
        let Some(way) = arrival.and_then(|it| it.ways.first()) else { continue };
        let Some(key) = ends.to.keys.get(&table.rule.key).filter(|_| table.rule.through.is_none()) else { continue };
        if !way.source.columns.contains(&table.rule.column) {
            continue;
        }
        let column = quote_identifier(&table.rule.column);
        let sql = format!(
            "SELECT count(*) FROM {} t WHERE t.{column} IS NOT NULL AND format('%s', t.{column}) <> {}",
            way.source.from,
            quote_literal(key)
        );
        let count = holder.value::<i64>(&sql, &[]).await?.unwrap_or_default();
        if count > 0 {
            return Err(LifecycleError::refused(
                format!(
                    "{count} rows of {} have another value in column {} than the tenant's key",
                    way.source.from, table.rule.column
                ),
                "in shared tables they would be somebody else's: set the column, or move the tenant with another --key",
            ));
        }
    }
    Ok(())
}

/// What is compared there must be of Postgres's own types, in tables: another type can have its owner's code run for a comparison.
async fn refuse_foreign_types(holder: &Admin, ends: &Ends, shared: &Shared) -> Result<(), LifecycleError> {
    let sql = "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND (a.atttypid >= 16384 OR c.relkind NOT IN ('r', 'p'))";
    for table in own_tables(&shared.policy).iter().flatten().filter(|it| it.rule.null_is_shared) {
        for (name, column) in compared(&table.relation.name, table.rule) {
            let schema = match &ends.from.layout {
                Layout::Schema { schema, .. } => schema.to_string(),
                Layout::Shared | Layout::Database => name.schema.clone(),
            };
            if holder.value::<i64>(sql, &[&schema, &name.name, &column]).await?.unwrap_or_default() > 0 {
                return Err(LifecycleError::refused(
                    format!(
                        "column \"{column}\" of {schema}.{} is of a type of the tenant's own, or of a view",
                        name.name
                    ),
                    "by it rows are told from everybody's: it needs one of Postgres's own types",
                ));
            }
        }
    }
    Ok(())
}

/// The columns by which everybody's rows are told.
fn compared<'r>(name: &'r QualifiedName, rule: &'r TenantTable) -> Vec<(&'r QualifiedName, &'r str)> {
    let mut columns = vec![(name, rule.column.as_str())];
    if let Some(through) = &rule.through {
        columns.push((&through.parent, &through.key));
        columns.extend(compared(&through.parent, &through.rule));
    }
    columns
}
