//! The built-in attacks: templates that are filled in for each tenant table.
//!
//! | place | stands for |
//! | --- | --- |
//! | `{t}` | the table, qualified and quoted; `{name}` its bare name in a string |
//! | `{col}` | its tenant column; `{a}`, `{b}` the two tenants' values of it, as literals |
//! | `{differs}` | the operator by which a column that may be NULL differs from a key, where NULL is nobody's |
//! | `{fk}`, `{bfk}` | of a table that belongs through a foreign key: that, and one of the other's values of it |
//! | `{id}`, `{bid}` | a column whose value tells the other tenant's row, and that value |
//! | `{text}`, `{like}` | a text column, and a pattern that one of the other's rows matches |
//! | `{raise}` | a pattern that is an error (22025) where LIKE meets one of the other's values |
//! | `{set}` | a column that may be set |
//! | `{cols}`, `{vals}` | columns to insert but for the tenant column, and the other's row in them |
//! | `{schema}`, `{bare}` | its schema, and its name alone |
//! | `{bname}`, `{setting}` | the other tenant's name as a literal; the sealed setting |

use super::judge::Expect::{self, NoRows, Own, OwnCount, Refused, Silent, Unmarked, Untouched, Zero};

/// How the last statement of an attack is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Query messages.
    Simple,
    /// Parse, Bind, Execute with the other tenant's key as `$1`.
    Prepared,
    /// COPY TO STDOUT.
    CopyOut,
    /// COPY FROM STDIN with the other's row.
    CopyIn,
}

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// What kind it is: a column of the report.
    pub family: &'static str,
    /// How the last step is sent; the others are Query messages.
    pub via: Via,
    /// What is sent, in order, in one transaction that is rolled back.
    pub steps: &'static [&'static str],
    /// What the last answer must be.
    pub expect: Expect,
}

