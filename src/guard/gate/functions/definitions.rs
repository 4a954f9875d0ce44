//! Functions of the server that print an object's definition or comment by its number: a tenant gets those of objects that it sees in the
//! catalogs, and NULL for all others, as for an object that does not exist.

use pg_query::protobuf::Node;

use super::arguments::literal;
use crate::base::Mode;
use crate::guard::Policy;
use crate::guard::gate::relations;

/// How an object is known that a function prints the definition of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    /// The catalog that lists such objects.
    catalog: &'static str,
    /// Its column with their numbers.
    column: &'static str,
    /// The type that an argument is cast to if it has none of its own, and always where it may be a name.
    argument: &'static str,
    /// Whether it may be a name.
    pub(crate) by_name: bool,
}

impl Printed {
    /// Of a call of a function of `pg_catalog`. Source: ruleutils.c, system_functions.sql.
    pub(crate) fn by(function: &str, args: &[Node]) -> Option<Self> {
        let by_oid = |catalog, column| Some(Self { catalog, column, argument: "oid", by_name: false });
        match function {
            "pg_get_constraintdef" => by_oid("pg_constraint", "oid"),
            "pg_get_indexdef" => by_oid("pg_index", "indexrelid"),
            "pg_get_partition_constraintdef" => by_oid("pg_class", "oid"),
            "pg_get_partkeydef" => by_oid("pg_partitioned_table", "partrelid"),
            "pg_get_ruledef" => by_oid("pg_rewrite", "oid"),
            "pg_get_triggerdef" => by_oid("pg_trigger", "oid"),
            "pg_get_statisticsobjdef" | "pg_get_statisticsobjdef_columns" | "pg_get_statisticsobjdef_expressions" => {
                by_oid("pg_statistic_ext", "oid")
            }
            "pg_get_function_arg_default"
            | "pg_get_function_arguments"
            | "pg_get_function_identity_arguments"
            | "pg_get_function_result" => by_oid("pg_proc", "oid"),
            "col_description" => by_oid("pg_class", "oid"),
            "obj_description" => match args.get(1).and_then(literal).and_then(of_schemas) {
                Some(catalog) => by_oid(catalog, "oid"),
                None => by_oid("pg_description", "objoid"),
            },
            "pg_get_viewdef" => Some(Self { catalog: "pg_class", column: "oid", argument: "regclass", by_name: true }),
            _ => None,
        }
    }

    /// Whether a function of that name is one.
    pub(crate) fn is_by(function: &str) -> bool {
        Self::by(function, &[]).is_some()
    }

    /// `value`, or NULL where the tenant does not see that object. The value is taken once, in the place of `NULL`, so that the one
    /// that is looked for is the one that is given; no name in it can mean something of this query.
    pub(crate) fn seen(self, policy: &Policy, mode: &Mode) -> Option<String> {
        let Self { catalog, column, argument, by_name: _ } = self;
        let seen = relations::seen_rows(policy, mode, catalog)?;
        Some(format!(
            "(SELECT v.x FROM (SELECT NULL::pg_catalog.{argument} AS x OFFSET 0) v WHERE EXISTS (SELECT 1 FROM pg_catalog.{catalog} \
             WHERE {column} OPERATOR(pg_catalog.=) v.x AND {seen}))"
        ))
    }
}

/// A catalog of objects that each schema, or relation in one, has of its own.
fn of_schemas(catalog: &str) -> Option<&'static str> {
    const OF_SCHEMAS: &[&str] =
        &["pg_class", "pg_constraint", "pg_namespace", "pg_policy", "pg_proc", "pg_rewrite", "pg_trigger", "pg_type"];
    OF_SCHEMAS.iter().copied().find(|it| *it == catalog)
}
