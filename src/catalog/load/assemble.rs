//! Rows put together. Pure.

use std::collections::HashMap;

use super::queries::{
    ColumnRow, ForeignKeyRow, FunctionRow, ParentRow, PolicyRow, Raw, RelationRow, Server, TypeRow, UniqueKeyRow,
};
use crate::base::{Oid, QualifiedName};
use crate::catalog::model::{Catalog, Column, ForeignKey, Function, Operator, Relation, RowPolicy, TypeInfo};

/// Domains may stand on domains; Postgres allows no cycle, and a bound keeps a broken catalog from hanging us.
const MAX_DOMAIN_DEPTH: usize = 100;

/// Pseudo-types that accept a row: record, any, anyelement, anynonarray, anycompatible, anycompatiblenonarray (pg_type.dat).
const ROW_PSEUDO_TYPES: [Oid; 6] = [2249, 2276, 2283, 2776, 5077, 5079];

pub(super) fn assemble(server: Server, raw: Raw) -> Catalog {
    let types = types(raw.types);
    Catalog {
        server_version_num: server.version,
        role: server.role,
        texts: server.texts,
        search_path: server.search_path,
        schemas: raw.schemas.into_iter().collect(),
        creators: lists(raw.creators),
        memberships: lists(raw.memberships),
        relations: relations(
            raw.relations,
            raw.parents,
            (raw.foreign_keys, raw.unique_keys),
            raw.policies,
            raw.columns,
            &types,
        ),
        functions: functions(raw.functions, &types),
        operators: operators(raw.operators),
        casts: raw.casts,
        types,
        reads: by_view(raw.reads.into_iter().map(|row| (row.view, row.relation))),
        calls: by_view(raw.calls.into_iter().map(|row| (row.view, row.function))),
        views: raw.views.into_iter().collect(),
        setters: raw.setters,
        unbound_definers: raw.unbound_definers.into_iter().collect(),
        setting_readers: raw.setting_readers,
        modules: raw.modules.into_iter().collect(),
        code_words: raw.code_words.into_iter().collect(),
        temporary_makers: raw.temporary_makers,
    }
}

/// Pairs as lists by their first part.
fn lists(pairs: Vec<(String, String)>) -> HashMap<String, Vec<String>> {
    let mut lists: HashMap<String, Vec<String>> = HashMap::new();
    for (of, one) in pairs {
        lists.entry(of).or_default().push(one);
    }
    lists
}

fn by_view<T>(rows: impl Iterator<Item = (Oid, T)>) -> HashMap<Oid, Vec<T>> {
    let mut views: HashMap<Oid, Vec<T>> = HashMap::new();
    for (view, it) in rows {
        views.entry(view).or_default().push(it);
    }
    views
}

fn types(rows: Vec<TypeRow>) -> HashMap<Oid, TypeInfo> {
    let below: HashMap<Oid, Oid> = rows.iter().filter(|t| t.base != 0).map(|t| (t.oid, t.base)).collect();
    let base = |oid: Oid| {
        let chain = std::iter::successors(Some(oid), |oid| below.get(oid).copied());
        chain.take(MAX_DOMAIN_DEPTH).last().unwrap_or(oid)
    };
    let info =
        |row: TypeRow| TypeInfo { oid: row.oid, name: row.name, typtype: char::from(row.typtype), base: base(row.oid) };
    rows.into_iter().map(|row| (row.oid, info(row))).collect()
}

fn relations(
    rows: Vec<RelationRow>,
    parents: Vec<ParentRow>,
    (foreign_keys, unique_keys): (Vec<ForeignKeyRow>, Vec<UniqueKeyRow>),
    policies: Vec<PolicyRow>,
    columns: Vec<ColumnRow>,
    types: &HashMap<Oid, TypeInfo>,
) -> HashMap<QualifiedName, Relation> {
    let mut parents_of: HashMap<Oid, Vec<Oid>> = HashMap::new();
    for row in parents {
        parents_of.entry(row.child).or_default().push(row.parent);
    }
    let mut keys_of: HashMap<Oid, Vec<ForeignKey>> = HashMap::new();
    for row in foreign_keys {
        keys_of.entry(row.relation).or_default().push(row.key);
    }
    let mut unique_of: HashMap<Oid, Vec<Vec<String>>> = HashMap::new();
    for row in unique_keys {
        unique_of.entry(row.relation).or_default().push(row.columns);
    }
    let mut policies_of: HashMap<Oid, Vec<RowPolicy>> = HashMap::new();
    for row in policies {
        policies_of.entry(row.relation).or_default().push(row.policy);
    }
    let mut columns_of: HashMap<Oid, Vec<Column>> = HashMap::new();
    for row in columns {
        let relation = row.relation;
        columns_of.entry(relation).or_default().push(column(row, types));
    }
    rows.into_iter()
        .map(|row| {
            let relation = Relation {
                oid: row.oid,
                name: row.name.clone(),
                kind: row.kind,
                is_partition: row.is_partition,
                columns: columns_of.remove(&row.oid).unwrap_or_default(),
                parents: parents_of.remove(&row.oid).unwrap_or_default(),
                foreign_keys: keys_of.remove(&row.oid).unwrap_or_default(),
                unique_keys: unique_of.remove(&row.oid).unwrap_or_default(),
                row_security: row.row_security,
                force_row_security: row.force_row_security,
                row_security_active: row.row_security_active,
                owned: row.owned,
                policies: policies_of.remove(&row.oid).unwrap_or_default(),
                security_invoker: row.security_invoker,
                extension: row.extension,
            };
            (row.name, relation)
        })
        .collect()
}

fn column(row: ColumnRow, types: &HashMap<Oid, TypeInfo>) -> Column {
    Column {
        name: row.name,
        attnum: row.attnum,
        type_oid: row.type_oid,
        type_name: row.type_name,
        base_type_oid: types.get(&row.type_oid).map_or(row.type_oid, |t| t.base),
        not_null: row.not_null,
        has_default: row.has_default,
        generated: row.generated,
        identity: row.identity,
        loose: row.loose,
    }
}

/// Overloads by name, in the order of their oids, so that equal catalogs compare equal.
fn functions(rows: Vec<FunctionRow>, types: &HashMap<Oid, TypeInfo>) -> HashMap<String, Vec<Function>> {
    let mut by_name: HashMap<String, Vec<Function>> = HashMap::new();
    for FunctionRow { mut function, required_args } in rows {
        // Functional notation `x.f` is a call with one argument: others may have defaults.
        let first = function.arg_types.first();
        function.takes_one = required_args <= 1 && first.is_some();
        function.takes_row = function.takes_one && first.is_some_and(|oid| accepts_row(*oid, types));
        by_name.entry(function.name.name.clone()).or_default().push(function);
    }
    for overloads in by_name.values_mut() {
        overloads.sort_by_key(|f| f.oid);
    }
    by_name
}

fn accepts_row(oid: Oid, types: &HashMap<Oid, TypeInfo>) -> bool {
    let base = types.get(&oid).map_or(oid, |t| t.base);
    ROW_PSEUDO_TYPES.contains(&base) || types.get(&base).is_some_and(|t| t.typtype == 'c')
}

fn operators(rows: Vec<Operator>) -> HashMap<String, Vec<Operator>> {
    let mut by_name: HashMap<String, Vec<Operator>> = HashMap::new();
    for operator in rows {
        by_name.entry(operator.name.name.clone()).or_default().push(operator);
    }
    for overloads in by_name.values_mut() {
        overloads.sort_by(|a, b| (a.left, a.right, &a.name).cmp(&(b.left, b.right, &b.name)));
    }
    by_name
}
