//! The user's own tests: `.sql` files with expectations in comments.
//!
//! ```sql
//! -- test: the report shows own invoices only
//! -- as: a
//! -- expect: no rows
//! SELECT * FROM invoice_report WHERE tenant_id = :tenant_b;
//! ```
//!
//! A block begins with `-- test: <title>` and ends where the next begins. `-- as:` is `a` (default) or `b`; `-- expect:` is
//! one of the forms of [`Expectation`]. `:tenant_a` and `:tenant_b` stand for the tenants' keys as literals. The statements
//! of a block run in one transaction that is rolled back. Whatever is expected, no value that only the other tenant's rows
//! hold may show.

use super::client::Answer;

/// What a block must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// `isolated` (default): anything, so long as nothing of the other tenant shows.
    Isolated,
    /// `ok`: no error.
    Ok,
    /// `no rows`, `rows 3`: so many rows come back.
    Rows(u64),
    /// `affected 0`: the last command reports so many rows.
    Affected(u64),
    /// `value 42`: one row with one value, as text.
    Value(String),
    /// `error`, `error 42501`: it fails, with this SQLSTATE.
    Error(Option<String>),
}

/// Who runs a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// `--as-a`
    A,
    /// `--as-b`
    B,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its title.
    pub title: String,
    /// Who runs it.
    pub actor: Actor,
    /// What it must give.
    pub expect: Expectation,
    /// Its statements.
    pub sql: String,
}

/// Reads a file.
///
/// # Errors
/// The line (from 1) and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |what: String| format!("line {}: {what}", number + 1);
        let directive = line.trim().strip_prefix("--").and_then(|it| it.trim().split_once(':'));
        let directive = directive.map(|(name, value)| (name.trim(), value.trim()));
        if let Some(("test", title)) = directive {
            let title = title.to_owned();
            blocks.push(Block { title, actor: Actor::A, expect: Expectation::Isolated, sql: String::new() });
            continue;
        }
        let Some(block) = blocks.last_mut() else {
            if line.trim().is_empty() || line.trim().starts_with("--") {
                continue;
            }
            return Err(at("a statement before the first \"-- test: <title>\"".to_owned()));
        };
        match directive {
            Some(("as", who)) => {
                block.actor = match who {
                    "a" => Actor::A,
                    "b" => Actor::B,
                    other => return Err(at(format!("\"{other}\": as a, or as b"))),
                }
            }
            Some(("expect", what)) => block.expect = expectation(what).map_err(at)?,
            _ => {
                block.sql.push_str(line);
                block.sql.push('\n');
            }
        }
    }
    match blocks.iter().find(|it| it.sql.trim().is_empty()) {
        Some(empty) => Err(format!("\"{}\" has no statement", empty.title)),
        None => Ok(blocks),
    }
}

fn expectation(text: &str) -> Result<Expectation, String> {
    let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
    let number = || rest.parse::<u64>().map_err(|_| format!("\"{text}\": a number is missing"));
    match (word, rest) {
        ("isolated", "") => Ok(Expectation::Isolated),
        ("ok", "") => Ok(Expectation::Ok),
        ("no", "rows") => Ok(Expectation::Rows(0)),
        ("rows", _) => number().map(Expectation::Rows),
        ("affected", _) => number().map(Expectation::Affected),
        ("value", _) => Ok(Expectation::Value(rest.to_owned())),
        ("error", "") => Ok(Expectation::Error(None)),
        ("error", code) => Ok(Expectation::Error(Some(code.to_owned()))),
        _ => Err(format!(
            "\"{text}\" is not an expectation: isolated, ok, no rows, rows N, affected N, value TEXT, error, error SQLSTATE"
        )),
    }
}

impl Expectation {
    /// Why an answer is not what was expected; `None` if it is.
    pub fn missed(&self, answer: &Answer) -> Option<String> {
        let error = answer.error.as_ref().map(|it| format!("{} {}", it.code, it.message));
        let rows = answer.rows.len() as u64;
        let count = |wanted: u64, got: u64, what: &str| (wanted != got).then(|| format!("{got} {what}, not {wanted}"));
        match (self, error) {
            (Expectation::Isolated | Expectation::Error(None), Some(_))
            | (Expectation::Isolated | Expectation::Ok, None) => None,
            (Expectation::Error(Some(code)), Some(error)) => (!error.starts_with(code)).then_some(error),
            (Expectation::Error(_), None) => Some(format!("no error, but {rows} rows")),
            (_, Some(error)) => Some(error),
            (Expectation::Rows(wanted), None) => count(*wanted, rows, "rows"),
            (Expectation::Affected(wanted), None) => count(*wanted, answer.affected, "rows affected"),
            (Expectation::Value(wanted), None) => {
                let got = answer.value().unwrap_or("NULL or several values");
                (got != wanted).then(|| format!("{got}, not {wanted}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks() {
        let text = "-- a remark\n\n-- test: one\n-- expect: no rows\nSELECT 1\n-- a remark: inside\nWHERE false;\n\
                    -- test: two\n-- as: b\n-- expect: error 42501\nDELETE FROM t;\n";
        let blocks = parse(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].expect, Expectation::Rows(0));
        assert_eq!(blocks[0].sql, "SELECT 1\n-- a remark: inside\nWHERE false;\n");
        assert_eq!((blocks[1].actor, &blocks[1].expect), (Actor::B, &Expectation::Error(Some("42501".to_owned()))));
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (text, line) in [
            ("SELECT 1", "line 1"),
            ("-- test: x\n-- as: c\nSELECT 1", "line 2"),
            ("-- test: x\n-- expect: rows\nSELECT 1", "line 2"),
            ("-- test: x\n-- expect: nothing\nSELECT 1", "line 2"),
            ("-- test: x\n", "no statement"),
        ] {
            assert!(parse(text).unwrap_err().contains(line), "{text}");
        }
    }

    #[test]
    fn compares() {
        let rows =
            |n: usize| Answer { rows: vec![vec![Some("42".to_owned())]; n], affected: n as u64, ..Answer::default() };
        assert_eq!(Expectation::Rows(2).missed(&rows(2)), None);
        assert!(Expectation::Rows(0).missed(&rows(2)).is_some());
        assert_eq!(Expectation::Value("42".to_owned()).missed(&rows(1)), None);
        assert!(Expectation::Value("42".to_owned()).missed(&rows(2)).is_some());
        assert!(Expectation::Error(None).missed(&rows(0)).is_some());
        assert_eq!(Expectation::Isolated.missed(&rows(5)), None);
    }
}
