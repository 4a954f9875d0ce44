//! What there is in a schema: looked up with no schema in the search path, then printed with that one in it.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use super::tables::{COLUMNS, Column, RELATIONS, Relation};
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;

/// An enum, a domain or a composite type.
pub(super) struct Type {
    pub oid: u32,
    pub name: String,
    pub kind: String,
    pub labels: Vec<String>,
    pub base: u32,
    pub typmod: i32,
    pub not_null: bool,
    pub default: Option<String>,
}

/// A function or procedure.
pub(super) struct Function {
    pub oid: u32,
    pub name: String,
    pub kind: String,
    /// A table's row type is among its arguments or is what it gives.
    pub knows_tables: bool,
    pub source: String,
}

/// A sequence that is no identity's.
pub(super) struct Sequence {
    pub name: String,
    pub definition: String,
    pub owner: Option<String>,
}

/// Something that is printed by one of the server's functions, on a relation.
pub(super) struct Part {
    pub oid: u32,
    pub name: String,
    pub relation: String,
    pub kind: String,
}

/// A row-level security policy.
pub(super) struct Policy {
    pub oid: u32,
    pub name: String,
    pub relation: String,
    pub permissive: bool,
    pub command: String,
    pub roles: String,
}

/// All of it.
pub(super) struct Found {
    pub types: Vec<Type>,
    pub functions: Vec<Function>,
    pub sequences: Vec<Sequence>,
    pub relations: Vec<Relation>,
    pub columns: Vec<Column>,
    pub constraints: Vec<Part>,
    pub indexes: Vec<Part>,
    pub triggers: Vec<Part>,
    pub policies: Vec<Policy>,
    pub comments: Vec<String>,
    pub left_out: Vec<String>,
}

/// What the server prints, in the order of what it is of.
pub(super) struct Printed {
    pub bases: Vec<String>,
    pub functions: Vec<String>,
    pub signatures: Vec<String>,
    pub types: Vec<String>,
    pub defaults: Vec<String>,
    pub bounds: Vec<String>,
    pub partition_keys: Vec<String>,
    pub views: Vec<String>,
    pub domain_checks: Vec<(u32, String)>,
    pub constraints: Vec<String>,
    pub indexes: Vec<String>,
    pub triggers: Vec<String>,
    pub using: Vec<String>,
    pub checks: Vec<String>,
}

const TYPES: &str = "SELECT t.oid, t.typname::text, t.typtype::text, \
    ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder), t.typbasetype, t.typtypmod, \
    t.typnotnull, t.typdefault FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid \
    WHERE t.typnamespace = $1 AND (t.typtype IN ('e', 'd') OR t.typtype = 'c' AND c.relkind = 'c') \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e') ORDER BY t.oid";

const FUNCTIONS: &str = "SELECT p.oid, p.proname::text, p.prokind::text, EXISTS (SELECT FROM pg_depend d \
    JOIN pg_type t ON t.oid = d.refobjid JOIN pg_class c ON c.oid = t.typrelid WHERE d.classid = 'pg_proc'::regclass \
    AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND c.relkind <> 'c') OR EXISTS (SELECT FROM pg_depend d \
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass), \
    concat_ws(' ', p.prosrc, p.proconfig::text) FROM pg_proc p WHERE p.pronamespace = $1 AND p.prokind IN ('f', 'p', 'w') \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') ORDER BY p.oid";

const SEQUENCES: &str = "SELECT c.relname::text, format('AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', \
    format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END), \
    (SELECT format('%I.%I', o.relname, a.attname) FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid \
     JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
     AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a' AND o.relnamespace = $1) \
    FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid WHERE c.relnamespace = $1 \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('i', 'e')) ORDER BY c.oid";

/// Those that partitions have of their parents come with these. Foreign keys last.
const CONSTRAINTS: &str = "SELECT k.oid, k.conname::text, c.relname::text, k.contype::text FROM pg_constraint k \
    JOIN pg_class c ON c.oid = k.conrelid WHERE c.relnamespace = $1 AND k.contype IN ('p', 'u', 'c', 'x', 'f') \
    AND k.conparentid = 0 AND k.conislocal \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    ORDER BY k.contype = 'f', k.contype <> 'p', k.oid";

const INDEXES: &str = "SELECT i.indexrelid, x.relname::text, c.relname::text, '' FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
    JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p', 'm') \
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) \
    AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) ORDER BY i.indexrelid";

const TRIGGERS: &str = "SELECT t.oid, t.tgname::text, c.relname::text, t.tgenabled::text FROM pg_trigger t \
    JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = $1 AND NOT t.tgisinternal AND t.tgparentid = 0 ORDER BY t.oid";

