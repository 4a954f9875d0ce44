//! The one door to Postgres's own grammar: parse, print, scan. Nothing else in the crate calls `pg_query`'s functions.
//!
//! Limits come first (bytes, tokens), then the C parser, which refuses deep nesting cleanly; the trees are walked, compared
//! and dropped on a stack that fits them ([`with_stack`]).

#[cfg(test)]
mod tests;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node, RawStmt, Token};

use super::StatementLimits;
use crate::base::{Refusal, RefusalKind, SqlState};

/// Stack that a nesting level may take in decoding, walking and dropping a tree (measured in a debug build: 26 KiB).
const STACK_PER_LEVEL: usize = 32 << 10;
/// libpg_query refuses trees deeper than this many levels (measured: between 500 and 1,000 for every construct).
const DEEPEST_TREE: usize = 5_000;
/// What any statement may need besides.
const STACK_BASE: usize = 512 << 10;
/// Above this size the position of a syntax error is not searched for.
const MAX_POSITION_BYTES: usize = 64 << 10;
/// So many places are tried where a token that the scanner does not read may stand.
const MAX_PLACES: usize = 100;

/// One statement of a text, as the parser delimits it.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'t> {
    /// The statement's text, without the semicolon.
    pub(crate) text: &'t str,
    /// Its tree. Locations count from the start of the whole text.
    pub(crate) tree: Node,
    /// The greatest `$n` in it; 0: none.
    pub(crate) params: u16,
}

/// Runs `f` on a stack that is large enough for the tree of a text of so many bytes.
pub(crate) fn with_stack<R>(text_bytes: usize, f: impl FnOnce() -> R) -> R {
    // A level of nesting takes at least two bytes of text.
    let levels = (text_bytes / 2 + 16).min(DEEPEST_TREE);
    let size = STACK_BASE + levels * STACK_PER_LEVEL;
    stacker::maybe_grow(size, size + STACK_BASE, f)
}

/// Reads a client's text. `server_version` is `server_version_num`: tokens that other majors read otherwise are refused.
///
/// # Errors
/// 54000 and 54001 for what exceeds the limits, 42601 with Postgres's message for what its grammar does not accept.
pub(crate) fn parse<'t>(
    text: &'t str,
    limits: &StatementLimits,
    server_version: u32,
) -> Result<Vec<Statement<'t>>, Refusal> {
    check_size(text, limits)?;
    with_stack(text.len(), || {
        let tokens = scan(text)?;
        if tokens.len() > limits.max_tokens {
            return Err(too_large(format!(
                "statement has {} tokens, the limit is {}",
                tokens.len(),
                limits.max_tokens
            )));
        }
        if server_version < 160_000 {
            check_lexical(text, &tokens)?;
        }
        let parsed = raw_parse(text).map_err(|message| syntax_error(text, &tokens, message))?;
        parsed.stmts.into_iter().map(|raw| statement(text, &tokens, raw, limits)).collect()
    })
}

/// Longest run of operator characters. Postgres's scanner reads a run anew for each token in it, and for each `/*` of nested
/// comments: in a megabyte of them it is busy for minutes.
const MAX_RUN: usize = 1_024;
const LONG_RUN: &str = "statement has a run of more than 1024 operator characters";

/// Whether so many operator characters follow each other, in whatever kind of token: telling the kinds apart is what takes the
/// scanner its time.
fn has_long_run(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|byte| {
        let operator = matches!(
            byte,
            b'~' | b'!'
                | b'@'
                | b'#'
                | b'^'
                | b'&'
                | b'|'
                | b'`'
                | b'?'
                | b'+'
                | b'-'
                | b'*'
                | b'/'
                | b'%'
                | b'<'
                | b'>'
                | b'='
        );
        run = if operator { run + 1 } else { 0 };
        run > MAX_RUN
    })
}

/// Reads text that the guard printed itself: no limits, no lexical checks.
///
/// # Errors
/// The parser's message.
pub(crate) fn reparse(text: &str) -> Result<Vec<RawStmt>, String> {
    with_stack(text.len(), || raw_parse(text).map(|parsed| parsed.stmts))
}

