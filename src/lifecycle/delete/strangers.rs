//! Rows that refer to a tenant's and are not its own: they would be deleted with them unseen, or keep them from it.

use crate::catalog::{ForeignKey, RelKind, Relation};
use crate::config::Tenant;
use crate::guard::Policy;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::rows::{OwnTable, own_tables};
use crate::sql::{quote_identifier, quote_qualified};

impl Lifecycle {
    pub(in crate::lifecycle) async fn refuse_strangers(
        &self,
        admin: &Admin,
        policy: &Policy,
        tenant: &Tenant,
    ) -> Result<(), LifecycleError> {
        let tables: Vec<_> = own_tables(policy).into_iter().flatten().collect();
        let mut found = Vec::new();
        let mut hint = "delete them first, or let them refer to others";
        for child in policy.catalog.relations.values().filter(|it| is_asked(it)) {
            let own = tables.iter().find(|table| table.relation.oid == child.oid);
            for key in &child.foreign_keys {
                let Some(parent) = tables.iter().find(|table| table.relation.oid == key.parent) else { continue };
                let sql = strangers(child, own, key, parent, tenant)?;
                let count = admin.value::<i64>(&sql, &[]).await?.unwrap_or_default();
                if count > 0 {
                    found.push(format!("{count} rows of {} (to {}, {})", child.name, parent.relation.name, key.name));
                    if !policy.tables.contains_key(&child.name) {
                        hint = "a table whose rows belong to tenants through a foreign key is listed: \
                                [tenancy.tables] \"schema.table\" = { through = \"column\" }";
                    }
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        Err(LifecycleError::refused(
            format!("rows that are not the tenant's refer to its rows: {}", found.join("; ")),
            hint,
        ))
    }
}

/// A partition is asked as its table.
fn is_asked(relation: &Relation) -> bool {
    relation.kind.is_table() && !relation.is_partition
}

fn strangers(
    child: &Relation,
    own: Option<&OwnTable<'_>>,
    key: &ForeignKey,
    parent: &OwnTable<'_>,
    tenant: &Tenant,
) -> Result<String, LifecycleError> {
    let only = if child.kind == RelKind::PartitionedTable { "" } else { "ONLY " };
    let pairs = key
        .columns
        .iter()
        .zip(&key.parent_columns)
        .map(|(column, parent)| format!("t.{} = c.{}", quote_identifier(parent), quote_identifier(column)));
    let refers = format!(
        "EXISTS (SELECT FROM {} t WHERE {} AND {})",
        parent.from(),
        pairs.collect::<Vec<_>>().join(" AND "),
        parent.is_own(&tenant.keys)?
    );
    // The condition on the child's own rows knows it as `t`.
    let strange = match own {
        Some(own) => format!("NOT EXISTS (SELECT FROM (SELECT c.*) t WHERE {})", own.is_own(&tenant.keys)?),
        None => "true".to_owned(),
    };
    Ok(format!("SELECT count(*) FROM {only}{} c WHERE {refers} AND {strange}", quote_qualified(&child.name)))
}
