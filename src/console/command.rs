//! The console's language.

use std::time::Duration;

use crate::base::{PgError, SessionId, SqlState, UpstreamName};
use crate::config::parse_duration;

/// A tenant's clients wait so long where nothing else is said.
const PAUSE: Duration = Duration::from_secs(60);
/// And no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How the process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Transactions may end, within the shutdown timeout.
    Drain,
    /// At once.
    Now,
    /// No more clients are accepted; those that are there leave when they like.
    WaitForClients,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `SHOW table`, in capitals.
    Show(String),
    /// `RELOAD`
    Reload,
    /// `PAUSE [upstream]`
    Pause(Option<UpstreamName>),
    /// `RESUME [upstream]`
    Resume(Option<UpstreamName>),
    /// `PAUSE TENANT name [FOR 'time']`
    PauseTenant(String, Duration),
    /// `RESUME TENANT name`
    ResumeTenant(String),
    /// `KILL TENANT name`
    KillTenant(String),
    /// `KILL CLIENT id`
    KillClient(SessionId),
    /// `SHUTDOWN [NOW | WAIT_FOR_CLIENTS]`
    Shutdown(Shutdown),
}

/// Reads a text of commands, with semicolons between them.
///
/// # Errors
/// 42601: it is none of them.
pub fn parse(text: &str) -> Result<Vec<Command>, PgError> {
    let tokens = tokens(text)?;
    let commands = tokens.split(|token| *token == Token::End).filter(|words| !words.is_empty());
    commands.map(command).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// As written.
    Word(String),
    /// In quotes of either kind.
    Quoted(String),
    End,
}

fn unknown() -> PgError {
    PgError::error(SqlState::SYNTAX_ERROR, "this is no command of pgwarden's console").hint("SHOW HELP lists them.")
}

fn tokens(text: &str) -> Result<Vec<Token>, PgError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            ';' => {
                tokens.push(Token::End);
                rest.strip_prefix(';').unwrap_or_default()
            }
            '\'' | '"' => {
                let (quoted, after) = take_quoted(rest, first).ok_or_else(unknown)?;
                tokens.push(Token::Quoted(quoted));
                after
            }
            '-' if rest.starts_with("--") => rest.split_once('\n').map_or("", |(_, after)| after),
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, ';' | '\'' | '"')).unwrap_or(rest.len());
                let (word, after) = rest.split_at_checked(end).ok_or_else(unknown)?;
                tokens.push(Token::Word(word.to_owned()));
                after
            }
        }
        .trim_start();
    }
    Ok(tokens)
}

fn take_quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix(quote)?;
    let mut found = String::new();
    loop {
        let (before, after) = rest.split_once(quote)?;
        found.push_str(before);
        match after.strip_prefix(quote) {
            Some(more) => {
                found.push(quote);
                rest = more;
            }
            None => return Some((found, after)),
        }
    }
}

fn command(tokens: &[Token]) -> Result<Command, PgError> {
    let keyword = |token: &Token| match token {
        Token::Word(word) => word.to_ascii_uppercase(),
        Token::Quoted(_) | Token::End => String::new(),
    };
    let name = |token: &Token| match token {
        Token::Word(text) | Token::Quoted(text) => text.clone(),
        Token::End => String::new(),
    };
    let [first, rest @ ..] = tokens else { return Err(unknown()) };
    let upstream = |rest: &[Token]| match rest {
        [] => Ok(None),
        [one] => Ok(Some(UpstreamName::new(name(one)))),
        _ => Err(unknown()),
    };
    match (keyword(first).as_str(), rest) {
        ("SHOW", [what]) => Ok(Command::Show(keyword(what))),
        ("RELOAD", []) => Ok(Command::Reload),
        ("PAUSE", [what, whom]) if keyword(what) == "TENANT" => Ok(Command::PauseTenant(name(whom), PAUSE)),
        ("PAUSE", [what, whom, until, time]) if keyword(what) == "TENANT" && keyword(until) == "FOR" => {
            pause_time(&name(time)).map(|time| Command::PauseTenant(name(whom), time))
        }
        ("RESUME", [what, whom]) if keyword(what) == "TENANT" => Ok(Command::ResumeTenant(name(whom))),
        ("PAUSE", rest) => upstream(rest).map(Command::Pause),
        ("RESUME", rest) => upstream(rest).map(Command::Resume),
        ("KILL", [what, whom]) => match keyword(what).as_str() {
            "TENANT" => Ok(Command::KillTenant(name(whom))),
            "CLIENT" => name(whom).parse().map(|id| Command::KillClient(SessionId(id))).map_err(|_| {
                PgError::error(SqlState::INVALID_TEXT_REPRESENTATION, format!("\"{}\" is no client's id", name(whom)))
                    .hint("SHOW CLIENTS lists them.")
            }),
            _ => Err(unknown()),
        },
        ("SHUTDOWN", []) => Ok(Command::Shutdown(Shutdown::Drain)),
        ("SHUTDOWN", [how]) => match keyword(how).as_str() {
            "NOW" => Ok(Command::Shutdown(Shutdown::Now)),
            "WAIT_FOR_CLIENTS" => Ok(Command::Shutdown(Shutdown::WaitForClients)),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// How long a tenant's clients are to wait.
fn pause_time(text: &str) -> Result<Duration, PgError> {
    let time = parse_duration(text).filter(|time| (Duration::from_secs(1)..=LONGEST_PAUSE).contains(time));
    time.ok_or_else(|| {
        PgError::error(SqlState::INVALID_TEXT_REPRESENTATION, format!("\"{text}\" is no time from 1s to 1h"))
            .hint("PAUSE TENANT acme FOR '30s'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let one = |text: &str| parse(text).unwrap().remove(0);
        assert_eq!(one("show pools;"), Command::Show("POOLS".to_owned()));
        assert_eq!(one("  RELOAD ; "), Command::Reload);
        assert_eq!(one("PAUSE"), Command::Pause(None));
        assert_eq!(one("pause \"main\""), Command::Pause(Some(UpstreamName::new("main"))));
        assert_eq!(one("KILL TENANT 'acme-2'"), Command::KillTenant("acme-2".to_owned()));
        assert_eq!(one("kill client 17"), Command::KillClient(SessionId(17)));
        assert_eq!(one("PAUSE TENANT acme"), Command::PauseTenant("acme".to_owned(), PAUSE));
        let half = Duration::from_secs(30);
        assert_eq!(one("pause tenant 'a-1' for '30s'"), Command::PauseTenant("a-1".to_owned(), half));
        assert_eq!(one("RESUME TENANT acme"), Command::ResumeTenant("acme".to_owned()));
        assert_eq!(one("SHUTDOWN wait_for_clients"), Command::Shutdown(Shutdown::WaitForClients));
        assert_eq!(parse("SHOW POOLS; -- both\nSHOW CLIENTS").unwrap().len(), 2);
        assert_eq!(parse(" ; ").unwrap(), []);
    }

    #[test]
    fn all_else_is_refused() {
        for bad in [
            "PAUSE TENANT a FOR '2h'",
            "PAUSE TENANT a FOR soon",
            "SELECT 1",
            "SHOW",
            "SHOW a b",
            "KILL",
            "KILL CLIENT x",
            "KILL acme",
            "RELOAD now",
            "'",
            "PAUSE a b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("SELECT 1").unwrap_err().code, SqlState::SYNTAX_ERROR);
    }
}
