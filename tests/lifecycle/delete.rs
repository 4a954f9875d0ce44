//! `pgwarden tenant delete`

use std::time::Instant;

use super::*;

/// Rows of every tenant in every table, as text: what is compared before and after.
fn everything(database: &str) -> Vec<String> {
    rows(
        database,
        "SELECT format('%s %s', c.oid::regclass, x.md5) FROM pg_class c,
           LATERAL (SELECT (xpath('//x/text()', query_to_xml(format('SELECT md5(coalesce(string_agg(t::text, ''|'' ORDER BY t::text), '''')) AS x FROM ONLY %s t', c.oid::regclass), true, false, '')))[1]::text AS md5) x
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'pgwarden%' ORDER BY 1",
    )
}

/// Other tenants' rows: the tenant's own are deleted by hand, those that refer to others first.
fn without(database: &str, statements: &str) {
    lab().run(database, statements);
}

const ORDER_TAGS: &str = "\"public.order_tags\" = { through = \"order_id\" }";

#[test]
fn all_rows_of_a_tenant_and_no_others_are_deleted() {
    let stage = Stage::new("life_delete");
    // Rows that refer to each other: in one table, and in two.
    lab().run("life_delete", "CREATE TABLE tree (id int PRIMARY KEY, tenant_id int NOT NULL, parent int REFERENCES tree);
        INSERT INTO tree SELECT t * 100 + n, t, CASE WHEN n > 1 THEN t * 100 + n - 1 END FROM generate_series(1, 3) t, generate_series(1, 9) n;
        CREATE TABLE left_ones (id int PRIMARY KEY, tenant_id int NOT NULL, other int);
        CREATE TABLE right_ones (id int PRIMARY KEY, tenant_id int NOT NULL, other int REFERENCES left_ones);
        ALTER TABLE left_ones ADD FOREIGN KEY (other) REFERENCES right_ones DEFERRABLE INITIALLY DEFERRED;
        BEGIN; INSERT INTO left_ones VALUES (1, 1, 1), (2, 2, 2); INSERT INTO right_ones VALUES (1, 1, 1), (2, 2, 2); COMMIT;
        CREATE TABLE parted (id int, tenant_id int NOT NULL, at date) PARTITION BY RANGE (at);
        CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
        CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
        INSERT INTO parted SELECT n, 1 + n % 3, '2026-01-01'::date + n FROM generate_series(1, 300) n;
        ALTER TABLE tree OWNER TO app_owner; ALTER TABLE left_ones OWNER TO app_owner; ALTER TABLE right_ones OWNER TO app_owner; ALTER TABLE parted OWNER TO app_owner;
        ALTER TABLE parted_1 OWNER TO app_owner; ALTER TABLE parted_2 OWNER TO app_owner");
    // The fixture has a comment of another tenant below one of A's: that would be in the way.
    lab().run("life_delete", "UPDATE comments c SET parent_id = NULL FROM comments p WHERE p.id = c.parent_id AND p.tenant_id <> c.tenant_id");
    // Of the file: suspended there.
    stage.refused(&["delete", "a"], &["is not suspended", "tenant suspend a"]);
    let suspended = stage.text.replace("# Further", "").replacen("key = \"1\"\n", "key = \"1\"\nsuspended = true\n", 1);
    stage.write(&suspended);
    // A table that nobody listed, whose rows lead to the tenant's: it says so before it deletes anything.
    let before = everything("life_delete");
    stage.refused(&["delete", "a", "--dry-run"], &["order_tags", "[tenancy.tables]", "through"]);
    stage.refused(&["delete", "a"], &["order_tags"]);
    assert_eq!(everything("life_delete"), before);
    let listed = suspended.replacen("[tenancy.tables]\n", &format!("[tenancy.tables]\n{ORDER_TAGS}\n"), 1);
    stage.write(&listed);
    let plan = stage.json(&["delete", "a", "--dry-run"]);
    let planned = |table: &str| {
        plan["would_delete"].as_array().unwrap().iter().find(|it| it["table"] == table).unwrap()["counted"]
            .as_i64()
            .unwrap()
    };
    assert_eq!((planned("public.tree"), planned("public.parted"), planned("public.left_ones")), (9, 100, 1));
    assert_eq!(everything("life_delete"), before);
    // What is not the tenant's: the same database without the tenant's rows, deleted by another way.
    let evidence = stage.json(&["delete", "a", "--reason", "they left", "--by", "ann", "--batch", "7"]);
    let deleted = evidence["deleted"].as_array().unwrap();
    assert!(deleted.iter().all(|it| it["counted"] == it["deleted"]), "{evidence}");
    for it in deleted {
        // Triggers of the fixture write a log, which is the tenant's too.
        let (counted, planned) = (it["counted"].as_i64().unwrap(), planned(it["table"].as_str().unwrap()));
        assert!(
            counted == planned || counted > planned && it["table"].as_str().unwrap().contains("log"),
            "{it}: {planned}"
        );
    }
    assert!(deleted.iter().filter(|it| it["deleted"].as_i64().unwrap() > 0).count() > 12, "{evidence}");
    assert_eq!((evidence["reason"].as_str(), evidence["signed_off_by"].as_str()), (Some("they left"), Some("ann")));
    assert!(evidence["left_to_do"].as_str().unwrap().contains("take [[tenant]] \"a\" out"), "{evidence}");
    assert_eq!(evidence["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(
        stage.value("SELECT result->>'sha256' FROM pgwarden_operations WHERE tenant = 'a' AND state = 'done'"),
        evidence["sha256"].as_str().unwrap()
    );
    // None of A's is left, all of the others' is: the fixture's marks tell them apart.
    let again = stage.json(&["delete", "a"]);
    assert!(again["deleted"].as_array().unwrap().iter().all(|it| it["counted"] == 0), "{again}");
    for (table, others) in [
        ("customers", "tenant_id"),
        ("orders", "tenant_id"),
        ("tree", "tenant_id"),
        ("parted", "tenant_id"),
        ("invoices", "org_id"),
    ] {
        let left = rows("life_delete", &format!("SELECT {others}::text FROM {table} GROUP BY 1 ORDER BY 1"));
        assert!(left.len() >= 2 && !left.contains(&"1".to_owned()), "{table}: {left:?}");
    }
    let shop = |sql: &str| (rows("shop", sql), rows("life_delete", sql));
    for sql in [
        "SELECT t::text FROM customers t WHERE tenant_id <> 1 ORDER BY 1",
        "SELECT t::text FROM orders t WHERE tenant_id <> 1 ORDER BY 1",
        "SELECT t::text FROM order_labels t JOIN orders o ON o.id = order_id WHERE tenant_id <> 1 ORDER BY 1",
        "SELECT t::text FROM order_tags t JOIN orders o ON o.id = order_id WHERE tenant_id <> 1 ORDER BY 1",
        "SELECT t::text FROM templates t WHERE tenant_id IS DISTINCT FROM 1 ORDER BY 1",
        "SELECT t::text FROM events t WHERE account <> 'acme' ORDER BY 1",
        "SELECT t::text FROM countries t ORDER BY 1",
    ] {
        let (was, is) = shop(sql);
        assert_eq!(was, is, "{sql}");
        assert!(!was.is_empty(), "{sql}");
    }
}

#[test]
fn rows_of_others_that_refer_to_the_tenants_are_not_deleted_with_them() {
    let stage = Stage::new("life_strangers");
    without("life_strangers", "CREATE TABLE shares (id int PRIMARY KEY, tenant_id int NOT NULL, customer_id bigint REFERENCES customers ON DELETE CASCADE);
        ALTER TABLE shares OWNER TO app_owner; INSERT INTO shares SELECT 1, 2, min(id) FROM customers WHERE tenant_id = 1; DELETE FROM order_tags");
    stage.write(&stage.text.replacen("key = \"1\"\n", "key = \"1\"\nsuspended = true\n", 1));
    stage.refused(&["delete", "a"], &["1 rows of public.shares", "customers"]);
    assert_eq!(stage.value("SELECT count(*) FROM shares"), "1");
    assert_ne!(stage.value("SELECT count(*) FROM customers WHERE tenant_id = 1"), "0");
}

#[test]
fn it_is_as_slow_as_it_is_told_and_goes_on_where_it_was_killed() {
    let stage = Stage::new("life_rate");
    stage.ok(&[
        "create",
        "slow",
        "--key",
        "55",
        "--keys",
        "uuid=55555555-0000-4000-8000-00000000000d",
        "--keys",
        "account=slow",
    ]);
    lab().run("life_rate", "CREATE TABLE many (id int PRIMARY KEY, tenant_id int NOT NULL); ALTER TABLE many OWNER TO app_owner; INSERT INTO many SELECT n, 55 + n % 2 FROM generate_series(1, 2000) n");
    stage.ok(&["suspend", "slow"]);
    // Whatever the configuration says: the record of an operation is not the tenant's.
    let line = "\"public.pgwarden_operations\" = { column = \"tenant\", key = \"account\" }";
    stage.write(&stage.text.replacen("[tenancy.tables]\n", &format!("[tenancy.tables]\n{line}\n"), 1));
    let started = Instant::now();
    let mut running = stage.command(&["delete", "slow", "--rate", "200", "--batch", "50"]).spawn().unwrap();
    let left = || stage.value("SELECT count(*) FROM many WHERE tenant_id = 55").parse::<u32>().unwrap();
    while left() > 900 {
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(left() > 300, "{}", left());
    stage.refused(&["delete", "slow"], &["under way: delete since", "the_tester"]);
    running.kill().unwrap();
    running.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let evidence = loop {
        let output = stage.tenant(&["delete", "slow", "--json"]);
        if output.status.success() {
            break serde_json::from_slice::<Json>(&output.stdout).unwrap();
        }
        assert!(Instant::now() < end, "{}", text(&output));
    };
    assert_eq!(evidence["left_to_do"], Json::Null);
    assert_eq!(stage.value("SELECT count(*) || ' ' || min(tenant_id) FROM many"), "1000 56");
    assert_eq!(
        rows(
            "life_rate",
            "SELECT state FROM pgwarden_operations WHERE tenant = 'slow' AND verb = 'delete' ORDER BY id"
        ),
        ["abandoned", "done"]
    );
    // Its line is gone; the evidence is not.
    let again = stage.json(&["delete", "slow"]);
    assert_eq!((again["found"].as_str(), &again["evidence"]["sha256"]), (Some("nothing"), &evidence["sha256"]));
    stage.refused(&["delete", "nonesuch"], &["no tenant \"nonesuch\""]);
}

#[test]
fn schemas_and_databases_are_dropped_with_their_roles_and_sessions() {
    let stage = Stage::new("life_drop");
    let proxy = stage.proxy();
    stage.ok(&["create", "dropped", "--layout", "schema", "--schema", "t_dropped"]);
    stage.ok(&["create", "droppeddb", "--layout", "database", "--database", "life_droppeddb"]);
    stage.soon("dropped").simple("CREATE TABLE mine (id int); INSERT INTO mine VALUES (1), (2)").ok();
    let mut session = stage.soon("droppeddb");
    session.simple("CREATE TABLE mine AS SELECT generate_series(1, 5) AS n").ok();
    stage.refused(&["delete", "dropped"], &["is not suspended"]);
    stage.ok(&["suspend", "dropped"]);
    stage.ok(&["suspend", "droppeddb"]);
    assert_eq!(stage.json(&["delete", "dropped", "--dry-run"])["would_delete"][0]["counted"], 2);
    // What others built on it is not dropped unseen.
    lab().run("life_drop", "CREATE VIEW public.report AS SELECT count(*) FROM t_dropped.mine");
    stage.refused(&["delete", "dropped"], &["view public.report"]);
    lab().run("life_drop", "DROP VIEW public.report");
    let evidence = stage.json(&["delete", "dropped"]);
    assert_eq!(
        (evidence["deleted"][0]["table"].as_str(), evidence["deleted"][0]["deleted"].as_i64()),
        (Some("t_dropped.mine"), Some(2))
    );
    assert!(!exists("pg_roles", "rolname", "t_dropped"));
    assert_eq!(stage.value("SELECT count(*) FROM pg_namespace WHERE nspname = 't_dropped'"), "0");
    let evidence = stage.json(&["delete", "droppeddb"]);
    assert_eq!(
        (evidence["deleted"][0]["table"].as_str(), evidence["deleted"][0]["deleted"].as_i64()),
        (Some("public.mine"), Some(5))
    );
    assert!(!exists("pg_database", "datname", "life_droppeddb"));
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_tenants"), "0");
    // The name is free again.
    stage.ok(&["create", "dropped", "--layout", "schema", "--schema", "t_dropped"]);
    drop(proxy);
}
