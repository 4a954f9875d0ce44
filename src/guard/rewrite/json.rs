//! Walks the SQL/JSON constructs. Servers older than they are would read some of them as calls of functions of that name.

use pg_query::NodeEnum;
use pg_query::protobuf::*;

use super::{Rewriter, unsupported};
use crate::base::Refusal;
use crate::guard::nodes;

type Walk = Result<(), Refusal>;

const CONSTRUCTORS: u32 = 160_000;
const QUERY_FUNCTIONS: u32 = 170_000;

impl Rewriter<'_> {
    pub(super) fn json(&mut self, inner: &mut NodeEnum) -> Walk {
        match inner {
            NodeEnum::JsonFormat(JsonFormat { format_type: _, encoding: _, location: _ }) => Ok(()),
            NodeEnum::JsonReturning(JsonReturning { format: _, typid: _, typmod: _ }) => Ok(()),
            NodeEnum::JsonValueExpr(e) => self.json_value(e),
            NodeEnum::JsonIsPredicate(e) => {
                let JsonIsPredicate { expr, format: _, item_type: _, unique_keys: _, location: _ } = e.as_mut();
                self.since(CONSTRUCTORS, "IS JSON")?;
                self.maybe(expr)
            }
            NodeEnum::JsonBehavior(e) => self.json_behavior(e),
            NodeEnum::JsonOutput(e) => self.json_output(e),
            NodeEnum::JsonArgument(e) => {
                let JsonArgument { val, name: _ } = e.as_mut();
                self.json_maybe_value(val)
            }
            NodeEnum::JsonFuncExpr(e) => self.json_function(e),
            NodeEnum::JsonTablePathSpec(e) => self.json_path(e),
            NodeEnum::JsonTable(e) => self.json_table(e),
            NodeEnum::JsonTableColumn(e) => self.json_column(e),
            NodeEnum::JsonKeyValue(e) => self.json_pair(e),
            NodeEnum::JsonParseExpr(e) => {
                let JsonParseExpr { expr, output, unique_keys: _, location: _ } = e.as_mut();
                self.since(QUERY_FUNCTIONS, "JSON()")?;
                self.json_maybe_value(expr)?;
                self.json_maybe_output(output)
            }
            NodeEnum::JsonScalarExpr(e) => {
                let JsonScalarExpr { expr, output, location: _ } = e.as_mut();
                self.since(QUERY_FUNCTIONS, "JSON_SCALAR")?;
                self.maybe(expr)?;
                self.json_maybe_output(output)
            }
            NodeEnum::JsonSerializeExpr(e) => {
                let JsonSerializeExpr { expr, output, location: _ } = e.as_mut();
                self.since(QUERY_FUNCTIONS, "JSON_SERIALIZE")?;
                self.json_maybe_value(expr)?;
                self.json_maybe_output(output)
            }
            constructor @ (NodeEnum::JsonObjectConstructor(_)
            | NodeEnum::JsonArrayConstructor(_)
            | NodeEnum::JsonArrayQueryConstructor(_)
            | NodeEnum::JsonAggConstructor(_)
            | NodeEnum::JsonObjectAgg(_)
            | NodeEnum::JsonArrayAgg(_)) => self.json_constructor(constructor),
            other @ (nodes::expression!() | nodes::no_expression!()) => {
                Err(unsupported(super::outputs::construct(other)))
            }
        }
    }

    fn json_constructor(&mut self, inner: &mut NodeEnum) -> Walk {
        self.since(CONSTRUCTORS, "this SQL/JSON constructor")?;
        match inner {
            NodeEnum::JsonObjectConstructor(JsonObjectConstructor {
                exprs,
                output,
                absent_on_null: _,
                unique: _,
                location: _,
            }) => {
                self.exprs(exprs)?;
                self.json_maybe_output(output)
            }
            NodeEnum::JsonArrayConstructor(JsonArrayConstructor { exprs, output, absent_on_null: _, location: _ }) => {
                self.exprs(exprs)?;
                self.json_maybe_output(output)
            }
            NodeEnum::JsonArrayQueryConstructor(e) => {
                let JsonArrayQueryConstructor { query, output, format: _, absent_on_null: _, location: _ } = e.as_mut();
                self.json_maybe_output(output)?;
                match query.as_deref_mut() {
                    Some(query) => self.any_query(query).map(|_| ()),
                    None => Ok(()),
                }
            }
            NodeEnum::JsonAggConstructor(e) => self.json_aggregate(e),
            NodeEnum::JsonObjectAgg(e) => {
                let JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ } = e.as_mut();
                arg.as_deref_mut().map_or(Ok(()), |a| self.json_pair(a))?;
                constructor.as_deref_mut().map_or(Ok(()), |c| self.json_aggregate(c))
            }
            NodeEnum::JsonArrayAgg(e) => {
                let JsonArrayAgg { constructor, arg, absent_on_null: _ } = e.as_mut();
                self.json_maybe_value(arg)?;
                constructor.as_deref_mut().map_or(Ok(()), |c| self.json_aggregate(c))
            }
            other @ (NodeEnum::JsonFormat(_)
            | NodeEnum::JsonReturning(_)
            | NodeEnum::JsonValueExpr(_)
            | NodeEnum::JsonIsPredicate(_)
            | NodeEnum::JsonBehavior(_)
            | NodeEnum::JsonOutput(_)
            | NodeEnum::JsonArgument(_)
            | NodeEnum::JsonFuncExpr(_)
            | NodeEnum::JsonTablePathSpec(_)
            | NodeEnum::JsonTable(_)
            | NodeEnum::JsonTableColumn(_)
            | NodeEnum::JsonKeyValue(_)
            | NodeEnum::JsonParseExpr(_)
            | NodeEnum::JsonScalarExpr(_)
            | NodeEnum::JsonSerializeExpr(_)
            | nodes::expression!()
            | nodes::no_expression!()) => Err(unsupported(super::outputs::construct(other))),
        }
    }

    fn json_maybe_value(&mut self, value: &mut Option<Box<JsonValueExpr>>) -> Walk {
        value.as_deref_mut().map_or(Ok(()), |v| self.json_value(v))
    }

    fn json_value(&mut self, value: &mut JsonValueExpr) -> Walk {
        let JsonValueExpr { raw_expr, formatted_expr, format: _ } = value;
        self.maybe(raw_expr)?;
        self.maybe(formatted_expr)
    }

    fn json_maybe_output(&mut self, output: &mut Option<JsonOutput>) -> Walk {
        output.as_mut().map_or(Ok(()), |o| self.json_output(o))
    }

    fn json_output(&mut self, output: &mut JsonOutput) -> Walk {
        let JsonOutput { type_name, returning: _ } = output;
        self.type_name(type_name)
    }

    fn json_maybe_behavior(&mut self, behavior: &mut Option<Box<JsonBehavior>>) -> Walk {
        behavior.as_deref_mut().map_or(Ok(()), |b| self.json_behavior(b))
    }

    fn json_behavior(&mut self, behavior: &mut JsonBehavior) -> Walk {
        let JsonBehavior { btype: _, expr, coerce: _, location: _ } = behavior;
        self.maybe(expr)
    }

    fn json_function(&mut self, call: &mut JsonFuncExpr) -> Walk {
        self.since(QUERY_FUNCTIONS, "JSON_EXISTS, JSON_VALUE or JSON_QUERY")?;
        let JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location: _,
        } = call;
        self.json_maybe_value(context_item)?;
        self.maybe(pathspec)?;
        self.exprs(passing)?;
        self.json_maybe_output(output)?;
        self.json_maybe_behavior(on_empty)?;
        self.json_maybe_behavior(on_error)
    }

    fn json_path(&mut self, path: &mut JsonTablePathSpec) -> Walk {
        let JsonTablePathSpec { string, name: _, name_location: _, location: _ } = path;
        self.maybe(string)
    }

    pub(super) fn json_table(&mut self, table: &mut JsonTable) -> Walk {
        self.since(QUERY_FUNCTIONS, "JSON_TABLE")?;
        let JsonTable { context_item, pathspec, passing, columns, on_error, alias: _, lateral: _, location: _ } = table;
        self.json_maybe_value(context_item)?;
        pathspec.as_deref_mut().map_or(Ok(()), |p| self.json_path(p))?;
        self.exprs(passing)?;
        self.exprs(columns)?;
        self.json_maybe_behavior(on_error)
    }

    fn json_column(&mut self, column: &mut JsonTableColumn) -> Walk {
        let JsonTableColumn {
            coltype: _,
            name: _,
            type_name,
            pathspec,
            format: _,
            wrapper: _,
            quotes: _,
            columns,
            on_empty,
            on_error,
            location: _,
        } = column;
        self.type_name(type_name)?;
        pathspec.as_deref_mut().map_or(Ok(()), |p| self.json_path(p))?;
        self.exprs(columns)?;
        self.json_maybe_behavior(on_empty)?;
        self.json_maybe_behavior(on_error)
    }

    fn json_pair(&mut self, pair: &mut JsonKeyValue) -> Walk {
        let JsonKeyValue { key, value } = pair;
        self.maybe(key)?;
        self.json_maybe_value(value)
    }

    fn json_aggregate(&mut self, aggregate: &mut JsonAggConstructor) -> Walk {
        let JsonAggConstructor { output, agg_filter, agg_order, over, location: _ } = aggregate;
        self.json_maybe_output(output)?;
        self.maybe(agg_filter)?;
        self.exprs(agg_order)?;
        over.as_deref_mut().map_or(Ok(()), |w| self.window(w))
    }
}
