//! What a move would do: everything that can be known before anything is done.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::MoveRequest;
use super::check::{self, Estimate};
use super::copy::Arrival;
use super::destination::{Destination, Ends};
use super::gate;
use super::own::Own;
use super::shared::Shared;
use crate::config::{GateTables, Layout};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::create::describe;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::Sources;

/// So many bytes are copied in a second, where nothing else is known.
const BYTES_A_SECOND: i64 = 25_000_000;

/// The kind of place that the tenant goes to.
pub(super) enum Kind {
    Own(Box<Own>),
    Shared(Box<Shared>),
}

/// A move that may be made.
pub(super) struct Plan {
    pub ends: Ends,
    /// Its locks keep the tables as they are until the move is over.
    pub holder: Admin,
    pub sources: Sources,
    pub kind: Kind,
    estimates: Vec<Estimate>,
    /// Types that are not Postgres's own.
    types: Vec<String>,
    notes: Vec<String>,
}

impl Lifecycle {
    /// Reads, and changes nothing.
    pub(super) async fn plan(
        &self,
        request: &MoveRequest,
        to: &Destination,
        (admin, tables): (&Admin, &GateTables),
    ) -> Result<Plan, LifecycleError> {
        gate::refuse_unfit(admin, tables, request.no_proxies).await?;
        let ends = self.ends(request, to).await?;
        self.refuse_remains_of_others(admin, &ends.to_row).await?;
        let holder = Admin::connect(&ends.from.upstream).await?;
        let sources = self.source(&holder, &ends.from).await?;
        let mut notes = check::notes(&holder, &ends, &sources).await?;
        check::refuse_large_objects(&holder, &ends, &sources).await?;
        if ends.from.layout == Layout::Shared {
            let policy = self.policy_of(&ends.from).await?;
            self.refuse_strangers(&holder, &policy, &ends.from).await?;
        }
        let kind = match ends.to.layout {
            Layout::Shared => {
                let shared = Shared::plan(self, &ends).await?;
                notes.extend(shared.refuse_unfit(&ends, (&holder, &sources)).await?);
                Kind::Shared(Box::new(shared))
            }
            Layout::Schema { .. } | Layout::Database => {
                let own = Own::plan(self, (request, to), &ends, (&holder, &sources), &mut notes).await?;
                Kind::Own(Box::new(own))
            }
        };
        let estimates = check::estimate(&holder, &sources).await?;
        let types = own_types(&holder, &sources).await?;
        let plan = Plan { ends, holder, sources, kind, estimates, types, notes };
        plan.refuse_long(request.max_pause)?;
        Ok(plan)
    }
}

impl Plan {
    fn bytes(&self) -> i64 {
        self.estimates.iter().map(|it| it.bytes).sum()
    }

    /// How long the tenant would wait.
    fn pause(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.bytes() / (BYTES_A_SECOND / 1000)).unwrap_or(u64::MAX))
    }

    fn refuse_long(&self, limit: Duration) -> Result<(), LifecycleError> {
        match self.pause() > limit {
            false => Ok(()),
            true => Err(LifecycleError::refused(
                format!(
                    "the tenant would wait for some {} s, longer than --max-pause: {} MB at 25 MB/s",
                    self.pause().as_secs(),
                    self.bytes() / 1_000_000
                ),
                "all rows are copied while its statements wait: choose a longer --max-pause, at a quiet time",
            )),
        }
    }

    /// For those who decide.
    pub fn json(&self) -> Json {
        json!({
            "from": describe(&self.ends.from), "to": describe(&self.ends.to), "mode": "copy", "tables": self.estimates, "bytes": self.bytes(),
            "estimated_pause_ms": u64::try_from(self.pause().as_millis()).unwrap_or(u64::MAX),
            "types_of_its_own": self.types, "notes": self.notes,
        })
    }

    /// What an operator should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The tables of the new place; of those that are there, with the types of their columns.
    pub fn arrivals(&self) -> Result<Vec<Arrival>, LifecycleError> {
        match &self.kind {
            Kind::Own(own) => Ok(own.arrivals(&self.sources)),
            Kind::Shared(shared) => shared.arrivals(&self.ends, &self.sources),
        }
    }
}

/// Types of columns that are made in a database, and have another number in each.
async fn own_types(admin: &Admin, sources: &Sources) -> Result<Vec<String>, LifecycleError> {
    let names: Vec<String> = sources
        .tables
        .iter()
        .map(|it| crate::sql::quote_qualified(&crate::base::QualifiedName::new(it.schema.as_str(), it.table.as_str())))
        .collect();
    let sql = "SELECT DISTINCT format_type(a.atttypid, NULL) FROM unnest($1::text[]) AS n(name) \
               JOIN pg_attribute a ON a.attrelid = n.name::regclass WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384 ORDER BY 1";
    let rows = admin.rows(sql, &[&names]).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}
