//! Whether an answer to an attacker gives anything of the other tenant away.

use std::collections::HashSet;

use super::client::Answer;

/// What an answer must be for the attack to have failed. Whatever is expected, nothing of the other tenant may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Any rows, so long as nothing of the other tenant is in them.
    Unmarked,
    /// No row, or an error.
    NoRows,
    /// No row, and no error that comes from evaluating the condition on a row (class 22).
    Silent,
    /// One value that is 0, false or NULL, or an error.
    Zero,
    /// As many as the attacker owns (the value, or the rows affected), or an error.
    OwnCount,
    /// No row is written, or an error.
    Untouched,
    /// Every row returned is the attacker's own by the tenant column, or an error.
    Own,
    /// An error that says so: SQLSTATE class 42, 0A, 28, 25, 53 or 54.
    Refused,
}

/// The verdict on one attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ran and gave nothing away.
    Held,
    /// It was refused; SQLSTATE and message.
    Refused(String),
    /// It failed on a constraint that spans tenants: the existence of a key shows, rows do not.
    Oracle(String),
    /// Something of the other tenant was read, counted or written; the evidence.
    Leak(String),
    /// It could not be carried out: proves nothing.
    Failed(String),
}

/// Values that only the other tenant's rows hold.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    values: HashSet<String>,
}

/// Shorter values may be anybody's.
const SHORTEST_CELL: usize = 4;
/// Values that are looked for within longer texts.
const SHORTEST_PART: usize = 6;

impl Marks {
    /// Takes values of the other tenant in.
    pub fn learn(&mut self, values: impl IntoIterator<Item = String>) {
        self.values.extend(values.into_iter().filter(|it| it.chars().count() >= SHORTEST_CELL));
    }

    /// Takes out what the attacker holds as well.
    pub fn forget(&mut self, values: &HashSet<String>) {
        self.values.retain(|it| !values.contains(it));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A mark in an answer that was not in the question.
    pub fn found(&self, answer: &Answer, asked: &str) -> Option<String> {
        let cells: Vec<&str> = answer.rows.iter().flatten().filter_map(Option::as_deref).collect();
        let mut texts = cells.clone();
        texts.extend(answer.heard.iter().map(String::as_str));
        if let Some(error) = &answer.error {
            texts.extend([error.message.as_str(), error.more.as_str()]);
        }
        let shown = |mark: &str| {
            cells.contains(&mark)
                || (mark.chars().count() >= SHORTEST_PART && texts.iter().any(|text| text.contains(mark)))
        };
        self.values.iter().find(|mark| !asked.contains(mark.as_str()) && shown(mark)).cloned()
    }
}

/// What is known of the table that an attack is about.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    /// The attacker's value of the tenant column.
    pub key: &'a str,
    /// Rows that the attacker owns in the table.
    pub rows: u64,
}