/// Reads one expression, as in `SELECT <expression>`.
///
/// # Errors
/// The parser's message, or that it is no single expression.
pub(crate) fn expression(text: &str) -> Result<Node, String> {
    let not_one = || "not a single expression".to_owned();
    let stmt = reparse(&format!("SELECT {text}"))?.pop().ok_or_else(not_one)?;
    let Some(NodeEnum::SelectStmt(select)) = stmt.stmt.and_then(|s| s.node) else {
        return Err(not_one());
    };
    let mut targets = select.target_list;
    let (Some(NodeEnum::ResTarget(target)), true) = (targets.pop().and_then(|t| t.node), targets.is_empty()) else {
        return Err(not_one());
    };
    target.val.map(|v| *v).ok_or_else(not_one)
}

/// Prints a statement's tree.
///
/// # Errors
/// The printer's message (constructs that it does not know).
pub(crate) fn deparse(tree: &Node) -> Result<String, String> {
    let result = protobuf::ParseResult {
        version: 0,
        stmts: vec![RawStmt { stmt: Some(Box::new(tree.clone())), stmt_location: 0, stmt_len: 0 }],
    };
    pg_query::deparse(&result, pg_query::DeparseOptions::default()).map_err(message)
}

/// The text's tokens, comments included.
///
/// # Errors
/// 42601 with the scanner's message.
pub(crate) fn scan(text: &str) -> Result<Vec<protobuf::ScanToken>, Refusal> {
    if text.contains('\0') {
        return Err(no_nul());
    }
    if has_long_run(text) {
        return Err(too_large(LONG_RUN.to_owned()));
    }
    // Without any token the binding makes a slice of a null pointer, which aborts where the compiler checks for it.
    if is_blank(text) {
        return Ok(Vec::new());
    }
    pg_query::scan_tokens(text).map_err(|e| scan_error(text, message(e)))
}

/// Where the scanner names the text from its error on, or the token: the first that is read as far as there, and no farther.
fn scan_error(text: &str, message: String) -> Refusal {
    let place = message.split_once(" at or near \"").and_then(|(what, near)| {
        let near = near.strip_suffix('"').filter(|near| !near.is_empty() && text.len() <= MAX_POSITION_BYTES)?;
        if what.starts_with("unterminated ") {
            return text.strip_suffix(near).map(str::len);
        }
        let fails = |end: usize| text.get(..end).is_some_and(|part| pg_query::scan_tokens(part).is_err());
        let read_to = |at: &usize| *at == 0 || text.get(..*at).is_some_and(is_blank) || !fails(*at);
        let mut places = text.match_indices(near).map(|(at, _)| at).take(MAX_PLACES);
        places.find(|at| fails(*at + near.len()) && read_to(at))
    });
    match place {
        Some(place) => syntax_at(message, position(text, place)),
        None => syntax(message),
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c))
}

/// The statements of a text, by its tokens: what is no SQL does not keep the others from being told apart.
///
/// # Errors
/// The scanner's message.
pub(crate) fn split(text: &str) -> Result<Vec<&str>, String> {
    if text.contains('\0') || has_long_run(text) {
        return Err(LONG_RUN.to_owned());
    }
    pg_query::split_with_scanner(text).map_err(message)
}

/// A hash of the text's shape, literals left out: the same for statements that differ only in them (libpg_query's
/// fingerprint, 16 hexadecimal digits).
///
/// # Errors
/// The parser's message.
pub(crate) fn fingerprint(text: &str) -> Result<String, String> {
    if has_long_run(text) {
        return Err(LONG_RUN.to_owned());
    }
    let options = (pg_query::ParserOptions::default(), pg_query::FingerprintOptions::default());
    with_stack(text.len(), || pg_query::fingerprint(text, options.0, options.1).map(|f| f.hex).map_err(message))
}

/// Characters of `text` before byte `offset`, plus one: a position as Postgres counts it.
pub(crate) fn position(text: &str, offset: usize) -> u32 {
    let chars = text.get(..offset).map_or(0, |s| s.chars().count());
    u32::try_from(chars + 1).unwrap_or(u32::MAX)
}

/// The byte at which the character of this position stands, or the text's end.
pub(crate) fn place_of(text: &str, position: u32) -> Option<usize> {
    let before = usize::try_from(position).ok()?.checked_sub(1)?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(before)
}

fn check_size(text: &str, limits: &StatementLimits) -> Result<(), Refusal> {
    if text.len() > limits.max_bytes {
        return Err(too_large(format!("statement has {} bytes, the limit is {}", text.len(), limits.max_bytes)));
    }
    if text.contains('\0') {
        return Err(no_nul());
    }
    Ok(())
}

fn no_nul() -> Refusal {
    Refusal::new(
        RefusalKind::Syntax,
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        "invalid byte sequence for encoding \"UTF8\": 0x00",
    )
}

