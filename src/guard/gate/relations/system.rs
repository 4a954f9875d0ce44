//! System relations: an allow list for tenants that share a database; masks for columns and rows that tell of others.
//! Source: attacks measured on Postgres 15, and the introspection queries of psql, drivers and ORMs.

use crate::base::{Mode, Refusal};
use crate::catalog::{Column, Relation};
use crate::guard::Policy;

use super::{Resolved, own_part, system_denied, visible};
use crate::sql::quote_identifier;

/// How a system relation is shown: through a subquery with these columns, and only these rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Columns that become an expression: name, SQL text. All others stay.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// Of the columns, only these are shown: all others become NULL. Empty: all are.
    pub(crate) names_only: &'static [&'static str],
    /// Rows shown: a condition in SQL text over the relation's columns.
    pub(crate) rows: Option<String>,
}

impl Mask {
    /// The subquery that stands for the relation: `SELECT "oid", ..., expr AS "reltuples" FROM pg_catalog.pg_class WHERE ...`.
    /// `tableoid` adds that system column (only when the statement names it, so that `*` keeps its width).
    pub(crate) fn subquery(&self, relation: &Relation, tableoid: bool) -> String {
        let mut items: Vec<String> = relation.columns.iter().map(|column| self.item(column)).collect();
        if tableoid {
            items.push("tableoid".to_owned());
        }
        let mut sql = format!(
            "SELECT {} FROM {}.{}",
            items.join(", "),
            quote_identifier(&relation.name.schema),
            quote_identifier(&relation.name.name)
        );
        if let Some(rows) = &self.rows {
            sql.push_str(" WHERE ");
            sql.push_str(rows);
        }
        sql
    }

    fn item(&self, column: &Column) -> String {
        let name = quote_identifier(&column.name);
        match self.columns.iter().find(|(masked, _)| *masked == column.name) {
            Some((_, expression)) => format!("{expression} AS {name}"),
            None if !self.names_only.is_empty() && !self.names_only.contains(&column.name.as_str()) => {
                format!("NULL::{} AS {name}", column.type_name)
            }
            None => name,
        }
    }
}

/// Relations of `pg_catalog` that describe the schema and nothing else.
const CATALOG: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_cast",
    "pg_collation",
    "pg_constraint",
    "pg_conversion",
    "pg_default_acl",
    "pg_depend",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_matviews",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_rules",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_tables",
    "pg_tablespace",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_views",
];

/// Views of `information_schema` that describe the schema and nothing else.
const INFORMATION_SCHEMA: &[&str] = &[
    "attributes",
    "character_sets",
    "check_constraint_routine_usage",
    "check_constraints",
    "collation_character_set_applicability",
    "collations",
    "column_column_usage",
    "column_domain_usage",
    "column_privileges",
    "column_udt_usage",
    "columns",
    "constraint_column_usage",
    "constraint_table_usage",
    "data_type_privileges",
    "domain_constraints",
    "domain_udt_usage",
    "domains",
    "element_types",
    "information_schema_catalog_name",
    "key_column_usage",
    "parameters",
    "referential_constraints",
    "role_column_grants",
    "role_table_grants",
    "role_routine_grants",
    "role_usage_grants",
    "role_udt_grants",
    "routine_privileges",
    "schemata",
    "sequences",
    "sql_features",
    "sql_implementation_info",
    "sql_parts",
    "sql_sizing",
    "table_constraints",
    "table_privileges",
    "tables",
    "triggered_update_columns",
    "triggers",
    "udt_privileges",
    "usage_privileges",
    "user_defined_types",
    "view_column_usage",
    "view_routine_usage",
    "view_table_usage",
    "views",
];

