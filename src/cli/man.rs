//! `pgwarden man`

use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::Cli;

/// Options of `pgwarden man`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pgwarden man > /usr/local/share/man/man1/pgwarden.1\n  \
    pgwarden man rls check > /usr/local/share/man/man1/pgwarden-rls-check.1")]
pub struct ManArgs {
    /// The subcommand whose page it is; without one, the page of pgwarden itself
    pub command: Vec<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum ManError {
    #[error("there is no subcommand {0:?}; `pgwarden help` lists them")]
    Unknown(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints a manual page in roff.
pub(super) fn run(args: &ManArgs) -> ExitCode {
    match page(&args.command) {
        Ok(page) => super::print(&page),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn page(names: &[String]) -> Result<Vec<u8>, ManError> {
    let mut root = Cli::command().disable_help_subcommand(true);
    // Gives subcommands their full names.
    root.build();
    let mut command = &root;
    for name in names {
        command = command.find_subcommand(name).ok_or_else(|| ManError::Unknown(names.join(" ")))?;
    }
    let mut page = Vec::new();
    let version = concat!("pgwarden ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(version).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(names: &[&str]) -> Result<String, ManError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        page(&names).map(|page| String::from_utf8(page).unwrap())
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let main = text(&[]).unwrap();
        assert!(main.contains(".TH pgwarden 1"), "{main}");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(main.contains(&format!("pgwarden\\-{}(1)", name.replace('-', "\\-"))), "{name}:\n{main}");
            assert!(text(&[name]).unwrap().contains(&format!(".TH pgwarden-{name} 1")), "{name}");
        }
        assert!(text(&["rls", "check"]).unwrap().contains(".TH pgwarden-rls-check 1"));
    }

    #[test]
    fn unknown_subcommands_are_errors() {
        for names in [["nonesuch"].as_slice(), &["rls", "nonesuch"], &["serve", "check"]] {
            assert!(matches!(text(names), Err(ManError::Unknown(_))), "{names:?}");
        }
    }
}
