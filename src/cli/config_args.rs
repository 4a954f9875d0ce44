//! `--config`, for all subcommands that need the configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use super::runtime;
use crate::checks::tenants;
use crate::config::{Config, Diagnostic, Loaded, load};

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "pgwarden.toml")]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// Loads the configuration; prints what is wrong with it, warnings included, on standard error.
    ///
    /// # Errors
    /// The exit code for a configuration that is not accepted.
    pub fn load(&self) -> Result<Loaded, ExitCode> {
        self.load_and(|warning| eprintln!("warning: {warning}"))
    }

    fn load_and(&self, warn: impl Fn(&Diagnostic)) -> Result<Loaded, ExitCode> {
        let (loaded, errors, warnings) = match load(&self.config) {
            Ok(loaded) => {
                let warnings = loaded.warnings.clone();
                (Some(loaded), Vec::new(), warnings)
            }
            Err(found) => (None, found.errors, found.warnings),
        };
        for warning in &warnings {
            warn(warning);
        }
        for error in &errors {
            eprintln!("error: {error}");
        }
        loaded.ok_or_else(|| {
            let count = errors.len();
            eprintln!("{count} error{} in {}", if count == 1 { "" } else { "s" }, self.config.display());
            ExitCode::FAILURE
        })
    }

    /// The same, with the tenants of `[tenants_from]` as they are now. What is legal but probably not meant is for `check` and `serve`.
    ///
    /// # Errors
    /// The exit code, too, for a table that cannot be read. Rows that make no tenant are warned of.
    pub fn load_with_tenants(&self) -> Result<Config, ExitCode> {
        let config = self.load_and(|_| {})?.config;
        let Some(upstream) = config.tenants_from.as_ref().map(|from| from.upstream.clone()) else { return Ok(config) };
        match runtime()?.block_on(tenants::with_table(config)) {
            Ok((config, rejected)) => {
                for row in rejected {
                    eprintln!("warning: [tenants_from]: row \"{}\" is left out: {}", row.name, row.why);
                }
                Ok(config)
            }
            Err(error) => {
                eprintln!("pgwarden: [tenants_from] on upstream \"{upstream}\": {error}");
                Err(ExitCode::FAILURE)
            }
        }
    }
}
