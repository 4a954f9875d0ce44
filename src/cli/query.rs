//! `pgwarden query`: one question to many tenants.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use super::{ConfigArgs, runtime};
use crate::config::Config;
use crate::lifecycle::{Column, Question, Reduction, Said, ask};
use crate::observe::audit;

/// Rows that a table is made of, at most: it is printed when all are there.
const TABLE_ROWS: usize = 10_000;

/// Options of `pgwarden query`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Ask many tenants one question, whatever their layout and place. Each is asked as itself, through the guard, in a \
                  read-only transaction; its rows come with its name in front, in a column \"tenant\". A tenant that fails is named and \
                  does not stop the others.",
    after_help = "Examples:\n  \
        pgwarden query \"SELECT count(*) AS orders FROM orders\"\n  \
        pgwarden query --tenants acme,globex --format csv \"SELECT id, total FROM invoices\"\n  \
        pgwarden query --reduce \"SELECT sum(orders) FROM results\" \"SELECT count(*) AS orders FROM orders\"\n\n\
        Exit code: 0 if all have answered, 1 if one has not."
)]
pub struct QueryArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whom to ask: names, with commas between them; * is all that are not suspended
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',', default_value = "*")]
    tenants: Vec<String>,
    /// How many are asked at a time
    #[arg(short, long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// How long each may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How the rows are printed; json is an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// One more SELECT, over all rows in a temporary table "results" on the default upstream: it is what is printed
    #[arg(short, long, value_name = "SQL")]
    reduce: Option<String>,
    /// One SELECT
    sql: String,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

/// Asks, and prints on standard output.
pub(super) fn run(args: &QueryArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = super::tenant::audit(&config.log) {
        return fail(&error);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = asked(args, config) => outcome,
            Ok(()) = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        }
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("pgwarden: {error}");
    ExitCode::FAILURE
}

/// How many tenants have failed.
async fn asked(args: &QueryArgs, config: Config) -> Result<usize, String> {
    let config = Arc::new(config);
    let timeout = Duration::from_secs(args.timeout);
    let reduction = match &args.reduce {
        None => None,
        Some(sql) => Some(Reduction::open(&config, sql, timeout).await.map_err(|error| format!("--reduce: {error}"))?),
    };
    let question = Question { sql: args.sql.clone(), tenants: args.tenants.clone(), jobs: args.jobs.into(), timeout };
    let (count, hears) = ask(&config, &question).map_err(|error| error.to_string())?;
    let mut printer = Printer::new(args.format, args.reduce.is_none());
    let outcome = listen(hears, reduction, &mut printer).await;
    let (failed, rows) = (printer.failed, printer.rows);
    audit::question(&super::tenant::user(), &args.sql, count, failed, rows);
    eprintln!("{count} tenants asked, {failed} failed");
    outcome.map(|()| failed)
}

async fn listen(
    mut hears: mpsc::Receiver<Said>,
    mut reduction: Option<Reduction>,
    printer: &mut Printer,
) -> Result<(), String> {
    let reduced = |error: String| format!("--reduce: {error}");
    while let Some(said) = hears.recv().await {
        match (said, &mut reduction) {
            (Said::Failed(tenant, why), _) => {
                printer.failed += 1;
                eprintln!("pgwarden: tenant \"{tenant}\": {why}");
            }
            (Said::Columns(columns), Some(reduction)) => reduction.begin(&columns).await.map_err(reduced)?,
            (Said::Columns(columns), None) => printer.columns(&columns)?,
            (Said::Row(tenant, values), Some(reduction)) => {
                printer.rows += 1;
                reduction.take(&tenant, &values).await.map_err(reduced)?;
            }
            (Said::Row(tenant, values), None) => {
                let own = std::iter::once(Some(tenant.to_string()));
                printer.row(own.chain(values).collect())?;
            }
        }
    }
    if let Some(reduction) = reduction {
        let (columns, rows) = reduction.finish().await.map_err(reduced)?;
        let asked = printer.rows;
        printer.columns(&columns)?;
        rows.into_iter().try_for_each(|row| printer.row(row))?;
        printer.rows = asked;
    }
    printer.end()
}

