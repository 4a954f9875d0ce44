//! Sequences from draws: single messages and whole batches, of statements that keep each other company badly.

use super::step::{COMMON, Ending, PINNING, Sequence, Step};
use crate::property::choices::Choices;

const STATEMENTS: &[&str] = &["", "s1", "s2"];
const PORTALS: &[&str] = &["", "p1"];

const COPY_IN: &str = "COPY model_rows (id, v) FROM STDIN";

/// For Parse and for Query.
const SINGLE: &[&str] = &[
    "SELECT nosuch",
    "SELECT 1/0",
    "SELECT 1/(id - 2) FROM model_rows ORDER BY id",
    "",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT one",
    "ROLLBACK TO one",
    "RELEASE one",
    "DEALLOCATE ALL",
    "DEALLOCATE s1",
    "DISCARD ALL",
    "DISCARD PLANS",
    "SHOW timezone",
    "SET timezone TO 'Asia/Tokyo'",
    "SET LOCAL timezone TO 'Asia/Tokyo'",
    "RESET timezone",
    "SET datestyle TO 'ISO, DMY'",
    "SET LOCAL datestyle TO 'German'",
    "RESET ALL",
    "SET bytea_output TO 'escape'",
    "SET default_transaction_read_only TO on",
    "SET default_transaction_isolation TO 'serializable'",
    "SELECT set_config('timezone', 'Asia/Tokyo', false)",
    "SELECT set_config('intervalstyle', 'iso_8601', true)",
    "SET TRANSACTION READ ONLY",
    "INSERT INTO model_rows (id, v) VALUES (9, 'of the sequence')",
    "DELETE FROM model_rows WHERE id = 9",
    "DECLARE c1 CURSOR FOR SELECT v FROM model_rows ORDER BY id",
    "FETCH 1 FROM c1",
    "CLOSE c1",
    "CLOSE ALL",
    "COPY (SELECT v FROM model_rows ORDER BY id) TO STDOUT",
    COPY_IN,
    "SELECT count(*) FROM generate_series(1, 100000)",
];

/// For Query alone.
const SEVERAL: &[&str] = &[
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT 1/0; SELECT 2",
    "SELECT 1; SELECT nosuch",
    "BEGIN; SELECT 1",
    "BEGIN; SELECT 1/0",
    "COMMIT; SELECT 1/0",
    "ROLLBACK; SELECT 1",
    "COMMIT; BEGIN",
    "SELECT 1; BEGIN",
    "DEALLOCATE ALL; SELECT 1",
    "DEALLOCATE ALL; SELECT 1/0",
    "SELECT 1; DEALLOCATE ALL",
    "BEGIN; DEALLOCATE ALL; ROLLBACK",
    "DEALLOCATE s1; SELECT 1/0",
    "DISCARD ALL; SELECT 1",
    "SELECT 1; DISCARD ALL",
    "SET timezone TO 'Asia/Tokyo'; SELECT 1/0",
    "SET datestyle TO 'ISO, DMY'; SELECT 1",
    "BEGIN; SET datestyle TO 'ISO, DMY'; ROLLBACK",
    "BEGIN; SET LOCAL timezone TO 'Asia/Tokyo'; COMMIT",
    "BEGIN; SAVEPOINT one; SET timezone TO 'Asia/Tokyo'; ROLLBACK TO one; COMMIT",
    "RESET ALL; SELECT 1/0",
    "BEGIN; SET timezone TO 'Asia/Tokyo'; RESET ALL; ROLLBACK",
    "RESET ALL; SET datestyle TO 'ISO, DMY'",
    "INSERT INTO model_rows (id, v) VALUES (8, 'first'); SELECT 1/0",
    "COPY model_rows (id, v) FROM STDIN; SELECT 1",
    "SELECT 1; COPY model_rows (id, v) FROM STDIN",
    "COPY (SELECT 1) TO STDOUT; SELECT 1/0",
    "BEGIN; DECLARE c1 CURSOR FOR SELECT v FROM model_rows ORDER BY id; FETCH 1 FROM c1",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SELECT 1",
    "SELECT nosuch syntax",
];

const ROWS: &[&str] = &["31\tcopied\n", "32\t", "more\n", "no number\tx\n"];

/// Sequences that stand for classes that random soups seldom reach: a whole batch each.
type Group = fn(&mut Choices) -> Vec<Step>;
const GROUPS: &[Group] = &[one_message, query, batch, copy, settle, prepared, transaction, tail_of_failure];

fn one(choices: &mut Choices, from: &[&'static str]) -> &'static str {
    from[choices.below(from.len())]
}

fn text(choices: &mut Choices) -> &'static str {
    match choices.below(10) {
        0..5 => one(choices, SINGLE),
        5..9 => one(choices, COMMON),
        _ => one(choices, PINNING),
    }
}

fn values(text: &str) -> &'static [&'static str] {
    if text.contains("$1") { &["1"] } else { &[] }
}

