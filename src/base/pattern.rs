//! Patterns that find a login and a tenant in a name: `{login}.{tenant}.clients.example.com`.

use crate::base::tenant_name::is_tenant_name;

/// A pattern with `{login}`, `{tenant}` or both, each at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    first: Place,
    /// What stands between the two, and the second.
    second: Option<(String, Place)>,
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Login,
    Tenant,
}

/// What a pattern found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// At `{login}`.
    pub login: Option<String>,
    /// At `{tenant}`.
    pub tenant: Option<String>,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (before, first, rest) = next_place(text)?.ok_or("it has neither {login} nor {tenant}")?;
        let Some((between, second, after)) = next_place(rest)? else {
            return Ok(Self { before: before.to_owned(), first, second: None, after: rest.to_owned() });
        };
        if second == first || next_place(after)?.is_some() {
            return Err("{login} and {tenant} may stand in it once each");
        }
        if between.is_empty() {
            return Err("something must stand between {login} and {tenant}");
        }
        let second = Some((between.to_owned(), second));
        Ok(Self { before: before.to_owned(), first, second, after: after.to_owned() })
    }

    /// Whether `{login}` stands in it.
    pub fn names_login(&self) -> bool {
        self.has(Place::Login)
    }

    /// Whether `{tenant}` stands in it.
    pub fn names_tenant(&self) -> bool {
        self.has(Place::Tenant)
    }

    fn has(&self, place: Place) -> bool {
        self.first == place || self.second.as_ref().is_some_and(|(_, second)| *second == place)
    }

    /// What the pattern finds in a name; `None` if it does not fit, or fits in more than one way.
    pub fn find(&self, name: &str) -> Option<Found> {
        let inner = name.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let Some((between, second)) = &self.second else {
            let mut found = Found::default();
            return found.put(self.first, inner).then_some(found);
        };
        let mut all = inner.match_indices(between.as_str()).filter_map(|(at, _)| {
            let (one, rest) = inner.split_at_checked(at)?;
            let other = rest.strip_prefix(between.as_str())?;
            let mut found = Found::default();
            (found.put(self.first, one) && found.put(*second, other)).then_some(found)
        });
        all.next().filter(|_| all.next().is_none())
    }
}

impl Found {
    fn put(&mut self, place: Place, text: &str) -> bool {
        let (slot, fits) = match place {
            Place::Login => (&mut self.login, !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '/')),
            Place::Tenant => (&mut self.tenant, is_tenant_name(text)),
        };
        *slot = Some(text.to_owned());
        fits
    }
}

/// The text before the first placeholder, the placeholder, and the text behind it.
fn next_place(text: &str) -> Result<Option<(&str, Place, &str)>, &'static str> {
    let Some((before, rest)) = text.split_once('{') else {
        return if text.contains('}') { Err("a } without its {") } else { Ok(None) };
    };
    if before.contains('}') {
        return Err("a } without its {");
    }
    let (word, after) = rest.split_once('}').ok_or("a { without its }")?;
    match word {
        "login" => Ok(Some((before, Place::Login, after))),
        "tenant" => Ok(Some((before, Place::Tenant, after))),
        _ => Err("only {login} and {tenant} may stand in braces"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, name: &str) -> Option<(String, String)> {
        let found = NamePattern::parse(pattern).unwrap().find(name)?;
        Some((found.login.unwrap_or_default(), found.tenant.unwrap_or_default()))
    }

    #[test]
    fn names() {
        let both = |login: &str, tenant: &str| Some((login.to_owned(), tenant.to_owned()));
        assert_eq!(find("{login}", "app"), both("app", ""));
        assert_eq!(find("{tenant}.clients.test", "acme.clients.test"), both("", "acme"));
        assert_eq!(find("{login}.{tenant}.clients.test", "app.acme.clients.test"), both("app", "acme"));
        // A tenant's name has no dot, so this is not ambiguous.
        assert_eq!(find("{login}.{tenant}.clients.test", "my.app.acme.clients.test"), both("my.app", "acme"));
        assert_eq!(find("spiffe:{tenant}:{login}", "spiffe:acme:my:app"), both("my:app", "acme"));
        assert_eq!(find("{login}-{tenant}", "app-acme"), both("app", "acme"));
        // Two ways to read it: neither.
        assert_eq!(find("{login}-{tenant}", "app-acme-eu"), None);
        for (pattern, name) in [
            ("{tenant}.clients.test", "a.b.clients.test"),
            ("{tenant}.clients.test", ".clients.test"),
            ("{tenant}.clients.test", "acme.clients.test.evil"),
            ("{tenant}.clients.test", "acme"),
            ("{login}", ""),
            ("{login}", "a\0b"),
            ("{login}.{tenant}", "app."),
            ("aa{tenant}aa", "aaa"),
        ] {
            assert_eq!(find(pattern, name), None, "{pattern} {name}");
        }
    }

    #[test]
    fn bad_patterns() {
        for bad in [
            "",
            "x",
            "{user}",
            "{login",
            "login}",
            "{login}{tenant}",
            "{login}.{login}",
            "{login}.{tenant}.{login}",
            "{}",
        ] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
    }
}
