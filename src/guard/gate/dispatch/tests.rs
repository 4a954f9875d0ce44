use super::*;
use crate::guard::gate::fixture::{policy, schema_mode};
use crate::guard::{CopyFormat, CopyTenant, Deallocate, Plan, Protocol, plan_statements};
use crate::sql::parse;

/// Stands in for the rewriter: counts what it is given, and refuses what names `forbidden`.
#[derive(Default)]
struct Fake {
    queries: Vec<String>,
    expressions: usize,
}

impl Parts for Fake {
    fn query(&mut self, query: &mut Node) -> Result<(), Refusal> {
        let text = parse::deparse(query).unwrap();
        let forbidden = text.contains("forbidden");
        self.queries.push(text);
        if forbidden { Err(unsupported("forbidden")) } else { Ok(()) }
    }

    fn expression(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        self.expressions += 1;
        let text = serde_json::to_string(expression).unwrap();
        if text.contains("forbidden") { Err(unsupported("forbidden")) } else { Ok(()) }
    }

    fn defined(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        self.expression(expression)
    }

    fn temporary(&mut self) {}

    fn slot(&mut self, table: &TenantTable) -> Result<usize, Refusal> {
        assert_eq!(table.column, "tenant_id");
        Ok(3)
    }

    fn channel(&mut self, kind: ChannelName, name: &str) -> Result<String, Refusal> {
        Ok(format!("{kind:?} of {name}"))
    }
}

struct Verdict {
    gated: Gated,
    text: String,
    fake: Fake,
}

fn run(mode: &Mode, sql: &str) -> Result<Verdict, Refusal> {
    let mut statements = parse::reparse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut tree = *statements.pop().unwrap().stmt.unwrap();
    let mut fake = Fake::default();
    let gated = gate(&policy(), mode, &mut tree, &mut fake)?;
    let text = parse::deparse(&tree).unwrap();
    Ok(Verdict { gated, text, fake })
}

fn code(mode: &Mode, sql: &str) -> String {
    crate::guard::gate::fixture::outcome(run(mode, sql))
}

fn ok(mode: &Mode, sql: &str) -> Verdict {
    run(mode, sql).unwrap_or_else(|r| panic!("{sql}: {}", r.error))
}

/// Statements about the schema and the server: refused where tables are shared.
const DEFINITIONS: &[&str] = &[
    "CREATE TABLE t (a int)",
    "CREATE TABLE t AS SELECT 1",
    "SELECT 1 INTO t",
    "CREATE TEMP TABLE t (a int)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MATERIALIZED VIEW v AS SELECT 1",
    "ALTER TABLE orders ADD COLUMN x int",
    "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE orders RENAME TO x",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "LOCK TABLE orders",
    "COMMENT ON TABLE orders IS 'x'",
    "CREATE INDEX ON orders (id)",
    "CREATE SEQUENCE s",
    "ALTER SEQUENCE s RESTART",
    "CREATE TYPE e AS ENUM ('a')",
    "VACUUM orders",
    "ANALYZE",
    "REINDEX TABLE orders",
    "CLUSTER orders",
    "REFRESH MATERIALIZED VIEW v",
];

/// Definitions that lie in no schema, or that run code.
const DATABASE_DEFINITIONS: &[&str] = &[
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER x AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f()",
    "CREATE RULE r AS ON INSERT TO orders DO NOTHING",
    "CREATE POLICY p ON orders USING (true)",
    "GRANT ALL ON orders TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
    "CREATE SCHEMA s",
    "CREATE EXTENSION hstore",
    "CREATE CAST (text AS int) WITH INOUT",
    "CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int)",
    "ALTER TABLE customers SET SCHEMA x",
    "DO $$ BEGIN END $$",
];

/// Statements that reach beyond the database.
const BEYOND: &[&str] = &[
    "ALTER SYSTEM SET work_mem = '1GB'",
    "CREATE DATABASE d",
    "DROP DATABASE d",
    "ALTER DATABASE d RENAME TO e",
    "ALTER DATABASE d SET work_mem = '1GB'",
    "ALTER DATABASE d OWNER TO x",
    "CREATE ROLE r",
    "ALTER ROLE r SET work_mem = '1GB'",
    "GRANT a TO b",
    "DROP OWNED BY r",
    "REASSIGN OWNED BY r TO s",
    "CREATE SERVER s FOREIGN DATA WRAPPER w",
    "ALTER SERVER s OPTIONS (SET dbname 'x')",
    "DROP SERVER s",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER s",
    "CREATE FOREIGN TABLE t (a int) SERVER s",
    "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE TABLESPACE t LOCATION '/x'",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'",
    "COMMENT ON DATABASE d IS 'x'",
    "LOAD 'x'",
    "CHECKPOINT",
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'",
    "COPY orders TO '/tmp/x'",
    "COPY orders FROM PROGRAM 'id'",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
];

