//! Keys that reach across tenants: unique ones, foreign ones, and those that a sequence makes.

use tokio_postgres::{Client, Error};

use super::{Finding, Line, Schema, Severity};
use crate::guard::Policy;
use crate::sql::quote_identifier;

/// Unique indexes and exclusion constraints that do not hold the tenant column.
pub async fn unique_keys(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    // A table of the tenants themselves has one row for each of them: its tenant column alone is a key.
    let sql = "SELECT t.oid::regclass::text AS object, i.indexrelid::regclass::text AS index, i.indisprimary AS primary, i.indisexclusion AS exclusion, \
                      pg_catalog.quote_ident(t.col) AS col, c.relname::text AS table, c.relkind = 'p' OR c.relispartition AS partitioned, \
                      (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) k) AS keys, \
                      coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '') AS predicate, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_attribute k WHERE k.attrelid = t.oid AND k.attnum = i.indkey[0] \
                              AND k.atttypid IN ('uuid'::regtype)) AS unguessable, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_index u WHERE u.indrelid = t.oid AND u.indisunique AND u.indpred IS NULL AND u.indnkeyatts = 1 \
                              AND u.indkey[0] = ta.attnum) AS of_tenants, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_index u WHERE u.indrelid = t.oid AND u.indisunique AND u.indisvalid \
                              AND u.indnkeyatts = i.indnkeyatts + 1 AND ta.attnum = ANY (u.indkey::int2[]) \
                              AND pg_catalog.pg_get_expr(u.indpred, u.indrelid) IS NOT DISTINCT FROM pg_catalog.pg_get_expr(i.indpred, i.indrelid) \
                              AND NOT EXISTS (SELECT 1 FROM pg_catalog.generate_series(1, i.indnkeyatts) k WHERE NOT EXISTS \
                                  (SELECT 1 FROM pg_catalog.generate_series(1, u.indnkeyatts) o \
                                   WHERE pg_catalog.pg_get_indexdef(u.indexrelid, o, true) = pg_catalog.pg_get_indexdef(i.indexrelid, k, true)))) AS has_twin \
               FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid JOIN pg_catalog.pg_class c ON c.oid = t.oid \
               JOIN pg_catalog.pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = t.col \
               WHERE (i.indisunique OR i.indisexclusion) AND ta.attnum <> ALL (i.indkey::int2[]) \
                 AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid)";
    schema.findings(client, sql, |line| Some(unique_key(line))).await
}

const ACCEPT: &str = "accept the oracle ([doctor] accept), where the value is to be one of a kind: a log-in by it before the tenant is known, a host name";

fn unique_key(line: &Line<'_>) -> Finding {
    let [object, index, column, keys, predicate, table] =
        ["object", "index", "col", "keys", "predicate", "table"].map(|it| line.text(it));
    let (primary, exclusion) = (line.is("primary"), line.is("exclusion"));
    let kind = match (primary, exclusion) {
        (true, _) => "primary key",
        (false, true) => "exclusion constraint",
        (false, false) => "unique index",
    };
    let of_tenants = line.is("of_tenants");
    let quiet = primary || of_tenants || line.is("unguessable");
    let finding = Finding::new(
        if quiet { Severity::Low } else { Severity::Medium },
        "global-unique-key",
        &object,
        format!("the {kind} {index} ({keys}) does not hold the tenant column {column}"),
        "an INSERT that fails with a duplicate key tells that another tenant has that value (existence oracle)",
    );
    if of_tenants {
        let advice = "keep it, and accept the oracle ([doctor] accept): the table has one row for each tenant, which such a value names";
        return finding.advice(advice);
    }
    if primary {
        return finding.advice(
            "accept the oracle ([doctor] accept), or let a generator that tenants cannot steer fill it (uuid DEFAULT gen_random_uuid()); \
             foreign keys rest on it, so that it stays",
        );
    }
    if exclusion {
        return finding.advice(format!(
            "a constraint with {column} WITH = in it, then drop this one, where rows of different tenants may overlap; or {ACCEPT}"
        ));
    }
    let dropped = format!(
        "drop {index} once nothing rests on it (a log-in by the value, ON CONFLICT ({keys}), a foreign key); or {ACCEPT}"
    );
    if line.is("has_twin") || line.is("partitioned") {
        return finding.advice(dropped);
    }
    let filter = if predicate.is_empty() { String::new() } else { format!(" WHERE {predicate}") };
    let name = index_name(&[&table, &column, &keys, "key"]);
    let beside =
        format!("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {object} ({column}, {keys}){filter};");
    finding.sql([beside]).advice(format!("that stands beside {index}, which still tells: {dropped}"))
}

