//! CREATE INDEX on a temporary table.

use pg_query::NodeEnum;
use pg_query::protobuf::{IndexElem, IndexStmt};

use super::{left_out, made};
use crate::base::Refusal;
use crate::guard::Policy;
use crate::guard::gate::dispatch::{Gated, Parts, unsupported};
use crate::guard::gate::names::{parts as name_parts, truncated};
use crate::guard::gate::temporary;

/// Access methods of indexes that Postgres has.
const ACCESS_METHODS: &[&str] = &["btree", "hash", "gin", "gist", "spgist", "brin"];

/// Operator classes that indexes may name, by what they are for: patterns, documents, words.
const OPERATOR_CLASSES: &[&str] = &[
    "text_ops",
    "varchar_ops",
    "text_pattern_ops",
    "varchar_pattern_ops",
    "bpchar_pattern_ops",
    "jsonb_ops",
    "jsonb_path_ops",
    "gin_trgm_ops",
    "gist_trgm_ops",
];

pub(super) fn index(policy: &Policy, stmt: &mut IndexStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let IndexStmt {
        idxname,
        relation,
        access_method,
        table_space,
        index_params,
        index_including_params,
        options,
        where_clause,
        exclude_op_names,
        idxcomment,
        index_oid: _,
        old_number: _,
        old_create_subid: _,
        old_first_relfilelocator_subid: _,
        unique: _,
        nulls_not_distinct: _,
        primary: _,
        isconstraint: _,
        iswithoutoverlaps: _,
        deferrable: _,
        initdeferred: _,
        transformed: _,
        concurrent,
        if_not_exists: _,
        reset_default_tblspc: _,
    } = stmt;
    let more = !table_space.is_empty()
        || !options.is_empty()
        || !exclude_op_names.is_empty()
        || !idxcomment.is_empty()
        || *concurrent
        || !(access_method.is_empty() || ACCESS_METHODS.contains(&access_method.as_str()));
    if more {
        return Err(left_out("CONCURRENTLY, WITH, TABLESPACE or this access method"));
    }
    let Some(table) = relation.as_mut() else { return Err(unsupported("an index without a table")) };
    if idxname.is_empty() {
        temporary::check_made_up(policy, truncated(&table.relname))?;
    } else {
        temporary::check_new(policy, idxname)?;
    }
    for element in index_params.iter_mut().chain(index_including_params) {
        let Some(NodeEnum::IndexElem(element)) = element.node.as_mut() else { return Err(left_out("this part")) };
        let IndexElem {
            name: _,
            expr,
            indexcolname: _,
            collation,
            opclass,
            opclassopts,
            ordering: _,
            nulls_ordering: _,
        } = element.as_mut();
        let known = match name_parts(opclass).as_deref() {
            Some([]) => true,
            Some([name]) => OPERATOR_CLASSES.contains(name),
            Some(_) | None => false,
        };
        if !known || !collation.is_empty() || !opclassopts.is_empty() {
            return Err(left_out("COLLATE or this operator class"));
        }
        expr.as_deref_mut().map_or(Ok(()), |expression| parts.defined(expression))?;
    }
    where_clause.as_deref_mut().map_or(Ok(()), |condition| parts.defined(condition))?;
    temporary::SCHEMA.clone_into(&mut table.schemaname);
    Ok(made(1))
}
