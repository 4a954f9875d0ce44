//! What tells that something in an answer is the other tenant's: canaries that were planted in rows of it, which nobody can
//! have by chance, and whole values of its own rows.

use std::collections::{HashMap, HashSet};

use super::client::Answer;
use super::plant::Nonce;

/// Shorter values are anybody's.
const SHORTEST: usize = 6;
/// From here on a value counts by itself; shorter ones only beside another of their row.
const LONG: usize = 16;

/// What is known of the other tenant's rows.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    nonce: Option<Nonce>,
    numbers: HashSet<String>,
    /// Texts and uuids of rows that are not planted, each with the numbers of its rows.
    values: HashMap<String, Vec<usize>>,
    rows: usize,
}

impl Marks {
    /// What the canaries of this run have in common, and those that are numbers.
    pub fn planted(nonce: Nonce, numbers: HashSet<String>) -> Self {
        Self { nonce: Some(nonce), numbers, ..Self::default() }
    }

    /// Itself, or none: where nothing was planted.
    pub fn unless(self, nothing: bool) -> Self {
        if nothing { Self::default() } else { self }
    }

    /// Takes the telling values of a row of the other tenant in.
    pub fn learn<'v>(&mut self, row: impl IntoIterator<Item = &'v str>) {
        self.rows += 1;
        for value in row.into_iter().filter(|it| it.chars().count() >= SHORTEST) {
            self.values.entry(value.to_owned()).or_default().push(self.rows);
        }
    }

    /// Takes out what the attacker holds as well.
    pub fn forget(&mut self, values: &HashSet<String>) {
        self.values.retain(|it, _| !values.contains(it));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nonce.is_none() && self.values.is_empty()
    }

    /// A canary in an answer that was not in the question, or else values of a row of the other tenant that were not.
    pub fn found(&self, answer: &Answer, asked: &str) -> Option<Found> {
        if let Some(canary) = self.canary(answer, asked) {
            return Some(Found { values: vec![canary], planted: true });
        }
        let values = answer.rows.iter().find_map(|row| self.values_of(row, asked))?;
        Some(Found { values, planted: false })
    }

    fn canary(&self, answer: &Answer, asked: &str) -> Option<String> {
        let nonce = self.nonce.as_ref()?;
        let cells = answer.rows.iter().flatten().filter_map(Option::as_deref);
        let heard = answer.heard.iter().map(String::as_str);
        let error = answer.error.iter().flat_map(|it| [it.message.as_str(), it.more.as_str()]);
        let shown = |text: &str| nonce.within(text, &self.numbers, |canary| !asked.contains(canary));
        cells.chain(heard).chain(error).find_map(shown)
    }

    /// A long value of one of the other's rows, or two values of it, side by side in a row of an answer.
    fn values_of(&self, row: &[Option<String>], asked: &str) -> Option<Vec<String>> {
        let mut before: Vec<(&str, &[usize])> = Vec::new();
        for cell in row.iter().flatten() {
            let Some(rows) = self.values.get(cell).filter(|_| !asked.contains(cell.as_str())) else { continue };
            if cell.chars().count() >= LONG {
                return Some(vec![cell.clone()]);
            }
            let beside = |(value, of): &&(&str, &[usize])| *value != cell && of.iter().any(|it| rows.contains(it));
            if let Some((value, _)) = before.iter().find(beside) {
                return Some(vec![(*value).to_owned(), cell.clone()]);
            }
            before.push((cell, rows));
        }
        None
    }
}

/// What shows in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// A canary, or values.
    pub values: Vec<String>,
    /// It is a canary. Else the attacker may hold it in rows that were not read.
    pub planted: bool,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.planted { "planted value" } else { "values" };
        write!(f, "the other tenant's {what} {} in the answer", self.values.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Answer {
        Answer { rows: vec![values.iter().map(|it| Some((*it).to_owned())).collect()], ..Answer::default() }
    }

    fn of_rows() -> Marks {
        let mut marks = Marks::default();
        marks.learn(["comment on 17", "Barbara", "no"]);
        marks.learn(["0f8fad5b-d9cb-469f-a165-70867728950e", "Robert"]);
        marks
    }

    #[test]
    fn whole_values_count_and_parts_do_not() {
        let marks = of_rows();
        let found = |answer: &Answer| marks.found(answer, "SELECT 1").map(|it| it.values);
        assert_eq!(found(&row(&["0f8fad5b-d9cb-469f-a165-70867728950e"])).unwrap().len(), 1);
        assert_eq!(found(&row(&["x", "Barbara", "comment on 17"])).unwrap().len(), 2);
        for own in [
            &["comment on 170", "Barbara"][..],
            &["hello Barbara, comment on 17"],
            &["Barbara"],
            // Of two rows
            &["Barbara", "Robert"],
            &["no", "no"],
        ] {
            assert_eq!(found(&row(own)), None, "{own:?}");
        }
    }

    #[test]
    fn what_was_asked_or_is_the_attackers_own_is_none() {
        let mut marks = of_rows();
        let shown = row(&["Barbara", "comment on 17"]);
        assert_eq!(marks.found(&shown, "SELECT 'Barbara', 'comment on 17'"), None);
        marks.forget(&HashSet::from(["Barbara".to_owned()]));
        assert_eq!(marks.found(&shown, ""), None);
    }

    #[test]
    fn canaries_are_seen_wherever_they_show() {
        let nonce = Nonce::new();
        let text = nonce.text(7, None).unwrap();
        let marks = Marks::planted(nonce.clone(), HashSet::from(["1987654321".to_owned()]));
        for shown in [
            format!("<note>{text}</note>"),
            format!("invalid input: \"{text}\""),
            nonce.uuid(3),
            nonce.day(3),
            "{7,1987654321}".to_owned(),
            format!("{} 12:00:00+00", nonce.day(4)),
        ] {
            let heard = Answer { heard: vec![shown.clone()], ..Answer::default() };
            for answer in [row(&["a", &shown]), heard] {
                assert!(marks.found(&answer, "SELECT 1").is_some_and(|it| it.planted), "{shown}");
            }
        }
        for none in ["11987654321", "19876543210", "2024-06-01", "987654321"] {
            assert_eq!(marks.found(&row(&[none]), "SELECT 1"), None, "{none}");
        }
        assert_eq!(marks.found(&row(&[&text]), &format!("SELECT '{text}'")), None);
        // Another canary beside the one that was asked for
        let other = nonce.text(8, None).unwrap();
        assert!(marks.found(&row(&[&format!("{text},{other}")]), &format!("SELECT '{text}'")).is_some());
    }
}
