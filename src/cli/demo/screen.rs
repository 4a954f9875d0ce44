//! The demo's output: headings, statements, and results the way psql shows them.

use std::io::{self, IsTerminal, Write};

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Standard output, in colour where that is wanted.
pub(super) struct Screen {
    colour: bool,
}

/// How a piece of text looks.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Faint,
    Red,
    Green,
}

impl Style {
    /// The parameter of the terminal's "select graphic rendition".
    fn code(self) -> &'static str {
        match self {
            Style::Bold => "1",
            Style::Faint => "2",
            Style::Red => "31",
            Style::Green => "32",
        }
    }
}

impl Screen {
    /// Colour on a terminal, unless `NO_COLOR` is set.
    pub(super) fn new() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    /// One line. A reader that has gone away (`pgwarden demo | head`) is no reason to fail.
    pub(super) fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// The heading of a scene.
    pub(super) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(Style::Bold, text)));
    }

    /// A remark.
    pub(super) fn remark(&self, text: &str) {
        self.line(&self.paint(Style::Faint, text));
    }

    /// A statement at a tenant's prompt.
    pub(super) fn statement(&self, tenant: &str, sql: &str) {
        self.line(&format!("{} {sql}", self.paint(Style::Green, &format!("{tenant}=>"))));
    }

    /// What an unexpected outcome looks like.
    pub(super) fn alarm(&self, text: &str) {
        self.line(&self.paint(Style::Red, text));
    }

    /// An error of the server's or of pgwarden's.
    pub(super) fn error(&self, error: &tokio_postgres::Error) {
        let Some(db) = error.as_db_error() else {
            self.alarm(&format!("ERROR:  {error}"));
            return;
        };
        self.alarm(&format!("ERROR:  {}: {}", db.code().code(), db.message()));
        if let Some(detail) = db.detail() {
            self.remark(&format!("DETAIL:  {detail}"));
        }
        if let Some(hint) = db.hint() {
            self.remark(&format!("HINT:  {hint}"));
        }
    }

    /// The results of one Query.
    pub(super) fn results(&self, messages: &[SimpleQueryMessage]) {
        let rows: Vec<&SimpleQueryRow> = messages
            .iter()
            .filter_map(|it| match it {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect();
        for line in table(&rows) {
            self.line(&line);
        }
        if rows.is_empty() {
            let changed = messages.iter().find_map(|it| match it {
                SimpleQueryMessage::CommandComplete(count) => Some(*count),
                _ => None,
            });
            self.remark(&format!("({} rows)", changed.unwrap_or(0)));
        }
    }
}

/// Rows below their column names, numbers to the right.
fn table(rows: &[&SimpleQueryRow]) -> Vec<String> {
    let Some(first) = rows.first() else { return Vec::new() };
    let names: Vec<String> = first.columns().iter().map(|it| it.name().to_owned()).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| (0..names.len()).map(|i| row.get(i).unwrap_or("").to_owned()).collect()).collect();
    layout(&names, &cells)
}

fn layout(names: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let cell = |row: &'_ [String], i: usize| row.get(i).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..names.len())
        .map(|i| rows.iter().map(|row| cell(row, i)).chain([cell(names, i)]).map(|it| it.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let numeric: Vec<bool> =
        (0..names.len()).map(|i| rows.iter().all(|row| cell(row, i).parse::<f64>().is_ok())).collect();
    let line = |row: &[String]| {
        let cells = widths.iter().zip(&numeric).enumerate().map(|(i, (width, numeric))| match numeric {
            true => format!("{:>width$}", cell(row, i)),
            false => format!("{:<width$}", cell(row, i)),
        });
        format!(" {}", cells.collect::<Vec<_>>().join(" | ")).trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+");
    [line(names), rule].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn aligns_like_psql() {
        let texts = |row: [&str; 2]| row.map(str::to_owned).to_vec();
        let shown = layout(&texts(["id", "name"]), &[texts(["1", "Ada"]), texts(["10", "é"])]);
        assert_eq!(shown, [" id | name", "----+------", "  1 | Ada", " 10 | é"]);
    }
}
