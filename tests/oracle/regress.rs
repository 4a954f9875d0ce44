//! Ordinary SQL by topic: `tests/oracle/corpus/regress.toml`.

use std::sync::PoisonError;

use serde::Deserialize;

use super::case::Case;
use super::{Answer, Stage};
use crate::isolation::Mode;
use crate::support::session::Session;
use crate::support::{lab, message};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    topic: Vec<Topic>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    name: String,
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Sql(String),
    Table(Box<Table>),
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    sql: Option<String>,
    steps: Vec<String>,
    ordered: bool,
    refused: Option<String>,
}

impl Entry {
    /// What is sent, one after the other.
    fn table(&self) -> Table {
        let mut table = match self {
            Self::Sql(sql) => Table { sql: Some(sql.clone()), ..Table::default() },
            Self::Table(table) => table.as_ref().clone(),
        };
        if let Some(sql) = table.sql.take() {
            table.steps = vec!["BEGIN".to_owned(), sql, "ROLLBACK".to_owned()];
        }
        table
    }
}

fn topics() -> Vec<Topic> {
    let corpus: Corpus = toml::from_str(&lab::read("oracle/corpus/regress.toml")).expect("regress.toml");
    corpus.topic
}

/// All steps in one write.
fn send(session: &mut Session, steps: &[String], extended: bool) {
    let sent = |sql: &String| {
        if extended { [message::extended(sql, &[]), message::sync()].concat() } else { message::query(sql) }
    };
    session.send(&steps.iter().map(sent).collect::<Vec<_>>().concat());
}

/// What became of one entry.
enum Outcome {
    Same,
    Refused,
    Different(String),
}

fn compare_entry(one: &mut Session, other: &mut Session, table: &Table, extended: bool) -> Outcome {
    send(one, &table.steps, extended);
    send(other, &table.steps, extended);
    let case = Case { ordered: table.ordered, ..Case::default() };
    let mut outcome = Outcome::Same;
    for step in &table.steps {
        let (got, wanted) = (one.collect(1), other.collect(1));
        if !matches!(outcome, Outcome::Same) {
            continue;
        }
        let code = got.sqlstate().to_owned();
        if code != wanted.sqlstate() && !code.is_empty() && table.refused.as_deref() == Some(&code) {
            outcome = Outcome::Refused;
        } else if Answer::of(&got, &case) != Answer::of(&wanted, &case) {
            outcome = Outcome::Different(format!("{step}\n  got  {}\n  solo {}", got.text(), wanted.text()));
        }
    }
    outcome
}

fn compare(mode: Mode, protocols: &[bool]) {
    let mut stage = Stage::of(mode).lock().unwrap_or_else(PoisonError::into_inner);
    let Stage { proxy, shared, solo, alone } = &mut *stage;
    let (through, alone) = (proxy.a(), alone.clone());
    let (mut one, mut other) = (through.connect(), alone.connect());
    let (mut count, mut refused, mut failures) = (0, 0, Vec::new());
    for topic in topics() {
        for (number, entry) in topic.cases.iter().enumerate() {
            let table = entry.table();
            for &extended in protocols {
                count += 1;
                let what = match compare_entry(&mut one, &mut other, &table, extended) {
                    Outcome::Same if mode == Mode::Rewrite && table.refused.is_some() => "is not refused".to_owned(),
                    Outcome::Same => continue,
                    Outcome::Refused => {
                        refused += 1;
                        continue;
                    }
                    Outcome::Different(what) => what,
                };
                let protocol = if extended { "extended" } else { "simple" };
                failures.push(format!("{} {} ({protocol}): {what}", topic.name, number + 1));
                // Whatever state it is in.
                (one, other) = (through.connect(), alone.connect());
            }
        }
    }
    println!("{count} statements of regress.toml in mode {mode:?}: {refused} refused, {} differ", failures.len());
    let harm = shared.settle();
    solo.settle();
    assert!(harm.is_none(), "rows of others or the catalog changed: {harm:?}");
    assert!(count > 300);
    assert!(failures.is_empty(), "{} of {count} differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn gives_what_it_gives_alone_rewritten() {
    compare(Mode::Rewrite, &[false, true]);
}

/// One protocol each where policies do the work: what they leave to pgwarden is the same in both.
#[test]
fn gives_what_it_gives_alone_under_policies() {
    compare(Mode::Rls, &[false]);
}

#[test]
fn gives_what_it_gives_alone_rewritten_and_under_policies() {
    compare(Mode::Both, &[true]);
}
