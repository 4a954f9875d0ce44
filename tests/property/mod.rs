//! Non-interference, property by property test: generated statements run through pgwarden on the shared database and
//! directly on the solo database, and must give the same rows, tags and SQLSTATEs. A statement that differs is made
//! small before it is shown; one that only pgwarden refuses is a defect as well, and shown with its reason.
//!
//! `PGWARDEN_PROPERTY_COUNT` (statements), `PGWARDEN_PROPERTY_SECONDS` (at least so long) and `PGWARDEN_PROPERTY_SEED` choose
//! another run.

pub mod choices;
pub mod generate;
mod schema;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::choices::{Choices, shrink};
use self::generate::{Statement, statement};
use crate::isolation::Mode;
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup, police};
use crate::support::reply::Reply;
use crate::support::session::{Endpoint, Session};

/// Statements of a run, unless told otherwise: about a minute.
const COUNT: u64 = 1_500;
/// Trials spent on making one failure small.
const SHRINKING: usize = 600;
/// Failures that are made small and shown; the rest are counted.
const SHOWN: usize = 8;

/// Both sides of the comparison.
struct Sides {
    proxied: (Endpoint, Session),
    solo: (Endpoint, Session),
    server_version: u32,
}

/// What one statement came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The SQLSTATE that both failed with, if they did.
    Same {
        error: Option<String>,
    },
    /// Only pgwarden refused; the SQLSTATE and its message.
    Refused(String),
    Different(String),
}

/// What must be the same of a reply. Rows as a multiset: no generated query promises an order.
fn answer(reply: &Reply) -> (String, Vec<String>, Vec<Vec<String>>, Vec<String>) {
    let mut rows = reply.texts();
    rows.sort();
    let mut copied: Vec<String> = String::from_utf8_lossy(&reply.copy_out).lines().map(str::to_owned).collect();
    copied.sort();
    (reply.sqlstate().to_owned(), reply.tags.clone(), rows, copied)
}

/// All that is sent for a statement, in one write, and how many answers there will be.
fn messages(statement: &Statement) -> (Vec<u8>, usize) {
    let sent = if statement.extended {
        let values: Vec<_> = statement.values.iter().map(|it| Some(it.as_str())).collect();
        [message::extended(&statement.text, &values), message::sync()].concat()
    } else {
        message::query(&statement.text)
    };
    if statement.writes.is_empty() && statement.then.is_empty() {
        return (sent, 1);
    }
    let mut all = vec![message::query("BEGIN"), sent];
    all.extend(statement.then.iter().map(message::query));
    all.extend(statement.writes.iter().map(|table| message::query(format!("TABLE {table}"))));
    all.push(message::query("ROLLBACK"));
    if !statement.then.is_empty() {
        // After an error there may be some left.
        all.push(message::query("DEALLOCATE ALL"));
    }
    (all.concat(), all.len())
}

fn collect(session: &mut Session, answers: usize) -> Vec<Reply> {
    let mut replies: Vec<Reply> = Vec::new();
    while replies.len() < answers && !replies.iter().any(|it| it.closed || it.timed_out) {
        replies.push(session.collect(1));
    }
    replies
}

impl Sides {
    fn run(&mut self, statement: &Statement) -> Outcome {
        let (bytes, answers) = messages(statement);
        // Both work at the same time.
        for (_, session) in [&mut self.proxied, &mut self.solo] {
            session.send(&bytes);
        }
        let mut replies = Vec::new();
        for (endpoint, session) in [&mut self.proxied, &mut self.solo] {
            let got = collect(session, answers);
            if got.iter().any(|it| it.closed || it.timed_out) {
                *session = endpoint.connect();
            }
            replies.push(got);
        }
        let [proxied, solo] = replies.as_slice() else { return Outcome::Different("no replies".to_owned()) };
        for (got, wanted) in proxied.iter().zip(solo) {
            if solo.len() != answers {
                return Outcome::Different("the solo database has not answered".to_owned());
            }
            let refused = matches!(got.sqlstate(), "42501" | "0A000" | "54001" | "54000");
            if refused && got.sqlstate() != wanted.sqlstate() {
                let message = got.errors[0].get(&'M').cloned().unwrap_or_default();
                return Outcome::Refused(format!("{} {message}", got.sqlstate()));
            }
            let (got_answer, wanted_answer) = (answer(got), answer(wanted));
            if got.closed || got.timed_out || got_answer != wanted_answer {
                return Outcome::Different(format!("through pgwarden:\n{}\nsolo:\n{}", excerpt(got), excerpt(wanted)));
            }
        }
        Outcome::Same { error: solo.iter().find(|it| !it.errors.is_empty()).map(|it| it.sqlstate().to_owned()) }
    }
}

