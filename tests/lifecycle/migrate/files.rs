//! Numbered files.

use super::*;

const ORDERS: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, note text);\nINSERT INTO orders VALUES (1, current_user);\n";
const INDEX: &str =
    "-- pgwarden: no-transaction\nCREATE INDEX CONCURRENTLY orders_note ON orders (note);\nVACUUM orders;\n";

#[test]
fn files_are_applied_once_by_who_owns_the_place() {
    let stage = stage("life_mig_files");
    stage.schemas(&["mf_a", "mf_b"]);
    stage.ok(&["create", "mf_c", "--layout", "database", "--database", "life_mig_files_c"]);
    let files = Files::new(&[("V1__orders.sql", ORDERS), ("V2__index.sql", INDEX)]);
    let plan = stage.migrated(&files, &["--dry-run"]);
    assert_eq!(
        plan.place("mf_a"),
        ("pending".to_owned(), vec!["V1__orders.sql".to_owned(), "V2__index.sql".to_owned()])
    );
    assert_eq!(stage.value("SELECT count(*) FROM pg_class WHERE relname = 'pgwarden_migrations'"), "0");
    let said = stage.migrated(&files, &[]);
    assert_eq!((said.count("done"), said.find("mf_c")["layout"].as_str()), (3, Some("database")), "{}", said.all);
    // What is made is the owner's, and no other's is touched.
    let owners = "SELECT string_agg(relnamespace::regnamespace || ' ' || relowner::regrole || ' ' || relname, ', ' ORDER BY 1)
        FROM (SELECT relnamespace, relowner, relname FROM pg_class WHERE relname IN ('orders', 'pgwarden_migrations') AND relnamespace::regnamespace::text LIKE 'mf%' ORDER BY relnamespace::regnamespace::text, relname) c";
    assert_eq!(
        stage.value(owners),
        "mf_a mf_a orders, mf_a mf_a pgwarden_migrations, mf_b app_owner orders, mf_b app_owner pgwarden_migrations"
    );
    assert_eq!(rows("life_mig_files_c", "SELECT note FROM orders"), ["app_owner"]);
    assert_eq!(stage.value("SELECT note FROM mf_a.orders"), "mf_a");
    let written = "SELECT concat_ws(' ', version, file, statements, by_whom, as_role, length(checksum)) FROM mf_a.pgwarden_migrations ORDER BY version";
    assert_eq!(
        rows("life_mig_files", written),
        ["1 V1__orders.sql the_tester mf_a 64", "2 V2__index.sql the_tester mf_a 64"]
    );
    let recorded = "SELECT concat_ws(' ', tenant, state, result->>'version') FROM pgwarden_operations WHERE verb = 'migrate' ORDER BY tenant";
    assert_eq!(rows("life_mig_files", recorded), ["mf_a done 2", "mf_b done 2", "mf_c done 2"]);
    assert_eq!(rows("life_mig_files", "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"), [""; 0]);
    // Again: nothing to do, and nothing is recorded.
    assert_eq!(stage.migrated(&files, &[]).count("up_to_date"), 3);
    assert_eq!(rows("life_mig_files", recorded).len(), 3);
    // One more, in one of them.
    files.write("V3__more.sql", "ALTER TABLE orders ADD more int;");
    let said = stage.migrated(&files, &["--tenants", "mf_?,other*", "--layout", "database"]);
    assert_eq!(
        (said.place("mf_c").1, said.json["places"].as_array().unwrap().len()),
        (vec!["V3__more.sql".to_owned()], 1)
    );
    let status = stage.said(&["--status", "--dir", files.path()]);
    let of = |name: &str| {
        let place = status.find(name);
        (place["version"].as_str().unwrap_or("-").to_owned(), place["pending"].as_i64(), place["last_run"].as_str())
    };
    assert_eq!(
        (of("mf_a"), of("mf_c")),
        (("2".to_owned(), Some(1), Some("done")), ("3".to_owned(), Some(0), Some("done")))
    );
    let printed = text(&stage.pgwarden("migrate", &["--status"]).output().unwrap());
    assert!(
        printed.lines().any(|line| line.starts_with("mf_b ") && line.contains("schema") && line.contains("done")),
        "{printed}"
    );
    assert_eq!(left_roles("mf_a"), [""; 0]);
}

