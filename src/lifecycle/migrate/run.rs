//! All places in their order: canaries first, some at a time, none after too many failures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use super::places::Place;
use super::{Run, since};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::error::LifecycleError;

/// What a run tells as it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Told<'t> {
    /// Something that happens in a place.
    Line(&'t str),
    /// A place is done with: so many of all of them are.
    Place {
        /// What became of it.
        line: &'t str,
        /// So many are done.
        done: usize,
        /// Of so many.
        all: usize,
    },
    /// A line of a tool's output, and whether it is an error's.
    Output(&'t str, bool),
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was migrated.
    Done,
    /// There was nothing to do.
    UpToDate,
    /// It would be migrated.
    Pending,
    /// It failed, and is as it was before the file that failed.
    Failed,
    /// It was not begun.
    Left,
}

impl State {
    /// As reports have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::UpToDate => "up to date",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }
}

/// A place, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The tenant, or the upstream of shared tables.
    pub place: String,
    /// All tenants that live there, of places of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// `shared`, `schema` or `database`.
    pub layout: &'static str,
    /// What became of it.
    pub state: State,
    /// The files that were, or would be, applied.
    pub applied: Vec<String>,
    /// The newest version there.
    pub version: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

impl Outcome {
    fn of(place: &Place) -> Self {
        Self {
            place: place.label.clone(),
            tenants: if super::is_own(&place.layout) { place.tenants.clone() } else { Vec::new() },
            layout: place.word(),
            state: State::Left,
            applied: Vec::new(),
            version: None,
            error: None,
            hint: None,
            milliseconds: 0,
        }
    }
}

/// What became of all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each place, by name.
    pub places: Vec<Outcome>,
    /// Why some were not begun.
    pub stopped: Option<String>,
}

impl Report {
    /// So many places are in this state.
    pub fn count(&self, state: State) -> usize {
        self.places.iter().filter(|it| it.state == state).count()
    }

    /// Nothing failed, and nothing is left.
    pub fn is_well(&self) -> bool {
        self.count(State::Failed) + self.count(State::Left) == 0
    }
}

/// How far all of it has come.
#[derive(Default)]
struct Counts {
    done: AtomicUsize,
    failed: AtomicUsize,
}

impl Lifecycle {
    pub(super) async fn run_all(&self, run: &Run<'_>, places: &[Place]) -> Result<Report, LifecycleError> {
        let canary = |place: &&Place| place.tenants.iter().any(|name| run.request.canary.contains(name));
        for name in &run.request.canary {
            if !places.iter().any(|place| place.tenants.contains(name)) {
                return Err(LifecycleError::refused(
                    format!("canary \"{name}\" is not among the places"),
                    "--canary names tenants that --tenants and --layout leave in",
                ));
            }
        }
        let (first, rest): (Vec<&Place>, Vec<&Place>) = places.iter().partition(canary);
        let counts = Counts::default();
        // All canaries are tried: what is wrong with each of them is worth knowing.
        let mut outcomes = self.run_some(run, &first, &counts, places.len(), usize::MAX).await;
        let failed = counts.failed.load(Ordering::Relaxed);
        let mut stopped = None;
        if failed > 0 {
            stopped = Some("a canary failed".to_owned());
            outcomes.extend(rest.into_iter().map(Outcome::of));
        } else {
            outcomes.extend(self.run_some(run, &rest, &counts, places.len(), run.request.max_failures).await);
        }
        if run.stop.is_raised() {
            stopped = Some("interrupted".to_owned());
        } else if stopped.is_none() && outcomes.iter().any(|it| it.state == State::Left) {
            stopped = Some(format!("{} failed", counts.failed.load(Ordering::Relaxed)));
        }
        outcomes.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(Report { places: outcomes, stopped })
    }

    async fn run_some(
        &self,
        run: &Run<'_>,
        places: &[&Place],
        counts: &Counts,
        all: usize,
        max_failures: usize,
    ) -> Vec<Outcome> {
        let each = places.iter().map(|place| async move {
            let mut outcome = Outcome::of(place);
            if run.stop.is_raised() || counts.failed.load(Ordering::Relaxed) >= max_failures {
                return outcome;
            }
            let started = Instant::now();
            outcome.state = State::Done;
            if let Err(error) = self.migrate_place(run, place, &mut outcome).await {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                outcome.state = State::Failed;
                outcome.hint = error.hint();
                outcome.error = Some(error.to_string());
            }
            outcome.milliseconds = since(started);
            let done = counts.done.fetch_add(1, Ordering::Relaxed) + 1;
            (run.tell)(Told::Place { line: &line(&outcome), done, all });
            outcome
        });
        // None is begun before one of those before it has ended.
        stream::iter(each).buffer_unordered(run.request.jobs.clamp(1, 64)).collect().await
    }
}

fn line(outcome: &Outcome) -> String {
    let Outcome { place, state, applied, error, .. } = outcome;
    match (state, error) {
        (_, Some(error)) => format!("{place}: failed: {error}"),
        (State::Done | State::Pending, None) if !applied.is_empty() => {
            format!("{place}: {}: {}", state.as_str(), applied.join(", "))
        }
        _ => format!("{place}: {}", state.as_str()),
    }
}
