//! Statements in a log of Postgres: those of `log_statement` and `log_min_duration_statement`.

use serde::Deserialize;

use super::source::InputError;
use super::{Observed, Sent};

/// What a log looks like (Postgres's `log_destination`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines with any `log_line_prefix`
    Stderr,
    /// csvlog
    Csv,
    /// jsonlog (Postgres 15 and later)
    Json,
}

/// Column of a csvlog's message (the manual's "Using CSV-Format Log Output").
const MESSAGE: usize = 13;

/// How the messages of a log begin that are none of statements' own.
const SEVERITIES: [&str; 12] =
    ["LOG", "ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY"];

/// Adds the statements of a log.
pub(super) fn read(observed: &mut Observed, text: &str, format: LogFormat) -> Result<(), InputError> {
    match format {
        LogFormat::Stderr => stderr(observed, text),
        LogFormat::Csv => csv(observed, text)?,
        LogFormat::Json => json(observed, text)?,
    }
    Ok(())
}

/// A message that tells of a statement: `statement: ...` or `execute name: ...`, perhaps behind a duration. Those of parse and
/// bind tell of the same statement once more.
fn message(observed: &mut Observed, message: &str) {
    let behind_duration = message.strip_prefix("duration: ").and_then(|rest| rest.split_once(" ms  ")).map(|it| it.1);
    let message = behind_duration.unwrap_or(message);
    if let Some(text) = message.strip_prefix("statement: ") {
        observed.add(text, Sent::Query, 1);
    } else if let Some((_, text)) = message.strip_prefix("execute ").and_then(|rest| rest.split_once(": ")) {
        observed.add(text, Sent::Prepared, 1);
    }
}

/// The message that begins in a line behind whatever prefix, if it is a LOG.
fn log_message(line: &str) -> Option<&str> {
    let found = SEVERITIES.iter().filter_map(|severity| {
        let at = line.match_indices(":  ").map(|it| it.0).find(|at| {
            line.get(..*at)
                .and_then(|before| before.strip_suffix(severity))
                .is_some_and(|before| !before.ends_with(char::is_alphanumeric))
        })?;
        Some((at, *severity))
    });
    let (at, severity) = found.min()?;
    (severity == "LOG").then(|| line.get(at + 3..)).flatten()
}

/// Lines of a message behind its first begin with a tab.
fn stderr(observed: &mut Observed, text: &str) {
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let (Some(more), Some(current)) = (line.strip_prefix('\t'), current.as_mut()) {
            current.push('\n');
            current.push_str(more);
            continue;
        }
        if let Some(whole) = current.take() {
            message(observed, &whole);
        }
        current = log_message(line).map(str::to_owned);
    }
    if let Some(whole) = current {
        message(observed, &whole);
    }
}

fn csv(observed: &mut Observed, text: &str) -> Result<(), InputError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    for record in reader.records() {
        let record = record.map_err(|error| InputError::Format(error.to_string()))?;
        if let Some(text) = record.get(MESSAGE) {
            message(observed, text);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry {
    message: Option<String>,
}

fn json(observed: &mut Observed, text: &str) -> Result<(), InputError> {
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry: Entry =
            serde_json::from_str(line).map_err(|error| InputError::Format(format!("line {}: {error}", number + 1)))?;
        if let Some(text) = entry.message {
            message(observed, &text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(text: &str, format: LogFormat) -> Vec<(String, Sent, u64)> {
        let mut observed = Observed::default();
        read(&mut observed, text, format).unwrap();
        observed.shapes.into_iter().map(|it| (it.texts.join(" | "), it.sent, it.calls)).collect()
    }

    #[test]
    fn a_log_of_any_prefix() {
        let text = "2026-01-01 10:00:00.123 UTC [77] app@shop LOG:  statement: SELECT *\n\tFROM orders\n\t  WHERE id = 1\n\
            2026-01-01 10:00:01.123 UTC [77] app@shop LOG:  duration: 0.5 ms  statement: SELECT * FROM orders WHERE id = 2;\n\
            x LOG:  duration: 0.031 ms  parse S_1: SELECT $1\nx LOG:  duration: 0.031 ms  bind S_1: SELECT $1\n\
            x LOG:  duration: 0.031 ms  execute S_1: SELECT $1\nx DETAIL:  parameters: $1 = '5'\n\
            x LOG:  execute fetch from S_1/C_2: SELECT $1\n\
            x ERROR:  column \"a\" does not exist at character 8\nx STATEMENT:  SELECT a\n\
            x LOG:  checkpoint starting: time\n\tstatement: SELECT 'no'\nLOG:  statement: COMMIT";
        let found = observed(text, LogFormat::Stderr);
        assert_eq!(
            found,
            [
                (
                    "SELECT *\nFROM orders\n  WHERE id = 1 | SELECT * FROM orders WHERE id = 2".to_owned(),
                    Sent::Query,
                    2
                ),
                ("SELECT $1".to_owned(), Sent::Prepared, 2),
                ("COMMIT".to_owned(), Sent::Query, 1),
            ]
        );
    }

    #[test]
    fn csv_and_json() {
        let csv = "2026-01-01,app,shop,77,\"127.0.0.1:5\",s.1,1,SELECT,2026-01-01,3/4,0,LOG,00000,\"statement: SELECT \"\"x\"\"\nFROM t\",,,,,,,,,\"psql\",\"client backend\",,0\n";
        assert_eq!(observed(csv, LogFormat::Csv), [("SELECT \"x\"\nFROM t".to_owned(), Sent::Query, 1)]);
        let json = "{\"error_severity\":\"LOG\",\"message\":\"execute <unnamed>: SELECT $1\",\"detail\":\"x\"}\n\n{\"pid\":1}\n";
        assert_eq!(observed(json, LogFormat::Json), [("SELECT $1".to_owned(), Sent::Prepared, 1)]);
        let mut none = Observed::default();
        assert!(read(&mut none, "{\"message\": 1}\n", LogFormat::Json).unwrap_err().to_string().contains("line 1"));
    }
}
