//! One operation on a tenant at a time, and a record of it. The lock is the connection's: when the process is gone, it is free.

use serde_json::Value as Json;
use tokio_postgres::error::SqlState;

use super::admin::Admin;
use super::error::LifecycleError;
use super::tables::Home;
use crate::base::QualifiedName;
use crate::control::ControlError;
use crate::observe::audit;
use crate::sql::quote_qualified;

/// The class of the advisory locks, `pgwd`: the other half is a hash of the tenant's name.
const LOCKS: i32 = 0x7067_7764;

/// What is done to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is made.
    Create,
    /// No login for now.
    Suspend,
    /// Logins again.
    Resume,
    /// Its data is copied out.
    Export,
    /// Data is copied in.
    Import,
    /// It gets another place.
    Move,
    /// Its data is deleted.
    Delete,
    /// Its definitions are changed.
    Migrate,
}

impl Verb {
    /// As the command has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Export => "export",
            Self::Import => "import",
            Self::Move => "move",
            Self::Delete => "delete",
            Self::Migrate => "migrate",
        }
    }
}

/// A row of the table of operations.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Record {
    /// Its number.
    pub id: i64,
    /// What was done.
    pub verb: String,
    /// `running`, `done`, `failed` or `abandoned`.
    pub state: String,
    /// How far it came.
    pub step: Option<String>,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Who did it.
    pub by: String,
    /// What was asked for.
    pub arguments: Json,
    /// What came of it.
    pub result: Option<Json>,
    /// Why it failed.
    pub error: Option<String>,
}

/// An operation under way.
pub struct Operation {
    admin: Admin,
    table: String,
    id: i64,
    tenant: String,
    verb: Verb,
    by: String,
}

impl Operation {
    /// Begins one. What another left running whose process has ended is now abandoned.
    ///
    /// # Errors
    /// Another is under way, there is no table, or no admin.
    pub async fn begin(
        home: &Home,
        tenant: &str,
        verb: Verb,
        by: &str,
        arguments: &Json,
    ) -> Result<Self, LifecycleError> {
        let admin = Admin::connect(&home.upstream).await?;
        let table = quote_qualified(&home.operations);
        let lock = "SELECT pg_catalog.pg_try_advisory_lock($1, pg_catalog.hashtext($2))";
        if admin.value::<bool>(lock, &[&LOCKS, &tenant]).await? != Some(true) {
            let running = last(&admin, &home.operations, tenant, 1).await.unwrap_or_default();
            let what = running.first().filter(|it| it.state == "running");
            let what = what.map_or_else(
                || "not known yet".to_owned(),
                |it| format!("{} since {} by {}", it.verb, it.started_at, it.by),
            );
            return Err(LifecycleError::Busy { tenant: tenant.to_owned(), what });
        }
        let abandon = format!(
            "UPDATE {table} SET state = 'abandoned', ended_at = pg_catalog.now() WHERE tenant OPERATOR(pg_catalog.=) $1 \
             AND state OPERATOR(pg_catalog.=) 'running'"
        );
        admin.rows(&abandon, &[&tenant]).await.map_err(no_table)?;
        let insert = format!(
            "INSERT INTO {table} (tenant, verb, state, by_whom, arguments) VALUES ($1, $2, 'running', $3, $4::text::jsonb) RETURNING id"
        );
        let id = admin.value::<i64>(&insert, &[&tenant, &verb.as_str(), &by, &arguments.to_string()]).await?;
        Ok(Self { admin, table, id: id.unwrap_or_default(), tenant: tenant.to_owned(), verb, by: by.to_owned() })
    }

    /// Its number.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The connection that it is recorded by, to the database of the tables.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Records how far it has come.
    ///
    /// # Errors
    /// The server's.
    pub async fn step(&self, step: &str) -> Result<(), LifecycleError> {
        let update = format!("UPDATE {} SET step = $2 WHERE id OPERATOR(pg_catalog.=) $1", self.table);
        self.admin.rows(&update, &[&self.id, &step]).await.map(drop)
    }

    /// Records what has come of it so far.
    ///
    /// # Errors
    /// The server's.
    pub async fn so_far(&self, result: &Json) -> Result<(), LifecycleError> {
        let update = format!("UPDATE {} SET result = $2::text::jsonb WHERE id OPERATOR(pg_catalog.=) $1", self.table);
        self.admin.rows(&update, &[&self.id, &result.to_string()]).await.map(drop)
    }

    /// Records its end, and tells the audit trail.
    ///
    /// # Errors
    /// How it ended, or the server's.
    pub async fn end(self, outcome: Result<Json, LifecycleError>) -> Result<Json, LifecycleError> {
        let (result, error) = match &outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let recorded = self.record_end(result, error.as_deref()).await;
        // Of two errors the first says more.
        let result = outcome?;
        recorded?;
        Ok(result)
    }

    /// Records its end: what came of it, and why it failed if it did.
    ///
    /// # Errors
    /// The server's.
    pub async fn record_end(self, result: Option<&Json>, error: Option<&str>) -> Result<(), LifecycleError> {
        let state = if error.is_none() { "done" } else { "failed" };
        let result = result.map(Json::to_string);
        audit::tenant_operation(&self.tenant, self.verb.as_str(), &self.by, result.as_deref(), error);
        let update = format!(
            "UPDATE {} SET state = $2, ended_at = pg_catalog.clock_timestamp(), result = COALESCE($3::text::jsonb, result), error = $4 \
             WHERE id OPERATOR(pg_catalog.=) $1",
            self.table
        );
        self.admin.rows(&update, &[&self.id, &state, &result, &error]).await.map(drop)
    }
}

/// An error of a query on one of pgwarden's own tables, which may be missing.
pub(super) fn no_table(error: LifecycleError) -> LifecycleError {
    match error {
        LifecycleError::Server { error: ControlError::Postgres(error), .. }
            if error.code() == Some(&SqlState::UNDEFINED_TABLE) =>
        {
            LifecycleError::NoTable(error.into())
        }
        other => other,
    }
}

/// The last operations on a tenant, the latest first.
///
/// # Errors
/// There is no table, or the server's.
pub async fn last(
    admin: &Admin,
    table: &QualifiedName,
    tenant: &str,
    count: i64,
) -> Result<Vec<Record>, LifecycleError> {
    let sql = format!(
        "SELECT id, verb, state, step, started_at::text, ended_at::text, by_whom, arguments::text, result::text, error FROM {} \
         WHERE tenant OPERATOR(pg_catalog.=) $1 ORDER BY id DESC LIMIT $2",
        quote_qualified(table)
    );
    let rows = admin.rows(&sql, &[&tenant, &count]).await.map_err(no_table)?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

fn record(row: &tokio_postgres::Row) -> Result<Record, tokio_postgres::Error> {
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Json::Null);
    Ok(Record {
        id: row.try_get(0)?,
        verb: row.try_get(1)?,
        state: row.try_get(2)?,
        step: row.try_get(3)?,
        started_at: row.try_get(4)?,
        ended_at: row.try_get(5)?,
        by: row.try_get(6)?,
        arguments: json(row.try_get(7)?),
        result: row.try_get::<_, Option<&str>>(8)?.map(json),
        error: row.try_get(9)?,
    })
}