fn query(choices: &mut Choices) -> Vec<Step> {
    let text = if choices.chance(40) { one(choices, SEVERAL) } else { text(choices) };
    // Without its parameter it is an error, which is welcome as well.
    vec![Step::Query(text)]
}

fn one_message(choices: &mut Choices) -> Vec<Step> {
    let statement = one(choices, STATEMENTS);
    let portal = one(choices, PORTALS);
    vec![match choices.below(12) {
        0 => Step::Sync,
        1 => Step::Flush,
        2 | 3 => Step::Parse(statement, text(choices)),
        4 | 5 => Step::Bind(portal, statement, if choices.chance(20) { &["1"] } else { &[] }),
        6 => Step::Execute(portal, choices.below(2) as u32),
        7 => Step::Describe('S', statement),
        8 => Step::Describe('P', portal),
        9 => Step::Close('S', statement),
        10 => Step::Close('P', portal),
        _ => match choices.below(8) {
            0 => Step::CopyData(one(choices, ROWS)),
            1 => Step::CopyDone,
            2 => Step::CopyFail,
            3 => Step::Terminate,
            4 => Step::Execute("c1", 1),
            _ => Step::Cancel,
        },
    }]
}

fn run_of(statement: &'static str, text: &'static str, choices: &mut Choices) -> Vec<Step> {
    let portal = one(choices, PORTALS);
    let mut steps = vec![Step::Parse(statement, text), Step::Bind(portal, statement, values(text))];
    if choices.chance(40) {
        steps.push(Step::Describe('P', portal));
    }
    steps.push(Step::Execute(portal, choices.below(2) as u32));
    steps
}

/// A batch as drivers send it, mostly with its Sync.
fn batch(choices: &mut Choices) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..=choices.below(2) {
        let (statement, text) = (one(choices, STATEMENTS), text(choices));
        steps.extend(run_of(statement, text, choices));
    }
    if choices.chance(80) {
        steps.push(Step::Sync);
    }
    steps
}

/// A named statement of those that others have as well, closed before so that it is there.
fn prepared(choices: &mut Choices) -> Vec<Step> {
    let (name, text) = (one(choices, &STATEMENTS[1..]), one(choices, COMMON));
    let mut steps = vec![Step::Close('S', name)];
    steps.extend(run_of(name, text, choices));
    steps.push(Step::Sync);
    if choices.chance(50) {
        steps.push(Step::Neighbour);
        steps.extend([Step::Bind("", name, values(text)), Step::Execute("", 0), Step::Sync]);
    }
    steps
}

fn copy(choices: &mut Choices) -> Vec<Step> {
    let text = one(choices, &[COPY_IN, "COPY model_rows (id, v) FROM STDIN; SELECT 1"]);
    let mut steps = match choices.below(3) {
        0 => vec![Step::Query(text)],
        1 => vec![Step::Parse("", COPY_IN), Step::Bind("", "", &[]), Step::Execute("", 0)],
        _ => vec![Step::Parse("", COPY_IN), Step::Bind("", "", &[]), Step::Execute("", 0), Step::Sync],
    };
    for _ in 0..choices.below(3) {
        steps.push(Step::CopyData(one(choices, ROWS)));
    }
    match choices.below(4) {
        0 | 1 => steps.push(Step::CopyDone),
        2 => steps.push(Step::CopyFail),
        _ => {}
    }
    if choices.chance(60) {
        steps.push(Step::Sync);
    }
    steps
}

fn settle(choices: &mut Choices) -> Vec<Step> {
    vec![if choices.chance(60) { Step::Neighbour } else { Step::Settle }]
}

fn transaction(choices: &mut Choices) -> Vec<Step> {
    let mut steps = vec![Step::Query("BEGIN")];
    for _ in 0..=choices.below(2) {
        steps.extend(if choices.chance(50) { query(choices) } else { batch(choices) });
    }
    steps.push(Step::Query(one(choices, &["COMMIT", "ROLLBACK"])));
    steps
}

/// An extended error whose Sync does not come, or late.
fn tail_of_failure(choices: &mut Choices) -> Vec<Step> {
    let failing = one(choices, &["SELECT nosuch", "SELECT 1/0", "EXECUTE nosuch"]);
    let mut steps = {
        let statement = one(choices, STATEMENTS);
        run_of(statement, failing, choices)
    };
    steps.truncate(1 + choices.below(3));
    for _ in 0..choices.below(3) {
        steps.extend(if choices.chance(50) { query(choices) } else { one_message(choices) });
    }
    steps
}

impl Sequence {
    pub fn drawn(mut choices: Choices) -> Self {
        let mut steps = Vec::new();
        for _ in 0..=choices.below(7) {
            let group = *choices.pick(GROUPS);
            steps.extend(group(&mut choices));
        }
        let ending = match choices.below(8) {
            0..3 => Ending::Stays,
            3 => Ending::Leaves,
            4 => Ending::Dies(0),
            5 => Ending::Dies(4),
            6 => Ending::Breaks(choices.below(100)),
            _ => Ending::Cancels,
        };
        Self { steps, ending }
    }
}