/// Prints rows as they come; a table when all are there.
struct Printer {
    format: Format,
    /// The first column is the tenant's.
    names: bool,
    columns: Vec<Column>,
    table: Option<Table>,
    rows: usize,
    failed: usize,
}

impl Printer {
    fn new(format: Format, names: bool) -> Self {
        Self { format, names, columns: Vec::new(), table: None, rows: 0, failed: 0 }
    }

    fn columns(&mut self, columns: &[Column]) -> Result<(), String> {
        let own = Column { name: "tenant".to_owned(), type_name: "text".to_owned(), is_system_type: true };
        self.columns = self.names.then_some(own).into_iter().chain(columns.iter().cloned()).collect();
        let names = || self.columns.iter().map(|column| column.name.as_str());
        match self.format {
            Format::Table => {
                let mut table = Table::new();
                table.load_style(NOTHING);
                table.set_header(names());
                self.table = Some(table);
                Ok(())
            }
            Format::Csv => put(&csv_line(names().map(Some))),
            Format::Json => Ok(()),
        }
    }

    fn row(&mut self, values: Vec<Option<String>>) -> Result<(), String> {
        self.rows += 1;
        match (self.format, &mut self.table) {
            (Format::Table, Some(table)) if self.rows <= TABLE_ROWS => {
                table.add_row(values.into_iter().map(Option::unwrap_or_default));
                Ok(())
            }
            (Format::Table, _) => {
                Err(format!("more than {TABLE_ROWS} rows are no table: use --format csv or --format json"))
            }
            (Format::Csv, _) => put(&csv_line(values.iter().map(Option::as_deref))),
            (Format::Json, _) => {
                // In the order of the columns, which a map of values would not keep.
                let fields = self.columns.iter().zip(values);
                let fields = fields.map(|(it, value)| format!("{}:{}", Json::from(it.name.as_str()), json(it, value)));
                put(&format!("{{{}}}\n", fields.collect::<Vec<_>>().join(",")))
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self.table.take() {
            Some(table) => put(&format!("{table}\n")),
            None => Ok(()),
        }
    }
}

/// NULL is an empty field, an empty text one in quotes.
fn csv_line<'v>(values: impl Iterator<Item = Option<&'v str>>) -> String {
    let mut out = String::new();
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(',');
        }
        let Some(value) = value else { continue };
        if value.is_empty() || value.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&value.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(value);
        }
    }
    out.push('\n');
    out
}

/// Whole numbers, truth values and documents are what they are; all else is a text.
fn json(column: &Column, value: Option<String>) -> Json {
    let Some(value) = value else { return Json::Null };
    let read = match column.type_name.as_str() {
        "int2" | "int4" | "int8" => value.parse::<i64>().ok().map(Json::from),
        "bool" => Some(Json::Bool(value == "t")),
        "json" | "jsonb" => serde_json::from_str(&value).ok(),
        _ => None,
    };
    read.unwrap_or(Json::String(value))
}

fn put(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| format!("cannot write: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_nothing_differ_in_a_line() {
        let line = csv_line([Some("a,b"), None, Some(""), Some("say \"x\""), Some("1")].into_iter());
        assert_eq!(line, "\"a,b\",,\"\",\"say \"\"x\"\"\",1\n");
    }

    #[test]
    fn values_are_what_their_types_are() {
        let of = |type_name: &str, value: &str| {
            let column = Column { name: "x".into(), type_name: type_name.into(), is_system_type: true };
            json(&column, Some(value.to_owned())).to_string()
        };
        assert_eq!(of("int8", "42"), "42");
        assert_eq!(of("bool", "t"), "true");
        assert_eq!(of("jsonb", "{\"a\": [1]}"), "{\"a\":[1]}");
        assert_eq!(of("numeric", "1.10"), "\"1.10\"");
    }
}
