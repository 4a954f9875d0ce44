//! What was found: as a table, as JSON, as JUnit XML.

use std::collections::BTreeMap;
use std::fmt;

use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use super::judge::Verdict;
use crate::sql::one_line;

/// One attack and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The table, `server`, `functions`, or the file of a suite.
    pub target: String,
    /// The kind of attack, or the title of a test.
    pub family: String,
    /// What was sent.
    pub statement: String,
    /// What came of it: held, refused, oracle, leak, missed or failed.
    pub outcome: &'static str,
    /// The evidence, the error, or nothing.
    pub evidence: String,
}

/// A table that was attacked.
#[derive(Clone, Debug, Serialize)]
pub struct TableNote {
    /// Schema and name.
    pub table: String,
    /// Rows of the attacker.
    pub own_rows: u64,
    /// Rows of the other tenant: with none, attacks that read prove nothing.
    pub other_rows: u64,
    /// One of them was planted.
    pub planted: bool,
    /// Why none could be.
    pub without: Option<String>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The attacker.
    pub tenant_a: String,
    /// The other tenant.
    pub tenant_b: String,
    /// What was attacked.
    pub tables: Vec<TableNote>,
    /// All attacks, in order.
    pub cases: Vec<Case>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// Counts by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub attacks: usize,
    /// Ran and gave nothing away.
    pub held: usize,
    /// Were refused.
    pub refused: usize,
    /// Told that a key exists.
    pub oracles: usize,
    /// Got something.
    pub leaks: usize,
    /// Tests of one's own that came to something else.
    pub missed: usize,
    /// Could not be carried out.
    pub failed: usize,
}

impl Report {
    /// Nothing yet.
    pub(super) fn new(tenant_a: &str, tenant_b: &str) -> Self {
        let [tenant_a, tenant_b] = [tenant_a, tenant_b].map(str::to_owned);
        Self { tenant_a, tenant_b, tables: Vec::new(), cases: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn add(&mut self, target: &str, family: &str, statement: &str, verdict: Verdict) {
        let (outcome, evidence) = match verdict {
            Verdict::Held => ("held", String::new()),
            Verdict::Refused(why) => ("refused", why),
            Verdict::Oracle(what) => ("oracle", what),
            Verdict::Leak(what) => ("leak", what),
            Verdict::Missed(what) => ("missed", what),
            Verdict::Failed(why) => ("failed", why),
        };
        let [target, family, statement] = [target, family, statement].map(str::to_owned);
        self.cases.push(Case { target, family, statement, outcome, evidence });
    }

    /// Counts of everything.
    pub fn tally(&self) -> Tally {
        tally(self.cases.iter())
    }

    /// Isolation held: no leak, no test of one's own that came to something else, and nothing that could not be tried.
    pub fn passed(&self) -> bool {
        let tally = self.tally();
        tally.leaks == 0 && tally.missed == 0 && tally.failed == 0
    }

    pub(super) fn by_target(&self) -> BTreeMap<&str, Vec<&Case>> {
        let mut targets: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for case in &self.cases {
            targets.entry(&case.target).or_default().push(case);
        }
        targets
    }

    /// JUnit XML: a suite for each table, a case for each attack.
    ///
    /// # Errors
    /// There is no XML for it.
    pub fn junit(&self) -> Result<String, SerializeError> {
        let mut report = quick_junit::Report::new("pgwarden verify-isolation");
        for (target, cases) in self.by_target() {
            let mut suite = TestSuite::new(legible(target));
            suite.add_test_cases(cases.into_iter().map(junit_case));
            report.add_test_suite(suite);
        }
        report.to_string()
    }
}

fn junit_case(case: &Case) -> TestCase {
    let evidence = legible(&case.evidence);
    let bad = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(case.outcome).set_message(evidence.as_str()).set_description(evidence.as_str());
        status
    };
    let status = match case.outcome {
        "leak" | "missed" => bad(NonSuccessKind::Failure),
        "failed" => bad(NonSuccessKind::Error),
        _ => TestCaseStatus::success(),
    };
    let held = matches!(status, TestCaseStatus::Success { .. });
    let mut told = TestCase::new(legible(&format!("{}: {}", case.family, one_line(&case.statement))), status);
    told.set_classname(legible(&case.target));
    if held && !evidence.is_empty() {
        told.set_system_out(evidence);
    }
    told
}

/// XML 1.0 has no way to write most control characters: what stands for them shows that something was there.
fn legible(text: &str) -> String {
    let unwritable = |it: char| it != '\n' && it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}');
    text.replace(unwritable, "\u{fffd}")
}

