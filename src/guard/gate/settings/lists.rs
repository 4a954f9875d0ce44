//! The lists behind the setting rules.

/// Any value is the session's own business.
pub(super) const FREE: &[&str] = &[
    "application_name",
    "bytea_output",
    "check_function_bodies",
    "client_min_messages",
    "datestyle",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "geqo_seed",
    "hnsw.ef_search",
    "hnsw.iterative_scan",
    "hnsw.max_scan_tuples",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "ivfflat.iterative_scan",
    "ivfflat.max_probes",
    "ivfflat.probes",
    "jit", // asyncpg turns it off round its look-ups
    "lock_timeout",
    "pg_trgm.similarity_threshold",
    "pg_trgm.strict_word_similarity_threshold",
    "pg_trgm.word_similarity_threshold",
    "plan_cache_mode",
    "statement_timeout",
    "synchronous_commit",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_timeout",
];

/// What keeps a reader's transactions read-only.
pub(crate) const READ_ONLY: &[&str] = &["default_transaction_read_only", "transaction_read_only"];

/// No tenant changes these, not even in a database of its own: they are whom the session acts for, how texts are read, or
/// what the server loads.
pub(super) const SEALED: &[&str] = &[
    "backslash_quote",
    "dynamic_library_path",
    "is_superuser",
    "local_preload_libraries",
    "role",
    "session_authorization",
    "session_preload_libraries",
    "session_replication_role",
    "shared_preload_libraries",
    "idle_session_timeout",
];

/// Settings that tenants may read, besides those they may set.
pub(super) const READABLE: &[&str] = &[
    "array_nulls",
    "block_size",
    "constraint_exclusion",
    "cursor_tuple_fraction",
    "default_table_access_method",
    "default_tablespace",
    "escape_string_warning",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "max_function_args",
    "max_identifier_length",
    "max_index_keys",
    "role",
    "scram_iterations",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "session_replication_role",
    "ssl",
    "timezone_abbreviations",
    "wal_block_size",
    "work_mem",
    "xmlbinary",
    "xmloption",
];