#[test]
fn the_condition_of_copy_is_looked_at() {
    for mode in [schema_mode(), Mode::Database] {
        assert_eq!(code(&mode, "COPY customers FROM STDIN WHERE id > 1"), "ok");
        assert_eq!(code(&mode, "COPY customers FROM STDIN WHERE forbidden(id)"), "0A000");
    }
}

#[test]
fn the_shared_layout_defines_nothing() {
    let temporary_table = |sql: &&&str| sql.contains("TEMP TABLE");
    for sql in DEFINITIONS.iter().chain(DATABASE_DEFINITIONS).chain(BEYOND).filter(|sql| !temporary_table(sql)) {
        assert_eq!(code(&Mode::Shared, sql), "42501", "{sql}");
    }
    let refusal = run(&Mode::Shared, "DROP TABLE orders").err().unwrap();
    assert_eq!(refusal.kind, RefusalKind::Statement);
    assert!(refusal.error.hint.unwrap().contains("operator login"));
    let refusal = run(&Mode::Shared, "CREATE TEMP VIEW t AS SELECT 1").err().unwrap();
    assert!(refusal.error.message.contains("temporary objects"));
}

#[test]
fn a_database_of_ones_own_may_be_changed_but_not_left() {
    for sql in DEFINITIONS.iter().chain(DATABASE_DEFINITIONS) {
        let verdict = ok(&Mode::Database, sql);
        assert_eq!(verdict.gated.text, Sent::AsWritten, "{sql}");
    }
    for sql in BEYOND {
        assert_eq!(code(&Mode::Database, sql), "42501", "{sql}");
        assert_eq!(ok(&Mode::Operator, sql).gated.text, Sent::AsWritten, "{sql}");
    }
}