pub(super) const fn simple(family: &'static str, steps: &'static [&'static str], expect: Expect) -> Template {
    Template { family, via: Via::Simple, steps, expect }
}

/// Attacks on each table.
pub const TABLE_ATTACKS: &[Template] = &[
    simple("list", &["SELECT * FROM {t}"], Unmarked),
    simple("list", &["TABLE {t}"], Unmarked),
    simple("list", &["SELECT count(*) FROM {t} WHERE {col} {differs} {a}"], Zero),
    simple("list", &["SELECT * FROM {t} WHERE {col} = {a} OR true"], Unmarked),
    simple("list", &["SELECT * FROM ONLY {t} WHERE NOT ({col} = {a})"], NoRows),
    simple("list", &["SELECT * FROM {t} TABLESAMPLE BERNOULLI (100)"], Unmarked),
    simple("by id", &["SELECT * FROM {t} WHERE {id} = {bid}"], NoRows),
    simple("by id", &["SELECT * FROM {t} WHERE {col} = {b}"], NoRows),
    simple("by id", &["SELECT * FROM {t} WHERE {id} = {bid} FOR UPDATE"], NoRows),
    simple("by id", &["SELECT 1 FROM {t} WHERE {id} IN ({bid}) AND {col} IN ({a}, {b})"], NoRows),
    simple("search", &["SELECT * FROM {t} WHERE {text} LIKE {like}"], NoRows),
    simple("search", &["SELECT {col}, * FROM {t} ORDER BY {text} DESC NULLS LAST LIMIT 50"], Own),
    simple("search", &["SELECT * FROM {t} ORDER BY {text} DESC NULLS LAST LIMIT 50"], Unmarked),
    simple("join", &["SELECT o.* FROM {t} me RIGHT JOIN {t} o ON o.{col} <> me.{col}"], Unmarked),
    simple("join", &["SELECT o.* FROM {t} me, {t} o WHERE o.{col} <> me.{col}"], NoRows),
    simple("join", &["SELECT count(*) FROM {t} x FULL JOIN {t} y ON x.{id} = y.{id} WHERE y.{col} <> {a}"], Zero),
    simple(
        "join",
        &["SELECT l.* FROM (VALUES (1)) v(n) LEFT JOIN LATERAL (SELECT * FROM {t} i WHERE i.{col} = {b}) l ON true"],
        Unmarked,
    ),
    simple("join", &["SELECT * FROM {t} NATURAL JOIN {t} AS other WHERE other.{col} = {b}"], NoRows),
    simple("subquery", &["SELECT EXISTS (SELECT 1 FROM {t} WHERE {col} = {b})"], Zero),
    simple("subquery", &["SELECT (SELECT max({id}::text) FROM {t} WHERE {col} = {b})"], Zero),
    simple("subquery", &["SELECT 1 WHERE {bid} IN (SELECT {id} FROM {t})"], NoRows),
    simple("subquery", &["WITH all_of_it AS MATERIALIZED (SELECT * FROM {t}) SELECT * FROM all_of_it"], Unmarked),
    simple("subquery", &["SELECT {id}::text FROM {t} WHERE false UNION ALL SELECT {id}::text FROM {t}"], Unmarked),
    simple("subquery", &["SELECT array(SELECT {id}::text FROM {t})"], Unmarked),
    simple("aggregate", &["SELECT count(*) FROM {t}"], OwnCount),
    simple("aggregate", &["SELECT count(*) FILTER (WHERE {col} = {b}) FROM {t}"], Zero),
    simple("aggregate", &["SELECT max({id}::text), min({id}::text) FROM {t}"], Unmarked),
    simple("aggregate", &["SELECT string_agg({text}, ',') FROM {t}"], Unmarked),
    simple("aggregate", &["SELECT DISTINCT count(*) OVER () FROM {t}"], OwnCount),
    simple("aggregate", &["SELECT {col} FROM {t} GROUP BY ROLLUP ({col}) HAVING {col} = {b}"], NoRows),
    simple("error", &["SELECT 1 FROM {t} WHERE {col} = {b} AND CAST({text} AS int) > 0"], Silent),
    simple("error", &["SELECT 1 FROM {t} WHERE {id} = {bid} AND 1 / length(substr({text}, 1, 0)) = 1"], Silent),
    // What the planner evaluates on statistics, or early, shows as well as what runs.
    simple("plan time", &["SELECT 1 FROM {t} WHERE {text} LIKE {raise}"], Silent),
    simple("plan time", &["SELECT 1 FROM {t} WHERE {text} LIKE {raise} OR {text} = {raise}"], Silent),
    simple("plan time", &["SELECT 1 FROM (SELECT * FROM {t}) q WHERE q.{text} LIKE {raise}"], Silent),
    simple("plan time", &["SELECT 1 FROM (SELECT * FROM {t} OFFSET 0) q WHERE q.{text} LIKE {raise}"], Silent),
    simple("plan time", &["WITH q AS (SELECT * FROM {t}) SELECT 1 FROM q WHERE q.{text} LIKE {raise}"], Silent),
    simple(
        "plan time",
        &["WITH q AS MATERIALIZED (SELECT * FROM {t}) SELECT 1 FROM q WHERE q.{text} LIKE {raise}"],
        Silent,
    ),
    simple("plan time", &["SELECT 1 FROM {t} x JOIN (SELECT * FROM {t}) q ON q.{text} LIKE {raise}"], Silent),
    simple(
        "plan time",
        &["SELECT 1 FROM (SELECT q.* FROM {t} x LEFT JOIN {t} q ON true) q WHERE q.{text} LIKE {raise}"],
        Silent,
    ),
    simple(
        "plan time",
        &["SELECT 1 WHERE EXISTS (SELECT 1 FROM (SELECT * FROM {t}) q WHERE q.{text} LIKE {raise})"],
        Silent,
    ),
    simple(
        "plan time",
        &["UPDATE {t} x SET {set} = x.{set} FROM (SELECT * FROM {t}) q WHERE q.{text} LIKE {raise}"],
        Silent,
    ),
    simple("plan time", &["DELETE FROM {t} x USING (SELECT * FROM {t}) q WHERE q.{text} LIKE {raise}"], Silent),
    Template {
        family: "plan time",
        via: Via::CopyOut,
        steps: &["COPY (SELECT 1 FROM (SELECT * FROM {t}) q WHERE q.{text} LIKE {raise}) TO STDOUT"],
        expect: Silent,
    },
    simple("insert", &["INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, {b})"], Refused),
    simple("insert", &["INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, {b}) ON CONFLICT DO NOTHING"], Refused),
    simple("insert", &["INSERT INTO {t} ({cols}, {col}) SELECT {cols}, {b} FROM {t} LIMIT 1 RETURNING {col}"], Own),
    simple("update", &["UPDATE {t} SET {set} = {set} WHERE {col} = {b}"], Untouched),
    simple("update", &["UPDATE {t} SET {set} = {set} WHERE {id} = {bid}"], Untouched),
    simple("update", &["UPDATE {t} SET {set} = {set}"], OwnCount),
    simple("update", &["UPDATE {t} SET {col} = {b}"], Refused),
    simple(
        "update",
        &["UPDATE {t} AS x SET {set} = y.{set} FROM {t} y WHERE x.{id} = y.{id} AND y.{col} = {b}"],
        Untouched,
    ),
    simple("delete", &["DELETE FROM {t} WHERE {col} = {b}"], Untouched),
    simple("delete", &["DELETE FROM {t} WHERE {id} = {bid}"], Untouched),
    simple("delete", &["DELETE FROM {t}"], OwnCount),
    simple("delete", &["DELETE FROM {t} USING {t} y WHERE {t}.{id} = y.{id} AND y.{col} = {b}"], Untouched),
    simple(
        "upsert",
        &[
            "INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, {a}) ON CONFLICT ({id}) DO UPDATE SET {set} = excluded.{set} \
           RETURNING {col}",
        ],
        Own,
    ),
    simple(
        "upsert",
        &["MERGE INTO {t} x USING (SELECT {bid} AS k) s ON x.{id} = s.k WHEN MATCHED THEN UPDATE SET {set} = x.{set}"],
        Untouched,
    ),
    Template { family: "copy", via: Via::CopyOut, steps: &["COPY {t} TO STDOUT"], expect: Unmarked },
    Template {
        family: "copy",
        via: Via::CopyOut,
        steps: &["COPY (SELECT * FROM {t} WHERE {col} = {b}) TO STDOUT"],
        expect: NoRows,
    },
    Template { family: "copy", via: Via::CopyIn, steps: &["COPY {t} ({cols}, {col}) FROM STDIN"], expect: Refused },
    simple("returning", &["DELETE FROM {t} RETURNING *"], Unmarked),
    simple("returning", &["UPDATE {t} SET {set} = {set} RETURNING *"], Unmarked),
    simple("returning", &["WITH gone AS (DELETE FROM {t} WHERE {col} = {b} RETURNING *) SELECT * FROM gone"], NoRows),
    simple("cursor", &["DECLARE c CURSOR FOR SELECT * FROM {t}", "FETCH ALL FROM c"], Unmarked),
    simple("cursor", &["DECLARE c SCROLL CURSOR FOR SELECT 1 FROM {t} WHERE {col} = {b}", "FETCH LAST FROM c"], NoRows),
    Template {
        family: "prepared",
        via: Via::Prepared,
        steps: &["SELECT {id}::text FROM {t} WHERE {col}::text = $1"],
        expect: NoRows,
    },
    Template {
        family: "prepared",
        via: Via::Prepared,
        steps: &["SELECT {id}::text FROM {t} WHERE {col}::text = $1 OR {col}::text <> $1"],
        expect: Unmarked,
    },
    simple("prepared", &["DEALLOCATE ALL", "PREPARE p AS SELECT * FROM {t} WHERE {col} = {b}", "EXECUTE p"], NoRows),
    simple("function", &["SELECT query_to_xml('SELECT * FROM {t}', true, false, '')"], Unmarked),
    simple("function", &["SELECT table_to_xml('{t}'::regclass, true, false, '')"], Unmarked),
    simple("function", &["SELECT * FROM ts_stat('SELECT to_tsvector({text}) FROM {t}')"], Unmarked),
    simple(
        "catalog",
        &["SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename = '{name}'"],
        Unmarked,
    ),
    simple("catalog", &["SELECT stavalues1::text FROM pg_statistic WHERE starelid = '{t}'::regclass"], Unmarked),
    simple("explain", &["EXPLAIN ANALYZE SELECT * FROM {t} WHERE {col} = {b}"], Refused),
    simple("ddl", &["TRUNCATE {t}"], Refused),
    simple("ddl", &["LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE NOWAIT"], Refused),
    simple("ddl", &["ALTER TABLE {t} DISABLE ROW LEVEL SECURITY"], Refused),
    simple("ddl", &["CREATE VIEW pg_temp.all_of_it AS SELECT * FROM {t}"], Refused),
    simple(
        "ddl",
        &["CREATE TEMP TABLE all_of_it ON COMMIT DROP AS SELECT * FROM {t}", "SELECT * FROM all_of_it"],
        Unmarked,
    ),
    simple(
        "ddl",
        &["CREATE TEMP TABLE all_of_it ON COMMIT DROP AS SELECT * FROM {t}", "SELECT count(*) FROM all_of_it"],
        OwnCount,
    ),
    simple("context", &["SET LOCAL {setting} = {b}", "SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple(
        "context",
        &["SELECT set_config('{setting}', {b}, true)", "SELECT count(*) FROM {t} WHERE {col} = {b}"],
        Zero,
    ),
    simple("context", &["SET LOCAL {setting} = {bname}", "SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple("context", &["/* tenant={bname} */ SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple("context", &["SET LOCAL row_security = off", "SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple("context", &["RESET ROLE", "SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple("context", &["RESET {setting}", "SELECT count(*) FROM {t}"], OwnCount),
    simple("context", &["SET LOCAL {setting} = ''", "SELECT count(*) FROM {t}"], OwnCount),
    simple("path", &["SET LOCAL search_path = pg_catalog", "SELECT count(*) FROM {t} WHERE {col} = {b}"], Zero),
    simple("path", &["SET LOCAL search_path = pg_temp, {schema}", "SELECT * FROM {bare} WHERE {col} = {b}"], NoRows),
    simple(
        "path",
        &["SELECT set_config('search_path', '{schema}', true)", "SELECT * FROM {bare} WHERE {col} = {b}"],
        NoRows,
    ),
    simple("counts", &["SELECT n_live_tup, n_tup_ins FROM pg_stat_user_tables WHERE relid = '{t}'::regclass"], Zero),
    simple("counts", &["SELECT pg_table_size('{t}'::regclass), pg_total_relation_size('{t}'::regclass)"], Zero),
];

/// Further ones where rows without a tenant are nobody's.
pub const NOBODYS_ROWS: &[Template] = &[
    simple("null", &["SELECT * FROM {t} WHERE {col} IS NULL"], NoRows),
    simple("null", &["INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, NULL)"], Refused),
];

/// Further ones where they are everybody's: to read, and no more.
pub const EVERYBODYS_ROWS: &[Template] = &[
    simple("null", &["INSERT INTO {t} ({cols}, {col}) VALUES ({vals}, NULL)"], Refused),
    simple("null", &["UPDATE {t} SET {col} = NULL"], Refused),
    simple("null", &["UPDATE {t} SET {set} = {set} WHERE {col} IS NULL"], Untouched),
    simple("null", &["DELETE FROM {t} WHERE {col} IS NULL"], Untouched),
    simple("null", &["SELECT 1 FROM {t} WHERE {col} IS NULL FOR UPDATE"], NoRows),
];

/// Further ones on a table that belongs through a foreign key: it has no tenant column to name.
pub const THROUGH_ATTACKS: &[Template] = &[
    simple("by id", &["SELECT * FROM {t} WHERE {fk} = {bfk}"], NoRows),
    simple("join", &["SELECT o.* FROM (VALUES (1)) v(n) LEFT JOIN {t} o ON o.{fk} = {bfk}"], Unmarked),
    simple("subquery", &["SELECT EXISTS (SELECT 1 FROM {t} WHERE {fk} = {bfk})"], Zero),
    simple("aggregate", &["SELECT count(*) FROM {t} WHERE {fk} = {bfk}"], Zero),
    simple("insert", &["INSERT INTO {t} ({cols}) VALUES ({vals})"], Untouched),
    simple("update", &["UPDATE {t} SET {fk} = {bfk}"], Untouched),
    simple("update", &["UPDATE {t} SET {set} = {set} WHERE {fk} = {bfk}"], Untouched),
    simple("delete", &["DELETE FROM {t} WHERE {fk} = {bfk}"], Untouched),
    Template { family: "copy", via: Via::CopyIn, steps: &["COPY {t} ({cols}) FROM STDIN"], expect: Refused },
];

/// Attacks that are about no table, where the database is not the attacker's own.
pub const DATABASE_ATTACKS: &[Template] = &[
    simple("server", &["DO $$ BEGIN PERFORM 1; END $$"], Refused),
    simple("server", &["SELECT database_to_xml(true, false, '')"], Refused),
    simple("server", &["SELECT schema_to_xml('public', true, false, '')"], Refused),
    simple("server", &["CREATE FUNCTION pgwarden_attack() RETURNS int LANGUAGE sql AS 'SELECT 1'"], Refused),
    simple("server", &["SELECT pg_listening_channels()"], Refused),
    simple("server", &["SELECT pg_notification_queue_usage()"], Refused),
    simple("server", &["SELECT * FROM pg_locks"], Refused),
    simple("server", &["SELECT lo_create(0)"], Refused),
    simple("server", &["SELECT loid, data FROM pg_largeobject"], Refused),
    simple("server", &["SELECT pg_terminate_backend(0)"], Refused),
    simple("server", &["SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query <> ''"], NoRows),
];

/// Attacks that are about no table.
pub const GENERAL_ATTACKS: &[Template] = &[
    simple("server", &["COPY (SELECT 1) TO PROGRAM 'true'"], Refused),
    simple("server", &["COPY (SELECT 1) TO '/tmp/pgwarden-verify-isolation'"], Refused),
    simple("server", &["SELECT pg_read_file('PG_VERSION')"], Refused),
    simple("server", &["SELECT pg_ls_dir('.')"], Refused),
    simple("server", &["SELECT lo_import('/etc/hostname')"], Refused),
    // Of a process that is not one's own it is to give NULL, which is not counted.
    simple("server", &["SELECT count(pg_terminate_backend(0))"], Zero),
    simple("server", &["SELECT query FROM pg_stat_activity WHERE datname IS DISTINCT FROM current_database()"], NoRows),
    simple("server", &["CREATE ROLE pgwarden_attack"], Refused),
    simple("server", &["ALTER SYSTEM SET work_mem = '4MB'"], Refused),
    simple("server", &["SET SESSION AUTHORIZATION postgres"], Refused),
    simple("server", &["SET ROLE postgres"], Refused),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_that_is_promised_is_there() {
        let promised = [
            "list",
            "by id",
            "search",
            "join",
            "subquery",
            "aggregate",
            "plan time",
            "insert",
            "update",
            "delete",
            "upsert",
            "copy",
            "returning",
            "cursor",
            "prepared",
            "function",
            "context",
            "path",
        ];
        for family in promised {
            assert!(TABLE_ATTACKS.iter().any(|it| it.family == family), "{family}");
        }
        assert!(TABLE_ATTACKS.iter().chain(GENERAL_ATTACKS).all(|it| !it.steps.is_empty()));
    }
}