pub(super) fn tally<'a>(cases: impl Iterator<Item = &'a Case>) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        tally.attacks += 1;
        match case.outcome {
            "held" => tally.held += 1,
            "refused" => tally.refused += 1,
            "oracle" => tally.oracles += 1,
            "leak" => tally.leaks += 1,
            "missed" => tally.missed += 1,
            _ => tally.failed += 1,
        }
    }
    tally
}

pub(super) const LEAKS: &str = "LEAKS: isolation does not hold";
pub(super) const MISSED: &str = "MISSED: tests of your own that came to something else";
pub(super) const FAILED: &str = "FAILED: could not be tried";
pub(super) const ORACLES: &str =
    "ORACLES: a constraint without the tenant column tells that a key exists (see pgwarden doctor)";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = self.by_target();
        let width = targets.keys().map(|it| it.chars().count()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "{:<width$} {:>8} {:>6} {:>8} {:>8} {:>6} {:>7} {:>7}",
            "target", "attacks", "held", "refused", "oracles", "leaks", "missed", "failed"
        )?;
        let mut line = |name: &str, it: Tally| {
            writeln!(
                f,
                "{name:<width$} {:>8} {:>6} {:>8} {:>8} {:>6} {:>7} {:>7}",
                it.attacks, it.held, it.refused, it.oracles, it.leaks, it.missed, it.failed
            )
        };
        for (target, cases) in &targets {
            line(target, tally(cases.iter().copied()))?;
        }
        line("all", self.tally())?;
        for (outcome, title) in [("leak", LEAKS), ("missed", MISSED), ("failed", FAILED), ("oracle", ORACLES)] {
            let cases: Vec<&Case> = self.cases.iter().filter(|it| it.outcome == outcome).collect();
            if !cases.is_empty() {
                writeln!(f, "\n{title}")?;
            }
            for case in cases {
                writeln!(
                    f,
                    "  {} ({}): {}\n      {}",
                    case.target,
                    case.family,
                    case.evidence,
                    one_line(&case.statement)
                )?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        for (table, why) in self.tables.iter().filter_map(|it| Some((&it.table, it.without.as_ref()?))) {
            writeln!(
                f,
                "\nnote: no canary in {table}: {why}. Whole values of {}'s rows were looked for instead",
                self.tenant_b
            )?;
        }
        for note in self.tables.iter().filter(|it| it.other_rows == 0) {
            writeln!(f, "\nnote: {} has no row in {}: attacks that read it prove nothing", self.tenant_b, note.table)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("acme", "globex");
        report.add("public.orders", "list", "SELECT *\n FROM orders WHERE note < '\u{1}&'", Verdict::Held);
        report.add("public.orders", "by id", "SELECT 1", Verdict::Leak("1 rows of \"globex\"".to_owned()));
        report.add("server", "server", "DO $$$$", Verdict::Refused("42501 no".to_owned()));
        report
    }

    #[test]
    fn counts_and_fails_on_leaks() {
        let tally = report().tally();
        assert_eq!((tally.attacks, tally.held, tally.refused, tally.leaks), (3, 1, 1, 1));
        assert!(!report().passed());
        assert!(report().to_string().contains("LEAKS"));
    }

    #[test]
    fn junit_is_escaped() {
        let xml = report().junit().unwrap();
        assert!(xml.contains("tests=\"3\" skipped=\"0\" failures=\"1\" errors=\"0\""), "{xml}");
        assert!(xml.contains("note &lt; &apos;\u{fffd}&amp;&apos;"), "{xml}");
        assert!(xml.contains("<failure message=\"1 rows of &quot;globex&quot;\" type=\"leak\">"));
        assert!(!xml.contains('\u{1}'));
    }
}
