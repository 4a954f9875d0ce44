//! Migrations: the same change in the schema or database of every tenant, or in shared tables; each place by itself, so that one that
//! fails leaves the others as they are, and a second run does what is left.

mod applied;
mod apply;
mod command;
mod drift;
mod files;
mod login;
mod new;
mod pending;
mod places;
mod run;
mod status;
mod stop;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

pub use apply::Patience;
pub use command::Tool;
pub use drift::{DriftReport, Drifted};
pub use login::ActAs;
pub use places::Selection;
pub use run::{Outcome, Report, State, Told};
pub use status::StatusReport;
pub use stop::Stop;

pub(super) use new::{FirstFiles, copy_applied};
pub(super) use places::TABLE;

use super::Lifecycle;
use super::admin::Admin;
use super::error::LifecycleError;
use super::operations::{Operation, Verb};
use crate::config::{Layout, Upstream};
use apply::Session;
use files::Migration;
use login::Login;
use pending::Applied;
use places::Place;

/// What is run in each place.
#[derive(Clone, Debug)]
pub enum What {
    /// The files of a directory.
    Files {
        /// Where they are.
        directory: PathBuf,
        /// Numbers may be missing.
        gaps: bool,
        /// Files may be older than what was applied.
        out_of_order: bool,
    },
    /// A tool.
    Tool(Tool),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct MigrateRequest {
    /// What is run.
    pub what: What,
    /// Where.
    pub selection: Selection,
    /// As whom.
    pub act_as: ActAs,
    /// How long for locks.
    pub patience: Patience,
    /// Places at one time.
    pub jobs: usize,
    /// Tenants that come first, and must all succeed.
    pub canary: Vec<String>,
    /// No more is begun after so many failures.
    pub max_failures: usize,
    /// Say what would be done.
    pub dry_run: bool,
}

/// A run under way: what all places have in common.
struct Run<'r> {
    request: &'r MigrateRequest,
    migrations: Vec<Migration>,
    /// What was applied in places that could be read, before any was begun: most may have nothing to do.
    applied: HashMap<String, Vec<Applied>>,
    /// Schemas behind the tenant's own in the search path, by database; or why they are not known.
    common: HashMap<(String, String), Result<Vec<String>, String>>,
    stop: Stop,
    tell: &'r (dyn Fn(Told<'_>) + Send + Sync),
}

impl Run<'_> {
    /// As whom to run in a place, by a role that lets nobody in after this time.
    async fn login(&self, admin: &Admin, place: &Place, lasts: &str) -> Result<Login, LifecycleError> {
        let common = match self.common.get(&database(&place.upstream)) {
            Some(Ok(common)) => common.as_slice(),
            None => &[],
            Some(Err(error)) => {
                return Err(LifecycleError::refused(
                    format!("the schemas that tenants have in common are not known: {error}"),
                    "try again when the catalog can be read",
                ));
            }
        };
        Login::make(admin, place, &self.request.act_as, common, lasts).await
    }
}

/// A database, wherever it is named.
fn database(upstream: &Upstream) -> (String, String) {
    (upstream.address.to_string(), upstream.database.clone())
}

/// A role that is made for migrations lets nobody in after this time, for a tool after that.
const SESSION_BEGINS: &str = "10 minutes";
const TOOL_RUNS: &str = "1 day";

