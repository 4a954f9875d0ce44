//! What a tenant made in its own place runs in a migration with the tenant's rights, and no others.

use super::*;

/// Things that a migration meets, and what they try: to be the admin again, to be another tenant, to make a role.
const TRAPS: &str = "
    CREATE TABLE {place}.orders (id int, note text);
    INSERT INTO {place}.orders VALUES (1, 'x');
    CREATE TABLE {place}.tried (what text, came text);
    CREATE FUNCTION {place}.try(what text) RETURNS text LANGUAGE plpgsql AS $$
      BEGIN EXECUTE what; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
    CREATE FUNCTION {place}.trap() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE what text;
      BEGIN
        FOREACH what IN ARRAY ARRAY['SET ROLE NONE', 'SET ROLE NONE; CREATE ROLE conquered', 'RESET ROLE', 'SET ROLE warden_admin', 'SET ROLE {other}', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION warden_admin',
            'RESET ROLE; CREATE ROLE conquered', 'RESET ROLE; CREATE DATABASE conquered', 'RESET ROLE; SELECT * FROM {theirs}', 'RESET ROLE; ALTER ROLE {other} LOGIN'] LOOP
          INSERT INTO {place}.tried VALUES (what, {place}.try(what));
        END LOOP;
        INSERT INTO {place}.tried VALUES ('who', session_user || ' ' || current_user);
        RETURN NULL;
      END $$;
    CREATE TRIGGER trap AFTER UPDATE ON {place}.orders FOR EACH STATEMENT EXECUTE FUNCTION {place}.trap();
    CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON {place}.orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {place}.trap();
    CREATE FUNCTION {place}.upper(varchar) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO {place}.tried VALUES ('shadow', current_user); RETURN 'shadow'; END $$;";

fn traps(place: &str, other: &str, theirs: &str) -> String {
    TRAPS.replace("{place}", place).replace("{other}", other).replace("{theirs}", theirs)
}

fn tried(database: &str, place: &str) -> Vec<String> {
    rows(database, &format!("SELECT DISTINCT what || ': ' || came FROM {place}.tried ORDER BY 1"))
}

/// What nobody may have come by.
#[track_caller]
fn assert_confined(tried: &[String]) {
    for what in [
        "SET ROLE warden_admin",
        "SET SESSION AUTHORIZATION warden_admin",
        "SET ROLE NONE; CREATE ROLE conquered",
        "RESET ROLE; CREATE ROLE conquered",
        "RESET ROLE; CREATE DATABASE conquered",
        "RESET ROLE; SELECT",
        "RESET ROLE; ALTER ROLE",
    ] {
        let of: Vec<&String> = tried.iter().filter(|it| it.starts_with(what)).collect();
        assert!(!of.is_empty() && of.iter().all(|it| !it.ends_with(": done")), "{what}: {tried:?}");
    }
    assert!(!exists("pg_roles", "rolname", "conquered") && !exists("pg_database", "datname", "conquered"));
}

