//! Runs that wait, are stopped or killed, or meet each other.

use std::process::{Child, Stdio};

use super::*;

impl Stage {
    /// A run in the background.
    fn running(&self, files: &Files, more: &[&str]) -> Child {
        let mut command = self.pgwarden("migrate", &[&["--json", "--dir", files.path()], more].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a query gives this.
    #[track_caller]
    fn wait_for(&self, sql: &str, value: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut superuser = self.superuser();
        while superuser.simple(sql).ok().value() != value {
            assert!(Instant::now() < end, "{sql} is not {value}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn sleeping(database: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND state = 'active' AND query LIKE '%pg_sleep(3' || '0)%'"
    )
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

fn ended(child: Child) -> (Option<i32>, Json, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), text(&output))
}

const TWO: [(&str, &str); 2] =
    [("V1__a.sql", "CREATE TABLE a ();"), ("V2__b.sql", "CREATE TABLE b (); SELECT pg_sleep(30);")];

#[test]
fn a_killed_run_is_gone_on_with() {
    let stage = stage("life_mig_killed");
    stage.schemas(&["killed_a"]);
    let files = Files::new(&TWO);
    let mut run = stage.running(&files, &[]);
    stage.wait_for(&sleeping("life_mig_killed"), "1");
    run.kill().unwrap();
    run.wait().unwrap();
    // Its server process sees it within seconds, not when the statement ends.
    stage.wait_for(&sleeping("life_mig_killed"), "0");
    assert_eq!(stage.value("SELECT to_regclass('killed_a.a') IS NOT NULL AND to_regclass('killed_a.b') IS NULL"), "t");
    files.write("V2__b.sql", "CREATE TABLE b ();");
    // What it made to log in with is no use to anybody soon, and goes with a later run.
    let role = "SELECT rolname FROM pg_roles r WHERE rolname LIKE 'pgwarden_migrate_%' AND EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid AND roleid = 'killed_a'::regrole)";
    let left = rows("postgres", role);
    assert_eq!(left.len(), 1, "{left:?}");
    lab().run("postgres", &format!("ALTER ROLE {} VALID UNTIL '2020-01-01'", left[0]));
    let said = stage.migrated(&files, &[]);
    assert_eq!(said.place("killed_a").1, ["V2__b.sql"]);
    assert_eq!(rows("postgres", role), [""; 0]);
    let states = rows("life_mig_killed", "SELECT state FROM pgwarden_operations WHERE verb = 'migrate' ORDER BY id");
    assert_eq!(states, ["abandoned", "done"]);
}

#[test]
fn a_run_that_is_interrupted_undoes_what_it_was_at() {
    let stage = stage("life_mig_ctrlc");
    stage.schemas(&["ctrlc_a", "ctrlc_b"]);
    let files = Files::new(&TWO);
    for name in ["INT", "TERM"] {
        let run = stage.running(&files, &["--jobs", "1"]);
        stage.wait_for(&sleeping("life_mig_ctrlc"), "1");
        let started = Instant::now();
        signal(&run, name);
        let (code, json, all) = ended(run);
        assert!(started.elapsed() < Duration::from_secs(15), "{all}");
        assert_eq!((code, json["stopped"].as_str()), (Some(1), Some("interrupted")), "{all}");
        assert_eq!((&json["counts"]["failed"], &json["counts"]["left"]), (&1.into(), &1.into()), "{all}");
        stage.wait_for(&sleeping("life_mig_ctrlc"), "0");
        assert_eq!(
            stage.value("SELECT to_regclass('ctrlc_a.a') IS NOT NULL AND to_regclass('ctrlc_a.b') IS NULL"),
            "t"
        );
        assert_eq!(
            stage.value("SELECT error FROM pgwarden_operations WHERE verb = 'migrate' ORDER BY id DESC LIMIT 1"),
            "interrupted"
        );
        assert_eq!(left_roles("ctrlc_."), [""; 0]);
    }
    // A tool is told to stop as well.
    let script = "trap 'echo told; exit 5' TERM; echo begun; while true; do sleep 0.1; done";
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("ctrlc_b.log");
    let arguments =
        ["--json", "--tenants", "ctrlc_b", "--logs", logs.path().to_str().unwrap(), "--", "sh", "-c", script];
    let run = stage.pgwarden("migrate", &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("begun")) {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(30));
    }
    signal(&run, "INT");
    let (code, json, all) = ended(run);
    assert_eq!((code, json["stopped"].as_str()), (Some(1), Some("interrupted")), "{all}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("told"));
}

#[test]
fn a_migration_does_not_queue_behind_a_long_query() {
    let stage = stage("life_mig_lock");
    stage.schemas(&["lock_a"]);
    lab().run("life_mig_lock", "CREATE TABLE lock_a.orders (id int); ALTER TABLE lock_a.orders OWNER TO lock_a");
    let files = Files::new(&[("V1__x.sql", "ALTER TABLE orders ADD x int;")]);
    let mut holder = stage.superuser();
    holder.simple("BEGIN").ok();
    holder.simple("SELECT count(*) FROM lock_a.orders").ok();
    let said = stage.migrate(&files, &["--lock-timeout", "100ms", "--retries", "2", "--pause", "50ms"]);
    assert!(said.error("lock_a").contains("V1__x.sql: ") && said.error("lock_a").contains("55P03"), "{}", said.all);
    assert!(said.find("lock_a")["hint"].as_str().unwrap().contains("--retries"), "{}", said.all);
    assert!(said.all.contains("pause 2 of 2"), "{}", said.all);
    // While it tries, others are not kept waiting longer than the lock timeout.
    let run = stage.running(&files, &["--lock-timeout", "200ms", "--retries", "200", "--pause", "300ms"]);
    stage.wait_for("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'lock_a.orders'::regclass", "t");
    let mut other = stage.superuser();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let started = Instant::now();
        other.simple("SELECT count(*) FROM lock_a.orders").ok();
        longest = longest.max(started.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("longest wait: {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    holder.simple("COMMIT").ok();
    let (code, json, all) = ended(run);
    assert_eq!((code, &json["counts"]["done"]), (Some(0), &1.into()), "{all}");
    // And a statement that takes too long ends.
    files.write("V2__slow.sql", "SELECT pg_sleep(20);");
    assert!(stage.migrate(&files, &["--statement-timeout", "200ms"]).error("lock_a").contains("57014"));
}

#[test]
fn two_runs_do_not_both_apply() {
    let stage = stage("life_mig_two");
    stage.schemas(&["two_a", "two_b"]);
    let files = Files::new(&[("V1__x.sql", "CREATE TABLE x (); SELECT pg_advisory_xact_lock_shared(4711);")]);
    let mut holder = stage.superuser();
    holder.simple("SELECT pg_advisory_lock(4711)").ok();
    let first = stage.running(&files, &["--jobs", "2", "--lock-timeout", "0s"]);
    stage.wait_for("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711", "2");
    let said = stage.migrate(&files, &["--max-failures", "5"]);
    assert!(
        said.error("two_a").contains("another operation on tenant \"two_a\" is under way: migrate since"),
        "{}",
        said.all
    );
    drop(holder);
    let (code, _, all) = ended(first);
    assert_eq!(code, Some(0), "{all}");
    assert_eq!(stage.migrated(&files, &[]).count("up_to_date"), 2);
    // Also where they know nothing of each other: the place itself is locked.
    let mut holder = stage.superuser();
    holder.simple("SELECT pg_advisory_lock(1885828973, hashtext('two_a'))").ok();
    files.write("V2__y.sql", "CREATE TABLE y ();");
    let said = stage.migrate(&files, &["--tenants", "two_a", "--retries", "1", "--pause", "10ms"]);
    assert!(said.error("two_a").contains("another run of migrations is under way there"), "{}", said.all);
    drop(holder);
    stage.migrated(&files, &[]);
}
