//! Temporary tables of tenants that share tables: what may make them, what may stand in a definition, and what may be done with
//! them besides reading and writing rows. Default deny: types by name and no row types, expressions that do nothing to the
//! session, no references to other tables but for the columns of one that the tenant may read.

mod columns;
mod index;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CreateStmt, CreateTableAsStmt, DropStmt, IntoClause, Node, ObjectType, RangeVar, TruncateStmt, VacuumRelation,
    VacuumStmt,
};

use self::columns::Made;
use super::is_temporary;
use crate::base::{Mode, Refusal};
use crate::guard::gate::dispatch::{Gated, Parts, Sent, session, unsupported};
use crate::guard::gate::names::{parts as name_parts, truncated};
use crate::guard::gate::temporary;
use crate::guard::{Effect, PinReason, Policy, StatementKind};

/// What becomes of a definition that is about temporary tables; `None`: it is not.
pub(super) fn gate(
    policy: &Policy,
    mode: &Mode,
    node: &mut NodeEnum,
    parts: &mut impl Parts,
) -> Result<Option<Gated>, Refusal> {
    let gated = if let NodeEnum::CreateStmt(stmt) = node
        && stmt.relation.as_ref().is_some_and(is_temporary)
    {
        create(policy, mode, stmt, parts)?
    } else if let NodeEnum::CreateTableAsStmt(stmt) = node
        && stmt.into.as_ref().and_then(|into| into.rel.as_ref()).is_some_and(is_temporary)
    {
        create_as(policy, stmt, parts)?
    } else if let NodeEnum::IndexStmt(stmt) = node
        && stmt.relation.as_ref().is_some_and(|it| is_own(policy, it))
    {
        index::index(policy, stmt, parts)?
    } else if let NodeEnum::DropStmt(stmt) = node
        && is_drop(policy, stmt)
    {
        drop_tables(stmt)
    } else if let NodeEnum::TruncateStmt(stmt) = node
        && all_own(policy, &stmt.relations)
    {
        let TruncateStmt { relations, restart_seqs: _, behavior: _ } = stmt;
        relations.iter_mut().for_each(put_in_schema);
        changed()
    } else if let NodeEnum::VacuumStmt(stmt) = node
        && is_analyze(policy, stmt)
    {
        stmt.rels.iter_mut().for_each(put_in_schema);
        changed()
    } else {
        return Ok(None);
    };
    parts.temporary();
    Ok(Some(gated))
}

/// `SELECT ... INTO TEMP t`: the same as CREATE TEMP TABLE AS.
pub(super) fn select_into(
    policy: &Policy,
    into: IntoClause,
    tree: &mut Node,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let mut stmt = CreateTableAsStmt {
        query: Some(Box::new(std::mem::take(tree))),
        into: Some(Box::new(into)),
        objtype: ObjectType::ObjectTable.into(),
        is_select_into: false,
        if_not_exists: false,
    };
    let gated = create_as(policy, &mut stmt, parts)?;
    tree.node = Some(NodeEnum::CreateTableAsStmt(Box::new(stmt)));
    parts.temporary();
    Ok(gated)
}

fn changed() -> Gated {
    Gated::new(StatementKind::Utility, Sent::Changed)
}

fn made(relations: usize) -> Gated {
    let count = u16::try_from(relations).unwrap_or(u16::MAX);
    changed().pinned(PinReason::TempObject).effects(vec![Effect::MakesTemporary(count)])
}

/// Names a table that is made, in the temporary schema.
fn new_table(policy: &Policy, table: &mut RangeVar) -> Result<(), Refusal> {
    let RangeVar { catalogname, schemaname, relname, inh: _, relpersistence, alias: _, location: _ } = table;
    if !(catalogname.is_empty() && matches!(schemaname.as_str(), "" | temporary::SCHEMA)) {
        return Err(unsupported("a temporary table goes without a schema, or with pg_temp"));
    }
    temporary::check_new(policy, relname)?;
    temporary::SCHEMA.clone_into(schemaname);
    "t".clone_into(relpersistence);
    Ok(())
}

fn create(policy: &Policy, mode: &Mode, stmt: &mut CreateStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let CreateStmt {
        relation,
        table_elts,
        inh_relations,
        partbound,
        partspec,
        of_typename,
        constraints,
        nnconstraints,
        options,
        oncommit: _,
        tablespacename,
        access_method,
        if_not_exists: _,
    } = stmt;
    let more = !inh_relations.is_empty()
        || partbound.is_some()
        || partspec.is_some()
        || of_typename.is_some()
        || !constraints.is_empty()
        || !nnconstraints.is_empty()
        || !options.is_empty()
        || !tablespacename.is_empty()
        || !access_method.is_empty();
    if more {
        return Err(left_out("INHERITS, PARTITION, OF, WITH, USING or TABLESPACE"));
    }
    let Some(table) = relation.as_mut() else { return Err(unsupported("a table without a name")) };
    new_table(policy, table)?;
    let mut made_with = Made::default();
    table_elts.iter_mut().try_for_each(|element| columns::element(policy, mode, element, &mut made_with, parts))?;
    if made_with.made_up {
        temporary::check_made_up(policy, truncated(&table.relname))?;
    }
    Ok(made(1 + made_with.relations))
}

