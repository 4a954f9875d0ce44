//! The findings as a page that needs nothing besides.

use std::fmt::{self, Write as _};

use super::{Finding, Severity};
use crate::checks::page::{self, Escaped};

const STYLE: &str = ".high { background: #cf4d4d; } .medium { background: #d9a441; } .low { background: #3f7fc4; } .accepted { background: #8a8f98; }\n\
    .finding { border-left: 4px solid #dde3ea; padding: .1rem 1rem; margin: 1rem 0; background: #f7f9fb; }\n";

/// The findings as one HTML page.
pub fn page(findings: &[Finding]) -> String {
    let mut page = page::begin("pgwarden doctor", STYLE);
    // Writing to a String cannot fail.
    let _ = body(&mut page, findings);
    page
}

/// `high`, or `accepted`
fn class(finding: &Finding) -> &'static str {
    if finding.accepted.is_some() { "accepted" } else { finding.severity.as_str() }
}

fn body(page: &mut String, findings: &[Finding]) -> fmt::Result {
    page.push_str("<h1>What weakens isolation in the schema</h1>\n");
    let classes = [Severity::High, Severity::Medium, Severity::Low].map(Severity::as_str);
    let count = |name: &'static str| (name, findings.iter().filter(|it| class(it) == name).count() as u64);
    let [high, medium, low] = classes.map(count);
    let counts = [high, medium, low, count("accepted")];
    page::bar(page, &counts)?;
    page.push_str("<table>\n");
    for (name, count) in counts {
        writeln!(page, "<tr><td><span class=\"mark {name}\"></span>{name}</td><td class=\"n\">{count}</td></tr>")?;
    }
    page.push_str("</table>\n");
    for (name, _) in counts {
        let mut found = findings.iter().filter(|it| class(it) == name).peekable();
        if found.peek().is_some() {
            writeln!(page, "<h2>{name}</h2>")?;
        }
        found.try_for_each(|it| shown(page, it))?;
    }
    page.push_str(page::END);
    Ok(())
}

fn shown(page: &mut String, finding: &Finding) -> fmt::Result {
    let [object, what, why, advice] = [&finding.object, &finding.what, finding.why, &finding.advice].map(Escaped);
    writeln!(page, "<div class=\"finding\"><p><b>{object}</b> ({}): {what}</p>\n<p>{why}.</p>", finding.check)?;
    if let Some(reason) = &finding.accepted {
        return writeln!(page, "<p>Accepted: {}</p></div>", Escaped(reason));
    }
    if !finding.sql.is_empty() {
        writeln!(page, "<pre>{}</pre>", Escaped(&finding.sql.join("\n")))?;
    }
    if !finding.advice.is_empty() {
        writeln!(page, "<p>{advice}</p>")?;
    }
    page.push_str("</div>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_and_escaped() {
        let mut accepted = Finding::new(Severity::High, "view-bypasses", "v", "reads", "why");
        accepted.accepted = Some("it is <fine>".to_owned());
        let open = Finding::new(Severity::Medium, "no-tenant-index", "\"A\" <b>", "none", "why")
            .sql(["CREATE INDEX CONCURRENTLY ON t (a);".to_owned()])
            .advice("x < y");
        let page = page(&[accepted, open]);
        for part in ["&lt;fine&gt;", "&quot;A&quot; &lt;b&gt;", "CONCURRENTLY ON t", "x &lt; y", "</html>"] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("<h2>high</h2>") && page.contains("<h2>accepted</h2>"), "{page}");
    }
}
