//! `pgwarden doctor`

use std::process::ExitCode;

use clap::ValueEnum;

use super::text::shown;
use super::{ConfigArgs, Progress, conclude, runtime};
use crate::catalog::LoadError;
use crate::checks::doctor::{Finding, Severity, accept, examine, page, tenant_tables};
use crate::checks::load_policy;
use crate::config::{Config, Upstream};
use crate::control;
use crate::policy::tenants_of;

/// Options of `pgwarden doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Examine the schema of the upstreams: tables without a tenant column, unique keys and foreign keys that \
                  reach across tenants, missing indexes, views and functions that bypass isolation, a role that may too \
                  much. Each finding says why it matters and how to mend it: SQL that runs as it is and leaves the app working, \
                  and in words what is to be decided. Reads the system catalogs only.",
    after_help = "Exit code: 0 if nothing of the --fail-on severity was found that [doctor] accept does not accept, 1 if something was, \
                  or an upstream could not be read."
)]
pub struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Fail if a finding is at least so bad
    #[arg(long, value_enum, default_value_t = Level::High)]
    fail_on: Level,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON array
    Json,
    /// A page that needs nothing besides
    Html,
}

/// `--fail-on`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Rows of one tenant can reach another's
    High,
    /// ... or a tenant can learn of another's, or a layer is missing
    Medium,
    /// Anything
    Low,
    /// Never
    Never,
}

impl Level {
    fn includes(self, severity: Severity) -> bool {
        match self {
            Level::High => severity <= Severity::High,
            Level::Medium => severity <= Severity::Medium,
            Level::Low => severity <= Severity::Low,
            Level::Never => false,
        }
    }
}

/// Examines all upstreams on which tenants share tables.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let examined = match runtime() {
        Ok(runtime) => runtime.block_on(examine_all(&config)),
        Err(code) => return code,
    };
    let mut findings = match examined {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("pgwarden: {error}");
            return ExitCode::FAILURE;
        }
    };
    for entry in accept(&mut findings, &config.doctor_accepts) {
        eprintln!("pgwarden: [doctor] accepts {} of {}, which is not found any more", entry.check, entry.object);
    }
    let said: String = match args.format {
        Format::Text => shown(&findings.iter().map(|finding| format!("{finding}\n\n")).collect::<String>()),
        Format::Html => page(&findings),
        Format::Json => match serde_json::to_string_pretty(&findings) {
            Ok(json) => json + "\n",
            Err(error) => {
                eprintln!("pgwarden: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let open: Vec<&Finding> = findings.iter().filter(|it| it.accepted.is_none()).collect();
    let count = |severity| open.iter().filter(|f| f.severity == severity).count();
    let code = conclude(said, !open.iter().any(|f| args.fail_on.includes(f.severity)));
    let [high, medium, low] = [Severity::High, Severity::Medium, Severity::Low].map(count);
    eprintln!("{high} high, {medium} medium, {low} low, {} accepted", findings.len() - open.len());
    code
}

async fn examine_all(config: &Config) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    let progress = Progress::new();
    for upstream in config.upstreams.values() {
        let tenants = tenants_of(config, &upstream.name);
        let shared = upstream.name == config.tenancy.upstream;
        if shared || !tenants.is_empty() {
            progress.say(format!("examining upstream \"{}\"", upstream.name));
            let found = examine_one(config, upstream, shared).await;
            findings.extend(
                found.map_err(|error| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address))?,
            );
        }
    }
    Ok(findings)
}

async fn examine_one(config: &Config, upstream: &Upstream, shared: bool) -> Result<Vec<Finding>, LoadError> {
    let (policy, notes) = load_policy(config, upstream).await?;
    if !shared && tenant_tables(&policy) == 0 {
        return Ok(Vec::new());
    }
    let control = control::connect(upstream, "pgwarden doctor").await?;
    Ok(examine(&control, &policy, &notes, &upstream.user).await?)
}
