//! Finding what belongs to others in what A was sent: see the head of tests/fixture/shop.sql.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

/// What others' values look like, plain and in the disguises that SQL makes easy.
static MARKS: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = [
        r"(?i)CANARY_[BCN]_\w+",
        r"\b(?:666|777)00\d{4}\b",
        r"\b20(?:66|77)-\d\d(?:-\d\d)?",
        r"\b(?:66\.66|77\.77)\.0\.\d+",
        r"(?:b{8}|c{8})-0000-4000-8000-\w{12}",
        // hexadecimal, reversed, base64 at its three offsets, JSON escapes
        r"(?i)43414e4152595f4[2ce]\w*",
        r"_[BCN]_YRANAC",
        r"Q0FOQVJZX0|NBTkFSWV9|DQU5BUllf",
        r"(?i)(?:\\+u00[0-9a-f]{2}){6,}",
    ];
    Regex::new(&shapes.join("|")).expect("a regular expression")
});

/// The marks in a text.
pub fn marks(text: &str) -> BTreeSet<String> {
    MARKS.find_iter(text).map(|it| it.as_str().to_owned()).collect()
}

/// The marks in what A received that it did not send itself.
pub fn leaked(received: &str, sent: &str) -> BTreeSet<String> {
    let known = marks(sent);
    marks(received).into_iter().filter(|it| !known.contains(it) && !sent.contains(it)).collect()
}

/// Whether a mark is one of C's.
pub fn is_of_c(mark: &str) -> bool {
    let of_c = ["CANARY_C_", "777", "2077", "77.77", "43414e4152595f43"];
    of_c.iter().any(|start| mark.to_ascii_uppercase().starts_with(&start.to_ascii_uppercase()))
        || mark.contains("_C_YRANAC")
        || mark.starts_with("cccccccc-0000-4000-8000")
}

#[test]
fn sees_others_and_not_ones_own() {
    let others = ["CANARY_B_name_3", "666000003", "2066-01-02", "66.66.0.4", "bbbbbbbb-0000-4000-8000-00000000000b"];
    for mark in others {
        assert_eq!(marks(&format!("x|{mark}|y")).len(), 1, "{mark}");
    }
    assert!(marks("ALPHA_name_1|20|2024-01-02|10.0.0.1|00000000-0000-4000-8000-00000000000a").is_empty());
    assert!(leaked("CANARY_B_name_3", "SELECT 'CANARY_B_name_3'").is_empty());
}
