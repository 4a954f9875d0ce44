//! `pgwarden assess`: what would become of the statements that an app sends, before it sends them through pgwarden.
//!
//! Statements are read ([`source`]), gathered by their shape ([`Observed`]), and planned for one tenant as a running proxy
//! would plan them; the report counts them by verdict. Nothing is executed.

mod html;
mod log;
mod report;
mod source;

use std::collections::HashMap;

use tokio_postgres::Client;

use crate::base::Refusal;
use crate::checks::plans;
use crate::config::Tenant;
use crate::guard::{Guard, Guarded, Protocol};
use crate::sql::fingerprint;

pub use log::LogFormat;
pub use report::Assessment;
pub use report::Plans;
use report::{Refused, Verdict};
pub use source::{from_log, from_pg_stat_statements, from_sql};

/// Shapes beyond these are only counted.
const MAX_SHAPES: usize = 100_000;
/// Texts of one shape that are planned: literals may decide.
const TEXTS: usize = 3;

/// How an app sends a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// As text, perhaps of several statements (Query).
    Query,
    /// With parameters (Parse, Bind, Execute).
    Prepared,
}

/// Statements of one shape.
#[derive(Clone, Debug)]
struct Shape {
    texts: Vec<String>,
    sent: Sent,
    calls: u64,
}

/// What was observed, by shape: statements that differ in their literals only are one.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    shapes: Vec<Shape>,
    index: HashMap<(String, Sent), usize>,
    /// Calls of statements that came when there were too many shapes already.
    dropped: u64,
}

impl Observed {
    /// A statement that was called so many times.
    pub fn add(&mut self, text: &str, sent: Sent, calls: u64) {
        let text = text.trim().trim_end_matches(';').trim_end();
        if text.is_empty() {
            return;
        }
        let key = match fingerprint(text) {
            // The text has no tokens.
            shape if shape == "-" => (text.to_owned(), sent),
            shape => (shape, sent),
        };
        let at = match self.index.get(&key) {
            Some(at) => *at,
            None if self.shapes.len() >= MAX_SHAPES => {
                self.dropped += calls;
                return;
            }
            None => {
                self.shapes.push(Shape { texts: Vec::new(), sent, calls: 0 });
                self.index.insert(key, self.shapes.len() - 1);
                self.shapes.len() - 1
            }
        };
        let Some(shape) = self.shapes.get_mut(at) else { return };
        shape.calls += calls;
        if shape.texts.len() < TEXTS && shape.texts.iter().all(|known| known != text) {
            shape.texts.push(text.to_owned());
        }
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Number of shapes.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }
}

/// Plans all that was observed for `tenant`; `tell` hears how many are done.
pub fn assess(guard: &Guard, tenant: &Tenant, observed: Observed, mut tell: impl FnMut(usize)) -> Assessment {
    let mut assessment = Assessment::new(tenant, observed.dropped);
    for (number, shape) in observed.shapes.into_iter().enumerate() {
        tell(number);
        let verdicts = shape.texts.iter().rev().map(|text| (text, verdict(guard, tenant, text, shape.sent)));
        // The worst of them stands for the shape; the first where they are alike.
        if let Some((text, verdict)) = verdicts.max_by_key(|(_, verdict)| verdict.rank()) {
            assessment.add(text.clone(), shape.sent, shape.calls, verdict);
        }
    }
    assessment.sort();
    assessment
}

/// Has the server plan what is rewritten, as it is and as it was guarded; `tell` hears how many are done. Nothing is executed.
pub async fn add_plans(
    assessment: &mut Assessment,
    client: &Client,
    guard: &Guard,
    tenant: &Tenant,
    mut tell: impl FnMut(usize),
) {
    let policy = guard.policy();
    for (number, entry) in assessment.statements.iter_mut().enumerate() {
        tell(number);
        let Verdict::Rewritten { .. } = &entry.verdict else { continue };
        let Ok(guarded) = guarded(guard, tenant, &entry.statement, entry.sent) else { continue };
        if !plans::has_plan(&guarded) {
            continue;
        }
        entry.plans = Some(match plans::compare(client, &policy, tenant, &entry.statement, &guarded).await {
            Ok(compared) => Plans::Compared {
                cost_without_guard: compared.without.cost,
                cost_with_guard: compared.with.cost,
                lost_indexes: compared.lost().into_iter().map(str::to_owned).collect(),
            },
            Err(error) => Plans::Unplanned { error: error.to_string() },
        });
    }
}

fn verdict(guard: &Guard, tenant: &Tenant, text: &str, sent: Sent) -> Verdict {
    match guarded(guard, tenant, text, sent) {
        Ok(guarded) => passes(&guarded),
        Err(refusal) => Verdict::Refused(Box::new(refused(&refusal))),
    }
}

fn guarded(guard: &Guard, tenant: &Tenant, text: &str, sent: Sent) -> Result<Guarded, Refusal> {
    let protocol = match sent {
        Sent::Query => Protocol::Simple,
        Sent::Prepared => Protocol::Extended { param_types: &[] },
    };
    guard.plan(&tenant.layout.mode(), protocol, text)?.bind(&tenant.keys)
}

fn passes(guarded: &Guarded) -> Verdict {
    if guarded.plans().iter().any(|plan| plan.rewritten) {
        Verdict::Rewritten { sql: guarded.text().into_owned() }
    } else {
        Verdict::Forwarded
    }
}

fn refused(refusal: &Refusal) -> Refused {
    let error = &refusal.error;
    Refused {
        kind: refusal.kind.as_str(),
        code: error.code.to_string(),
        message: error.message.to_string(),
        detail: error.detail.as_ref().map(ToString::to_string),
        hint: error.hint.as_ref().map(ToString::to_string),
    }
}
