//! Whether an answer to an attacker gives anything of the other tenant away.

use super::client::Answer;
use super::marks::{Found, Marks};

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
    /// Every row returned is the attacker's to read by the tenant column, which comes first, or an error.
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
    /// A test of the user's own came to something else than it expects.
    Missed(String),
    /// It could not be carried out: proves nothing.
    Failed(String),
}

/// What is known of the table that an attack is about.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    /// The attacker's value of the tenant column.
    pub key: &'a str,
    /// Rows that the attacker may read in the table.
    pub rows: u64,
    /// Rows without a tenant are everybody's to read.
    pub null_is_shared: bool,
}

/// The SQLSTATE of a key or an exclusion constraint that an existing row stands against.
const EXISTENCE: [&str; 2] = ["23505", "23P01"];

/// Judges the answer to the last step of an attack.
pub fn judge(answer: &Answer, expect: Expect, owned: Owned<'_>, marks: &Marks, asked: &str) -> Judged {
    if let Some(found) = marks.found(answer, asked) {
        return Judged::Shown(found);
    }
    Judged::Of(by_expectation(answer, expect, owned))
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Something of the other tenant's stands in it.
    Shown(Found),
    /// Nothing does: by what it should be.
    Of(Verdict),
}

/// Judges an answer by what it should be.
pub fn by_expectation(answer: &Answer, expect: Expect, owned: Owned<'_>) -> Verdict {
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
            // That a row of one's own is no good tells nothing; that another row is in its way does.
            (Some("23"), _) if EXISTENCE.contains(&error.code.as_str()) => Verdict::Oracle(text),
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
            let is_own = |value: Option<&str>| value.map_or(owned.null_is_shared, |it| it == owned.key);
            let own = answer.rows.iter().all(|row| row.first().is_some_and(|it| is_own(it.as_deref())));
            held(own, &|| "a row with the other tenant's key came back".to_owned())
        }
        Expect::Refused => Verdict::Leak("it was carried out".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::verify_isolation::client::SqlError;

    const OWNED: Owned<'_> = Owned { key: "1", rows: 3, null_is_shared: false };

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
        by_expectation(answer, expect, OWNED)
    }

    #[test]
    fn what_is_shown_counts_whatever_is_expected() {
        let mut marks = Marks::default();
        marks.learn(["Barbara", "Kowalski"]);
        let judged = judge(&row(&["Barbara", "Kowalski"]), Expect::Unmarked, OWNED, &marks, "SELECT 'asked'");
        assert!(matches!(judged, Judged::Shown(_)));
        assert_eq!(judge(&row(&["Barbara"]), Expect::Unmarked, OWNED, &marks, ""), Judged::Of(Verdict::Held));
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
        assert!(matches!(verdict(&error("23503", "own key"), Expect::Untouched), Verdict::Refused(_)));
        let null = Answer { rows: vec![vec![None]], ..Answer::default() };
        assert!(matches!(verdict(&null, Expect::Own), Verdict::Leak(_)));
        let shared = Owned { null_is_shared: true, ..OWNED };
        assert_eq!(by_expectation(&null, Expect::Own, shared), Verdict::Held);
        assert!(matches!(verdict(&error("22012", "no"), Expect::Silent), Verdict::Leak(_)));
        assert!(matches!(verdict(&error("", "gone"), Expect::NoRows), Verdict::Failed(_)));
    }
}
