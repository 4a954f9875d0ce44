//! `pgwarden usage`

use std::process::ExitCode;

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{ConfigArgs, runtime};
use crate::config::{Config, Measure, QuotaConfig};
use crate::usage::{Entry, Period, Store, StoreError, today};

/// Options of `pgwarden usage`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Print what each tenant has used in a day or a month of UTC, from the table that [quota] names. What proxies have \
                  counted since they last wrote it ([quota] flush_interval) is not in it yet.",
    after_help = "Examples:\n  \
        pgwarden usage --init                              make the table (the upstream's role must be allowed to)\n  \
        pgwarden usage --ddl | psql ...                    or let another role make it\n  \
        pgwarden usage --period 2026-11 --format csv       the bill of November\n  \
        pgwarden usage --tenant acme --daily --format json"
)]
pub struct UsageArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The month or day to print, 2026-11 or 2026-11-25; the current period of `[quota]` if it is not given
    #[arg(long, value_parser = parse_period)]
    period: Option<Period>,
    /// These tenants only
    #[arg(long, value_name = "NAME")]
    tenant: Vec<String>,
    /// A line for each day
    #[arg(long)]
    daily: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Make the usage table, if it is not there, and print nothing
    #[arg(long, conflicts_with_all = ["period", "tenant", "daily", "format", "ddl"])]
    init: bool,
    /// Print the SQL that makes the table and lets pgwarden's role use it
    #[arg(long, conflicts_with_all = ["period", "tenant", "daily", "format"])]
    ddl: bool,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Comma-separated values (RFC 4180) with a line of names
    Csv,
    /// One JSON array of objects
    Json,
}

fn parse_period(text: &str) -> Result<Period, String> {
    Period::parse(text).ok_or_else(|| "a month like 2026-11 or a day like 2026-11-25".to_owned())
}

/// Prints usage, or makes the table.
pub(super) fn run(args: &UsageArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let Some(quota) = &config.quota else {
        eprintln!(
            "pgwarden: {} has no section [quota]: usage is not kept\n  hint: an empty [quota] keeps it in public.pgwarden_usage",
            config.path.display()
        );
        return ExitCode::FAILURE;
    };
    let store = Store::new(quota);
    if args.ddl {
        return super::print(store.definition());
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = if args.init {
        runtime.block_on(store.create()).map(|()| Ok(format!("made, or there already: {}\n", quota.table)))
    } else {
        let period = args.period.unwrap_or_else(|| Period::containing(quota.period, today()));
        runtime.block_on(entries(&store, args, period)).map(|entries| {
            warn_of_missing(&config, args, &entries, period);
            args.format.print(&entries, period)
        })
    };
    match outcome {
        Ok(Ok(text)) => super::print(text),
        Ok(Err(error)) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
        Err(error) => fail(quota, &error),
    }
}

fn fail(quota: &QuotaConfig, error: &StoreError) -> ExitCode {
    eprintln!("pgwarden: usage table {} on upstream \"{}\": {error}", quota.table, quota.upstream.name);
    ExitCode::FAILURE
}

async fn entries(store: &Store, args: &UsageArgs, period: Period) -> Result<Vec<Entry>, StoreError> {
    let names: Vec<&str> = args.tenant.iter().map(String::as_str).collect();
    let tenants = (!names.is_empty()).then_some(names.as_slice());
    store.entries((period.start(), period.end()), tenants, args.daily).await
}

/// A name that nobody has is probably misspelt.
fn warn_of_missing(config: &Config, args: &UsageArgs, entries: &[Entry], period: Period) {
    for name in &args.tenant {
        if entries.iter().any(|entry| entry.tenant.as_str() == name) {
            continue;
        }
        let known = config.tenants.iter().any(|tenant| tenant.name.as_str() == name);
        let unknown = if known { "" } else { " (and the configuration has no tenant of that name)" };
        eprintln!("pgwarden: tenant \"{name}\" has used nothing in {period}{unknown}");
    }
}

impl Format {
    fn print(self, entries: &[Entry], period: Period) -> Result<String, csv::Error> {
        Ok(match self {
            Format::Text => text(entries, period),
            Format::Csv => csv(entries, period)?,
            Format::Json => json(entries, period),
        })
    }
}

/// The columns after tenant and period.
const COLUMNS: [&str; Measure::ALL.len()] =
    ["transactions", "statements", "rows_read", "rows_written", "bytes_in", "bytes_out", "busy_ms"];

/// The values of [`COLUMNS`].
fn values(entry: &Entry) -> [u64; Measure::ALL.len()] {
    let [transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy] = entry.counts.values();
    [transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy / 1_000]
}

fn when(entry: &Entry, period: Period) -> String {
    entry.day.map_or_else(|| period.to_string(), |day| day.to_string())
}

fn lines(entries: &[Entry], period: Period) -> impl Iterator<Item = Vec<String>> {
    let head = ["tenant", "period"].into_iter().chain(COLUMNS).map(str::to_owned).collect();
    std::iter::once(head).chain(entries.iter().map(move |entry| {
        let names = [entry.tenant.to_string(), when(entry, period)];
        names.into_iter().chain(values(entry).map(|it| it.to_string())).collect()
    }))
}

fn text(entries: &[Entry], period: Period) -> String {
    if entries.is_empty() {
        return format!("nothing was used in {period}\n");
    }
    let mut table = Table::new();
    table.load_style(NOTHING).add_rows(lines(entries, period));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 0 } else { 2 }, 0));
        // Names of tenants and periods stand to the left, numbers to the right.
        column.set_cell_alignment(if at < 2 { CellAlignment::Left } else { CellAlignment::Right });
    }
    format!("{table}\n")
}