#[test]
fn the_schema_layout_defines_what_is_in_its_schema() {
    let mode = schema_mode();
    for sql in [
        "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT lower('X'), c int REFERENCES customers (id))",
        "CREATE TABLE t_a.t (a int DEFAULT nextval('t_a.s'), b numeric(10, 2), CHECK (a > 0))",
        "CREATE TABLE t (a oid DEFAULT 't_a.customers'::regclass, b oid DEFAULT regclass('customers'), c regtype DEFAULT 'int'::regtype)",
        "CREATE TABLE t (a oid DEFAULT to_regclass('t_a.customers'), CHECK (a::regclass <> 16501::oid::regclass))",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1 INTO t_a.t",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TEMP TABLE t (a int)",
        "ALTER TABLE customers ADD COLUMN x int DEFAULT 1, ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES t_a.t (a)",
        "ALTER TABLE t_a.customers RENAME COLUMN email TO mail",
        "ALTER TABLE customers RENAME TO x",
        "ALTER TYPE t_a.mood RENAME TO x",
        "DROP TABLE customers, t_a.orders CASCADE",
        "DROP TYPE t_a.mood",
        "DROP VIEW IF EXISTS v",
        "TRUNCATE customers",
        "LOCK TABLE customers",
        "COMMENT ON TABLE customers IS 'x'",
        "COMMENT ON COLUMN t_a.customers.email IS 'x'",
        "CREATE INDEX ON customers (lower(email))",
        "CREATE SEQUENCE s OWNED BY customers.id",
        "ALTER SEQUENCE t_a.s OWNED BY t_a.customers.id",
        "CREATE TYPE t_a.e AS ENUM ('a')",
        "ALTER TYPE e ADD VALUE 'b'",
        "CREATE TYPE c AS (a int)",
        "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
        "VACUUM customers",
        "REINDEX TABLE customers",
    ] {
        assert_eq!(ok(&mode, sql).gated.text, Sent::Printed, "{sql}");
    }
    for sql in [
        "CREATE TABLE t_b.t (a int)",
        "CREATE TABLE public.t (a int)",
        "CREATE TABLE t (a int REFERENCES t_b.customers (id))",
        "CREATE TABLE t () INHERITS (t_b.customers)",
        "CREATE TABLE t (LIKE t_b.customers)",
        "CREATE TABLE t (a t_b.mood)",
        "CREATE TABLE t (a int DEFAULT nextval('t_b.s'))",
        "CREATE TABLE t (a bool DEFAULT (pg_advisory_lock(1) IS NULL))",
        "CREATE TABLE t (a int, CHECK (pg_advisory_lock(a) IS NULL))",
        "CREATE TABLE t (a int, CHECK ((a::bigint).pg_advisory_lock IS NULL))",
        "CREATE TABLE t (a text DEFAULT ('t_b.v'::text).pg_get_viewdef)",
        "CREATE TABLE t (a text, CHECK (a OPERATOR(public.@@@) 'x'))",
        "CREATE TABLE t (a text, CHECK (a @@@ 'x'))",
        "CREATE VIEW v AS SELECT pg_advisory_lock(1)",
        "CREATE MATERIALIZED VIEW v AS SELECT pg_advisory_lock(1)",
        "CREATE DOMAIN d AS int CHECK (pg_advisory_lock(VALUE) IS NULL)",
        "CREATE TABLE t (a int DEFAULT nextval('16504'))",
        "CREATE TABLE t (a int DEFAULT nextval('16504'::text::regclass))",
        "CREATE TABLE t (a int DEFAULT nextval('0x4078'::int::oid))",
        "CREATE TABLE t (a int DEFAULT nextval(coalesce('s', 't_b.s')))",
        "CREATE TABLE t (a int DEFAULT nextval(replace('t_a.s', 'a', 'b')::regclass))",
        "CREATE TABLE t (a int DEFAULT nextval((ARRAY['t_a.s', 't_b.s'])[2]))",
        "CREATE TABLE t (a text DEFAULT query_to_xml('SELECT 1', true, true, '')::text)",
        "CREATE TABLE t (a oid DEFAULT 't_b.customers'::regclass)",
        "CREATE TABLE t (a oid DEFAULT regclass 't_b.customers')",
        "CREATE TABLE t (a oid DEFAULT CAST('t_b.mood' AS pg_catalog.regtype))",
        "CREATE TABLE t (a oid DEFAULT 't_b.my_customers'::regproc::oid)",
        "CREATE TABLE t (a oid DEFAULT 't_b.my_customers()'::regprocedure)",
        "CREATE TABLE t (a oid DEFAULT 't_b.+'::regoper)",
        "CREATE TABLE t (a oid DEFAULT 't_b.+(int,int)'::regoperator)",
        "CREATE TABLE t (a oid DEFAULT 't_b.x'::regconfig, b oid DEFAULT 't_b.x'::regdictionary)",
        "CREATE TABLE t (a oid DEFAULT 't_b.x'::regcollation)",
        "CREATE TABLE t (a regclass[] DEFAULT '{t_b.customers}'::regclass[])",
        "CREATE TABLE t (a oid DEFAULT ('t_b' || '.customers')::regclass)",
        "CREATE TABLE t (a oid DEFAULT coalesce('t_b.customers')::regclass)",
        "CREATE TABLE t (a oid DEFAULT regclass('t_b.customers'::text))",
        "CREATE TABLE t (a oid DEFAULT to_regclass('t_b.customers'))",
        "CREATE TABLE t (a oid DEFAULT to_regclass(lower('t_b.customers')))",
        "CREATE TABLE t (a text DEFAULT pg_get_viewdef('t_b.v'::regclass))",
        "CREATE TABLE t (a bool DEFAULT has_table_privilege('t_b.customers', 'select'))",
        "CREATE TABLE t (a oid, CHECK (a <> 't_b.customers'::regclass))",
        "CREATE TABLE t (a oid, b bool GENERATED ALWAYS AS (a = 't_b.customers'::regclass) STORED)",
        "CREATE TABLE t (a oid) PARTITION BY RANGE ((a = 't_b.customers'::regclass))",
        "CREATE TABLE t (a oid, EXCLUDE USING gist (a WITH =) WHERE (a = 't_b.customers'::regclass))",
        "CREATE INDEX ON customers ((id = 't_b.customers'::regclass::oid))",
        "CREATE INDEX ON customers (id) WHERE id = to_regclass('t_b.customers')",
        "ALTER TABLE customers ALTER COLUMN id SET DEFAULT 't_b.customers'::regclass",
        "ALTER TABLE customers ALTER COLUMN id TYPE oid USING 't_b.customers'::regclass",
        "ALTER TABLE customers ADD COLUMN x oid DEFAULT 't_b.customers'::regclass",
        "ALTER TABLE customers ADD CHECK (id <> 't_b.customers'::regclass)",
        "CREATE DOMAIN d AS oid DEFAULT 't_b.customers'::regclass",
        "CREATE DOMAIN d AS oid CHECK (VALUE <> 't_b.customers'::regclass)",
        "ALTER DOMAIN t_a.d SET DEFAULT 't_b.customers'::regclass",
        "ALTER DOMAIN t_a.d ADD CHECK (VALUE <> 't_b.customers'::regclass)",
        "CREATE TABLE t (a int DEFAULT public.customer_count())",
        "CREATE TABLE t (a int CHECK (t_b.my_customers() IS NULL))",
        "CREATE TABLE t_b.t AS SELECT 1",
        "SELECT 1 INTO t_b.t",
        "CREATE VIEW t_b.v AS SELECT 1",
        "ALTER TABLE t_b.customers ADD COLUMN x int",
        "ALTER TABLE customers OWNER TO x",
        "ALTER TABLE customers ATTACH PARTITION t_b.customers DEFAULT",
        "ALTER TABLE t_b.customers RENAME TO x",
        "ALTER SCHEMA t_a RENAME TO x",
        "ALTER ROLE x RENAME TO y",
        "DROP TABLE customers, t_b.customers",
        "DROP SCHEMA t_a",
        "DROP SCHEMA t_b CASCADE",
        "DROP FUNCTION lower(text)",
        "DROP EXTENSION hstore",
        "DROP TYPE t_b.mood",
        "TRUNCATE t_b.customers",
        "LOCK TABLE t_b.customers",
        "COMMENT ON TABLE t_b.customers IS 'x'",
        "COMMENT ON DATABASE d IS 'x'",
        "CREATE INDEX ON t_b.customers (id)",
        "CREATE INDEX ON customers (public.customer_count())",
        "CREATE SEQUENCE t_b.s",
        "CREATE SEQUENCE s OWNED BY t_b.customers.id",
        "CREATE TYPE t_b.e AS ENUM ('a')",
        "CREATE DOMAIN d AS t_b.mood",
        "ALTER DOMAIN t_b.d DROP NOT NULL",
        "VACUUM",
        "ANALYZE t_b.customers",
        "REINDEX SCHEMA t_a",
        "REINDEX DATABASE d",
        "CLUSTER",
        "REFRESH MATERIALIZED VIEW t_b.v",
    ] {
        assert_eq!(code(&mode, sql), "42501", "{sql}");
    }
    for sql in DATABASE_DEFINITIONS.iter().chain(BEYOND) {
        assert_eq!(code(&mode, sql), "42501", "{sql}");
    }
    ok(&mode, "CREATE TABLE t (a geometry(Point, 4326), b vector(3), c timestamptz(3), d interval(3))");
    for sql in [
        "CREATE TABLE t (a int, b mine(b <> ''))",
        "CREATE TABLE t (a mine(b.c))",
        "CREATE TABLE t (a pg_catalog.varchar(b))",
        "CREATE DOMAIN d AS numeric(2 + 1)",
        "ALTER TABLE customers ALTER COLUMN email TYPE pg_catalog.varchar('5')",
    ] {
        assert_eq!(code(&mode, sql), "42601", "{sql}");
    }
    assert_eq!(code(&mode, "CREATE VIEW v AS SELECT forbidden"), "0A000");
    assert_eq!(code(&mode, "CREATE TABLE t AS SELECT forbidden"), "0A000");
    assert_eq!(code(&mode, "SELECT forbidden INTO t"), "0A000");
    assert_eq!(ok(&mode, "SELECT 1 AS a INTO t").text, "SELECT 1 AS a INTO t");
}