/// The name of an index, made as Postgres makes it, and quoted.
pub(super) fn index_name(parts: &[&str]) -> String {
    /// `NAMEDATALEN` - 1
    const LONGEST: usize = 63;
    let kept = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let joined = parts.join("_");
    let mut name: String = joined.chars().map(|it| if kept(it) { it.to_ascii_lowercase() } else { '_' }).collect();
    if name.len() > LONGEST {
        // Names that begin alike stay apart.
        let hash =
            joined.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        name.truncate(LONGEST - 9);
        name.push_str(&format!("_{hash:08x}"));
    }
    quote_identifier(&name)
}

/// Foreign keys between tenant tables that do not pair the tenant columns.
pub async fn foreign_keys(client: &Client, schema: &Schema, policy: &Policy) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(c.conname) AS name, c.conname::text AS bare, p.oid::regclass::text AS target, \
                      tc.relkind = 'p' AS partitioned, pc.relkind = 'p' AS target_partitioned, pc.relname::text AS target_name, \
                      pg_catalog.quote_ident(t.col) AS col, pg_catalog.quote_ident(p.col) AS target_col, ta.atttypid = pa.atttypid AS same_type, \
                      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.n) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(num, n) \
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.num) AS keys, \
                      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.n) FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS k(num, n) \
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = p.oid AND a.attnum = k.num) AS target_keys, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_index u WHERE u.indrelid = p.oid AND u.indisunique AND u.indisvalid AND u.indimmediate AND u.indpred IS NULL \
                              AND u.indnkeyatts = pg_catalog.cardinality(c.confkey) + 1 AND u.indkey::int2[] @> (c.confkey || pa.attnum)) AS has_key, \
                      ta.attnum = ANY (c.conkey) AS holds, \
                      c.confdeltype::text AS on_delete, c.confupdtype::text AS on_update, c.condeferrable AS deferrable, c.condeferred AS deferred \
               FROM t JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0 \
               JOIN t p ON p.oid = c.confrelid JOIN pg_catalog.pg_class tc ON tc.oid = t.oid JOIN pg_catalog.pg_class pc ON pc.oid = p.oid \
               JOIN pg_catalog.pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = t.col \
               JOIN pg_catalog.pg_attribute pa ON pa.attrelid = p.oid AND pa.attname = p.col \
               WHERE NOT EXISTS (SELECT 1 FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k(ours, theirs) \
                                 WHERE k.ours = ta.attnum AND k.theirs = pa.attnum)";
    let lists_columns = policy.catalog.server_version_num >= 150_000;
    schema.findings(client, sql, |line| Some(foreign_key(line, lists_columns))).await
}

/// `SET NULL` and `SET DEFAULT` of some columns only came with Postgres 15: without, the tenant column would be set as well.
fn foreign_key(line: &Line<'_>, lists_columns: bool) -> Finding {
    let [object, name, target, column, target_column, keys] =
        ["object", "name", "target", "col", "target_col", "keys"].map(|it| line.text(it));
    let [on_delete, on_update] = ["on_delete", "on_update"].map(|it| line.text(it));
    let acts = [&on_delete, &on_update].iter().any(|it| matches!(it.as_str(), "c" | "n" | "d"));
    let finding = Finding::new(
        if acts { Severity::High } else { Severity::Medium },
        "foreign-key-crosses",
        &object,
        format!("the foreign key {name} to {target} does not pair the tenant columns"),
        if acts {
            "a row may hang below another tenant's, whose DELETE or UPDATE then changes it (ON DELETE/UPDATE acts across tenants)"
        } else {
            "a row may point at another tenant's: the check tells whether that key exists"
        },
    );
    let by_hand = if !line.is("same_type") {
        Some(
            "its tenant column is of another type than the parent's: give both tables a column of one kind, and a key over it",
        )
    } else if line.is("holds") {
        Some("its tenant column is in the key already, and leads to another column of the parent's")
    } else if line.is("target_partitioned") && !line.is("has_key") {
        Some(
            "the parent is partitioned: a unique key of its partition key, its tenant column and these, and a foreign key to that",
        )
    } else if matches!(on_update.as_str(), "n" | "d") || (!lists_columns && matches!(on_delete.as_str(), "n" | "d")) {
        Some(
            "a key that pairs the tenant columns would set the tenant column too, when it sets NULL or the default: have a trigger do that",
        )
    } else {
        None
    };
    match by_hand {
        Some(advice) => finding.advice(advice),
        None => finding.sql(paired(line)).advice(format!(
            "if it is not valid, rows cross already: SELECT * FROM {object} c JOIN {target} p ON {} WHERE c.{column} IS DISTINCT FROM p.{target_column}",
            joined(&keys, &line.text("target_keys"))
        )),
    }
}

