//! The command line: one file a subcommand.

mod assess;
mod check;
mod completions;
mod config_args;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod explain;
mod hash_password;
mod import_pgbouncer;
mod init;
mod man;
mod migrate;
mod progress;
mod query;
mod rls;
mod serve;
mod tenant;
mod text;
mod usage;
mod verify_isolation;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config_args::ConfigArgs;
use progress::Progress;

/// A tenant-aware Postgres proxy: an app points its DATABASE_URL at it, and no SQL that the app sends can read or change
/// another tenant's rows.
#[derive(Debug, Parser)]
#[command(
    name = "pgwarden",
    version,
    max_term_width = 110,
    after_help = "Examples:\n  \
        pgwarden demo                                      see it at work, with a throwaway Postgres\n  \
        pgwarden init --url postgres://...                 write a first configuration for a database\n  \
        pgwarden serve --config pgwarden.toml              run the proxy\n  \
        pgwarden explain --tenant acme \"SELECT ...\"       what would become of a statement, and why\n  \
        pgwarden hash-password                             make a login's stored password\n  \
        pgwarden check --config pgwarden.toml --connect    check the file, and the upstreams against it"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "demo")]
    /// See it at work: a throwaway Postgres with a web shop, the proxy in front of it, and a tour
    Demo(demo::DemoArgs),
    /// Write a first configuration for a database, with the reason of each guess
    Init(Box<init::InitArgs>),
    /// Run the proxy
    Serve(serve::ServeArgs),
    /// Check a configuration file; report everything that is wrong with it at once
    Check(check::CheckArgs),
    /// Show what the proxy does to a statement, and why
    Explain(explain::ExplainArgs),
    /// Say what would become of the statements that an app sends, before it sends them through pgwarden
    Assess(Box<assess::AssessArgs>),
    /// Examine the upstreams' schema for what weakens isolation, with the DDL that mends it
    Doctor(doctor::DoctorArgs),
    /// Attack a running proxy with your own schema, as one tenant on another: for your CI
    VerifyIsolation(Box<verify_isolation::VerifyArgs>),
    /// Row-level security as a second layer: print the policies, or say what is missing
    Rls(rls::RlsArgs),
    /// Print the DDL of an event trigger by which a database tells pgwarden of schema changes at once, not within
    /// tenancy.catalog_max_age. Run it there: pgwarden ddl-trigger | psql ...
    DdlTrigger,
    /// Turn a configuration of PgBouncer into one of pgwarden
    ImportPgbouncer(import_pgbouncer::ImportArgs),
    /// The life of a tenant: make, list, show, suspend, export, import, delete
    Tenant(Box<tenant::TenantArgs>),
    /// Migrations in the schema or database of every tenant, or in shared tables: files, or any tool
    Migrate(Box<migrate::MigrateArgs>),
    /// Ask many tenants one question, each through the guard: rows with the tenant's name in front
    Query(Box<query::QueryArgs>),
    /// What each tenant has used, from the usage table: for people, or as CSV or JSON for billing
    Usage(usage::UsageArgs),
    /// Turn a password into what the configuration stores for a login
    HashPassword(hash_password::HashPasswordArgs),
    /// Print completions of subcommands and options for a shell
    Completions(completions::CompletionsArgs),
    /// Print a manual page, in roff
    Man(man::ManArgs),
}

/// Runs a subcommand. 0: it went well; 1: it did not, and said why on standard error (2, by clap: it was called wrongly).
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Rls(args) => rls::run(&args),
        Command::Assess(args) => assess::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::VerifyIsolation(args) => verify_isolation::run(&args),
        Command::Check(args) => check::run(&args),
        Command::DdlTrigger => print(crate::catalog::DDL_TRIGGER.as_bytes()),
        Command::ImportPgbouncer(args) => import_pgbouncer::run(&args),
        Command::Tenant(args) => tenant::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Usage(args) => usage::run(&args),
        Command::HashPassword(args) => hash_password::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Prints what a subcommand makes for others to read. Standard output that is closed early is an error, not a panic.
fn print(text: impl AsRef<[u8]>) -> ExitCode {
    conclude(text, true)
}

/// As [`print()`]; and the end of a subcommand that went well or did not.
fn conclude(text: impl AsRef<[u8]>, well: bool) -> ExitCode {
    match io::stdout().write_all(text.as_ref()).and_then(|()| io::stdout().flush()) {
        Ok(()) if well => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("pgwarden: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime for subcommands that talk to servers.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Runtime::new().map_err(|error| {
        eprintln!("pgwarden: cannot start: {error}");
        ExitCode::FAILURE
    })
}