#[test]
fn definitions_are_told_to_the_session() {
    for mode in [schema_mode(), Mode::Database, Mode::Operator] {
        let effects = |sql| ok(&mode, sql).gated.effects;
        assert_eq!(effects("CREATE TABLE t (a int)"), [Effect::CatalogChanged]);
        assert_eq!(
            effects("CREATE TEMP TABLE t (a int)"),
            [Effect::CatalogChanged, Effect::Pin(PinReason::TempObject)]
        );
        assert_eq!(effects("SELECT 1 INTO TEMP t"), [Effect::CatalogChanged, Effect::Pin(PinReason::TempObject)]);
        assert_eq!(effects("TRUNCATE customers"), []);
    }
    assert_eq!(
        ok(&Mode::Operator, "LOAD 'x'").gated.effects,
        [Effect::CatalogChanged, Effect::Pin(PinReason::SessionState)]
    );
}

#[test]
fn queries_go_to_the_rewriter() {
    for (sql, kind) in [
        ("SELECT 1", StatementKind::Select),
        ("TABLE orders", StatementKind::Select),
        ("INSERT INTO orders (id) VALUES (1)", StatementKind::Dml),
        ("UPDATE orders SET id = 1", StatementKind::Dml),
        ("DELETE FROM orders", StatementKind::Dml),
        ("MERGE INTO orders o USING orders p ON true WHEN MATCHED THEN DO NOTHING", StatementKind::Dml),
    ] {
        for mode in [Mode::Shared, schema_mode(), Mode::Database, Mode::Operator] {
            let verdict = ok(&mode, sql);
            assert_eq!((verdict.gated.kind, verdict.gated.text, verdict.fake.queries.len()), (kind, Sent::Query, 1));
        }
    }
    assert_eq!(code(&Mode::Shared, "SELECT forbidden"), "0A000");
}

#[test]
fn transactions_pass() {
    for sql in [
        "BEGIN",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "COMMIT AND CHAIN",
        "ROLLBACK",
        "SAVEPOINT \"a b\"",
        "ROLLBACK TO SAVEPOINT s",
        "RELEASE s",
    ] {
        let verdict = ok(&Mode::Shared, sql);
        assert_eq!(verdict.gated.kind, StatementKind::Transaction, "{sql}");
        assert_eq!(verdict.gated.effects, [], "{sql}");
    }
}

