//! `pgwarden assess`

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::text::shown;
use super::{ConfigArgs, Progress, conclude, runtime};
use crate::checks::assess::{
    Assessment, LogFormat, Observed, add_plans, assess, from_log, from_pg_stat_statements, from_sql,
};
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Tenant};
use crate::control;
use crate::guard::{Guard, plan_statements};

/// Options of `pgwarden assess`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Read the statements that an app sends and say what pgwarden would do with each for one tenant: forward it, \
                  rewrite it, or refuse it, with the error, the hint, and how often it is called. Statements are executed \
                  nowhere; the catalog of the tenant's upstream is read.",
    after_help = "Examples:\n  pgwarden assess --tenant acme --pg-stat-statements\n  \
                  pgwarden assess --tenant acme --log /var/log/postgresql/postgresql.csv --html report.html\n  \
                  pgwarden assess --tenant acme queries.sql\n  some-program | pgwarden assess --tenant acme -\n\n\
                  A log tells of statements with log_statement = all or log_min_duration_statement = 0.\n\n\
                  Exit code: 0 if nothing would be refused, 1 if something would, or could not be read."
)]
pub struct AssessArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The tenant for whom statements are planned
    #[arg(short, long)]
    tenant: String,
    /// Files of SQL statements; - is standard input
    files: Vec<PathBuf>,
    /// Logs of Postgres
    #[arg(short, long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// What the logs look like; by default what their names end in says it: .csv, .json, or else lines
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// What pg_stat_statements on the tenant's upstream has seen in its database
    #[arg(short, long)]
    pg_stat_statements: bool,
    /// Have the server plan what is rewritten, without the guard and with it (EXPLAIN, nothing is executed): which lose an index?
    #[arg(long)]
    plans: bool,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it as a page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Counts, and what is refused, by its reasons
    Text,
    /// Everything, as one JSON object
    Json,
}

/// Reports on standard output.
pub(super) fn run(args: &AssessArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(assessed(&config, args)).and_then(|found| Ok((printed(&found, args)?, found.passes()))) {
        Ok((said, passes)) => conclude(said, passes),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn assessed(config: &Config, args: &AssessArgs) -> Result<Assessment, String> {
    let tenant = tenants::find(config, &args.tenant)
        .ok_or_else(|| format!("no tenant \"{}\" in {}", args.tenant, config.path.display()))?;
    let observed = observed(&tenant, args).await?;
    let upstream = &tenant.upstream;
    let (policy, _) = load_policy(config, upstream)
        .await
        .map_err(|error| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address))?;
    let guard = Guard::new(Arc::new(policy), plan_statements);
    let progress = Progress::new();
    let all = observed.len();
    let mut found =
        assess(&guard, &tenant, observed, |done| progress.say(format!("planning statement {} of {all}", done + 1)));
    if args.plans {
        let client = control::connect(upstream, "pgwarden assess")
            .await
            .map_err(|error| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address))?;
        let tell = |done| progress.say(format!("the server plans statement {} of {all}", done + 1));
        add_plans(&mut found, &client, &guard, &tenant, tell).await;
    }
    Ok(found)
}

async fn observed(tenant: &Tenant, args: &AssessArgs) -> Result<Observed, String> {
    let mut observed = Observed::default();
    for path in &args.files {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = read(path).map_err(|error| told(&error))?;
        from_sql(&mut observed, &text).map_err(|error| told(&error))?;
    }
    for path in &args.log {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = read(path).map_err(|error| told(&error))?;
        let format = args.log_format.unwrap_or_else(|| format_of(path));
        from_log(&mut observed, &text, format).map_err(|error| told(&error))?;
    }
    if args.pg_stat_statements {
        let upstream = &tenant.upstream;
        let told = |error: &dyn std::fmt::Display| format!("upstream \"{}\": {error}", upstream.name);
        let client = control::connect(upstream, "pgwarden assess").await.map_err(|error| told(&error))?;
        from_pg_stat_statements(&mut observed, &client).await.map_err(|error| told(&error))?;
    }
    if observed.is_empty() {
        return Err("no statement was found: name files of SQL, a --log, or --pg-stat-statements".to_owned());
    }
    Ok(observed)
}

/// Bytes that are no UTF-8, which a log may hold, are replaced.
fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut bytes)?,
        _ => std::fs::File::open(path)?.read_to_end(&mut bytes)?,
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn format_of(path: &Path) -> LogFormat {
    match path.extension().and_then(|it| it.to_str()) {
        Some("csv") => LogFormat::Csv,
        Some("json") => LogFormat::Json,
        _ => LogFormat::Stderr,
    }
}

fn printed(found: &Assessment, args: &AssessArgs) -> Result<String, String> {
    if let Some(path) = &args.html {
        std::fs::write(path, found.html()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match args.format {
        Format::Text => Ok(shown(&found.to_string())),
        Format::Json => serde_json::to_string_pretty(found).map(|json| json + "\n").map_err(|error| error.to_string()),
    }
}
