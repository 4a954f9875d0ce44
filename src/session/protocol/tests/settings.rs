//! Settings: applied before a transaction, asked for after one.

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn outcome(bench: &mut Bench, rows: &[(&str, &str, bool)]) {
    bench.server(|out| {
        backend::row_description(out, &[]).unwrap();
        for (name, value, is_default) in rows {
            let default: &[u8] = if *is_default { b"t" } else { b"f" };
            backend::data_row(out, &[Some(name.as_bytes()), Some(value.as_bytes()), Some(default)]).unwrap();
        }
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
}

#[test]
fn the_context_goes_with_the_first_message() {
    let settings = Settings::new(map(&[("app.tenant_id", "42")]), map(&[("timezone", "UTC")]));
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Shared, settings);
    bench.query("SELECT 1");
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].contains("set_config('app.tenant_id', '42', false)"));
    bench.server(|out| {
        backend::parameter_status(out, "TimeZone", "UTC").unwrap();
        backend::row_description(out, &[]).unwrap();
        row(out, b"42");
    });
    bench.done("SELECT 1", I);
    assert!(bench.told().contains(&"Setting TimeZone UTC".to_owned()));
    row_and_done(&mut bench);
    assert_eq!(bench.told(), ["D", "Complete SELECT 1", "Ready I"]);
    let link = bench.released().unwrap();
    assert_eq!(link.known.applied.len(), 2);
    // Nothing is sent where it holds already.
    bench.session.attach(link);
    bench.query("SELECT 2");
    assert_eq!(bench.sent(), ["Query SELECT 2"]);
}

fn row_and_done(bench: &mut Bench) {
    bench.server(|out| row(out, b"1"));
    bench.done("SELECT 1", I);
}

#[test]
fn nothing_is_sent_before_the_search_path_holds() {
    let settings = Settings::new(map(&[("search_path", "\"globex\"")]), map(&[]));
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Schema("globex".into()), settings);
    assert_eq!(bench.query("SELECT 1"), Wait::Replies);
    assert_eq!(bench.sent().len(), 1);
    bench.done("SELECT 1", I);
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    assert!(bench.told().is_empty());
}

#[test]
fn a_context_that_fails_ends_the_session() {
    let settings = Settings::new(map(&[("search_path", "\"globex\"")]), map(&[]));
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Schema("globex".into()), settings);
    bench.query("SELECT 1");
    bench.server(|out| {
        error(out, b"57014", "canceling statement");
        backend::ready_for_query(out, I);
    });
    assert!(bench.told()[0].starts_with("FATAL 08006"));
    assert_eq!(bench.sent().len(), 1, "the client's statement was not sent");
    assert!(bench.session.closed());
    assert!(bench.session.detach().unwrap().0.poisoned);
}

#[test]
fn the_outcome_of_set_is_asked_for_after_the_transaction() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.query("SET work_mem TO 1");
    bench.done("SET", T);
    bench.query("COMMIT");
    bench.sent();
    bench.done("COMMIT", I);
    let sent = bench.sent();
    assert!(sent[0].contains("current_setting(n, true)") && sent[0].contains("'work_mem'"), "{sent:?}");
    assert!(bench.released().is_none());
    bench.told();
    outcome(&mut bench, &[("work_mem", "1kB", false)]);
    assert!(bench.told().is_empty());
    let link = bench.released().unwrap();
    assert_eq!(link.known.applied["work_mem"], "1kB");
    // Another server gets it, and one that has it does not.
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query SELECT pg_catalog.set_config('work_mem', '1kB', false)", "Query SELECT 1"]);
}

#[test]
fn a_setting_that_was_rolled_back_is_not_kept() {
    let mut bench = Bench::new();
    bench.query("SET work_mem TO 1");
    bench.done("SET", I);
    outcome(&mut bench, &[("work_mem", "4MB", true)]);
    assert!(bench.released().unwrap().known.applied.is_empty());
    bench.sent();
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
}

#[test]
fn the_client_need_not_wait_for_the_outcome() {
    let mut bench = Bench::new();
    bench.query("SET work_mem TO 1");
    bench.done("SET", I);
    bench.sent();
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    bench.query("REFUSED");
    outcome(&mut bench, &[("work_mem", "1kB", false)]);
    bench.done("SELECT 1", I);
    bench.told();
    assert_eq!(bench.sent(), ["Query refused by pgwarden"]);
}

#[test]
fn a_refusal_behind_an_errand_of_ours_waits_its_turn() {
    let mut bench = Bench::new();
    bench.query("SET work_mem TO 1");
    bench.done("SET", I);
    bench.told();
    bench.sent();
    bench.query("REFUSED");
    assert!(bench.sent().is_empty(), "answered here");
    outcome(&mut bench, &[("work_mem", "1kB", false)]);
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I"]);
}

#[test]
fn another_clients_settings_are_taken_off() {
    let mut bench = Bench::new();
    let mut used = link();
    used.known.applied.set("work_mem".into(), Some("1kB".into()));
    bench.session.attach(used);
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query RESET \"work_mem\"", "Query SELECT 1"]);
}

