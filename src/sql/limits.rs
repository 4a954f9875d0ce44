//! Bounds on the text of a statement.

/// Bounds on one statement, before any tree is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementLimits {
    /// Bytes of one Query or Parse text.
    pub max_bytes: usize,
    /// Tokens in it.
    pub max_tokens: usize,
    /// Nesting of the parse tree.
    pub max_depth: usize,
}

impl Default for StatementLimits {
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_tokens: 400_000, max_depth: 1_000 }
    }
}
