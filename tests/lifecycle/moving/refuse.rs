//! What is refused before anything is done.

use super::*;

#[test]
fn a_move_that_cannot_be_is_refused_before_anybody_waits() {
    let stage = stage("move_no");
    let to = |place: &'static str| ["move", "roam", "--to", place, "--no-proxies"];
    let both = |more: &[&'static str]| [&to("database=move_no_own")[..], more].concat();
    stage.refused(&["move", "roam", "--to", "database"], &["no proxy takes part in moves", "[moves]", "--no-proxies"]);
    lab().run("move_no", "INSERT INTO pgwarden_proxies VALUES ('p1', now(), now() + interval '1 hour', '127.0.0.1')");
    stage.refused(&to("database"), &["proxies take part in moves", "leave --no-proxies out"]);
    // One that is gone refuses by itself what it might serve.
    lab().run("move_no", "UPDATE pgwarden_proxies SET lease_until = now() - interval '1 s'");
    stage.refused(&["move", "nobody", "--to", "shared"], &["no tenant \"nobody\""]);
    let line_of_file = stage.text.lines().position(|it| it == "[[tenant]]").unwrap() + 1;
    stage.refused(
        &["move", "filed", "--to", "database", "--no-proxies"],
        &["stands in the file", &format!("pgwarden.toml:{line_of_file}"), "create filed with --adopt"],
    );
    stage.refused(&to("shared"), &["lives there already"]);
    stage.refused(&to("schema=pg_x"), &["Postgres's own schemas"]);
    stage.refused(&to("schema=public"), &["is there already"]);
    stage.refused(&to("database=move_no"), &["cannot be there"]);
    stage.refused(&to("database=postgres"), &["is there already"]);
    stage.refused(&both(&["--upstream", "nonesuch"]), &["no upstream \"nonesuch\""]);
    let output = stage.tenant(&["move", "roam"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = stage.tenant(&to("shared=x"));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    // What would not be there.
    let with = |make: &str, unmake: &str, parts: &[&str]| {
        lab().run("move_no", &format!("SET SESSION AUTHORIZATION app_owner; {make}"));
        stage.refused(&both(&[]), parts);
        stage.refused(&both(&["--dry-run"]), parts);
        lab().run("move_no", unmake);
    };
    with(
        "CREATE AGGREGATE most(int) (SFUNC = int4larger, STYPE = int)",
        "DROP AGGREGATE most(int)",
        &["would be without: aggregate most", "--leave-out"],
    );
    with(
        "ALTER TABLE customers ADD lob oid; UPDATE customers SET lob = lo_from_bytea(0, 'x') WHERE id = 1",
        "SELECT lo_unlink(lob) FROM customers WHERE id = 1; ALTER TABLE customers DROP lob",
        &["column lob, has 1 large objects", "bytea"],
    );
    with(
        "CREATE TABLE tags (customer bigint REFERENCES customers); INSERT INTO tags VALUES (1)",
        "DROP TABLE tags",
        &["1 rows of public.tags", "through"],
    );
    // Not in so short a time.
    lab().run(
        "move_no",
        "INSERT INTO customers (tenant_id, name) SELECT 1, repeat('x', 900) || n FROM generate_series(1, 16000) n",
    );
    stage.refused(&both(&["--max-pause", "500ms"]), &["longer than --max-pause", "25 MB/s"]);
    lab().run("move_no", "DELETE FROM customers WHERE name LIKE 'xxx%'");
    // A schema has another name: what names the old one would lead out of it.
    lab().run(
        "move_no",
        "CREATE FUNCTION all_of_them() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.customers'",
    );
    stage.refused(&to("schema=roam_x"), &["would still name \"public\": all_of_them()", "database of its own"]);
    // Nothing was made, and nobody's gate was shut.
    assert!(!exists("pg_database", "datname", "move_no_own") && !exists("pg_roles", "rolname", "roam_x"));
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_moves"), "0");
    assert_eq!(line(&stage), "shared");
    // What a tenant may have written itself does not run with rights over all of them.
    stage.ok(&both(&[]));
    stage.ok(&["move", "roam", "--finish"]);
    stage.refused(&to("schema=roam_x2"), &["tenant \"roam\"'s own work", "--trust"]);
    stage.refused(&["move", "roam", "--to", "database=move_no_own", "--no-proxies"], &["lives there already"]);
}

#[test]
fn rows_that_do_not_fit_among_others_are_seen_before() {
    let stage = stage("move_fit");
    stage.ok(&["move", "roam", "--to", "database=move_fit_own", "--no-proxies"]);
    stage.ok(&["move", "roam", "--finish"]);
    let back = ["move", "roam", "--to", "shared", "--no-proxies"];
    let own = |sql: &str| lab().run("move_fit_own", &format!("SET SESSION AUTHORIZATION app_owner; {sql}"));
    own("INSERT INTO templates VALUES (2, 1, 'the neighbour has this number')");
    stage.refused(&back, &["public.templates: 1 of the tenant's values of (id) are others' already"]);
    own(
        "DELETE FROM templates WHERE id = 2; INSERT INTO countries VALUES ('JP', 'Japan'); UPDATE orders SET country = 'JP' WHERE id < 4",
    );
    stage.refused(&back, &["public.orders refer to rows of public.countries that are not there"]);
    own("UPDATE orders SET country = NULL WHERE country = 'JP'; UPDATE tree SET tenant_id = 2 WHERE id = 101");
    stage.refused(&back, &["1 rows of", "another value in column tenant_id"]);
    own("UPDATE tree SET tenant_id = 1; CREATE TABLE more (id int); INSERT INTO more VALUES (1)");
    stage.refused(&back, &["public.more has 1 rows, and there is no table of tenants"]);
    own("TRUNCATE more; ALTER TABLE tree ADD colour text");
    stage.refused(&back, &["public.tree has no column \"colour\"", "migrations"]);
    own("ALTER TABLE tree DROP colour");
    lab().run("move_fit", "ALTER TABLE tree ADD colour text");
    stage.refused(&back, &["has no column \"colour\", which public.tree has"]);
    lab().run("move_fit", "ALTER TABLE tree DROP colour");
    // A trigger that counts would count once more.
    lab().run("move_fit", "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'stamped'; RETURN NEW; END $$;
        CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp()");
    stage.refused(&back, &["would fire for each row", "stamp on", "session_replication_role"]);
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_moves WHERE state NOT IN ('done', 'aborted')"), "0");
    let expected = rows_of("move_fit_own", "public", "1");
    let granted = "SELECT current_setting('server_version_num')::int >= 150000";
    if stage.value(granted) == "t" {
        // Only for this cluster's role, and while nobody else needs it to be refused.
        lab().run("move_fit", "GRANT SET ON PARAMETER session_replication_role TO warden_admin");
        stage.ok(&[&back[..], &["--verify"]].concat());
        lab().run("move_fit", "REVOKE SET ON PARAMETER session_replication_role FROM warden_admin");
        assert_eq!(rows_of("move_fit", "public", "1"), expected);
        // Foreign keys hold as if the server had looked at each row.
        assert_eq!(stage.value("SELECT count(*) FROM templates WHERE tenant_id IS NULL"), "1");
    }
}

/// Types, casts, views: whatever a tenant made in a place of its own is looked at, and not run with the admin role's rights.
#[test]
fn what_a_tenant_made_is_not_run_when_it_moves_among_others() {
    let stage = stage("move_trap");
    stage.ok(&["move", "roam", "--to", "database=move_trap_own", "--no-proxies"]);
    stage.ok(&["move", "roam", "--finish"]);
    let own = |sql: &str| lab().run("move_trap_own", &format!("SET SESSION AUTHORIZATION app_owner; {sql}"));
    own("CREATE TYPE evil AS (x int);
        CREATE FUNCTION spring(e evil) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trap'; END $$;
        CREATE FUNCTION spring_text(e evil) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trap'; END $$;
        CREATE CAST (evil AS int) WITH FUNCTION spring AS IMPLICIT; CREATE CAST (evil AS text) WITH FUNCTION spring_text AS IMPLICIT");
    let refused = |parts: &[&str]| {
        let output = stage.tenant(&["move", "roam", "--to", "shared", "--no-proxies"]);
        let said = text(&output);
        assert!(!said.contains("the trap") && !output.status.success(), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    own(
        "ALTER TABLE tree ALTER tenant_id DROP DEFAULT; ALTER TABLE tree ALTER tenant_id TYPE evil USING ROW(tenant_id)::evil",
    );
    refused(&["another value in column tenant_id"]);
    own(
        "ALTER TABLE tree DROP tenant_id; ALTER TABLE templates ALTER tenant_id DROP DEFAULT; ALTER TABLE templates ALTER tenant_id TYPE evil USING ROW(tenant_id)::evil",
    );
    refused(&["column \"tenant_id\" of public.templates", "the tenant's own"]);
    own("ALTER TABLE templates DROP tenant_id; ALTER TABLE templates ADD tenant_id int; TRUNCATE templates; ALTER TABLE templates RENAME TO real_templates;
        CREATE FUNCTION spring() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trap'; END $$;
        CREATE VIEW templates AS SELECT spring() AS id, 1 AS tenant_id, 'x' AS body");
    refused(&["column \"tenant_id\" of public.templates", "of a view"]);
    // A check would be the tenant's own work too: it is of the shared tables that rows come to, and stays behind.
    own("DROP VIEW templates; ALTER TABLE real_templates RENAME TO templates;
        ALTER TABLE orders ADD CHECK (spring() IS NOT NULL) NOT VALID");
    stage.ok(&["move", "roam", "--to", "shared", "--no-proxies"]);
}
