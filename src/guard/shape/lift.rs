//! Lifts the literals out of a text, so that texts which differ only in literals share one verdict.
//!
//! The scanner knows the part of Postgres's lexical rules ("Lexical Structure", chapter 4.1 of its manual) in which a
//! literal can be told for certain; anything else (escape strings, dollar quotes, hexadecimal numbers, continued
//! strings ...) makes it give up, and the text is planned by itself. Replacing a lifted token by another of its kind
//! leaves the token stream, and so the parse tree, the same but for the value.

use std::ops::Range;

use smallvec::SmallVec;

/// Kind of a lifted literal: tokens of one kind can replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiteralKind {
    /// `'...'` without backslashes (SCONST)
    String,
    /// Up to nine digits (ICONST)
    Integer,
    /// `12.5` (FCONST)
    Decimal,
}

/// A literal token in the client's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// What it may be replaced by.
    pub kind: LiteralKind,
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
/// Longest run of digits that is surely an `int4` (ICONST), not a `numeric` (FCONST).
const MAX_INTEGER_DIGITS: usize = 9;

/// Lifts the literals of a text. `None`: the text holds none, or something this scanner will not judge.
pub fn lift(sql: &str) -> Option<Lifted> {
    let mut scanner = Scanner {
        bytes: sql.as_bytes(),
        at: 0,
        copied: 0,
        sql,
        shape: String::with_capacity(sql.len()),
        literals: Literals::new(),
    };
    scanner.run()?;
    if scanner.literals.is_empty() {
        return None;
    }
    scanner.shape.push_str(sql.get(scanner.copied..)?);
    Some(Lifted { shape: scanner.shape, literals: scanner.literals })
}

struct Scanner<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Up to where the text stands in `shape`.
    copied: usize,
    shape: String,
    literals: Literals,
}

impl Scanner<'_> {
    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn run(&mut self) -> Option<()> {
        loop {
            // Most of a text is words, white space and plain punctuation.
            self.skip_while(is_plain);
            let Some(b) = self.byte(self.at) else { return Some(()) };
            match b {
                b'\'' => self.string()?,
                b'"' => self.quoted_identifier()?,
                b'0'..=b'9' => self.number()?,
                // `$1`; a dollar quote is not judged
                b'$' => {
                    self.at += 1;
                    self.byte(self.at).filter(u8::is_ascii_digit)?;
                    self.skip_while(|b| b.is_ascii_digit());
                    self.byte(self.at).is_none_or(|b| !is_identifier(b)).then_some(())?;
                }
                b'-' if self.byte(self.at + 1) == Some(b'-') => self.skip_while(|b| b != b'\n' && b != b'\r'),
                b'/' if self.byte(self.at + 1) == Some(b'*') => self.block_comment()?,
                // `.5`, and `1..2`: rare, not judged
                b'.' if self.byte(self.at + 1).is_some_and(|b| b.is_ascii_digit() || b == b'.') => return None,
                // The marks of a shape, and other control characters that no client sends
                0..=8 | 11 | 14..=31 => return None,
                _ if is_identifier(b) => self.identifier()?,
                _ => self.at += 1,
            }
        }
    }

    #[inline(always)]
    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
    }

    /// A word; prefixes of special strings (`E''`, `B''`, `X''`, `N''`, `U&''`, `U&""`) are not judged.
    fn identifier(&mut self) -> Option<()> {
        let start = self.at;
        self.skip_while(is_identifier);
        let glued = match self.byte(self.at) {
            Some(b'\'') => true,
            Some(b'&') => {
                self.at == start + 1
                    && matches!(self.byte(start), Some(b'u' | b'U'))
                    && matches!(self.byte(self.at + 1), Some(b'\'' | b'"'))
            }
            Some(_) | None => false,
        };
        (!glued).then_some(())
    }

    fn quoted_identifier(&mut self) -> Option<()> {
        self.at += 1;
        self.skip_while(|b| b != b'"');
        self.byte(self.at)?;
        self.at += 1;
        Some(())
    }

    fn block_comment(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match (self.byte(self.at)?, self.byte(self.at + 1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.skip_while(|b| b.is_ascii_digit());
        let mut kind = LiteralKind::Integer;
        let digits = self.at - start;
        if self.byte(self.at) == Some(b'.') {
            self.at += 1;
            self.byte(self.at).filter(u8::is_ascii_digit)?;
            self.skip_while(|b| b.is_ascii_digit());
            kind = LiteralKind::Decimal;
        }
        // Exponents, hexadecimal numbers, digit separators, junk
        if self.byte(self.at).is_some_and(|b| is_identifier(b) || b == b'.') {
            return None;
        }
        // Zeros in front are printed by nobody: the text by itself would come out otherwise.
        let padded = digits > 1 && self.byte(start) == Some(b'0');
        if kind == LiteralKind::Integer && (digits > MAX_INTEGER_DIGITS || padded) {
            return Some(());
        }
        self.lifted(kind, start)
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.byte(self.at)? {
                b'\'' if self.byte(self.at + 1) == Some(b'\'') => self.at += 2,
                b'\'' => break,
                b'\\' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if self.continues() {
            return None;
        }
        self.lifted(LiteralKind::String, start)
    }

    /// Whether another quote follows after white space or comments: a string continued on the next line, or a
    /// `UESCAPE`-like construct; neither is judged.
    fn continues(&self) -> bool {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        while let [b' ' | b'\t' | b'\n' | b'\r' | 12, tail @ ..] = rest {
            rest = tail;
        }
        rest.starts_with(b"'") || rest.starts_with(b"--") || rest.starts_with(b"/*")
    }

    fn lifted(&mut self, kind: LiteralKind, start: usize) -> Option<()> {
        if self.literals.len() == MAX_LITERALS {
            return None;
        }
        self.shape.push_str(self.sql.get(self.copied..start)?);
        self.shape.push(match kind {
            LiteralKind::String => '\u{1}',
            LiteralKind::Integer => '\u{2}',
            LiteralKind::Decimal => '\u{3}',
        });
        self.copied = self.at;
        self.literals.push(Literal { kind, span: start..self.at });
        Some(())
    }
}

/// `ident_cont` of Postgres's scanner.
fn is_identifier(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|class| class & IDENTIFIER != 0)
}

/// Bytes that begin and continue nothing that must be looked at.
fn is_plain(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|class| class & PLAIN != 0)
}

const IDENTIFIER: u8 = 1;
const PLAIN: u8 = 2;

static CLASS: [u8; 256] = classes();

#[allow(clippy::indexing_slicing)] // at compile time
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80 {
            classes[b] |= IDENTIFIER;
        }
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'(' | b')' | b'=' | b'*' | b';' | b'<' | b'>' | b'+') {
            classes[b] |= PLAIN;
        }
        b += 1;
    }
    classes
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
