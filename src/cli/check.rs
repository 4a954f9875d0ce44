//! `pgwarden check`

use std::process::ExitCode;

use tokio_postgres::error::SqlState;

use super::{ConfigArgs, conclude, print, runtime};
use crate::catalog::LoadError;
use crate::checks::tenants::written_by_tenants;
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Layout, Role, Upstream};
use crate::control::ControlError;
use crate::guard::TableRule;
use crate::policy::{NoteLevel, tenants_of};
use crate::tenant::LoginQuery;

/// Options of `pgwarden check`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Check a configuration file; report everything that is wrong with it at once, each as \
                  file:line:column and a hint. With --connect, also read the catalog of each upstream and report what \
                  does not fit: tables that are missing or not configured, keys that are no values of their columns, an auth query that does not give what it should.",
    after_help = "Examples:\n  pgwarden check\n  pgwarden check --config /etc/pgwarden/pgwarden.toml --connect\n\nExit code: 0 \
                  if there is no error (warnings are none), 1 if there is."
)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Connect to the upstreams too, and check the tables there
    #[arg(long)]
    connect: bool,
}

/// Reports on standard error; a summary goes to standard output.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let mut said = String::new();
    let (config, errors) = match args.connect {
        true => match runtime() {
            Ok(runtime) => runtime.block_on(connected(config, &mut said)),
            Err(code) => return code,
        },
        false => (config, 0),
    };
    if errors > 0 {
        eprintln!("{errors} error{}", if errors == 1 { "" } else { "s" });
        return conclude(said, false);
    }
    let observed = config.logins.iter().filter(|login| login.role == Role::Observed).count();
    if observed > 0 {
        said.push_str(&format!("OBSERVED logins: {observed}; NOTHING is enforced for them\n"));
    }
    let others = if config.tenants_from.is_some() && !args.connect { " and those of [tenants_from]" } else { "" };
    said.push_str(&format!(
        "{}: ok ({} tenants{others}, {} logins, {} upstreams)\n",
        config.path.display(),
        config.tenants.len(),
        config.logins.len(),
        config.upstreams.len()
    ));
    print(said)
}

/// With the tenants of the table, if there is one.
async fn connected(config: Config, said: &mut String) -> (Config, usize) {
    let (config, errors) = check_tenants(config, said).await;
    let gates = check_gates(&config).await;
    let found = check_upstreams(&config, said).await;
    (config, errors + gates + found)
}

/// The tables by which proxies agree on moves.
async fn check_gates(config: &Config) -> usize {
    // That nobody can be asked was told with the tenants.
    let Ok(lacking) = tenants::gate_tables_lack(config).await else { return 0 };
    for (table, what) in &lacking {
        eprintln!(
            "error: [moves]: {table} {what}: no tenant of [tenants_from] would be served\n    hint: pgwarden tenant init \
             makes it, with what the pool's role must do there (--ddl prints it)"
        );
    }
    lacking.len()
}

/// Reads the tenants' table. A row that makes no tenant is an error here: somebody expects to be served.
async fn check_tenants(config: Config, said: &mut String) -> (Config, usize) {
    let Some(upstream) = config.tenants_from.as_ref().map(|from| from.upstream.clone()) else { return (config, 0) };
    let listed = config.tenants.len();
    match tenants::with_table(config.clone()).await {
        Ok((config, rejected)) => {
            for row in &rejected {
                eprintln!(
                    "error: [tenants_from] on upstream \"{upstream}\": row \"{}\" is left out: {}",
                    row.name, row.why
                );
            }
            let count = config.tenants.len().saturating_sub(listed);
            said.push_str(&format!("[tenants_from] on upstream \"{upstream}\": {count} tenants\n"));
            (config, rejected.len())
        }
        Err(error) => {
            eprintln!("error: [tenants_from] on upstream \"{upstream}\": {error}");
            (config, 1)
        }
    }
}

/// Returns how many errors there were; what is right is `said`.
async fn check_upstreams(config: &Config, said: &mut String) -> usize {
    let mut errors = 0;
    for upstream in config.upstreams.values() {
        match check_upstream(config, upstream, said).await {
            Ok(found) => errors += found,
            Err(error) => {
                eprintln!("error: upstream \"{}\" at {}: {error}", upstream.name, upstream.address);
                if let Some(hint) = hint(&error) {
                    eprintln!("    hint: {hint}");
                }
                errors += 1;
            }
        }
    }
    if let Some(query) = &config.auth_query {
        match LoginQuery::check(query).await {
            Ok(()) => said.push_str(&format!("[auth_query] on upstream \"{}\": ok\n", query.upstream.name)),
            Err(error) => {
                eprintln!("error: [auth_query] on upstream \"{}\": {error}", query.upstream.name);
                errors += 1;
            }
        }
    }
    errors
}

/// What to do where an upstream does not let pgwarden in.
fn hint(error: &LoadError) -> Option<&'static str> {
    let LoadError::Control(ControlError::Postgres(error)) = error else { return None };
    let code = error.code()?;
    if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION || *code == SqlState::INVALID_PASSWORD {
        return Some(
            "run the SQL that pgwarden init wrote (pgwarden.sql): it makes the role, with this password; or see to url and password",
        );
    }
    (*code == SqlState::INVALID_CATALOG_NAME).then_some("the database is the last part of url")
}

async fn check_upstream(config: &Config, upstream: &Upstream, said: &mut String) -> Result<usize, LoadError> {
    let (policy, notes) = load_policy(config, upstream).await?;
    let tenants = tenants_of(config, &upstream.name);
    let version = policy.catalog.server_version_num;
    let mut errors = 0;
    for note in notes {
        let level = match note.level() {
            NoteLevel::Error => {
                errors += 1;
                "error"
            }
            NoteLevel::Warning => "warning",
        };
        eprintln!("{level}: upstream \"{}\": {note}", upstream.name);
    }
    if !tenants.is_empty() {
        for table in written_by_tenants(config, upstream, &policy) {
            eprintln!(
                "warning: upstream \"{}\": tenants may write {table}, from which [tenants_from] has its tenants: \"{table}\" = {{ write = false }} \
                 in [tenancy.tables] keeps one from taking another's name",
                upstream.name
            );
        }
    }
    let guarded = policy.tables.values().filter(|r| matches!(r, TableRule::Tenant(_))).count();
    let of_layout = |wanted: fn(&Layout) -> bool| tenants.iter().filter(|t| wanted(&t.layout)).count();
    said.push_str(&format!(
        "upstream \"{}\" at {}: Postgres {}.{}; enforcement {}; {guarded} tenant tables, {} shared; tenants: {} in the shared layout, {} with \
         a schema, {} with the database\n",
        upstream.name,
        upstream.address,
        version / 10_000,
        version % 10_000,
        upstream.enforcement.as_str(),
        policy.tables.len() - guarded,
        of_layout(|l| matches!(l, Layout::Shared)),
        of_layout(|l| matches!(l, Layout::Schema { .. })),
        of_layout(|l| matches!(l, Layout::Database)),
    ));
    Ok(errors)
}
