//! `pgwarden import-pgbouncer`

mod convert;
mod ini;
mod keys;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use convert::convert;
use ini::{Ini, userlist};

/// Options of `pgwarden import-pgbouncer`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Turn a configuration of PgBouncer into one of pgwarden that does the same: each database is a tenant with a \
                  database of its own, under the name that clients know. Prints it on standard output; what could not be \
                  carried over, and what must be filled in, is said on standard error and at the end of the file.",
    after_help = "Example:\n  pgwarden import-pgbouncer /etc/pgbouncer/pgbouncer.ini /etc/pgbouncer/userlist.txt > pgwarden.toml\n  \
                  pgwarden check --config pgwarden.toml --connect"
)]
pub struct ImportArgs {
    /// PgBouncer's configuration
    ini: PathBuf,
    /// Its list of users (auth_file). Passwords in clear become SCRAM verifiers
    userlist: Option<PathBuf>,
}

/// Prints the configuration on standard output.
pub(super) fn run(args: &ImportArgs) -> ExitCode {
    let imported = match read(args) {
        Ok((ini, users)) => convert(&ini, &users),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut text = format!("# Made from {} by pgwarden import-pgbouncer.\n\n{}", args.ini.display(), imported.toml);
    if !imported.notes.is_empty() {
        text.push_str("\n# To look at:\n");
    }
    for note in &imported.notes {
        eprintln!("{note}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# * {}", note.replace(['\n', '\r'], " "));
    }
    super::print(text)
}

fn read(args: &ImportArgs) -> Result<(Ini, Vec<(String, String)>), String> {
    let name = |path: &Path| path.display().to_string();
    let text = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let ini = Ini::read(&name(&args.ini), &text(&args.ini)?).map_err(|error| error.to_string())?;
    let users = match &args.userlist {
        Some(path) => userlist(&name(path), &text(path)?).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    Ok((ini, users))
}

#[cfg(test)]
mod tests {
    use super::keys::{DATABASE, Fate, SETTINGS, USER};

    /// What the page says of each key is what the command does.
    #[test]
    fn the_page_has_every_key() {
        let page = include_str!("../../../docs/from-pgbouncer.md");
        for (of, keys) in [("SETTINGS", SETTINGS), ("DATABASE", DATABASE), ("USER", USER)] {
            assert!(keys.is_sorted_by_key(|(key, _)| *key), "{of} is in order");
            for (key, fate) in keys {
                let line = match fate {
                    Fate::Carried(to) => format!("| `{key}` | {to} |"),
                    Fate::Needless(why) => format!("| `{key}` | not needed: {why} |"),
                    Fate::Missing(instead) => format!("| `{key}` | not carried over: {instead} |"),
                };
                assert!(page.contains(&line), "the page lacks\n{line}");
            }
        }
    }
}
