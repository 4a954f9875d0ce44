//! What a tenant with a database of its own sees of what the server shares: the part that is about this database or session.

use super::system::Mask;
use crate::catalog::Relation;

/// The name of this database ...
macro_rules! here {
    () => {
        "OPERATOR(pg_catalog.=) pg_catalog.current_database()"
    };
}

/// ... the processes of its sessions, and its oid.
macro_rules! sessions_here {
    () => {
        concat!("ANY (ARRAY(SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.datname ", here!(), "))")
    };
}
macro_rules! oid_here {
    () => {
        concat!("OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname ", here!(), ")")
    };
}

/// Of those, the rows that are about this database, for a tenant that has it to itself.
const OWN_PART: &[(&str, &str)] = &[
    ("pg_stat_activity", concat!("datname ", here!())),
    ("pg_stat_database", concat!("datname ", here!())),
    ("pg_stat_database_conflicts", concat!("datname ", here!())),
    ("pg_stat_progress_analyze", concat!("datname ", here!())),
    ("pg_stat_progress_cluster", concat!("datname ", here!())),
    ("pg_stat_progress_copy", concat!("datname ", here!())),
    ("pg_stat_progress_create_index", concat!("datname ", here!())),
    ("pg_stat_progress_vacuum", concat!("datname ", here!())),
    ("pg_stat_ssl", concat!("pid OPERATOR(pg_catalog.=) ", sessions_here!())),
    ("pg_stat_gssapi", concat!("pid OPERATOR(pg_catalog.=) ", sessions_here!())),
    ("pg_locks", concat!("pid OPERATOR(pg_catalog.=) ", sessions_here!())),
    ("pg_prepared_xacts", concat!("database ", here!())),
    ("pg_db_role_setting", concat!("setdatabase ", oid_here!())),
    ("pg_shdepend", concat!("dbid ", oid_here!())),
];

/// What SQL's PREPARE has made shows under the names that the client gave; the names that pgwarden gives are none of its business.
/// They begin with [`SQL_PREPARED_PREFIX`](crate::guard::SQL_PREPARED_PREFIX).
const PREPARED: &[(&str, &str)] = &[
    ("name", "pg_catalog.substr(name, 8)"),
    ("statement", "pg_catalog.regexp_replace(statement, '(prepare \"?)client_', '\\1', 'gi')"),
];

/// The part of a system relation that is the tenant's own, if that is not all of it or none.
pub(super) fn mask(relation: &Relation) -> Option<Mask> {
    let name = relation.name.name.as_str();
    if relation.name.schema != "pg_catalog" {
        return None;
    }
    if name == "pg_prepared_statements" {
        return Some(Mask { columns: PREPARED, names_only: &[], rows: Some("from_sql".to_owned()) });
    }
    let (_, rows) = OWN_PART.iter().find(|(of, _)| *of == name)?;
    Some(Mask { columns: &[], names_only: &[], rows: Some((*rows).to_owned()) })
}
