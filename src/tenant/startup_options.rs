//! The `options` startup parameter: command-line switches of a Postgres backend, as `PGOPTIONS` sends them.

/// Splits `options` into settings, names in lower case, in the order given.
///
/// Words are separated by white space, a backslash takes the next character as it is (`pg_split_opts`); accepted are
/// `-c name=value`, `-cname=value` and `--name=value`, where dashes in a name mean underscores (`ParseLongOption`).
///
/// # Errors
/// A switch that is no setting, or one without a value: as text for the client.
pub fn parse_startup_options(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" || word == "--" {
            words.next().ok_or_else(|| format!("option \"{word}\" requires a value"))?
        } else if let Some(rest) = word.strip_prefix("--") {
            rest.to_owned()
        } else if let Some(rest) = word.strip_prefix("-c") {
            rest.to_owned()
        } else {
            return Err(format!("unsupported command-line option \"{word}\" in the startup packet"));
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| format!("option \"{setting}\" requires a value"))?;
        settings.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            // isspace() of the C locale
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => {
                let word = word.get_or_insert_default();
                word.extend(chars.next());
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn all_spellings_of_a_setting() {
        let got = parse_startup_options("-c pgwarden.tenant=acme -cTimeZone=UTC --statement-timeout=5s  -c a=b\\ c=d");
        assert_eq!(
            got.unwrap(),
            pairs(&[("pgwarden.tenant", "acme"), ("timezone", "UTC"), ("statement_timeout", "5s"), ("a", "b c=d"),])
        );
        assert_eq!(parse_startup_options("  ").unwrap(), vec![]);
    }

    #[test]
    fn a_backslash_takes_the_next_character() {
        assert_eq!(parse_startup_options(r"-c x=\\a\=\").unwrap(), pairs(&[("x", r"\a=")]));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in ["-d 5", "-c", "-c novalue", "--novalue", "plain"] {
            assert!(parse_startup_options(bad).is_err(), "{bad}");
        }
    }
}
