//! Row-level security that the app has already: by which setting its policies tell tenants apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Guess, Schema, listed, tables};
use crate::base::QualifiedName;
use crate::catalog::{ReaderKind, Relation};

/// The one setting that policies on tenants' tables read: pgwarden can set it, and policies hold besides what it rewrites. What
/// is not so is a remark: policies that say nothing of pgwarden's role let it see no row.
pub(super) fn setting(
    schema: &Schema<'_>,
    relations: &BTreeMap<QualifiedName, Guess>,
    remarks: &mut Vec<String>,
) -> Option<String> {
    let bound: Vec<&Relation> = relations
        .iter()
        .filter(|(_, guess)| tables::is_tenants(guess))
        .filter_map(|(name, _)| schema.catalog.relations.get(name))
        .filter(|it| it.row_security)
        .collect();
    let read = |table: &&Relation| -> BTreeSet<&str> {
        let readers = schema.catalog.setting_readers.iter();
        let own = readers.filter(|it| it.kind == ReaderKind::Policy && it.name == table.name);
        own.flat_map(|it| settings(&it.text)).collect()
    };
    let mute = listed(bound.iter().filter(|it| read(it).is_empty()).map(|it| it.name.name.as_str()));
    if !mute.is_empty() {
        remarks.push(format!(
            "row-level security of {mute} reads no setting: see that its policies let pgwarden's roles at the rows"
        ));
    }
    let all: BTreeSet<&str> = bound.iter().flat_map(read).collect();
    match all.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => None,
        [one] if is_name(one) => Some((*one).to_owned()),
        several => {
            let several = listed(several.iter().copied());
            remarks.push(format!(
                "policies read {several}: pgwarden sets one, which setting = \"...\" names; they must let the tenant's rows through without \
                 the others"
            ));
            None
        }
    }
}

/// Names of settings that an expression reads, as the server prints it.
fn settings(text: &str) -> Vec<&str> {
    let calls = text.split("current_setting('").skip(1);
    calls.filter_map(|it| it.split_once('\'')).map(|(name, _)| name).collect()
}

/// Whether the configuration takes it as `setting`.
fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|it: char| it.is_ascii_lowercase() || it == '_')
            && word.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
    };
    text.contains('.') && text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_an_expression() {
        let text = "(org_id = (current_setting('app.org'::text, true))::bigint) OR current_setting('app.all'::text) = 'yes'::text";
        assert_eq!(settings(text), ["app.org", "app.all"]);
        assert!(settings("(owner = CURRENT_USER)").is_empty());
        assert!(is_name("app.current_org") && is_name("a.b.c1") && !is_name("App.org") && !is_name("app"));
    }
}