#[test]
fn what_a_server_reports_is_told_when_it_differs() {
    let mut bench = Bench::new();
    let mut other = link();
    other.known.parameters.insert("TimeZone".into(), "Asia/Tokyo".into());
    bench.session.attach(other);
    bench.query("SELECT 1");
    bench.server(|out| backend::parameter_status(out, "DateStyle", "ISO, MDY").unwrap());
    bench.done("SELECT 1", I);
    assert_eq!(
        bench.told(),
        ["Setting DateStyle ISO, MDY", "Setting TimeZone Asia/Tokyo", "Complete SELECT 1", "Ready I"]
    );
}

#[test]
fn after_reset_the_client_sees_its_startup_settings_at_once() {
    for sql in ["SET timezone TO x; RESET timezone", "SET timezone TO x; RESET ALL"] {
        let mut bench = Bench::with(
            PoolMode::Transaction,
            Mode::Shared,
            Settings::new(map(&[]), map(&[("timezone", "Europe/Paris")])),
        );
        let mut ready = link();
        ready.known.applied.set("timezone".into(), Some("Europe/Paris".into()));
        bench.session.attach(ready);
        bench.client(|out| {
            frontend::query(out, sql).unwrap();
            frontend::query(out, "SHOW timezone").unwrap();
        });
        assert_eq!(bench.sent().len(), 1, "SHOW waits");
        bench.done("RESET", I);
        assert!(bench.sent()[0].contains("current_setting"));
        outcome(&mut bench, &[("timezone", "UTC", true)]);
        let sent = bench.sent();
        assert_eq!(
            sent,
            ["Query SELECT pg_catalog.set_config('timezone', 'Europe/Paris', false)", "Query SHOW timezone"]
        );
    }
}

#[test]
fn a_batch_that_touches_startup_settings_goes_on_to_its_sync() {
    let mut bench =
        Bench::with(PoolMode::Transaction, Mode::Shared, Settings::new(map(&[]), map(&[("timezone", "Europe/Paris")])));
    let mut ready = link();
    ready.known.applied.set("timezone".into(), Some("Europe/Paris".into()));
    bench.session.attach(ready);
    bench.client(|out| {
        one_shot(out, "SET timezone TO x");
        one_shot(out, "SELECT 1");
        frontend::sync(out);
        one_shot(out, "SELECT 2");
        frontend::sync(out);
    });
    assert_eq!(bench.sent().last().unwrap(), "Sync");
    bench.server(|out| {
        one_shot_replies(out);
        one_shot_replies(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.sent().len(), 1);
    outcome(&mut bench, &[("timezone", "x", false)]);
    assert_eq!(bench.sent()[0], "Parse  SELECT 2 []");
}

/// What follows runs under the client's settings again, and only then.
#[test]
fn a_batch_goes_on_as_a_new_one_behind_discard_all() {
    for follows in ["SELECT 1", "DISCARD ALL"] {
        let settings = Settings::new(map(&[("search_path", "\"globex\"")]), map(&[]));
        let mut bench = Bench::with(PoolMode::Transaction, Mode::Schema("globex".into()), settings);
        let mut ready = link();
        ready.known.applied.set("search_path".into(), Some("\"globex\"".into()));
        bench.session.attach(ready);
        bench.client(|out| {
            one_shot(out, "DISCARD ALL");
            one_shot(out, follows);
            frontend::sync(out);
        });
        let sent = bench.sent();
        assert_eq!(sent.last().unwrap(), "Flush");
        assert_eq!(sent.iter().filter(|it| it.contains("SELECT") || it.contains("DISCARD")).count(), 1, "{sent:?}");
        bench.server(one_shot_replies);
        assert_eq!(bench.sent(), ["Sync"]);
        bench.server(|out| backend::ready_for_query(out, I));
        let sent = bench.sent();
        assert!(sent.len() == 1 && sent[0].starts_with("Query ") && sent[0].contains("search_path"), "{sent:?}");
        bench.server(|out| {
            backend::command_complete(out, "SELECT 1").unwrap();
            backend::ready_for_query(out, I);
        });
        assert!(bench.sent()[0].ends_with(&format!("{follows} []")));
        bench.server(|out| {
            one_shot_replies(out);
            backend::ready_for_query(out, I);
        });
        let told = bench.told();
        assert_eq!(told.iter().filter(|it| it.starts_with("Ready")).count(), 1, "{told:?}");
    }
}

#[test]
fn a_query_ends_a_batch_with_discard_all() {
    let settings = Settings::new(map(&[("search_path", "\"globex\"")]), map(&[]));
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Schema("globex".into()), settings);
    let mut ready = link();
    ready.known.applied.set("search_path".into(), Some("\"globex\"".into()));
    bench.session.attach(ready);
    bench.client(|out| {
        one_shot(out, "DISCARD ALL");
        frontend::query(out, "SELECT 1").unwrap();
        frontend::query(out, "SELECT 2").unwrap();
    });
    let sent = bench.sent();
    assert!(!sent.iter().any(|it| it.contains("SELECT")), "{sent:?}");
    bench.server(one_shot_replies);
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert!(bench.sent()[0].contains("search_path"), "the next Query has its settings again");
    bench.server(|out| {
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.sent()[0], "Query SELECT 1");
}