fn create_as(policy: &Policy, stmt: &mut CreateTableAsStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let is_table = stmt.objtype() == ObjectType::ObjectTable;
    let CreateTableAsStmt { query, into, objtype: _, is_select_into: _, if_not_exists: _ } = stmt;
    let Some(into) = into.as_deref_mut().filter(|_| is_table) else { return Err(left_out("this form")) };
    let IntoClause {
        rel,
        col_names: _,
        access_method,
        options,
        on_commit: _,
        table_space_name,
        view_query,
        skip_data: _,
    } = into;
    if !access_method.is_empty() || !options.is_empty() || !table_space_name.is_empty() || view_query.is_some() {
        return Err(left_out("WITH, USING or TABLESPACE"));
    }
    let Some(table) = rel.as_mut() else { return Err(unsupported("a table without a name")) };
    new_table(policy, table)?;
    match query.as_deref_mut() {
        Some(Node { node: Some(NodeEnum::ExecuteStmt(execute)) }) => session::execute(execute, parts)?,
        other => session::guard_inner(other, parts)?,
    }
    Ok(made(1))
}

/// Whether a name is that of a temporary table of the session.
fn is_own(policy: &Policy, name: &RangeVar) -> bool {
    name.catalogname.is_empty() && temporary::may_mean(policy, &name.schemaname, &name.relname)
}

fn range_var(node: &Node) -> Option<&RangeVar> {
    if let Some(NodeEnum::VacuumRelation(of)) = node.node.as_ref() {
        let VacuumRelation { relation, oid: _, va_cols: _ } = of;
        return relation.as_ref();
    }
    if let Some(NodeEnum::RangeVar(name)) = node.node.as_ref() { Some(name) } else { None }
}

fn all_own(policy: &Policy, relations: &[Node]) -> bool {
    !relations.is_empty() && relations.iter().all(|it| range_var(it).is_some_and(|name| is_own(policy, name)))
}

fn put_in_schema(node: &mut Node) {
    if let Some(NodeEnum::VacuumRelation(of)) = node.node.as_mut()
        && let Some(name) = of.relation.as_mut()
    {
        temporary::SCHEMA.clone_into(&mut name.schemaname);
    } else if let Some(NodeEnum::RangeVar(name)) = node.node.as_mut() {
        temporary::SCHEMA.clone_into(&mut name.schemaname);
    }
}

/// ANALYZE of temporary tables, by name and without options.
fn is_analyze(policy: &Policy, stmt: &VacuumStmt) -> bool {
    let VacuumStmt { options, rels, is_vacuumcmd } = stmt;
    !is_vacuumcmd && options.is_empty() && all_own(policy, rels)
}

/// DROP TABLE of tables that can only be temporary ones: whether the session has them, the server says.
fn is_drop(policy: &Policy, stmt: &DropStmt) -> bool {
    let own =
        |object: &Node| dropped(object).is_some_and(|(schema, name)| temporary::may_be_dropped(policy, schema, name));
    let tables = stmt.remove_type() == ObjectType::ObjectTable && !stmt.concurrent && !stmt.objects.is_empty();
    tables && stmt.objects.iter().all(own)
}

/// Schema and name of a table that is dropped.
fn dropped(object: &Node) -> Option<(&str, &str)> {
    let Some(NodeEnum::List(list)) = object.node.as_ref() else { return None };
    match name_parts(&list.items)?.as_slice() {
        [name] => Some(("", name)),
        [schema, name] => Some((schema, name)),
        _ => None,
    }
}

fn drop_tables(stmt: &mut DropStmt) -> Gated {
    for object in &mut stmt.objects {
        if let Some(NodeEnum::List(list)) = object.node.as_mut()
            && list.items.len() == 1
        {
            let schema = NodeEnum::String(pg_query::protobuf::String { sval: temporary::SCHEMA.to_owned() });
            list.items.insert(0, Node { node: Some(schema) });
        }
    }
    changed().effects(vec![Effect::DropsTemporary])
}

/// 0A000: legal in a definition, and not let through here.
fn left_out(what: &str) -> Refusal {
    unsupported(format!("{what} in the definition of a temporary table is not supported for tenants"))
        .hint("Leave it out, or do it with an operator login.")
}
