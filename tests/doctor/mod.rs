//! `pgwarden doctor` on a schema with each defect, and on the same schema once it is mended.

mod remedies;

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
CREATE TABLE small (tenant_id int NOT NULL, id serial, PRIMARY KEY (tenant_id, id));
CREATE SEQUENCE numbers;
CREATE TABLE drawn (tenant_id int NOT NULL, id bigint DEFAULT nextval('numbers'), PRIMARY KEY (tenant_id, id));
CREATE STATISTICS kept (mcv) ON tenant_id, note FROM no_index;
CREATE STATISTICS counts_only (ndistinct) ON tenant_id, note FROM no_index;
CREATE FUNCTION tenant_now() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT current_setting(''app.tenant_id'', true)::int';
CREATE FUNCTION tenant_then() RETURNS int LANGUAGE sql STABLE AS 'SELECT current_setting(''app.tenant_id'', true)::int';
CREATE FUNCTION of_tenant(int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1 = tenant_now(); END';
CREATE TABLE folds (tenant_id int PRIMARY KEY DEFAULT tenant_now(), made_by int DEFAULT tenant_then());
CREATE POLICY by_function ON folds USING (of_tenant(tenant_id));
CREATE FUNCTION copies() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO account VALUES (NEW.tenant_id, 1); RETURN NEW; END';
CREATE FUNCTION computes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE TG_ARGV[0]; RETURN NEW; END';
CREATE FUNCTION touches() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := 1; RETURN NEW; END';
CREATE TRIGGER copies BEFORE INSERT ON small FOR EACH ROW EXECUTE FUNCTION copies();
CREATE TRIGGER computes BEFORE INSERT ON drawn FOR EACH ROW EXECUTE FUNCTION computes('SELECT 1');
CREATE TABLE touched (tenant_id int PRIMARY KEY, id int);
CREATE TRIGGER touches BEFORE INSERT ON touched FOR EACH ROW EXECUTE FUNCTION touches();
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE felt (tenant_id int PRIMARY KEY, mood mood);
CREATE FUNCTION feels(mood, text) RETURNS boolean LANGUAGE sql AS 'SELECT $1::text = $2';
CREATE OPERATOR public.= (LEFTARG = mood, RIGHTARG = text, FUNCTION = feels);
CREATE OPERATOR public.#%# (LEFTARG = mood, RIGHTARG = text, FUNCTION = feels);
CREATE OPERATOR public.#%% (LEFTARG = boolean, RIGHTARG = boolean, FUNCTION = booleq);
CREATE TYPE boxed AS (n int);
CREATE TYPE written AS (n int);
CREATE FUNCTION to_boxed(int) RETURNS boxed LANGUAGE plpgsql AS 'BEGIN RETURN ROW($1); END';
CREATE FUNCTION to_written(int) RETURNS written LANGUAGE plpgsql AS 'BEGIN RETURN ROW($1); END';
CREATE CAST (int AS boxed) WITH FUNCTION to_boxed(int) AS ASSIGNMENT;
CREATE CAST (int AS written) WITH FUNCTION to_written(int);
";

/// Check, object (without its schema), severity.
const DEFECTS: [(&str, &str, &str); 25] = [
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
    ("shared-sequence", "small", "medium"),
    ("shared-sequence", "drawn", "low"),
    ("statistics-object", "no_index", "low"),
    ("immutable-reads-tenant", "folds", "medium"),
    ("unguarded-code", "small", "low"),
    ("unguarded-code", "drawn", "low"),
    ("operator-shadows", "= (public.mood, text)", "medium"),
    ("operator-refused", "#%# (public.mood, text)", "low"),
    ("cast-unwritten", "type public.boxed", "medium"),
    ("cast-refused", "type public.written", "low"),
];
/// Findings whose SQL mends them altogether.
const MENDED: [&str; 6] = [
    "nullable-tenant-column",
    "no-tenant-index",
    "foreign-key-crosses",
    "view-bypasses",
    "statistics-object",
    "immutable-reads-tenant",
];

/// A configuration of one database, as this role.
fn config(database: &str, role: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    configured(database, role, "rewrite", "\"public.order_label\"")
}

fn configured(database: &str, role: &str, mode: &str, functions: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let port = Lab::general().cluster.port();
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:6432\"\n\
         [upstream.main]\nurl = \"postgres://{role}@127.0.0.1:{port}/{database}\"\npassword = \"{role}_pw\"\nenforcement = \"{mode}\"\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nallow_functions = [{functions}]\n\
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

/// The statements that mend a finding.
fn sql(finding: &serde_json::Value) -> Vec<String> {
    finding["sql"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
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
            assert!(["what", "why"].iter().all(|key| hit[key].as_str().unwrap().len() > 10), "{hit}");
            assert!(!sql(hit).is_empty() || hit["advice"].as_str().unwrap().len() > 10, "{hit}");
        }
    }
    assert_eq!(find(&found, "global-unique-key", "by_email").len(), 2, "the constraint and the index");
    assert_eq!(find(&found, "immutable-reads-tenant", "folds").len(), 2, "the policy and the default");
    for clean in ["fine", "plain(integer)", "touched", "#%% (boolean, boolean)"] {
        assert!(found.iter().all(|it| bare(it, "object") != clean), "{clean}");
    }
    // As text, and as an exit code for CI
    let text = doctor(&proxy, &[]);
    let shown = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(shown.contains("why: ") && shown.contains("sql: ALTER TABLE"), "{shown}");
    assert_eq!(text.status.code(), Some(1));
    assert!(doctor(&proxy, &["--fail-on", "never"]).status.success());
    let page = String::from_utf8(doctor(&proxy, &["--format", "html"]).stdout).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("foreign-key-crosses"), "{page}");
    for hit in &found {
        assert!(!MENDED.contains(&hit["check"].as_str().unwrap()) || !sql(hit).is_empty(), "{hit}");
        sql(hit).iter().for_each(|statement| lab.run("sick", statement));
    }
    let left = findings(&proxy);
    for (check, object, _) in DEFECTS {
        let mended = MENDED.contains(&check);
        assert_eq!(find(&left, check, object).is_empty(), mended, "{check} {object}\n{left:#?}");
    }
    // What stands beside the keys of old is found, and not proposed once more.
    assert!(found.iter().any(|it| it["check"] == "global-unique-key" && !sql(it).is_empty()));
    assert!(left.iter().all(|it| it["check"] != "global-unique-key" || sql(it).is_empty()), "{left:#?}");
}

