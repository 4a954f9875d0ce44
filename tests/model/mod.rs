//! A model of the connection: clients do what the protocol allows and what it does not, in any order, and end at any moment.
//! Each is answered as Postgres alone answers it, and leaves nothing behind: on a pool of one server connection, the next
//! client, of another tenant, is served at once and finds all as on a new connection. What fails is made small before it is
//! shown, as it would stand in `known.rs`.
//!
//! `PGWARDEN_MODEL_COUNT` (sequences), `PGWARDEN_MODEL_SECONDS` (at least so long) and `PGWARDEN_MODEL_SEED` choose another
//! run, `PGWARDEN_MODEL_FIRST` its first sequence.

mod draw;
mod known;
mod pair;
mod stage;
mod step;

use std::time::{Duration, Instant};

use self::stage::Stage;
use self::step::Sequence;
use crate::property::choices::Choices;
use crate::property::number;

/// Sequences of a run, unless told otherwise: some 20 seconds.
const COUNT: u64 = 300;
/// Trials spent on making one failure small.
const SHRINKING: usize = 250;
/// Failures that are made small and shown, before the run ends.
const SHOWN: usize = 3;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A client got no answer.
    Hangs,
    /// The next client is not as one on a new connection.
    Leaks,
    /// The client itself got another answer than Postgres gives.
    Differs,
}

#[derive(Debug)]
struct Trouble {
    kind: Kind,
    text: String,
}

type Outcome = Result<(), Trouble>;

fn trouble(kind: Kind, text: String) -> Outcome {
    Err(Trouble { kind, text })
}

#[test]
fn a_client_leaves_nothing_to_the_next() {
    let (count, seed) = (number("PGWARDEN_MODEL_COUNT", COUNT), number("PGWARDEN_MODEL_SEED", 1));
    let started = Instant::now();
    let until = started + Duration::from_secs(number("PGWARDEN_MODEL_SECONDS", 0));
    let mut stage = Stage::new("drawn");
    let mut failures = Vec::new();
    let first = number("PGWARDEN_MODEL_FIRST", 0);
    let mut number = first;
    while (number - first < count || Instant::now() < until) && failures.len() < SHOWN {
        let sequence = Sequence::drawn(Choices::seeded(seed.wrapping_mul(1_000_003).wrapping_add(number)));
        if let Err(trouble) = stage.run(&sequence) {
            failures.push(format!("sequence {number} of seed {seed}: {}", smallest(&mut stage, sequence, trouble)));
        }
        number += 1;
    }
    let excused: usize = stage.excuses.values().sum();
    let took = started.elapsed();
    println!(
        "{} sequences (seed {seed}) in {took:?}: {} fail, {excused} excused: {:?}",
        number - first,
        failures.len(),
        stage.excuses
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // What may differ proves little of what follows: most must not.
    assert!(excused as u64 * 3 <= count, "{excused} of {number} are excused: the generator has gone wrong");
}

fn smallest(stage: &mut Stage, sequence: Sequence, trouble: Trouble) -> String {
    stage.renew(true);
    if stage.run(&sequence).is_ok() {
        return format!("{:?}, and not a second time: {}\n{}", trouble.kind, trouble.text, sequence.shown());
    }
    let (mut patience, mut last) = (SHRINKING, trouble);
    stage.renew(false);
    let small = sequence.smallest(&mut |candidate| {
        if patience == 0 {
            return false;
        }
        patience -= 1;
        match stage.run(candidate) {
            Ok(()) => false,
            Err(trouble) => {
                stage.renew(false);
                let same = trouble.kind == last.kind;
                if same {
                    last = trouble;
                }
                same
            }
        }
    });
    stage.renew(true);
    format!("{:?}: {}\n{}", last.kind, last.text, small.shown())
}