const POLICIES: &str = "SELECT p.oid, p.polname::text, c.relname::text, p.polpermissive, p.polcmd::text, \
    CASE WHEN p.polroles = '{0}' THEN 'PUBLIC' ELSE (SELECT string_agg(quote_ident(r.rolname), ', ') FROM pg_roles r WHERE r.oid = ANY (p.polroles)) END \
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = $1 ORDER BY p.oid";

const COMMENTS: &str = "SELECT CASE WHEN d.objsubid = 0 THEN format('COMMENT ON TABLE %I IS %L', c.relname, d.description) \
    ELSE format('COMMENT ON COLUMN %I.%I IS %L', c.relname, a.attname, d.description) END FROM pg_description d \
    JOIN pg_class c ON d.classoid = 'pg_class'::regclass AND c.oid = d.objoid \
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0 \
    WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p') ORDER BY c.oid, d.objsubid";

/// What no statement is made for.
const LEFT_OUT: &str = "SELECT format('foreign table %s', c.relname) FROM pg_class c WHERE c.relnamespace = $1 AND c.relkind = 'f' \
    UNION ALL SELECT format('type %s', t.typname) FROM pg_type t WHERE t.typnamespace = $1 AND (t.typtype = 'r' \
    OR t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)) \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e') \
    UNION ALL SELECT format('aggregate %s', p.proname) FROM pg_proc p WHERE p.pronamespace = $1 AND p.prokind = 'a' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \
    UNION ALL SELECT format('operator %s', o.oprname) FROM pg_operator o WHERE o.oprnamespace = $1 \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e') \
    UNION ALL SELECT format('extended statistics %s', s.stxname) FROM pg_statistic_ext s WHERE s.stxnamespace = $1 \
    UNION ALL SELECT format('collation %s', l.collname) FROM pg_collation l WHERE l.collnamespace = $1 \
    UNION ALL SELECT format('text search configuration %s', f.cfgname) FROM pg_ts_config f WHERE f.cfgnamespace = $1 \
    UNION ALL SELECT format('rule %s on %s', r.rulename, c.relname) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
    WHERE c.relnamespace = $1 AND r.rulename <> '_RETURN'";

