//! Any tool, once for each place.

use super::*;

#[test]
fn a_tool_runs_in_each_place_with_it_in_its_environment() {
    let stage = stage("life_mig_tool");
    stage.schemas(&["tool_a", "tool_b"]);
    stage.ok(&["create", "tool_c", "--layout", "database", "--database", "life_mig_tool_c"]);
    // By its own variables, and by the URL alone.
    let script = r#"env | grep -E '^PGWARDEN_|^PGOPTIONS' | sort
        psql -X -At -c "CREATE TABLE by_tool (who text DEFAULT current_user); INSERT INTO by_tool DEFAULT VALUES; SELECT current_schema || ' ' || current_user || ' ' || current_setting('lock_timeout')"
        PGOPTIONS= PGPASSWORD= PGUSER= psql -X -At -c "SELECT 'url: ' || count(*) FROM by_tool" "$DATABASE_URL"
        echo complaint >&2"#;
    let output = stage.pgwarden("migrate", &["--lock-timeout", "3s", "--", "sh", "-c", script]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for line in [
        "tool_a: PGWARDEN_TENANT=tool_a",
        "tool_a: PGWARDEN_SCHEMA=tool_a",
        "tool_a: tool_a tool_a 3s",
        "tool_b: tool_b app_owner 3s",
        "tool_c: PGWARDEN_LAYOUT=database",
        "tool_c: public app_owner 3s",
        "tool_a: url: 1",
        "tool_b: url: 1",
        "tool_c: url: 1",
    ] {
        assert!(stdout.lines().any(|it| it == line), "{line}:\n{stdout}{stderr}");
    }
    assert!(stdout.contains("3 places: 3 done") && stderr.contains("tool_b: complaint"), "{stdout}{stderr}");
    assert!(!stdout.contains("tool_c: PGWARDEN_SCHEMA"), "{stdout}");
    let owner = "SELECT relowner::regrole FROM pg_class WHERE oid = 'tool_a.by_tool'::regclass";
    assert_eq!(stage.value(owner), "tool_a");
    assert_eq!(
        rows(
            "life_mig_tool",
            "SELECT arguments->>'command' || ' ' || state FROM pgwarden_operations WHERE tenant = 'tool_a' AND verb = 'migrate'"
        ),
        ["sh done"]
    );
    assert_eq!(left_roles("tool_a"), [""; 0]);
}

#[test]
fn a_tool_that_fails_is_a_tenant_that_failed() {
    let stage = stage("life_mig_toolfail");
    stage.schemas(&["tf_a", "tf_b"]);
    let logs = stage.directory.path().join("logs");
    let path = logs.to_str().unwrap();
    let script = "echo \"at $PGWARDEN_TENANT\"; test $PGWARDEN_TENANT = tf_a || exit 3";
    let said = stage.said(&["--logs", path, "--max-failures", "5", "--", "sh", "-c", script]);
    assert_eq!((said.place("tf_a").0.as_str(), said.place("tf_b").0.as_str()), ("done", "failed"), "{}", said.all);
    assert!(said.error("tf_b").contains("exit status: 3"), "{}", said.all);
    assert_eq!(std::fs::read_to_string(logs.join("tf_b.log")).unwrap(), "at tf_b\n");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(logs.join("tf_b.log")).unwrap().permissions().mode() & 0o777, 0o600);
    let said = stage.said(&["--tenants", "tf_a", "--", "/nonesuch/tool"]);
    assert!(said.error("tf_a").contains("/nonesuch/tool"), "{}", said.all);
    // psql's own commands, which files cannot have.
    let psql = ["--tenants", "tf_a", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"];
    let rows_file = stage.directory.path().join("load.sql");
    std::fs::write(&rows_file, "CREATE TABLE loaded (n int);\nCOPY loaded FROM stdin;\n1\n2\n\\.\n").unwrap();
    assert!(stage.said(&[&psql[..], &["-f", rows_file.to_str().unwrap()]].concat()).well);
    assert_eq!(stage.value("SELECT count(*) FROM tf_a.loaded"), "2");
    assert!(!stage.said(&[&psql[..], &["-c", "SELECT nonsense"]].concat()).well);
    // Nothing is run to say what would be.
    let plan = stage.said(&["--dry-run", "--", "sh", "-c", "echo no > /nonesuch/x"]);
    assert_eq!((plan.well, plan.count("pending")), (true, 2), "{}", plan.all);
    assert_eq!(left_roles("tf_a"), [""; 0]);
}
