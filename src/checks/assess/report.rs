//! What was found: counts, a table, JSON.

use std::cmp::Reverse;
use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::Sent;
use crate::config::Tenant;
use crate::sql::one_line;

/// What becomes of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It goes to the server as it is.
    Forwarded,
    /// It is rewritten first.
    Rewritten {
        /// To this, with the tenant's value in its place.
        sql: String,
    },
    /// The client gets an error.
    Refused(Box<Refused>),
}

impl Verdict {
    /// The worse the greater.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Verdict::Forwarded => 0,
            Verdict::Rewritten { .. } => 1,
            Verdict::Refused(_) => 2,
        }
    }
}

/// The error that the client gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// What was wrong, as the audit log says it.
    pub kind: &'static str,
    /// SQLSTATE
    pub code: String,
    /// The message.
    pub message: String,
    /// The detail.
    pub detail: Option<String>,
    /// What to do instead.
    pub hint: Option<String>,
}

/// Statements of one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// One of them.
    pub statement: String,
    /// How often they were called.
    pub calls: u64,
    /// What becomes of them.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The server's plans of it, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans: Option<Plans>,
    /// How it is sent.
    #[serde(skip)]
    pub(super) sent: Sent,
}

/// The server's plans of a statement that is rewritten.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plans {
    /// There are both.
    Compared {
        /// The planner's guess of the cost of the statement as it is.
        cost_without_guard: f64,
        /// The same of what pgwarden sends.
        cost_with_guard: f64,
        /// Tables that are read by an index as it is, and from end to end with the guard.
        lost_indexes: Vec<String>,
    },
    /// The server does not plan it.
    Unplanned {
        /// Why.
        error: String,
    },
}

impl Plans {
    /// The tables that lose an index.
    fn lost(&self) -> &[String] {
        match self {
            Plans::Compared { lost_indexes, .. } => lost_indexes,
            Plans::Unplanned { .. } => &[],
        }
    }
}

/// How many shapes, and how many calls of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Statements that differ in more than their literals.
    pub statements: u64,
    /// Their calls.
    pub calls: u64,
}

impl Count {
    fn add(&mut self, calls: u64) {
        self.statements += 1;
        self.calls += calls;
    }
}

/// Counts by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Go to the server as they are.
    pub forwarded: Count,
    /// Are rewritten.
    pub rewritten: Count,
    /// Are refused.
    pub refused: Count,
}

/// All that was assessed, the refused first, those called most before others.
#[derive(Clone, Debug, Serialize)]
pub struct Assessment {
    /// For whom.
    pub tenant: String,
    /// Counts.
    pub totals: Totals,
    /// Calls of statements beyond the bound on shapes, which were not looked at.
    pub not_looked_at: u64,
    /// The statements.
    pub statements: Vec<Entry>,
}

/// Statements that are refused for one reason.
#[derive(Debug)]
pub(super) struct Reason<'a> {
    pub(super) refused: &'a Refused,
    pub(super) count: Count,
    /// The one that is called most.
    pub(super) example: &'a str,
}

impl Assessment {
    pub(super) fn new(tenant: &Tenant, not_looked_at: u64) -> Self {
        let tenant = tenant.name.to_string();
        Self { tenant, totals: Totals::default(), not_looked_at, statements: Vec::new() }
    }

    pub(super) fn add(&mut self, statement: String, sent: Sent, calls: u64, verdict: Verdict) {
        let count = match &verdict {
            Verdict::Forwarded => &mut self.totals.forwarded,
            Verdict::Rewritten { .. } => &mut self.totals.rewritten,
            Verdict::Refused(_) => &mut self.totals.refused,
        };
        count.add(calls);
        self.statements.push(Entry { statement, calls, verdict, plans: None, sent });
    }

    pub(super) fn sort(&mut self) {
        self.statements.sort_by_key(|entry| Reverse((entry.verdict.rank(), entry.calls)));
    }

