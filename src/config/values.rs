//! Values that TOML has no type for: durations, sizes, qualified names.

use std::time::Duration;

use crate::base::QualifiedName;

/// `"250ms"`, `"30s"`, `"5min"`, `"2h"`, `"1d"`: Postgres's own units.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `"512"` or `"512B"`, `"64kB"`, `"4MB"`, `"1GB"`: Postgres's own units, powers of 1024.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

/// `schema.name`, parts as stored in the catalog; a part with a dot in it is written in double quotes.
pub(super) fn parse_qualified_name(text: &str) -> Option<QualifiedName> {
    let (schema, rest) = take_part(text)?;
    let (name, rest) = take_part(rest.strip_prefix('.')?)?;
    rest.is_empty().then(|| QualifiedName::new(schema, name))
}

fn take_part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (part, rest) = text.split_at_checked(end)?;
        let plain = !part.is_empty() && !part.contains('"') && part.trim() == part;
        return plain.then(|| (part.to_owned(), rest));
    };
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return (!part.is_empty()).then_some((part, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("5 min"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        for bad in ["", "30", "s", "-1s", "1.5s", "3 weeks", "99999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("4MB"), Some(4 << 20));
        assert_eq!(parse_size("64kB"), Some(64 << 10));
        for bad in ["", "MB", "4Mb", "-1", "99999999999GB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn qualified_names() {
        let name = |s: &str, n: &str| Some(QualifiedName::new(s, n));
        assert_eq!(parse_qualified_name("public.User"), name("public", "User"));
        assert_eq!(parse_qualified_name(r#"public."a.b""#), name("public", "a.b"));
        assert_eq!(parse_qualified_name(r#""x""y"."z""#), name("x\"y", "z"));
        for bad in ["", "t", ".t", "s.", "a.b.c", r#""a"#, r#""a"b.c"#, r#"s."""#, "s .t"] {
            assert_eq!(parse_qualified_name(bad), None, "{bad}");
        }
    }
}
