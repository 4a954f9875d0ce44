//! `pgwarden rls`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use super::{ConfigArgs, Progress, conclude, runtime};
use crate::checks::doctor::tenant_tables;
use crate::checks::load_policy;
use crate::checks::rls::{Report, check, generate};
use crate::config::{Config, Layout, Upstream};
use crate::policy::tenants_of;

/// Options of `pgwarden rls`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Row-level security as a second layer below the guard: policies that compare the tenant column with the \
                  setting that pgwarden seals (tenancy.setting, and for the key named k the setting with _k behind it). They \
                  hold inside functions and views too."
)]
pub struct RlsArgs {
    #[command(subcommand)]
    command: RlsCommand,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum RlsCommand {
    /// Print the DDL for every tenant table: ENABLE, FORCE, and a policy
    Generate(ConfigArgs),
    /// Say table by table what is missing, and whether the upstream's role bypasses policies; exit code 1 if anything is
    Check(ConfigArgs),
}

/// Prints DDL or a report.
pub(super) fn run(args: &RlsArgs) -> ExitCode {
    let (RlsCommand::Generate(config) | RlsCommand::Check(config)) = &args.command;
    let config = match config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let checks = matches!(args.command, RlsCommand::Check(_));
    let mut said = String::new();
    let done = match runtime() {
        Ok(runtime) => runtime.block_on(all(&config, checks, &mut said)),
        Err(code) => return code,
    };
    let code = conclude(said, done == Ok(true));
    if let Err(error) = done {
        eprintln!("pgwarden: {error}");
    }
    code
}

/// Whether nothing is missing on any upstream; what is to be told of them is `said`.
async fn all(config: &Config, checks: bool, said: &mut String) -> Result<bool, String> {
    let mut complete = true;
    let progress = Progress::new();
    for upstream in config.upstreams.values().filter(|upstream| is_shared(config, upstream)) {
        let told =
            |error: &dyn std::fmt::Display| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address);
        progress.say(format!("reading upstream \"{}\"", upstream.name));
        let (policy, _) = load_policy(config, upstream).await.map_err(|error| told(&error))?;
        if tenant_tables(&policy) == 0 {
            continue;
        }
        if !checks {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(said, "-- upstream \"{}\", database \"{}\"", upstream.name, upstream.database);
            let _ = writeln!(said, "{}", generate(&policy));
            continue;
        }
        let report = check(&policy);
        let _ = tell(said, upstream, &report);
        complete &= report.is_complete();
    }
    Ok(complete)
}

/// Whether tenants share tables there: those with a schema or a database of their own need no policy.
fn is_shared(config: &Config, upstream: &Upstream) -> bool {
    upstream.name == config.tenancy.upstream
        || tenants_of(config, &upstream.name).iter().any(|tenant| tenant.layout == Layout::Shared)
}

fn tell(said: &mut String, upstream: &Upstream, report: &Report) -> std::fmt::Result {
    let Upstream { name, database, enforcement, .. } = upstream;
    writeln!(said, "upstream \"{name}\", database \"{database}\", enforcement {}", enforcement.as_str())?;
    report.role.iter().try_for_each(|text| writeln!(said, "  {text}"))?;
    for table in &report.tables {
        let state = if table.missing.is_empty() { "complete" } else { "incomplete" };
        writeln!(said, "  {}: {state}", table.table)?;
        table.missing.iter().try_for_each(|text| writeln!(said, "      {text}"))?;
    }
    Ok(())
}