#[test]
fn names_of_prepared_statements_get_a_prefix_everywhere() {
    for mode in [Mode::Shared, schema_mode(), Mode::Database, Mode::Operator] {
        let verdict = ok(&mode, "PREPARE p (int) AS SELECT $1");
        assert_eq!(verdict.text, "PREPARE client_p(int) AS SELECT $1");
        assert_eq!(verdict.gated.effects, [Effect::Pin(PinReason::Prepare), Effect::Prepare("p".to_owned())]);
        assert_eq!((verdict.gated.text, verdict.fake.queries.len()), (Sent::Changed, 1));
        let verdict = ok(&mode, "EXECUTE p(1, 2)");
        assert_eq!((verdict.text.as_str(), verdict.fake.expressions), ("EXECUTE client_p(1, 2)", 2));
        let verdict = ok(&mode, "DEALLOCATE \"P\"");
        assert_eq!(verdict.text, "DEALLOCATE \"client_P\"");
        assert_eq!(verdict.gated.effects, [Effect::Deallocate(Deallocate::Name("P".into()))]);
        assert_eq!(ok(&mode, "DEALLOCATE ALL").gated.effects, [Effect::Deallocate(Deallocate::All)]);
    }
    assert_eq!(code(&Mode::Shared, "PREPARE p AS SELECT forbidden"), "0A000");
    assert_eq!(code(&Mode::Shared, "EXECUTE p('forbidden')"), "0A000");
    assert_eq!(code(&Mode::Shared, &format!("EXECUTE {}", "x".repeat(60))), "0A000");
}

#[test]
fn cursors_are_guarded_where_they_are_declared() {
    let verdict = ok(&Mode::Shared, "DECLARE c SCROLL CURSOR FOR SELECT 1");
    assert_eq!((verdict.gated.effects.len(), verdict.fake.queries.len()), (0, 1));
    let verdict = ok(&Mode::Shared, "DECLARE c CURSOR WITH HOLD FOR SELECT 1");
    assert_eq!(verdict.gated.effects, [Effect::Pin(PinReason::HoldCursor)]);
    assert_eq!(code(&Mode::Shared, "DECLARE c CURSOR FOR SELECT forbidden"), "0A000");
    assert_eq!(ok(&Mode::Shared, "FETCH BACKWARD 3 FROM c").text, "FETCH BACKWARD 3 c");
    assert_eq!(ok(&Mode::Shared, "MOVE ALL FROM c").gated.text, Sent::Printed);
    assert_eq!(ok(&Mode::Shared, "CLOSE ALL").text, "CLOSE ALL");
}

#[test]
fn channels_are_the_tenants_own() {
    use crate::guard::Listening;
    for mode in [Mode::Shared, schema_mode()] {
        for (sql, sent, effect) in [
            ("NOTIFY c, 'x'", "NOTIFY \"Channel of c\", 'x'", None),
            ("LISTEN c", "LISTEN \"Listen of c\"", Some(Listening::Start("c".to_owned()))),
            ("UNLISTEN \"C\"", "LISTEN \"Unlisten of C\"", Some(Listening::Stop("C".to_owned()))),
            ("UNLISTEN *", "LISTEN \"pgw*\"", Some(Listening::StopAll)),
        ] {
            let verdict = ok(&mode, sql);
            assert_eq!(verdict.text, sent);
            assert_eq!(verdict.gated.text, Sent::Changed);
            assert_eq!(verdict.gated.effects, effect.map(Effect::Listens).into_iter().collect::<Vec<_>>(), "{sql}");
        }
    }
    assert_eq!(ok(&Mode::Database, "LISTEN c").gated.effects, [Effect::Pin(PinReason::Listen)]);
    assert_eq!(ok(&Mode::Database, "NOTIFY c").gated.effects, []);
    assert_eq!(ok(&Mode::Shared, "DISCARD ALL").gated.effects, [Effect::DiscardAll]);
    assert_eq!(ok(&Mode::Shared, "DISCARD PLANS").gated.effects, []);
}

#[test]
fn explain_is_plain_for_tenants() {
    for mode in [Mode::Shared, schema_mode()] {
        assert_eq!(ok(&mode, "EXPLAIN SELECT 1").text, "EXPLAIN (COSTS OFF) SELECT 1");
        assert_eq!(
            ok(&mode, "EXPLAIN (FORMAT json, COSTS true, ANALYZE false, VERBOSE) SELECT 1").text,
            "EXPLAIN (FORMAT \"json\", VERBOSE, COSTS OFF) SELECT 1"
        );
        for sql in [
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN (ANALYZE, COSTS OFF) SELECT 1",
            "EXPLAIN (BUFFERS) SELECT 1",
            "EXPLAIN (ANALYZE off, ANALYZE on) SELECT 1",
            "EXPLAIN (SETTINGS) SELECT 1",
        ] {
            assert_eq!(code(&mode, sql), "42501", "{sql}");
        }
        assert_eq!(ok(&mode, "EXPLAIN EXECUTE p(1)").text, "EXPLAIN (COSTS OFF) EXECUTE client_p(1)");
        assert_eq!(code(&mode, "EXPLAIN SELECT forbidden"), "0A000");
        assert_eq!(code(&mode, "EXPLAIN DECLARE c CURSOR FOR SELECT forbidden"), "0A000");
        assert_eq!(code(&mode, "EXPLAIN CREATE TABLE t AS SELECT 1"), "0A000");
    }
    assert_eq!(ok(&Mode::Database, "EXPLAIN ANALYZE SELECT 1").gated.text, Sent::AsWritten);
    assert_eq!(ok(&Mode::Operator, "EXPLAIN (ANALYZE, BUFFERS) SELECT 1").gated.text, Sent::AsWritten);
}

