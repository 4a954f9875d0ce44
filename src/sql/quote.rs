//! Quoting of what goes into SQL as text. The only place where it is done.

use postgres_protocol::escape::escape_identifier;

use crate::base::QualifiedName;

/// A name as a quoted identifier.
pub fn quote_identifier(name: &str) -> String {
    escape_identifier(name)
}

/// A name with its schema, both quoted.
pub fn quote_qualified(name: &QualifiedName) -> String {
    format!("{}.{}", escape_identifier(&name.schema), escape_identifier(&name.name))
}

/// The name of a setting (`app.tenant_id`): each part quoted, so that none is read as anything else.
pub fn quote_setting(name: &str) -> String {
    name.split('.').map(escape_identifier).collect::<Vec<_>>().join(".")
}

/// A SQL string literal that reads the same under any `standard_conforming_strings`.
pub fn quote_literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_literal(&mut out, text);
    out
}

/// Writes [`quote_literal`] of a text.
pub fn push_literal(out: &mut String, text: &str) {
    literal_pieces(text, &mut |piece| out.push_str(piece));
}

/// [`quote_literal`] of a text in pieces, without putting it together: Bind measures a value before it is written, which
/// `postgres_protocol::escape` cannot do.
pub fn literal_pieces(text: &str, put: &mut impl FnMut(&str)) {
    put(if text.contains('\\') { " E'" } else { "'" });
    // Both are doubled: a quote in either form, a backslash in the form that has escapes.
    for piece in text.split_inclusive(['\'', '\\']) {
        put(piece);
        for special in ["'", "\\"] {
            if piece.ends_with(special) {
                put(special);
            }
        }
    }
    put("'");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_what_is_quoted() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_identifier("a\\b"), "\"a\\b\"");
        assert_eq!(quote_qualified(&QualifiedName::new("a.b", "C")), "\"a.b\".\"C\"");
        assert_eq!(quote_setting("app.tenant_id"), "\"app\".\"tenant_id\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        // A space before: what stands there may be a word.
        assert_eq!(quote_literal("\\'"), " E'\\\\'''");
    }

    #[test]
    fn literals_are_those_of_libpq() {
        for text in ["", "a", "it's", "\\", "\\'", "'\\'x", "ä\u{1f600}'"] {
            assert_eq!(quote_literal(text), postgres_protocol::escape::escape_literal(text));
        }
    }
}
