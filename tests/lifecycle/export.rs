//! `pgwarden tenant export`, `import`

use std::path::Path;

use super::*;

/// A shop of one's own: what rows and definitions can be.
const SHOP: &str = r#"
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, feels mood, prefs jsonb, raw bytea, at timestamptz, price numeric,
      tags text[], total int GENERATED ALWAYS AS (length(name)) STORED);
    INSERT INTO customers (name, feels, prefs, raw, at, price, tags) VALUES
      ('a,"b"', 'glad', '{"x": [1, null]}', '\x00ff0a', '2026-03-04 05:06:07.890123+02', 1.10, ARRAY['x', NULL, '']),
      (E'two\nlines\\', NULL, NULL, '', 'infinity', 'NaN', '{}'), ('', 'sad', 'null', NULL, '-infinity', 1e30, NULL), (NULL, NULL, '""', NULL, NULL, NULL, NULL);
    CREATE TABLE orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers, note text DEFAULT 'none', CHECK (id > 0));
    INSERT INTO orders (customer, note) SELECT 1 + n % 4, 'note ' || n FROM generate_series(1, 500) n;
    CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
    INSERT INTO parts SELECT n, '2026-01-01'::date + n FROM generate_series(1, 300) n;
    CREATE TABLE heirs (extra int) INHERITS (orders); INSERT INTO heirs (customer, extra) VALUES (1, 5);
    CREATE VIEW glad AS SELECT * FROM customers WHERE feels = 'glad';
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
    CREATE TRIGGER shout BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION shout();
    CREATE INDEX ON orders (note);
"#;

/// All rows of a schema's tables.
fn contents(database: &str, schema: &str) -> Vec<String> {
    let tables = rows(
        database,
        &format!(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace ORDER BY relname"
        ),
    );
    assert!(tables.len() > 4, "{tables:?}");
    let each = tables.iter().map(|table| rows(database, &format!("SELECT t::text FROM ONLY {table} t ORDER BY 1")));
    each.flatten().collect()
}

fn edit(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let before = std::fs::read(path).unwrap();
    std::fs::write(path, change(before.clone())).unwrap();
    before
}

#[test]
fn an_export_is_loaded_by_psql_and_by_import_as_it_was() {
    let stage = Stage::new("life_export");
    stage.ok(&["create", "source", "--layout", "database", "--database", "life_export_source"]);
    lab().run("life_export_source", "GRANT ALL ON SCHEMA public TO app_owner; SET SESSION AUTHORIZATION app_owner");
    lab().run("life_export_source", &format!("SET SESSION AUTHORIZATION app_owner; {SHOP}"));
    let before = contents("life_export_source", "public");
    for (n, format) in [&[][..], &["--binary", "--jobs", "1"]].into_iter().enumerate() {
        let directory = stage.directory.path().join(format!("export{n}"));
        let path = directory.to_str().unwrap();
        let done = stage.json(&[&["export", "source", path], format].concat());
        assert_eq!((done["rows"].as_i64(), done["left_out"].as_array().map(Vec::len)), (Some(805), Some(0)), "{done}");
        stage.refused(&["export", "source", path], &["there is something in"]);
        // By psql, into an empty database.
        let loaded = format!("life_export_psql{n}");
        lab().create(&loaded, None);
        let output = Command::new("psql")
            .args(["-X", "-q", "-d", &lab().cluster.url(&loaded), "-f", "load.sql"])
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(contents(&loaded, "public"), before);
        // Into a database and a schema of other names.
        let (database, tenant) = (format!("life_export_db{n}"), format!("copy{n}"));
        stage.ok(&["create", &tenant, "--layout", "database", "--database", &database]);
        lab().run(&database, "GRANT ALL ON SCHEMA public TO warden_admin, app_owner");
        let done = stage.json(&["import", &tenant, path, "--verify", "--trust"]);
        assert_eq!(done["loaded"]["rows"], 805, "{done}");
        assert_eq!(contents(&database, "public"), before);
        stage.refused(&["import", &tenant, path, "--trust"], &["something in schema \"public\"", "already"]);
        let tenant = format!("schema{n}");
        stage.ok(&["create", &tenant, "--layout", "schema"]);
        assert_eq!(stage.json(&["import", &tenant, path, "--dry-run"])["rows"], 805);
        stage.ok(&["import", &tenant, path, "--verify", "--trust"]);
        assert_eq!(contents("life_export", &tenant), before);
        assert_eq!(stage.value(&format!("SELECT string_agg(DISTINCT relowner::regrole::text, ',') FROM pg_class WHERE relnamespace = '{tenant}'::regnamespace")), tenant);
    }
    // It goes on where it was: numbers, triggers, keys.
    let _proxy = stage.proxy();
    let mut copy = stage.soon("schema0");
    assert_eq!(
        copy.simple("INSERT INTO orders (customer, note) VALUES (1, 'new') RETURNING id || note").ok().value(),
        "502NEW"
    );
    copy.simple("INSERT INTO orders (customer) VALUES (99)").refused("23503");
    assert_eq!(
        copy.simple("INSERT INTO customers (name) VALUES ('five') RETURNING id || ' ' || total").ok().value(),
        "5 4"
    );
}

