//! Tenants that stand in no file.

use pgwarden::test_cluster::Cluster;

use super::Bench;
use crate::support::lab::Lab;

const SCHEMA: &str = "CREATE TABLE orgs (slug text PRIMARY KEY, id int NOT NULL);
    INSERT INTO orgs VALUES ('acme', 1), ('globex', 2);
    CREATE TABLE invoices (org_id int NOT NULL, id int, PRIMARY KEY (org_id, id));";

fn bench(database: &str, tenancy: &str, rest: &str) -> Bench {
    let lab = Lab::general();
    lab.create(database, None);
    lab.run(database, SCHEMA);
    Bench::new(
        database,
        &format!(
            "[tenancy]\nupstream = \"main\"\ncolumn = \"org_id\"\n{tenancy}\n{rest}\n[[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n"
        ),
    )
}

fn table(query: &str) -> String {
    format!("[tenants_from]\nquery = \"{query}\"\n")
}

const QUERY: &str = "SELECT slug AS name, id AS key FROM orgs";

#[test]
fn what_a_table_of_tenants_makes_wrong_is_found() {
    let tables = "shared_tables = [\"public.orgs\"]";
    let good = bench("adopt_table", tables, &table(QUERY));
    good.run(&["check", "--connect"], "")
        .says(0, &["[tenants_from] on upstream \"main\": 2 tenants", "2 in the shared layout"]);
    for (database, tenancy, query, word) in [
        ("adopt_misspelt", "shared_tables = [\"public.orgss\"]", QUERY, "public.orgss"),
        ("adopt_failing", tables, "SELECT slug AS name, nosuch AS key FROM orgs", "nosuch"),
        ("adopt_columns", tables, "SELECT slug FROM orgs", "slug"),
        ("adopt_rows", tables, "SELECT slug AS name, 1 AS key FROM orgs", "left out"),
        ("adopt_key", tables, "SELECT slug AS name, slug AS key FROM orgs", "acme"),
    ] {
        bench(database, tenancy, &table(query)).run(&["check", "--connect"], "").says(1, &["error", word]);
    }
}

/// By the tenant column alone, or by a line of its own: who may write the tenants' table is told of it.
#[test]
fn tenants_that_write_the_table_of_tenants_are_told_of() {
    for (database, tenancy, is_told) in [
        ("adopt_written", "", true),
        ("adopt_written_list", "tables = { \"public.tenants\" = { null = \"shared\" } }", true),
        ("adopt_read", "tables = { \"public.tenants\" = { write = false } }", false),
    ] {
        let query = table("SELECT name, org_id AS key FROM tenants");
        let bench = bench(database, &format!("shared_tables = [\"public.orgs\"]\n{tenancy}"), &query);
        let tenants =
            "CREATE TABLE tenants (org_id int PRIMARY KEY, name text NOT NULL); INSERT INTO tenants VALUES (1, 'acme')";
        Lab::general().run(database, tenants);
        let ran = bench.run(&["check", "--connect"], "");
        ran.says(0, &["1 tenants"]);
        assert_eq!(ran.err.matches("tenants may write public.tenants").count(), usize::from(is_told), "{ran:#?}");
    }
}

#[test]
fn what_a_pattern_of_tenants_makes_wrong_is_found() {
    let pattern = "[tenancy.pattern]\nkey = \"{name}\"";
    bench("adopt_pattern", "shared_tables = [\"public.orgs\"]", pattern).run(&["check", "--connect"], "").says(0, &[]);
    bench("adopt_pattern_misspelt", "shared_tables = [\"public.orgss\"]", pattern)
        .run(&["check", "--connect"], "")
        .says(1, &["public.orgss"]);
}

#[test]
fn tools_know_tenants_of_a_table_and_of_a_pattern() {
    let explain =
        |bench: &Bench, tenant: &str| bench.run(&["explain", "--tenant", tenant, "SELECT id FROM invoices"], "");
    let tables = "shared_tables = [\"public.orgs\"]";
    let listed = bench("adopt_tools", tables, &table(QUERY));
    explain(&listed, "globex").says(0, &["'2'", "rewritten"]);
    explain(&listed, "initech").says(1, &["no tenant \"initech\""]);
    listed.run(&["doctor", "--fail-on", "never"], "").says(0, &[]);
    listed.run(&["rls", "generate"], "").says(0, &["CREATE POLICY"]);
    let pattern = "[tenancy.pattern]\nkey = \"{name}\"";
    explain(&bench("adopt_tools_pattern", tables, pattern), "57").says(0, &["'57'"]);
}

#[test]
fn tables_that_moves_need_are_looked_for() {
    let lab = Lab::general();
    let rest = "[tenants_from]\ntable = \"public.pgwarden_tenants\"\n[moves]\nlease = \"10s\"\n";
    let bench = bench("adopt_moves", "shared_tables = [\"public.orgs\"]", rest);
    // As the role that proxies have.
    let text = std::fs::read_to_string(bench.path("pgwarden.toml")).unwrap();
    let text = text.replace(&format!("{}@", Cluster::SUPERUSER), "app_owner@");
    bench.write("pgwarden.toml", &text.replace(lab.cluster.password(), "app_owner_pw"));
    let ddl = bench.run(&["tenant", "init", "--ddl"], "");
    lab.run("adopt_moves", &ddl.out);
    bench.run(&["check", "--connect"], "").says(0, &["0 tenants"]);
    lab.run("adopt_moves", "REVOKE UPDATE ON pgwarden_proxies FROM app_owner");
    lab.run("adopt_moves", "DROP TABLE pgwarden_gate_acks");
    let words = ["public.pgwarden_proxies may not be read and written", "public.pgwarden_gate_acks does not exist"];
    bench.run(&["check", "--connect"], "").says(1, &words);
}