#[test]
fn tables_are_copied_out_through_a_guarded_query() {
    let verdict = ok(&Mode::Shared, "COPY orders TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (status))");
    assert_eq!(
        verdict.text,
        "COPY (SELECT id, tenant_id, status FROM ONLY public.orders) TO STDOUT WITH (FORMAT CSV, HEADER, FORCE_QUOTE (status))"
    );
    assert_eq!(verdict.fake.queries.len(), 1);
    assert_eq!(verdict.gated.kind, StatementKind::CopyOut);
    let text = ok(&Mode::Shared, "COPY orders (status, id) TO STDOUT").text;
    assert_eq!(text, "COPY (SELECT status, id FROM ONLY public.orders) TO STDOUT");
    assert_eq!(ok(&Mode::Shared, "COPY countries TO STDOUT").fake.queries.len(), 1);
    assert_eq!(ok(&Mode::Shared, "COPY (SELECT 1) TO STDOUT").fake.queries, ["SELECT 1"]);
    for (sql, wanted) in [
        ("COPY (SELECT forbidden) TO STDOUT", "0A000"),
        ("COPY (DELETE FROM forbidden RETURNING 1) TO STDOUT", "0A000"),
        ("COPY invoices TO STDOUT", "42809"),
        ("COPY order_tags TO STDOUT", "42501"),
        ("COPY nothing TO STDOUT", "42P01"),
        ("COPY pg_stats TO STDOUT", "42501"),
    ] {
        assert_eq!(code(&Mode::Shared, sql), wanted, "{sql}");
    }
    assert_eq!(code(&schema_mode(), "COPY t_b.customers TO STDOUT"), "42501");
    assert_eq!(ok(&schema_mode(), "COPY customers TO STDOUT").text, "COPY customers TO STDOUT");
}

#[test]
fn rows_are_copied_in_through_the_stream_rewriter() {
    let verdict = ok(&Mode::Shared, "COPY orders (id, status) FROM STDIN");
    assert_eq!(verdict.text, "COPY public.orders(id, status, tenant_id) FROM STDIN");
    let copy_in = verdict.gated.copy_in.unwrap();
    assert_eq!((copy_in.client_columns, copy_in.tenant, copy_in.slot), (2, CopyTenant::Append, 3));
    assert_eq!(copy_in.format, CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false });

    let verdict =
        ok(&Mode::Shared, "COPY orders FROM STDIN WITH CSV HEADER DELIMITER ';' NULL 'x' QUOTE '''' ESCAPE '#'");
    assert!(verdict.text.starts_with("COPY public.orders(id, tenant_id, status) FROM STDIN"), "{}", verdict.text);
    let copy_in = verdict.gated.copy_in.unwrap();
    assert_eq!((copy_in.client_columns, copy_in.tenant), (3, CopyTenant::Check(1)));
    assert_eq!(
        copy_in.format,
        CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'#', null: "x".into(), header: true }
    );

    let copy_in = ok(&Mode::Shared, "COPY BINARY orders FROM STDIN").gated.copy_in.unwrap();
    assert_eq!(copy_in.format, CopyFormat::Binary);
    for (sql, wanted) in [
        ("COPY orders (id, nope) FROM STDIN", "42703"),
        ("COPY orders (id, id) FROM STDIN", "42701"),
        ("COPY orders FROM STDIN WHERE id > 1", "0A000"),
        ("COPY orders FROM STDIN (FREEZE)", "0A000"),
        ("COPY orders FROM STDIN (ENCODING 'LATIN1')", "0A000"),
        ("COPY orders (id) FROM STDIN (HEADER match)", "0A000"),
        ("COPY orders FROM STDIN (DELIMITER 'ab')", "0A000"),
        ("COPY orders FROM STDIN (FORMAT csv, FORCE_NULL (tenant_id))", "0A000"),
        ("COPY orders FROM STDIN (FORMAT csv, FORCE_NOT_NULL *)", "0A000"),
        ("COPY orders FROM STDIN (DEFAULT 'x')", "0A000"),
        ("COPY orders FROM STDIN (FORMAT xml)", "22023"),
        ("COPY countries FROM STDIN", "42501"),
        ("COPY pg_class FROM STDIN", "42501"),
        ("COPY order_tags FROM STDIN", "42501"),
        ("COPY orders FROM STDIN (FORMAT csv, HEADER match, ENCODING 'utf-8', FORCE_NULL (status))", "ok"),
    ] {
        assert_eq!(code(&Mode::Shared, sql), wanted, "{sql}");
    }
    let verdict = ok(&schema_mode(), "COPY customers FROM STDIN");
    assert_eq!((verdict.gated.kind, verdict.gated.copy_in), (StatementKind::CopyIn, None));
    assert_eq!(code(&schema_mode(), "COPY t_b.customers FROM STDIN"), "42501");
}