/// Judges the answer to the last step of an attack.
pub fn judge(answer: &Answer, expect: Expect, owned: Owned<'_>, marks: &Marks, asked: &str) -> Verdict {
    if let Some(mark) = marks.found(answer, asked) {
        return Verdict::Leak(format!("the other tenant's value {mark:?} was shown"));
    }
    if let Some(error) = &answer.error {
        let text = format!("{} {}", error.code, error.message);
        return match (error.code.get(..2), expect) {
            (None, _) => Verdict::Failed(error.message.clone()),
            (Some("22"), Expect::Silent) => {
                Verdict::Leak(format!("a condition was evaluated on the other tenant's rows: {text}"))
            }
            (Some("42" | "0A" | "28" | "25" | "53" | "54"), _) => Verdict::Refused(text),
            // A constraint looked at the row that should have been refused.
            (Some("23"), Expect::Refused) => Verdict::Leak(format!("the statement reached the table: {text}")),
            (Some("23"), _) => Verdict::Oracle(text),
            (Some(_), _) => Verdict::Refused(text),
        };
    }
    let count = || answer.value().and_then(|it| it.parse().ok()).unwrap_or(answer.affected);
    let held = |good: bool, evidence: &dyn Fn() -> String| {
        if good { Verdict::Held } else { Verdict::Leak(evidence()) }
    };
    let rows = answer.rows.len();
    match expect {
        Expect::Unmarked => Verdict::Held,
        Expect::NoRows | Expect::Silent => held(rows == 0, &|| format!("{rows} rows of the other tenant")),
        Expect::Zero => {
            let zero = rows == 0
                || answer.rows.iter().flatten().all(|it| matches!(it.as_deref(), None | Some("0" | "f" | "")));
            held(zero, &|| format!("{} instead of nothing", answer.value().unwrap_or("rows")))
        }
        Expect::OwnCount => {
            held(count() <= owned.rows, &|| format!("{} rows, of which {} are the attacker's", count(), owned.rows))
        }
        Expect::Untouched => held(answer.affected == 0, &|| format!("{} rows of the other tenant", answer.affected)),
        Expect::Own => {
            let own = answer.rows.iter().all(|row| row.first().is_some_and(|it| it.as_deref() == Some(owned.key)));
            held(own, &|| "a row of the other tenant was written".to_owned())
        }
        Expect::Refused => Verdict::Leak("it was carried out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::verify_isolation::client::SqlError;

    const OWNED: Owned<'_> = Owned { key: "1", rows: 3 };

    fn row(values: &[&str]) -> Answer {
        Answer {
            rows: vec![values.iter().map(|it| Some((*it).to_owned())).collect()],
            affected: 1,
            ..Answer::default()
        }
    }

    fn error(code: &str, message: &str) -> Answer {
        let error = SqlError { code: code.to_owned(), message: message.to_owned(), more: String::new() };
        Answer { error: Some(error), ..Answer::default() }
    }

    fn verdict(answer: &Answer, expect: Expect) -> Verdict {
        let mut marks = Marks::default();
        marks.learn(["Barbara".to_owned(), "7777".to_owned(), "no".to_owned()]);
        judge(answer, expect, OWNED, &marks, "SELECT 'asked'")
    }

    #[test]
    fn values_of_the_other_tenant_are_seen_wherever_they_show() {
        let leaks = [row(&["x", "hello Barbara"]), row(&["7777"]), error("22P02", "invalid input: \"Barbara\"")];
        for answer in leaks {
            assert!(matches!(verdict(&answer, Expect::Unmarked), Verdict::Leak(_)), "{answer:?}");
        }
        let noticed = Answer { heard: vec!["Barbara was here".to_owned()], ..Answer::default() };
        assert!(matches!(verdict(&noticed, Expect::Unmarked), Verdict::Leak(_)));
        assert_eq!(verdict(&row(&["no", "x7777x"]), Expect::Unmarked), Verdict::Held);
    }

    #[test]
    fn what_was_asked_is_no_leak() {
        let mut marks = Marks::default();
        marks.learn(["Barbara".to_owned()]);
        assert_eq!(marks.found(&row(&["Barbara"]), "SELECT 'Barbara'"), None);
    }

    #[test]
    fn expectations() {
        assert_eq!(verdict(&row(&["3"]), Expect::OwnCount), Verdict::Held);
        assert!(matches!(verdict(&row(&["4"]), Expect::OwnCount), Verdict::Leak(_)));
        assert_eq!(verdict(&row(&["0"]), Expect::Zero), Verdict::Held);
        assert!(matches!(verdict(&row(&["1"]), Expect::Zero), Verdict::Leak(_)));
        assert!(matches!(verdict(&row(&["1"]), Expect::NoRows), Verdict::Leak(_)));
        assert_eq!(verdict(&row(&["1"]), Expect::Own), Verdict::Held);
        assert!(matches!(verdict(&row(&["2"]), Expect::Own), Verdict::Leak(_)));
        assert!(matches!(verdict(&row(&["1"]), Expect::Refused), Verdict::Leak(_)));
        assert!(matches!(verdict(&error("42501", "no"), Expect::Refused), Verdict::Refused(_)));
        assert!(matches!(verdict(&error("23505", "no"), Expect::Refused), Verdict::Leak(_)));
        assert!(matches!(verdict(&error("23505", "no"), Expect::Own), Verdict::Oracle(_)));
        assert!(matches!(verdict(&error("22012", "no"), Expect::Silent), Verdict::Leak(_)));
        assert!(matches!(verdict(&error("", "gone"), Expect::NoRows), Verdict::Failed(_)));
    }
}
