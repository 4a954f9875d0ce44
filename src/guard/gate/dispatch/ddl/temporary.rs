//! Temporary tables of tenants that share tables: what may make them, what may stand in a definition, and what may be done with
//! them besides reading and writing rows. Default deny: types by name and no row types, expressions that do nothing to the
//! session, no references to other tables but for the columns of one that the tenant may read.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CollateClause, ColumnDef, ConstrType, Constraint, CreateStmt, CreateTableAsStmt, DefElem, DropStmt, IndexElem,
    IndexStmt, IntoClause, Node, ObjectType, RangeVar, TableLikeClause, TruncateStmt, TypeName, VacuumRelation,
    VacuumStmt,
};

use super::super::{Gated, Parts, Sent, session, unsupported};
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::catalog::Relation;
use crate::guard::gate::names::{parts as name_parts, search_path, truncated};
use crate::guard::gate::relations::{Resolved, resolve};
use crate::guard::gate::{functions, temporary, types};
use crate::guard::{Effect, PinReason, Policy, StatementKind};

/// Of `INCLUDING` in LIKE (parsenodes.h): what brings relations of its own, with names that Postgres makes up.
const LIKE_IDENTITY: u32 = 1 << 5;
const LIKE_INDEXES: u32 = 1 << 6;
const LIKE_STATISTICS: u32 = 1 << 7;

/// The indexes that a table may have besides its unique keys, at most: for how many locks are taken.
const OTHER_INDEXES: usize = 8;

/// Pseudo types that stand for an integer with a sequence.
const SERIAL: &[&str] = &["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"];

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

/// What a definition brings with it.
#[derive(Default)]
struct Made {
    /// Relations beside the table.
    relations: usize,
    /// Some of them have names that Postgres makes up.
    made_up: bool,
}

impl Made {
    fn one(&mut self, name: &str) {
        self.relations += 1;
        self.made_up |= name.is_empty();
    }
}

