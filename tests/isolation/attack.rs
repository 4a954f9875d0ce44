//! The attacks: `tests/isolation/corpus/*.toml`, arrays of `[[attack]]` whose steps are those of tests/support/script.rs.
//! Client A attacks; `B` is another tenant; `S` the superuser, past pgwarden.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

use super::Mode;
use super::state::Layout;
use crate::support::lab;
use crate::support::reply::Reply;
use crate::support::script::Step;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    pub id: String,
    pub title: String,
    #[serde(default = "shared_only")]
    pub layouts: Vec<Layout>,
    /// A must get an error.
    #[serde(default)]
    pub must_fail: bool,
    /// With this SQLSTATE, if the attack is refused at all.
    #[serde(default)]
    pub sqlstate: Option<String>,
    /// No proxy can close it (global uniqueness, a shared sequence, timing): it is counted, not failed. They stand in
    /// docs/enforcement.md.
    #[serde(default)]
    pub residual: bool,
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the corpus")]
    pub note: String,
    /// B changes its own rows in the course of it.
    #[serde(default)]
    pub others_write: bool,
    /// What A sees may look like B's.
    #[serde(default)]
    pub canaries_expected: bool,
    /// Only a reader's to try: others may do it.
    #[serde(default)]
    pub readers_only: bool,
    /// C's rows are A's to read.
    #[serde(skip)]
    pub reads_c: bool,
    /// What is different in an enforcement mode, and why.
    #[serde(default)]
    pub in_mode: BTreeMap<Mode, Difference>,
    /// SQL of the superuser before.
    #[serde(default)]
    pub setup: Vec<String>,
    pub steps: Vec<Step>,
    /// What would be a leak besides canaries.
    #[serde(default)]
    pub leak: Vec<Leak>,
}

fn shared_only() -> Vec<Layout> {
    vec![Layout::Shared]
}

/// What may be different in one enforcement mode.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// For whoever reads the corpus.
    #[allow(dead_code, reason = "it must be given all the same")]
    pub why: String,
    pub must_fail: Option<bool>,
    pub sqlstate: Option<String>,
    pub residual: Option<bool>,
    pub leak: Option<Vec<Leak>>,
}

impl Attack {
    /// What is expected of it in this mode.
    pub fn in_mode(mut self, mode: Mode) -> Self {
        let Some(difference) = self.in_mode.remove(&mode) else { return self };
        self.must_fail = difference.must_fail.unwrap_or(self.must_fail);
        self.sqlstate = difference.sqlstate.or(self.sqlstate);
        self.residual = difference.residual.unwrap_or(self.residual);
        self.leak = difference.leak.unwrap_or(self.leak);
        self
    }
}

/// A sign of success. Of the conditions, one is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leak {
    /// The step; without it, any of A's.
    pub at: Option<usize>,
    /// A row (its values joined by `|`) matches.
    pub rows: Option<String>,
    /// Anything that was sent matches.
    pub text: Option<String>,
    /// The SQLSTATE matches: an oracle.
    pub error: Option<String>,
    /// It was not refused.
    pub accepted: bool,
    /// It took longer, in seconds: an oracle.
    pub slower: Option<f64>,
    /// A command tag matches.
    pub tag: Option<String>,
    /// These two steps gave different values: a setting of the proxy's was overridden.
    pub changed: Option<[usize; 2]>,
}

/// The answer to one step.
pub struct Seen {
    pub step: usize,
    pub client: String,
    pub reply: Reply,
}

impl Leak {
    /// How the attack succeeded, if it did.
    pub fn found(&self, seen: &[Seen]) -> Option<String> {
        if let Some(steps) = self.changed {
            let value = |step| seen.iter().find(|it| it.step == step).map(|it| it.reply.texts()).unwrap_or_default();
            let [before, after] = steps.map(value);
            let empty = before.is_empty() || before == [["∅"]] || before == [[""]];
            return (!empty && before != after).then(|| format!("{before:?} became {after:?}"));
        }
        seen.iter()
            .filter(|it| self.at.map_or(it.client.starts_with('A'), |at| at == it.step))
            .find_map(|it| self.in_reply(&it.reply).map(|what| format!("step {}: {what}", it.step)))
    }

    fn in_reply(&self, reply: &Reply) -> Option<String> {
        let regex = |text: &str| Regex::new(&format!("(?s){text}")).expect("a regular expression");
        let whole = |text: &str| regex(&format!("^(?:{text})$"));
        if let Some(rows) = &self.rows {
            let rows = regex(rows);
            return reply.texts().iter().map(|it| it.join("|")).find(|it| rows.is_match(it));
        }
        if let Some(text) = &self.text {
            let all = reply.text();
            return regex(text).is_match(&all).then_some(all);
        }
        if let Some(error) = &self.error {
            return whole(error).is_match(reply.sqlstate()).then(|| reply.text());
        }
        if let Some(seconds) = self.slower {
            let slow = reply.elapsed > Duration::from_secs_f64(seconds);
            return slow.then(|| format!("took {:?}", reply.elapsed));
        }
        if let Some(tag) = &self.tag {
            let tag = whole(tag);
            return reply.tags.iter().find(|it| tag.is_match(it)).cloned();
        }
        let accepted = self.accepted && reply.errors.is_empty() && !reply.closed && !reply.timed_out;
        accepted.then(|| format!("accepted: {}", reply.text()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    attack: Vec<Attack>,
}

/// The attacks of one family.
pub fn attacks(family: &str) -> Vec<Attack> {
    let path = format!("isolation/corpus/{family}.toml");
    let corpus: Corpus = toml::from_str(&lab::read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    corpus.attack
}

/// The names of all families.
pub fn families() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(lab::file("isolation/corpus"))
        .expect("the corpus")
        .filter_map(|it| it.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}
