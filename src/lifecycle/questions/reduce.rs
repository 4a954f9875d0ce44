//! The end of an answer: one more SELECT over all rows, in a temporary table that is called `results`, on the default upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use futures_util::SinkExt;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};

use super::columns::{self, Column};
use super::{NAME, told};
use crate::base::{Access, Mode, QualifiedName, TenantKeys, TenantName};
use crate::catalog::{RelKind, Relation};
use crate::checks::load_policy;
use crate::config::Config;
use crate::control;
use crate::guard::{Guard, Protocol, StatementKind, TableRule, plan_statements};

/// The table.
const RESULTS: &str = "results";

/// An answer that is to be finished by one more SELECT.
pub struct Reduction {
    client: ClientWrapper,
    sql: String,
    sink: Option<Pin<Box<CopyInSink<Bytes>>>>,
}

/// What finishes it: columns and rows.
pub type Reduced = (Vec<Column>, Vec<Vec<Option<String>>>);

impl Reduction {
    /// Looks at the SELECT: it may name nothing but the table, and what every tenant may call.
    ///
    /// # Errors
    /// It may not be run, or the upstream cannot be reached.
    pub async fn open(config: &Config, sql: &str, timeout: Duration) -> Result<Self, String> {
        let upstream = config.upstreams.get(&config.tenancy.upstream).ok_or("there is no upstream for --reduce")?;
        let (policy, _) = load_policy(config, upstream).await.map_err(|error| error.to_string())?;
        let schema = policy.search_path.first().cloned().unwrap_or_else(|| "public".to_owned());
        let name = QualifiedName::new(&schema, RESULTS);
        let mut catalog = crate::catalog::Catalog::clone(&policy.catalog);
        catalog.relations.insert(name.clone(), table(&name));
        let mut policy = policy;
        policy.catalog = Arc::new(catalog);
        // Of the database itself nothing is open: whose rows they would be nobody said.
        policy.tables = [(name, TableRule::Shared(Access::Read))].into();
        policy.allow_functions.clear();
        policy.search_path = vec![schema];
        let guard = Guard::new(Arc::new(policy), plan_statements);
        let refused = |refusal: crate::base::Refusal| refusal.error.message.into_owned();
        let script = guard.plan(&Mode::Shared, Protocol::Simple, sql).map_err(refused)?;
        let text = match &*script.statements {
            [only]
                if only.kind == StatementKind::Select && !only.writes && only.effects.is_empty() && !only.rewritten =>
            {
                script.bind(&TenantKeys::default()).map_err(refused)?.text().into_owned()
            }
            _ => return Err(format!("it is not one SELECT of {RESULTS} alone that only reads")),
        };
        let client = control::connect(upstream, NAME).await.map_err(|error| error.to_string())?;
        let opening = format!("BEGIN; SET LOCAL statement_timeout = {}", timeout.as_millis());
        client.batch_execute(&opening).await.map_err(|error| told(&error))?;
        Ok(Self { client, sql: text, sink: None })
    }

    /// The columns are known: makes the table.
    ///
    /// # Errors
    /// The server does not.
    pub async fn begin(&mut self, columns: &[Column]) -> Result<(), String> {
        let create = format!("CREATE TEMPORARY TABLE {RESULTS} ({}) ON COMMIT DROP", columns::definition(columns));
        self.client.batch_execute(&create).await.map_err(|error| told(&error))?;
        let copy = format!("COPY pg_temp.{RESULTS} FROM STDIN");
        let sink = self.client.copy_in(copy.as_str()).await.map_err(|error| told(&error))?;
        self.sink = Some(Box::pin(sink));
        Ok(())
    }

    /// A row.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn take(&mut self, tenant: &TenantName, values: &[Option<String>]) -> Result<(), String> {
        let Some(sink) = self.sink.as_mut() else { return Ok(()) };
        sink.feed(Bytes::from(line(tenant, values))).await.map_err(|error| told(&error))
    }

    /// All rows are there: what the SELECT gives.
    ///
    /// # Errors
    /// Nobody has answered, or the server refuses it.
    pub async fn finish(mut self) -> Result<Reduced, String> {
        let mut sink = self.sink.take().ok_or("no tenant has answered")?;
        sink.as_mut().finish().await.map_err(|error| told(&error))?;
        let said = |error: tokio_postgres::Error| told(&error);
        self.client.batch_execute("SET TRANSACTION READ ONLY").await.map_err(said)?;
        let statement = self.client.prepare(&self.sql).await.map_err(said)?;
        let columns = columns::reduced(statement.columns());
        let messages = self.client.simple_query(&self.sql).await.map_err(said)?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok((columns, rows.collect()))
    }
}

/// A line of COPY's text format.
fn line(tenant: &TenantName, values: &[Option<String>]) -> String {
    let mut out = String::new();
    escape(tenant.as_str(), &mut out);
    for value in values {
        out.push('\t');
        match value {
            Some(value) => escape(value, &mut out),
            None => out.push_str("\\N"),
        }
    }
    out.push('\n');
    out
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
}

/// The table as the guard sees it.
fn table(name: &QualifiedName) -> Relation {
    Relation {
        oid: 0,
        name: name.clone(),
        kind: RelKind::Table,
        is_partition: false,
        columns: Vec::new(),
        parents: Vec::new(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
        row_security: false,
        force_row_security: false,
        row_security_active: false,
        owned: false,
        policies: Vec::new(),
        security_invoker: false,
        extension: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_what_they_are_in_a_line() {
        let values = [Some("a\tb\\N\n".to_owned()), None, Some(String::new())];
        assert_eq!(line(&TenantName::new("acme"), &values), "acme\ta\\tb\\\\N\\n\t\\N\t\n");
    }
}