impl Lifecycle {
    /// Runs migrations in every place that is meant.
    ///
    /// # Errors
    /// The files cannot be run in any place, or there is no such place. What fails in one of them stands in the report.
    pub async fn migrate(
        &self,
        request: &MigrateRequest,
        stop: Stop,
        tell: &(dyn Fn(Told<'_>) + Send + Sync),
    ) -> Result<Report, LifecycleError> {
        let migrations = match &request.what {
            What::Files { directory, gaps, .. } => files::read(directory, *gaps)?,
            What::Tool(tool) => {
                tool.check()?;
                Vec::new()
            }
        };
        let places = self.places(&request.selection).await?;
        let common = self.common_schemas(&places).await;
        if !request.dry_run {
            self.sweep(&places).await;
        }
        let mut applied = HashMap::new();
        if let What::Files { .. } = request.what {
            let read = applied::read_all(&places, request.jobs.clamp(1, 64)).await;
            let known = places.iter().zip(read).filter_map(|(place, read)| Some((place.label.clone(), read.ok()?)));
            applied.extend(known);
        }
        let run = Run { request, migrations, applied, common, stop, tell };
        self.run_all(&run, &places).await
    }

    /// The schemas that tenants have in common in each database: by the policy's rules.
    async fn common_schemas(&self, places: &[Place]) -> HashMap<(String, String), Result<Vec<String>, String>> {
        let mut common = HashMap::new();
        for place in places.iter().filter(|it| it.schema().is_some()) {
            let key = database(&place.upstream);
            let Some(tenant) = place.tenants.first().filter(|_| !common.contains_key(&key)) else { continue };
            let read = async {
                let tenant = self.find(tenant)?;
                Ok::<_, LifecycleError>(self.policy_of(&tenant).await?.common_schemas)
            };
            common.insert(key, read.await.map_err(|error| error.to_string()));
        }
        common
    }

    /// Drops what killed runs left.
    async fn sweep(&self, places: &[Place]) {
        let mut seen: Vec<String> = Vec::new();
        for place in places {
            let address = place.upstream.address.to_string();
            if seen.contains(&address) {
                continue;
            }
            seen.push(address);
            let swept = match Admin::beside(&place.upstream).await {
                Ok(admin) => login::sweep(&admin).await,
                Err(error) => Err(error),
            };
            // The place itself will tell of what is wrong with its server.
            if let Err(error) = swept {
                tracing::debug!(%error, "roles of killed runs are not looked for");
            }
        }
    }

    /// Runs what is to be run in one place: locked for its tenants, and on record if there is anything to do.
    async fn migrate_place(&self, run: &Run<'_>, place: &Place, outcome: &mut Outcome) -> Result<(), LifecycleError> {
        if let (What::Files { out_of_order, .. }, Some(applied)) = (&run.request.what, run.applied.get(&place.label)) {
            outcome.version = applied.iter().map(|it| &it.version).max().map(ToString::to_string);
            let left = pending::pending(&run.migrations, applied, *out_of_order)?;
            if left.is_empty() {
                outcome.state = State::UpToDate;
                return Ok(());
            }
            if run.request.dry_run {
                outcome.applied = left.iter().map(|it| it.migration.file.clone()).collect();
            }
        }
        let admin = Admin::connect(&place.upstream).await?;
        if run.request.dry_run {
            // That it is there, and as whom it would run.
            login::owner(&admin, place, run.request.act_as.role.as_deref()).await?;
            outcome.state = State::Pending;
            return Ok(());
        }
        let arguments = match &run.request.what {
            What::Files { directory, .. } => json!({ "directory": directory }),
            // Its arguments may be secrets.
            What::Tool(tool) => json!({ "command": tool.command.first() }),
        };
        let mut operations = Vec::new();
        let mut done = Ok(());
        for owner in place.owners() {
            match Operation::begin(&self.home, &owner, Verb::Migrate, &self.by, &arguments).await {
                Ok(operation) => operations.push(operation),
                Err(error) => {
                    done = Err(error);
                    break;
                }
            }
        }
        if done.is_ok() {
            done = match &run.request.what {
                What::Files { out_of_order, .. } => self.apply(run, &admin, place, *out_of_order, outcome).await,
                What::Tool(tool) => self.run_tool(run, &admin, place, tool).await,
            };
        }
        // Each of its tenants has the record.
        let record = json!({ "applied": outcome.applied, "version": outcome.version });
        let error = done.as_ref().err().map(ToString::to_string);
        for operation in operations {
            let recorded = operation.record_end(Some(&record), error.as_deref()).await;
            done = done.and(recorded);
        }
        done
    }

    /// Applies what is left, as of now.
    async fn apply(
        &self,
        run: &Run<'_>,
        admin: &Admin,
        place: &Place,
        out_of_order: bool,
        outcome: &mut Outcome,
    ) -> Result<(), LifecycleError> {
        let login = run.login(admin, place, SESSION_BEGINS).await?;
        let done = async {
            let tell = |what: &str| (run.tell)(Told::Line(&format!("{}: {what}", place.label)));
            let session =
                Session::open(&login, place.table(), run.request.patience, run.stop.clone(), &self.by, &tell).await?;
            let (applied, version) = (&mut outcome.applied, &mut outcome.version);
            self.apply_in(&session, admin, place, &run.migrations, out_of_order, (applied, version)).await
        };
        let done = done.await;
        let dropped = login.end(admin).await;
        done?;
        dropped
    }

    /// Applies what is left, and tells of each file that was; also of those before one that fails.
    async fn apply_in(
        &self,
        session: &Session<'_>,
        admin: &Admin,
        place: &Place,
        migrations: &[Migration],
        out_of_order: bool,
        (done, version): (&mut Vec<String>, &mut Option<String>),
    ) -> Result<(), LifecycleError> {
        let applied = match applied::read(admin, &place.table()).await? {
            Some(applied) => applied,
            None => {
                session.make_table().await?;
                Vec::new()
            }
        };
        let mut newest = applied.iter().map(|it| &it.version).max();
        for pending in pending::pending(migrations, &applied, out_of_order)? {
            session.migrate(pending).await?;
            done.push(pending.migration.file.clone());
            newest = newest.max(Some(&pending.migration.version));
            *version = newest.map(ToString::to_string);
        }
        Ok(())
    }
}

/// Milliseconds since then.
fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether it is a place of tenants' own.
fn is_own(layout: &Layout) -> bool {
    !matches!(layout, Layout::Shared)
}
