//! Functions in FROM, with their column definitions, and XMLTABLE.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, ColumnDef, FuncCall, List, Node, RangeFunction, RangeTableFunc, RangeTableFuncCol, TypeName,
};

use crate::base::Refusal;
use crate::catalog::Relation;
use crate::guard::gate::functions::Before;
use crate::guard::gate::names::search_path;
use crate::guard::rewrite::outputs::{alias_columns, construct, renamed};
use crate::guard::rewrite::scope::{Item, Merges, Output, Shape, Source};
use crate::guard::rewrite::tree::as_string;
use crate::guard::rewrite::{Rewriter, unsupported};

/// Functions that give the columns of their first argument's type.
const POPULATE: [&str; 4] =
    ["json_populate_record", "json_populate_recordset", "jsonb_populate_record", "jsonb_populate_recordset"];

const ARRAY_ELEMENTS: [&str; 4] =
    ["json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text"];

impl<'p> Rewriter<'p> {
    pub(super) fn function(&mut self, function: &mut RangeFunction) -> Result<(), Refusal> {
        let refs = self.looking_at(|this| this.function_parts(function))?;
        let alias = function.alias.clone().or_else(|| function_name(function));
        let private = self.may_be_inlined(function);
        self.leaf();
        let merges = if self.is_of_sql(function) { Merges::Always } else { Merges::Never };
        let source = self.populated(function).map_or(Source::Other, |relation| {
            let columns = relation.columns.iter().map(|c| Output { name: Some(c.name.clone()), passed_on: None });
            let outputs = renamed(Some(columns.collect()), &alias_columns(function.alias.as_ref()));
            Source::Query(Shape { outputs, ..Shape::default() })
        });
        let alias = alias.map(|a| a.aliasname);
        let value = self.column_of_values(function, alias.as_deref());
        self.add(Item { looks_at: refs, private, merges, source, value, ..Item::unknown(alias) });
        Ok(())
    }

    /// The name of the only column of a function that may give values and no rows.
    fn column_of_values(&self, function: &RangeFunction, alias: Option<&str>) -> Option<String> {
        let [entry] = function.functions.as_slice() else { return None };
        let Some(NodeEnum::List(List { items })) = entry.node.as_ref() else { return None };
        let defined =
            function.ordinality || !function.coldeflist.is_empty() || items.get(1).is_some_and(|it| it.node.is_some());
        if defined || self.before(items.first()) == Before::Row {
            return None;
        }
        let named = alias_columns(function.alias.as_ref()).into_iter().next();
        let bare = called(entry).and_then(|call| as_string(call.funcname.last()?));
        // The one argument that these give has a name.
        let elements = bare.is_some_and(|bare| ARRAY_ELEMENTS.contains(&bare)).then(|| "value".to_owned());
        named
            .or(elements)
            .or_else(|| alias.map(str::to_owned))
            .or_else(|| bare.map(str::to_owned))
            .or_else(|| Some(String::new()))
    }

