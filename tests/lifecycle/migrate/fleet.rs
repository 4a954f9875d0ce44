//! Many places.

use super::*;

/// Schemas of tenants, every second with a role of its own, without a process for each.
fn schemas(stage: &Stage, prefix: &str, count: usize) {
    lab().run(
        &stage.database,
        &format!(
            "DO $$ DECLARE name text; owner text; BEGIN FOR i IN 1..{count} LOOP
               name := '{prefix}' || i; owner := 'app_owner';
               IF i % 2 = 0 THEN
                 owner := name; EXECUTE format('CREATE ROLE %I NOLOGIN', name);
                 EXECUTE format('GRANT %I TO warden_admin WITH ADMIN OPTION', name); EXECUTE format('GRANT %I TO app_owner', name);
               END IF;
               EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', name, owner);
               INSERT INTO pgwarden_tenants (name, layout, schema, role) VALUES (name, 'schema', name, nullif(owner, 'app_owner'));
             END LOOP; END $$"
        ),
    );
}

const FILES: [(&str, &str); 2] = [
    ("V1__orders.sql", "CREATE TABLE orders (id int PRIMARY KEY, note text);"),
    ("V2__parts.sql", "CREATE TABLE parts (id int); CREATE INDEX ON parts (id);"),
];

#[test]
fn five_hundred_schemas_of_which_one_fails() {
    let stage = stage("life_mig_fleet");
    schemas(&stage, "fleet", 500);
    lab().run("life_mig_fleet", "CREATE TABLE fleet250.parts (id int)");
    let files = Files::new(&FILES);
    let started = Instant::now();
    let said = stage.migrate(&files, &["--jobs", "8", "--max-failures", "2"]);
    println!("500 schemas: {:?}", started.elapsed());
    assert_eq!(
        (said.well, said.count("done"), said.count("failed"), said.count("left")),
        (false, 499, 1, 0),
        "{}",
        said.all
    );
    assert!(said.error("fleet250").contains("42P07") && said.place("fleet250").1 == ["V1__orders.sql"], "{}", said.all);
    let applied =
        "SELECT count(*) FROM pg_class WHERE relname = 'parts' AND relnamespace::regnamespace::text LIKE 'fleet%'";
    assert_eq!(stage.value(applied), "500");
    // What is left is done by the next run, and nothing else.
    lab().run("life_mig_fleet", "DROP TABLE fleet250.parts");
    let started = Instant::now();
    let said = stage.migrated(&files, &["--jobs", "8"]);
    println!("the second run: {:?}", started.elapsed());
    assert_eq!(
        (said.count("done"), said.count("up_to_date"), said.place("fleet250").1),
        (1, 499, vec!["V2__parts.sql".to_owned()])
    );
    let started = Instant::now();
    let status = stage.said(&["--status", "--dir", files.path()]);
    println!("status: {:?}", started.elapsed());
    assert!(
        status.well
            && status.json["places"].as_array().unwrap().iter().all(|it| it["version"] == "2" && it["pending"] == 0)
    );
    // None of the roles that were made for it is left.
    assert_eq!(left_roles("fleet.*"), [""; 0]);
    stage.wipe("fleet", 500);
}

impl Stage {
    /// Other tests' catalogs are read in the same cluster.
    fn wipe(&self, prefix: &str, count: usize) {
        // Locks for all of them at once are more than there are.
        for from in (1..=count).step_by(50) {
            let sql = format!(
                "DO $$ BEGIN FOR i IN {from}..{} LOOP EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', '{prefix}' || i);
                 IF i % 2 = 0 THEN EXECUTE format('DROP ROLE IF EXISTS %I', '{prefix}' || i); END IF; END LOOP; END $$",
                from + 49
            );
            lab().run(&self.database, &sql);
        }
    }
}

