//! Shared statements and the settings that they are prepared under.

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// A session of a client that connected with these settings, on a server connection that has them.
fn with(startup: &[(&str, &str)], shared: &Arc<SharedStatements>) -> Bench {
    let settings = Settings::new(map(&[("app.tenant_id", "42")]), map(startup));
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Shared, settings);
    bench.session.env.shared = Arc::clone(shared);
    let mut ready = link();
    ready.known.applied = map(startup).into();
    ready.known.applied.set("app.tenant_id".into(), Some("42".into()));
    bench.session.attach(ready);
    bench
}

fn prepare(bench: &mut Bench, name: &str) -> Vec<String> {
    bench.client(|out| {
        frontend::parse(out, name, "SELECT 1", &[]).unwrap();
        frontend::sync(out);
    });
    let sent = bench.sent();
    bench.server(|out| {
        backend::parse_complete(out);
        backend::ready_for_query(out, I);
    });
    sent
}

#[test]
fn only_the_same_settings_share() {
    let shared = Arc::default();
    let first = |startup: &[(&str, &str)]| prepare(&mut with(startup, &shared), "a")[0].clone();
    assert_eq!(first(&[]), "Parse pgw1 SELECT 1 []");
    assert_eq!(first(&[("application_name", "x"), ("statement_timeout", "5s")]), "Parse pgw1 SELECT 1 []");
    assert_eq!(first(&[("datestyle", "ISO, DMY")]), "Parse pgw2 SELECT 1 []");
    assert_eq!(first(&[("datestyle", "ISO, DMY"), ("jit", "off")]), "Parse pgw2 SELECT 1 []");
    assert_eq!(first(&[("timezone", "ISO, DMY")]), "Parse pgw3 SELECT 1 []");
    assert_eq!(first(&[]), "Parse pgw1 SELECT 1 []");
}

/// Where nobody knows the settings nothing is shared; what is there already is used.
#[test]
fn what_is_prepared_while_settings_change_is_nobody_elses() {
    let mut bench = with(&[], &Arc::default());
    assert_eq!(prepare(&mut bench, "a")[0], "Parse pgw1 SELECT 1 []");
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.query("SET datestyle TO x");
    bench.done("SET", T);
    bench.sent();
    bench.client(|out| {
        frontend::parse(out, "b", "SELECT 1", &[]).unwrap();
        frontend::bind(out, "", "a", &[], Format::Text).unwrap();
        frontend::bind(out, "", "b", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.sent(), ["Parse pgw2 SELECT 1 []", "Bind  pgw1 [] ", "Bind  pgw2 [] ", "Sync"]);
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        backend::bind_complete(out);
        backend::ready_for_query(out, T);
    });
    bench.query("ROLLBACK");
    bench.done("ROLLBACK", I);
    assert!(bench.sent()[1].contains("current_setting"), "the outcome is asked for");
    bench.told();
    // Behind it a named statement waits, and is what others prepared under the same settings.
    bench.client(|out| {
        frontend::bind(out, "", "b", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    assert!(bench.sent().is_empty());
    bench.server(|out| {
        backend::row_description(out, &[]).unwrap();
        backend::data_row(out, &[Some(b"datestyle"), Some(b"ISO, MDY"), Some(b"t")]).unwrap();
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.sent(), ["Bind  pgw1 [] ", "Sync"]);
}

#[test]
fn another_catalog_prepares_anew() {
    let mut bench = with(&[], &Arc::default());
    assert_eq!(prepare(&mut bench, "a")[0], "Parse pgw1 SELECT 1 []");
    bench.session.context.backend.guard.set_policy(Arc::new(Policy { epoch: 2, ..Policy::empty() }));
    bench.client(|out| {
        frontend::bind(out, "", "a", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.sent()[..2], ["Parse pgw2 SELECT 1 []", "Bind  pgw2 [] "]);
}
