//! `--config`, for all subcommands that need the configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Loaded, load};

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
        let (loaded, errors, warnings) = match load(&self.config) {
            Ok(loaded) => {
                let warnings = loaded.warnings.clone();
                (Some(loaded), Vec::new(), warnings)
            }
            Err(found) => (None, found.errors, found.warnings),
        };
        for warning in &warnings {
            eprintln!("warning: {warning}");
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
}
