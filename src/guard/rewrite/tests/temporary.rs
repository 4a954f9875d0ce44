//! Temporary tables: what is sent, once a session has some.

use super::fixture::{policy, text};
use crate::base::{Mode, Refusal};
use crate::guard::{Effect, PinReason, Plan, Protocol, plan_statements};

/// The plans of the text's statements, as a session gets them that has temporary tables.
fn planned(sql: &str) -> Result<Vec<Plan>, Refusal> {
    plan_statements(&policy().with_temporary(), &Mode::Shared, Protocol::Extended { param_types: &[] }, sql)
}

fn sent(sql: &str) -> String {
    match planned(sql) {
        Ok(plans) => plans.iter().map(text).collect::<Vec<_>>().join("; ").replace("OPERATOR(pg_catalog.=)", "=T="),
        Err(refusal) => panic!("{sql}: {:?}", refusal.error),
    }
}

fn code(sql: &str) -> String {
    planned(sql)
        .map_or_else(|refusal| refusal.error.code.as_str().to_owned(), |plans| format!("ok {}", text(&plans[0])))
}

#[test]
fn a_name_that_the_catalog_does_not_have_is_the_sessions_own() {
    for (sql, wanted) in [
        ("SELECT * FROM stage", "SELECT * FROM pg_temp.stage"),
        ("SELECT stage.sku FROM stage", "SELECT stage.sku FROM pg_temp.stage"),
        ("SELECT * FROM pg_temp.stage s", "SELECT * FROM pg_temp.stage s"),
        ("TABLE stage", "SELECT * FROM pg_temp.stage"),
        ("INSERT INTO stage VALUES (1, 'a')", "INSERT INTO pg_temp.stage VALUES (1, 'a')"),
        ("UPDATE stage SET a = a + '1' RETURNING *", "UPDATE pg_temp.stage SET a = a + '1' RETURNING *"),
        ("DELETE FROM stage WHERE sku = 'x'", "DELETE FROM pg_temp.stage WHERE sku = 'x'"),
        ("COPY stage (a, b) FROM STDIN", "COPY pg_temp.stage(a, b) FROM STDIN"),
        ("COPY stage TO STDOUT", "COPY pg_temp.stage TO STDOUT"),
        ("TRUNCATE stage", "TRUNCATE pg_temp.stage"),
        ("ANALYZE stage", "ANALYZE pg_temp.stage"),
        ("DROP TABLE stage, pg_temp.other", "DROP TABLE pg_temp.stage, pg_temp.other"),
        ("CREATE INDEX ON stage (a)", "CREATE INDEX ON pg_temp.stage USING btree (a)"),
        ("WITH stage AS (SELECT 1) SELECT * FROM stage", "WITH stage AS (SELECT 1) SELECT * FROM stage"),
        // What is not the session's own is named in full: its own would come first.
        ("SELECT * FROM countries", "SELECT * FROM public.countries"),
    ] {
        let given = sent(sql);
        assert_eq!(given, wanted, "{sql}");
    }
}

