//! COPY: a tenant table goes out as a guarded query, and its rows come in through the stream rewriter.

mod options;

use pg_query::NodeEnum;
use pg_query::protobuf::{self, ColumnRef, CopyStmt, Node, RangeVar, ResTarget, SelectStmt};

use super::{Gated, Parts, Sent, refused, session, unsupported};
use crate::base::{Access, Mode, Refusal, RefusalKind, SqlState};
use crate::catalog::{Generated, RelKind, Relation};
use crate::guard::gate::names::denied;
use crate::guard::gate::relations::{Resolved, resolve};
use crate::guard::gate::temporary;
use crate::guard::{CopyBy, CopyIn, CopyTenant, Policy, StatementKind, TenantTable};

pub(super) fn gate(
    policy: &Policy,
    mode: &Mode,
    node: &mut NodeEnum,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let NodeEnum::CopyStmt(stmt) = node else {
        return Err(refused(mode, "COPY"));
    };
    if matches!(mode, Mode::Operator) {
        return operator(stmt, parts);
    }
    if stmt.is_program || !stmt.filename.is_empty() {
        return Err(denied(
            RefusalKind::Statement,
            "permission denied: COPY to or from a file or program of the server is not allowed here",
            "Use COPY ... TO STDOUT or FROM STDIN; psql's \\copy does.",
        )
        .about("COPY"));
    }
    stmt.options.iter().try_for_each(options::check)?;
    stmt.options.iter_mut().for_each(options::normalise);
    if stmt.query.is_some() {
        session::guard_inner(stmt.query.as_deref_mut(), parts)?;
        return Ok(Gated::new(StatementKind::CopyOut, Sent::Printed));
    }
    let Some(relation) = stmt.relation.clone() else {
        return Err(unsupported("COPY of nothing"));
    };
    let resolved = resolve(policy, mode, &relation.catalogname, &relation.schemaname, &relation.relname)?;
    if let (Resolved::Own(_), Mode::Schema(own)) = (&resolved, mode)
        && let Some(relation) = stmt.relation.as_mut()
    {
        own.as_ref().clone_into(&mut relation.schemaname);
    }
    if let (Resolved::Temporary, Some(relation)) = (&resolved, stmt.relation.as_mut()) {
        temporary::SCHEMA.clone_into(&mut relation.schemaname);
        parts.temporary();
    }
    if stmt.is_from { copy_from(mode, stmt, &resolved, parts) } else { copy_to(stmt, &resolved, parts) }
}

/// An operator's COPY, files of the server included.
fn operator(stmt: &mut CopyStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    if stmt.query.is_some() {
        session::guard_inner(stmt.query.as_deref_mut(), parts)?;
    }
    let to_client = !stmt.is_program && stmt.filename.is_empty();
    let kind = match (to_client, stmt.is_from) {
        (true, true) => StatementKind::CopyIn,
        (true, false) => StatementKind::CopyOut,
        (false, _) => StatementKind::Utility,
    };
    Ok(Gated::new(kind, Sent::AsWritten))
}

fn copy_to(stmt: &mut CopyStmt, resolved: &Resolved<'_>, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let gated = || Gated::new(StatementKind::CopyOut, Sent::Printed);
    let relation = match resolved {
        Resolved::Free(_) | Resolved::Own(_) | Resolved::Temporary => return Ok(gated()),
        Resolved::Tenant(_, relation)
        | Resolved::Policed(_, relation)
        | Resolved::Shared(relation, _)
        | Resolved::System(relation, _) => *relation,
    };
    let message = match relation.kind {
        RelKind::Table => None,
        RelKind::PartitionedTable => Some("partitioned table"),
        RelKind::View => Some("view"),
        RelKind::MaterializedView => Some("materialized view"),
        RelKind::ForeignTable => Some("foreign table"),
        RelKind::Sequence => Some("sequence"),
        RelKind::Index | RelKind::Toast | RelKind::CompositeType => Some("non-table relation"),
    };
    if let Some(what) = message {
        return Err(wrong_kind(format!("cannot copy from {what} \"{}\"", relation.name.name))
            .hint("Try the COPY (SELECT ...) TO variant."));
    }
    let columns = match column_list(stmt)? {
        Some(columns) => columns,
        None => stored_columns(relation),
    };
    let mut query = select(relation, &columns);
    parts.query(&mut query)?;
    stmt.relation = None;
    stmt.attlist.clear();
    stmt.query = Some(Box::new(query));
    Ok(gated())
}

