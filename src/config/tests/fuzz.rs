//! Whatever the text.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever the text, there is a configuration or at least one error, each with a place in the file.
    #[test]
    fn any_text(text in "(?s).{0,400}") {
        check(&text);
    }

    /// The full example with a piece cut out and another put in.
    #[test]
    fn a_damaged_example(
        from in 0_usize..5000,
        len in 0_usize..40,
        piece in "([a-z_]{1,8}|[\\[\\]{}=\"',.#\\n -]{1,4}|[0-9]{1,20}|é){0,3}",
    ) {
        let full = include_str!("../../../config/full.toml");
        let chars: Vec<char> = full.chars().collect();
        let from = from.min(chars.len());
        let rest = (from + len).min(chars.len());
        let text: String = chars[..from].iter().copied().chain(piece.chars()).chain(chars[rest..].iter().copied()).collect();
        check(&text);
    }
}

fn check(text: &str) {
    if let Err(found) = parse_text(text) {
        let lines = text.matches('\n').count() + 1;
        assert!(!found.errors.is_empty());
        assert!(found.errors.iter().all(|e| (1..=lines).contains(&e.line) && e.column >= 1), "{found}");
    }
}
