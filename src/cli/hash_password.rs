//! `pgwarden hash-password`

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use crate::auth::ScramVerifier;
use crate::base::Secret;

/// Longest password, in bytes: more could not be sent at login.
const MAX_PASSWORD: u64 = 1024;

/// Options of `pgwarden hash-password`: none. A password on the command line would be seen by all on the machine.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(
    long_about = "Turn a password into what the configuration stores for a login: a SCRAM-SHA-256 verifier, from which the \
                  password cannot be read back. It is the same as in Postgres's pg_authid.\n\nThe password is asked for on a \
                  terminal, without echo; else it is the first line of standard input.",
    after_help = "Examples:\n  pgwarden hash-password\n  pgwarden hash-password < app.password\n\nThen, in the configuration:\n  \
                  [[login]]\n  name = \"app\"\n  password = \"SCRAM-SHA-256$...\""
)]
pub struct HashPasswordArgs {}

/// Asks, and prints the verifier on standard output.
pub(super) fn run(_: &HashPasswordArgs) -> ExitCode {
    let password = if io::stdin().is_terminal() { ask() } else { first_line(io::stdin().lock()) };
    match password {
        Ok(password) => {
            super::print(format!("{}\n", ScramVerifier::from_password(password.expose()).to_text().expose()))
        }
        Err(reason) => {
            eprintln!("pgwarden: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Twice, on the terminal.
fn ask() -> Result<Secret, String> {
    let prompt = |text| {
        let typed = rpassword::prompt_password(text).map_err(|error| format!("the terminal: {error}"))?;
        Ok::<_, String>(Secret::new(typed))
    };
    let password = prompt("Password: ")?;
    if prompt("Again: ")?.expose() != password.expose() {
        return Err("the two passwords are not the same".to_owned());
    }
    usable(password)
}

fn first_line(input: impl io::BufRead) -> Result<Secret, String> {
    let mut line = String::new();
    input.take(MAX_PASSWORD + 2).read_line(&mut line).map_err(|error| format!("standard input: {error}"))?;
    let secret = Secret::new(line.trim_end_matches(['\n', '\r']));
    drop(zeroize::Zeroizing::new(line));
    usable(secret)
}

fn usable(password: Secret) -> Result<Secret, String> {
    let len = u64::try_from(password.expose().len()).unwrap_or(u64::MAX);
    match len {
        0 => Err("the password is empty".to_owned()),
        1..=MAX_PASSWORD => Ok(password),
        _ => Err(format!("the password is longer than {MAX_PASSWORD} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        let read = |text: &str| first_line(text.as_bytes()).map(|s| s.expose().to_owned());
        assert_eq!(read("hunter2\nmore"), Ok("hunter2".to_owned()));
        assert_eq!(read(" spaces stay \r\n"), Ok(" spaces stay ".to_owned()));
        assert_eq!(read("no end"), Ok("no end".to_owned()));
        assert!(read("\n").is_err() && read("").is_err());
        assert!(read(&"x".repeat(1024)).is_ok() && read(&"x".repeat(1025)).is_err());
        assert!(first_line([0xff, b'\n'].as_slice()).is_err());
    }
}
