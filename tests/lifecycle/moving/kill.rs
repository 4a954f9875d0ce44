//! A move that fails, or whose process is killed, at every step.

use std::process::{Child, Stdio};

use super::*;

/// A proxy that the test plays.
fn proxy(stage: &Stage) {
    lab().run(
        &stage.database,
        "INSERT INTO pgwarden_proxies VALUES ('p1', now(), now() + interval '1 hour', '10.0.0.7')",
    );
}

fn acknowledge(stage: &Stage) {
    lab().run(
        &stage.database,
        "INSERT INTO pgwarden_gate_acks SELECT 'p1', tenant, epoch, now() FROM pgwarden_gates
        ON CONFLICT (proxy, tenant) DO UPDATE SET epoch = EXCLUDED.epoch, drained_at = now()",
    );
}

fn spawn(stage: &Stage, arguments: &[&str]) -> Child {
    stage.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < end, "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_in(stage: &Stage, wanted: &str) -> bool {
    rows(&stage.database, "SELECT state FROM pgwarden_moves ORDER BY id DESC LIMIT 1")
        .first()
        .is_some_and(|it| it == wanted)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Says it until the dead one's lock is free.
#[track_caller]
fn once_free(stage: &Stage, arguments: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let output = stage.tenant(arguments);
        if output.status.success() {
            return text(&output);
        }
        assert!(text(&output).contains("under way") && Instant::now() < end, "{arguments:?}: {}", text(&output));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As it was before any move.
fn is_untouched(stage: &Stage, expected: &[String]) {
    assert_eq!(line(stage), "shared");
    assert_eq!(rows_of(&stage.database, "public", "1"), expected);
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gates"), "0");
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_moves WHERE state NOT IN ('done', 'aborted')"), "0");
}

#[test]
fn what_fails_before_the_tenant_has_moved_is_taken_back() {
    let stage = stage("move_fail");
    let expected = rows_of("move_fail", "public", "1");
    let to = ["move", "roam", "--to", "schema=roam_fail"];
    let gone = || {
        is_untouched(&stage, &expected);
        assert!(!exists("pg_roles", "rolname", "roam_fail"));
        assert_eq!(stage.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'roam_fail'"), "0");
    };
    proxy(&stage);
    // A proxy that does not answer.
    let started = Instant::now();
    stage.refused(
        &[&to[..], &["--max-pause", "700ms"]].concat(),
        &["did not end in time at: p1 (10.0.0.7)", "--max-pause"],
    );
    assert!(started.elapsed() >= Duration::from_millis(700));
    gone();
    assert!(state(&stage).starts_with("aborted what tenant"), "{}", state(&stage));
    // The console has shut the gate.
    lab()
        .run("move_fail", "INSERT INTO pgwarden_gates VALUES ('roam', 7, 'console', now(), now() + interval '1 hour')");
    stage.refused(&to, &["gate of tenant \"roam\" is shut already", "RESUME TENANT"]);
    lab().run("move_fail", "DELETE FROM pgwarden_gates");
    gone();
    lab().run("move_fail", "DELETE FROM pgwarden_proxies");
    let to = [&to[..], &["--no-proxies"]].concat();
    // The last step fails.
    lab().run(
        "move_fail",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the table is full'; END $$;
        CREATE TRIGGER no BEFORE UPDATE ON pgwarden_tenants FOR EACH ROW EXECUTE FUNCTION no()",
    );
    stage.refused(&to, &["the table is full"]);
    gone();
    stage.refused(&["move", "roam", "--to", "database=move_fail_own", "--no-proxies"], &["the table is full"]);
    assert!(!exists("pg_database", "datname", "move_fail_own"));
    stage.refused(&["move", "roam", "--to", "shared", "--upstream", "other", "--no-proxies"], &["the table is full"]);
    assert!(rows_of("move_fail_other", "public", "1").is_empty());
    gone();
    lab().run("move_fail", "DROP TRIGGER no ON pgwarden_tenants; DROP FUNCTION no()");
    // It takes too long: somebody has the tenant's line.
    let mut holder = stage.superuser();
    holder.simple("BEGIN; SELECT 1 FROM pgwarden_tenants WHERE name = 'roam' FOR UPDATE").ok();
    let slow = spawn(&stage, &[&to[..], &["--max-pause", "2s"]].concat());
    until("switching", || is_in(&stage, "switching"));
    std::thread::sleep(Duration::from_millis(2500));
    holder.simple("ROLLBACK").ok();
    let output = slow.wait_with_output().unwrap();
    assert!(text(&output).contains("longer than the gate may be shut"), "{}", text(&output));
    gone();
    stage.ok(&to);
    assert_eq!(rows_of("move_fail", "roam_fail", "1"), expected);
}

#[test]
fn somebody_who_writes_past_the_proxies_is_seen() {
    let stage = stage("move_past");
    proxy(&stage);
    let running = spawn(&stage, &["move", "roam", "--to", "schema=roam_past", "--max-pause", "30s"]);
    until("closing", || is_in(&stage, "closing"));
    let mut holder = stage.superuser();
    holder.simple("BEGIN; LOCK TABLE roam_past.customers, roam_past.orders, roam_past.tree, roam_past.parts, roam_past.templates").ok();
    acknowledge(&stage);
    until("copying", || is_in(&stage, "copying"));
    until("a wait", || stage.value("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0");
    lab().run("move_past", "INSERT INTO customers (tenant_id, name) VALUES (1, 'late')");
    holder.simple("ROLLBACK").ok();
    let output = running.wait_with_output().unwrap();
    assert!(text(&output).contains("past the proxies while they were copied"), "{}", text(&output));
    is_untouched(&stage, &rows_of("move_past", "public", "1"));
    assert!(!exists("pg_roles", "rolname", "roam_past"));
}

#[test]
fn killed_at_any_step_it_goes_back_or_has_gone() {
    let stage = stage("move_kill");
    let expected = rows_of("move_kill", "public", "1");
    proxy(&stage);
    let to: &[&str] = &["move", "roam", "--to", "schema=roam_kill", "--max-pause", "60s"];
    let gone = || {
        is_untouched(&stage, &expected);
        assert!(!exists("pg_roles", "rolname", "roam_kill"));
    };
    // While the place is made.
    lab().run(
        "move_kill",
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
          IF session_user = 'warden_admin' THEN PERFORM pg_sleep(0.5); END IF; END $$;
        CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION slow()",
    );
    let running = spawn(&stage, to);
    until("marked schema", || {
        stage
            .value("SELECT count(*) FROM pg_namespace WHERE nspname = 'roam_kill' AND obj_description(oid) IS NOT NULL")
            != "0"
    });
    kill(running);
    assert!(is_in(&stage, "preparing"));
    lab().run("move_kill", "DROP EVENT TRIGGER slow");
    stage.ok(&["suspend", "neighbour"]);
    once_free(&stage, &["move", "roam", "--abort"]);
    gone();
    // While it waits for proxies: they open the gate at its deadline, whoever is dead.
    let running = spawn(&stage, to);
    until("closing", || is_in(&stage, "closing"));
    kill(running);
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gates"), "1");
    once_free(&stage, &["move", "roam", "--abort"]);
    gone();
    // While rows are copied: the next run takes back what the first had made, and goes its own way.
    let running = spawn(&stage, to);
    until("closing", || is_in(&stage, "closing"));
    let mut holder = stage.superuser();
    holder.simple("BEGIN; LOCK TABLE roam_kill.customers").ok();
    acknowledge(&stage);
    until("copying", || is_in(&stage, "copying"));
    kill(running);
    holder.simple("ROLLBACK").ok();
    once_free(&stage, &["move", "roam", "--abort"]);
    gone();
    // The rows are there, and the tenant's line is not changed yet.
    for (place, arguments) in
        [("schema", to), ("shared", &["move", "roam", "--to", "shared", "--upstream", "other", "--max-pause", "60s"])]
    {
        let running = spawn(&stage, arguments);
        until("closing", || is_in(&stage, "closing"));
        holder.simple("BEGIN; SELECT 1 FROM pgwarden_tenants WHERE name = 'roam' FOR UPDATE").ok();
        acknowledge(&stage);
        let (database, schema) =
            if place == "schema" { ("move_kill", "roam_kill") } else { ("move_kill_other", "public") };
        until("rows", || is_in(&stage, "switching") && rows_of(database, schema, "1") == expected);
        kill(running);
        holder.simple("ROLLBACK").ok();
        until("an end of the dead one's transaction", || {
            stage
                .value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'warden_admin' AND datname = 'move_kill'")
                == "0"
        });
        // Neither deleted nor given to another meanwhile.
        stage.ok(&["suspend", "roam"]);
        stage.refused(&["delete", "roam"], &["a move of tenant \"roam\" was not finished", "--abort"]);
        stage.ok(&["resume", "roam"]);
        assert_eq!(stage.json(&["move", "roam", "--abort"])["taken_back"], "switching");
        gone();
        assert!(place == "schema" || rows_of("move_kill_other", "public", "1").is_empty());
    }
    // The same once more, without --abort: what was left is taken back, and the move is made.
    let running = spawn(&stage, to);
    until("closing", || is_in(&stage, "closing"));
    kill(running);
    lab().run("move_kill", "DELETE FROM pgwarden_proxies");
    once_free(&stage, &["move", "roam", "--to", "schema=roam_kill", "--no-proxies", "--verify"]);
    assert_eq!(rows_of("move_kill", "roam_kill", "1"), expected);
    assert_eq!(line(&stage), "schema roam_kill roam_kill");
    // While the old rows are deleted: it goes on.
    let running = spawn(&stage, &["move", "roam", "--finish", "--rate", "100", "--batch", "20"]);
    until("deleting", || rows_of("move_kill", "public", "1").len() < expected.len() - 30);
    kill(running);
    assert!(is_in(&stage, "finishing"));
    stage.refused(&["move", "roam", "--abort"], &["has moved already"]);
    once_free(&stage, &["move", "roam", "--finish"]);
    assert!(rows_of("move_kill", "public", "1").is_empty());
    assert!(is_in(&stage, "done"));
    assert_eq!(rows_of("move_kill", "roam_kill", "1"), expected);
}
