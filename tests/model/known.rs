//! Sequences that failed once, as small as they came.

use std::sync::{Mutex, PoisonError};

use super::stage::Stage;
use super::step::Step::{Bind, Close, Describe, Execute, Neighbour, Parse, Query, Settle, Sync};
use super::step::{Ending, Sequence, Step};

/// One process for all that hold.
static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

#[track_caller]
fn holds(steps: &[Step], ending: Ending) {
    let mut guard = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = guard.get_or_insert_with(|| Stage::new("known"));
    let outcome = stage.run(&Sequence { steps: steps.to_vec(), ending });
    if let Err(trouble) = outcome {
        stage.renew(true);
        drop(guard);
        panic!("{:?}: {}", trouble.kind, trouble.text);
    }
}

/// Without Sync the server skips all that follows: such a connection is nobody else's.
#[test]
fn a_query_behind_a_failed_parse() {
    holds(&[Parse("", "SELECT nosuch"), Query("SELECT 1")], Ending::Dies(4));
}

#[test]
fn a_batch_of_several_after_a_failed_bind() {
    holds(&[Execute("p1", 1), Query("SELECT 1; SELECT 2")], Ending::Cancels);
}

#[test]
fn a_query_behind_a_second_parse_of_a_name() {
    holds(&[Parse("s2", ""), Parse("s2", "SELECT 1"), Query("SELECT 1")], Ending::Stays);
    holds(&[Parse("s2", ""), Parse("s2", "SELECT 1/0"), Query("SELECT 1; DISCARD ALL")], Ending::Stays);
}

/// The statements that all tenants share on the connection are there, or known to be gone.
#[test]
fn deallocate_all_that_fails_as_a_whole() {
    holds(&[Query("DEALLOCATE ALL; SELECT 1/0")], Ending::Stays);
}

#[test]
fn deallocate_all_before_a_parse() {
    let run = [Bind("", "s1", &[]), Execute("", 0), Sync, Neighbour];
    let first = [Query("DEALLOCATE ALL; SELECT 1"), Parse("s1", "SELECT 'of its own'")];
    holds(&[&first[..], &run, &run].concat(), Ending::Stays);
}

/// Of several statements in one Query, as it is alone.
#[test]
fn deallocate_among_others() {
    holds(&[Parse("s1", "SELECT 1"), Sync, Query("DEALLOCATE s1; SELECT 1")], Ending::Stays);
    holds(&[Parse("s1", ""), Query("DEALLOCATE s1; SELECT 1/0")], Ending::Stays);
}

/// A name is free again when it turns out that its statement was not prepared.
#[test]
fn a_name_of_what_failed_or_was_skipped() {
    let again = [Sync, Parse("s1", "SELECT 2"), Bind("", "s1", &[]), Execute("", 0), Sync];
    holds(&[&[Parse("s1", "SELECT nosuch")][..], &again].concat(), Ending::Stays);
    holds(&[&[Execute("", 0), Parse("s1", "SELECT 'skipped'")][..], &again].concat(), Ending::Stays);
    // Prepared by another already: it is not asked for again.
    holds(&[&[Execute("", 0), Parse("s1", "SELECT 1")][..], &again].concat(), Ending::Stays);
    holds(&[Execute("", 0), Parse("s1", "SELECT 1"), Sync, Bind("", "s1", &[]), Execute("", 0), Sync], Ending::Stays);
}

/// Texts are shared, what they mean under the settings of one client is not.
#[test]
fn a_statement_prepared_under_another_date_style() {
    let steps = [
        Query("SET datestyle TO 'ISO, DMY'"),
        Parse("s1", "SELECT '03/04/2026'::date::text"),
        Bind("", "s1", &[]),
        Execute("", 0),
        Sync,
        Neighbour,
    ];
    holds(&steps, Ending::Stays);
}

/// In a transaction alone, and gone with it: the statement means what it means without.
#[test]
fn a_statement_prepared_under_a_local_date_style() {
    let prepare = [Parse("s1", "SELECT '03/04/2026'::date::text"), Bind("", "s1", &[]), Execute("", 0)];
    let first = [Query("BEGIN"), Query("SET LOCAL datestyle TO 'German'")];
    let end = [Query("COMMIT"), Neighbour, Close('S', "s1")];
    holds(&[&first[..], &prepare, &end, &prepare].concat(), Ending::Stays);
}

/// In one write: the end of a failed transaction, and what comes behind it.
#[test]
fn a_statement_behind_the_end_of_a_failed_transaction() {
    let run = [Bind("", "s1", &[]), Execute("", 0), Sync];
    let fail = [Query("BEGIN"), Query("SELECT 1/0"), Settle, Query("ROLLBACK")];
    holds(&[&fail[..], &[Parse("s1", "SELECT 'behind'")], &run, &[Neighbour], &run].concat(), Ending::Stays);
    holds(&[&[Parse("s1", "SELECT 'before'"), Sync][..], &fail, &run, &[Neighbour], &run].concat(), Ending::Stays);
}

