//! The plan of a statement without the guard and with it: does it lose an index? EXPLAIN alone; nothing is executed.
//!
//! Both texts are prepared and planned as generic plans, in a read-only transaction that is rolled back, with the settings that a
//! session of the tenant has: parameters keep their place, and no value of theirs is needed.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::base::key_setting;
use crate::config::{Layout, Tenant};
use crate::guard::{Guarded, Policy, StatementKind};
use crate::sql::{quote_identifier, quote_literal};

/// Deeper plans are not shown whole.
const MAX_DEPTH: usize = 200;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The server plans no such thing, or not for this role.
    #[error("{}", said(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// What it says of the plan is none.
    #[error("the server's plan cannot be read")]
    Unread,
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// One plan.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// Its nodes, a line each.
    pub text: String,
    /// The planner's guess of what all of it costs.
    pub cost: f64,
    /// How often each table is read by an index, and from end to end.
    reads: BTreeMap<String, Reads>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reads {
    by_index: usize,
    whole: usize,
}

/// Both plans of a statement.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Of the statement as the app sends it.
    pub without: QueryPlan,
    /// Of what pgwarden sends.
    pub with: QueryPlan,
}

impl Compared {
    /// Tables that are read by an index without the guard, and with it from end to end.
    pub fn lost(&self) -> Vec<&str> {
        let lost = self.without.reads.iter().filter(|(table, before)| {
            let after = self.with.reads.get(*table).copied().unwrap_or_default();
            before.by_index > 0 && after.whole > before.whole && after.by_index < before.by_index
        });
        lost.map(|(table, _)| table.as_str()).collect()
    }
}

/// Whether a statement of this kind has a plan.
pub fn has_plan(guarded: &Guarded) -> bool {
    matches!(guarded.plans(), [plan] if match plan.kind {
        StatementKind::Select | StatementKind::Dml => true,
        StatementKind::Empty
        | StatementKind::Utility
        | StatementKind::Transaction
        | StatementKind::CopyOut
        | StatementKind::CopyIn => false,
    })
}

/// Plans one statement of a tenant, as it is and as it was guarded.
///
/// # Errors
/// The server does not plan one of them.
pub async fn compare(
    client: &Client,
    policy: &Policy,
    tenant: &Tenant,
    statement: &str,
    guarded: &Guarded,
) -> Result<Compared, PlanError> {
    let without = planned(client, policy, tenant, statement).await?;
    let with = planned(client, policy, tenant, &guarded.text()).await?;
    Ok(Compared { without, with })
}

async fn planned(client: &Client, policy: &Policy, tenant: &Tenant, statement: &str) -> Result<QueryPlan, PlanError> {
    client.batch_execute("BEGIN TRANSACTION READ ONLY").await?;
    let outcome = explained(client, policy, tenant, statement).await;
    client.batch_execute("ROLLBACK; DEALLOCATE ALL").await?;
    let value = outcome?;
    let plan = value.get(0).and_then(|it| it.get("Plan")).ok_or(PlanError::Unread)?;
    let mut found = QueryPlan { text: String::new(), cost: number(plan, "Total Cost"), reads: BTreeMap::new() };
    // Writing to a String cannot fail.
    let _ = found.add(plan, 0);
    Ok(found)
}

async fn explained(client: &Client, policy: &Policy, tenant: &Tenant, statement: &str) -> Result<Value, PlanError> {
    client.batch_execute(&settings(policy, tenant)).await?;
    // One statement by Postgres's grammar; the line's end ends a comment that it may end in.
    client.batch_execute(&format!("PREPARE pgwarden_plan AS {statement}\n")).await?;
    let types = "SELECT pg_catalog.cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements WHERE name = 'pgwarden_plan'";
    let count: i32 = client.query_one(types, &[]).await?.try_get(0)?;
    let nulls = (0..count).map(|_| "NULL").collect::<Vec<_>>().join(", ");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE pgwarden_plan {values}");
    let answer = client.simple_query(&explain).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.and_then(|text| serde_json::from_str(text).ok()).ok_or(PlanError::Unread)
}