fn csv(entries: &[Entry], period: Period) -> Result<String, csv::Error> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    lines(entries, period).try_for_each(|line| writer.write_record(line))?;
    let written = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(written).map_err(|error| std::io::Error::other(error).into())
}

fn json(entries: &[Entry], period: Period) -> String {
    let objects = entries.iter().map(|entry| {
        let mut object = serde_json::Map::new();
        object.insert("tenant".to_owned(), entry.tenant.as_str().into());
        object.insert("period".to_owned(), when(entry, period).into());
        object.extend(COLUMNS.iter().zip(values(entry)).map(|(name, value)| ((*name).to_owned(), value.into())));
        serde_json::Value::Object(object)
    });
    format!("{:#}\n", serde_json::Value::Array(objects.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::TenantName;
    use crate::usage::Counts;

    fn entry(tenant: &str) -> Entry {
        let counts = Counts { transactions: 1, statements: 20, busy_micros: 1_999, ..Counts::default() };
        Entry { tenant: TenantName::new(tenant), day: None, counts }
    }

    #[test]
    fn for_people_and_for_machines() {
        let (entries, period) = ([entry("acme"), entry("a\",b")], Period::parse("2026-11").unwrap());
        let csv = csv(&entries, period).unwrap();
        let lines: Vec<_> = csv.split("\r\n").collect();
        assert_eq!(lines[0], "tenant,period,transactions,statements,rows_read,rows_written,bytes_in,bytes_out,busy_ms");
        assert_eq!(lines[1], "acme,2026-11,1,20,0,0,0,0,1");
        assert_eq!(lines[2], "\"a\"\",b\",2026-11,1,20,0,0,0,0,1");
        let json: serde_json::Value = serde_json::from_str(&json(&entries, period)).unwrap();
        assert_eq!(json[0]["statements"], 20);
        assert_eq!(json[1]["tenant"], "a\",b");
        let text = text(&entries, period);
        assert!(
            text.lines().all(|line| line.chars().count() == text.lines().next().unwrap().chars().count()),
            "{text}"
        );
    }
}
