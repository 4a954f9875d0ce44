//! Walks expressions: every node kind is named, every field of it looked at; what is not known is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::*;

use super::plain::Closed;
use super::scope::{self, is_system_column};
use super::tree::{self, as_string};
use super::{Rewriter, unsupported};
use crate::base::Refusal;
use crate::guard::gate::functions::Before;
use crate::guard::gate::{functions, operators, types};
use crate::guard::{Effect, Names, nodes};

pub(super) type Walk = Result<(), Refusal>;

impl Rewriter<'_> {
    pub(super) fn exprs(&mut self, nodes: &mut [Node]) -> Walk {
        nodes.iter_mut().try_for_each(|node| self.expr(node))
    }

    pub(super) fn maybe(&mut self, node: &mut Option<Box<Node>>) -> Walk {
        node.as_deref_mut().map_or(Ok(()), |node| self.expr(node))
    }

    /// Walks one expression.
    pub(super) fn expr(&mut self, node: &mut Node) -> Walk {
        // An empty node stands for a part that was left out (`a[:2]`, DISTINCT without ON).
        let Some(inner) = node.node.as_mut() else { return Ok(()) };
        match inner {
            NodeEnum::ColumnRef(column) => {
                self.column_ref(column)?;
                let row_of = self.row_of_view(&column.fields)?;
                if let Some(view) = row_of {
                    *node = tree::cast(std::mem::take(node), tree::named_type(view));
                }
                Ok(())
            }
            NodeEnum::ParamRef(ParamRef { number: _, location: _ }) => Ok(()),
            NodeEnum::AConst(AConst { isnull: _, location: _, val: _ }) => Ok(()),
            NodeEnum::AExpr(e) => self.operator(e),
            NodeEnum::BoolExpr(e) => {
                let BoolExpr { xpr: _, boolop: _, args, location: _ } = e.as_mut();
                self.exprs(args)
            }
            NodeEnum::TypeCast(e) => {
                types::check_cast(self.policy, self.mode, e)?;
                let TypeCast { arg, type_name, location: _ } = e.as_mut();
                self.maybe(arg)?;
                self.type_name(type_name)
            }
            NodeEnum::CollateClause(e) => {
                let CollateClause { arg, collname: _, location: _ } = e.as_mut();
                self.maybe(arg)
            }
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::AIndirection(e) => {
                let AIndirection { arg, indirection } = e.as_mut();
                self.maybe(arg)?;
                let before = self.before(arg.as_deref());
                self.indirection(before, indirection)
            }
            NodeEnum::AIndices(e) => {
                let AIndices { is_slice: _, lidx, uidx } = e.as_mut();
                self.maybe(lidx)?;
                self.maybe(uidx)
            }
            NodeEnum::AArrayExpr(AArrayExpr { elements, list_start: _, list_end: _, location: _ }) => {
                self.exprs(elements)
            }
            NodeEnum::SubLink(link) => self.sublink(link),
            NodeEnum::NullTest(e) => {
                let NullTest { xpr: _, arg, nulltesttype: _, argisrow: _, location: _ } = e.as_mut();
                self.maybe(arg)
            }
            NodeEnum::BooleanTest(e) => {
                let BooleanTest { xpr: _, arg, booltesttype: _, location: _ } = e.as_mut();
                self.maybe(arg)
            }
            NodeEnum::CaseExpr(e) => {
                let CaseExpr { xpr: _, casetype: _, casecollid: _, arg, args, defresult, location: _ } = e.as_mut();
                self.maybe(arg)?;
                self.exprs(args)?;
                self.maybe(defresult)
            }
            NodeEnum::CaseWhen(e) => {
                let CaseWhen { xpr: _, expr, result, location: _ } = e.as_mut();
                self.maybe(expr)?;
                self.maybe(result)
            }
            NodeEnum::RowExpr(e) => {
                let RowExpr { xpr: _, args, row_typeid: _, row_format: _, colnames: _, location: _ } = e.as_mut();
                self.exprs(args)
            }
            NodeEnum::CoalesceExpr(e) => {
                let CoalesceExpr { xpr: _, coalescetype: _, coalescecollid: _, args, location: _ } = e.as_mut();
                self.exprs(args)
            }
            NodeEnum::MinMaxExpr(e) => {
                let MinMaxExpr { xpr: _, minmaxtype: _, minmaxcollid: _, inputcollid: _, op: _, args, location: _ } =
                    e.as_mut();
                self.exprs(args)
            }
            NodeEnum::SqlvalueFunction(e) => {
                let SqlValueFunction { xpr: _, op: _, r#type: _, typmod: _, location: _ } = e.as_ref();
                Ok(())
            }
            NodeEnum::NamedArgExpr(e) => {
                let NamedArgExpr { xpr: _, arg, name: _, argnumber: _, location: _ } = e.as_mut();
                self.maybe(arg)
            }
            NodeEnum::GroupingFunc(e) => {
                let GroupingFunc { xpr: _, args, refs: _, agglevelsup: _, location: _ } = e.as_mut();
                self.exprs(args)
            }
            NodeEnum::GroupingSet(GroupingSet { kind: _, content, location: _ }) => self.exprs(content),
            NodeEnum::List(List { items }) => self.exprs(items),
            NodeEnum::SetToDefault(e) => {
                let SetToDefault { xpr: _, type_id: _, type_mod: _, collation: _, location: _ } = e.as_ref();
                Ok(())
            }
            NodeEnum::MergeSupportFunc(e) => {
                let MergeSupportFunc { xpr: _, msftype: _, msfcollid: _, location: _ } = e.as_ref();
                self.since(170_000, "MERGE_ACTION")
            }
            NodeEnum::ResTarget(e) => {
                let ResTarget { name: _, indirection, val, location: _ } = e.as_mut();
                // What is assigned to: fields of a row.
                self.indirection(Before::Row, indirection)?;
                self.maybe(val)
            }
            NodeEnum::SortBy(e) => {
                let SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location: _ } = e.as_mut();
                self.maybe(node)?;
                if use_op.is_empty() { Ok(()) } else { operators::check(self.policy, self.mode, use_op) }
            }
            NodeEnum::WindowDef(window) => self.window(window),
            NodeEnum::XmlExpr(e) => {
                let XmlExpr {
                    xpr: _,
                    op: _,
                    name: _,
                    named_args,
                    arg_names: _,
                    args,
                    xmloption: _,
                    indent: _,
                    r#type: _,
                    typmod: _,
                    location: _,
                } = e.as_mut();
                self.exprs(named_args)?;
                self.exprs(args)
            }
            NodeEnum::XmlSerialize(e) => {
                let XmlSerialize { xmloption: _, expr, type_name, indent: _, location: _ } = e.as_mut();
                self.maybe(expr)?;
                self.type_name(type_name)
            }
            json @ nodes::json!() => self.json(json),
            other @ nodes::no_expression!() => Err(unsupported(super::outputs::construct(other))),
        }
    }

    /// `x`, `t.x`, `s.t.x`, `*`, `t.*`, `s.t.*`
    fn column_ref(&mut self, column: &mut ColumnRef) -> Walk {
        let ColumnRef { fields, location: _ } = column;
        self.shorten(fields)?;
        let star = fields.last().is_some_and(super::outputs::is_star);
        let names: Vec<&str> = fields.iter().filter_map(as_string).collect();
        if names.len() + usize::from(star) != fields.len() {
            return Err(unsupported("this column reference"));
        }
        if !star && let Some((name, qualifiers)) = names.split_last() {
            let lost = is_system_column(name) && scope::is_lost(&self.levels, qualifiers.last().copied());
            self.loses_system_column |= lost;
        }
        let meaning = match (names.as_slice(), star) {
            ([], true) => scope::Meaning::of_star(&self.levels),
            ([name], false) => scope::bare_name(&self.levels, name),
            ([qualifier], true) => scope::qualified_name(&self.levels, None, qualifier, None),
            ([qualifier, name], false) => scope::qualified_name(&self.levels, None, qualifier, Some(name)),
            ([schema, qualifier], true) => scope::qualified_name(&self.levels, Some(schema), qualifier, None),
            ([schema, qualifier, name], false) => {
                scope::qualified_name(&self.levels, Some(schema), qualifier, Some(name))
            }
            _ => return Err(unsupported("a column reference with a database name")),
        };
        if let Some(refs) = self.refs.last_mut() {
            refs.absorb(&meaning.refs);
        }
        match names.last() {
            Some(field) if meaning.maybe_function => {
                self.field(if meaning.of_value { Before::Value } else { Before::Row }, field)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// `schema.table.column` of a table that stands behind a subquery now.
    fn shorten(&mut self, fields: &mut Vec<Node>) -> Walk {
        let [schema, qualifier, _] = fields.as_slice() else { return Ok(()) };
        let (Some(schema), Some(qualifier)) = (as_string(schema), as_string(qualifier)) else { return Ok(()) };
        match scope::lost_schema(&self.levels, schema, qualifier) {
            Some(false) => {}
            Some(true) => drop(fields.remove(0)),
            None => return Err(unsupported("a column reference with a schema, past another table of that name")),
        }
        Ok(())
    }

    fn operator(&mut self, e: &mut AExpr) -> Walk {
        let kind = e.kind();
        let AExpr { kind: _, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location: _ } = e;
        match kind {
            // The name is a keyword here; the operators are those of the types' ordering.
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {}
            AExprKind::AexprOp
            | AExprKind::AexprOpAny
            | AExprKind::AexprOpAll
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar => operators::check(self.policy, self.mode, name)?,
            AExprKind::Undefined => return Err(unsupported("this operator")),
        }
        self.maybe(lexpr)?;
        self.maybe(rexpr)
    }

    pub(super) fn call(&mut self, call: &mut FuncCall) -> Walk {
        if self.held_to_own_part(call)? {
            return Ok(());
        }
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location: _,
        } = call;
        if functions::may_touch_data(self.policy, funcname) {
            self.touches_data.set(true);
        }
        for effect in functions::check(self.policy, self.mode, funcname, args)? {
            self.effect(effect);
        }
        self.exprs(args)?;
        if functions::tells_of_shared_tables(self.mode, funcname)
            && let Some(object) = args.first_mut()
        {
            *object = tree::null_oid();
            self.rewritten = true;
        } else {
            self.held_to_seen(funcname, args)?;
        }
        self.exprs(agg_order)?;
        self.maybe(agg_filter)?;
        over.as_deref_mut().map_or(Ok(()), |window| self.window(window))?;
        if functions::is_notify(funcname) && self.owns_channels() {
            return self.notify(call);
        }
        match functions::lock_call(funcname).filter(|_| self.owns_locks()) {
            Some(which) => self.lock(call, which),
            None => Ok(()),
        }
    }

    pub(super) fn window(&mut self, window: &mut WindowDef) -> Walk {
        let WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.exprs(partition_clause)?;
        self.exprs(order_clause)?;
        self.maybe(start_offset)?;
        self.maybe(end_offset)
    }

    fn sublink(&mut self, link: &mut SubLink) -> Walk {
        let is_exists = link.sub_link_type() == SubLinkType::ExistsSublink;
        let SubLink { xpr: _, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location } = link;
        if !oper_name.is_empty() {
            operators::check(self.policy, self.mode, oper_name)?;
        }
        self.maybe(testexpr)?;
        let query = subselect.as_deref_mut().ok_or_else(|| unsupported("this subquery"))?;
        let around = self.in_exists;
        self.in_exists |= is_exists;
        let shape = self.any_query(query);
        self.in_exists = around;
        let shape = shape?;
        if shape.looks_at.is_empty() {
            let passed_on = match shape.outputs.as_deref() {
                Some([only]) => only.passed_on,
                Some(_) | None => None,
            };
            self.closed.push(Closed { location: *location, passed_on });
        }
        Ok(())
    }

    pub(super) fn type_name(&mut self, name: &mut Option<TypeName>) -> Walk {
        let Some(name) = name else { return Ok(()) };
        // A row type of a temporary table.
        let known = |last: &str| self.policy.catalog.types.values().any(|it| it.name.name == last);
        if self.policy.names == Names::Temporary && !name.names.last().and_then(as_string).is_some_and(known) {
            self.effect(Effect::NamesTemporary);
        }
        // Its modifiers are constants and identifiers: nothing to walk.
        types::check(self.policy, self.mode, name)
    }

    /// Refuses what a server older than `version` would read otherwise (as a call of somebody's function).
    pub(super) fn since(&self, version: u32, what: &str) -> Walk {
        if self.policy.catalog.server_version_num < version {
            return Err(unsupported(format_args!("{what} on this server version")));
        }
        Ok(())
    }
}
