//! A tenant's rows of shared tables: those that refer to others first, in batches.

use serde_json::json;

use super::{Deleted, Pace};
use crate::catalog::RelKind;
use crate::config::Tenant;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::operations::Operation;
use crate::lifecycle::rows::{OwnTable, own_tables};

/// Each goes over all tables; the last finds nothing.
const PASSES: usize = 5;

impl Lifecycle {
    pub(super) async fn count_rows(&self, tenant: &Tenant) -> Result<Vec<Deleted>, LifecycleError> {
        let policy = self.policy_of(tenant).await?;
        let admin = Admin::connect(&tenant.upstream).await?;
        self.refuse_strangers(&admin, &policy, tenant).await?;
        let mut counts = Vec::new();
        for table in own_tables(&policy).iter().rev().flatten() {
            let counted = count(&admin, table, tenant).await?;
            counts.push(Deleted { table: table.relation.name.to_string(), counted, deleted: 0 });
        }
        Ok(counts)
    }

    pub(in crate::lifecycle) async fn delete_rows(
        &self,
        tenant: &Tenant,
        mut pace: Pace,
        operation: &Operation,
    ) -> Result<Vec<Deleted>, LifecycleError> {
        let policy = self.policy_of(tenant).await?;
        let admin = Admin::connect(&tenant.upstream).await?;
        self.refuse_strangers(&admin, &policy, tenant).await?;
        let groups = own_tables(&policy);
        let mut deleted: Vec<Deleted> = Vec::new();
        for group in groups.iter().rev().flatten() {
            let table = group.relation.name.to_string();
            deleted.push(Deleted { table, counted: 0, deleted: 0 });
        }
        // What a trigger writes down of a deletion is the tenant's too.
        for _ in 0..PASSES {
            let mut is_clean = true;
            let mut rest = deleted.as_mut_slice();
            for group in groups.iter().rev() {
                let (done, others) = rest.split_at_mut(group.len().min(rest.len()));
                rest = others;
                is_clean &= self.delete_group(&admin, group, tenant, &mut pace, (operation, done)).await?;
            }
            if is_clean {
                return Ok(deleted);
            }
            operation.so_far(&json!({ "deleted": deleted })).await?;
        }
        Err(LifecycleError::refused(
            "rows come while the others are deleted",
            "who writes for a suspended tenant: a job past pgwarden, a trigger? Then run it again",
        ))
    }

    /// Whether there was nothing to delete.
    async fn delete_group(
        &self,
        admin: &Admin,
        group: &[OwnTable<'_>],
        tenant: &Tenant,
        pace: &mut Pace,
        (operation, done): (&Operation, &mut [Deleted]),
    ) -> Result<bool, LifecycleError> {
        let mut found = 0;
        for (table, it) in group.iter().zip(&mut *done) {
            let counted = count(admin, table, tenant).await?;
            it.counted += counted;
            found += counted;
        }
        if found == 0 {
            return Ok(true);
        }
        let names: Vec<_> = group.iter().map(|table| table.relation.name.to_string()).collect();
        let step = format!("deleting rows of {}", names.join(", "));
        self.tell(&step);
        operation.step(&step).await?;
        match group {
            [table] if !refers_to_itself(table) => {
                let sum = in_batches(admin, table, tenant, pace).await?;
                done.iter_mut().for_each(|it| it.deleted += i64::try_from(sum).unwrap_or(i64::MAX));
            }
            tables => at_once(admin, tables, tenant, done).await?,
        }
        Ok(false)
    }
}

async fn count(admin: &Admin, table: &OwnTable<'_>, tenant: &Tenant) -> Result<i64, LifecycleError> {
    let sql = format!("SELECT count(*) FROM {} t WHERE {}", table.from(), table.is_own(&tenant.keys)?);
    Ok(admin.value::<i64>(&sql, &[]).await?.unwrap_or_default())
}

fn refers_to_itself(table: &OwnTable<'_>) -> bool {
    table.relation.foreign_keys.iter().any(|key| key.parent == table.relation.oid)
}

/// So many rows in a transaction, of each partition. A row's place tells it only within one table.
async fn in_batches(
    admin: &Admin,
    table: &OwnTable<'_>,
    tenant: &Tenant,
    pace: &mut Pace,
) -> Result<u64, LifecycleError> {
    let leaves: Vec<String> = match table.relation.kind {
        RelKind::PartitionedTable => {
            let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_partition_tree($1::oid::regclass) p \
                       JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.isleaf";
            let rows = admin.rows(sql, &[&table.relation.oid]).await?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))?
        }
        _ => vec![table.name()],
    };
    let own = table.is_own(&tenant.keys)?;
    let mut sum = 0;
    for leaf in leaves {
        let sql = format!(
            "DELETE FROM ONLY {leaf} t WHERE t.ctid = ANY (ARRAY(SELECT t.ctid FROM ONLY {leaf} t WHERE {own} LIMIT {})) AND {own}",
            pace.batch
        );
        let statement = admin.prepare(&sql).await.map_err(|error| admin.failed(error))?;
        loop {
            let rows = admin.execute(&statement, &[]).await.map_err(|error| admin.failed(error))?;
            sum += rows;
            pace.deleted(rows).await;
            if rows < u64::from(pace.batch) {
                break;
            }
        }
    }
    Ok(sum)
}

/// Tables whose rows refer to each other: one statement, whose foreign keys are looked at when all of it is done.
async fn at_once(
    admin: &Admin,
    tables: &[OwnTable<'_>],
    tenant: &Tenant,
    done: &mut [Deleted],
) -> Result<(), LifecycleError> {
    let mut parts = Vec::new();
    for (n, table) in tables.iter().enumerate() {
        let own = table.is_own(&tenant.keys)?;
        parts.push(format!("d{n} AS (DELETE FROM {} t WHERE {own} RETURNING 1)", table.from()));
    }
    let counts: Vec<_> = (0..tables.len()).map(|n| format!("(SELECT count(*) FROM d{n})")).collect();
    let sql = format!("WITH {} SELECT ARRAY[{}]", parts.join(", "), counts.join(", "));
    let counts = admin.value::<Vec<i64>>(&sql, &[]).await?.unwrap_or_default();
    done.iter_mut().zip(counts).for_each(|(it, count)| it.deleted += count);
    Ok(())
}