/// psql would take what stands behind a line break in a name for its next command.
#[test]
fn names_end_no_line_of_the_script() {
    let stage = Stage::new("life_names");
    stage.ok(&["create", "odd", "--layout", "schema"]);
    let directory = stage.directory.path().join("export");
    let path = directory.to_str().unwrap();
    for table in ["\"a\n\\! echo b\" (id int)", "a (\"b\nc\" int)"] {
        lab().run("life_names", &format!("SET search_path = odd; SET ROLE odd; CREATE TABLE {table}"));
        stage.refused(&["export", "odd", path], &["a control character in the name"]);
        lab().run("life_names", "DROP SCHEMA odd CASCADE; CREATE SCHEMA odd AUTHORIZATION odd");
    }
    lab().run("life_names", "SET ROLE odd; CREATE TABLE odd.\"a 'b; -- \"\"\" (\"\\!\" int)");
    stage.ok(&["export", "odd", path]);
}

#[test]
fn a_damaged_export_is_not_loaded() {
    let stage = Stage::new("life_damaged");
    stage.ok(&["create", "origin", "--layout", "schema"]);
    lab().run("life_damaged", "SET search_path = origin; CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 100) n; ALTER TABLE t OWNER TO origin");
    let directory = stage.directory.path().join("export");
    let path = directory.to_str().unwrap();
    // What is called as what the export asks with is not asked.
    let trap = |name: &str, arguments: &str, result: &str| {
        lab().run("life_damaged", &format!("CREATE FUNCTION origin.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trap'; END $$"));
    };
    trap("pg_get_constraintdef", "oid", "text");
    trap("unnest", "oid[]", "SETOF oid");
    trap("hashtextextended", "text, bigint", "bigint");
    trap("same", "oid, oid", "boolean");
    lab().run("life_damaged", "CREATE OPERATOR origin.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = origin.same)");
    stage.ok(&["export", "origin", path]);
    // They are called as Postgres's own, and could not be made in another schema.
    stage.ok(&["create", "elsewhere", "--layout", "schema"]);
    stage.refused(&["import", "elsewhere", path, "--trust"], &["would still name \"origin\"", "pg_get_constraintdef"]);
    std::fs::remove_dir_all(&directory).unwrap();
    lab().run("life_damaged", "DROP OPERATOR origin.= (oid, oid); DROP FUNCTION origin.same, origin.unnest, origin.pg_get_constraintdef, origin.hashtextextended");
    stage.ok(&["export", "origin", path]);
    stage.ok(&["create", "target", "--layout", "schema"]);
    for (file, from, to) in [
        ("data/0000.t.csv", "row 7\n", "row 8\n"),
        ("schema/000.after.sql", "PRIMARY KEY", "UNIQUE"),
        ("manifest.json", "data/", "../ata/"),
        ("manifest.json", "\"format\": 1", "\"format\": 2"),
        ("manifest.json", "csv\"", "csv) ;\""),
    ] {
        let file = directory.join(file);
        let before = edit(&file, |it| String::from_utf8(it).unwrap().replacen(from, to, 1).into_bytes());
        assert_ne!(std::fs::read(&file).unwrap(), before);
        stage.refused(&["import", "target", path], &["hint: name a directory that `pgwarden tenant export` wrote"]);
        std::fs::write(&file, before).unwrap();
    }
    assert_eq!(stage.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'target'::regnamespace"), "0");
    stage.refused(&["import", "nonesuch", path], &["no tenant \"nonesuch\""]);
    stage.refused(&["import", "target", "/nonexistent"], &["/nonexistent/manifest.json"]);
    // What a tenant wrote is not run with the admin's rights, which are those of all tenants.
    stage.refused(&["import", "target", path], &["tenant \"origin\"'s own work", "--trust"]);
    assert_eq!(stage.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'target'::regnamespace"), "0");
    stage.ok(&["import", "target", path, "--trust", "--verify"]);
    // Who may not see all rows is told, and exports none.
    lab().run(
        "life_damaged",
        "ALTER TABLE origin.t ENABLE ROW LEVEL SECURITY; ALTER TABLE origin.t FORCE ROW LEVEL SECURITY",
    );
    let again = stage.directory.path().join("again");
    stage.refused(&["export", "origin", again.to_str().unwrap()], &["42501", "row-level security"]);
    let left: Vec<_> = std::fs::read_dir(stage.directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|it| it.to_string_lossy().starts_with("again")), "{left:?}");
}

#[test]
fn rows_of_shared_tables_come_back_as_they_were() {
    let stage = Stage::new("life_back");
    // A trigger's log would grow with each load; one comment of another tenant stands below one of A's.
    lab().run("life_back", "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname, tgrelid::regclass AS r FROM pg_trigger WHERE NOT tgisinternal LOOP EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.r); END LOOP; END $$;
        DELETE FROM order_tags; UPDATE comments c SET parent_id = NULL FROM comments p WHERE p.id = c.parent_id AND p.tenant_id <> c.tenant_id");
    stage.write(&stage.text.replacen("key = \"1\"\n", "key = \"1\"\nsuspended = true\n", 1));
    let before = contents("life_back", "public");
    let directory = stage.directory.path().join("export");
    let path = directory.to_str().unwrap();
    let evidence = stage.json(&["delete", "a", "--export-first", path]);
    assert!(evidence["export"]["rows"].as_i64().unwrap() > 50, "{evidence}");
    let without = contents("life_back", "public");
    assert!(without.len() < before.len());
    // Nothing in it is another tenant's.
    for entry in std::fs::read_dir(directory.join("data")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("CANARY_B") && !text.contains("CANARY_C"), "{text}");
    }
    let done = stage.json(&["import", "a", path, "--verify"]);
    assert!(done["loaded"]["rows"].as_i64().unwrap() > 50);
    let sorted = |mut rows: Vec<String>| {
        rows.retain(|row| !row.contains("the_tester"));
        rows.sort();
        rows
    };
    assert_eq!(sorted(contents("life_back", "public")), sorted(before));
    stage.refused(&["import", "a", path], &["has rows in", "already"]);
    // Another tenant's keys are free, but ids are not: it says so, and changes nothing.
    stage.ok(&[
        "create",
        "twin",
        "--key",
        "66",
        "--keys",
        "uuid=66666666-0000-4000-8000-00000000000d",
        "--keys",
        "account=twin",
    ]);
    stage.refused(&["import", "twin", path], &["somebody's row has this key already", "--layout schema"]);
    assert_eq!(stage.value("SELECT count(*) FROM customers WHERE tenant_id = 66"), "0");
}

#[test]
fn from_a_schema_of_its_own_into_shared_tables() {
    let stage = Stage::new("life_join");
    lab().run("life_join", "CREATE TABLE public.notes (id int GENERATED ALWAYS AS IDENTITY, tenant_id int NOT NULL, body text, PRIMARY KEY (tenant_id, id)); ALTER TABLE notes OWNER TO app_owner");
    stage.ok(&["create", "joins", "--layout", "schema"]);
    lab().run("life_join", "CREATE TABLE joins.notes (id int PRIMARY KEY, body text); INSERT INTO joins.notes SELECT n, 'note ' || n FROM generate_series(1, 20) n; CREATE TABLE joins.more (id int); ALTER TABLE joins.notes OWNER TO joins; ALTER TABLE joins.more OWNER TO joins");
    let directory = stage.directory.path().join("export");
    let path = directory.to_str().unwrap();
    stage.ok(&["export", "joins", path]);
    stage.ok(&[
        "create",
        "joined",
        "--key",
        "67",
        "--keys",
        "uuid=67676767-0000-4000-8000-00000000000d",
        "--keys",
        "account=joined",
    ]);
    let done = stage.json(&["import", "joined", path, "--verify"]);
    assert_eq!(done["loaded"]["rows"], 20);
    assert_eq!(stage.value("SELECT count(*) || ' ' || min(tenant_id) || ' ' || max(id) FROM notes"), "20 67 20");
    let _proxy = stage.proxy();
    assert_eq!(stage.soon("joined").simple("INSERT INTO notes (body) VALUES ('next') RETURNING id").ok().value(), "21");
    // A table that is nowhere among the shared ones.
    lab().run("life_join", "INSERT INTO joins.more VALUES (1)");
    let second = stage.directory.path().join("second");
    stage.ok(&["export", "joins", second.to_str().unwrap()]);
    stage.ok(&[
        "create",
        "again",
        "--key",
        "68",
        "--keys",
        "uuid=68676767-0000-4000-8000-00000000000d",
        "--keys",
        "account=again",
    ]);
    stage.refused(&["import", "again", second.to_str().unwrap()], &["joins.more has 1 rows, and there is no table"]);
}