#[test]
fn what_is_in_a_tenants_schema_gets_no_further_than_its_owner() {
    let stage = stage("life_mig_trap");
    stage.ok(&["create", "trap_a", "--layout", "schema"]);
    stage.ok(&["create", "trap_b", "--layout", "schema"]);
    lab().run("life_mig_trap", "CREATE TABLE trap_b.secret (x int); ALTER TABLE trap_b.secret OWNER TO trap_b");
    lab().run("life_mig_trap", &format!("SET ROLE trap_a; {}", traps("trap_a", "trap_b", "trap_b.secret")));
    let files = Files::new(&[("V1__x.sql", "UPDATE orders SET note = upper('a'::varchar);")]);
    stage.migrated(&files, &["--tenants", "trap_a"]);
    let tried = tried("life_mig_trap", "trap_a");
    assert_confined(&tried);
    // A role of the run's own, which is the tenant's and no other's; and not even the other tenant's, as the pool's role could be.
    assert!(tried.iter().any(|it| it.starts_with("who: pgwarden_migrate_") && it.ends_with(" trap_a")), "{tried:?}");
    assert!(tried.contains(&"SET ROLE trap_b: 42501".to_owned()), "{tried:?}");
    assert!(tried.contains(&"shadow: trap_a".to_owned()), "{tried:?}");
    assert_eq!(left_roles("trap_a"), [""; 0]);
    // What is made as that role becomes the owner's.
    let loose = Files::new(&[
        ("V1__x.sql", "UPDATE orders SET note = upper('a'::varchar);"),
        ("V2__y.sql", "SET ROLE NONE; CREATE TABLE loose ();"),
    ]);
    stage.migrated(&loose, &["--tenants", "trap_a"]);
    assert_eq!(stage.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'trap_a.loose'::regclass"), "trap_a");
    assert_eq!(left_roles("trap_a"), [""; 0]);
    // By a tool as well.
    let psql = [
        "--tenants",
        "trap_a",
        "--",
        "psql",
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        "TRUNCATE tried; UPDATE orders SET note = 'b'",
    ];
    assert!(stage.said(&psql).well);
    assert_confined(&self::tried("life_mig_trap", "trap_a"));
}

#[test]
fn what_is_in_a_tenants_database_gets_no_further_than_its_sessions() {
    let stage = stage("life_mig_dbtrap");
    stage.ok(&["create", "dbtrap", "--layout", "database", "--database", "life_mig_dbtrap_a"]);
    lab().run("life_mig_dbtrap_a", &format!("SET ROLE app_owner; {}", traps("public", "spt_pool", "pg_authid")));
    let files = Files::new(&[("V1__x.sql", "UPDATE orders SET note = 'b';")]);
    stage.migrated(&files, &["--tenants", "dbtrap"]);
    let tried = tried("life_mig_dbtrap_a", "public");
    assert_confined(&tried);
    assert!(tried.contains(&"who: app_owner app_owner".to_owned()), "{tried:?}");
}

#[test]
fn nothing_of_a_tenants_is_run_to_see_what_was_applied() {
    let stage = stage("life_mig_book");
    stage.schemas(&["book_a", "book_b"]);
    let files = Files::new(&[("V1__x.sql", "CREATE TABLE x ();")]);
    lab().run(
        "life_mig_book",
        "SET ROLE book_a;
         CREATE FUNCTION book_a.ran(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran as %', current_user; END $$;
         CREATE VIEW book_a.pgwarden_migrations AS SELECT book_a.ran(v) AS version, v AS file, v AS checksum, 1 AS statements FROM (VALUES ('1')) t(v);",
    );
    let refused = |what: &str| {
        for arguments in [&["--dir", files.path(), "--tenants", "book_a"][..], &["--status", "--tenants", "book_a"]] {
            let said = stage.said(arguments);
            assert!(!said.well && said.all.contains(what) && !said.all.contains("it ran"), "{}", said.all);
        }
    };
    refused("book_a.pgwarden_migrations is not the table that pgwarden makes");
    stage.refused(&["create", "book_c", "--layout", "schema", "--template", "book_a"], &["book_a"]);
    lab().run("life_mig_book", "DROP VIEW book_a.pgwarden_migrations; CREATE TABLE book_a.pgwarden_migrations (version text); ALTER TABLE book_a.pgwarden_migrations OWNER TO book_a");
    refused("is not the table that pgwarden makes");
    lab().run("life_mig_book", "DROP TABLE book_a.pgwarden_migrations");
    stage.migrated(&files, &[]);
    lab().run("life_mig_book", "ALTER TABLE book_a.pgwarden_migrations ENABLE ROW LEVEL SECURITY");
    refused("is not the table that pgwarden makes");
    lab().run("life_mig_book", "ALTER TABLE book_a.pgwarden_migrations DISABLE ROW LEVEL SECURITY; UPDATE book_a.pgwarden_migrations SET version = 'x'");
    refused("book_a.pgwarden_migrations has a version");
}

#[test]
fn with_more_rights_than_the_owners_nothing_runs_unasked() {
    let stage = stage("life_mig_rights");
    let super_name = rows("postgres", "SELECT rolname FROM pg_roles WHERE oid = 10").remove(0);
    lab().run(
        "life_mig_rights",
        "CREATE SCHEMA r_super; CREATE SCHEMA r_admin AUTHORIZATION warden_admin; GRANT ALL ON SCHEMA r_super TO warden_admin;
         INSERT INTO pgwarden_tenants (name, layout, schema) VALUES ('r_super', 'schema', 'r_super'), ('r_admin', 'schema', 'r_admin'), ('r_gone', 'schema', 'r_gone')",
    );
    let files = Files::new(&[("V1__x.sql", "CREATE TABLE x ();")]);
    for tenant in ["r_super", "r_admin"] {
        let said = stage.migrate(&files, &["--tenants", tenant]);
        assert!(said.error(tenant).contains("with whose rights what the tenant made there would run"), "{}", said.all);
        assert!(said.find(tenant)["hint"].as_str().unwrap().contains("--trust"), "{}", said.all);
    }
    assert!(stage.migrate(&files, &["--tenants", "r_super"]).error("r_super").contains(&super_name));
    assert!(stage.migrate(&files, &["--tenants", "r_gone"]).error("r_gone").contains("schema \"r_gone\""));
    assert!(
        stage
            .migrate(&files, &["--tenants", "r_admin", "--role", "nonesuch"])
            .error("r_admin")
            .contains("no role \"nonesuch\"")
    );
    stage.migrated(&files, &["--tenants", "r_admin", "--trust"]);
    assert_eq!(stage.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'r_admin.x'::regclass"), "warden_admin");
    lab().run("life_mig_rights", "GRANT ALL ON SCHEMA r_super TO app_owner");
    stage.migrated(&files, &["--tenants", "r_super", "--role", "app_owner"]);
    assert_eq!(stage.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'r_super.x'::regclass"), "app_owner");
    // No admin, no migration.
    stage.write(&stage.text.replace("admin = { user", "# admin = { user"));
    let said = stage.migrate(&files, &["--tenants", "r_admin"]);
    assert!(said.error("r_admin").contains("no admin role"), "{}", said.all);
}