fn raw_parse(text: &str) -> Result<protobuf::ParseResult, String> {
    if has_long_run(text) {
        return Err(LONG_RUN.to_owned());
    }
    // The binding's summary of the tree, which we do not use, has panics in it.
    std::panic::catch_unwind(|| pg_query::parse(text, 0))
        .map_err(|_| "statement could not be read".to_owned())?
        .map(|result| result.protobuf)
        .map_err(message)
}

/// The message without the binding's prefix.
fn message(error: pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(m)
        | pg_query::Error::Scan(m)
        | pg_query::Error::Split(m)
        | pg_query::Error::IsUtility(m)
        | pg_query::Error::InvalidJson(m) => m,
        pg_query::Error::Decode(e) => format!("statement is nested too deeply ({e})"),
        pg_query::Error::Conversion(_) => "invalid byte sequence for encoding \"UTF8\": 0x00".to_owned(),
        pg_query::Error::InvalidPointer => "out of memory".to_owned(),
    }
}

fn statement<'t>(
    text: &'t str,
    tokens: &[protobuf::ScanToken],
    raw: RawStmt,
    limits: &StatementLimits,
) -> Result<Statement<'t>, Refusal> {
    let start = usize::try_from(raw.stmt_location).unwrap_or(0);
    let len = usize::try_from(raw.stmt_len).unwrap_or(0);
    let end = if len == 0 { text.len() } else { start + len };
    let (Some(slice), Some(tree)) = (text.get(start..end), raw.stmt) else {
        return Err(syntax("statement borders lie outside of the text".to_owned()));
    };
    let own = tokens_between(tokens, start, end);
    let depth = nesting(own);
    if depth > limits.max_depth {
        return Err(Refusal::new(
            RefusalKind::Limit,
            SqlState::STATEMENT_TOO_COMPLEX,
            format!("statement is nested {depth} deep, the limit is {}", limits.max_depth),
        ));
    }
    Ok(Statement { text: slice, tree: *tree, params: greatest_param(text, own)? })
}

/// The tokens of one statement. They are in the order of the text: a search, since a text may have 100,000 statements.
fn tokens_between(tokens: &[protobuf::ScanToken], start: usize, end: usize) -> &[protobuf::ScanToken] {
    let first = tokens.partition_point(|t| usize::try_from(t.start).is_ok_and(|at| at < start));
    let last = tokens.partition_point(|t| usize::try_from(t.end).is_ok_and(|at| at <= end));
    tokens.get(first..last).unwrap_or_default()
}

fn token_text<'t>(text: &'t str, token: &protobuf::ScanToken) -> &'t str {
    let start = usize::try_from(token.start).unwrap_or(usize::MAX);
    let end = usize::try_from(token.end).unwrap_or(0);
    text.get(start..end).unwrap_or("")
}

/// The deepest nesting of parentheses and brackets. (Chains of operators nest the tree too: the C parser refuses those.)
fn nesting(tokens: &[protobuf::ScanToken]) -> usize {
    let mut depth = 0usize;
    let mut deepest = 0usize;
    for token in tokens {
        if matches!(token.token(), Token::Ascii40 | Token::Ascii91) {
            depth += 1;
            deepest = deepest.max(depth);
        } else if matches!(token.token(), Token::Ascii41 | Token::Ascii93) {
            depth = depth.saturating_sub(1);
        }
    }
    deepest
}

fn greatest_param(text: &str, tokens: &[protobuf::ScanToken]) -> Result<u16, Refusal> {
    let mut greatest = 0u16;
    for token in tokens {
        if token.token() != Token::Param {
            continue;
        }
        let digits = token_text(text, token).trim_start_matches('$');
        let number = digits.parse::<u16>().map_err(|_| {
            Refusal::new(
                RefusalKind::Undefined,
                SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter ${digits}"),
            )
        })?;
        greatest = greatest.max(number);
    }
    Ok(greatest)
}

