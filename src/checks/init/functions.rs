//! Functions of the app: which only compute, and which run SQL that no proxy sees.

use std::collections::BTreeMap;

use super::{Body, Facts, Guess, Rule};
use crate::base::QualifiedName;
use crate::catalog::{Catalog, Volatility};

/// A guess for every function that statements could call and that pgwarden does not see into by itself: `Shared` for those
/// that tenants may call.
pub(super) fn guess(catalog: &Catalog, facts: &Facts) -> BTreeMap<QualifiedName, Guess> {
    let mut guesses: BTreeMap<QualifiedName, Guess> = BTreeMap::new();
    for body in facts.bodies.iter().filter(|it| !it.trigger) {
        let found = of(catalog, facts, body);
        let Some(known) = guesses.get_mut(&body.name) else {
            guesses.insert(body.name.clone(), found);
            continue;
        };
        // The list names all overloads at once.
        if known.rule == Rule::Shared && found.rule != Rule::Shared {
            *known = found;
        }
    }
    guesses.retain(|name, guess| guess.rule != Rule::Shared || !is_seen(facts, name));
    guesses
}

/// pgwarden reads functions of LANGUAGE sql that are kept as text, and lets tenants call those that only compute.
fn is_seen(facts: &Facts, name: &QualifiedName) -> bool {
    facts.bodies.iter().filter(|it| it.name == *name).all(|it| it.language == "sql" && !it.parsed)
}

fn of(catalog: &Catalog, facts: &Facts, body: &Body) -> Guess {
    let declared = match body.volatility {
        Volatility::Immutable => "IMMUTABLE",
        Volatility::Stable => "STABLE",
        Volatility::Volatile => "VOLATILE",
    };
    let language = &body.language;
    if body.definer {
        let login = match body.volatility {
            Volatility::Volatile => "",
            Volatility::Stable | Volatility::Immutable => ". One that tells whose a log-in is goes in without_tenant",
        };
        return Guess::open(
            None,
            format!("SECURITY DEFINER in {language}: it reads with its owner's rights what no tenant may{login}"),
        );
    }
    if !matches!(language.as_str(), "sql" | "plpgsql") {
        return Guess::open(None, format!("in {language}, which cannot be read here"));
    }
    match needs(catalog, facts, body) {
        None => Guess::sure(
            Rule::Shared,
            format!("{language}, {declared}: its text runs no SQL on tables, and calls only what computes"),
        ),
        Some(word) => Guess::open(
            None,
            format!(
                "{language}, {declared}: its text has {word}, and pgwarden sees no SQL within functions. Send the SQL as a statement; or list it, if it stays with the tenant by itself"
            ),
        ),
    }
}

/// Words of statements, and of what reaches beyond a function's arguments.
const WORDS: [&str; 28] = [
    "from", "insert", "update", "delete", "merge", "truncate", "execute", "perform", "call", "copy", "table", "into",
    "create", "alter", "drop", "grant", "revoke", "set", "reset", "show", "listen", "notify", "lock", "open", "fetch",
    "for", "foreach", "with",
];

/// Words before a parenthesis that call nothing.
const SYNTAX: [&str; 26] = [
    "select", "return", "when", "then", "else", "case", "if", "elsif", "and", "or", "not", "in", "as", "values",
    "coalesce", "nullif", "greatest", "least", "any", "all", "some", "exists", "row", "array", "numeric", "varchar",
];

/// The first word of a function's text that does more than compute with its arguments.
fn needs(catalog: &Catalog, facts: &Facts, body: &Body) -> Option<String> {
    let text = without_comments(&body.text);
    let mut word = String::new();
    let mut before = String::new();
    for letter in text.chars().chain([' ']) {
        if letter.is_alphanumeric() || letter == '_' || letter == '$' {
            word.extend(letter.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            if WORDS.contains(&word.as_str())
                || facts.bodies.iter().any(|it| it.name.name.to_lowercase() == word && it.name != body.name)
            {
                return Some(word);
            }
            before = std::mem::take(&mut word);
        }
        match letter {
            '(' if !before.is_empty() && !SYNTAX.contains(&before.as_str()) && !computes(catalog, &before) => {
                return Some(format!("{before}()"));
            }
            _ if letter.is_whitespace() => {}
            // Names in quotes, and dollar quotes within: not read here.
            '"' => return Some("a name in quotes".to_owned()),
            _ => before.clear(),
        }
    }
    None
}

/// Whether every function of that name is the system's and IMMUTABLE.
fn computes(catalog: &Catalog, name: &str) -> bool {
    // They take SQL as text.
    let runs = name.ends_with("xml") || name.contains("xmlschema") || matches!(name, "ts_stat" | "ts_rewrite");
    let known = catalog.functions.get(name).map(Vec::as_slice).unwrap_or_default();
    let is_type =
        known.is_empty() && catalog.types.values().any(|it| it.name.schema == "pg_catalog" && it.name.name == name);
    let immutable = known.iter().all(|it| it.name.schema == "pg_catalog" && it.volatility == Volatility::Immutable);
    !runs && (is_type || (!known.is_empty() && immutable))
}

fn without_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect();
    lines.join("\n")
}
