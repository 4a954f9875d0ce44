//! What extensions' functions do, and which functions reach beyond their database.

use crate::catalog::{Function, Volatility};

/// Extensions whose functions compute on their arguments alone, with the few that do not.
const VALUE_EXTENSIONS: &[(&str, &[&str])] = &[
    ("btree_gin", &[]),
    ("btree_gist", &[]),
    ("citext", &[]),
    ("cube", &[]),
    ("dict_int", &[]),
    ("dict_xsyn", &[]),
    ("earthdistance", &[]),
    ("fuzzystrmatch", &[]),
    ("hstore", &[]),
    ("intarray", &[]),
    ("isn", &["isn_weak"]),
    ("ltree", &[]),
    ("pg_trgm", &["set_limit"]),
    ("pgcrypto", &[]),
    ("seg", &[]),
    ("tsm_system_rows", &[]),
    ("tsm_system_time", &[]),
    ("unaccent", &[]),
    ("uuid-ossp", &[]),
    ("vector", &[]),
];

/// Extensions of whose functions only the IMMUTABLE ones compute on their arguments alone.
const IMMUTABLE_OF: &[&str] = &["h3", "ip4r", "pg_jsonschema", "postgis", "postgis_raster", "prefix", "semver"];

/// Extensions whose functions reach other databases, other sessions, files or raw pages.
const REACHING_EXTENSIONS: &[&str] = &[
    "adminpack",
    "dblink",
    "file_fdw",
    "mysql_fdw",
    "oracle_fdw",
    "pg_background",
    "pg_buffercache",
    "pg_cron",
    "pg_net",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_walinspect",
    "plperlu",
    "plpython3u",
    "pltclu",
    "plsh",
    "postgres_fdw",
    "http",
    "tds_fdw",
    "sslinfo",
];

/// Names of functions that reach beyond the database; `*` at the end stands for any rest.
const REACHING: &[&str] = &[
    "binary_upgrade_*",
    "dblink*",
    "lo_export",
    "lo_import",
    "pg_backup_*",
    "pg_blocking_pids",
    "pg_cancel_backend",
    "pg_control_*",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_*",
    "pg_current_logfile",
    "pg_current_wal_*",
    "pg_database_size",
    "pg_drop_replication_slot",
    "pg_export_snapshot",
    "pg_file_*",
    "pg_get_backend_memory_contexts",
    "pg_get_replication_slots",
    "pg_get_shmem_allocations",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_import_system_collations",
    "pg_last_*",
    "pg_lock_status",
    "pg_log_*",
    "pg_logdir_ls",
    "pg_logfile_rotate",
    "pg_logical_*",
    "pg_ls_*",
    "pg_prepared_xact",
    "pg_promote",
    "pg_read_*",
    "pg_reload_conf",
    "pg_replication_*",
    "pg_rotate_logfile*",
    "pg_safe_snapshot_blocking_pids",
    "pg_show_all_file_settings",
    "pg_show_replication_origin_status",
    "pg_start_backup",
    "pg_stat_file",
    "pg_stat_get_activity",
    "pg_stat_get_archiver",
    "pg_stat_get_backend_*",
    "pg_stat_get_db_*",
    "pg_stat_get_progress_info",
    "pg_stat_get_replication_slot",
    "pg_stat_get_slru",
    "pg_stat_get_subscription*",
    "pg_stat_get_wal*",
    // pg_stat_reset() is for the database it is called in.
    "pg_stat_reset_*",
    "pg_stat_statements*",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_tablespace_*",
    "pg_terminate_backend",
    "pg_wal_*",
    "postgres_fdw_*",
];

/// Whether a function of an extension may be called by every tenant.
pub(super) fn extension_function_is_safe(extension: &str, function: &Function) -> bool {
    let bare = function.name.name.as_str();
    if IMMUTABLE_OF.contains(&extension) {
        return function.volatility == Volatility::Immutable && !function.security_definer;
    }
    VALUE_EXTENSIONS.iter().find(|(name, _)| *name == extension).is_some_and(|(_, except)| !except.contains(&bare))
}

/// Whether operators of an extension may be used by every tenant.
pub(crate) fn extension_is_safe(extension: &str) -> bool {
    IMMUTABLE_OF.contains(&extension) || VALUE_EXTENSIONS.iter().any(|(name, _)| *name == extension)
}

/// Whether an extension gives functions that reach beyond the database.
pub(in crate::guard::gate) fn extension_reaches_out(extension: &str) -> bool {
    REACHING_EXTENSIONS.contains(&extension)
}

/// Whether a function reaches beyond its database.
pub(super) fn leaves_database(function: &Function) -> bool {
    function.extension.as_deref().is_some_and(extension_reaches_out) || name_leaves_database(&function.name.name)
}

/// The same by name alone: `*` of the list matches any rest.
pub(super) fn name_leaves_database(bare: &str) -> bool {
    REACHING.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => bare.starts_with(prefix),
        None => bare == *pattern,
    })
}