#[test]
fn files_that_do_not_fit_what_was_applied_are_refused() {
    let stage = stage("life_mig_changed");
    stage.schemas(&["mc_a", "mc_b"]);
    let files = Files::new(&[("0001_orders.sql", ORDERS), ("0002_more.sql", "ALTER TABLE orders ADD more int;")]);
    stage.migrated(&files, &[]);
    let fails = |what: &str, more: &[&str]| {
        let said = stage.migrate(&files, more);
        assert!(!said.well && said.error("mc_a").contains(what), "{}", said.all);
        let status = stage.said(&["--status", "--dir", files.path()]);
        (said, status)
    };
    files.write("0001_orders.sql", &ORDERS.replace("note", "remark"));
    let (said, status) = fails("0001_orders.sql was changed after it was applied", &[]);
    assert!(said.find("mc_a")["hint"].as_str().unwrap().contains("new file"), "{}", said.all);
    assert!(!status.well && status.find("mc_a")["problem"].as_str().unwrap().contains("changed"), "{}", status.all);
    files.write("0001_orders.sql", ORDERS);
    std::fs::remove_file(files.0.path().join("0002_more.sql")).unwrap();
    fails("0002_more.sql was applied, and there is no such file", &[]);
    // A branch that comes late.
    files.write("0002_more.sql", "ALTER TABLE orders ADD more int;");
    files.write("0001.5_x.sql", "");
    stage.not_migrated(&["--dir", files.path()], &["0001.5_x.sql", "no version"]);
    std::fs::rename(files.0.path().join("0001.5_x.sql"), files.0.path().join("V1.5__late.sql")).unwrap();
    fails("V1.5__late.sql is older than what was applied already", &[]);
    assert_eq!(stage.migrated(&files, &["--out-of-order"]).place("mc_a").1, ["V1.5__late.sql"]);
    assert_eq!(stage.said(&["--status"]).find("mc_a")["version"], "2");
    // Nothing is begun with files that cannot be in order.
    files.write("0002_again.sql", "");
    stage.not_migrated(&["--dir", files.path()], &["are both version 2"]);
    stage.not_migrated(&["--dir", "/nonesuch"], &["/nonesuch"]);
    let gap = Files::new(&[("V1__a.sql", ""), ("V3__c.sql", "")]);
    stage.not_migrated(&["--dir", gap.path()], &["version 2 is missing", "--gaps"]);
    for (text, why) in [
        ("SELECT 1;\nCOMMIT;", "line 2: a statement that begins or ends a transaction"),
        ("COPY x FROM STDIN;", "line 1: COPY with the client"),
        ("SELEC", "line 1: syntax error"),
    ] {
        stage.not_migrated(&["--dir", Files::new(&[("V1__x.sql", text)]).path()], &["V1__x.sql", why]);
    }
    // Whom it is for.
    stage.not_migrated(&["--dir", gap.path(), "--gaps", "--tenants", "nonesuch"], &["no tenant \"nonesuch\""]);
    stage.not_migrated(&["--dir", gap.path(), "--gaps", "--tenants", "none*"], &["no such place"]);
    stage.not_migrated(&["--dir", gap.path(), "--gaps", "--canary", "a"], &["canary \"a\" is not among the places"]);
    stage.not_migrated(&["--dir", gap.path(), "--", "true"], &["cannot be used with"]);
    stage.not_migrated(&[], &["required"]);
}

#[test]
fn a_file_that_fails_leaves_nothing_and_is_done_again() {
    let stage = stage("life_mig_fails");
    stage.schemas(&["fa", "fb"]);
    let parts = "-- pgwarden: no-transaction\nCREATE INDEX CONCURRENTLY i1 ON orders (note);\n\nCREATE INDEX CONCURRENTLY i2\n  ON orders (missing);\n";
    let files = Files::new(&[
        ("V1__orders.sql", ORDERS),
        ("V2__two.sql", "CREATE TABLE two ();\nCREATE TABLE three ();\n"),
        ("V3__parts.sql", parts),
    ]);
    lab().run("life_mig_fails", "CREATE TABLE fb.three (id int)");
    let said = stage.migrate(&files, &["--max-failures", "9"]);
    assert_eq!((said.count("failed"), said.place("fb").1), (2, vec!["V1__orders.sql".to_owned()]), "{}", said.all);
    assert!(said.error("fb").contains("V2__two.sql: ") && said.error("fb").contains("42P07"), "{}", said.all);
    assert_eq!(stage.value("SELECT to_regclass('fb.two') IS NULL"), "t");
    // Of statements that stand alone those before stay, and are not run again.
    assert!(
        said.error("fa").contains("V3__parts.sql, line 4: ") && said.error("fa").contains("\"missing\""),
        "{}",
        said.all
    );
    assert_eq!(stage.value("SELECT statements FROM fa.pgwarden_migrations WHERE version = '3'"), "1");
    let status = stage.said(&["--status", "--dir", files.path()]);
    assert_eq!((status.find("fa")["pending"].as_i64(), status.find("fb")["version"].as_str()), (Some(1), Some("1")));
    assert!(status.find("fb")["last_error"].as_str().unwrap().contains("42P07"), "{}", status.all);
    files.write("V3__parts.sql", &parts.replace("i1", "i9"));
    assert!(stage.migrate(&files, &["--tenants", "fa"]).error("fa").contains("was changed"));
    files.write("V3__parts.sql", &parts.replace("missing", "id"));
    lab().run("life_mig_fails", "DROP TABLE fb.three");
    let said = stage.migrated(&files, &[]);
    assert_eq!(said.place("fa").1, ["V3__parts.sql"]);
    assert_eq!(said.place("fb").1, ["V2__two.sql", "V3__parts.sql"]);
    // What cannot be in a transaction says what to write.
    files.write("V4__alone.sql", "CREATE INDEX CONCURRENTLY i3 ON orders (id);");
    let said = stage.migrate(&files, &["--tenants", "fa"]);
    assert!(said.find("fa")["hint"].as_str().unwrap().contains("-- pgwarden: no-transaction"), "{}", said.all);
    assert_eq!(left_roles("f[ab]"), [""; 0]);
}

