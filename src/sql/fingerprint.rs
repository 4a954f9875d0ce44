//! What stands for a statement in logs: a hash of its shape.

use pg_query::protobuf::{ScanToken, Token};
use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::sql::parse;

/// Above this size a statement is hashed by its tokens: a tree of it would cost more than the log line is worth.
const MAX_PARSED: usize = 64 << 10;
/// Above this size it is not looked at.
const MAX_SCANNED: usize = 1 << 20;

/// A short hash that statements share when they differ only in literals, white space and comments. 16 hexadecimal digits:
/// libpg_query's fingerprint (so that other tools' figures match), or `t` and a hash of the tokens where the grammar does
/// not accept the text; `-` where there are no tokens to tell.
pub fn fingerprint(sql: &str) -> String {
    if sql.len() <= MAX_PARSED
        && let Ok(hex) = parse::fingerprint(sql)
    {
        return hex;
    }
    token_hash(sql).unwrap_or_else(|| "-".to_owned())
}

/// A statement's text without its literals and comments, for logs, and SQL still: literals are parameters, or, where the grammar
/// takes none somewhere, `'?'` and `0`. None for what the grammar does not accept, and for long texts.
pub fn normalized(sql: &str) -> Option<String> {
    if sql.len() > MAX_SCANNED {
        return None;
    }
    parse::reparse(sql).ok()?;
    let tokens = parse::scan(sql).ok()?;
    let params = tokens.iter().filter(|token| token.token() == Token::Param);
    let numbers =
        params.filter_map(|token| range(token).and_then(|range| sql.get(range)?.get(1..)?.parse::<u32>().ok()));
    let mut last = numbers.max().unwrap_or(0);
    let with_parameters = without_literals(sql, &tokens, |_| {
        last = last.saturating_add(1);
        format!("${last}")
    })?;
    if parse::reparse(&with_parameters).is_ok() {
        return Some(with_parameters);
    }
    let text = without_literals(sql, &tokens, |is_number| if is_number { "0" } else { "'?'" }.to_owned())?;
    parse::reparse(&text).ok().map(|_| text)
}

fn range(token: &ScanToken) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
}

/// The text with something else for each literal, which may be a number, and nothing for comments.
fn without_literals(sql: &str, tokens: &[ScanToken], mut stand_in: impl FnMut(bool) -> String) -> Option<String> {
    let mut text = String::with_capacity(sql.len());
    let mut at = 0;
    for token in tokens {
        let range = range(token)?;
        text.push_str(sql.get(at..range.start)?);
        at = range.end;
        match token.token() {
            Token::SqlComment | Token::CComment => text.push(' '),
            Token::Iconst | Token::Fconst => text.push_str(&stand_in(true)),
            Token::Sconst | Token::Bconst | Token::Xconst | Token::Usconst => text.push_str(&stand_in(false)),
            _ => text.push_str(sql.get(range)?),
        }
    }
    Some(text)
}

/// A hash of the tokens, with `?` for each run of literals.
fn token_hash(sql: &str) -> Option<String> {
    if sql.len() > MAX_SCANNED {
        return None;
    }
    let tokens = parse::scan(sql).ok()?;
    let mut hash = Sha256::new();
    let mut after_literal = false;
    for token in &tokens {
        match token.token() {
            Token::SqlComment | Token::CComment => continue,
            Token::Sconst
            | Token::Iconst
            | Token::Fconst
            | Token::Bconst
            | Token::Xconst
            | Token::Usconst
            | Token::Param => {
                if !after_literal {
                    hash.update(b"?");
                }
                after_literal = true;
                continue;
            }
            Token::Ascii44 if after_literal => continue,
            _ => after_literal = false,
        }
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        hash.update(b" ");
        hash.update(sql.get(start..end)?.to_ascii_lowercase());
    }
    let digest = hash.finalize();
    Some(format!("t{}", hex(digest.get(..8)?)))
}

/// A statement in one line, for people: white space is one space, also where it matters.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_make_no_difference() {
        let one = fingerprint("SELECT * FROM t WHERE a = 'secret' AND b IN (1, 2)");
        assert_eq!(one.len(), 16);
        assert_eq!(one, fingerprint("select * from t -- x\nwhere a = 'other' and b in (7, 8)"));
        assert_ne!(one, fingerprint("SELECT * FROM u WHERE a = 'secret' AND b IN (1, 2)"));
    }

    #[test]
    fn what_does_not_parse_is_hashed_by_its_tokens() {
        let one = fingerprint("SELEC 'a', 1 FROM /* x */ t");
        assert!(one.starts_with('t') && one.len() == 17, "{one}");
        assert_eq!(one, fingerprint("selec  'b', 2, 3 from t"));
        assert_ne!(one, fingerprint("selec 'b' from u"));
        let large = format!("SELECT {}", "1,".repeat(MAX_PARSED));
        assert_eq!(fingerprint(&large), fingerprint("SELECT 1,,"));
    }

    #[test]
    fn a_normalized_text_is_sql_without_literals_and_comments() {
        let of = |sql: &str| normalized(sql).unwrap_or_default();
        assert_eq!(
            of("SELECT 'a', $2 /* b */ FROM t WHERE c = E'\\'d' LIMIT 5 -- e"),
            "SELECT $3, $2   FROM t WHERE c = $4 LIMIT $5  "
        );
        assert_eq!(of("SET x.y = 'secret'"), "SET x.y = $1");
        assert_eq!(of("NOTIFY c, 'secret'; SELECT 7"), "NOTIFY c, '?'; SELECT 0");
        assert_eq!(of("SELECT $$secret$$, U&'secret', B'1', X'f', 1.5e3, -1"), "SELECT $1, $2, $3, $4, $5, -$6");
        assert_eq!(normalized("SELECT FROM WHERE 'secret'"), None);
        assert_eq!(fingerprint(&of("SELECT a FROM t WHERE b = 'x'")), fingerprint("SELECT a FROM t WHERE b = 'y'"));
    }

    #[test]
    fn what_cannot_be_scanned_has_none() {
        assert_eq!(fingerprint("SELECT 'unterminated"), "-");
        assert_eq!(fingerprint("SELECT \0"), "-");
        assert_eq!(fingerprint(&"x ".repeat(MAX_SCANNED)), "-");
        assert_eq!(fingerprint(&"(".repeat(20_000)).len(), 17);
    }
}
