//! Questions of observed sessions: does a statement touch another tenant's rows? They are asked on connections of the control
//! plane, in transactions that can change nothing, and not for long: the client waits.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use dashmap::DashMap;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::protocol::Backend;
use crate::base::{Oid, UpstreamName};
use crate::config::Upstream;
use crate::control::{AsRole, ControlError, Pool, PoolLimits};
use crate::guard::value::TenantValue;
use crate::sql::quote_identifier;

/// Connections for one database.
const CONNECTIONS: usize = 2;
/// A client waits so long for a connection that is in use.
const WAIT: Duration = Duration::from_millis(100);
/// A client waits so long in all.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long may the server look for such a row.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '250ms'; SET LOCAL lock_timeout = '50ms'";

/// A query that has a row if one of another tenant is touched.
#[derive(Debug)]
pub struct RowQuestion {
    /// Its text.
    pub text: String,
    /// Where its names are looked for.
    pub search_path: Vec<String>,
    /// Its parameters.
    pub values: Vec<RowValue>,
}

/// A parameter, as the client bound it.
#[derive(Clone, Debug)]
pub struct RowValue {
    /// Its bytes, or NULL.
    pub bytes: Option<Vec<u8>>,
    /// Their format.
    pub binary: bool,
    /// The type that the client prepared the statement with, or 0.
    pub declared: Oid,
}

impl RowValue {
    /// In the place of one that the query does not have: of a type, so that the server need not find one.
    pub const UNUSED: Self = Self { bytes: None, binary: false, declared: crate::base::oid::TEXT };

    /// As a value of this type.
    pub fn read(&self, type_oid: Oid) -> Option<TenantValue> {
        let bytes = self.bytes.as_deref()?;
        match self.binary {
            true => TenantValue::from_binary(type_oid, bytes),
            false => TenantValue::from_text(type_oid, std::str::from_utf8(bytes).ok()?),
        }
    }
}

impl ToSql for RowValue {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.binary { Format::Binary } else { Format::Text }
    }

    to_sql_checked!();
}

/// The connections on which one database is asked.
pub struct ForeignRows {
    upstream: Arc<Upstream>,
    pool: Pool<AsRole>,
}

impl ForeignRows {
    fn new(upstream: Arc<Upstream>) -> Self {
        let role = AsRole { upstream: Arc::clone(&upstream), application_name: "pgwarden observe" };
        Self { upstream, pool: Pool::new(role, PoolLimits::new(CONNECTIONS, WAIT)) }
    }

    /// Whether there is such a row. `None`: it could not be told in time.
    pub async fn are_touched(&self, question: &RowQuestion) -> Option<bool> {
        let asked = self.pool.exchange(async |client| -> Result<_, ControlError> {
            client.batch_execute(BEGIN).await?;
            let found = ask(client, question).await;
            client.batch_execute("ROLLBACK").await?;
            Ok(found)
        });
        match timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(found))) => Some(found),
            Ok(Ok(Err(error))) => unanswered(&error.into()),
            Ok(Err(error)) => unanswered(&error),
            Err(_) => unanswered(&ControlError::Timeout(PATIENCE)),
        }
    }
}

fn unanswered(error: &ControlError) -> Option<bool> {
    tracing::debug!(%error, "whose rows an observed statement touches was not told");
    None
}

async fn ask(client: &Client, question: &RowQuestion) -> Result<bool, tokio_postgres::Error> {
    if !question.search_path.is_empty() {
        let path: Vec<_> = question.search_path.iter().map(|name| quote_identifier(name)).collect();
        client.batch_execute(&format!("SET LOCAL search_path = {}", path.join(", "))).await?;
    }
    let types = question.values.iter().map(|value| Type::from_oid(value.declared).unwrap_or(Type::UNKNOWN));
    let statement = client.prepare_typed(&question.text, &types.collect::<Vec<_>>()).await?;
    let values: Vec<_> = question.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    Ok(!client.query(&statement, &values).await?.is_empty())
}

/// Where observed sessions ask, by upstream and database.
#[derive(Default)]
pub struct ForeignRowsOf(DashMap<(UpstreamName, String), Arc<ForeignRows>, foldhash::fast::RandomState>);

impl ForeignRowsOf {
    /// Of a session's place, as it is configured now.
    pub(super) fn place(&self, place: &Backend) -> Arc<ForeignRows> {
        let Backend { upstream, database, .. } = place;
        let mut known = self
            .0
            .entry((upstream.name.clone(), database.clone()))
            .or_insert_with(|| Arc::new(ForeignRows::new(at(upstream, database))));
        if is_elsewhere(upstream, &known.upstream) {
            *known = Arc::new(ForeignRows::new(at(upstream, database)));
        }
        Arc::clone(&known)
    }
}

fn is_elsewhere(now: &Upstream, was: &Upstream) -> bool {
    let password = |it: &Upstream| it.password.as_ref().map(|secret| secret.expose().to_owned());
    now.address != was.address || now.user != was.user || password(now) != password(was)
}

fn at(upstream: &Upstream, database: &str) -> Arc<Upstream> {
    Arc::new(Upstream { database: database.to_owned(), ..upstream.clone() })
}
