//! Functions of the server that a tenant may call on its own part of it, or on nothing: their argument is held to that.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, SqlValueFunctionOp, TypeCast};

use super::tree::{self, as_string};
use super::{Rewriter, unsupported};
use crate::base::{Mode, Refusal};
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::functions::{self, Printed};
use crate::sql::parse;
use crate::sql::walk::{Part, Walk};

/// `$1` if it is the process id of a session in this database, NULL otherwise. The value is taken once, so that the one that is
/// looked at is the one that is given; no name in it can mean something of this query.
const OWN_PID: &str = "(SELECT v.x FROM (SELECT NULL::pg_catalog.int4 AS x OFFSET 0) v WHERE v.x OPERATOR(pg_catalog.=) ANY \
     (ARRAY(SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())))";

impl Rewriter<'_> {
    /// Holds a call to the tenant's own part; whether it is one that can be.
    ///
    /// # Errors
    /// That of its argument.
    pub(super) fn held_to_own_part(&mut self, call: &mut FuncCall) -> Result<bool, Refusal> {
        let Some(bare) = plain_name(call).map(str::to_owned) else { return Ok(false) };
        let bare = bare.as_str();
        if matches!(self.mode, Mode::Shared | Mode::Reader | Mode::Schema(_)) {
            return self.held_to_nothing(bare, &mut call.args);
        }
        if !matches!(self.mode, Mode::Database) {
            return Ok(false);
        }
        match (bare, call.args.as_mut_slice()) {
            ("pg_terminate_backend" | "pg_cancel_backend", [pid, timeout @ ..]) => {
                self.expr(pid)?;
                self.exprs(timeout)?;
                let Some(own) = own_pid(std::mem::take(pid)) else { return Ok(false) };
                *pid = own;
            }
            ("pg_database_size", [database]) if is_current_database(database) => {
                *database = tree::node(NodeEnum::FuncCall(Box::new(tree::system_call("current_database", Vec::new()))));
            }
            _ => return Ok(false),
        }
        // Its name could be another function's on the client's search path.
        call.funcname = vec![tree::string("pg_catalog"), tree::string(bare)];
        self.rewritten = true;
        Ok(true)
    }
}

impl Rewriter<'_> {
    /// How large a table is tells of all tenants that share it: the answer is NULL, as for a table that is not there, so that lists
    /// of tables have their other columns.
    fn held_to_nothing(&mut self, bare: &str, args: &mut [Node]) -> Result<bool, Refusal> {
        let [object, others @ ..] = args else { return Ok(false) };
        if !matches!(bare, "pg_relation_size" | "pg_table_size" | "pg_indexes_size" | "pg_total_relation_size") {
            return Ok(false);
        }
        self.expr(object)?;
        self.exprs(others)?;
        *object = tree::null_oid();
        self.rewritten = true;
        Ok(true)
    }
}

impl Rewriter<'_> {
    /// Holds a call that prints an object's definition to the objects that the tenant sees in the catalogs.
    ///
    /// # Errors
    /// 0A000 where the object is not told by an expression that stays the same in a subquery.
    pub(super) fn held_to_seen(&mut self, funcname: &[Node], args: &mut [Node]) -> Result<(), Refusal> {
        let names: Option<Vec<&str>> = funcname.iter().map(as_string).collect();
        let Some([bare] | ["pg_catalog", bare] | [_, "pg_catalog", bare]) = names.as_deref() else { return Ok(()) };
        let (Some(printed), Some(object)) = (Printed::by(bare, args), args.first_mut()) else { return Ok(()) };
        if !matches!(self.mode, Mode::Shared | Mode::Reader | Mode::Schema(_)) || planted(Fault::Mask) {
            return Ok(());
        }
        if matches!(object.node, Some(NodeEnum::NamedArgExpr(_))) || object.met(&mut |part| self.aggregates(part)) {
            return Err(unsupported(format_args!("this argument of {bare}()")).hint("Name a column or a constant."));
        }
        // A constant takes the type of where it stands; what may be a name is looked up as the function does.
        let untyped = matches!(object.node, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)));
        let given = std::mem::take(object);
        let put = |cast: TypeCast| {
            if printed.by_name || untyped { cast_of(cast, given) } else { given }
        };
        let held = printed.seen(self.policy, self.mode).and_then(|text| holding(&text, put));
        *object = held.ok_or_else(|| unsupported(format_args!("{bare}()")))?;
        self.rewritten = true;
        Ok(())
    }

    /// Whether something here is computed of all rows of the query that it stands in.
    fn aggregates(&self, part: Part<'_>) -> bool {
        let here = match part {
            Part::Node(NodeEnum::FuncCall(call)) => {
                call.over.is_some() || functions::may_aggregate(self.policy, self.mode, &call.funcname)
            }
            Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => false,
        };
        here || part.fields(&mut |inner| self.aggregates(inner))
    }
}

/// The name of a call whose arguments stand by their places.
fn plain_name(call: &FuncCall) -> Option<&str> {
    let named = |arg: &Node| matches!(arg.node, Some(NodeEnum::NamedArgExpr(_)));
    tree::system_name(call).filter(|_| !call.args.iter().any(named))
}

fn own_pid(pid: Node) -> Option<Node> {
    holding(OWN_PID, |cast| cast_of(cast, pid))
}

/// A value held to what a query lets through, in the place of the NULL in the query's text: the cast that the NULL stands in is given.
fn holding(text: &str, put: impl FnOnce(TypeCast) -> Node) -> Option<Node> {
    let mut own = parse::expression(text).ok()?;
    let Some(NodeEnum::SubLink(link)) = own.node.as_mut() else { return None };
    let Some(NodeEnum::SelectStmt(outer)) = link.subselect.as_deref_mut()?.node.as_mut() else { return None };
    let Some(NodeEnum::RangeSubselect(from)) = outer.from_clause.first_mut()?.node.as_mut() else { return None };
    let Some(NodeEnum::SelectStmt(inner)) = from.subquery.as_deref_mut()?.node.as_mut() else { return None };
    let Some(NodeEnum::ResTarget(target)) = inner.target_list.first_mut()?.node.as_mut() else { return None };
    let value = target.val.as_deref_mut()?;
    let Some(NodeEnum::TypeCast(cast)) = value.node.take() else { return None };
    *value = put(*cast);
    Some(own)
}

fn cast_of(cast: TypeCast, value: Node) -> Node {
    tree::node(NodeEnum::TypeCast(Box::new(TypeCast { arg: Some(Box::new(value)), ..cast })))
}

/// `current_database()` or `CURRENT_CATALOG`, also cast to a name or text.
fn is_current_database(node: &Node) -> bool {
    if let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() {
        let to = cast.type_name.as_ref().and_then(|it| it.names.last()).and_then(as_string);
        return matches!(to, Some("name" | "text")) && cast.arg.as_deref().is_some_and(is_current_database);
    }
    if let Some(NodeEnum::SqlvalueFunction(value)) = node.node.as_ref() {
        return value.op() == SqlValueFunctionOp::SvfopCurrentCatalog;
    }
    let Some(NodeEnum::FuncCall(call)) = node.node.as_ref() else { return false };
    call.args.is_empty() && tree::system_name(call) == Some("current_database")
}
