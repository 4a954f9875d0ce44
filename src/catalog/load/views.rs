//! What views are made of. As in `queries`, all names are the system's.

use tokio_postgres::{Row, Transaction};

use super::LoadError;
use super::queries::{name, query};
use crate::base::QualifiedName;
use crate::catalog::model::View;

/// Views that the role may read (none where there are very many, as with a schema for each tenant: to print them takes a tenth of a
/// millisecond each), and what of them tells that they have changed.
macro_rules! views {
    ($columns:literal) => {
        concat!(
            "SELECT n.nspname, c.relname AS name,
                    NOT c.relhastriggers AND NOT EXISTS (SELECT FROM pg_rewrite o WHERE o.ev_class = c.oid AND o.oid <> r.oid) AS plain, ",
            $columns,
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
              WHERE c.relkind = 'v' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                AND (SELECT count(*) FROM pg_class v WHERE v.relkind = 'v' AND v.oid >= 16384) <= 2000
                AND has_table_privilege(c.oid, 'SELECT')
                AND NOT EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
                                WHERE o.option_name = 'security_barrier' AND o.option_value::bool)
                AND NOT EXISTS (SELECT FROM pg_depend d
                                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
              ORDER BY 1, 2"
        )
    };
}

/// To print a view's query takes locks on what it reads; to see that it is another does not.
pub(super) const VIEWS: &str = views!("sha256(convert_to(r.ev_action::text, 'UTF8')) AS query");

/// Constants of enum types are printed by their labels, which may be renamed.
pub(super) const LABELS: &str = "SELECT e.oid, e.enumlabel FROM pg_enum e ORDER BY 1";

/// Nothing is waited for: what somebody locks altogether, or waits to lock so, is left out.
const QUERIES: &str = concat!(
    "WITH locked AS MATERIALIZED (SELECT DISTINCT relation FROM pg_locks
         WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) ",
    views!(
        "CASE WHEN EXISTS (SELECT FROM pg_depend d JOIN locked l ON l.relation = d.refobjid
                           WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass)
              THEN NULL ELSE pg_get_viewdef(c.oid) END AS query"
    )
);

/// What was found.
pub(super) struct Views {
    /// By name.
    pub(super) readable: Vec<(QualifiedName, View)>,
    /// Some were left out, since somebody holds what they read: they are to be asked for again.
    pub(super) locked: bool,
}

pub(super) async fn load(transaction: &Transaction<'_>) -> Result<Views, LoadError> {
    let read = |row: &Row| {
        let query: Option<String> = row.try_get("query")?;
        let plain = row.try_get("plain")?;
        Ok((name(row)?, query.map(|query| View { query, plain })))
    };
    let all = query(transaction, QUERIES, read).await?;
    let locked = all.iter().any(|(_, view)| view.is_none());
    Ok(Views { readable: all.into_iter().filter_map(|(name, view)| Some((name, view?))).collect(), locked })
}
