//! Which rows of the system catalogs a tenant sees: schemas of other tenants, relations that no rule allows, and temporary
//! tables of other sessions do not show up in them. (Names of the former are no secret where an error or an oid gives them
//! away; their contents are never here.)

use crate::base::Mode;
use crate::catalog::{RelKind, Relation};
use crate::guard::Policy;
use crate::guard::gate::names::search_path;
use crate::sql::{quote_identifier, quote_literal};

/// The condition on the rows of a system relation, if it needs one.
pub(super) fn rows(policy: &Policy, mode: &Mode, relation: &Relation) -> Option<String> {
    if matches!(mode, Mode::Database | Mode::Operator) {
        return None;
    }
    if is_catalog(relation, "pg_depend") {
        return Some(dependencies(policy, mode));
    }
    let sight = Sight::new(policy, mode);
    let conditions = match relation.name.schema.as_str() {
        "pg_catalog" => sight.catalog(relation),
        _ => sight.information_schema(relation),
    };
    (!conditions.is_empty()).then(|| conditions.join(" AND "))
}

/// The same of a relation of `pg_catalog` by its name, as a condition that always stands: `None` if there is no such relation.
pub(crate) fn seen_rows(policy: &Policy, mode: &Mode, name: &str) -> Option<String> {
    let relation = policy.catalog.relation("pg_catalog", name)?;
    Some(rows(policy, mode, relation).unwrap_or_else(|| "true".to_owned()))
}

fn is_catalog(relation: &Relation, name: &str) -> bool {
    relation.name.schema == "pg_catalog" && relation.name.name == name
}

/// Catalogs of objects that others have too. All other objects depend on one of these.
const OF_OBJECTS: &[&str] = &["pg_class", "pg_constraint", "pg_namespace", "pg_proc", "pg_type"];

/// Dependencies between objects that are both seen.
fn dependencies(policy: &Policy, mode: &Mode) -> String {
    let side = |class: &str, object: &str| {
        let seen = OF_OBJECTS.iter().filter_map(|catalog| {
            let rows = seen_rows(policy, mode, catalog)?;
            Some(format!(
                "WHEN {class} OPERATOR(pg_catalog.=) 'pg_catalog.{catalog}'::pg_catalog.regclass THEN {object} OPERATOR(pg_catalog.=) ANY \
                 (SELECT oid FROM pg_catalog.{catalog} WHERE {rows})"
            ))
        });
        format!("CASE {} ELSE true END", seen.collect::<Vec<_>>().join(" "))
    };
    format!("{} AND {}", side("classid", "objid"), side("refclassid", "refobjid"))
}

/// What the session may see.
struct Sight<'p> {
    mode: &'p Mode,
    schemas: Vec<&'p str>,
    /// Schemas exist that it may not see.
    hides_schemas: bool,
    /// Relations in visible schemas that it may not see.
    hidden: Vec<&'p Relation>,
}

/// Columns with the oid of a relation, by system relation.
const RELATION_OID: &[(&str, &str)] = &[
    ("pg_attrdef", "adrelid"),
    ("pg_attribute", "attrelid"),
    ("pg_class", "oid"),
    ("pg_constraint", "conrelid"),
    ("pg_description", "objoid"),
    ("pg_index", "indrelid"),
    ("pg_inherits", "inhrelid"),
    ("pg_partitioned_table", "partrelid"),
    ("pg_policy", "polrelid"),
    ("pg_rewrite", "ev_class"),
    ("pg_sequence", "seqrelid"),
    ("pg_statistic_ext", "stxrelid"),
    ("pg_trigger", "tgrelid"),
];

/// Columns with the oid of a schema.
const SCHEMA_OID: &[(&str, &str)] = &[
    ("pg_class", "relnamespace"),
    ("pg_collation", "collnamespace"),
    ("pg_constraint", "connamespace"),
    ("pg_proc", "pronamespace"),
    ("pg_type", "typnamespace"),
];

/// Of these, the ones in which temporary tables show.
const HOLD_TEMPORARY: &[&str] = &["pg_class", "pg_constraint", "pg_type"];

/// Oids of the temporary relations of other sessions.
const OTHERS_TEMPORARY: &str = "ARRAY(SELECT oid FROM pg_catalog.pg_class WHERE relpersistence OPERATOR(pg_catalog.=) 't' \
     AND pg_catalog.pg_is_other_temp_schema(relnamespace))";

/// The schema of the session's own.
const OWN_TEMPORARY: &str =
    "(SELECT nspname FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())";

/// Columns with a schema's and a relation's name.
const NAMES: &[(&str, &str)] = &[
    ("table_schema", "table_name"),
    ("event_object_schema", "event_object_table"),
    ("schemaname", "tablename"),
    ("schemaname", "viewname"),
    ("schemaname", "matviewname"),
    ("schemaname", "relname"),
];

/// Columns with a schema's name, the most telling first.
const SCHEMA_NAME: &[&str] = &[
    "table_schema",
    "event_object_schema",
    "schemaname",
    "nspname",
    "schema_name",
    "routine_schema",
    "sequence_schema",
    "domain_schema",
    "specific_schema",
    "constraint_schema",
    "object_schema",
    "udt_schema",
    "user_defined_type_schema",
    "trigger_schema",
];