/// `c.a = p.b AND ...`
fn joined(keys: &str, target_keys: &str) -> String {
    let pairs = keys.split(", ").zip(target_keys.split(", "));
    pairs.map(|(ours, theirs)| format!("c.{ours} = p.{theirs}")).collect::<Vec<_>>().join(" AND ")
}

/// The steps to a key that pairs the tenant columns, and keeps name and actions of the one that does not.
fn paired(line: &Line<'_>) -> Vec<String> {
    let [object, name, target, column, target_column, keys, target_keys] =
        ["object", "name", "target", "col", "target_col", "keys", "target_keys"].map(|it| line.text(it));
    let new = index_name(&[&line.text("bare"), "of_tenant"]);
    let mut steps = Vec::new();
    if !line.is("has_key") {
        let unique = index_name(&[&line.text("target_name"), &target_column, &target_keys, "key"]);
        steps.push(format!(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {unique} ON {target} ({target_column}, {target_keys});"
        ));
    }
    let action = |kind: &str, code: &str, listed: bool| match code {
        "c" => format!(" ON {kind} CASCADE"),
        "r" => format!(" ON {kind} RESTRICT"),
        "n" if listed => format!(" ON {kind} SET NULL ({keys})"),
        "d" if listed => format!(" ON {kind} SET DEFAULT ({keys})"),
        _ => String::new(),
    };
    let actions = action("DELETE", &line.text("on_delete"), true) + &action("UPDATE", &line.text("on_update"), false);
    let deferrable = match (line.is("deferrable"), line.is("deferred")) {
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        (false, _) => "",
    };
    // Postgres checks at once what is added to a partitioned table.
    let later = !line.is("partitioned");
    steps.push(format!(
        "ALTER TABLE {object} ADD CONSTRAINT {new} FOREIGN KEY ({column}, {keys}) REFERENCES {target} ({target_column}, {target_keys}){actions}{deferrable}{};",
        if later { " NOT VALID" } else { "" }
    ));
    if later {
        steps.push(format!("ALTER TABLE {object} VALIDATE CONSTRAINT {new};"));
    }
    steps.push(format!("ALTER TABLE {object} DROP CONSTRAINT {name};"));
    steps.push(format!("ALTER TABLE {object} RENAME CONSTRAINT {new} TO {name};"));
    steps
}

/// Sequences behind columns of tenant tables: owned by one, or in a default.
pub async fn sequences(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT DISTINCT t.oid::regclass::text AS object, s.seqrelid::regclass::text AS sequence, s.seqmax <= 2147483647 AND NOT s.seqcycle AS small, \
                      s.seqmax::text AS last, pg_catalog.quote_ident(a.attname) AS col FROM t \
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
    if small {
        Finding::new(
            Severity::Medium,
            "shared-sequence",
            &object,
            format!("{shared}, and which ends at {last}"),
            "one tenant may draw numbers until none is left for the others; and the gaps between a tenant's own keys tell how many rows they make",
        )
        .advice(format!(
            "make {column} bigint, and what refers to it: ALTER COLUMN ... TYPE rewrites the table under a lock, and views on it stand in \
             the way, so that a new column that is filled bit by bit is the way on a large one; or random keys, uuid DEFAULT gen_random_uuid()"
        ))
    } else {
        Finding::new(
            Severity::Low,
            "shared-sequence",
            &object,
            shared,
            "the gaps between a tenant's own keys tell how many rows the others make",
        )
        .advice("use random keys (uuid DEFAULT gen_random_uuid()) where that matters")
    }
}
