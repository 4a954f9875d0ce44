//! What a tenant may be called.

/// The longest name of a tenant, in bytes: that of a Postgres identifier, so that a name fits wherever one does.
pub const MAX_TENANT_NAME: usize = 63;

/// The database that is pgwarden's console.
pub const CONSOLE_DATABASE: &str = "pgwarden";

/// Whether the text can be a tenant's name: ASCII letters, digits, `_` and `-`, starting with a letter or digit, at most
/// [`MAX_TENANT_NAME`] bytes. So it can stand in a user name (`app@acme`, `app.acme`), a database path (`acme/app`) and a
/// host name without being ambiguous, and in a log line without being escaped.
pub fn is_tenant_name(text: &str) -> bool {
    text.len() <= MAX_TENANT_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["acme", "Acme-2", "4711", "a_b", &"x".repeat(63)] {
            assert!(is_tenant_name(good), "{good}");
        }
        for bad in ["", "-a", "_a", "a.b", "a@b", "a/b", "a b", "ä", "a'b", "a\n", &"x".repeat(64)] {
            assert!(!is_tenant_name(bad), "{bad:?}");
        }
    }
}
