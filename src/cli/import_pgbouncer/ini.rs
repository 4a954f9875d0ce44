//! Reads `pgbouncer.ini`, its connection strings, and `userlist.txt` (PgBouncer's manual, "File format").

use std::collections::BTreeMap;

/// A line that cannot be read: file, line, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {why}")]
pub(super) struct Malformed {
    pub file: String,
    pub line: usize,
    pub why: &'static str,
}

/// The words of a connection string by their keys.
pub(super) type Words = BTreeMap<String, String>;

/// A configuration of PgBouncer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ini {
    /// `[databases]`, in their order.
    pub databases: Vec<(String, Words)>,
    /// `[users]`, in their order.
    pub users: Vec<(String, Words)>,
    /// `[peers]`
    pub peers: usize,
    /// `[pgbouncer]`; of a key that comes twice the last value.
    pub settings: BTreeMap<String, String>,
    /// `%include`, which are not followed.
    pub includes: Vec<String>,
}

/// Which section a line stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Nothing,
    Databases,
    Users,
    Peers,
    Settings,
}

impl Ini {
    /// Reads it; `file` is its name in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, Malformed> {
        let mut ini = Self::default();
        let mut section = In::Nothing;
        for (number, line) in text.lines().enumerate() {
            let wrong = |why| Malformed { file: file.to_owned(), line: number + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(name) = line.strip_prefix("%include") {
                ini.includes.push(name.trim().to_owned());
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = match name {
                    "databases" => In::Databases,
                    "users" => In::Users,
                    "peers" => In::Peers,
                    "pgbouncer" => In::Settings,
                    _ => return Err(wrong("no such section: databases, users, peers and pgbouncer are known")),
                };
            } else {
                let (key, value) = line.split_once('=').ok_or_else(|| wrong("neither a section nor key = value"))?;
                let (key, value) = (unquoted(key.trim()), value.trim());
                let words = || words(value).ok_or_else(|| wrong("not a connection string of key=value"));
                match section {
                    In::Nothing => return Err(wrong("it stands before the first section")),
                    In::Databases => ini.databases.push((key, words()?)),
                    In::Users => ini.users.push((key, words()?)),
                    In::Peers => ini.peers += 1,
                    In::Settings => drop(ini.settings.insert(key.to_ascii_lowercase(), value.to_owned())),
                }
            }
        }
        Ok(ini)
    }
}

/// A name in double quotes may hold anything; `""` in it is one of them.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

/// `key=value key='a value with '' in it'`, with white space around `=` too.
fn words(text: &str) -> Option<Words> {
    let mut words = Words::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        let behind = behind.trim_start();
        let (value, behind) = match behind.strip_prefix('\'') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
                let (value, behind) = behind.split_at_checked(end)?;
                (value.to_owned(), behind)
            }
        };
        words.insert(key.to_ascii_lowercase(), value);
        rest = behind.trim_start();
    }
    Some(words)
}

/// What stands before the closing quote, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('\'')?;
        value.push_str(before);
        match behind.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, behind)),
        }
    }
}

/// `"name" "secret"` in each line.
pub(super) fn userlist(file: &str, text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let wrong = || Malformed { file: file.to_owned(), line: number + 1, why: "not \"name\" \"password\"" };
        let (name, rest) = in_quotes(line).ok_or_else(wrong)?;
        let (secret, _) = in_quotes(rest.trim_start()).ok_or_else(wrong)?;
        users.push((name, secret));
    }
    Ok(users)
}

fn in_quotes(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (before, behind) = rest.split_once('"')?;
        value.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(given: &[(&str, &str)]) -> Words {
        given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn sections_comments_and_quotes() {
        let text = "; a comment\n[databases]\nshop = host=db port = 5433 password='it''s = one' pool_size=5\n\"odd \"\"name\" =\n\
            * = host=fallback\n[users]\nu = pool_mode=session\n[pgbouncer]\n# another\nListen_Port = 6432\nlisten_port = 6433\n%include more.ini\n";
        let ini = Ini::read("x.ini", text).unwrap();
        let shop = pairs(&[("host", "db"), ("port", "5433"), ("password", "it's = one"), ("pool_size", "5")]);
        assert_eq!(
            ini.databases,
            [
                ("shop".to_owned(), shop),
                ("odd \"name".to_owned(), Words::new()),
                ("*".to_owned(), pairs(&[("host", "fallback")]))
            ]
        );
        assert_eq!(ini.users, [("u".to_owned(), pairs(&[("pool_mode", "session")]))]);
        assert_eq!(ini.settings, pairs(&[("listen_port", "6433")]));
        assert_eq!(ini.includes, ["more.ini"]);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        for (text, line) in [
            ("x = 1", 1),
            ("[nosuch]", 1),
            ("[pgbouncer]\nno value", 2),
            ("[databases]\na = host", 2),
            ("[databases]\na = b='x", 2),
        ] {
            assert_eq!(Ini::read("x.ini", text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(userlist("u", "\"a\" \"b\"\n\"a\" b").unwrap_err().to_string(), "u:2: not \"name\" \"password\"");
        let users = userlist("u", ";x\n\"a\" \"p\"\"w\" more\n\n\"b\" \"\"\n").unwrap();
        assert_eq!(users, [("a".to_owned(), "p\"w".to_owned()), ("b".to_owned(), String::new())]);
    }
}