#[test]
fn guarded_tables_stand_behind_their_predicates_beside_it() {
    for (sql, wanted) in [
        (
            "SELECT o.id FROM orders o JOIN stage s ON s.id = o.id",
            "SELECT o.id FROM public.orders o JOIN pg_temp.stage s ON s.id = o.id WHERE o.tenant_id =T= $1",
        ),
        (
            "SELECT o.id FROM orders o JOIN stage s USING (id)",
            "SELECT o.id FROM public.orders o JOIN pg_temp.stage s USING (id) WHERE o.tenant_id =T= $1",
        ),
        (
            "DELETE FROM orders o WHERE NOT EXISTS (SELECT 1 FROM stage s WHERE s.id = o.id)",
            "DELETE FROM public.orders o WHERE o.tenant_id =T= $1 AND NOT EXISTS (SELECT 1 FROM pg_temp.stage s WHERE s.id = o.id)",
        ),
        (
            "SELECT 1 FROM stage s WHERE EXISTS (SELECT 1 FROM orders o WHERE o.status / '0' = s.word)",
            "SELECT 1 FROM pg_temp.stage s WHERE EXISTS (SELECT 1 FROM public.orders o WHERE o.tenant_id =T= $1 AND CASE WHEN o.tenant_id =T= $1 THEN o.status / '0' = s.word ELSE false END)",
        ),
        // A column without a qualifier may be either's.
        (
            "SELECT 1 FROM orders WHERE EXISTS (SELECT 1 FROM stage WHERE status / '0' = 'x')",
            "SELECT 1 FROM public.orders WHERE public.orders.tenant_id =T= $1 AND EXISTS (SELECT 1 FROM pg_temp.stage WHERE CASE WHEN public.orders.tenant_id =T= $1 THEN status / '0' = 'x' ELSE false END)",
        ),
        (
            "UPDATE orders o SET status = s.word FROM stage s WHERE s.id = o.id",
            "UPDATE public.orders o SET status = s.word FROM pg_temp.stage s WHERE o.tenant_id =T= $1 AND s.id = o.id",
        ),
        (
            "UPDATE stage s SET word = o.status FROM orders o WHERE s.id = o.id AND o.status / '0' = 'x'",
            "UPDATE pg_temp.stage s SET word = o.status FROM public.orders o WHERE o.tenant_id =T= $1 AND s.id = o.id AND CASE WHEN o.tenant_id =T= $1 THEN o.status / '0' = 'x' ELSE false END",
        ),
        (
            "INSERT INTO items (order_id, sku) SELECT id, sku FROM stage ON CONFLICT (tenant_id, order_id) DO UPDATE SET sku = excluded.sku",
            "INSERT INTO public.items (order_id, sku, tenant_id) SELECT id, sku, $1 FROM pg_temp.stage ON CONFLICT (tenant_id, order_id) DO UPDATE SET sku = excluded.sku WHERE public.items.tenant_id =T= $1",
        ),
        (
            "INSERT INTO items (order_id, sku) SELECT * FROM stage",
            "INSERT INTO public.items (order_id, sku, tenant_id) SELECT *, $1 FROM pg_temp.stage",
        ),
        (
            "INSERT INTO stage SELECT * FROM orders",
            "INSERT INTO pg_temp.stage SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "CREATE TEMP TABLE more AS SELECT * FROM orders WHERE status / '0' = 'x'",
            "CREATE TEMPORARY TABLE pg_temp.more AS SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1 AND CASE WHEN public.orders.tenant_id =T= $1 THEN status / '0' = 'x' ELSE false END",
        ),
    ] {
        assert_eq!(sent(sql), wanted, "{sql}");
    }
}

#[test]
fn definitions_are_made_in_the_temporary_schema() {
    for (sql, wanted) in [
        ("CREATE TEMP TABLE stage (a int, b text)", "CREATE TEMPORARY TABLE pg_temp.stage (a int, b text)"),
        ("CREATE TABLE pg_temp.stage (a int4)", "CREATE TEMPORARY TABLE pg_temp.stage (a int4)"),
        (
            "CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS stage (id serial PRIMARY KEY, a text NOT NULL DEFAULT lower('X') CHECK (a > 'b')) ON COMMIT DROP",
            "CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.stage (id serial PRIMARY KEY, a text NOT NULL DEFAULT lower('X') CHECK (a > 'b')) ON COMMIT DROP",
        ),
        (
            "CREATE TEMP TABLE stage (LIKE orders INCLUDING DEFAULTS) ON COMMIT DELETE ROWS",
            "CREATE TEMPORARY TABLE pg_temp.stage (LIKE public.orders INCLUDING DEFAULTS) ON COMMIT DELETE ROWS",
        ),
        (
            "SELECT id INTO TEMP stage FROM orders",
            "CREATE TEMPORARY TABLE pg_temp.stage AS SELECT id FROM public.orders WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "CREATE TEMP TABLE stage (a) AS SELECT 1 WITH NO DATA",
            "CREATE TEMPORARY TABLE pg_temp.stage(a) AS SELECT 1  WITH NO DATA",
        ),
    ] {
        assert_eq!(sent(sql), wanted, "{sql}");
        let made = planned(sql).unwrap().remove(0);
        assert!(made.needs_tenant && made.effects.contains(&Effect::Pin(PinReason::TempObject)), "{sql}");
    }
}