    /// The relation whose columns `jsonb_populate_record(NULL::relation, ...)` and its kin give.
    fn populated(&self, function: &RangeFunction) -> Option<&'p Relation> {
        let [entry] = function.functions.as_slice() else { return None };
        let call = called(entry).filter(|_| !function.ordinality && function.coldeflist.is_empty())?;
        let names: Vec<&str> = call.funcname.iter().filter_map(as_string).collect();
        let ([name] | ["pg_catalog", name]) = names.as_slice() else { return None };
        let Some(NodeEnum::TypeCast(cast)) = call.args.first().and_then(|arg| arg.node.as_ref()) else { return None };
        let TypeName { names, setof: false, pct_type: false, typmods, array_bounds, .. } = cast.type_name.as_ref()?
        else {
            return None;
        };
        let plain = typmods.is_empty() && array_bounds.is_empty() && POPULATE.contains(name);
        let names: Vec<&str> = names.iter().filter_map(as_string).collect();
        let catalog = &self.policy.catalog;
        match names.as_slice() {
            [name] => search_path(self.policy, self.mode).into_iter().find_map(|schema| catalog.relation(schema, name)),
            [schema, name] => catalog.relation(schema, name),
            _ => None,
        }
        .filter(|_| plain)
    }

    /// Whether a function of the operator's is called, which the planner may replace by the query that it is made of
    /// (`inline_set_returning_function` in Postgres's clauses.c), tables and all.
    fn may_be_inlined(&self, function: &RangeFunction) -> bool {
        let calls = function.functions.iter().filter_map(called);
        let mut names = calls.filter_map(|call| as_string(call.funcname.last()?));
        self.guarding() && names.any(|name| self.policy.is_listed_function(name))
    }

    /// Whether one of that name is written in SQL.
    fn is_of_sql(&self, function: &RangeFunction) -> bool {
        let mut names =
            function.functions.iter().filter_map(called).filter_map(|call| as_string(call.funcname.last()?));
        let known = &self.policy.catalog.functions;
        names.any(|name| known.get(name).is_none_or(|found| found.iter().any(|it| it.language == "sql")))
    }

    fn function_parts(&mut self, function: &mut RangeFunction) -> Result<(), Refusal> {
        let RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias: _, coldeflist } = function;
        for entry in functions {
            let Some(NodeEnum::List(List { items })) = entry.node.as_mut() else {
                return Err(unsupported("this function in FROM"));
            };
            let Some((call, definitions)) = items.split_first_mut() else {
                return Err(unsupported("this function in FROM"));
            };
            self.expr(call)?;
            for definition in definitions {
                match definition.node.as_mut() {
                    None => {}
                    Some(NodeEnum::List(List { items })) => self.column_definitions(items)?,
                    Some(other) => return Err(unsupported(construct(other))),
                }
            }
        }
        self.column_definitions(coldeflist)
    }

    fn column_definitions(&mut self, definitions: &mut [Node]) -> Result<(), Refusal> {
        for definition in definitions {
            let Some(NodeEnum::ColumnDef(definition)) = definition.node.as_mut() else {
                return Err(unsupported("this column definition"));
            };
            let ColumnDef {
                colname: _,
                type_name,
                compression: _,
                inhcount: _,
                is_local: _,
                is_not_null: _,
                is_from_type: _,
                storage: _,
                storage_name: _,
                raw_default,
                cooked_default,
                identity: _,
                identity_sequence,
                generated: _,
                coll_clause: _,
                coll_oid: _,
                constraints,
                fdwoptions,
                location: _,
            } = definition.as_mut();
            let more = raw_default.is_some()
                || cooked_default.is_some()
                || identity_sequence.is_some()
                || !constraints.is_empty()
                || !fdwoptions.is_empty();
            if more {
                return Err(unsupported("this column definition"));
            }
            self.type_name(type_name)?;
        }
        Ok(())
    }

    pub(super) fn table_function(&mut self, table: &mut RangeTableFunc) -> Result<(), Refusal> {
        let refs = self.looking_at(|this| this.table_function_parts(table))?;
        self.other(table.alias.as_ref(), refs);
        Ok(())
    }

    fn table_function_parts(&mut self, table: &mut RangeTableFunc) -> Result<(), Refusal> {
        let RangeTableFunc { lateral: _, docexpr, rowexpr, namespaces, columns, alias: _, location: _ } = table;
        self.maybe(docexpr)?;
        self.maybe(rowexpr)?;
        self.exprs(namespaces)?;
        for column in columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_mut() else {
                return Err(unsupported("this XMLTABLE column"));
            };
            let RangeTableFuncCol {
                colname: _,
                type_name,
                for_ordinality: _,
                is_not_null: _,
                colexpr,
                coldefexpr,
                location: _,
            } = column.as_mut();
            self.type_name(type_name)?;
            self.maybe(colexpr)?;
            self.maybe(coldefexpr)?;
        }
        Ok(())
    }
}

/// A single function in FROM without an alias goes by its own name.
fn function_name(function: &RangeFunction) -> Option<Alias> {
    let [entry] = function.functions.as_slice() else { return None };
    let aliasname = as_string(called(entry)?.funcname.last()?)?.to_owned();
    Some(Alias { aliasname, colnames: vec![] })
}

/// The call in an entry of a function item: the call and its column definitions.
fn called(entry: &Node) -> Option<&FuncCall> {
    let NodeEnum::List(List { items }) = entry.node.as_ref()? else { return None };
    let NodeEnum::FuncCall(call) = items.first()?.node.as_ref()? else { return None };
    Some(call)
}