    /// Whether every statement would run.
    pub fn passes(&self) -> bool {
        self.totals.refused == Count::default() && self.not_looked_at == 0
    }

    /// The refused by their errors, in the order of their calls.
    pub(super) fn reasons(&self) -> Vec<Reason<'_>> {
        let mut reasons: Vec<Reason<'_>> = Vec::new();
        for entry in &self.statements {
            let Verdict::Refused(refused) = &entry.verdict else { continue };
            let known = reasons.iter_mut().find(|it| it.refused == refused.as_ref());
            match known {
                Some(reason) => reason.count.add(entry.calls),
                None => {
                    let mut count = Count::default();
                    count.add(entry.calls);
                    reasons.push(Reason { refused, count, example: &entry.statement });
                }
            }
        }
        reasons.sort_by_key(|reason| Reverse(reason.count.calls));
        reasons
    }

    /// Statements that lose an index, and the tables that they lose it on.
    pub(super) fn slower(&self) -> Vec<(&Entry, String)> {
        let lost = |entry: &Entry| entry.plans.as_ref().map(|plans| plans.lost().join(", ")).unwrap_or_default();
        self.statements.iter().map(|entry| (entry, lost(entry))).filter(|(_, lost)| !lost.is_empty()).collect()
    }

    /// How many were planned by the server, and how many could not be; none if that was not asked for.
    pub(super) fn planned(&self) -> Option<(usize, usize)> {
        let plans: Vec<&Plans> = self.statements.iter().filter_map(|entry| entry.plans.as_ref()).collect();
        let unplanned = plans.iter().filter(|plans| matches!(plans, Plans::Unplanned { .. })).count();
        (!plans.is_empty()).then_some((plans.len() - unplanned, unplanned))
    }

    /// Counts, each with its name and what it means.
    pub(super) fn rows(&self) -> [(&'static str, Count, &'static str); 3] {
        let Totals { forwarded, rewritten, refused } = self.totals;
        [
            ("forwarded", forwarded, "go to the server as they are"),
            ("rewritten", rewritten, "get the tenant's predicate or value first"),
            ("refused", refused, "are errors: see below"),
        ]
    }
}

/// A statement in one line, cut short.
pub(super) fn short_line(text: &str) -> String {
    const SHOWN: usize = 160;
    let mut line = one_line(text);
    if let Some((at, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(at);
        line.push_str(" ...");
    }
    line
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header([self.tenant.as_str(), "statements", "calls", ""]);
        for (name, count, meaning) in self.rows() {
            table.add_row([name, &count.statements.to_string(), &count.calls.to_string(), meaning]);
        }
        for column in table.column_iter_mut().skip(1).take(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{}", table.trim_fmt())?;
        if self.not_looked_at > 0 {
            writeln!(
                f,
                "\n{} calls of further statements were not looked at: there are too many of them",
                self.not_looked_at
            )?;
        }
        for Reason { refused, count, example } in self.reasons() {
            let Refused { kind, code, message, detail, hint } = refused;
            writeln!(f, "\nrefused ({kind}): {} statements, {} calls", count.statements, count.calls)?;
            writeln!(f, "  error   {message} (SQLSTATE {code})")?;
            for (name, text) in [("detail", detail), ("hint", hint)] {
                text.iter().try_for_each(|text| writeln!(f, "  {name:<7} {text}"))?;
            }
            writeln!(f, "  as in   {}", short_line(example))?;
        }
        let Some((planned, unplanned)) = self.planned() else { return Ok(()) };
        let slower = self.slower();
        writeln!(
            f,
            "\nplans: {} of {planned} rewritten statements lose an index, {unplanned} were not planned",
            slower.len()
        )?;
        for (entry, tables) in slower {
            writeln!(f, "  {tables} ({} calls): {}", entry.calls, short_line(&entry.statement))?;
        }
        Ok(())
    }
}
