//! Moves that come to their end.

use super::*;

/// Rows go along each time, and new ones get new numbers.
#[test]
fn from_every_layout_to_every_other_and_nothing_is_lost() {
    let stage = stage("move_road");
    let neighbour = rows_of("move_road", "public", "2");
    let mut expected = rows_of("move_road", "public", "1");
    assert_eq!(expected.len(), 3 + 200 + 200 + 1 + 9 + 300);
    let mut before = ("move_road".to_owned(), "public".to_owned());
    for (n, (to, place, schema)) in HOPS.into_iter().enumerate() {
        let (to, database, schema) =
            (at("move_road", to), format!("move_road{place}"), at("move_road", &[schema]).concat());
        let schema = schema.as_str();
        let (to, database): (Vec<&str>, &str) = (to.iter().map(String::as_str).collect(), &database);
        let arguments =
            [&["move", "roam", "--to"], &to[..], &["--no-proxies", "--verify", "--trust", "--max-pause", "30s"]]
                .concat();
        let plan = stage.json(&[&arguments[..], &["--dry-run"]].concat());
        assert_eq!((&plan["dry_run"], plan["mode"].as_str()), (&Json::Bool(true), Some("copy")), "{plan}");
        let was = line(&stage);
        let done = stage.json(&arguments);
        println!("{to:?}: {} ms of pause, {} rows", done["pause_ms"], done["rows"]);
        assert_ne!(line(&stage), was);
        // Numbers of enums differ from database to database, and from schema to schema.
        assert_eq!(done["sessions_go_on"], false, "{done}");
        assert_eq!(rows_of(database, schema, "1"), expected, "{to:?}");
        assert_eq!(rows_of(&before.0, &before.1, "1"), expected, "{to:?}: they stay where they were");
        stage.refused(&arguments, &["is in its old place still", "--finish"]);
        stage.ok(&["move", "roam", "--finish"]);
        if before.1 == "public" && !before.0.contains("_8") {
            assert!(rows_of(&before.0, "public", "1").is_empty());
        }
        assert_eq!(rows_of("move_road", "public", "2"), neighbour, "{to:?}");
        // New rows, with numbers of their own, and in places of one's own without the tenant's column.
        let tenant = if schema == "public" && !database.ends_with("_8") { ("tenant_id, ", "1, ") } else { ("", "") };
        lab().run(
            database,
            &format!(
                "SET search_path = {schema}; INSERT INTO orders ({}customer, country, note) SELECT {}min(id), 'FR', 'hop {n}' FROM customers WHERE tenant_id = 1;
                 INSERT INTO customers ({}name, feels) VALUES ({}'hop {n}', 'sad')",
                tenant.0, tenant.1, tenant.0, tenant.1
            ),
        );
        expected = rows_of(database, schema, "1");
        assert_eq!(expected.len(), 713 + 2 * (n + 1));
        before = (database.to_owned(), schema.to_owned());
    }
    assert_eq!(line(&stage), "shared main");
    for left in ["move_road_1", "move_road_2", "move_road_5"] {
        assert!(!exists("pg_roles", "rolname", left), "{left}");
    }
    for left in ["move_road_3", "move_road_4", "move_road_8"] {
        assert!(!exists("pg_database", "datname", left), "{left}");
    }
    let states = rows("move_road", "SELECT DISTINCT state FROM pgwarden_moves");
    assert_eq!(states, ["done"]);
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gates"), "0");
}