#[test]
fn shared_tables_are_migrated_once() {
    let stage = stage("life_mig_shared");
    let files = Files::new(&[(
        "V1__gifts.sql",
        "CREATE TABLE gifts (id int PRIMARY KEY, tenant_id int NOT NULL); INSERT INTO gifts VALUES (1, 1), (2, 2);",
    )]);
    stage.not_migrated(&["--dir", files.path(), "--tenants", "a"], &["no such place", "--shared"]);
    let said = stage.migrated(&files, &["--shared"]);
    assert_eq!(said.json["places"].as_array().unwrap().len(), 1, "{}", said.all);
    assert_eq!(said.place("shared tables of main").1, ["V1__gifts.sql"]);
    assert_eq!(stage.value("SELECT relowner::regrole FROM pg_class WHERE relname = 'gifts'"), "app_owner");
    let proxy = stage.proxy();
    let mut a =
        Endpoint { database: "a".to_owned(), ..Endpoint::new(stage.port, "tenant_a", "tenant_a_pw", "x") }.connect();
    assert_eq!(a.simple("SELECT string_agg(id::text, ',') FROM gifts").ok().value(), "1");
    let reply = a.simple("SELECT * FROM public.pgwarden_migrations");
    assert!(!reply.errors.is_empty() && reply.texts().is_empty(), "{}", reply.text());
    drop(proxy);
    assert_eq!(stage.migrated(&files, &["--layout", "shared"]).count("up_to_date"), 1);
}

#[test]
fn new_tenants_begin_at_the_newest() {
    let stage = stage("life_mig_new");
    let files = Files::new(&[("V1__orders.sql", ORDERS), ("V2__index.sql", INDEX)]);
    let create = |name: &'static str, more: &[&'static str]| {
        [&["create", name, "--migrations", files.path()], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let create = |name, more: &[&'static str]| {
        let arguments = create(name, more);
        stage.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let both = serde_json::json!(["V1__orders.sql", "V2__index.sql"]);
    assert_eq!(create("mn_tmpl", &["--layout", "schema"])["applied"], both);
    assert_eq!(create("mn_db", &["--layout", "database", "--database", "life_mig_new_db"])["applied"], both);
    // What the template has comes with the knowledge that it was applied.
    files.write("V3__more.sql", "ALTER TABLE orders ADD more int;");
    let third = serde_json::json!(["V3__more.sql"]);
    assert_eq!(create("mn_copy", &["--layout", "schema", "--template", "mn_tmpl"])["applied"], third);
    assert_eq!(
        stage.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'mn_copy.pgwarden_migrations'::regclass"),
        "mn_copy"
    );
    assert_eq!(
        create("mn_db2", &["--layout", "database", "--database", "life_mig_new_db2", "--template", "life_mig_new_db"])
            ["applied"],
        third
    );
    stage.json(&["create", "mn_old", "--layout", "schema", "--template", "mn_tmpl"]);
    let said = stage.migrated(&files, &[]);
    assert_eq!(
        (said.count("up_to_date"), said.place("mn_old").1),
        (2, vec!["V3__more.sql".to_owned()]),
        "{}",
        said.all
    );
    // One that cannot be brought up is not made.
    files.write("V4__bad.sql", "SELECT 1 / 0;");
    stage.refused(&["create", "mn_bad", "--layout", "schema", "--migrations", files.path()], &["V4__bad.sql", "22012"]);
    assert!(!exists("pg_roles", "rolname", "mn_bad"));
    assert_eq!(stage.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'mn_bad'"), "0");
    stage.refused(&["create", "x", "--key", "9", "--migrations", files.path()], &["--migrations is for layout"]);
    stage.refused(&["create", "x", "--layout", "schema", "--migrations", "/nonesuch"], &["/nonesuch"]);
    assert_eq!(left_roles("mn_.*"), [""; 0]);
}
