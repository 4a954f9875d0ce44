//! The tenant in a host name: `acme.db.example.com`.

/// What stands before one of `domains` (lower case, without a dot at either end) in `host`. `None` if the host is none
/// of theirs, or a domain itself: then it names no tenant. More than one label before the domain is returned as it is:
/// it is no tenant's name, and refused as such.
pub(super) fn tenant_of_host<'a>(domains: &[String], host: &'a str) -> Option<&'a str> {
    if domains.iter().any(|domain| domain.eq_ignore_ascii_case(host)) {
        return None;
    }
    let before = |domain: &String| {
        let (rest, tail) = host.split_at_checked(host.len().checked_sub(domain.len())?)?;
        let label = rest.strip_suffix('.')?;
        (tail.eq_ignore_ascii_case(domain) && !label.is_empty()).then_some(label)
    };
    // The longest domain that fits is the one that is meant.
    domains.iter().filter_map(before).min_by_key(|label| label.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let domains = ["db.example.com".to_owned(), "eu.db.example.com".to_owned(), "x".to_owned()];
        for (host, tenant) in [
            ("acme.db.example.com", Some("acme")),
            ("acme.DB.Example.com", Some("acme")),
            ("acme.eu.db.example.com", Some("acme")),
            ("a.b.db.example.com", Some("a.b")),
            ("acme.x", Some("acme")),
            ("db.example.com", None),
            ("eu.db.example.com", None),
            (".db.example.com", None),
            ("acmedb.example.com", None),
            ("acme.db.example.com.evil.org", None),
            ("evil-db.example.com", None),
            ("", None),
            ("ä.db.example.com", Some("ä")),
            ("€x", None),
        ] {
            assert_eq!(tenant_of_host(&domains, host), tenant, "{host}");
        }
    }
}