/// In one write: what fails in a transaction, and a Parse of a text that the server has.
#[test]
fn a_known_text_behind_a_failure() {
    let first = [Parse("s1", "SELECT 'known'"), Sync, Close('S', "s1"), Sync, Settle];
    let behind =
        [Parse("s1", "SELECT 'known'"), Query("ROLLBACK"), Bind("", "s1", &[]), Execute("", 0), Sync, Neighbour];
    let fail = [Query("BEGIN"), Query("SELECT 1/0")];
    holds(&[&first[..], &fail, &behind].concat(), Ending::Stays);
    holds(&[&first[..], &[Query("BEGIN; SELECT 1/0")], &behind].concat(), Ending::Stays);
    holds(&[&first[..], &[Query("BEGIN"), Settle, Query("SELECT 1/0")], &behind].concat(), Ending::Stays);
}

/// In one write, over a Sync: whether the server has what the batch before asked for is not known yet.
#[test]
fn a_text_whose_parse_is_under_way() {
    let again = [Bind("", "s2", &[]), Execute("", 0), Sync, Neighbour];
    for text in ["SELECT nosuch", "SELECT 'under way'"] {
        let parses = [Parse("s1", text), Sync, Parse("s2", text)];
        holds(&[&parses[..], &again].concat(), Ending::Stays);
        holds(&[&[Describe('P', "")][..], &parses, &again].concat(), Ending::Stays);
        holds(
            &[&[Parse("s1", text), Bind("", "s1", &[]), Sync, Parse("s2", text)][..], &again].concat(),
            Ending::Stays,
        );
    }
}

/// The same of the unnamed statement, and of what a Bind without its parameters is told.
#[test]
fn a_bind_of_what_was_skipped() {
    let parse = Parse("", "SELECT v FROM model_rows WHERE id = $1");
    holds(&[Describe('P', ""), parse, Sync, Bind("", "", &[])], Ending::Stays);
    holds(&[parse, Sync, Bind("", "", &[]), Sync, Neighbour], Ending::Stays);
    holds(&[Query("SELECT 1/0"), parse, Sync, Bind("", "", &[]), Sync], Ending::Stays);
    // And of a Query that was skipped too, which would have dropped it.
    let skipped = [Execute("p1", 0), parse, Sync, Describe('P', "p1"), Query("RESET ALL"), Sync];
    holds(&[&skipped[..], &[Bind("p1", "", &[])]].concat(), Ending::Stays);
}

#[test]
fn names_in_a_failed_transaction() {
    let run = [Bind("p1", "s1", &[]), Sync, Bind("", "s1", &[]), Sync, Query("ROLLBACK"), Bind("", "s1", &[]), Sync];
    let fail = [Query("BEGIN"), Parse("s2", "SET LOCAL datestyle TO 'German'"), Bind("", "s2", &[]), Execute("", 0)];
    let again =
        [Parse("s2", "SELECT 'taken'"), Sync, Parse("s2", "SELECT 'taken'"), Sync, Parse("s1", "SELECT 'failed'")];
    holds(&[&fail[..], &again, &run].concat(), Ending::Stays);
    let settled = [Settle, Bind("", "s1", &[]), Sync, Close('S', "s2"), Sync];
    holds(&[&fail[..], &again, &settled, &run].concat(), Ending::Stays);
    let left = [Parse("s2", "ROLLBACK"), Bind("p1", "s2", &[]), Execute("p1", 0), Parse("s2", "SELECT 1")];
    holds(&[&[Query("BEGIN"), Query("SELECT 1/0")][..], &left].concat(), Ending::Stays);
    // The transaction began in the batch that failed.
    let begun = [Parse("s1", "SELECT 1"), Parse("s2", "BEGIN"), Bind("p1", "s2", &[]), Execute("p1", 0)];
    let closed = [Parse("s1", "SELECT 2"), Sync, Close('S', "s2"), Parse("s2", "SELECT 1")];
    holds(&[&begun[..], &closed].concat(), Ending::Stays);
    let unnamed = [Parse("", "BEGIN"), Bind("", "", &[]), Execute("", 1), Bind("", "s2", &[]), Neighbour];
    holds(&[&unnamed[..], &[Describe('S', "")]].concat(), Ending::Stays);
}

/// Whether its Parse was skipped is known when that was answered.
#[test]
fn prepare_of_a_name_whose_parse_was_skipped() {
    for failing in [Parse("", "SELECT nosuch"), Bind("", "s2", &[])] {
        let skipped = [failing, Parse("s1", "SELECT v FROM model_rows WHERE id = $1"), Sync];
        holds(&[&skipped[..], &[Query("PREPARE s1 AS SELECT 'by SQL'")]].concat(), Ending::Stays);
    }
    holds(&[Parse("s1", "SELECT 1"), Sync, Query("PREPARE s1 AS SELECT 'by SQL'"), Query("SELECT 2")], Ending::Stays);
}

