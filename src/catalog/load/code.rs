//! What views read, and what functions do beyond their callers' rights. As in `queries`, all names are the system's.

use tokio_postgres::{Row, Transaction};

use super::LoadError;
use super::queries::{ReadRow, name, query};
use crate::base::QualifiedName;
use crate::catalog::model::Setter;

pub(super) const READS: &str = r"
    SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind IN ('v', 'm')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.rulename = '_RETURN' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2";
pub(super) const SETTERS: &str = r"
    SELECT n.nspname, p.proname AS name,
           concat((SELECT string_agg('SET ' || s.it || '; ', '') FROM unnest(p.proconfig) s(it)), p.prosrc) AS text
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      AND (p.prosrc ~* '\m(set_config|reset|discard)\M' OR p.prosrc ~* '\mset\s+(local\s+|session\s+)?\S+\.'
           OR EXISTS (SELECT FROM unnest(p.proconfig) s(it) WHERE strpos(split_part(s.it, '=', 1), '.') > 0))
    ORDER BY 1, 2, p.oid";
pub(super) const UNBOUND_DEFINERS: &str = r"
    SELECT DISTINCT n.nspname, p.proname AS name
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND p.prosecdef
      AND EXISTS (SELECT FROM pg_roles o WHERE o.oid = p.proowner AND (o.rolsuper OR o.rolbypassrls))
    ORDER BY 1, 2";

/// In the order of oids.
pub(super) async fn reads(transaction: &Transaction<'_>) -> Result<Vec<ReadRow>, LoadError> {
    let read = |row: &Row| Ok(ReadRow { view: row.try_get(0)?, relation: row.try_get(1)? });
    query(transaction, READS, read).await
}

/// By name. The text is looked at where it is known which setting matters.
pub(super) async fn setters(transaction: &Transaction<'_>) -> Result<Vec<Setter>, LoadError> {
    let read = |row: &Row| Ok(Setter { name: name(row)?, text: row.try_get("text")? });
    query(transaction, SETTERS, read).await
}

/// Their owners see every row, whatever the policies.
pub(super) async fn unbound_definers(transaction: &Transaction<'_>) -> Result<Vec<QualifiedName>, LoadError> {
    query(transaction, UNBOUND_DEFINERS, name).await
}