/// A row as a value.
pub(super) async fn all<T>(
    admin: &Admin,
    sql: &str,
    schema: u32,
    make: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, LifecycleError> {
    let rows = admin.rows(sql, &[&schema]).await?;
    rows.iter().map(make).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

pub(super) async fn read(admin: &Admin, schema: u32) -> Result<Found, LifecycleError> {
    let part = |row: &Row| {
        Ok(Part { oid: row.try_get(0)?, name: row.try_get(1)?, relation: row.try_get(2)?, kind: row.try_get(3)? })
    };
    Ok(Found {
        types: all(admin, TYPES, schema, |row| {
            Ok(Type {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                kind: row.try_get(2)?,
                labels: row.try_get(3)?,
                base: row.try_get(4)?,
                typmod: row.try_get(5)?,
                not_null: row.try_get(6)?,
                default: row.try_get(7)?,
            })
        })
        .await?,
        functions: all(admin, FUNCTIONS, schema, |row| {
            Ok(Function {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                kind: row.try_get(2)?,
                knows_tables: row.try_get(3)?,
                source: row.try_get(4)?,
            })
        })
        .await?,
        sequences: all(admin, SEQUENCES, schema, |row| {
            Ok(Sequence { name: row.try_get(0)?, definition: row.try_get(1)?, owner: row.try_get(2)? })
        })
        .await?,
        relations: all(admin, RELATIONS, schema, Relation::of_row).await?,
        columns: all(admin, COLUMNS, schema, Column::of_row).await?,
        constraints: all(admin, CONSTRAINTS, schema, part).await?,
        indexes: all(admin, INDEXES, schema, part).await?,
        triggers: all(admin, TRIGGERS, schema, part).await?,
        policies: all(admin, POLICIES, schema, |row| {
            Ok(Policy {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                relation: row.try_get(2)?,
                permissive: row.try_get(3)?,
                command: row.try_get(4)?,
                roles: row.try_get(5)?,
            })
        })
        .await?,
        comments: all(admin, COMMENTS, schema, |row| row.try_get(0)).await?,
        left_out: all(admin, LEFT_OUT, schema, |row| row.try_get(0)).await?,
    })
}

/// One column of what is printed.
async fn print<T>(admin: &Admin, expression: &str, join: &str, oids: &[u32]) -> Result<Vec<T>, LifecycleError>
where
    T: for<'r> FromSql<'r>,
{
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {expression} FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS u(o, n) {join} ORDER BY u.n"
    );
    column(admin, &sql, &[&oids]).await
}

async fn column<T>(admin: &Admin, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<T>, LifecycleError>
where
    T: for<'r> FromSql<'r>,
{
    let rows = admin.rows(sql, values).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

/// Types with their modifiers.
async fn print_types(admin: &Admin, types: &[(u32, i32)]) -> Result<Vec<String>, LifecycleError> {
    let (oids, modifiers): (Vec<u32>, Vec<i32>) = types.iter().copied().unzip();
    let sql = "SELECT pg_catalog.format_type(u.o, u.m) FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), \
               pg_catalog.unnest($2::pg_catalog.int4[])) WITH ORDINALITY AS u(o, m, n) ORDER BY u.n";
    column(admin, sql, &[&oids, &modifiers]).await
}

impl Found {
    /// Forgets relations and what is on them: of pgwarden's own tables the functions of their triggers too.
    pub fn leave_out(&mut self, names: &[String]) {
        let functions: Vec<String> = names.iter().map(|name| format!("{name}_changed")).collect();
        self.functions.retain(|it| !functions.contains(&it.name));
        let oids: Vec<u32> = self.relations.iter().filter(|it| names.contains(&it.name)).map(|it| it.oid).collect();
        self.relations.retain(|it| !oids.contains(&it.oid));
        self.columns.retain(|it| !oids.contains(&it.relation));
        for parts in [&mut self.constraints, &mut self.indexes, &mut self.triggers] {
            parts.retain(|it| !names.contains(&it.relation));
        }
        self.policies.retain(|it| !names.contains(&it.relation));
    }

    /// Has it printed; the schema is the search path.
    pub async fn print(&self, admin: &Admin) -> Result<Printed, LifecycleError> {
        let functions: Vec<u32> = self.functions.iter().map(|it| it.oid).collect();
        let relations = |kinds: &[&str]| -> Vec<u32> {
            self.relations.iter().filter(|it| kinds.contains(&it.kind.as_str())).map(|it| it.oid).collect()
        };
        let partitions: Vec<u32> = self.relations.iter().filter(|it| it.parent.is_some()).map(|it| it.oid).collect();
        let oids = |parts: &[Part]| -> Vec<u32> { parts.iter().map(|it| it.oid).collect() };
        let policies: Vec<u32> = self.policies.iter().map(|it| it.oid).collect();
        let defaults: Vec<u32> = self.columns.iter().filter_map(|it| it.default).collect();
        let domains: Vec<u32> = self.types.iter().filter(|it| it.kind == "d").map(|it| it.oid).collect();
        let class = "JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.o";
        let policy = "JOIN pg_catalog.pg_policy p ON p.oid OPERATOR(pg_catalog.=) u.o";
        let domain = "JOIN pg_catalog.pg_constraint k ON k.contypid OPERATOR(pg_catalog.=) u.o";
        let expression = |of: &str| format!("COALESCE(pg_catalog.pg_get_expr(p.{of}, p.polrelid), '')");
        let domain_of = print::<u32>(admin, "u.o", domain, &domains).await?;
        let checks = print::<String>(
            admin,
            "pg_catalog.format('CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid))",
            domain,
            &domains,
        );
        Ok(Printed {
            domain_checks: domain_of.into_iter().zip(checks.await?).collect(),
            bases: print_types(admin, &self.types.iter().map(|it| (it.base, it.typmod)).collect::<Vec<_>>()).await?,
            functions: print(admin, "pg_catalog.pg_get_functiondef(u.o)", "", &functions).await?,
            signatures: print(admin, "u.o::pg_catalog.regprocedure::pg_catalog.text", "", &functions).await?,
            types: print_types(admin, &self.columns.iter().map(|it| (it.type_oid, it.typmod)).collect::<Vec<_>>())
                .await?,
            defaults: print(
                admin,
                "pg_catalog.pg_get_expr(d.adbin, d.adrelid)",
                "JOIN pg_catalog.pg_attrdef d ON d.oid OPERATOR(pg_catalog.=) u.o",
                &defaults,
            )
            .await?,
            bounds: print(admin, "pg_catalog.pg_get_expr(c.relpartbound, c.oid)", class, &partitions).await?,
            partition_keys: print(admin, "pg_catalog.pg_get_partkeydef(u.o)", "", &relations(&["p"])).await?,
            views: print(admin, "pg_catalog.pg_get_viewdef(u.o)", "", &relations(&["v", "m"])).await?,
            constraints: print(admin, "pg_catalog.pg_get_constraintdef(u.o)", "", &oids(&self.constraints)).await?,
            indexes: print(admin, "pg_catalog.pg_get_indexdef(u.o, 0, true)", "", &oids(&self.indexes)).await?,
            triggers: print(admin, "pg_catalog.pg_get_triggerdef(u.o, true)", "", &oids(&self.triggers)).await?,
            using: print(admin, &expression("polqual"), policy, &policies).await?,
            checks: print(admin, &expression("polwithcheck"), policy, &policies).await?,
        })
    }
}