/// As far back as the client connected, together with its transaction, and for the rest of that.
#[test]
fn reset_all_in_a_transaction() {
    let run = |sql| [Parse("", sql), Bind("", "", &[]), Execute("", 0)];
    let shown =
        [Query("SHOW datestyle"), Query("SHOW timezone"), Query("SHOW default_transaction_read_only"), Neighbour];
    let set = run("SET default_transaction_read_only TO on");
    // In a batch that has no Sync yet.
    holds(&[&set[..], &[Query("RESET ALL")], &shown].concat(), Ending::Stays);
    holds(&[&set[..], &run("RESET ALL"), &[Sync], &shown].concat(), Ending::Stays);
    for reset in [&[Query("RESET ALL")][..], &run("RESET ALL")] {
        let more = [&run("SHOW default_transaction_read_only")[..], &run("SET datestyle TO 'ISO, DMY'")].concat();
        holds(&[&set[..], reset, &more, &[Sync], &shown].concat(), Ending::Stays);
        holds(&[&[Query("BEGIN")][..], &set, reset, &more, &[Sync], &shown].concat(), Ending::Stays);
    }
    let style = Query("SET datestyle TO 'ISO, DMY'");
    for (begin, end) in [("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK"), ("SAVEPOINT a", "ROLLBACK TO a")] {
        let first = [Query("BEGIN"), style, Query(begin)];
        let end = [Query(end), Query("SHOW datestyle"), Query("SHOW timezone"), Query("COMMIT")];
        let within = [Query("RESET ALL"), Query("SHOW datestyle"), Query("SET timezone TO 'Asia/Tokyo'")];
        for before in [&first[..], &[style, Query("BEGIN"), Query(begin)]] {
            holds(&[before, &within, &shown, &end, &shown].concat(), Ending::Stays);
            holds(&[before, &run("RESET ALL"), &[Sync], &shown, &end, &shown].concat(), Ending::Stays);
        }
    }
    holds(
        &[&[style, Query("BEGIN; SET timezone TO 'Asia/Tokyo'; RESET ALL; ROLLBACK")][..], &shown].concat(),
        Ending::Stays,
    );
    holds(&[&[style, Query("RESET ALL; SET timezone TO 'Asia/Tokyo'")][..], &shown].concat(), Ending::Stays);
    holds(&[&[style, Query("RESET ALL; SELECT 1/0")][..], &shown].concat(), Ending::Stays);
    let undone = [Query("BEGIN"), Query("SAVEPOINT a"), Query("RESET ALL; SELECT 1/0"), Query("ROLLBACK TO a")];
    holds(&[&[style][..], &undone, &shown, &[Query("COMMIT")], &shown].concat(), Ending::Stays);
    let twice = [Query("RESET ALL"), style, Query("SAVEPOINT a"), Query("RESET ALL; ROLLBACK TO a")];
    holds(&[&[style, Query("BEGIN")][..], &twice, &shown, &[Query("COMMIT")], &shown].concat(), Ending::Stays);
}

/// What follows it in the same batch is prepared and stays.
#[test]
fn a_reset_and_more_in_one_batch() {
    let reset = |sql| [Parse("", sql), Bind("", "", &[]), Execute("", 0)];
    let after =
        [Parse("s1", "SELECT 1"), Bind("", "s1", &[]), Execute("", 0), Sync, Bind("", "s1", &[]), Execute("", 0)];
    for sql in ["DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE s1"] {
        let before = [Query("SET timezone TO 'Asia/Tokyo'"), Parse("s1", "SELECT 'before'"), Sync];
        let shown = [Parse("", "SHOW timezone"), Bind("", "", &[]), Execute("", 0), Sync, Neighbour];
        holds(&[&before[..], &reset(sql), &after, &shown].concat(), Ending::Stays);
        holds(&[&before[..], &[Neighbour], &reset(sql), &reset(sql), &after, &shown].concat(), Ending::Stays);
        holds(&[&before[..], &[Query(sql)], &after, &shown].concat(), Ending::Stays);
        holds(&[&before[..], &[Query("BEGIN")], &reset(sql), &after, &shown].concat(), Ending::Stays);
    }
}

/// An error of a message before it makes the server skip a Query: the unnamed statement stays.
#[test]
fn a_query_behind_an_execute_of_no_portal() {
    for sql in ["SELECT 1", "EXECUTE nosuch", "SHOW timezone", "BEGIN", "SET timezone TO 'Asia/Tokyo'", "DISCARD ALL"] {
        for before in [Execute("", 0), Execute("c1", 0), Describe('P', "c1"), Bind("", "nosuch", &[])] {
            for query in ["SELECT 1", "BEGIN", ""] {
                let steps = [Parse("", sql), before, Query(query), Sync, Describe('S', ""), Sync];
                holds(&steps, Ending::Stays);
                holds(&[&steps[..1], &[Sync], &steps[1..]].concat(), Ending::Stays);
            }
        }
    }
}
