//! Reads a text with sqlparser, which must not be handed just any: it recurses where it joins and where it drops a tree, takes
//! hundreds of bytes for each token, and aborts the process where its stack ends. So bounds come first, counted on its own
//! tokens; the tree is read, walked and dropped on a stack that fits it; and a panic is an abstention.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError, ParserOptions};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::{Abstention, Testimony};

/// Bytes of a text. Longer ones are bulk loads: rows of values.
const MAX_BYTES: usize = 128 << 10;
/// Tokens of a text, white space left out.
pub(super) const MAX_TOKENS: usize = 32 << 10;
/// Joins in a text: `a JOIN b JOIN c ON ... ON ...` nests without being counted as a level.
pub(super) const MAX_JOINS: usize = 128;
/// Levels that sqlparser may recurse; a subquery takes several.
const MAX_LEVELS: usize = 200;

/// Stack that a level may take in reading (measured in a debug build: 80 KiB for a join).
const STACK_PER_LEVEL: usize = 128 << 10;
/// Stack that a level of a chain (`a AND b AND ...`, UNIONs, casts) may take in being walked and dropped.
const STACK_PER_TOKEN: usize = 4 << 10;
/// What any text may need besides.
const STACK_BASE: usize = 256 << 10;

/// What [`with_tree`] reads for the operator of `OPERATOR(pg_catalog.=) ANY`. No token of a text has a space in it.
pub(super) const EQUALS_ANY: &str = "= ANY";

/// Hands the only statement of a text to a check. Parameters behind those of the client are pgwarden's own.
pub(super) fn with_tree(text: &str, client_params: u16, check: impl FnOnce(&Statement) -> Testimony) -> Testimony {
    if text.len() > MAX_BYTES {
        return Testimony::Abstains(Abstention::Bounds);
    }
    // The tree is dropped within as well.
    let outcome =
        catch_unwind(AssertUnwindSafe(|| read(text, client_params, check).unwrap_or_else(Testimony::Abstains)));
    outcome.unwrap_or(Testimony::Abstains(Abstention::Panic))
}

fn read(text: &str, client_params: u16, check: impl FnOnce(&Statement) -> Testimony) -> Result<Testimony, Abstention> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        // Escapes are kept as they are written: nothing depends on what is in a literal.
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|_| Abstention::Grammar)?;
    let tokens = with_own_any(without_asides(tokens), client_params);
    let (words, joins) = sizes(&tokens);
    if words > MAX_TOKENS || joins > MAX_JOINS {
        return Err(Abstention::Bounds);
    }
    let stack = STACK_BASE + (words.min(MAX_LEVELS) + joins) * STACK_PER_LEVEL + words * STACK_PER_TOKEN;
    stacker::maybe_grow(stack, stack, || {
        let mut parser = Parser::new(&dialect)
            .with_recursion_limit(MAX_LEVELS)
            .with_options(ParserOptions { unescape: false, ..ParserOptions::default() })
            .with_tokens_with_locations(tokens);
        match parser.parse_statements().as_deref() {
            Ok([statement]) => Ok(check(statement)),
            Err(ParserError::RecursionLimitExceeded) => Err(Abstention::Bounds),
            Ok(_) | Err(ParserError::ParserError(_) | ParserError::TokenizerError(_)) => Err(Abstention::Grammar),
        }
    })
}

/// Words that sqlparser does not know in their places, and that say nothing of relations and conditions: `NO KEY` and `KEY` of row
/// locks, SYMMETRIC of BETWEEN, EXCLUDE of a window's frame. Where these words stand together they can mean nothing else.
fn without_asides(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    while let Some(token) = rest.next() {
        let words = (kept.last().map_or("", word), word(&token), rest.peek().map_or("", word));
        // What is left out: the token itself, and so many behind it.
        let aside = match words {
            ("FOR", "KEY", "SHARE") | ("BETWEEN", "SYMMETRIC", _) => Some(0),
            ("FOR", "NO", "KEY") | ("ROW" | "PRECEDING" | "FOLLOWING", "EXCLUDE", "TIES" | "GROUP") => Some(1),
            ("ROW" | "PRECEDING" | "FOLLOWING", "EXCLUDE", "CURRENT" | "NO") => Some(2),
            (_, _, _) => None,
        };
        match aside {
            None => kept.push(token),
            Some(more) => rest.by_ref().take(more).for_each(drop),
        }
    }
    kept
}

/// sqlparser takes ANY behind plain operators only: in the predicate of a reader, `OPERATOR(pg_catalog.=) ANY ($k)` of one of
/// pgwarden's own parameters, the two become one operator.
fn with_own_any(mut tokens: Vec<TokenWithSpan>, client_params: u16) -> Vec<TokenWithSpan> {
    let is_own = |token: &TokenWithSpan| match &token.token {
        Token::Placeholder(text) => {
            let number = text.strip_prefix('$').and_then(|digits| digits.parse::<u32>().ok());
            number.is_some_and(|number| number > u32::from(client_params))
        }
        _ => false,
    };
    let is = |token: &TokenWithSpan, text: &str| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text),
        other => other.to_string() == text,
    };
    let mut own = Vec::new();
    for (at, window) in tokens.windows(5).enumerate() {
        // `= ) ANY ( $k`
        if let [equals, close, any, open, key] = window
            && is(equals, "=")
            && is(close, ")")
            && is(any, "ANY")
            && is(open, "(")
            && is_own(key)
        {
            own.push(at);
        }
    }
    for at in own.into_iter().rev() {
        if let Some(operator) = tokens.get_mut(at) {
            let word = Word { value: EQUALS_ANY.to_owned(), quote_style: None, keyword: Keyword::NoKeyword };
            operator.token = Token::Word(word);
        }
        tokens.remove(at + 2);
    }
    tokens
}

/// The keyword that a token is, of those that are asked for; empty: none.
fn word(token: &TokenWithSpan) -> &'static str {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => {
            ASIDES.iter().find(|known| known.eq_ignore_ascii_case(&word.value)).copied().unwrap_or_default()
        }
        _ => "",
    }
}

/// Words that [`without_asides`] looks at.
const ASIDES: [&str; 13] = [
    "FOR",
    "NO",
    "KEY",
    "SHARE",
    "BETWEEN",
    "SYMMETRIC",
    "ROW",
    "PRECEDING",
    "FOLLOWING",
    "EXCLUDE",
    "CURRENT",
    "TIES",
    "GROUP",
];

/// Tokens that are no white space, and how many of them are JOIN.
fn sizes(tokens: &[TokenWithSpan]) -> (usize, usize) {
    let written = || tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let is_join = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::JOIN);
    (written().count(), written().filter(is_join).count())
}
