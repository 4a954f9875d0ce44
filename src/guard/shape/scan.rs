//! The literals and comments of a text, found without its grammar.
//!
//! The scanner knows the part of Postgres's lexical rules ("Lexical Structure", chapter 4.1 of its manual) in which they can
//! be told for certain; anything else (escape strings, dollar quotes, hexadecimal numbers, continued strings
//! ...) makes it give up, and the text is planned as it is.

use std::ops::Range;

/// Kind of a literal: tokens of one kind can replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LiteralKind {
    /// `'...'` without backslashes (SCONST)
    String,
    /// Up to nine digits (ICONST)
    Integer,
    /// `12.5` (FCONST)
    Decimal,
}

/// What a text is looked through for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A literal; quotes included.
    Literal(LiteralKind, Range<usize>),
    /// `-- ...`, without the end of the line.
    LineComment(Range<usize>),
    /// `/* ... */`
    BlockComment {
        /// Where it stands.
        span: Range<usize>,
        /// There are comments in it.
        nested: bool,
    },
    /// The end of the text.
    End,
}

/// Longest run of digits that is surely an `int4` (ICONST), not a `numeric` (FCONST).
const MAX_INTEGER_DIGITS: usize = 9;

/// Looks through a text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        Self { bytes: sql.as_bytes(), at: 0 }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The next literal or comment. `None`: something that is not judged.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Found> {
        loop {
            // Most of a text is words, white space and plain punctuation.
            self.skip_while(is_plain);
            let Some(b) = self.byte(self.at) else { return Some(Found::End) };
            let start = self.at;
            match b {
                b'\'' => {
                    self.string()?;
                    return Some(Found::Literal(LiteralKind::String, start..self.at));
                }
                b'"' => self.quoted_identifier()?,
                b'0'..=b'9' => {
                    if let Some(kind) = self.number()? {
                        return Some(Found::Literal(kind, start..self.at));
                    }
                }
                // `$1`; a dollar quote is not judged
                b'$' => {
                    self.at += 1;
                    self.byte(self.at).filter(u8::is_ascii_digit)?;
                    self.skip_while(|b| b.is_ascii_digit());
                    self.byte(self.at).is_none_or(|b| !is_identifier(b)).then_some(())?;
                }
                b'-' if self.byte(self.at + 1) == Some(b'-') => {
                    self.skip_while(|b| b != b'\n' && b != b'\r');
                    return Some(Found::LineComment(start..self.at));
                }
                b'/' if self.byte(self.at + 1) == Some(b'*') => {
                    let nested = self.block_comment()?;
                    return Some(Found::BlockComment { span: start..self.at, nested });
                }
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

    /// Whether there are comments in the comment.
    fn block_comment(&mut self) -> Option<bool> {
        let (mut depth, mut nested) = (0usize, false);
        loop {
            match (self.byte(self.at)?, self.byte(self.at + 1)) {
                (b'/', Some(b'*')) => {
                    nested = depth > 0;
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(nested);
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A number, and its kind where it is a literal.
    fn number(&mut self) -> Option<Option<LiteralKind>> {
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
        let wide = kind == LiteralKind::Integer && (digits > MAX_INTEGER_DIGITS || padded);
        Some((!wide).then_some(kind))
    }

    fn string(&mut self) -> Option<()> {
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
        (!self.continues()?).then_some(())
    }

    /// Whether another quote follows after white space and comments: a string that is continued on the next line, if those
    /// are of the right kind.
    fn continues(&self) -> Option<bool> {
        let mut ahead = Scanner { bytes: self.bytes, at: self.at };
        loop {
            ahead.skip_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 11 | 12));
            match (ahead.byte(ahead.at), ahead.byte(ahead.at + 1)) {
                (Some(b'-'), Some(b'-')) => ahead.skip_while(|b| b != b'\n' && b != b'\r'),
                (Some(b'/'), Some(b'*')) => {
                    ahead.block_comment()?;
                }
                (next, _) => return Some(next == Some(b'\'')),
            }
        }
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
