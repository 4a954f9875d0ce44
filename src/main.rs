//! The command line, nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    pgwarden::cli::run(pgwarden::cli::Cli::parse())
}