/// What becomes of a definition that is about temporary tables; `None`: it is not.
pub(super) fn gate(
    policy: &Policy,
    mode: &Mode,
    node: &mut NodeEnum,
    parts: &mut impl Parts,
) -> Result<Option<Gated>, Refusal> {
    let gated = if let NodeEnum::CreateStmt(stmt) = node
        && stmt.relation.as_ref().is_some_and(super::is_temporary)
    {
        create(policy, mode, stmt, parts)?
    } else if let NodeEnum::CreateTableAsStmt(stmt) = node
        && stmt.into.as_ref().and_then(|into| into.rel.as_ref()).is_some_and(super::is_temporary)
    {
        create_as(policy, stmt, parts)?
    } else if let NodeEnum::IndexStmt(stmt) = node
        && stmt.relation.as_ref().is_some_and(|it| is_own(policy, it))
    {
        index(policy, stmt, parts)?
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
    for element in table_elts.iter_mut() {
        match element.node.as_mut() {
            Some(NodeEnum::ColumnDef(column)) => self::column(policy, mode, column, &mut made_with, parts)?,
            Some(NodeEnum::Constraint(constraint)) => self::constraint(policy, constraint, &mut made_with, parts)?,
            Some(NodeEnum::TableLikeClause(like)) => self::like(policy, mode, like, &mut made_with, parts)?,
            Some(_) | None => return Err(left_out("this part")),
        }
    }
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

fn column(
    policy: &Policy,
    mode: &Mode,
    column: &mut ColumnDef,
    made_with: &mut Made,
    parts: &mut impl Parts,
) -> Result<(), Refusal> {
    let ColumnDef {
        colname: _,
        type_name,
        compression,
        inhcount: _,
        is_local: _,
        is_not_null: _,
        is_from_type: _,
        storage,
        storage_name,
        raw_default,
        cooked_default,
        identity,
        identity_sequence,
        generated,
        coll_clause,
        coll_oid: _,
        constraints,
        fdwoptions,
        location: _,
    } = column;
    let more = !compression.is_empty()
        || !storage.is_empty()
        || !storage_name.is_empty()
        || raw_default.is_some()
        || cooked_default.is_some()
        || !identity.is_empty()
        || identity_sequence.is_some()
        || !generated.is_empty()
        || !fdwoptions.is_empty();
    if more {
        return Err(left_out("STORAGE, COMPRESSION or OPTIONS"));
    }
    if let Some(CollateClause { .. }) = coll_clause.as_deref() {
        return Err(left_out("COLLATE"));
    }
    let Some(type_name) = type_name.as_ref() else { return Err(unsupported("a column without a type")) };
    if is_serial(type_name) {
        made_with.one("");
    } else {
        check_type(policy, mode, type_name)?;
    }
    for constraint in constraints {
        let Some(NodeEnum::Constraint(constraint)) = constraint.node.as_mut() else {
            return Err(left_out("this part"));
        };
        self::constraint(policy, constraint, made_with, parts)?;
    }
    Ok(())
}

fn is_serial(name: &TypeName) -> bool {
    let bare = name.array_bounds.is_empty() && name.typmods.is_empty();
    bare && matches!(name_parts(&name.names).as_deref(), Some([one]) if SERIAL.contains(one))
}

/// A type that the catalog knows, and no row type; its casts call nothing without a rule.
fn check_type(policy: &Policy, mode: &Mode, name: &TypeName) -> Result<(), Refusal> {
    types::check(policy, mode, name)?;
    let names = name_parts(&name.names).unwrap_or_default();
    let (schema, bare) = match names.as_slice() {
        [bare] => (None, truncated(bare)),
        [schema, bare] => (Some(truncated(schema)), truncated(bare)),
        _ => return Err(left_out("this type")),
    };
    if name.setof || name.pct_type {
        return Err(left_out("SETOF or %TYPE"));
    }
    let known =
        |schema: &str| policy.catalog.types.values().find(|it| it.name.schema == schema && it.name.name == bare);
    let found = match schema {
        Some(schema) => known(schema),
        None => search_path(policy, mode).into_iter().find_map(known),
    };
    match found.map(|it| it.typtype) {
        // Base types, enums, ranges and their like, domains.
        Some('b' | 'e' | 'r' | 'm' | 'd') => functions::check_cast(policy, mode, schema, bare),
        Some(_) => Err(left_out("a row type")),
        None => {
            Err(Refusal::new(RefusalKind::Undefined, SqlState(*b"42704"), format!("type \"{bare}\" does not exist")))
        }
    }
}

fn constraint(
    policy: &Policy,
    constraint: &mut Constraint,
    made_with: &mut Made,
    parts: &mut impl Parts,
) -> Result<(), Refusal> {
    let kind = constraint.contype();
    let Constraint {
        contype: _,
        conname,
        deferrable: _,
        initdeferred: _,
        is_enforced: _,
        skip_validation: _,
        initially_valid: _,
        is_no_inherit: _,
        raw_expr,
        cooked_expr,
        generated_when: _,
        generated_kind: _,
        nulls_not_distinct: _,
        keys: _,
        without_overlaps,
        including: _,
        exclusions,
        options,
        indexname,
        indexspace,
        reset_default_tblspc: _,
        access_method,
        where_clause,
        pktable,
        fk_attrs,
        pk_attrs,
        fk_with_period: _,
        pk_with_period: _,
        fk_matchtype: _,
        fk_upd_action: _,
        fk_del_action: _,
        fk_del_set_cols,
        old_conpfeqop,
        old_pktable_oid: _,
        location: _,
    } = constraint;
    let more = !cooked_expr.is_empty()
        || *without_overlaps
        || !exclusions.is_empty()
        || !indexname.is_empty()
        || !indexspace.is_empty()
        || !access_method.is_empty()
        || where_clause.is_some()
        || pktable.is_some()
        || !fk_attrs.is_empty()
        || !pk_attrs.is_empty()
        || !fk_del_set_cols.is_empty()
        || !old_conpfeqop.is_empty();
    if more {
        return Err(left_out("REFERENCES, EXCLUDE or an index's options"));
    }
    let of_sequence = kind == ConstrType::ConstrIdentity;
    if !options.iter().all(|option| of_sequence && is_sequence_number(option)) {
        return Err(left_out("options of a constraint"));
    }
    match kind {
        ConstrType::ConstrNull | ConstrType::ConstrNotnull => Ok(()),
        ConstrType::ConstrDefault | ConstrType::ConstrGenerated | ConstrType::ConstrCheck => {
            raw_expr.as_deref_mut().map_or(Ok(()), |expression| parts.defined(expression))
        }
        ConstrType::ConstrIdentity => {
            made_with.one("");
            Ok(())
        }
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
            made_with.one(conname);
            if conname.is_empty() { Ok(()) } else { temporary::check_new(policy, conname) }
        }
        ConstrType::ConstrAttrDeferrable
        | ConstrType::ConstrAttrNotDeferrable
        | ConstrType::ConstrAttrDeferred
        | ConstrType::ConstrAttrImmediate => Ok(()),
        ConstrType::Undefined
        | ConstrType::ConstrExclusion
        | ConstrType::ConstrForeign
        | ConstrType::ConstrAttrEnforced
        | ConstrType::ConstrAttrNotEnforced => Err(left_out("this constraint")),
    }
}

/// `START 5`, `CACHE 10`, `CYCLE`
fn is_sequence_number(option: &Node) -> bool {
    let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { return false };
    let DefElem { defnamespace, defname, arg, arg_location: _, defaction: _, location: _ } = option.as_ref();
    let number = matches!(
        arg.as_deref().and_then(|arg| arg.node.as_ref()),
        None | Some(NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::Boolean(_))
    );
    let known = ["start", "increment", "minvalue", "maxvalue", "cache", "cycle"].contains(&defname.as_str());
    defnamespace.is_empty() && known && number
}

/// `LIKE t INCLUDING ...` of a relation that the tenant may read.
fn like(
    policy: &Policy,
    mode: &Mode,
    like: &mut TableLikeClause,
    made_with: &mut Made,
    parts: &mut impl Parts,
) -> Result<(), Refusal> {
    let TableLikeClause { relation, options, relation_oid: _ } = like;
    let Some(relation) = relation.as_mut() else { return Err(left_out("this part")) };
    let resolved = resolve(policy, mode, &relation.catalogname, &relation.schemaname, &relation.relname)?;
    let found: &Relation = match resolved {
        Resolved::Tenant(_, found) | Resolved::Policed(_, found) | Resolved::Shared(found, _) => found,
        Resolved::Temporary => {
            temporary::SCHEMA.clone_into(&mut relation.schemaname);
            parts.temporary();
            made_with.made_up |= *options & (LIKE_IDENTITY | LIKE_INDEXES | LIKE_STATISTICS) != 0;
            made_with.relations += OTHER_INDEXES;
            return Ok(());
        }
        Resolved::System(..) | Resolved::Free(_) | Resolved::Own(_) => return Err(left_out("LIKE of this relation")),
    };
    relation.schemaname.clone_from(&found.name.schema);
    relation.relname.clone_from(&found.name.name);
    if *options & (LIKE_IDENTITY | LIKE_INDEXES | LIKE_STATISTICS) != 0 {
        made_with.made_up = true;
        made_with.relations += found.unique_keys.len() + OTHER_INDEXES;
    }
    Ok(())
}

fn index(policy: &Policy, stmt: &mut IndexStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
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
