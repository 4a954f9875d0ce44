//! The report as a page that needs nothing besides.

use std::fmt::{self, Write as _};

use super::report::{Assessment, Reason, Verdict, short_line};
use crate::checks::page::{self, Escaped};

const STYLE: &str = ".forwarded { background: #3a9d6e; } .rewritten { background: #3f7fc4; } .refused { background: #cf4d4d; }\n\
    .reason { border-left: 4px solid #cf4d4d; padding: .1rem 1rem; margin: 1rem 0; background: #fbf4f4; }\n";

/// Statements that are listed one by one.
const LISTED: usize = 2_000;

impl Assessment {
    /// The report as one HTML page.
    pub fn html(&self) -> String {
        let mut page = page::begin("pgwarden assess", STYLE);
        // Writing to a String cannot fail.
        let _ = self.body(&mut page);
        page
    }

    fn body(&self, page: &mut String) -> fmt::Result {
        writeln!(page, "<h1>What would become of the app's statements: tenant {}</h1>", Escaped(&self.tenant))?;
        page::bar(page, &self.rows().map(|(name, count, _)| (name, count.calls)))?;
        page.push_str(
            "<table>\n<tr><th>Verdict</th><th class=\"n\">Statements</th><th class=\"n\">Calls</th><th></th></tr>\n",
        );
        for (name, count, meaning) in self.rows() {
            writeln!(
                page,
                "<tr><td><span class=\"mark {name}\"></span>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{meaning}</td></tr>",
                count.statements, count.calls
            )?;
        }
        page.push_str("</table>\n");
        if self.not_looked_at > 0 {
            writeln!(page, "<p>{} calls of further statements were not looked at.</p>", self.not_looked_at)?;
        }
        self.refused(page)?;
        self.slower_statements(page)?;
        self.listed(page)?;
        page.push_str(page::END);
        Ok(())
    }

    fn refused(&self, page: &mut String) -> fmt::Result {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return Ok(());
        }
        page.push_str("<h2>Refused</h2>\n");
        for Reason { refused, count, example } in reasons {
            writeln!(
                page,
                "<div class=\"reason\"><p><b>{}</b> ({}, SQLSTATE {}): {} statements, {} calls</p>",
                Escaped(&refused.message),
                refused.kind,
                Escaped(&refused.code),
                count.statements,
                count.calls
            )?;
            for text in refused.detail.iter().chain(&refused.hint) {
                writeln!(page, "<p>{}</p>", Escaped(text))?;
            }
            writeln!(page, "<pre>{}</pre></div>", Escaped(example))?;
        }
        Ok(())
    }

    fn slower_statements(&self, page: &mut String) -> fmt::Result {
        let Some((planned, unplanned)) = self.planned() else { return Ok(()) };
        let slower = self.slower();
        writeln!(
            page,
            "<h2>Plans</h2>\n<p>{} of {planned} rewritten statements lose an index; {unplanned} were not planned.</p>",
            slower.len()
        )?;
        for (entry, tables) in slower {
            let tables = Escaped(&tables);
            writeln!(
                page,
                "<div class=\"reason\"><p><b>{tables}</b>: {} calls</p><pre>{}</pre></div>",
                entry.calls,
                Escaped(&entry.statement)
            )?;
        }
        Ok(())
    }

    fn listed(&self, page: &mut String) -> fmt::Result {
        page.push_str(
            "<h2>Statements</h2>\n<table>\n<tr><th>Verdict</th><th class=\"n\">Calls</th><th>Statement</th></tr>\n",
        );
        for entry in self.statements.iter().take(LISTED) {
            let (name, more) = match &entry.verdict {
                Verdict::Forwarded => ("forwarded", None),
                Verdict::Rewritten { sql } => ("rewritten", Some(sql)),
                Verdict::Refused(refused) => ("refused", Some(&refused.message)),
            };
            write!(
                page,
                "<tr><td><span class=\"mark {name}\"></span>{name}</td><td class=\"n\">{}</td><td><details><summary><code>{}</code></summary><pre>{}</pre>",
                entry.calls,
                Escaped(&short_line(&entry.statement)),
                Escaped(&entry.statement)
            )?;
            if let Some(more) = more {
                write!(page, "<pre>{}</pre>", Escaped(more))?;
            }
            page.push_str("</details></td></tr>\n");
        }
        page.push_str("</table>\n");
        if let Some(more) = self.statements.len().checked_sub(LISTED).filter(|more| *more > 0) {
            writeln!(page, "<p>And {more} more: <code>--format json</code> has them all.</p>")?;
        }
        Ok(())
    }
}