#[test]
fn an_operators_copy_is_a_stream_or_a_file() {
    let kind = |sql| ok(&Mode::Operator, sql).gated.kind;
    assert_eq!(kind("COPY orders TO STDOUT"), StatementKind::CopyOut);
    assert_eq!(kind("COPY orders FROM STDIN"), StatementKind::CopyIn);
    assert_eq!(kind("COPY orders TO '/tmp/x'"), StatementKind::Utility);
    assert_eq!(kind("COPY orders FROM PROGRAM 'x'"), StatementKind::Utility);
}

#[test]
fn procedures_and_code_run_where_they_may() {
    assert_eq!(ok(&Mode::Shared, "CALL p(1)").fake.expressions, 1);
    assert_eq!(code(&Mode::Shared, "CALL forbidden(1)"), "0A000");
    for mode in [Mode::Database, Mode::Operator] {
        for sql in ["DO $$ BEGIN END $$", "CALL p(1)"] {
            assert!(ok(&mode, sql).gated.effects.contains(&Effect::Pin(PinReason::SessionState)));
        }
    }
}

#[test]
fn constraints_of_other_schemas_are_left_alone() {
    assert_eq!(code(&Mode::Shared, "SET CONSTRAINTS ALL DEFERRED"), "ok");
    assert_eq!(code(&schema_mode(), "SET CONSTRAINTS t_a.c IMMEDIATE"), "ok");
    assert_eq!(code(&schema_mode(), "SET CONSTRAINTS t_b.c IMMEDIATE"), "42501");
}

/// Everything that is let through must also print as it was read, and pass the verifier.
#[test]
fn utility_statements_become_plans() {
    for sql in [
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
        "START TRANSACTION READ WRITE",
        "BEGIN WORK",
        "COMMIT AND CHAIN",
        "END",
        "ROLLBACK TO SAVEPOINT \"a b\"",
        "SAVEPOINT s",
        "RELEASE SAVEPOINT s",
        "SET TIME ZONE 'UTC'",
        "SET TIME ZONE LOCAL",
        "SET TIME ZONE -3",
        "SET LOCAL TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
        "SET extra_float_digits = 3",
        "SET SESSION application_name TO 'it''s \\ here'",
        "SET search_path TO \"$user\", public",
        "SET NAMES 'UTF8'",
        "SET standard_conforming_strings = on",
        "SET client_min_messages TO warning",
        "SET DateStyle TO ISO, MDY",
        "SET statement_timeout TO DEFAULT",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "RESET timezone",
        "RESET ALL",
        "SHOW TIME ZONE",
        "SHOW server_version",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "DISCARD ALL",
        "DISCARD TEMP",
        "UNLISTEN *",
        "CLOSE ALL",
        "CLOSE c",
        "DEALLOCATE ALL",
        "DEALLOCATE PREPARE p",
        "FETCH ALL FROM c",
        "FETCH BACKWARD 5 IN c",
        "FETCH FIRST FROM c",
        "MOVE LAST c",
        "MOVE ABSOLUTE -3 FROM c",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET CONSTRAINTS a, b IMMEDIATE",
        "EXPLAIN SELECT * FROM orders",
        "EXPLAIN (FORMAT JSON, VERBOSE) SELECT * FROM orders WHERE status = 1",
        "EXPLAIN VERBOSE UPDATE orders SET status = 1",
        "EXPLAIN DECLARE c CURSOR FOR SELECT 1",
        "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM orders",
        "DECLARE c BINARY CURSOR FOR SELECT 1",
        "PREPARE p (int, text) AS SELECT * FROM orders WHERE id = $1",
        "PREPARE p AS INSERT INTO orders (id) VALUES ($1)",
        "EXECUTE p (1, 'x')",
        "COPY orders TO STDOUT",
        "COPY orders (id, status) TO STDOUT WITH CSV HEADER QUOTE '''' FORCE QUOTE id",
        "COPY (SELECT count(*) FROM orders) TO STDOUT (FORMAT binary)",
        "COPY orders FROM STDIN",
        "COPY orders (id) FROM STDIN WITH (FORMAT csv, DELIMITER ';', NULL 'x', HEADER, QUOTE '''', ESCAPE '#')",
    ] {
        for protocol in [Protocol::Simple, Protocol::Extended { param_types: &[] }] {
            plan(&Mode::Shared, protocol, sql);
        }
    }
}

