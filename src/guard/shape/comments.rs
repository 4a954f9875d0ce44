//! Takes the comments out of a text, so that texts which differ only in comments share one verdict: tools put another one on
//! each statement (`/*traceparent='...'*/`).

use std::ops::Range;

use memchr::memchr2_iter;

use super::scan::{Found, Scanner};

/// The text without its comments, each of which separates tokens as the white space that is left in its place does. `None`:
/// it holds none, or something that is not judged. Hints to the planner (`/*+ ... */`) stay: with them the text is another.
pub fn without_comments(sql: &str) -> Option<String> {
    if !may_hold_comment(sql) {
        return None;
    }
    let mut plain = String::with_capacity(sql.len());
    let mut copied = 0;
    let mut scanner = Scanner::new(sql);
    while let Some((span, instead)) = next_comment(sql, &mut scanner)? {
        plain.push_str(sql.get(copied..span.start)?);
        plain.push_str(instead);
        copied = span.end;
    }
    if copied == 0 {
        return None;
    }
    plain.push_str(sql.get(copied..)?);
    Some(plain)
}

/// The next comment that is taken out, and what is left in its place. `None`: something that is not judged.
#[allow(clippy::option_option, reason = "the inner one is the end of the text")]
fn next_comment(sql: &str, scanner: &mut Scanner<'_>) -> Option<Option<(Range<usize>, &'static str)>> {
    loop {
        return Some(Some(match scanner.next()? {
            Found::Literal(_, _) => continue,
            Found::LineComment(span) => (span, ""),
            // The server's scanner takes long over many levels, and is not to be sent what was not looked at.
            Found::BlockComment { nested: true, .. } => return None,
            Found::BlockComment { span, .. } if sql.get(span.clone())?.starts_with("/*+") => continue,
            Found::BlockComment { span, .. } => (span, " "),
            Found::End => return Some(None),
        }));
    }
}

/// Where in a text what stands at this place (in bytes) of the text without its comments stands.
pub fn place_with_comments(sql: &str, place: usize) -> Option<usize> {
    let (mut plain, mut copied) = (0, 0);
    let mut scanner = Scanner::new(sql);
    while let Some((span, instead)) = next_comment(sql, &mut scanner)? {
        let length = span.start - copied;
        if place < plain + length {
            break;
        }
        plain += length + instead.len();
        copied = span.end;
    }
    Some(copied + place.checked_sub(plain)?)
}

/// Texts without comments are most: this is all that they pay.
fn may_hold_comment(sql: &str) -> bool {
    let bytes = sql.as_bytes();
    memchr2_iter(b'-', b'/', bytes)
        .any(|at| matches!((bytes.get(at), bytes.get(at + 1)), (Some(b'-'), Some(b'-')) | (Some(b'/'), Some(b'*'))))
}

#[cfg(test)]
mod tests {
    use pg_query::protobuf::Token;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_are_taken_out() {
        for (sql, expected) in [
            ("SELECT 1 /*traceparent='00-4bf9-01'*/", "SELECT 1  "),
            ("/* tenant='acme' */ SELECT 1", "  SELECT 1"),
            ("SELECT 1--\n, 2 -- x", "SELECT 1\n, 2 "),
            ("SELECT a/**/b", "SELECT a b"),
            ("SELECT 1 @/*x*/- 2, 3 */*y*/ 4, 5 +--z\r6", "SELECT 1 @ - 2, 3 *  4, 5 +\r6"),
            ("SELECT '/*', '--', \"/*\" /* ' \" -- $$ */ FROM t", "SELECT '/*', '--', \"/*\"   FROM t"),
            ("SELECT 'a' /* b */, 'c' -- d", "SELECT 'a'  , 'c' "),
            ("SELECT 1/* ; */; SELECT $1/***/ /*/ */", "SELECT 1 ; SELECT $1   "),
            ("/*+ SeqScan(t) */ SELECT 1 /* x */", "/*+ SeqScan(t) */ SELECT 1  "),
            ("/* ping */", " "),
        ] {
            assert_eq!(without_comments(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn places_are_found_again() {
        let sql = "/* a */ SELECT 'é' -- b\n, x /* c */ FROM t /* d */";
        let plain = without_comments(sql).unwrap();
        for word in ["SELECT", ",", "x", "FROM", "t "] {
            let place = place_with_comments(sql, plain.find(word).unwrap());
            assert_eq!(place, sql.rfind(word), "{word}");
        }
        assert_eq!(place_with_comments(sql, plain.len()), Some(sql.len()));
    }

    #[test]
    fn what_is_not_judged_stays_as_it_is() {
        for sql in [
            "SELECT 1",
            "SELECT a - b, c / d",
            "SELECT '--', '/* */', \"--\"",
            "/*+ SeqScan(t) */ SELECT 1",
            "SELECT 1 /* a /* b */ c */",
            "SELECT 1 /* open",
            "SELECT 1 /* a /* b */",
            "SELECT 'a' -- b\n'c'",
            "SELECT 'a' /* b */\n'c'",
            "SELECT 'a' -- b\n /* c */ -- d\n 'e' -- f",
            "SELECT E'\\'/*' /* '*/",
            "SELECT 'a\\' /* b */",
            "SELECT $tag$/*$tag$ /* a */",
            "SELECT $$--$$ -- a",
            "SELECT U&'/*' /* a */",
            "SELECT B'1' -- a",
            "SELECT 1a$$ -- $$",
            "SELECT 'open /* a */",
            "SELECT \"open /* a */",
            "SELECT \u{1} -- a",
        ] {
            assert_eq!(without_comments(sql), None, "{sql}");
        }
    }

    /// Kind and text of each token that is no comment.
    fn tokens(sql: &str) -> Option<Vec<(i32, &str)>> {
        let scanned = crate::sql::parse::scan(sql).ok()?;
        let comments = [Token::CComment as i32, Token::SqlComment as i32];
        let kept = scanned.iter().filter(|t| !comments.contains(&t.token));
        Some(kept.map(|t| (t.token, &sql[t.start as usize..t.end as usize])).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// To Postgres's own scanner, the text has the same tokens with and without its comments.
        #[test]
        fn tokens_stay(sql in "([a-ceub1 ,=()'\"$.;+@*/-]|--|/\\*|\\*/|/\\*[a-z'\"$ -]{0,4}\\*/|--[a-z'\"/*]{0,3}\n|''|'[a-z/*-]{0,3}'|\\$1|[0-9]{1,3}|\n|\r|e'|u&'|\\\\|é){0,24}") {
            let Some(plain) = without_comments(&sql) else { return Ok(()) };
            match (tokens(&sql), tokens(&plain)) {
                (Some(with), Some(without)) => prop_assert_eq!(with, without, "{:?} {:?}", &sql, &plain),
                (None, None) => {}
                (with, without) => prop_assert!(false, "{sql:?} {with:?} {plain:?} {without:?}"),
            }
        }
    }
}
