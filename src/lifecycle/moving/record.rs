//! What is known of a move, whatever becomes of the process that makes it.

use serde_json::Value as Json;

use crate::config::GateTables;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::book;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::operations::no_table;
use crate::sql::quote_qualified;
use crate::tenant::table::Row;

/// How far a move has come. Up to [`State::Switching`] the tenant lives where it lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lifecycle) enum State {
    /// The new place is made.
    Preparing,
    /// The gate is shut, proxies come to rest.
    Closing,
    /// Rows are copied, in transactions.
    Copying,
    /// The rows are there; the tenant's line is changed.
    Switching,
    /// The tenant lives in the new place; what it had is in the old one still.
    Switched,
    /// What it had in the old place is deleted.
    Finishing,
    /// Nothing is left of it.
    Done,
    /// It was taken back.
    Aborted,
}

impl State {
    const ALL: [Self; 8] = [
        Self::Preparing,
        Self::Closing,
        Self::Copying,
        Self::Switching,
        Self::Switched,
        Self::Finishing,
        Self::Done,
        Self::Aborted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Closing => "closing",
            Self::Copying => "copying",
            Self::Switching => "switching",
            Self::Switched => "switched",
            Self::Finishing => "finishing",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }

    /// The tenant lives in the new place.
    pub fn is_switched(self) -> bool {
        match self {
            Self::Switched | Self::Finishing | Self::Done => true,
            Self::Preparing | Self::Closing | Self::Copying | Self::Switching | Self::Aborted => false,
        }
    }
}

/// A row of the table of moves.
#[derive(Clone, Debug)]
pub(in crate::lifecycle) struct Move {
    pub id: i64,
    pub tenant: String,
    pub state: State,
    pub epoch: Option<i64>,
    /// The tenant's line before, and after.
    pub source: Row,
    pub target: Row,
}

/// Moves that are neither done nor taken back, and what they are called in.
const OPEN: &str = "state NOT IN ('done', 'aborted')";

impl Move {
    /// Records that one begins.
    pub async fn begin(
        admin: &Admin,
        tables: &GateTables,
        (source, target): (&Row, &Row),
        by: &str,
    ) -> Result<Self, LifecycleError> {
        let sql = format!(
            "INSERT INTO {} (tenant, state, source, target, by_whom) VALUES ($1, 'preparing', $2::text::jsonb, $3::text::jsonb, $4) RETURNING id",
            quote_qualified(&tables.moves())
        );
        let tenant = source.name.as_deref().unwrap_or_default().to_owned();
        let (from, to) = (book::json(source).to_string(), book::json(target).to_string());
        let id = admin.value::<i64>(&sql, &[&tenant, &from, &to, &by]).await?.unwrap_or_default();
        Ok(Self { id, tenant, state: State::Preparing, epoch: None, source: source.clone(), target: target.clone() })
    }

    /// Records how far it has come.
    pub async fn reach(&mut self, admin: &Admin, tables: &GateTables, state: State) -> Result<(), LifecycleError> {
        let sql = format!(
            "UPDATE {} SET state = $2, epoch = COALESCE($3, epoch), \
             switched_at = CASE WHEN $2 = 'switched' THEN pg_catalog.clock_timestamp() ELSE switched_at END, \
             ended_at = CASE WHEN $2 IN ('done', 'aborted') THEN pg_catalog.clock_timestamp() END WHERE id = $1",
            quote_qualified(&tables.moves())
        );
        admin.rows(&sql, &[&self.id, &state.as_str(), &self.epoch]).await?;
        self.state = state;
        Ok(())
    }

    /// Records a value beside: what was copied, or why it failed.
    pub async fn note(
        &self,
        admin: &Admin,
        tables: &GateTables,
        counts: Option<&Json>,
        error: Option<&str>,
    ) -> Result<(), LifecycleError> {
        let sql = format!(
            "UPDATE {} SET counts = COALESCE($2::text::jsonb, counts), error = COALESCE($3, error) WHERE id = $1",
            quote_qualified(&tables.moves())
        );
        admin.rows(&sql, &[&self.id, &counts.map(Json::to_string), &error]).await.map(drop)
    }

    /// The move of a tenant that is neither done nor taken back.
    pub async fn open_of(admin: &Admin, tables: &GateTables, tenant: &str) -> Result<Option<Self>, LifecycleError> {
        Ok(Self::all_open(admin, tables).await?.into_iter().find(|it| it.tenant == tenant))
    }

    /// All such moves.
    pub async fn all_open(admin: &Admin, tables: &GateTables) -> Result<Vec<Self>, LifecycleError> {
        let sql = format!(
            "SELECT id, tenant, state, epoch, source::text, target::text FROM {} WHERE {OPEN} ORDER BY id",
            quote_qualified(&tables.moves())
        );
        let rows = match admin.rows(&sql, &[]).await.map_err(no_table) {
            // Made before there were moves.
            Err(LifecycleError::NoTable(_)) => return Ok(Vec::new()),
            rows => rows?,
        };
        rows.iter().map(Self::of_row).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
    }

    fn of_row(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let place = |text: &str| book::row_of(&serde_json::from_str(text).unwrap_or_default());
        let word: &str = row.try_get(2)?;
        Ok(Self {
            id: row.try_get(0)?,
            tenant: row.try_get(1)?,
            // A state of another version is one that may not be touched: as if it were being finished.
            state: State::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(State::Finishing),
            epoch: row.try_get(3)?,
            source: place(row.try_get(4)?),
            target: place(row.try_get(5)?),
        })
    }

    /// How the new place is marked as this move's work.
    pub fn mark(&self) -> String {
        format!("pgwarden: tenant {}, move {}", self.tenant, self.id)
    }
}

impl Lifecycle {
    /// A tenant that is in mid-move, or whose old rows are there still, is nothing for others.
    pub(in crate::lifecycle) async fn refuse_moving(&self, admin: &Admin, name: &str) -> Result<(), LifecycleError> {
        let Some(tables) = &self.home.gates else { return Ok(()) };
        match Move::open_of(admin, tables, name).await? {
            None => Ok(()),
            Some(it) if it.state.is_switched() => Err(LifecycleError::refused(
                format!("what tenant \"{name}\" had before it moved is in its old place still"),
                format!("delete that first: pgwarden tenant move {name} --finish"),
            )),
            Some(it) => Err(LifecycleError::refused(
                format!("a move of tenant \"{name}\" was not finished: it was {}", it.state.as_str()),
                format!("take it back first: pgwarden tenant move {name} --abort"),
            )),
        }
    }
}
