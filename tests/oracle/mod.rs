//! Non-interference: what tenant A gets through pgwarden on the shared database equals what the same statements give on a
//! database that physically holds only A's rows. Rows, columns, command tags, SQLSTATEs, COPY data, parameter types,
//! transaction states; and no row of another tenant changes.

mod case;
mod regress;

use std::sync::{Mutex, OnceLock, PoisonError};

use self::case::{Case, Compare, FILES, cases};
use crate::isolation::Mode;
use crate::isolation::state::{Layout, Watch};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, police};
use crate::support::reply::Reply;
use crate::support::script::{self, Act, Protocol};
use crate::support::session::Endpoint;

/// An answer as far as it must be the same.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    errors: Vec<String>,
    tags: Vec<String>,
    columns: Vec<Vec<(String, Option<u32>)>>,
    rows: Vec<Vec<String>>,
    copy: Vec<String>,
    parameters: Vec<Vec<Option<u32>>>,
    states: String,
    ended: bool,
}

/// Type oids of the fixture's own types differ from database to database; Postgres's own end here.
const FIRST_USER_OID: u32 = 16_384;

fn type_of(oid: u32) -> Option<u32> {
    (oid < FIRST_USER_OID).then_some(oid)
}

impl Answer {
    fn of(reply: &Reply, case: &Case) -> Self {
        let mut rows = reply.texts();
        if let Some(columns) = reply.columns.first() {
            let keep: Vec<bool> = columns.iter().map(|it| !case.ignore.contains(&it.name)).collect();
            for row in &mut rows {
                let mut at = 0;
                row.retain(|_| {
                    at += 1;
                    keep.get(at - 1).copied().unwrap_or(true)
                });
            }
        }
        let mut copy: Vec<String> = String::from_utf8_lossy(&reply.copy_out).lines().map(str::to_owned).collect();
        if !case.ordered {
            rows.sort();
            copy.sort();
        }
        let columns =
            reply.columns.iter().map(|set| set.iter().map(|it| (it.name.clone(), type_of(it.type_oid))).collect());
        let mut answer = Self {
            errors: reply.errors.iter().map(|it| it.get(&'C').cloned().unwrap_or_default()).collect(),
            tags: reply.tags.clone(),
            columns: columns.collect(),
            rows,
            copy,
            parameters: reply.parameter_types.iter().map(|set| set.iter().map(|it| type_of(*it)).collect()).collect(),
            states: reply.states.clone(),
            ended: reply.closed || reply.timed_out,
        };
        match case.compare {
            Compare::All => {}
            Compare::Shape => answer.forget_values(),
            Compare::Tags => {
                answer.forget_values();
                answer.columns.clear();
                for tag in &mut answer.tags {
                    tag.truncate(tag.find(' ').unwrap_or(tag.len()));
                }
            }
        }
        answer
    }

    fn forget_values(&mut self) {
        self.rows.clear();
        self.copy.clear();
        self.parameters.clear();
    }
}

/// The first difference between the two, as text.
fn difference(case: &Case, protocol: Protocol, through: &Endpoint, solo: &Endpoint) -> Option<String> {
    difference_but(&[], case, protocol, through, solo).0
}

/// The same up to a statement that is refused with one of these codes; and whether none was.
fn difference_but(
    refusals: &[&str],
    case: &Case,
    protocol: Protocol,
    through: &Endpoint,
    solo: &Endpoint,
) -> (Option<String>, bool) {
    let mut whole = true;
    let (mut proxied, mut alone) = (through.connect(), solo.connect());
    let mut found = None;
    for (number, step) in case.steps.iter().enumerate() {
        let reply = script::perform(&mut proxied, step, protocol).expect("a step that sends");
        let expected = script::perform(&mut alone, step, protocol).expect("a step that sends");
        let refused = case.optional && matches!(reply.sqlstate(), "42501" | "0A000");
        if refused || refusals.contains(&reply.sqlstate()) {
            whole = false;
            break;
        }
        let (got, wanted) = (Answer::of(&reply, case), Answer::of(&expected, case));
        if got != wanted {
            found =
                Some(format!("step {number} {}\n  got  {got:?}\n  {}\n  solo {wanted:?}", step.source, reply.text()));
            break;
        }
    }
    proxied.quit();
    alone.quit();
    (found, whole)
}

struct Stage {
    proxy: Proxy,
    shared: Watch,
    solo: Watch,
    alone: Endpoint,
}

impl Stage {
    fn new(mode: Mode, shared: &'static str, solo: &'static str) -> Mutex<Self> {
        let lab = Lab::general();
        // Of its own: a database that others are connected to cannot be copied.
        lab.copy_of_shop(shared);
        if mode.is_policed() {
            police(lab, shared);
        }
        lab.copy_of_shop(solo);
        let rest = if mode == Mode::Reader { "fixture/solo_of_two.sql" } else { "fixture/solo.sql" };
        lab.script(solo, rest);
        for database in [shared, solo] {
            lab.script(database, "fixture/views.sql");
        }
        Mutex::new(Self {
            proxy: Proxy::start(lab, &mode.setup(shared)),
            shared: Watch::over(lab, shared, Layout::Shared),
            solo: Watch::over(lab, solo, Layout::Shared),
            alone: lab.owner(solo),
        })
    }

