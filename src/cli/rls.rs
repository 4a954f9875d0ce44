//! `pgwarden rls`

use std::process::ExitCode;

use clap::Subcommand;

use super::{ConfigArgs, runtime};
use crate::catalog;
use crate::checks::doctor::tenant_tables;
use crate::checks::rls::{Report, check, generate};
use crate::config::{Config, Layout, Upstream};
use crate::guard::Policy;
use crate::policy::{PolicyInput, build_policy, tenants_of};
use crate::sql::StatementLimits;

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
    let config = match config.load() {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let checks = matches!(args.command, RlsCommand::Check(_));
    let done = match runtime() {
        Ok(runtime) => runtime.block_on(all(&config, checks)),
        Err(code) => return code,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing is missing on any upstream.
async fn all(config: &Config, checks: bool) -> Result<bool, String> {
    let mut complete = true;
    for upstream in config.upstreams.values().filter(|upstream| is_shared(config, upstream)) {
        let told =
            |error: &dyn std::fmt::Display| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address);
        let policy = policy(config, upstream).await.map_err(|error| told(&error))?;
        if tenant_tables(&policy) == 0 {
            continue;
        }
        if !checks {
            println!("-- upstream \"{}\", database \"{}\"", upstream.name, upstream.database);
            println!("{}", generate(&policy));
            continue;
        }
        let report = check(&policy);
        print(upstream, &report);
        complete &= report.is_complete();
    }
    Ok(complete)
}

/// Whether tenants share tables there: those with a schema or a database of their own need no policy.
fn is_shared(config: &Config, upstream: &Upstream) -> bool {
    upstream.name == config.tenancy.upstream
        || tenants_of(config, &upstream.name).iter().any(|tenant| tenant.layout == Layout::Shared)
}

async fn policy(config: &Config, upstream: &Upstream) -> Result<Policy, catalog::LoadError> {
    let catalog = catalog::load(upstream).await?;
    let tenants = tenants_of(config, &upstream.name);
    let input = PolicyInput {
        tenancy: &config.tenancy,
        tenants: &tenants,
        enforcement: upstream.enforcement,
        limits: StatementLimits::default(),
    };
    Ok(build_policy(&input, catalog, 0).0)
}

fn print(upstream: &Upstream, report: &Report) {
    println!(
        "upstream \"{}\", database \"{}\", enforcement {}",
        upstream.name,
        upstream.database,
        upstream.enforcement.as_str()
    );
    report.role.iter().for_each(|text| println!("  {text}"));
    for table in &report.tables {
        println!("  {}: {}", table.table, if table.missing.is_empty() { "complete" } else { "incomplete" });
        table.missing.iter().for_each(|text| println!("      {text}"));
    }
}