/// Refuses what servers before 16 read otherwise than the grammar of 18: `0x1F`, `1_000`, `1a`, `$1a`, the vertical tab.
fn check_lexical(text: &str, tokens: &[protobuf::ScanToken]) -> Result<(), Refusal> {
    for token in tokens {
        let start = usize::try_from(token.start).unwrap_or(0);
        let end = usize::try_from(token.end).unwrap_or(0);
        let word = token_text(text, token);
        let numeric = matches!(token.token(), Token::Iconst | Token::Fconst | Token::Param);
        let next = text.get(end..).and_then(|rest| rest.chars().next());
        let odd_number = numeric
            && (word.contains('_')
                || (token.token() != Token::Param && has_radix_prefix(word))
                || next.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$'));
        if odd_number {
            return Err(syntax_at(
                format!("trailing junk after numeric literal at or near \"{word}\""),
                position(text, start),
            ));
        }
    }
    let mut gap_start = 0usize;
    for token in tokens {
        let start = usize::try_from(token.start).unwrap_or(0);
        if text.get(gap_start..start).is_some_and(|gap| gap.contains('\u{b}')) {
            return Err(vertical_tab(text, gap_start));
        }
        gap_start = usize::try_from(token.end).unwrap_or(0);
    }
    if text.get(gap_start..).is_some_and(|gap| gap.contains('\u{b}')) {
        return Err(vertical_tab(text, gap_start));
    }
    // Between the parts of a continued literal ('a'<newline>'b') white space belongs to the token itself.
    let continued = tokens.iter().any(|t| {
        t.token() != Token::SqlComment
            && t.token() != Token::CComment
            && continues_over_vertical_tab(token_text(text, t))
    });
    if continued {
        return Err(vertical_tab(text, 0));
    }
    Ok(())
}

/// Whether the token is a literal with a vertical tab between two of its parts; in a part it is a character like others.
fn continues_over_vertical_tab(token: &str) -> bool {
    let prefix = token.find('\'').and_then(|open| token.get(..open));
    let escapes = match prefix {
        Some("e" | "E") => true,
        Some("" | "b" | "B" | "n" | "N" | "u&" | "U&" | "x" | "X") => false,
        Some(_) | None => return false,
    };
    let mut rest = token.bytes().peekable();
    let (mut within, mut comment) = (false, false);
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' if within && escapes => drop(rest.next()),
            b'\'' if within => within = rest.next_if_eq(&b'\'').is_some(),
            _ if within => {}
            b'\n' | b'\r' => comment = false,
            b'-' => comment = true,
            _ if comment => {}
            b'\'' => within = true,
            0x0b => return true,
            _ => {}
        }
    }
    false
}

fn has_radix_prefix(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next() == Some('0') && chars.next().is_some_and(|c| "xXoObB".contains(c))
}

fn vertical_tab(text: &str, from: usize) -> Refusal {
    let at = text.get(from..).and_then(|s| s.find('\u{b}')).map_or(from, |i| from + i);
    syntax_at("syntax error at or near \"\u{b}\"".to_owned(), position(text, at))
}

fn too_large(message: String) -> Refusal {
    Refusal::new(RefusalKind::Limit, SqlState::PROGRAM_LIMIT_EXCEEDED, message)
}

fn syntax(message: String) -> Refusal {
    let deep = message.contains("nested too deeply") || message.contains("stack depth limit");
    if deep || message.starts_with("memory exhausted") {
        return Refusal::new(RefusalKind::Limit, SqlState::STATEMENT_TOO_COMPLEX, message);
    }
    Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, message)
}

fn syntax_at(message: String, position: u32) -> Refusal {
    let mut refusal = syntax(message);
    refusal.error.position = Some(position);
    refusal
}

/// The binding drops the error's position, so it is found again: the first token whose inclusion makes the text fail.
fn syntax_error(text: &str, tokens: &[protobuf::ScanToken], message: String) -> Refusal {
    let found = error_offset(text, tokens, &message);
    match found {
        Some(offset) => syntax_at(message, position(text, offset)),
        None => syntax(message),
    }
}

fn error_offset(text: &str, tokens: &[protobuf::ScanToken], message: &str) -> Option<usize> {
    if message == "syntax error at end of input" {
        return Some(text.len());
    }
    let near = message.strip_prefix("syntax error at or near \"")?.strip_suffix('"')?;
    let candidates: Vec<&protobuf::ScanToken> = tokens.iter().filter(|t| token_text(text, t) == near).collect();
    let first_failing = match candidates.as_slice() {
        [only] => Some(*only),
        _ if text.len() > MAX_POSITION_BYTES => None,
        several => {
            let index = several.partition_point(|t| {
                let end = usize::try_from(t.end).unwrap_or(0);
                let prefix = text.get(..end).unwrap_or("");
                !matches!(raw_parse(prefix), Err(m) if m == message)
            });
            several.get(index).copied()
        }
    }?;
    usize::try_from(first_failing.start).ok()
}
