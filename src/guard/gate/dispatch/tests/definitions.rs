//! Statements that define something, in the layouts that allow it.

use super::*;

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
fn constraints_of_other_schemas_are_left_alone() {
    assert_eq!(code(&Mode::Shared, "SET CONSTRAINTS ALL DEFERRED"), "ok");
    assert_eq!(code(&schema_mode(), "SET CONSTRAINTS t_a.c IMMEDIATE"), "ok");
    assert_eq!(code(&schema_mode(), "SET CONSTRAINTS t_b.c IMMEDIATE"), "42501");
}
