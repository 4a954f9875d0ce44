//! What may stand between the parentheses of CREATE TEMP TABLE: columns, constraints, LIKE.

use pg_query::NodeEnum;
use pg_query::protobuf::{CollateClause, ColumnDef, ConstrType, Constraint, DefElem, Node, TableLikeClause, TypeName};

use super::left_out;
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::catalog::Relation;
use crate::guard::Policy;
use crate::guard::gate::dispatch::{Parts, unsupported};
use crate::guard::gate::names::{parts as name_parts, search_path, truncated};
use crate::guard::gate::relations::{Resolved, resolve};
use crate::guard::gate::{functions, temporary, types};

/// Of `INCLUDING` in LIKE (parsenodes.h): what brings relations of its own, with names that Postgres makes up.
const LIKE_IDENTITY: u32 = 1 << 5;
const LIKE_INDEXES: u32 = 1 << 6;
const LIKE_STATISTICS: u32 = 1 << 7;

/// The indexes that a table may have besides its unique keys, at most: for how many locks are taken.
const OTHER_INDEXES: usize = 8;

/// Pseudo types that stand for an integer with a sequence.
const SERIAL: &[&str] = &["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"];

/// What a definition brings with it.
#[derive(Default)]
pub(super) struct Made {
    /// Relations beside the table.
    pub(super) relations: usize,
    /// Some of them have names that Postgres makes up.
    pub(super) made_up: bool,
}

impl Made {
    fn one(&mut self, name: &str) {
        self.relations += 1;
        self.made_up |= name.is_empty();
    }
}

/// A column, a constraint, or LIKE.
pub(super) fn element(
    policy: &Policy,
    mode: &Mode,
    element: &mut Node,
    made_with: &mut Made,
    parts: &mut impl Parts,
) -> Result<(), Refusal> {
    match element.node.as_mut() {
        Some(NodeEnum::ColumnDef(column)) => self::column(policy, mode, column, made_with, parts),
        Some(NodeEnum::Constraint(constraint)) => self::constraint(policy, constraint, made_with, parts),
        Some(NodeEnum::TableLikeClause(like)) => self::like(policy, mode, like, made_with, parts),
        Some(_) | None => Err(left_out("this part")),
    }
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
