//! `pgwarden completions`

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Options of `pgwarden completions`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    source <(pgwarden completions bash)                                          in ~/.bashrc\n  \
    pgwarden completions zsh > ~/.zfunc/_pgwarden                                with ~/.zfunc in fpath\n  \
    pgwarden completions fish > ~/.config/fish/completions/pgwarden.fish")]
pub struct CompletionsArgs {
    /// The shell that reads them
    pub shell: Shell,
}

/// Prints the shell's completions of pgwarden's subcommands and options.
pub(super) fn run(args: &CompletionsArgs) -> ExitCode {
    super::print(script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pgwarden", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_gets_subcommands_and_options() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["pgwarden", "verify-isolation", "hash-password", "as-a", "fail-on"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
