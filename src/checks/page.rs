//! Reports as pages that need nothing besides: what all of them have in common.

use std::fmt::{self, Write};

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
const STYLE: &str = "body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }\n\
    h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }\n\
    .bar { display: flex; height: 1.6rem; border-radius: 4px; overflow: hidden; margin: 1rem 0; }\n\
    table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; vertical-align: top;\n\
    border-bottom: 1px solid #dde3ea; } td.n, th.n { text-align: right; }\n\
    code, pre { font: 13px/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }\n\
    .mark { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .4rem; }\n\
    summary { cursor: pointer; }\n";

/// The end of a page.
pub(super) const END: &str = "</body>\n</html>\n";

/// The beginning of a page, with a style of its own.
pub(super) fn begin(title: &str, style: &str) -> String {
    format!("{HEAD}<title>{}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n", Escaped(title))
}

/// A bar of parts: the class of each, and how much it is.
///
/// # Errors
/// Whatever writing gives; into a String none.
pub(super) fn bar(page: &mut String, parts: &[(&str, u64)]) -> fmt::Result {
    let all: u64 = parts.iter().map(|(_, count)| count).sum();
    page.push_str("<div class=\"bar\">");
    for (class, count) in parts {
        let tenths = count.saturating_mul(1000).checked_div(all).unwrap_or(0);
        write!(page, "<div class=\"{class}\" style=\"width: {}.{}%\"></div>", tenths / 10, tenths % 10)?;
    }
    page.push_str("</div>\n");
    Ok(())
}

/// Text in HTML.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}