#[test]
fn definitions_in_a_schema_become_plans() {
    for sql in [
        "CREATE TABLE IF NOT EXISTS t (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a varchar(20) NOT NULL UNIQUE \
         DEFAULT 'x', b t_a.mood, c int REFERENCES customers (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, \
         CHECK (a <> ''), EXCLUDE USING gist (c WITH =))",
        "CREATE TABLE p (a int) PARTITION BY RANGE (a)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10)",
        "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1 AS a",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON customers USING btree (lower(email) DESC NULLS LAST) INCLUDE (id) \
         WHERE id > 1",
        "ALTER TABLE customers ADD COLUMN x int NOT NULL DEFAULT 1, ALTER COLUMN email TYPE text USING lower(email), \
         DROP COLUMN IF EXISTS y CASCADE",
        "ALTER TABLE customers ADD CONSTRAINT c UNIQUE USING INDEX i",
        "ALTER TABLE ONLY t_a.customers ALTER COLUMN id SET DEFAULT nextval('t_a.s'::regclass)",
        "DROP TABLE IF EXISTS a, t_a.b CASCADE",
        "DROP INDEX CONCURRENTLY i",
        "TRUNCATE customers RESTART IDENTITY CASCADE",
        "CREATE OR REPLACE VIEW v AS SELECT id FROM customers",
        "CREATE SEQUENCE s START 5 INCREMENT BY 2 OWNED BY customers.id",
        "CREATE TYPE mood AS ENUM ('a', 'b''c')",
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'c' BEFORE 'a'",
        "COMMENT ON COLUMN customers.email IS 'it''s'",
        "LOCK TABLE customers IN SHARE MODE NOWAIT",
        "VACUUM (ANALYZE) customers",
        "SELECT id INTO t FROM customers",
    ] {
        plan(&schema_mode(), Protocol::Simple, sql);
    }
}

fn plan(mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Plan {
    match plan_statements(&policy(), mode, protocol, sql) {
        Ok(mut plans) => plans.pop().unwrap(),
        Err(refusal) => panic!("{sql}: {}", refusal.error),
    }
}

/// Where no number is left for the tenant's value.
#[test]
fn statements_with_all_parameters_hold_the_tenants_value_as_a_literal() {
    for (count, inline) in [(1, false), (60_000, false), (65_535, true)] {
        let types = vec![0; count];
        let plan =
            plan(&Mode::Shared, Protocol::Extended { param_types: &types }, "SELECT id FROM orders WHERE id = $1");
        assert_eq!((plan.inline_slots, plan.slots.len(), plan.client_params), (inline, 1, count as u16));
    }
}

#[test]
fn statements_without_parameters_hold_the_tenants_value_as_a_literal() {
    let protocol = Protocol::Extended { param_types: &[] };
    for (sql, inline) in [
        ("COPY orders TO STDOUT", true),
        ("PREPARE p AS SELECT * FROM orders WHERE id = $1", true),
        ("COPY orders (id) FROM STDIN", true),
        ("SELECT * FROM orders", false),
        ("EXPLAIN SELECT * FROM orders", false),
        ("DECLARE c CURSOR FOR SELECT * FROM orders", false),
    ] {
        let plan = plan(&Mode::Shared, protocol, sql);
        assert_eq!((plan.inline_slots, plan.slots.len()), (inline, 1), "{sql}");
    }
    // EXECUTE gives the parameter its value, unseen by Bind: the statement itself compares it.
    let plan = plan(&Mode::Shared, protocol, "PREPARE p AS INSERT INTO orders (tenant_id) VALUES ($1)");
    assert_eq!(plan.checks, []);
    assert!(plan.pieces.iter().any(|p| matches!(p, crate::guard::Piece::Text(t) if t.contains("CASE WHEN $1"))));
}

#[test]
fn in_a_database_of_its_own_definitions_reach_no_further() {
    for sql in [
        "ALTER FOREIGN TABLE f SET SCHEMA s",
        "ALTER FOREIGN TABLE f ADD COLUMN a int",
        "CREATE TABLE t (a text DEFAULT pg_read_file('/etc/passwd'))",
        "CREATE INDEX ON t (pg_read_file(a))",
        "ALTER TABLE t ALTER a SET DEFAULT pg_read_file('/etc/passwd')",
        "CREATE DOMAIN d AS text CHECK (pg_read_file(VALUE) = '')",
        "CREATE POLICY p ON t USING (pg_read_file('/etc/passwd') = '')",
        "CREATE RULE r AS ON INSERT TO t DO ALSO SELECT pg_terminate_backend(1)",
        "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW WHEN (pg_read_file(NEW.a) = '') EXECUTE FUNCTION f()",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN pg_read_file('/etc/passwd')",
    ] {
        assert_eq!(code(&Mode::Database, sql), "42501", "{sql}");
    }
    for sql in [
        "CREATE TABLE t (a text DEFAULT lower('A'), b int DEFAULT nextval(c))",
        "CREATE SCHEMA s CREATE TABLE t (a int)",
        "CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO s.u SELECT lower(NEW.a)",
        "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION s.f()",
        "CREATE FUNCTION s.f(a int) RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT $1; END",
        "CREATE POLICY p ON t USING (a = current_setting('x.y'))",
    ] {
        assert_eq!(ok(&Mode::Database, sql).gated.text, Sent::AsWritten, "{sql}");
    }
}
