//! `pgwarden verify-isolation`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, Progress, conclude, runtime};
use crate::checks::verify_isolation::{Connection, Facts, Input, Report, Right, rights, suite, verify};
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Tenant};
use crate::control;
use crate::guard::Policy;
use crate::tenant::{Registry, StartupParams, Target};

/// Options of `pgwarden verify-isolation`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Attack a running pgwarden with your own schema: as tenant a, try to read, count, change and disturb the \
                  rows of tenant b, in every tenant table and by every path of the protocol. Every attack runs in a \
                  transaction that is rolled back (sequences move on). Before, rows of tenant b with unguessable values are \
                  planted where that leaves nothing behind, and deleted at the end. Use a staging database.",
    after_help = "Example:\n  pgwarden verify-isolation --config pgwarden.toml \\\n    \
                  --as-a postgres://app:secret@127.0.0.1:6432/acme --as-b postgres://app:secret@127.0.0.1:6432/globex \\\n    \
                  --suite tests/isolation.sql --junit isolation.xml\n\n\
                  Exit code: 0 if isolation held, 1 if something leaked, a test of a suite failed, or nothing could be proven."
)]
pub struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How the attacker connects to pgwarden
    #[arg(long, value_name = "URL")]
    as_a: Connection,
    /// How the other tenant connects to pgwarden
    #[arg(long, value_name = "URL")]
    as_b: Connection,
    /// Which tenant --as-a is, if its URL does not say
    #[arg(long, value_name = "TENANT")]
    tenant_a: Option<String>,
    /// Which tenant --as-b is, if its URL does not say
    #[arg(long, value_name = "TENANT")]
    tenant_b: Option<String>,
    /// Your own tests: .sql files with expectations (repeatable)
    #[arg(long, value_name = "FILE")]
    suite: Vec<PathBuf>,
    /// Write JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page (HTML) to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Plant nothing: read tenant b's rows, and look for whole values of them
    #[arg(long)]
    no_plant: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, and every leak
    Text,
    /// The report as JSON
    Json,
}

/// Attacks, and prints what came of it.
pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = match runtime() {
        Ok(runtime) => runtime.block_on(attack(&config, args)),
        Err(code) => return code,
    };
    match outcome.and_then(|report| Ok((publish(&report, args)?, report.passed()))) {
        Ok((said, passed)) => conclude(said, passed),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn attack(config: &Config, args: &VerifyArgs) -> Result<Report, String> {
    let suites = args.suite.iter().map(|path| read_suite(path)).collect::<Result<Vec<_>, _>>()?;
    let a = tenant(config, "a", &args.as_a, args.tenant_a.as_deref())?;
    let b = tenant(config, "b", &args.as_b, args.tenant_b.as_deref())?;
    if a.name == b.name {
        return Err(format!("both connections are of the tenant \"{}\"", a.name));
    }
    let (own, others) = (policy(config, &a).await?, policy(config, &b).await?);
    let input = Input {
        policies: (&own, &others),
        tenants: (&a, &b),
        connections: (args.as_a.clone(), args.as_b.clone()),
        nobody: nobody(config, &args.as_a, &a),
        rights: rights_of(&a, &b, &others).await?,
        plant: if args.no_plant { None } else { Some(facts_of(&b).await?) },
        suites,
    };
    let progress = Progress::new();
    let mut tell = |what: &str, done: Option<(usize, usize)>| match progress.is_shown() {
        true => progress.counted(what, done),
        // A line each in a log.
        false => eprintln!("{what}"),
    };
    let stop = stopped().map_err(|error| error.to_string())?;
    verify(&input, &mut tell, stop).await.map_err(|error| error.to_string())
}

/// When somebody wants an end of it: what was planted is to go before.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let [mut interrupt, mut terminate] = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// What decides where rows of a tenant can be planted.
async fn facts_of(tenant: &Tenant) -> Result<Facts, String> {
    let told = |error: &dyn std::fmt::Display| format!("upstream \"{}\": {error}", tenant.upstream.name);
    let control =
        control::connect(&tenant.upstream, "pgwarden verify-isolation").await.map_err(|error| told(&error))?;
    Facts::read(&control).await.map_err(|error| told(&error))
}

/// What is known of the database where a tenant lives.
async fn policy(config: &Config, tenant: &Tenant) -> Result<Policy, String> {
    let upstream = &tenant.upstream;
    let loaded = load_policy(config, upstream).await;
    loaded
        .map(|(policy, _)| policy)
        .map_err(|error| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address))
}

/// What the upstream lets the attacker's role do with the other's tables.
async fn rights_of(a: &Tenant, b: &Tenant, others: &Policy) -> Result<Vec<Right>, String> {
    let told = |error: &dyn std::fmt::Display| format!("upstream \"{}\": {error}", a.upstream.name);
    let control = control::connect(&a.upstream, "pgwarden verify-isolation").await.map_err(|error| told(&error))?;
    rights(&control, a, b, others).await.map_err(|error| told(&error))
}

fn read_suite(path: &Path) -> Result<(String, Vec<suite::Block>), String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let blocks = suite::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    Ok((name, blocks))
}

/// Which tenant a connection is: as it is told, else as pgwarden itself would read it.
fn tenant(config: &Config, who: &str, connection: &Connection, told: Option<&str>) -> Result<Arc<Tenant>, String> {
    if let Some(name) = told {
        return tenants::find(config, name).ok_or_else(|| format!("--tenant-{who}: no tenant \"{name}\""));
    }
    let registry = Registry::new(config);
    let identity = registry.identify(&params(connection)).outcome().map_err(|error| format!("--as-{who}: {error}"))?;
    identity
        .target
        .tenant()
        .map(Arc::clone)
        .ok_or_else(|| format!("--as-{who} names no tenant: say which with --tenant-{who}"))
}

fn params(connection: &Connection) -> StartupParams<'_> {
    StartupParams {
        user: connection.config().get_user().unwrap_or_default(),
        database: connection.config().get_dbname(),
        options: connection.config().get_options(),
        tenant_parameter: None,
        host: connection.server_name(),
        ..StartupParams::default()
    }
}

/// How the attacker's login connects without naming a tenant, if it may: as an app with one pool for all of them does.
fn nobody(config: &Config, connection: &Connection, tenant: &Tenant) -> Option<Connection> {
    let registry = Registry::new(config);
    let login = registry.identify(&params(connection)).outcome().ok()?.login;
    let unnamed = connection.by(login.name.as_str(), &tenant.upstream.database);
    let identity = registry.identify(&params(&unnamed)).outcome().ok()?;
    matches!(identity.target, Target::Unbound { .. }).then_some(unnamed)
}

/// Writes the report to the files that are asked for; returns what is printed of it.
fn publish(report: &Report, args: &VerifyArgs) -> Result<String, String> {
    let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    let write = |path: &Option<PathBuf>, text: &str| match path {
        Some(path) => std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    };
    write(&args.json, &json)?;
    write(&args.html, &report.html())?;
    write(&args.junit, &report.junit().map_err(|error| error.to_string())?)?;
    Ok(match args.format {
        Format::Text => report.to_string(),
        Format::Json => json + "\n",
    })
}
