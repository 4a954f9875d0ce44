//! Keys that reach across tenants: unique ones, foreign ones, and those that a sequence makes.

use tokio_postgres::{Client, Error};

use super::{Finding, Line, Schema, Severity};

/// Unique indexes and exclusion constraints that do not hold the tenant column.
pub async fn unique_keys(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, i.indexrelid::regclass::text AS index, i.indisprimary AS primary, i.indisexclusion AS exclusion, \
                      pg_catalog.quote_ident(t.col) AS col, coalesce(pg_catalog.quote_ident(c.conname), '') AS constraint, \
                      (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) k) AS keys, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_attribute k WHERE k.attrelid = t.oid AND k.attnum = i.indkey[0] \
                              AND k.atttypid IN ('uuid'::regtype)) AS unguessable \
               FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid \
               LEFT JOIN pg_catalog.pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = t.oid AND c.contype IN ('p', 'u', 'x') \
               WHERE (i.indisunique OR i.indisexclusion) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a \
                     WHERE a.attrelid = t.oid AND a.attname = t.col AND a.attnum = ANY (i.indkey::int2[]))";
    schema.findings(client, sql, |line| Some(unique_key(line))).await
}

fn unique_key(line: &Line<'_>) -> Finding {
    let [object, index, column, keys, constraint] =
        ["object", "index", "col", "keys", "constraint"].map(|it| line.text(it));
    let (primary, exclusion) = (line.is("primary"), line.is("exclusion"));
    let kind = match (primary, exclusion) {
        (true, _) => "primary key",
        (false, true) => "exclusion constraint",
        (false, false) => "unique index",
    };
    Finding {
        severity: if primary || line.is("unguessable") { Severity::Low } else { Severity::Medium },
        check: "global-unique-key",
        what: format!("the {kind} {index} ({keys}) does not hold the tenant column {column}"),
        why: "an INSERT that fails with a duplicate key tells that another tenant has that value (existence oracle)",
        fix: match (primary, exclusion, constraint.as_str()) {
            (true, _, name) => format!(
                "ALTER TABLE {object} DROP CONSTRAINT {name}, ADD PRIMARY KEY ({column}, {keys}); (or fill it from a generator that tenants cannot steer)"
            ),
            (false, true, _) => format!("add {column} WITH = to the exclusion constraint {constraint}"),
            (false, false, "") => {
                format!(
                    "CREATE UNIQUE INDEX CONCURRENTLY ON {object} ({column}, {keys}); DROP INDEX CONCURRENTLY {index};"
                )
            }
            (false, false, name) => {
                format!("ALTER TABLE {object} DROP CONSTRAINT {name}, ADD UNIQUE ({column}, {keys});")
            }
        },
        object,
    }
}

/// Foreign keys between tenant tables that do not pair the tenant columns.
pub async fn foreign_keys(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(c.conname) AS name, p.oid::regclass::text AS target, \
                      pg_catalog.quote_ident(t.col) AS col, pg_catalog.quote_ident(p.col) AS target_col, \
                      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.n) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(num, n) \
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.num) AS keys, \
                      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.n) FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS k(num, n) \
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = p.oid AND a.attnum = k.num) AS target_keys, \
                      c.confdeltype::text IN ('c', 'n', 'd') OR c.confupdtype::text IN ('c', 'n', 'd') AS acts \
               FROM t JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0 \
               JOIN t p ON p.oid = c.confrelid \
               JOIN pg_catalog.pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = t.col \
               JOIN pg_catalog.pg_attribute pa ON pa.attrelid = p.oid AND pa.attname = p.col \
               WHERE NOT EXISTS (SELECT 1 FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k(ours, theirs) \
                                 WHERE k.ours = ta.attnum AND k.theirs = pa.attnum)";
    schema.findings(client, sql, |line| Some(foreign_key(line))).await
}

fn foreign_key(line: &Line<'_>) -> Finding {
    let [object, name, target, column, target_column, keys, target_keys] =
        ["object", "name", "target", "col", "target_col", "keys", "target_keys"].map(|it| line.text(it));
    let acts = line.is("acts");
    Finding {
        severity: if acts { Severity::High } else { Severity::Medium },
        check: "foreign-key-crosses",
        what: format!("the foreign key {name} to {target} does not pair the tenant columns"),
        why: if acts {
            "a row may hang below another tenant's, whose DELETE or UPDATE then changes it (ON DELETE/UPDATE acts across tenants)"
        } else {
            "a row may point at another tenant's: the check tells whether that key exists"
        },
        fix: format!(
            "ALTER TABLE {target} ADD UNIQUE ({target_column}, {target_keys}); ALTER TABLE {object} DROP CONSTRAINT {name}, \
             ADD CONSTRAINT {name} FOREIGN KEY ({column}, {keys}) REFERENCES {target} ({target_column}, {target_keys}); (with its ON DELETE and ON UPDATE)"
        ),
        object,
    }
}

/// Sequences behind columns of tenant tables: owned by one, or in a default.
pub async fn sequences(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT DISTINCT t.oid::regclass::text AS object, s.seqrelid::regclass::text AS sequence, s.seqmax <= 2147483647 AND NOT s.seqcycle AS small, \
                      s.seqmax::text AS last, a.attidentity <> '' AS identity, pg_catalog.quote_ident(a.attname) AS col FROM t \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 \
               LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = t.oid AND f.adnum = a.attnum \
               JOIN pg_catalog.pg_depend d ON \
                    (d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid \
                     AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')) \
                    OR (d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass) \
               JOIN pg_catalog.pg_sequence s \
                    ON s.seqrelid = CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid ELSE d.refobjid END";
    schema.findings(client, sql, |line| Some(sequence(line))).await
}

fn sequence(line: &Line<'_>) -> Finding {
    let [object, sequence, column, last] = ["object", "sequence", "col", "last"].map(|it| line.text(it));
    let small = line.is("small");
    let shared = format!("its keys come from the sequence {sequence}, which all tenants share");
    // The sequence of an identity column changes with the column's type.
    let further = if line.is("identity") { String::new() } else { format!(" ALTER SEQUENCE {sequence} AS bigint;") };
    let (severity, what, why, fix) = if small {
        (
            Severity::Medium,
            format!("{shared}, and which ends at {last}"),
            "one tenant may draw numbers until none is left for the others; and the gaps between a tenant's own keys tell how many rows they make",
            format!(
                "ALTER TABLE {object} ALTER COLUMN {column} TYPE bigint;{further} (it rewrites the table, or random keys, uuid DEFAULT gen_random_uuid())"
            ),
        )
    } else {
        (
            Severity::Low,
            shared,
            "the gaps between a tenant's own keys tell how many rows the others make",
            "use random keys (uuid DEFAULT gen_random_uuid()) where that matters".into(),
        )
    };
    Finding { severity, check: "shared-sequence", object, what, why, fix }
}
