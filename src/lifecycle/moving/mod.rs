//! A tenant gets another place, and nobody notices: its statements wait at the proxies while its rows are copied.
//!
//! Until the tenant's line is changed it lives where it did: whatever fails, the gate is opened and the new place is taken back.
//! The line is changed, the gate opened and the move's state recorded in one transaction. What the tenant had stays in the old
//! place until the move is finished.

mod abandon;
mod check;
mod copy;
mod destination;
mod gate;
mod own;
mod plan;
mod record;
mod remains;
mod shared;
mod switch;

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

pub use destination::Destination;

use super::Lifecycle;
use super::admin::Admin;
use super::create::describe;
use super::error::LifecycleError;
use super::operations::{Operation, Verb};
use crate::config::GateTables;
use copy::Arrival;
use gate::Gate;
use plan::{Kind, Plan};
use record::{Move, State};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct MoveRequest {
    /// The tenant's name.
    pub name: String,
    /// What is to be done.
    pub step: MoveStep,
    /// Its statements may wait so long.
    pub max_pause: Duration,
    /// Compare hashes of the rows, besides their numbers.
    pub verify: bool,
    /// No proxy serves it.
    pub no_proxies: bool,
    /// Definitions that the tenant may have written itself may be run as the admin.
    pub trust: bool,
    /// The tenant can do without what cannot be made in the new place.
    pub leave_out: bool,
    /// Say what would be done.
    pub dry_run: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum MoveStep {
    /// It moves.
    To(Destination),
    /// It moves to where it came from, with the rows that it has now.
    Back,
    /// What it had in the old place is deleted.
    Finish {
        /// Rows of shared tables that are deleted in one transaction.
        batch: u32,
        /// At most so many rows a second.
        rate: Option<u32>,
    },
    /// A move that was killed is taken back.
    Abort,
}

/// A statement that was sent has ended after so long, by its lock's timeout.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// What came of copying.
struct Copied {
    tables: usize,
    rows: i64,
}

impl Lifecycle {
    /// Moves a tenant, or finishes or takes back what was begun.
    ///
    /// # Errors
    /// It cannot be as things are, or the servers do not let it: then the tenant is served where it was.
    pub async fn move_tenant(&self, request: &MoveRequest) -> Result<Json, LifecycleError> {
        let name = request.name.as_str();
        self.find(name)?;
        self.refuse_unmoved(name)?;
        let Some(tables) = &self.home.gates else { return Err(LifecycleError::NoTenant(name.to_owned())) };
        if request.dry_run {
            let admin = Admin::connect(&self.home.upstream).await?;
            return self.would_do(request, (&admin, tables)).await;
        }
        let arguments = json!({ "step": format!("{:?}", request.step), "verify": request.verify, "no_proxies": request.no_proxies,
            "max_pause_ms": u64::try_from(request.max_pause.as_millis()).unwrap_or(u64::MAX) });
        let operation = Operation::begin(&self.home, name, Verb::Move, &self.by, &arguments).await?;
        let outcome = match &request.step {
            MoveStep::To(to) => self.begin(request, to, tables, &operation).await,
            MoveStep::Back => self.go_back(request, tables, &operation).await,
            MoveStep::Finish { batch, rate } => self.finish(name, (*batch, *rate), tables, &operation).await,
            MoveStep::Abort => self.abort(name, tables, &operation).await,
        };
        operation.end(outcome).await
    }

    async fn would_do(
        &self,
        request: &MoveRequest,
        (admin, tables): (&Admin, &GateTables),
    ) -> Result<Json, LifecycleError> {
        let name = request.name.as_str();
        let mut told = match &request.step {
            MoveStep::To(to) => {
                self.refuse_moving(admin, name).await?;
                self.plan(request, to, (admin, tables)).await?.json()
            }
            MoveStep::Back | MoveStep::Finish { .. } | MoveStep::Abort => {
                self.left_of_moves(admin, tables, name).await?
            }
        };
        if let Some(object) = told.as_object_mut() {
            object.insert("tenant".to_owned(), name.into());
            object.insert("dry_run".to_owned(), true.into());
        }
        Ok(told)
    }

    /// What a killed run left is taken back first.
    async fn begin(
        &self,
        request: &MoveRequest,
        to: &Destination,
        tables: &GateTables,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let admin = operation.admin();
        if let Some(left) = Move::open_of(admin, tables, &request.name).await?
            && !left.state.is_switched()
        {
            self.take_back(left, (admin, tables), "its process ended", operation).await?;
        }
        self.refuse_moving(admin, &request.name).await?;
        let plan = self.plan(request, to, (admin, tables)).await?;
        plan.notes().iter().for_each(|note| self.tell(note));
        self.carry_out(request, plan, tables, operation).await
    }

    async fn carry_out(
        &self,
        request: &MoveRequest,
        plan: Plan,
        tables: &GateTables,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let started = Instant::now();
        let admin = operation.admin();
        let mut record = Move::begin(admin, tables, (&plan.ends.from_row, &plan.ends.to_row), &self.by).await?;
        match self.relocate(request, &plan, &mut record, (admin, tables), operation).await {
            Ok(mut done) => {
                self.analyze(&plan).await;
                if let Some(object) = done.as_object_mut() {
                    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    object.insert("milliseconds".to_owned(), took.into());
                }
                Ok(done)
            }
            Err(error) => {
                // The locks go first: what is taken back may need the same tables.
                drop(plan);
                self.after_failure(record, (admin, tables), error, operation).await
            }
        }
    }

    /// From the first step to the last.
    async fn relocate(
        &self,
        request: &MoveRequest,
        plan: &Plan,
        record: &mut Move,
        (admin, tables): (&Admin, &GateTables),
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let step = |step: &str| {
            self.tell(step);
            let step = step.to_owned();
            async move { operation.step(&step).await }
        };
        if let Kind::Own(own) = &plan.kind {
            step(&format!("making {}", describe(&plan.ends.to))).await?;
            own.make(&plan.ends, &record.mark()).await?;
        }
        let from = Admin::connect(&plan.ends.from.upstream).await?;
        let to = Admin::connect(&plan.ends.to.upstream).await?;
        let mut arrivals = plan.arrivals()?;
        let sessions_go_on = compare(&mut arrivals, &from, &to).await?;
        let gate = Gate::shut(admin, tables, &request.name, request.max_pause, sessions_go_on).await?;
        record.epoch = Some(gate.epoch);
        record.reach(admin, tables, State::Closing).await?;
        let within = async {
            let mut proxies = 0;
            if !request.no_proxies {
                step("waiting for what is under way").await?;
                proxies = gate.drained().await?;
            }
            let drained = gate.shut_at.elapsed().as_millis();
            record.reach(admin, tables, State::Copying).await?;
            step(&format!("copying, {drained} ms after the gate was shut")).await?;
            let copied = self.copy_all(request, plan, &arrivals, (&from, &to)).await?;
            let counts = json!({ "tables": copied.tables, "rows": copied.rows });
            record.note(admin, tables, Some(&counts), None).await?;
            record.reach(admin, tables, State::Switching).await?;
            to.run("COMMIT").await?;
            step("switching").await?;
            self.switch(&plan.ends.to_row, &gate, record, (admin, tables)).await?;
            Ok::<_, LifecycleError>((copied, proxies, drained))
        };
        let (copied, proxies, drained) = match tokio::time::timeout_at(gate.deadline, within).await {
            Ok(done) => done?,
            Err(_) => {
                // What was sent before is done, or not, when this is answered.
                let settled = tokio::time::timeout(SETTLES_WITHIN, async {
                    tokio::join!(to.run("ROLLBACK"), admin.run("ROLLBACK"))
                });
                drop(settled.await);
                return Err(gate::too_long());
            }
        };
        let pause = u64::try_from(gate.shut_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(json!({
            "tenant": request.name, "from": describe(&plan.ends.from), "to": describe(&plan.ends.to), "tables": copied.tables, "rows": copied.rows,
            "verified": request.verify, "pause_ms": pause,
            "drained_ms": u64::try_from(drained).unwrap_or(u64::MAX), "proxies": proxies, "sessions_go_on": sessions_go_on, "notes": plan.notes(),
            "left_to_do": format!(
                "what it had is in the old place still: pgwarden tenant move {0} --finish deletes that; until then --back moves it back",
                request.name
            ),
        }))
    }

    /// One transaction on each side; that of the new place is not committed yet.
    async fn copy_all(
        &self,
        request: &MoveRequest,
        plan: &Plan,
        arrivals: &[Arrival],
        (from, to): (&Admin, &Admin),
    ) -> Result<Copied, LifecycleError> {
        from.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        if plan.ends.from.layout != crate::config::Layout::Shared {
            // Nobody past the proxies writes them until the tenant's line is changed.
            let names: Vec<String> = plan.sources.tables.iter().map(|it| it.from.clone()).collect();
            super::plain::lock(from, &names, "SHARE").await?;
        }
        to.run("BEGIN").await?;
        if let Kind::Shared(shared) = &plan.kind {
            shared.begin(to).await?;
        }
        for arrival in arrivals {
            arrival.copy(from, to).await?;
        }
        match &plan.kind {
            Kind::Own(own) => own.complete(to, from, &plan.sources).await?,
            Kind::Shared(shared) => shared.complete(to, &plan.ends).await?,
        }
        let mut rows = 0;
        for arrival in arrivals {
            rows += arrival.verify((from, &plan.holder), to, request.verify).await?;
        }
        Ok(Copied { tables: arrivals.len(), rows })
    }

    /// The planner knows nothing of what has come. Nobody waits for it.
    async fn analyze(&self, plan: &Plan) {
        let analyzed = async {
            let admin = Admin::connect(&plan.ends.to.upstream).await?;
            for arrival in plan.arrivals()? {
                admin.run(&format!("ANALYZE {}", arrival.into)).await?;
            }
            Ok::<_, LifecycleError>(())
        };
        if let Err(error) = analyzed.await {
            self.tell(&format!("the new tables were not analyzed: {error}"));
        }
    }
}

/// Whether all columns have the same types on both sides: what drivers remember of them holds there too.
async fn compare(arrivals: &mut [Arrival], from: &Admin, to: &Admin) -> Result<bool, LifecycleError> {
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let same_version = from.value::<i32>(version, &[]).await? == to.value::<i32>(version, &[]).await?;
    let mut same = true;
    for arrival in arrivals {
        let into = arrival.into.clone();
        for way in &mut arrival.ways {
            same &= way.compare((from, to), &into, same_version).await?;
        }
    }
    Ok(same)
}
