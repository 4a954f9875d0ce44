//! By which settings the database decides: who may set one chooses what is decided.
//!
//! The database's own text tells: whatever calls `current_setting` with a name decides by it, but for a trigger that only keeps
//! the value in a row, as audit triggers do. Who wrote it is trusted: this finds what is there, not what is hidden.

mod trigger;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::PolicyInput;
use crate::base::QualifiedName;
use crate::catalog::{Catalog, ReaderKind, SettingReader};
use crate::guard::{SettingRules, TableRule};

/// The rules for settings.
pub(super) fn rules(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    tables: &HashMap<QualifiedName, TableRule>,
) -> SettingRules {
    let mut rules = SettingRules { configured: input.tenancy.settings.clone(), ..SettingRules::default() };
    let mut columns: BTreeSet<&str> = tables.values().filter_map(tenant_column).collect();
    columns.insert(&input.tenancy.column);
    for reader in &catalog.setting_readers {
        let read = Read::of(&reader.text);
        if decides(reader, &read, &columns) {
            let what: Arc<str> = format!("{} {}", reader.kind, reader.name).into();
            add(&mut rules.deciders, read.names, &what);
            if read.computed {
                rules.any.get_or_insert(what);
            }
        }
    }
    rules
}

fn add(deciders: &mut BTreeMap<String, Arc<str>>, names: BTreeSet<String>, what: &Arc<str>) {
    for name in names {
        deciders.entry(name).or_insert_with(|| Arc::clone(what));
    }
}

fn tenant_column(rule: &TableRule) -> Option<&str> {
    match rule {
        TableRule::Tenant(table) => Some(&table.column),
        TableRule::Shared(_) => None,
    }
}

/// Whether more comes of the settings than values in columns that are no tenant's key.
fn decides(reader: &SettingReader, read: &Read, tenant_columns: &BTreeSet<&str>) -> bool {
    match &reader.kind {
        ReaderKind::Policy | ReaderKind::View | ReaderKind::Function => true,
        ReaderKind::Default(column) => tenant_columns.contains(column.as_str()),
        ReaderKind::Trigger => {
            let kept = trigger::keeps(&reader.text).filter(|_| !read.computed);
            kept.is_none_or(|columns| columns.iter().any(|column| tenant_columns.contains(column.as_str())))
        }
    }
}

/// Settings that a text reads.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    /// Those with a dot in their names, lower case.
    names: BTreeSet<String>,
    /// The name of another is computed.
    computed: bool,
}

impl Read {
    fn of(text: &str) -> Self {
        let text = text.to_ascii_lowercase().replace('"', "");
        let mut read = Self::default();
        for rest in text.split("current_setting").skip(1) {
            let Some(arguments) = rest.trim_start().strip_prefix('(') else { continue };
            match literal(arguments.trim_start()) {
                Some(name) if name.contains('.') => drop(read.names.insert(name.to_owned())),
                Some(_) => {}
                None => read.computed = true,
            }
        }
        // SHOW in the text of a function.
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || matches!(c, '\'' | ';' | '(')).collect();
        let shown = words.windows(2).filter_map(|pair| match pair {
            ["show", name] if name.contains('.') => Some(*name),
            _ => None,
        });
        read.names.extend(shown.map(str::to_owned));
        read
    }
}

/// The name in quotes (doubled ones, in a text within a text) that stands first and alone in the arguments.
fn literal(arguments: &str) -> Option<&str> {
    let quoted = arguments.strip_prefix('\'')?.trim_start_matches('\'');
    let end = quoted.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '-')))?;
    let (name, rest) = quoted.split_at(end);
    let rest = rest.strip_prefix('\'')?.trim_start_matches('\'').trim_start();
    let rest = rest.strip_prefix("::text").unwrap_or(rest).trim_start();
    (!name.is_empty() && rest.starts_with([',', ')'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_texts() {
        let read = |text: &str| {
            let read = Read::of(text);
            (read.names.into_iter().collect::<Vec<_>>().join(" "), read.computed)
        };
        for (text, names) in [
            ("(owner = current_setting('app.user'::text, true))", "app.user"),
            ("SELECT Current_Setting ( 'App.User' )", "app.user"),
            ("EXECUTE 'SELECT current_setting(''a.b'', true)'", "a.b"),
            (
                "x := \"current_setting\"('a.b'); y := current_setting('timezone'); z := current_setting('c.d')",
                "a.b c.d",
            ),
            ("SHOW app.user", "app.user"),
            ("EXECUTE 'show app.user' INTO x", "app.user"),
            ("-- as current_setting says", ""),
        ] {
            assert_eq!(read(text), (names.to_owned(), false), "{text}");
        }
        for text in [
            "current_setting('app.' || name)",
            "current_setting(name)",
            "current_setting(E'app.\\x75ser')",
            "current_setting($q$app.user$q$)",
            "current_setting(/* which */ 'app.user')",
        ] {
            assert!(read(text).1, "{text}");
        }
    }

    #[test]
    fn what_only_keeps_a_value_decides_nothing() {
        let columns = BTreeSet::from(["tenant_id"]);
        let decides = |kind, text: &str| {
            let reader = SettingReader { kind, name: QualifiedName::new("public", "x"), text: text.to_owned() };
            super::decides(&reader, &Read::of(text), &columns)
        };
        assert!(decides(ReaderKind::Policy, "current_setting('a.b')"));
        assert!(decides(ReaderKind::View, "current_setting('a.b')"));
        assert!(decides(ReaderKind::Function, "BEGIN NEW.actor := current_setting('a.b'); RETURN NEW; END"));
        assert!(decides(ReaderKind::Default("tenant_id".into()), "current_setting('a.b')"));
        assert!(!decides(ReaderKind::Default("actor".into()), "current_setting('a.b')"));
        assert!(!decides(ReaderKind::Trigger, "BEGIN NEW.actor := current_setting('a.b'); RETURN NEW; END"));
        assert!(decides(ReaderKind::Trigger, "BEGIN NEW.tenant_id := current_setting('a.b'); RETURN NEW; END"));
        assert!(decides(ReaderKind::Trigger, "BEGIN NEW.actor := current_setting('a.' || x); RETURN NEW; END"));
    }
}
