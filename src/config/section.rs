//! A table of the TOML as written: typed look-ups that report what is wrong and go on, so that one run finds all errors.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::diagnostics::{Findings, Span, did_you_mean};
use super::values::{parse_duration, parse_size};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The keys of a section.
pub(super) struct Keys {
    /// Those that mean something.
    pub(super) known: &'static [&'static str],
    /// Those that will: refused with a clear word rather than ignored.
    pub(super) later: &'static [&'static str],
}

/// Title of the section that holds all others.
pub(super) const ROOT: &str = "the configuration";

/// One table.
pub(super) struct Section<'a> {
    /// As in the file: `[listen]`, `tls`.
    pub(super) title: String,
    /// Where it begins.
    pub(super) span: Span,
    table: &'a DeTable<'a>,
    findings: &'a Findings<'a>,
}

impl<'a> Section<'a> {
    /// A section whose keys are checked by [`Section::expect_keys`], or are names of the user's choice.
    pub(super) fn new(
        title: impl Into<String>,
        span: Span,
        table: &'a DeTable<'a>,
        findings: &'a Findings<'a>,
    ) -> Self {
        Self { title: title.into(), span, table, findings }
    }

    /// Reports keys that are not listed.
    pub(super) fn expect_keys(self, keys: &Keys) -> Self {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if keys.known.contains(&name) {
                continue;
            }
            if keys.later.contains(&name) {
                self.findings.error_hint(
                    &key.span(),
                    format!("\"{name}\" in {} is not yet supported", self.title),
                    "remove it: pgwarden does not accept settings that would do nothing",
                );
                continue;
            }
            let hint = did_you_mean(name, keys.known.iter().copied())
                .unwrap_or_else(|| format!("known keys: {}", keys.known.join(", ")));
            self.findings.error_hint(&key.span(), format!("unknown key \"{name}\" in {}", self.title), hint);
        }
        self
    }

    /// Whether the key is there, well-formed or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key's value stands; the section if it is not there.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or_else(|| self.span.clone(), |v| v.span())
    }

    /// All entries: for tables whose keys are names of the user's choice.
    pub(super) fn entries(&self) -> impl Iterator<Item = (At<&'a str>, At<&'a DeValue<'a>>)> {
        self.table.iter().map(|(k, v)| {
            let key = At { value: k.get_ref().as_ref(), span: k.span() };
            let value = At { value: v.get_ref(), span: v.span() };
            (key, value)
        })
    }

    fn get<T>(&self, key: &str, what: &str, read: impl Fn(&'a DeValue<'a>) -> Option<T>) -> Option<At<T>> {
        let value = self.table.get(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.findings.error(
                &value.span(),
                format!("\"{key}\" in {} must be {what}, not {}", self.title, value_type(value.get_ref())),
            );
        }
        read.map(|v| At { value: v, span: value.span() })
    }

    pub(super) fn string(&self, key: &str) -> Option<At<&'a str>> {
        self.get(key, "a string", as_str)
    }

    /// A string that must not be empty.
    pub(super) fn nonempty(&self, key: &str) -> Option<At<&'a str>> {
        let text = self.string(key)?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.findings.error(&text.span, format!("\"{key}\" in {} must not be empty", self.title));
            return None;
        }
        Some(text)
    }

    /// Like [`Section::nonempty`], and its absence is an error.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<At<&'a str>> {
        if !self.has(key) {
            self.findings.error_hint(
                &self.span,
                format!("{} needs \"{key}\"", self.title),
                format!("for instance {key} = {example}"),
            );
        }
        self.nonempty(key)
    }

    pub(super) fn bool(&self, key: &str) -> Option<At<bool>> {
        self.get(key, "true or false", |v| match v {
            DeValue::Boolean(b) => Some(*b),
            _ => None,
        })
    }

    /// A whole number in these bounds.
    pub(super) fn number(&self, key: &str, bounds: RangeInclusive<usize>) -> Option<At<usize>> {
        let value = self.get(key, "a whole number", |v| match v {
            DeValue::Integer(i) => Some(i),
            _ => None,
        })?;
        let number = i64::from_str_radix(value.value.as_str(), value.value.radix())
            .ok()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| bounds.contains(n));
        if number.is_none() {
            self.findings.error(
                &value.span,
                format!("\"{key}\" in {} must be from {} to {}", self.title, bounds.start(), bounds.end()),
            );
        }
        number.map(|n| At { value: n, span: value.span })
    }

    /// A duration, which must not be shorter than `min`.
    pub(super) fn duration(&self, key: &str, min: Duration) -> Option<Duration> {
        let text = self.get(key, "a duration like \"30s\"", as_str)?;
        match parse_duration(text.value) {
            Some(d) if d >= min => Some(d),
            Some(_) => {
                self.findings.error(&text.span, format!("\"{key}\" in {} must be at least {min:?}", self.title));
                None
            }
            None => {
                self.findings.error_hint(
                    &text.span,
                    format!("\"{key}\" in {} is not a duration: \"{}\"", self.title, text.value),
                    "a whole number and ms, s, min, h or d: \"30s\"",
                );
                None
            }
        }
    }

    /// A size in bytes in these bounds.
    pub(super) fn size(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<usize> {
        let text = self.get(key, "a size like \"4MB\"", as_str)?;
        let size = parse_size(text.value);
        if size.is_none_or(|s| !bounds.contains(&s)) {
            self.findings.error_hint(
                &text.span,
                format!(
                    "\"{key}\" in {} is not a size from {} to {} bytes: \"{}\"",
                    self.title,
                    bounds.start(),
                    bounds.end(),
                    text.value
                ),
                "a whole number and B, kB, MB or GB: \"4MB\"",
            );
            return None;
        }
        size.and_then(|s| usize::try_from(s).ok())
    }

    /// A string or a list of strings.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<At<&'a str>>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(s) => Some(vec![At { value: s.as_ref(), span: value.span() }]),
            DeValue::Array(items) => {
                Some(items.iter().filter_map(|item| self.list_item(key, item.get_ref(), item.span())).collect())
            }
            other => {
                self.findings.error(
                    &value.span(),
                    format!("\"{key}\" in {} must be a list of strings, not {}", self.title, value_type(other)),
                );
                None
            }
        }
    }

    fn list_item(&self, key: &str, item: &'a DeValue<'a>, span: Span) -> Option<At<&'a str>> {
        let text = as_str(item);
        if text.is_none() {
            self.findings
                .error(&span, format!("\"{key}\" in {} must hold strings only, not {}", self.title, value_type(item)));
        }
        text.map(|value| At { value, span })
    }

    /// A table.
    pub(super) fn table(&self, key: &str, keys: &Keys) -> Option<Section<'a>> {
        self.open_table(key).map(|s| s.expect_keys(keys))
    }

    /// A table whose keys are names of the user's choice.
    pub(super) fn open_table(&self, key: &str) -> Option<Section<'a>> {
        let found = self.get(key, "a table", |v| match v {
            DeValue::Table(t) => Some(t),
            _ => None,
        })?;
        Some(self.child(key, found.span, found.value))
    }

    /// `[[key]]`
    pub(super) fn tables(&self, key: &str, keys: &Keys) -> Vec<Section<'a>> {
        let Some(list) = self.get(key, &format!("written as [[{key}]]"), |v| match v {
            DeValue::Array(items) => Some(items),
            _ => None,
        }) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in list.value {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let outer = self.title.strip_prefix('[').and_then(|title| title.strip_suffix(']'));
                    let title = match outer {
                        Some(outer) => format!("[[{outer}.{key}]]"),
                        None => format!("[[{key}]]"),
                    };
                    sections.push(Section::new(title, item.span(), table, self.findings).expect_keys(keys));
                }
                other => {
                    self.findings.error(&item.span(), format!("\"{key}\" must hold tables, not {}", value_type(other)))
                }
            }
        }
        sections
    }

    /// A section in this one.
    pub(super) fn child(&self, key: &str, span: Span, table: &'a DeTable<'a>) -> Section<'a> {
        let inner = self.title.strip_suffix(']').filter(|t| !t.ends_with(']'));
        let title = match inner {
            _ if self.title == ROOT => format!("[{key}]"),
            Some(parent) => format!("{parent}.{key}]"),
            None => format!("{}.{key}", self.title),
        };
        Section::new(title, span, table, self.findings)
    }
}

fn as_str<'a>(value: &'a DeValue<'a>) -> Option<&'a str> {
    match value {
        DeValue::String(s) => Some(s.as_ref()),
        _ => None,
    }
}

/// What a value is, for error messages.
pub(super) fn value_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