/// What a session of the tenant has.
fn settings(policy: &Policy, tenant: &Tenant) -> String {
    let mut sql = "SET LOCAL plan_cache_mode = force_generic_plan".to_owned();
    let path = match &tenant.layout {
        Layout::Shared => policy.search_path.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "),
        Layout::Schema { schema, .. } => policy.schema_path(schema),
        Layout::Database => String::new(),
    };
    if !path.is_empty() {
        sql.push_str(&format!("; SET LOCAL search_path = {path}"));
    }
    let named = tenant.keys.named.iter().map(|(name, key)| (Some(name.clone()), key));
    for (name, key) in tenant.keys.default.iter().map(|key| (None, key)).chain(named) {
        if let Some(setting) = key_setting(&policy.setting, &name) {
            sql.push_str(&format!(
                "; SELECT pg_catalog.set_config({}, {}, true)",
                quote_literal(&setting),
                quote_literal(key)
            ));
        }
    }
    if let Layout::Schema { role: Some(role), .. } = &tenant.layout {
        sql.push_str(&format!("; SET LOCAL ROLE {}", quote_identifier(role)));
    }
    sql
}

fn number(node: &Value, key: &str) -> f64 {
    node.get(key).and_then(Value::as_f64).unwrap_or_default()
}

impl QueryPlan {
    fn add(&mut self, node: &Value, depth: usize) -> fmt::Result {
        let text = |key: &str| node.get(key).and_then(Value::as_str);
        // A node that modifies a table is called by what it does.
        let kind = text("Operation").or_else(|| text("Node Type")).unwrap_or("?");
        write!(self.text, "{:indent$}{kind}", "", indent = 2 * depth)?;
        if let Some(index) = text("Index Name") {
            write!(self.text, " using {index}")?;
        }
        if let Some(table) = text("Relation Name") {
            write!(self.text, " on {table}")?;
            let reads = self.reads.entry(table.to_owned()).or_default();
            match kind {
                "Seq Scan" => reads.whole += 1,
                "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan" => reads.by_index += 1,
                _ => {}
            }
        }
        writeln!(self.text, " (cost {:.2}, rows {})", number(node, "Total Cost"), number(node, "Plan Rows"))?;
        for (name, key) in [("index condition", "Index Cond"), ("filter", "Filter")] {
            if let Some(condition) = text(key) {
                writeln!(self.text, "{:indent$}{name}: {condition}", "", indent = 2 * depth + 4)?;
            }
        }
        if depth < MAX_DEPTH {
            let inner = node.get("Plans").and_then(Value::as_array);
            inner.into_iter().flatten().try_for_each(|inner| self.add(inner, depth + 1))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(nodes: &[(&str, &str)]) -> QueryPlan {
        let plans: Vec<Value> = nodes
            .iter()
            .map(|(kind, table)| serde_json::json!({ "Node Type": kind, "Relation Name": table, "Total Cost": 1.5 }))
            .collect();
        let mut found = QueryPlan { text: String::new(), cost: 0.0, reads: BTreeMap::new() };
        found.add(&serde_json::json!({ "Node Type": "Append", "Plans": plans }), 0).unwrap();
        found
    }

    #[test]
    fn an_index_is_lost_where_the_table_is_read_whole_instead() {
        let lost = |without: &[(&str, &str)], with: &[(&str, &str)]| {
            let compared = Compared { without: plan(without), with: plan(with) };
            compared.lost().join(" ")
        };
        let (index, bitmap, whole) = ("Index Scan", "Bitmap Heap Scan", "Seq Scan");
        assert_eq!(lost(&[(index, "a"), (whole, "b")], &[(whole, "a"), (whole, "b")]), "a");
        assert_eq!(lost(&[(index, "a")], &[(bitmap, "a")]), "");
        assert_eq!(lost(&[(whole, "a")], &[(whole, "a")]), "");
        // Another way, and still by the index.
        assert_eq!(lost(&[(index, "a")], &[(index, "a"), (whole, "a")]), "");
        assert_eq!(lost(&[], &[(whole, "a")]), "");
    }

    #[test]
    fn a_plan_is_a_line_a_node() {
        let text = plan(&[("Seq Scan", "a")]).text;
        assert_eq!(text, "Append (cost 0.00, rows 0)\n  Seq Scan on a (cost 1.50, rows 0)\n");
    }
}