#[test]
fn it_is_served_where_it_is_and_what_it_had_is_nobodys() {
    let stage = stage("move_served");
    let _proxy = stage.proxy();
    assert_eq!(stage.soon("roam").simple("SELECT count(*) FROM orders").ok().value(), "200");
    let expected = rows_of("move_served", "public", "1");
    stage.ok(&["move", "roam", "--to", "database=move_served_own", "--no-proxies"]);
    let end = Instant::now() + Duration::from_secs(20);
    let mut roam = loop {
        let mut roam = stage.soon("roam");
        if roam.simple("SELECT current_database()").text().contains("move_served_own") {
            break roam;
        }
        assert!(Instant::now() < end, "the proxy does not hear of it");
        std::thread::sleep(Duration::from_millis(50));
    };
    // As before: statements need not say whose rows they are.
    roam.simple("INSERT INTO orders (customer, note) SELECT min(id), 'new' FROM customers").ok();
    assert_eq!(roam.simple("SELECT tenant_id || ' ' || id FROM orders WHERE note = 'new'").ok().value(), "1 401");
    roam.simple("INSERT INTO orders (customer) VALUES (99)").refused("23503");
    roam.simple("SELECT * FROM pgwarden_tenants").refused("42P01");
    // Its old rows are nobody's: not its own, not another's, and it is not deleted while they are there.
    let view = stage.json(&["show", "roam"]);
    assert_eq!((view["layout"].as_str(), view["database"].as_str()), (Some("database"), Some("move_served_own")));
    assert_eq!(rows_of("move_served", "public", "1"), expected);
    stage.refused(&["create", "heir", "--key", "1"], &["what tenant \"roam\" left behind"]);
    stage.refused(&["create", "heir", "--key", "1", "--adopt"], &["what tenant \"roam\" left behind", "--finish"]);
    stage.ok(&["suspend", "roam"]);
    stage.refused(&["delete", "roam"], &["is in its old place still", "--finish"]);
    stage.ok(&["resume", "roam"]);
    let told = stage.json(&["move", "roam", "--finish", "--dry-run"]);
    assert_eq!(told["state"], "switched");
    assert_eq!(rows_of("move_served", "public", "1"), expected);
    // Back, with what it has now. Who lives there meanwhile would lose its rows: that is seen.
    lab().run("move_served", "INSERT INTO pgwarden_tenants (name, key) VALUES ('intruder', '01')");
    stage.refused(&["move", "roam", "--finish"], &["somebody lives where the old rows are"]);
    lab().run("move_served", "DELETE FROM pgwarden_tenants WHERE name = 'intruder'");
    // So is it where the tenant itself lives there, because somebody wrote its old line again.
    let was = "layout = 'database', database = 'move_served_own'";
    let read_line = "SELECT row_to_json(t)::jsonb - 'created_at' FROM pgwarden_tenants t WHERE name = 'roam'";
    let new_line = stage.value(read_line);
    lab().run(
        "move_served",
        "UPDATE pgwarden_tenants SET layout = 'shared', database = NULL, role = NULL WHERE name = 'roam'",
    );
    stage.refused(&["move", "roam", "--finish"], &["somebody lives where the old rows are"]);
    lab().run("move_served", &format!("UPDATE pgwarden_tenants SET {was} WHERE name = 'roam'"));
    assert_eq!(stage.value(read_line), new_line);
    assert_eq!(rows_of("move_served", "public", "1"), expected);
    let now = rows_of("move_served_own", "public", "1");
    stage.ok(&["move", "roam", "--back", "--no-proxies", "--verify"]);
    assert_eq!(rows_of("move_served", "public", "1"), now);
    assert_eq!(now.len(), expected.len() + 1);
    assert_eq!(line(&stage), "shared main");
    stage.ok(&["move", "roam", "--finish"]);
    assert!(!exists("pg_database", "datname", "move_served_own"));
    assert_eq!(stage.json(&["move", "roam", "--finish"])["found"], "nothing that was left behind");
    stage.refused(&["move", "roam", "--back"], &["no move that could be undone"]);
}

#[test]
fn a_table_of_ones_own_is_written_by_ones_own_statement() {
    let query = |columns: &str| {
        format!(
            "[tenants_from]\nquery = \"SELECT slug AS name, id::text AS key{columns} FROM ours\"\nchannel = \"ours\"\n[tenants_from.write]\n\
             create = \"INSERT INTO ours (slug, id) SELECT r.name, r.key::int FROM jsonb_to_record($1::jsonb) AS r(name text, key text)\"\n\
             move = \"UPDATE ours o SET layout = r.layout, base = r.database FROM jsonb_to_record($1::jsonb) AS r(name text, layout text, database text) WHERE slug = r.name\"\n\
             [[login]]\nname = \"all\"\npassword = \"all_pw\"\ntenants = \"*\"\n"
        )
    };
    let main = "move_ours";
    let (full, blind) = (query(", layout, base AS database"), query(""));
    let make = "CREATE TABLE public.ours (slug text PRIMARY KEY, id int, layout text NOT NULL DEFAULT 'shared', base text); GRANT ALL ON public.ours TO app_owner, warden_admin";
    let stage = stage_made(main, &full, make);
    stage.write(&stage.text.replace(&full, &blind));
    stage.refused(
        &["move", "roam", "--to", "database=move_ours_own", "--no-proxies"],
        &["does not give the tenant's new place"],
    );
    assert!(!exists("pg_database", "datname", "move_ours_own"));
    assert_eq!(stage.value("SELECT layout FROM ours WHERE slug = 'roam'"), "shared");
    stage.write(&stage.text);
    stage.ok(&["move", "roam", "--to", "database=move_ours_own", "--no-proxies"]);
    assert_eq!(stage.value("SELECT layout || base FROM ours WHERE slug = 'roam'"), "databasemove_ours_own");
    stage.write(&stage.text.replace("\nmove = ", "\n# "));
    stage.refused(&["move", "roam", "--to", "shared", "--no-proxies"], &["[tenants_from.write] has no \"move\""]);
}