fn copy_from(
    mode: &Mode,
    stmt: &mut CopyStmt,
    resolved: &Resolved<'_>,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let gated = || Gated::new(StatementKind::CopyIn, Sent::Printed);
    let read_only = |relation: &Relation| {
        let message = format!("permission denied for table {}", relation.name.name);
        Err(denied(RefusalKind::Relation, message, "Tenants may read it, but not write it.").about(&relation.name))
    };
    let (table, relation) = match resolved {
        Resolved::Tenant(table, relation) | Resolved::Policed(table, relation) => (*table, *relation),
        Resolved::Temporary => {
            stmt.where_clause.as_deref_mut().map_or(Ok(()), |condition| parts.defined(condition))?;
            return Ok(gated());
        }
        Resolved::Free(_) | Resolved::Own(_) => {
            stmt.where_clause.as_deref_mut().map_or(Ok(()), |condition| parts.expression(condition))?;
            return Ok(gated());
        }
        Resolved::Shared(relation, Access::Insert | Access::Write) => {
            if stmt.where_clause.is_some() {
                return Err(unsupported("COPY FROM with WHERE is not supported for shared tables"));
            }
            // As it was written where the path has the tenant's own schema first.
            if stmt.relation.as_ref().is_some_and(|it| !it.schemaname.is_empty()) || !matches!(mode, Mode::Schema(_)) {
                qualify(stmt.relation.as_mut(), relation);
            }
            return Ok(gated());
        }
        Resolved::Shared(relation, Access::Read) | Resolved::System(relation, _) => return read_only(relation),
    };
    if table.access < Access::Insert {
        return read_only(relation);
    }
    if table.through.is_some() {
        return Err(unsupported("COPY FROM is not supported for tables that belong through a foreign key")
            .hint("Use INSERT: whose a row is, the server looks up."));
    }
    if stmt.where_clause.is_some() {
        return Err(unsupported("COPY FROM with WHERE is not supported for tenant tables"));
    }
    let copy_in = tenant_copy_in(stmt, table, relation, parts)?;
    let mut gated = gated();
    gated.copy_in = Some(copy_in);
    Ok(gated)
}

/// Makes the column list explicit, with the tenant column in it.
fn tenant_copy_in(
    stmt: &mut CopyStmt,
    table: &TenantTable,
    relation: &Relation,
    parts: &mut impl Parts,
) -> Result<CopyIn, Refusal> {
    let mut columns = match column_list(stmt)? {
        Some(columns) => columns,
        None => stored_columns(relation),
    };
    for (i, name) in columns.iter().enumerate() {
        if relation.column(name).is_none() {
            return Err(undefined_column(relation, name));
        }
        if columns.iter().skip(i + 1).any(|other| other == name) {
            return Err(Refusal::new(
                RefusalKind::Syntax,
                SqlState(*b"42701"),
                format!("column \"{name}\" specified more than once"),
            ));
        }
    }
    let client_columns = columns.len();
    let sent = columns.iter().position(|name| *name == table.column);
    let tenant = sent.map_or(CopyTenant::Append, CopyTenant::Check);
    let format = options::read(&stmt.options, &table.column, tenant)?;
    let given = columns.clone();
    if sent.is_none() {
        columns.push(table.column.clone());
    }
    stmt.attlist = columns.iter().map(|name| string(name)).collect();
    qualify(stmt.relation.as_mut(), relation);
    let by = if relation.row_security_active {
        CopyBy::Insert(options::target(&stmt.options, &given, relation.name.clone(), columns)?.into())
    } else {
        CopyBy::Copy
    };
    Ok(CopyIn { format, client_columns, tenant, slot: parts.slot(table)?, by })
}

fn qualify(name: Option<&mut RangeVar>, relation: &Relation) {
    if let Some(name) = name {
        name.schemaname.clone_from(&relation.name.schema);
        name.relname.clone_from(&relation.name.name);
    }
}

/// The columns as the client listed them.
fn column_list(stmt: &CopyStmt) -> Result<Option<Vec<String>>, Refusal> {
    if stmt.attlist.is_empty() {
        return Ok(None);
    }
    let names: Option<Vec<String>> = stmt
        .attlist
        .iter()
        .map(|node| {
            let Some(NodeEnum::String(s)) = node.node.as_ref() else { return None };
            Some(s.sval.clone())
        })
        .collect();
    names.map(Some).ok_or_else(|| unsupported("this COPY column list is not supported"))
}

/// COPY leaves generated columns out.
fn stored_columns(relation: &Relation) -> Vec<String> {
    relation.columns.iter().filter(|c| c.generated == Generated::No).map(|c| c.name.clone()).collect()
}

/// `SELECT columns FROM ONLY relation`: COPY of a table leaves the children out.
fn select(relation: &Relation, columns: &[String]) -> Node {
    let from = RangeVar {
        catalogname: String::new(),
        schemaname: relation.name.schema.clone(),
        relname: relation.name.name.clone(),
        inh: false,
        relpersistence: "p".to_owned(),
        alias: None,
        location: 0,
    };
    let target_list = columns
        .iter()
        .map(|name| {
            let column = ColumnRef { fields: vec![string(name)], location: 0 };
            let val = Some(Box::new(Node { node: Some(NodeEnum::ColumnRef(column)) }));
            let target = ResTarget { name: String::new(), indirection: vec![], val, location: 0 };
            Node { node: Some(NodeEnum::ResTarget(Box::new(target))) }
        })
        .collect();
    let select = SelectStmt {
        target_list,
        from_clause: vec![Node { node: Some(NodeEnum::RangeVar(from)) }],
        limit_option: protobuf::LimitOption::Default.into(),
        op: protobuf::SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    };
    Node { node: Some(NodeEnum::SelectStmt(Box::new(select))) }
}

fn string(text: &str) -> Node {
    Node { node: Some(NodeEnum::String(protobuf::String { sval: text.to_owned() })) }
}

fn wrong_kind(message: String) -> Refusal {
    Refusal::new(RefusalKind::Undefined, SqlState(*b"42809"), message)
}

fn undefined_column(relation: &Relation, name: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Undefined,
        SqlState::UNDEFINED_COLUMN,
        format!("column \"{name}\" of relation \"{}\" does not exist", relation.name.name),
    )
}