fn excerpt(reply: &Reply) -> String {
    let mut rows = reply.texts();
    rows.sort();
    let text = Reply { rows: Vec::new(), columns: Vec::new(), ..reply.clone() }.text();
    let rows: Vec<_> = rows.iter().take(12).map(|row| format!("  {}", row.join("|"))).collect();
    format!("  {text}\n{}", rows.join("\n"))
}

/// Outcomes that count as the same failure while it is made small.
fn alike(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Outcome::Refused(a), Outcome::Refused(b)) => reason(a) == reason(b),
        (Outcome::Different(_), Outcome::Different(_)) => true,
        _ => false,
    }
}

/// A refusal without the names in it.
fn reason(text: &str) -> String {
    text.split('"').step_by(2).collect()
}

pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |it| it.parse().unwrap_or_else(|_| panic!("{variable}={it}: a number")))
}

fn sides(mode: Mode) -> Sides {
    let lab = Lab::general();
    let [shared, solo] = ["shared", "solo"].map(|side| format!("property_{side}_{mode:?}").to_lowercase());
    lab.copy_of_shop(&shared);
    lab.copy_of_shop(&solo);
    lab.script(&solo, "fixture/solo.sql");
    if mode.is_policed() {
        police(lab, &shared);
    }
    // Kept for the life of the process, as the clusters are.
    let proxy: &'static Proxy = Box::leak(Box::new(Proxy::start(lab, &Setup::enforcing(mode.enforcement(), &shared))));
    let (through, alone) = (proxy.a(), lab.owner(&solo));
    let version = lab.superuser(&solo).simple("SHOW server_version_num").ok().value();
    Sides {
        proxied: (through.clone(), through.connect()),
        solo: (alone.clone(), alone.connect()),
        server_version: version.parse().expect("a number"),
    }
}

#[test]
fn generated_statements_give_what_they_give_alone() {
    compare(Mode::Rewrite, number("PGWARDEN_PROPERTY_COUNT", COUNT));
}

/// Where policies alone keep tenants apart, there is less of pgwarden's own to go wrong.
#[test]
fn generated_statements_give_what_they_give_alone_under_policies() {
    compare(Mode::Rls, number("PGWARDEN_PROPERTY_COUNT", COUNT) / 5);
}

#[test]
fn generated_statements_give_what_they_give_alone_rewritten_and_under_policies() {
    compare(Mode::Both, number("PGWARDEN_PROPERTY_COUNT", COUNT) / 5);
}

fn compare(mode: Mode, count: u64) {
    let seed = number("PGWARDEN_PROPERTY_SEED", 1);
    let mut sides = sides(mode);
    let version = sides.server_version;
    let (mut failures, mut errors, mut differing) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    let mut refusals = BTreeMap::<String, usize>::new();
    let until = Instant::now() + Duration::from_secs(number("PGWARDEN_PROPERTY_SECONDS", 0));
    let mut count = count;
    for number in 0.. {
        if number >= count && Instant::now() >= until {
            count = number;
            break;
        }
        let (generated, draws) = statement(Choices::seeded(seed.wrapping_mul(1_000_003).wrapping_add(number)), version);
        let outcome = sides.run(&generated);
        let fresh = match &outcome {
            Outcome::Same { error: None } => continue,
            Outcome::Same { error: Some(code) } => {
                *errors.entry(code.clone()).or_default() += 1;
                continue;
            }
            Outcome::Refused(why) => {
                let seen = refusals.entry(reason(why)).or_default();
                *seen += 1;
                *seen == 1
            }
            Outcome::Different(_) => {
                differing += 1;
                differing <= SHOWN
            }
        };
        if fresh {
            failures.push(smallest(&mut sides, number, draws, &outcome));
        }
    }
    println!("{count} statements (seed {seed}): {differing} differ, refused {refusals:?}, the same errors {errors:?}");
    assert!(failures.is_empty(), "{differing} differ, refused: {refusals:?}\n\n{}", failures.join("\n\n"));
    // Statements that fail alone as well prove little: most must not.
    let failed = errors.values().sum::<usize>() as u64;
    assert!(failed * 10 < count, "{failed} of {count} statements are errors: the generator has gone wrong");
}

fn smallest(sides: &mut Sides, number: u64, draws: Vec<u32>, outcome: &Outcome) -> String {
    let version = sides.server_version;
    let small = shrink(draws, SHRINKING, &mut |it| {
        let (candidate, _) = statement(Choices::replay(it), version);
        alike(&sides.run(&candidate), outcome)
    });
    let (shown, _) = statement(Choices::replay(&small), version);
    let last = match sides.run(&shown) {
        // It does not differ every time: what was seen first is all there is.
        Outcome::Same { .. } => format!("at first, of a longer statement: {outcome:?}"),
        last @ (Outcome::Refused(_) | Outcome::Different(_)) => format!("{last:?}"),
    };
    format!("statement {number}: {shown:?}\n{last}").replace("\\n", "\n")
}
