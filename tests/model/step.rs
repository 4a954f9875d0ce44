//! What a client may do on its connection, legal or not, and sequences of it.

use crate::support::message;

/// One message of a client, or something that happens between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Query(&'static str),
    /// Statement, text.
    Parse(&'static str, &'static str),
    /// Portal, statement, values.
    Bind(&'static str, &'static str, &'static [&'static str]),
    /// `S` or `P`, name.
    Describe(char, &'static str),
    /// Portal, rows (0: all).
    Execute(&'static str, u32),
    /// `S` or `P`, name.
    Close(char, &'static str),
    Sync,
    Flush,
    CopyData(&'static str),
    CopyDone,
    CopyFail,
    Terminate,
    /// What was sent so far goes out, and all of its answers are read.
    Settle,
    /// After that, another tenant uses the connection, if it is free.
    Neighbour,
    /// After that, a cancel request of this client arrives.
    Cancel,
}

/// How a client ends. What it has sent since the last [`Step::Settle`] is on its way then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stays, idle, while the next one is served; what it sent is answered.
    Stays,
    /// Terminate.
    Leaves,
    /// It is gone so many milliseconds after its last message.
    Dies(u64),
    /// It is gone in the middle of a message: this part of its last bytes (in percent) was sent.
    Breaks(usize),
    /// It asks for its statement to be cancelled, and is gone.
    Cancels,
}

/// The life of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub steps: Vec<Step>,
    pub ending: Ending,
}

/// Statements that work as often as they are run: other tenants have them prepared as well.
pub const COMMON: &[&str] = &[
    "SELECT 1",
    "SELECT v FROM model_rows ORDER BY id",
    "SELECT v FROM model_rows WHERE id = $1",
    "SELECT '03/04/2026'::date::text",
    "SELECT '2026-01-01 12:00'::timestamptz::text",
    "UPDATE model_rows SET v = v WHERE id = 1",
];

/// What keeps the server connection for its client.
pub const PINNING: &[&str] = &[
    "PREPARE q1 AS SELECT 1",
    "EXECUTE q1",
    "DEALLOCATE q1",
    "PREPARE s1 AS SELECT 'by SQL'",
    "PREPARE s2 AS SELECT v FROM model_rows WHERE id = $1",
    "CREATE TEMP TABLE mine (x int)",
    "DECLARE c2 CURSOR WITH HOLD FOR SELECT v FROM model_rows ORDER BY id",
];

impl Sequence {
    /// As it would stand in a test.
    pub fn shown(&self) -> String {
        let steps: Vec<_> = self.steps.iter().map(|step| format!("    {step:?},\n")).collect();
        format!("[\n{}] {:?}", steps.concat(), self.ending)
    }

    /// The smallest that still fails: runs of steps are left out, as long as that helps.
    pub fn smallest(self, fails: &mut dyn FnMut(&Self) -> bool) -> Self {
        let mut smallest = self;
        loop {
            let before = smallest.clone();
            let mut size = smallest.steps.len().max(1);
            while size > 0 {
                let mut at = 0;
                while at < smallest.steps.len() {
                    let mut candidate = smallest.clone();
                    candidate.steps.drain(at..(at + size).min(smallest.steps.len()));
                    if fails(&candidate) {
                        smallest = candidate;
                    } else {
                        at += size;
                    }
                }
                size /= 2;
            }
            for ending in [Ending::Stays, Ending::Leaves] {
                let candidate = Self { ending, ..smallest.clone() };
                if smallest.ending != ending && smallest.ending != Ending::Stays && fails(&candidate) {
                    smallest = candidate;
                    break;
                }
            }
            if smallest == before {
                return smallest;
            }
        }
    }
}

impl Step {
    /// The message, if it is one.
    pub fn message(self) -> Option<Vec<u8>> {
        Some(match self {
            Step::Query(sql) => message::query(sql),
            Step::Parse(name, sql) => message::parse(name, sql, &[]),
            Step::Bind(portal, statement, values) => {
                message::bind(portal, statement, &values.iter().map(|it| Some(*it)).collect::<Vec<_>>(), &[])
            }
            Step::Describe(kind, name) => message::describe(kind, name),
            Step::Execute(portal, rows) => message::execute(portal, rows),
            Step::Close(kind, name) => message::close(kind, name),
            Step::Sync => message::sync(),
            Step::Flush => message::flush(),
            Step::CopyData(rows) => message::copy_data(rows.as_bytes()),
            Step::CopyDone => message::copy_done(),
            Step::CopyFail => message::copy_fail("on purpose"),
            Step::Terminate => message::terminate(),
            Step::Settle | Step::Neighbour | Step::Cancel => return None,
        })
    }

    fn sql(self) -> &'static str {
        match self {
            Step::Query(sql) | Step::Parse(_, sql) => sql,
            _ => "",
        }
    }

    /// The client may keep the server connection from here on.
    pub fn pins(self) -> bool {
        PINNING.contains(&self.sql())
    }

    /// It changes what constants mean.
    pub fn sets_meaning(self) -> bool {
        let sets = |part: &str| self.sql().contains(part);
        (sets("SET ") || sets("set_config"))
            && ["datestyle", "timezone", "intervalstyle", "ALL"].iter().any(|it| sets(it))
    }

    /// For the transaction alone.
    pub fn is_local(self) -> bool {
        self.sql().contains("LOCAL") || self.sql().contains("true)")
    }

    /// A transaction, or a part of it, may end here, and with it what it has set.
    pub fn ends_transaction(self) -> bool {
        ["COMMIT", "ROLLBACK", "DISCARD"].iter().any(|it| self.sql().contains(it))
    }

    /// It asks for rows of the client's.
    pub fn copies(self) -> bool {
        self.sql().contains("FROM STDIN")
    }
}

#[test]
fn shrinking_keeps_what_fails() {
    let long = (0..40).map(|n| if n % 7 == 3 { Step::Flush } else { Step::Sync }).collect();
    let sequence = Sequence { steps: long, ending: Ending::Dies(4) };
    let small = sequence.smallest(&mut |it| it.steps.iter().filter(|step| **step == Step::Flush).count() > 2);
    assert_eq!(small, Sequence { steps: vec![Step::Flush; 3], ending: Ending::Stays });
}
