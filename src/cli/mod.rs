//! The command line: one file a subcommand.

mod check;
mod config_args;
pub mod demo;
mod hash_password;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config_args::ConfigArgs;

/// A tenant-aware Postgres proxy: an app points its DATABASE_URL at it, and no SQL that the app sends can read or change
/// another tenant's rows.
#[derive(Debug, Parser)]
#[command(
    name = "pgwarden",
    version,
    max_term_width = 110,
    after_help = "Examples:\n  \
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
    /// Check a configuration file; report everything that is wrong with it at once
    Check(check::CheckArgs),
    /// Turn a password into what the configuration stores for a login
    HashPassword(hash_password::HashPasswordArgs),
}

/// Runs a subcommand. 0: it went well; 1: it did not, and said why on standard error (2, by clap: it was called wrongly).
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Check(args) => check::run(&args),
        Command::HashPassword(args) => hash_password::run(&args),
    }
}

/// A runtime for subcommands that talk to servers.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Runtime::new().map_err(|error| {
        eprintln!("pgwarden: cannot start: {error}");
        ExitCode::FAILURE
    })
}