    /// The cases write: one at a time, in each mode.
    fn of(mode: Mode) -> &'static Mutex<Self> {
        static REWRITE: OnceLock<Mutex<Stage>> = OnceLock::new();
        static RLS: OnceLock<Mutex<Stage>> = OnceLock::new();
        static BOTH: OnceLock<Mutex<Stage>> = OnceLock::new();
        static READER: OnceLock<Mutex<Stage>> = OnceLock::new();
        match mode {
            Mode::Rewrite => REWRITE.get_or_init(|| Self::new(mode, "oracle", "solo_rewrite")),
            Mode::Rls => RLS.get_or_init(|| Self::new(mode, "oracle_rls", "solo_rls")),
            Mode::Both => BOTH.get_or_init(|| Self::new(mode, "oracle_both", "solo_both")),
            Mode::Reader => READER.get_or_init(|| Self::new(mode, "oracle_reader", "solo_reader")),
        }
    }
}

fn compare(file: &str, mode: Mode) {
    let mut stage = Stage::of(mode).lock().unwrap_or_else(PoisonError::into_inner);
    let Stage { proxy, shared, solo, alone } = &mut *stage;
    compare_ends(file, (&proxy.a(), shared), (alone, solo));
}

/// A reader of A and C gets what a database that holds the rows of both gives, or is told that it only reads.
fn compare_reads(file: &str, least: usize) {
    let mut stage = Stage::of(Mode::Reader).lock().unwrap_or_else(PoisonError::into_inner);
    let Stage { proxy, shared, solo, alone } = &mut *stage;
    let answered = compare_some(file, (&proxy.login("reader_ac"), shared), (alone, solo), &["25006", "42501", "0A000"]);
    assert!(answered >= least, "only {answered} cases were answered");
}

mod reader {
    use super::compare_reads;

    #[test]
    fn reads_give_what_they_give_alone() {
        compare_reads("reads", 150);
    }

    #[test]
    fn protocol_gives_what_it_gives_alone() {
        compare_reads("protocol", 10);
    }

    #[test]
    fn session_features_are_as_alone() {
        compare_reads("session", 5);
    }

    #[test]
    fn views_show_what_they_show_alone() {
        compare_reads("views", 40);
    }
}

/// Runs a file of the corpus on two endpoints and puts both databases back after each case.
fn compare_ends(file: &str, through: (&Endpoint, &mut Watch), alone: (&Endpoint, &mut Watch)) {
    assert!(compare_some(file, through, alone, &[]) > 0);
}

/// The same; what is refused with these codes is no difference. Gives how many were answered to the end.
fn compare_some(
    file: &str,
    (through, shared): (&Endpoint, &mut Watch),
    (alone, solo): (&Endpoint, &mut Watch),
    refusals: &[&str],
) -> usize {
    let mut failures = Vec::new();
    let (mut count, mut answered) = (0, 0);
    for case in cases(file) {
        // Once more in the extended protocol, where the steps are plain SQL.
        let plain = case.steps.iter().all(|it| matches!(it.act, Act::Sql { data: None, .. }));
        let protocols = if plain { &[Protocol::Simple, Protocol::Extended][..] } else { &[Protocol::Simple] };
        for protocol in protocols {
            count += 1;
            let (found, whole) = difference_but(refusals, &case, *protocol, through, alone);
            answered += usize::from(whole);
            let harm = shared.settle();
            solo.settle();
            if let Some(what) = found.or(harm.map(|it| format!("rows of others or the catalog changed: {it}"))) {
                failures.push(format!("{} ({protocol:?}): {what}", case.id));
            }
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "{} of {count} differ:\n\n{}", failures.len(), failures.join("\n\n"));
    answered
}

macro_rules! in_every_mode {
    ($($name:ident: $mode:expr;)*) => {$(
        mod $name {
            use super::{Mode, compare};

            #[test]
            fn reads_give_what_they_give_alone() {
                compare("reads", $mode);
            }

            #[test]
            fn writes_give_what_they_give_alone() {
                compare("writes", $mode);
            }

            #[test]
            fn protocol_gives_what_it_gives_alone() {
                compare("protocol", $mode);
            }

            #[test]
            fn session_features_are_as_alone() {
                compare("session", $mode);
            }

            #[test]
            fn temporary_tables_are_as_alone() {
                compare("temporary", $mode);
            }

            #[test]
            fn views_show_what_they_show_alone() {
                compare("views", $mode);
            }

            #[test]
            fn surroundings_are_refused_or_as_alone() {
                compare("surroundings", $mode);
            }
        }
    )*};
}

in_every_mode! {
    rewrite: Mode::Rewrite;
    rls: Mode::Rls;
    rewrite_and_rls: Mode::Both;
}

/// The comparison itself is sound: a copy of the solo database gives what the solo database gives, whatever is done to it.
#[test]
fn a_copy_of_the_solo_database_passes() {
    let lab = Lab::general();
    for copy in ["solo_one", "solo_two"] {
        lab.copy_of_shop(copy);
        lab.script(copy, "fixture/solo.sql");
        lab.script(copy, "fixture/views.sql");
    }
    let [mut one, mut two] = ["solo_one", "solo_two"].map(|it| Watch::over(lab, it, Layout::Shared));
    for file in FILES {
        compare_ends(file, (&lab.owner("solo_one"), &mut one), (&lab.owner("solo_two"), &mut two));
    }
}

/// The oracle sees what it is for: without pgwarden, most reads differ.
#[test]
fn plain_postgres_does_interfere() {
    let lab = Lab::general();
    lab.copy_of_shop("unguarded");
    // Some of these read with DELETE ... RETURNING: not on the database that the other tests compare with.
    lab.copy_of_shop("solo_bare");
    lab.script("solo_bare", "fixture/solo.sql");
    let differing = cases("reads")
        .iter()
        .filter(|it| difference(it, Protocol::Simple, &lab.owner("unguarded"), &lab.owner("solo_bare")).is_some())
        .count();
    assert!(differing > 60, "only {differing} reads of the unguarded database differ from the solo database");
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut ids: Vec<String> = FILES.iter().flat_map(|it| cases(it)).map(|it| it.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
