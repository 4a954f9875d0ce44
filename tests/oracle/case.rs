//! The cases of the oracle: `tests/oracle/corpus/*.toml`, arrays of `[[case]]`.

use serde::Deserialize;

use crate::support::lab;
use crate::support::script::Step;

/// The files of the corpus.
pub const FILES: [&str; 7] = ["reads", "writes", "protocol", "surroundings", "session", "temporary", "views"];

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    /// What a naive rewrite does wrong here.
    #[serde(default)]
    #[allow(dead_code, reason = "for whoever reads the corpus")]
    pub hazard: String,
    /// The order of rows counts.
    #[serde(default)]
    pub ordered: bool,
    /// pgwarden may refuse it (42501, 0A000); if it answers, the answer must be the solo database's.
    #[serde(default)]
    pub optional: bool,
    #[serde(default)]
    pub compare: Compare,
    /// Columns whose values differ by nature.
    #[serde(default)]
    pub ignore: Vec<String>,
    pub steps: Vec<Step>,
}

/// How much of an answer must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    #[default]
    All,
    /// Columns, tags and errors, not the values.
    Shape,
    /// The first word of tags, and errors.
    Tags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

/// The cases of one file.
pub fn cases(name: &str) -> Vec<Case> {
    let corpus: Corpus = toml::from_str(&lab::read(&format!("oracle/corpus/{name}.toml")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    corpus.case
}
