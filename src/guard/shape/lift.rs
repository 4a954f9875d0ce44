//! Lifts the literals out of a text, so that texts which differ only in literals share one verdict.
//!
//! Replacing a lifted token by another of its kind leaves the token stream, and so the parse tree, the same but for the
//! value.

use std::ops::Range;

use smallvec::SmallVec;

pub(super) use super::scan::LiteralKind;
use super::scan::{Found, Scanner};

/// A literal token in the client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// What it may be replaced by.
    pub(super) kind: LiteralKind,
    /// Where its token stands, in bytes; quotes included.
    pub span: Range<usize>,
}

/// A text with its literals lifted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// The text with a mark in place of each literal; equal for texts of one shape.
    pub shape: String,
    /// The literals in order.
    pub literals: Literals,
}

/// Literals of a text: most have one or two.
pub type Literals = SmallVec<[Literal; 2]>;

/// More literals than this are a bulk load, which seldom comes twice in the same shape.
const MAX_LITERALS: usize = 200;

/// Lifts the literals of a text. `None`: the text holds none, or something that is not judged.
pub fn lift(sql: &str) -> Option<Lifted> {
    let mut scanner = Scanner::new(sql);
    let mut shape = String::with_capacity(sql.len());
    let mut literals = Literals::new();
    // Up to where the text stands in `shape`.
    let mut copied = 0;
    loop {
        let (kind, span) = match scanner.next()? {
            Found::Literal(kind, span) => (kind, span),
            Found::LineComment(_) | Found::BlockComment { .. } => continue,
            Found::End => break,
        };
        // A pattern that ends in its escape is guarded otherwise than others.
        let ends_in_escape = kind == LiteralKind::String && sql.get(..span.end)?.ends_with("\\'");
        if literals.len() == MAX_LITERALS || ends_in_escape {
            return None;
        }
        shape.push_str(sql.get(copied..span.start)?);
        shape.push(match kind {
            LiteralKind::String => '\u{1}',
            LiteralKind::Integer => '\u{2}',
            LiteralKind::Decimal => '\u{3}',
        });
        copied = span.end;
        literals.push(Literal { kind, span });
    }
    if literals.is_empty() {
        return None;
    }
    shape.push_str(sql.get(copied..)?);
    Some(Lifted { shape, literals })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literals(sql: &str) -> Option<Vec<&str>> {
        lift(sql).map(|l| l.literals.iter().map(|l| &sql[l.span.clone()]).collect())
    }

    #[test]
    fn literals_are_found() {
        for (sql, expected) in [
            ("SELECT a1 FROM t WHERE x = 'it''s' AND y=-5 LIMIT 10", vec!["'it''s'", "5", "10"]),
            ("SELECT \"a'1\", t.b2 FROM t WHERE p > 12.50 /* ' /* 1 */ */ -- 7 '\n AND c = ''", vec!["12.50", "''"]),
            ("INSERT INTO t VALUES ($1,'a',12345678901,3)", vec!["'a'", "3"]),
            ("SELECT a[1:2]", vec!["1", "2"]),
            ("SELECT 007, 0, 00.5", vec!["0", "00.5"]),
        ] {
            assert_eq!(literals(sql), Some(expected), "{sql}");
        }
        let shape = |sql| lift(sql).unwrap().shape;
        assert_eq!(shape("SELECT 1, 'a'"), shape("SELECT 22, 'bcd'"));
        assert_ne!(shape("SELECT 1, 'a'"), shape("SELECT 'a', 1"));
        assert_ne!(shape("SELECT 1"), shape("SELECT 1.5"));
    }

    #[test]
    fn what_it_cannot_judge_it_leaves() {
        for sql in [
            "SELECT 1 WHERE E'a' = b",
            "SELECT 'a\\'",
            "SELECT U&'a'",
            "SELECT U&\"a\" UESCAPE '!'",
            "SELECT N'a'",
            "SELECT B'1'",
            "SELECT $$1$$",
            "SELECT $a$1$a$",
            "SELECT 0x1F",
            "SELECT 1_000",
            "SELECT 1e5",
            "SELECT .5",
            "SELECT 1.",
            "SELECT 1..2",
            "SELECT $1a",
            "SELECT 'a'\n'b'",
            "SELECT 'a' -- c\n'b'",
            "SELECT 'a\\'",
            "SELECT 'open",
            "SELECT \"open",
            "SELECT /* open 1",
            "SELECT a, b",
            "SELECT \u{1}1",
        ] {
            assert_eq!(literals(sql), None, "{sql}");
        }
    }

    proptest! {
        /// Every lifted literal is a token of that kind for Postgres's own scanner, and no constant token of those kinds is
        /// glued from several.
        #[test]
        fn agrees_with_postgres(sql in "([a-z ,=()'\"$.;+/*-]|--|/\\*|\\*/|''|[0-9]{1,10}|\n|e'|u&'|\\\\|é){0,24}") {
            let (Some(lifted), Ok(tokens)) = (lift(&sql), pg_query::scan(&sql)) else { return Ok(()) };
            for literal in lifted.literals {
                let expected = match literal.kind {
                    LiteralKind::String => pg_query::protobuf::Token::Sconst,
                    LiteralKind::Integer => pg_query::protobuf::Token::Iconst,
                    LiteralKind::Decimal => pg_query::protobuf::Token::Fconst,
                };
                let found = tokens.tokens.iter().any(|t| t.token == expected as i32 && t.start as usize == literal.span.start && t.end as usize == literal.span.end);
                prop_assert!(found, "{:?} of {sql:?}", &sql[literal.span.clone()]);
            }
        }
    }
}