/// Where policies alone keep tenants apart, what weakens them weighs more.
#[test]
fn what_weakens_policies() {
    let lab = Lab::general();
    lab.create("policed", None);
    lab.run(
        "policed",
        "CREATE FUNCTION tenant_now() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT current_setting(''app.tenant_id'', true)';
         CREATE FUNCTION tenant_then() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(''app.tenant_id'', true)';
         CREATE FUNCTION turns() RETURNS text LANGUAGE sql AS 'SELECT set_config(''app.tenant_id'', ''7'', true)';
         CREATE TABLE folds (tenant_id int PRIMARY KEY);
         CREATE TABLE sound (tenant_id int PRIMARY KEY);
         CREATE FUNCTION strong() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM folds';
         ALTER TABLE folds ENABLE ROW LEVEL SECURITY;
         ALTER TABLE sound ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON folds USING (tenant_id = current_setting('app.tenant_id', true)::int AND tenant_id::text = tenant_now());
         CREATE POLICY p ON sound USING (tenant_id = current_setting('app.tenant_id', true)::int AND tenant_id::text = tenant_then());
         GRANT SELECT ON folds, sound TO app_owner",
    );
    let functions = "\"public.tenant_now\", \"public.tenant_then\", \"public.strong\", \"public.turns\"";
    let (_directory, path) = configured("policed", "app_owner", "rls", functions);
    let found = findings(&path);
    for (check, object, severity) in [
        ("immutable-reads-tenant", "folds", "high"),
        ("immutable-reads-tenant", "tenant_now()", "medium"),
        ("unbound-definer", "strong", "high"),
        ("function-sets-tenant", "turns", "low"),
    ] {
        let hits = find(&found, check, object);
        assert!(hits.len() == 1 && hits[0]["severity"] == severity, "{check} {object}\n{found:#?}");
    }
    assert!(
        found.iter().all(|it| !["sound", "tenant_then()"].contains(&bare(it, "object").as_str())
            || it["check"] == "allowed-function"),
        "{found:#?}"
    );
}

/// Each finding stands in the documentation.
#[test]
fn all_findings_are_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/doctor.md")).unwrap();
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checks/doctor");
    let name = regex::Regex::new("\"([a-z]+(?:-[a-z]+)+)\"").unwrap();
    let mut seen = 0;
    for folder in [sources.join("checks"), sources] {
        for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|it| it.path().is_file()) {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for name in name.captures_iter(&text).map(|it| it[1].to_owned()) {
                seen += 1;
                assert!(page.contains(&format!("| `{name}` |")), "{name}");
            }
        }
    }
    assert!(seen > 20, "{seen}");
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
    assert!(found.iter().flat_map(sql).any(|it| it == "REVOKE pg_read_all_stats FROM \"too_strong\";"));
    assert_eq!(output.status.code(), Some(1));
}
