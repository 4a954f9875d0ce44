//! The report as a page that needs nothing besides.

use std::fmt::{self, Write as _};

use super::report::{Case, FAILED, LEAKS, MISSED, ORACLES, Report, Tally, tally};
use crate::checks::page::{self, Escaped};
use crate::sql::one_line;

const STYLE: &str = ".held { background: #3a9d6e; } .refused { background: #3f7fc4; } .oracle { background: #d9a441; }\n\
    .leak { background: #cf4d4d; } .missed { background: #b05fbf; } .failed { background: #8a8f98; }\n\
    .case { border-left: 4px solid #cf4d4d; padding: .1rem 1rem; margin: 1rem 0; background: #fbf4f4; }\n";

const HEADS: [&str; 7] = ["attacks", "held", "refused", "oracles", "leaks", "missed", "failed"];

impl Report {
    /// The report as one HTML page.
    pub fn html(&self) -> String {
        let mut page = page::begin("pgwarden verify-isolation", STYLE);
        // Writing to a String cannot fail.
        let _ = self.body(&mut page);
        page
    }

    fn body(&self, page: &mut String) -> fmt::Result {
        let said = if self.passed() { "Isolation held" } else { "Isolation is not proven" };
        let (a, b) = (Escaped(&self.tenant_a), Escaped(&self.tenant_b));
        writeln!(page, "<h1>{said}: tenant {a} on tenant {b}</h1>")?;
        let all = self.tally();
        let parts = [
            ("held", all.held),
            ("refused", all.refused),
            ("oracle", all.oracles),
            ("leak", all.leaks),
            ("missed", all.missed),
            ("failed", all.failed),
        ];
        page::bar(page, &parts.map(|(name, count)| (name, count as u64)))?;
        for (outcome, title) in [("leak", LEAKS), ("missed", MISSED), ("failed", FAILED), ("oracle", ORACLES)] {
            self.found(page, outcome, title)?;
        }
        self.notes(page)?;
        page.push_str("<h2>Targets</h2>\n<table>\n<tr><th>Target</th>");
        HEADS.iter().try_for_each(|head| write!(page, "<th class=\"n\">{head}</th>"))?;
        page.push_str("</tr>\n");
        for (target, cases) in self.by_target() {
            row(page, target, tally(cases.into_iter()))?;
        }
        row(page, "all", all)?;
        page.push_str("</table>\n<h2>Attacks</h2>\n");
        for (target, cases) in self.by_target() {
            listed(page, target, &cases)?;
        }
        page.push_str(page::END);
        Ok(())
    }

    fn found(&self, page: &mut String, outcome: &str, title: &str) -> fmt::Result {
        let cases: Vec<&Case> = self.cases.iter().filter(|it| it.outcome == outcome).collect();
        if cases.is_empty() {
            return Ok(());
        }
        writeln!(page, "<h2>{}</h2>", Escaped(title))?;
        for case in cases {
            let [target, family, evidence, statement] =
                [&case.target, &case.family, &case.evidence, &case.statement].map(|it| Escaped(it));
            writeln!(
                page,
                "<div class=\"case\"><p><b>{target}</b> ({family}): {evidence}</p><pre>{statement}</pre></div>"
            )?;
        }
        Ok(())
    }

    fn notes(&self, page: &mut String) -> fmt::Result {
        page.push_str("<h2>Tables</h2>\n<table>\n<tr><th>Table</th><th class=\"n\">Rows of a</th><th class=\"n\">Rows of b</th><th>Canaries</th></tr>\n");
        for table in &self.tables {
            let canaries = match (&table.without, table.planted) {
                (_, true) => "planted",
                (Some(why), false) => why,
                (None, false) => "none: whole values were looked for",
            };
            writeln!(
                page,
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                Escaped(&table.table),
                table.own_rows,
                table.other_rows,
                Escaped(canaries)
            )?;
        }
        page.push_str("</table>\n");
        self.notes.iter().try_for_each(|note| writeln!(page, "<p>{}</p>", Escaped(note)))
    }
}

fn row(page: &mut String, name: &str, it: Tally) -> fmt::Result {
    write!(page, "<tr><td>{}</td>", Escaped(name))?;
    for count in [it.attacks, it.held, it.refused, it.oracles, it.leaks, it.missed, it.failed] {
        write!(page, "<td class=\"n\">{count}</td>")?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

fn listed(page: &mut String, target: &str, cases: &[&Case]) -> fmt::Result {
    writeln!(page, "<details><summary>{}: {} attacks</summary>\n<table>", Escaped(target), cases.len())?;
    for case in cases {
        writeln!(
            page,
            "<tr><td><span class=\"mark {0}\"></span>{0}</td><td>{1}</td><td><code>{2}</code> {3}</td></tr>",
            case.outcome,
            Escaped(&case.family),
            Escaped(&one_line(&case.statement)),
            Escaped(&case.evidence)
        )?;
    }
    page.push_str("</table></details>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::verify_isolation::Verdict;

    #[test]
    fn what_is_shown_is_escaped_and_complete() {
        let mut report = Report::new("acme", "<globex>");
        report.add("public.orders", "list", "SELECT '<b>'", Verdict::Leak("a row & more".to_owned()));
        report.add("suite.sql", "own", "SELECT 1", Verdict::Missed("2 rows, not 1".to_owned()));
        let page = report.html();
        for part in
            ["&lt;globex&gt;", "SELECT '&lt;b&gt;'", "a row &amp; more", "LEAKS", "MISSED", "not proven", "</html>"]
        {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("<b>'") && !page.contains("http"), "{page}");
    }
}