/// Twelve of them; `PGWARDEN_TEST_DATABASES=200` for as many as a fleet has, which takes minutes and gigabytes.
#[test]
fn databases_of_which_one_fails() {
    let count: usize = std::env::var("PGWARDEN_TEST_DATABASES").ok().and_then(|it| it.parse().ok()).unwrap_or(12);
    let stage = stage("life_mig_dbs");
    lab().run("postgres", "CREATE DATABASE life_mig_db_tmpl OWNER app_owner");
    for n in 1..=count {
        lab().run("postgres", &format!("CREATE DATABASE life_mig_db{n} OWNER app_owner TEMPLATE life_mig_db_tmpl"));
        lab().run(
            "life_mig_dbs",
            &format!(
                "INSERT INTO pgwarden_tenants (name, layout, database) VALUES ('mdb{n}', 'database', 'life_mig_db{n}')"
            ),
        );
    }
    lab().run("life_mig_db7", "CREATE TABLE parts (id int)");
    let files = Files::new(&FILES);
    let run = |more: &[&str]| stage.migrate(&files, &[&["--tenants", "mdb*", "--jobs", "8"], more].concat());
    let started = Instant::now();
    let said = run(&["--max-failures", "2"]);
    println!("{count} databases: {:?}", started.elapsed());
    assert_eq!((said.count("done"), said.count("failed")), (i64::try_from(count).unwrap() - 1, 1), "{}", said.all);
    assert!(said.error("mdb7").contains("42P07"), "{}", said.all);
    lab().run("life_mig_db7", "DROP TABLE parts");
    let said = run(&[]);
    assert!(said.well && said.place("mdb7").1 == ["V2__parts.sql"], "{}", said.all);
    for n in 1..=count {
        lab().run("postgres", &format!("DROP DATABASE life_mig_db{n} WITH (FORCE)"));
    }
}

#[test]
fn after_a_canary_or_enough_failures_no_more_is_begun() {
    let stage = stage("life_mig_canary");
    schemas(&stage, "canary", 12);
    let files = Files::new(&FILES);
    lab().run("life_mig_canary", "CREATE TABLE canary5.parts (id int)");
    let said = stage.migrate(&files, &["--canary", "canary5,canary6"]);
    assert_eq!(said.json["stopped"], "a canary failed", "{}", said.all);
    assert_eq!(
        (said.place("canary5").0.as_str(), said.place("canary6").0.as_str(), said.count("left")),
        ("failed", "done", 10)
    );
    // By default, the first that fails is the last that is begun.
    let said = stage.migrate(&files, &["--jobs", "1"]);
    assert_eq!(said.json["stopped"], "1 failed", "{}", said.all);
    assert!(said.count("left") > 0 && said.count("failed") == 1, "{}", said.all);
    let printed = stage.pgwarden("migrate", &["--dir", files.path(), "--jobs", "1"]).output().unwrap();
    let printed = text(&printed);
    assert!(printed.contains("canary5: V2__parts.sql: ") && printed.contains("left (1 failed)"), "{printed}");
    lab().run("life_mig_canary", "DROP TABLE canary5.parts");
    let said = stage.migrated(&files, &["--canary", "canary5"]);
    assert_eq!(said.count("failed") + said.count("left"), 0, "{}", said.all);
    stage.wipe("canary", 12);
}

#[test]
fn tenants_that_a_pattern_makes_are_found_by_what_is_there() {
    let setup = "[tenancy.pattern]\nupstream = \"main\"\nschema = \"pat_{name}\"\n[[login]]\nname = \"all\"\npassword = \"all_pw\"\ntenants = \"*\"\n";
    let mut stage = Stage::without_tables("life_mig_pattern", setup);
    stage.alone();
    stage.ok(&["init"]);
    lab().run("life_mig_pattern", "CREATE SCHEMA pat_one AUTHORIZATION app_owner; CREATE SCHEMA pat_two AUTHORIZATION app_owner; CREATE SCHEMA other AUTHORIZATION app_owner");
    let files = Files::new(&FILES);
    let said = stage.migrated(&files, &["--tenants", "one,tw*"]);
    assert_eq!((said.count("done"), said.place("two").0.as_str()), (2, "done"), "{}", said.all);
    assert_eq!(stage.value("SELECT count(*) FROM pg_class WHERE relname = 'parts' AND relnamespace::regnamespace::text IN ('pat_one', 'pat_two', 'other')"), "2");
}
