//! Functions in FROM, with their column definitions, and XMLTABLE.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, ColumnDef, FuncCall, List, Node, RangeFunction, RangeTableFunc, RangeTableFuncCol};

use crate::base::Refusal;
use crate::guard::rewrite::outputs::construct;
use crate::guard::rewrite::scope::{Item, Merges};
use crate::guard::rewrite::tree::as_string;
use crate::guard::rewrite::{Rewriter, unsupported};

impl Rewriter<'_> {
    pub(super) fn function(&mut self, function: &mut RangeFunction) -> Result<(), Refusal> {
        let refs = self.looking_at(|this| this.function_parts(function))?;
        let alias = function.alias.clone().or_else(|| function_name(function));
        let private = self.may_be_inlined(function);
        self.leaf();
        let merges = if self.is_of_sql(function) { Merges::Always } else { Merges::Never };
        self.add(Item { looks_at: refs, private, merges, ..Item::unknown(alias.map(|a| a.aliasname)) });
        Ok(())
    }

    /// Whether a function of the operator's is called, which the planner may replace by the query that it is made of
    /// (`inline_set_returning_function` in Postgres's clauses.c), tables and all.
    fn may_be_inlined(&self, function: &RangeFunction) -> bool {
        let calls = function.functions.iter().filter_map(called);
        let mut names = calls.filter_map(|call| as_string(call.funcname.last()?));
        self.guarding() && names.any(|name| self.policy.allow_functions.iter().any(|allowed| allowed.name == name))
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
