//! What stands for a statement in logs: a hash of its shape.

use pg_query::protobuf::Token;
use sha2::{Digest, Sha256};

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
    let short = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    Some(std::iter::once("t".to_owned()).chain(short).collect())
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
    fn what_cannot_be_scanned_has_none() {
        assert_eq!(fingerprint("SELECT 'unterminated"), "-");
        assert_eq!(fingerprint("SELECT \0"), "-");
        assert_eq!(fingerprint(&"x ".repeat(MAX_SCANNED)), "-");
        assert_eq!(fingerprint(&"(".repeat(20_000)).len(), 17);
    }
}
