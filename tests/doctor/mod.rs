//! `pgwarden doctor` on a schema with each defect, and on the same schema once it is mended.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::lab::Lab;
use crate::support::proxy::program;

const SCHEMA: &str = "
CREATE TABLE account (tenant_id int NOT NULL, id int, PRIMARY KEY (tenant_id, id));
CREATE TABLE no_column (id int PRIMARY KEY);
CREATE TABLE nullable (tenant_id int, id int);
CREATE INDEX ON nullable (tenant_id);
CREATE TABLE no_index (tenant_id int NOT NULL, note text);
CREATE TABLE by_id (tenant_id int NOT NULL, id int PRIMARY KEY);
CREATE INDEX ON by_id (tenant_id);
CREATE TABLE by_email (tenant_id int NOT NULL, email text UNIQUE, code text);
CREATE INDEX ON by_email (tenant_id);
CREATE UNIQUE INDEX by_code ON by_email (code);
CREATE TABLE crossing (tenant_id int NOT NULL, by_id int, CONSTRAINT to_by_id FOREIGN KEY (by_id) REFERENCES by_id);
CREATE INDEX ON crossing (tenant_id);
CREATE TABLE acting (tenant_id int NOT NULL, by_id int, CONSTRAINT acts FOREIGN KEY (by_id) REFERENCES by_id ON DELETE CASCADE);
CREATE INDEX ON acting (tenant_id);
CREATE TABLE counted (tenant_id int NOT NULL, id bigserial, PRIMARY KEY (tenant_id, id));
CREATE VIEW seen AS SELECT * FROM account;
CREATE VIEW fine WITH (security_invoker = true) AS SELECT * FROM account;
CREATE MATERIALIZED VIEW held AS SELECT * FROM account;
CREATE RULE extra AS ON INSERT TO no_index DO ALSO SELECT 1;
CREATE FUNCTION order_label(int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM account';
CREATE FUNCTION strong(int) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM account';
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER fires BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION fires();
CREATE FUNCTION plain(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
ALTER TABLE account OWNER TO app_owner;
";

/// Check, object (without its schema), severity.
const DEFECTS: [(&str, &str, &str); 15] = [
    ("unconfigured-table", "no_column", "low"),
    ("nullable-tenant-column", "nullable", "medium"),
    ("no-tenant-index", "no_index", "low"),
    ("global-unique-key", "by_id", "low"),
    ("global-unique-key", "by_email", "medium"),
    ("foreign-key-crosses", "crossing", "medium"),
    ("foreign-key-crosses", "acting", "high"),
    ("shared-sequence", "counted", "low"),
    ("view-bypasses", "seen", "medium"),
    ("materialized-view", "held", "medium"),
    ("rule-rewrites", "no_index", "medium"),
    ("allowed-function", "order_label(integer)", "high"),
    ("definer-function", "strong(integer)", "low"),
    ("definer-trigger", "fires()", "low"),
    ("role-too-strong", "role app_owner", "low"),
];

/// A configuration of one database, as this role.
fn config(database: &str, role: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let port = Lab::general().cluster.port();
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:6432\"\n\
         [upstream.main]\nurl = \"postgres://{role}@127.0.0.1:{port}/{database}\"\npassword = \"{role}_pw\"\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nallow_functions = [\"public.order_label\"]\n\
         [[tenant]]\nname = \"acme\"\nkey = \"42\"\n\
         [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = [\"acme\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn doctor(config: &Path, further: &[&str]) -> Output {
    Command::new(program()).args(["doctor", "--config"]).arg(config).args(further).output().expect("pgwarden runs")
}

fn findings(config: &Path) -> Vec<serde_json::Value> {
    let output = doctor(config, &["--format", "json", "--fail-on", "never"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a JSON array")
}

fn bare(finding: &serde_json::Value, key: &str) -> String {
    finding[key].as_str().unwrap().trim_start_matches("public.").to_owned()
}

fn find<'a>(findings: &'a [serde_json::Value], check: &str, object: &str) -> Vec<&'a serde_json::Value> {
    findings.iter().filter(|it| it["check"] == check && bare(it, "object") == object).collect()
}

#[test]
fn finds_each_defect_and_says_how_to_mend_it() {
    let lab = Lab::general();
    lab.create("sick", None);
    lab.run("postgres", "ALTER DATABASE sick OWNER TO app_owner");
    lab.run("sick", SCHEMA);
    let (_directory, proxy) = config("sick", "app_owner");
    let found = findings(&proxy);
    for (check, object, severity) in DEFECTS {
        let hits = find(&found, check, object);
        assert!(!hits.is_empty(), "{check} {object}\n{found:#?}");
        for hit in hits {
            assert_eq!(hit["severity"], severity, "{hit}");
            assert!(["what", "why", "fix"].iter().all(|key| hit[key].as_str().unwrap().len() > 10), "{hit}");
        }
    }
    assert_eq!(find(&found, "global-unique-key", "by_email").len(), 2, "the constraint and the index");
    for clean in ["fine", "plain(integer)"] {
        assert!(found.iter().all(|it| bare(it, "object") != clean), "{clean}");
    }
    // As text, and as an exit code for CI
    let text = doctor(&proxy, &[]);
    let shown = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(shown.contains("why: ") && shown.contains("fix: ALTER TABLE"), "{shown}");
    assert_eq!(text.status.code(), Some(1));
    assert!(doctor(&proxy, &["--fail-on", "never"]).status.success());
    // The DDL is DDL: what comes before a remark in parentheses or words runs as it is.
    for check in [
        "nullable-tenant-column",
        "no-tenant-index",
        "foreign-key-crosses",
        "global-unique-key",
        "view-bypasses",
        "rule-rewrites",
    ] {
        for hit in found.iter().filter(|it| it["check"] == check) {
            let fix = hit["fix"].as_str().unwrap();
            let ddl = fix.rfind(';').map_or("", |end| &fix[..=end]);
            assert!(!ddl.is_empty(), "{fix}");
            for statement in ddl.split_inclusive(';') {
                // What others depend on goes later
                let statement = statement.replace("by_id_pkey,", "by_id_pkey CASCADE,");
                lab.run("sick", &format!("SET search_path = public; {}", statement.replace("CONCURRENTLY ", "")));
            }
        }
    }
    let left = findings(&proxy);
    for (check, object, _) in DEFECTS {
        let mended = matches!(
            check,
            "nullable-tenant-column"
                | "no-tenant-index"
                | "foreign-key-crosses"
                | "global-unique-key"
                | "view-bypasses"
                | "rule-rewrites"
        );
        assert_eq!(find(&left, check, object).is_empty(), mended, "{check} {object}\n{left:#?}");
    }
}

/// Superuser and BYPASSRLS are told apart from owning tables.
#[test]
fn a_role_that_may_too_much() {
    let lab = Lab::general();
    lab.create("strong", None);
    lab.run("strong", "CREATE TABLE t (tenant_id int PRIMARY KEY)");
    lab.run(
        "postgres",
        "CREATE ROLE too_strong LOGIN PASSWORD 'too_strong_pw' SUPERUSER BYPASSRLS CREATEROLE REPLICATION; GRANT pg_read_all_stats TO too_strong",
    );
    let (_directory, path) = config("strong", "too_strong");
    let output = doctor(&path, &["--format", "json"]);
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let rights: Vec<&str> =
        found.iter().filter(|it| it["check"] == "role-too-strong").map(|it| it["what"].as_str().unwrap()).collect();
    for right in ["is a superuser", "has BYPASSRLS", "has CREATEROLE", "has REPLICATION", "is a member of"] {
        assert!(rights.iter().any(|it| it.starts_with(right)), "{right}: {rights:?}");
    }
    assert!(found.iter().any(|it| it["fix"].as_str().unwrap().contains("REVOKE pg_read_all_stats FROM")));
    assert_eq!(output.status.code(), Some(1));
}
