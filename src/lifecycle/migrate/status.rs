//! How far each place has come.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::files::{self, Migration};
use super::pending::Applied;
use super::places::{Place, Selection};
use super::{applied, pending};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::quote_qualified;

/// A place, and how far it has come.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The tenant, or the upstream of shared tables.
    pub place: String,
    /// `shared`, `schema` or `database`.
    pub layout: &'static str,
    /// The newest version there.
    pub version: Option<String>,
    /// How many files are left to do, if a directory is given.
    pub pending: Option<usize>,
    /// Why the files do not fit it, or it cannot be read.
    pub problem: Option<String>,
    /// How the last run there ended: `done`, `failed`, `running`, `abandoned`.
    pub last_run: Option<String>,
    /// When.
    pub last_run_at: Option<String>,
    /// Why it failed.
    pub last_error: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// Each place, by name.
    pub places: Vec<Standing>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

struct LastRun {
    state: String,
    at: Option<String>,
    error: Option<String>,
}

impl Lifecycle {
    /// How far places have come; with a directory, what is left to do in them.
    ///
    /// # Errors
    /// The files are no migrations, or there is no such place. A place that cannot be read is a problem of its own.
    pub async fn migration_status(
        &self,
        selection: &Selection,
        directory: Option<&Path>,
        gaps: bool,
        jobs: usize,
    ) -> Result<StatusReport, LifecycleError> {
        let migrations = directory.map(|directory| files::read(directory, gaps)).transpose()?;
        let places = self.places(selection).await?;
        let mut notes = Vec::new();
        let last = self.last_runs().await.unwrap_or_else(|error| {
            notes.push(error.to_string());
            HashMap::new()
        });
        let read = applied::read_all(&places, jobs.clamp(1, 64)).await;
        let places = places.iter().zip(read).map(|(place, read)| {
            let mut standing = standing(place, &last);
            let problem = read.and_then(|applied| standing.fill(&applied, migrations.as_deref())).err();
            Standing { problem: problem.map(|error| error.to_string()), ..standing }
        });
        let places = places.collect();
        Ok(StatusReport { places, notes })
    }

    async fn last_runs(&self) -> Result<HashMap<String, LastRun>, LifecycleError> {
        let admin = Admin::to_ask(&self.home.upstream).await?;
        let sql = format!(
            "SELECT DISTINCT ON (tenant) tenant, state, COALESCE(ended_at, started_at)::text, error FROM {} \
             WHERE verb = 'migrate' ORDER BY tenant, id DESC",
            quote_qualified(&self.home.operations)
        );
        let rows = admin.rows(&sql, &[]).await?;
        let run = |row: &tokio_postgres::Row| {
            Ok((row.try_get(0)?, LastRun { state: row.try_get(1)?, at: row.try_get(2)?, error: row.try_get(3)? }))
        };
        rows.iter().map(run).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
    }
}

fn standing(place: &Place, last: &HashMap<String, LastRun>) -> Standing {
    let last = place.owners().iter().find_map(|owner| last.get(owner));
    Standing {
        place: place.label.clone(),
        layout: place.word(),
        version: None,
        pending: None,
        problem: None,
        last_run: last.map(|it| it.state.clone()),
        last_run_at: last.and_then(|it| it.at.clone()),
        last_error: last.and_then(|it| it.error.clone()),
    }
}

impl Standing {
    fn fill(&mut self, applied: &[Applied], migrations: Option<&[Migration]>) -> Result<(), LifecycleError> {
        self.version = applied.iter().map(|it| &it.version).max().map(ToString::to_string);
        if let Some(migrations) = migrations {
            // Whether an older one may be applied is asked when it is.
            self.pending = Some(pending::pending(migrations, applied, true)?.len());
        }
        Ok(())
    }
}