/// A masked relation: name, columns that become constants, rows shown.
type Masked = (&'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

/// `pg_catalog` relations with columns or rows that tell of other tenants: row counts, last values, sources of functions,
/// other databases and roles (a tenant of the database layout may be named by its database), customised settings.
const MASKED_CATALOG: &[Masked] = &[
    (
        "pg_class",
        &[
            ("relpages", "0::pg_catalog.int4"),
            ("reltuples", "'-1'::pg_catalog.float4"),
            ("relallvisible", "0::pg_catalog.int4"),
            ("relallfrozen", "0::pg_catalog.int4"),
            ("relfilenode", "'0'::pg_catalog.oid"),
            ("relfrozenxid", "'0'::pg_catalog.xid"),
            ("relminmxid", "'0'::pg_catalog.xid"),
        ],
        None,
    ),
    ("pg_attribute", &[("attmissingval", "NULL::pg_catalog.text")], None),
    (
        "pg_proc",
        &[
            ("prosrc", "''::pg_catalog.text"),
            ("probin", "NULL::pg_catalog.text"),
            ("prosqlbody", "NULL::pg_catalog.pg_node_tree"),
        ],
        None,
    ),
    ("pg_sequences", &[("last_value", "NULL::pg_catalog.int8")], None),
    (
        "pg_database",
        &[("datfrozenxid", "'0'::pg_catalog.xid"), ("datminmxid", "'0'::pg_catalog.xid")],
        Some("datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"),
    ),
    ("pg_roles", &[("rolconfig", "NULL::pg_catalog.text[]")], Some("rolname OPERATOR(pg_catalog.=) CURRENT_USER")),
    ("pg_user", &[("useconfig", "NULL::pg_catalog.text[]")], Some("usename OPERATOR(pg_catalog.=) CURRENT_USER")),
    ("pg_description", &[("description", "NULL::pg_catalog.text")], None),
    ("pg_auth_members", &[], Some("false")),
    ("pg_shdescription", &[], Some("false")),
    (
        "pg_settings",
        &[("sourcefile", "NULL::pg_catalog.text"), ("sourceline", "NULL::pg_catalog.int4")],
        Some("pg_catalog.strpos(name, '.') OPERATOR(pg_catalog.=) 0"),
    ),
];

/// Views that count what all tenants do with a table or index: they list the relations, for whoever joins them, and NULL for the
/// counts.
const COUNTING: &[&str] = &[
    "pg_stat_all_indexes",
    "pg_stat_all_tables",
    "pg_stat_user_indexes",
    "pg_stat_user_tables",
    "pg_statio_all_indexes",
    "pg_statio_all_tables",
    "pg_statio_user_indexes",
    "pg_statio_user_tables",
];

/// What is no count in these.
const NAMES_OF_COUNTED: &[&str] = &["relid", "indexrelid", "schemaname", "relname", "indexrelname"];

/// The same of `information_schema`.
const MASKED_INFORMATION_SCHEMA: &[Masked] = &[
    ("routines", &[("routine_definition", "NULL::pg_catalog.text")], None),
    // The pool's role is a member of the tenants' roles.
    ("applicable_roles", &[], Some("false")),
    ("enabled_roles", &[], Some("role_name OPERATOR(pg_catalog.=) CURRENT_USER")),
];

/// Relations that show what lies outside of the database, or what other sessions in it do: where a tenant has a database of its own,
/// its server may not be its own.
const LEAVES_DATABASE: &[&str] = &[
    "pg_authid",
    "pg_backend_memory_contexts",
    "pg_config",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_prepared_xacts",
    "pg_replication_origin",
    "pg_replication_origin_status",
    "pg_replication_slots",
    "pg_shadow",
    "pg_shmem_allocations",
    "pg_stat_activity",
    "pg_stat_archiver",
    "pg_stat_bgwriter",
    "pg_stat_database",
    "pg_stat_database_conflicts",
    "pg_stat_gssapi",
    "pg_stat_io",
    "pg_stat_checkpointer",
    "pg_stat_progress_analyze",
    "pg_stat_progress_basebackup",
    "pg_stat_progress_cluster",
    "pg_stat_progress_copy",
    "pg_stat_progress_create_index",
    "pg_stat_progress_vacuum",
    "pg_stat_recovery_prefetch",
    "pg_stat_replication",
    "pg_stat_replication_slots",
    "pg_stat_slru",
    "pg_stat_ssl",
    "pg_stat_statements",
    "pg_stat_statements_info",
    "pg_stat_subscription",
    "pg_stat_subscription_stats",
    "pg_stat_wal",
    "pg_stat_wal_receiver",
    "pg_buffercache",
    "pg_locks",
    "pg_db_role_setting",
    "pg_shdepend",
    "pg_shseclabel",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_parameter_acl",
    "pg_group",
    "pg_aios",
    "pg_wait_events",
];

/// Whether a system or extension relation of that name shows more than the database.
pub(super) fn leaves_database(name: &str) -> bool {
    LEAVES_DATABASE.contains(&name)
}

/// The rule for a relation of a system schema.
pub(super) fn rule<'p>(policy: &'p Policy, mode: &Mode, relation: &'p Relation) -> Result<Resolved<'p>, Refusal> {
    let name = relation.name.name.as_str();
    let (open, masked): (&[&str], &[Masked]) = match relation.name.schema.as_str() {
        "pg_catalog" => (CATALOG, MASKED_CATALOG),
        "information_schema" => (INFORMATION_SCHEMA, MASKED_INFORMATION_SCHEMA),
        // An extension's, or pg_toast: nothing is open in it.
        _ => (&[], &[]),
    };
    let mask = masked.iter().find(|(masked, _, _)| *masked == name).map(|(_, columns, rows)| Mask {
        columns,
        names_only: &[],
        rows: rows.map(str::to_owned),
    });
    let counting = relation.name.schema == "pg_catalog" && COUNTING.contains(&name);
    let mask = mask.or_else(|| counting.then_some(Mask { columns: &[], names_only: NAMES_OF_COUNTED, rows: None }));
    match mode {
        Mode::Operator => Ok(Resolved::Free(Some(relation))),
        Mode::Database => in_database(relation, mask),
        // Comments on one's own schema are one's own; those on shared tables are the operator's.
        Mode::Schema(_) if name == "pg_description" => {
            Ok(Resolved::System(relation, merge(None, visible::rows(policy, mode, relation))))
        }
        Mode::Shared | Mode::Reader | Mode::Schema(_) => {
            let own = visible::rows(policy, mode, relation);
            if mask.is_none() && !open.contains(&name) {
                return Err(system_denied(&relation.name));
            }
            Ok(Resolved::System(relation, merge(mask, own)))
        }
    }
}

/// In a database of its own a tenant sees all of it; of what the server shares, its own part.
fn in_database(relation: &Relation, mask: Option<Mask>) -> Result<Resolved<'_>, Refusal> {
    let name = relation.name.name.as_str();
    if let Some(mask) = own_part::mask(relation) {
        return Ok(Resolved::System(relation, Some(mask)));
    }
    if leaves_database(name) {
        return Err(system_denied(&relation.name));
    }
    match name {
        "pg_database" | "pg_roles" | "pg_user" | "pg_auth_members" | "pg_shdescription" => {
            Ok(Resolved::System(relation, mask))
        }
        // All others hold what is in the database, or what every tenant may see: a test has those that databases share.
        _ => Ok(Resolved::Free(Some(relation))),
    }
}

/// Both conditions on the rows.
fn merge(mask: Option<Mask>, own: Option<String>) -> Option<Mask> {
    match (mask, own) {
        (mask, None) => mask,
        (None, Some(own)) => Some(Mask { columns: &[], names_only: &[], rows: Some(own) }),
        (Some(mask), Some(own)) => Some(Mask {
            columns: mask.columns,
            names_only: mask.names_only,
            rows: Some(match mask.rows {
                Some(rows) => format!("({rows}) AND ({own})"),
                None => own,
            }),
        }),
    }
}