#[test]
fn definitions_that_reach_further_are_refused() {
    for sql in [
        "CREATE TEMP TABLE orders (a int)",
        "CREATE TEMP TABLE _orders (a int)",
        "CREATE TEMP TABLE int4 (a int)",
        "CREATE TEMP TABLE pg_x (a int)",
        "CREATE TEMP TABLE other.stage (a int)",
        "CREATE TEMP TABLE stage (a orders)",
        "CREATE TEMP TABLE stage (a unheard_of)",
        "CREATE TEMP TABLE stage (a int DEFAULT query_to_xml('x'))",
        "CREATE TEMP TABLE stage (a int DEFAULT pg_advisory_xact_lock(1))",
        "CREATE TEMP TABLE stage (a text DEFAULT pg_notify('a', 'b'))",
        "CREATE TEMP TABLE stage (a int REFERENCES orders)",
        "CREATE TEMP TABLE stage (a int, FOREIGN KEY (a) REFERENCES orders)",
        "CREATE TEMP TABLE stage (a int, EXCLUDE USING gist (a WITH =))",
        "CREATE TEMP TABLE stage () INHERITS (orders)",
        "CREATE TEMP TABLE stage OF orders",
        "CREATE TEMP TABLE stage PARTITION OF invoices DEFAULT",
        "CREATE TEMP TABLE stage (a int) PARTITION BY LIST (a)",
        "CREATE TEMP TABLE stage (a int) WITH (fillfactor = 10)",
        "CREATE TEMP TABLE stage (a int) TABLESPACE x",
        "CREATE TEMP TABLE stage (a text COLLATE \"C\")",
        "CREATE TEMP TABLE stage (LIKE loose)",
        "CREATE TEMP TABLE stage (LIKE pg_catalog.pg_class)",
        "CREATE TEMP TABLE stage (a int CONSTRAINT orders PRIMARY KEY)",
        "CREATE TEMP TABLE tag (id int PRIMARY KEY)",
        "CREATE TEMP TABLE stage AS SELECT * FROM loose",
        "CREATE TEMP TABLE stage AS SELECT query_to_xml('x')",
        "CREATE TEMP VIEW stage AS SELECT 1",
        "CREATE TEMP SEQUENCE stage",
        "CREATE TYPE pg_temp.stage AS ENUM ('a')",
        "CREATE INDEX orders ON stage (a)",
        "CREATE INDEX CONCURRENTLY i ON stage (a)",
        "CREATE INDEX i ON stage (query_to_xml('x'))",
        "CREATE INDEX i ON stage (a) WHERE query_to_xml('x') IS NULL",
        "CREATE INDEX i ON stage (a some_ops)",
        "CREATE INDEX i ON orders (id)",
        "DROP TABLE stage, orders",
        "DROP TABLE IF EXISTS orders",
        "DROP TABLE public.stage",
        "DROP VIEW stage",
        "DROP INDEX stage",
        "TRUNCATE stage, orders",
        "ANALYZE",
        "ANALYZE orders",
        "VACUUM stage",
        "ALTER TABLE stage RENAME TO orders",
        "COPY stage FROM STDIN WHERE query_to_xml('x') IS NULL",
        "SELECT * FROM pg_temp_3.stage",
        "SELECT * FROM pg_temp.orders",
        "SELECT * FROM public.stage",
        "SELECT pg_temp.f()",
    ] {
        assert!(!code(sql).starts_with("ok"), "{sql}: {}", code(sql));
    }
}

#[test]
fn it_is_known_behind_what_makes_it_and_nowhere_else() {
    let plan = |sql: &str| plan_statements(&policy(), &Mode::Shared, Protocol::Simple, sql);
    for sql in ["SELECT * FROM stage", "SELECT * FROM pg_temp.stage", "INSERT INTO stage VALUES (1)", "TRUNCATE stage"]
    {
        assert!(plan(sql).is_err(), "{sql}");
        assert!(plan(&format!("{sql}; CREATE TEMP TABLE stage (a int)")).is_err(), "{sql}");
        let plans = plan(&format!("CREATE TEMP TABLE stage (a int); {sql}")).unwrap();
        assert!(plans[1].is_of_session() && text(&plans[1]).contains("pg_temp.stage"), "{sql}");
    }
    // Whether there is one, the server says.
    assert_eq!(text(&plan("DROP TABLE IF EXISTS stage").unwrap()[0]), "DROP TABLE IF EXISTS pg_temp.stage");
    assert_eq!(text(&plan("DROP TABLE stage").unwrap()[0]), "DROP TABLE pg_temp.stage");
}

#[test]
fn whole_rows_out_of_it_have_as_many_columns_as_the_table() {
    for sql in [
        "INSERT INTO items SELECT * FROM stage",
        "INSERT INTO items (tenant_id, order_id, sku, doubled) TABLE stage",
        "WITH w AS (SELECT 1) INSERT INTO items SELECT s.* FROM stage s ORDER BY 1 LIMIT 5",
    ] {
        let sent = sent(sql);
        let counted = "UNION ALL SELECT NULL, NULL, NULL, NULL WHERE false) pgwarden_rows(c1, c2, c3, c4)";
        assert!(sent.contains(counted) && sent.contains("pgwarden_rows.c1 =T= $1"), "{sent}");
    }
    assert!(
        plan_statements(&policy(), &Mode::Shared, Protocol::Simple, "INSERT INTO items SELECT * FROM concat('a') f")
            .is_err()
    );
}

#[test]
fn what_has_its_row_type_is_the_sessions_own_too() {
    for (sql, own) in [
        ("SELECT jsonb_populate_record(NULL::stage, $1)", true),
        ("SELECT NULL::pg_temp.stage", true),
        ("SELECT NULL::int4", false),
    ] {
        assert_eq!(planned(sql).unwrap()[0].is_of_session(), own, "{sql}");
    }
}
