//! Relations and their columns.

use tokio_postgres::Row;

/// A table, view or composite type.
pub(super) struct Relation {
    pub oid: u32,
    pub name: String,
    /// `pg_class.relkind`
    pub kind: String,
    pub unlogged: bool,
    pub options: Option<String>,
    /// Of a partition: the parent.
    pub parent: Option<String>,
    /// The type of a composite type.
    pub type_oid: u32,
    pub row_security: bool,
    pub force_row_security: bool,
    /// Tables that it inherits from.
    pub heir_of: Option<String>,
}

/// A column of one.
pub(super) struct Column {
    pub relation: u32,
    pub name: String,
    pub type_oid: u32,
    pub typmod: i32,
    pub not_null: bool,
    /// `pg_attribute.attidentity`
    pub identity: String,
    /// `pg_attribute.attgenerated`
    pub generated: String,
    /// Its `pg_attrdef`.
    pub default: Option<u32>,
    pub collation: Option<String>,
    /// Name and options of an identity's sequence.
    pub sequence: Option<String>,
}

/// Parents before their partitions and heirs, views in the order in which they were made.
pub(super) const RELATIONS: &str = "WITH RECURSIVE tree AS (\
    SELECT c.oid, 0 AS depth FROM pg_class c WHERE c.relnamespace = $1 \
    UNION ALL SELECT h.inhrelid, t.depth + 1 FROM tree t JOIN pg_inherits h ON h.inhparent = t.oid) \
    SELECT c.oid, c.relname::text, c.relkind::text, c.relpersistence = 'u', array_to_string(c.reloptions, ', '), \
    (SELECT quote_ident(p.relname) FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent WHERE c.relispartition AND h.inhrelid = c.oid), \
    c.reltype, c.relrowsecurity, c.relforcerowsecurity, \
    (SELECT string_agg(quote_ident(p.relname), ', ' ORDER BY h.inhseqno) FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent \
     WHERE NOT c.relispartition AND h.inhrelid = c.oid) \
    FROM (SELECT oid, max(depth) AS depth FROM tree GROUP BY oid) tree JOIN pg_class c USING (oid) \
    WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'c') \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    ORDER BY tree.depth, c.oid";

pub(super) const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity::text, \
    a.attgenerated::text, d.oid, (SELECT format('%I.%I', n.nspname, l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace \
    WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation), \
    (SELECT format('SEQUENCE NAME %I START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.relname, q.seqstart, q.seqincrement, \
     q.seqmin, q.seqmax, q.seqcache, CASE WHEN q.seqcycle THEN ' CYCLE' ELSE '' END) FROM pg_depend e JOIN pg_class s ON s.oid = e.objid \
     JOIN pg_sequence q ON q.seqrelid = s.oid WHERE e.classid = 'pg_class'::regclass AND e.refclassid = 'pg_class'::regclass \
     AND e.refobjid = a.attrelid AND e.refobjsubid = a.attnum AND e.deptype = 'i') \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid \
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p', 'c') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

impl Relation {
    pub fn of_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            oid: row.try_get(0)?,
            name: row.try_get(1)?,
            kind: row.try_get(2)?,
            unlogged: row.try_get(3)?,
            options: row.try_get(4)?,
            parent: row.try_get(5)?,
            type_oid: row.try_get(6)?,
            row_security: row.try_get(7)?,
            force_row_security: row.try_get(8)?,
            heir_of: row.try_get(9)?,
        })
    }
}

impl Column {
    pub fn of_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            relation: row.try_get(0)?,
            name: row.try_get(1)?,
            type_oid: row.try_get(2)?,
            typmod: row.try_get(3)?,
            not_null: row.try_get(4)?,
            identity: row.try_get(5)?,
            generated: row.try_get(6)?,
            default: row.try_get(7)?,
            collation: row.try_get(8)?,
            sequence: row.try_get(9)?,
        })
    }
}