impl<'p> Sight<'p> {
    fn new(policy: &'p Policy, mode: &'p Mode) -> Self {
        let mut schemas = search_path(policy, mode);
        schemas.push("information_schema");
        schemas.extend(
            policy
                .tables
                .iter()
                .filter(|(_, rule)| mode.is_shared() || matches!(rule, crate::guard::TableRule::Shared(_)))
                .map(|(name, _)| name.schema.as_str()),
        );
        schemas.sort_unstable();
        schemas.dedup();
        let hides_schemas =
            policy.catalog.schemas.iter().any(|s| !s.starts_with("pg_") && !schemas.contains(&s.as_str()));
        let mut hidden: Vec<_> = match mode {
            Mode::Shared | Mode::Reader => {
                policy.catalog.relations.values().filter(|r| is_hidden(policy, &schemas, r)).collect()
            }
            Mode::Schema(own) => policy
                .catalog
                .relations
                .values()
                .filter(|r| r.name.schema != own.as_ref() && is_hidden(policy, &schemas, r))
                .collect(),
            Mode::Database | Mode::Operator => Vec::new(),
        };
        // Texts of one policy must not differ: they are cached, and prepared on servers.
        hidden.sort_unstable_by_key(|r| r.oid);
        Self { mode, schemas, hides_schemas, hidden }
    }

    fn catalog(&self, relation: &Relation) -> Vec<String> {
        let name = relation.name.name.as_str();
        let column = |table: &[(&str, &'static str)]| table.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
        let mut conditions = Vec::new();
        let schema = column(SCHEMA_OID);
        if let Some(schema) = schema.filter(|_| self.hides_schemas) {
            conditions.push(format!("{schema} OPERATOR(pg_catalog.=) ANY ({})", self.schema_oids()));
        } else if let Some(schema) = schema.filter(|_| HOLD_TEMPORARY.contains(&name)) {
            conditions.push(format!("NOT pg_catalog.pg_is_other_temp_schema({schema})"));
        }
        if let Some(oid) = column(RELATION_OID) {
            if schema.is_none() {
                conditions.push(format!("{oid} OPERATOR(pg_catalog.<>) ALL ({OTHERS_TEMPORARY})"));
            }
            // A catalog of relations without a schema column of its own: by the relation's schema.
            if self.hides_schemas && matches!(self.mode, Mode::Schema(_)) && name != "pg_class" {
                conditions.push(format!(
                    "({oid} OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM pg_catalog.pg_class WHERE relnamespace \
                     OPERATOR(pg_catalog.=) ANY ({}))) OR {oid} OPERATOR(pg_catalog.=) '0'::pg_catalog.oid)",
                    self.schema_oids()
                ));
            }
            if !self.hidden.is_empty() {
                let oids: Vec<String> = self.hidden.iter().map(|r| r.oid.to_string()).collect();
                let oids = format!("'{{{}}}'::pg_catalog.oid[]", oids.join(","));
                conditions.push(format!("{oid} OPERATOR(pg_catalog.<>) ALL ({oids})"));
                if name == "pg_class" {
                    conditions.push(format!(
                        "{oid} OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid \
                         OPERATOR(pg_catalog.=) ANY ({oids})))"
                    ));
                }
            }
        }
        conditions.extend(self.by_name(relation));
        conditions
    }

    fn information_schema(&self, relation: &Relation) -> Vec<String> {
        self.by_name(relation)
    }

    fn by_name(&self, relation: &Relation) -> Vec<String> {
        let mut conditions = Vec::new();
        let schema = SCHEMA_NAME.iter().find(|c| relation.column(c).is_some());
        if let Some(schema) = schema {
            let seen = if self.hides_schemas {
                format!("{schema} OPERATOR(pg_catalog.=) ANY ({})", self.schema_names())
            } else {
                format!("pg_catalog.starts_with({schema}::pg_catalog.text, 'pg_temp_') IS NOT TRUE")
            };
            conditions.push(format!("({seen} OR {schema} OPERATOR(pg_catalog.=) {OWN_TEMPORARY})"));
        }
        let names = NAMES.iter().find(|(s, t)| relation.column(s).is_some() && relation.column(t).is_some());
        if !self.hidden.is_empty()
            && let Some((schema, table)) = names
        {
            let hidden: Vec<String> = self.hidden.iter().map(|r| quote_literal(&r.name.to_string())).collect();
            conditions.push(format!(
                "pg_catalog.concat({schema}, '.', {table}) OPERATOR(pg_catalog.<>) ALL (ARRAY[{}]::pg_catalog.text[])",
                hidden.join(", ")
            ));
        }
        conditions
    }

    fn schema_names(&self) -> String {
        let names: Vec<String> = self.schemas.iter().map(|s| quote_literal(s)).collect();
        format!("ARRAY[{}]::pg_catalog.name[]", names.join(", "))
    }

    fn schema_oids(&self) -> String {
        let named = |s: &&str| format!("pg_catalog.to_regnamespace({})", quote_literal(&quote_identifier(s)));
        let own = "pg_catalog.pg_my_temp_schema()".to_owned();
        let oids: Vec<String> = self.schemas.iter().map(named).chain([own]).collect();
        format!("ARRAY[{}]::pg_catalog.oid[]", oids.join(", "))
    }
}

/// A relation in a visible schema that no rule of the configuration allows.
fn is_hidden(policy: &Policy, visible: &[&str], relation: &Relation) -> bool {
    let schema = relation.name.schema.as_str();
    let holds_rows = match relation.kind {
        RelKind::Table
        | RelKind::PartitionedTable
        | RelKind::View
        | RelKind::MaterializedView
        | RelKind::ForeignTable => true,
        RelKind::Sequence | RelKind::Index | RelKind::Toast | RelKind::CompositeType => false,
    };
    holds_rows
        && !super::is_system_schema(schema)
        && visible.contains(&schema)
        && !policy.tables.contains_key(&relation.name)
        && !policy.views.contains_key(&relation.name)
}
