//! Plain conditions: those that may stand outside of the CASE guard, because the planner can evaluate them on any row
//! without telling anything of it. A column of a table compared with a constant, a parameter or another column by a
//! leakproof operator; `IS [NOT] NULL`; a boolean column; IN and = ANY of constants; AND, OR, NOT of these.
//!
//! Besides: a comparison of a column with a query that looks at nothing outside of itself and whose evaluation cannot fail
//! ([`sure`]), which [`deferred`] makes the planner evaluate late; EXISTS, NOT EXISTS, and IN of a query that gives a column untouched, because the planner turns them into
//! joins, and such a query's conditions are guarded where they stand, with the guards of the tables around it; and a
//! comparison of a column with what a fenced subquery or a function gives, which is a join condition and runs on rows that
//! have passed both sides.
//!
//! A query anywhere else in a condition (under OR, in a list, in NOT IN) is not plain: Postgres runs it when the first row
//! comes that far, so that an error of it would tell that there was such a row, and to the planner it costs nothing.

pub(super) mod deferred;
mod exists;
mod free;
mod listed;
mod one_level;
mod operators;
mod params;
mod sure;

pub(in crate::guard::rewrite) use listed::Trials;
pub(in crate::guard::rewrite) use params::{ParamCasts, declared_by_prepare};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExpr, BoolExprType, ColumnRef, Node, ParamRef, SqlValueFunctionOp, SubLink, SubLinkType,
    TypeCast, a_const,
};

use crate::base::oid::{
    BOOL, BPCHAR, DATE, FLOAT8, INT2, INT4, INT8, NAME, NUMERIC, TEXT, TIMESTAMP, TIMESTAMPTZ, VARCHAR,
};
use crate::base::{Mode, Oid};
use crate::catalog::Catalog;
use crate::guard::facts::Trial;
use crate::guard::gate::names::search_path;
use crate::guard::rewrite::scope::{self, Level};
use crate::guard::rewrite::tree::as_string;
use crate::guard::{Policy, nodes};

const ANYENUM: Oid = 3500;
const UNKNOWN: Oid = 705;

/// How a condition may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::guard::rewrite) enum Verdict {
    /// As it is.
    Plain,
    /// As it is, if the subqueries that it looks at are fenced.
    Fenced,
    /// Behind a CASE.
    Guarded,
}

impl Verdict {
    fn of(plain: bool) -> Self {
        if plain { Verdict::Plain } else { Verdict::Guarded }
    }

    /// Of a comparison whose operator is safe, or is not, of these: a column of something opaque must come out of a fence.
    fn of_operands(safe: bool, operands: &[Operand]) -> Self {
        match safe {
            true if operands.contains(&Operand::Opaque) => Verdict::Fenced,
            true => Verdict::Plain,
            false => Verdict::Guarded,
        }
    }
}

/// A subquery in an expression, as it was found when it was walked.
#[derive(Clone, Copy, Debug)]
pub(in crate::guard::rewrite) struct Closed {
    /// `location` of its SubLink.
    pub(in crate::guard::rewrite) location: i32,
    /// The base type of its only column, if that is a table's column untouched.
    pub(in crate::guard::rewrite) passed_on: Option<Oid>,
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Column(Oid),
    /// A constant of a known type.
    Typed(Oid),
    /// A number in the text, with a point: the server casts it when it reads the statement.
    Decimal,
    /// A literal or a parameter that takes the type of the other side.
    Untyped,
    /// A value of an unknown type that does not depend on the rows compared.
    Unknown,
    /// A column of a fenced subquery or of a function.
    Opaque,
}

/// Judges conditions at the innermost of `levels`.
#[derive(Clone, Copy)]
pub(in crate::guard::rewrite) struct Plain<'a, 'p> {
    pub(in crate::guard::rewrite) policy: &'a Policy,
    pub(in crate::guard::rewrite) mode: &'a Mode,
    pub(in crate::guard::rewrite) levels: &'a [Level<'p>],
    /// Declared types of the client's parameters.
    pub(in crate::guard::rewrite) param_types: &'a [Oid],
    /// What is cast of them.
    pub(in crate::guard::rewrite) casts: &'a ParamCasts,
    /// Subqueries of the condition that look at nothing outside of themselves.
    pub(in crate::guard::rewrite) closed: &'a [Closed],
    /// Whether subqueries may be plain: at the top of a WHERE or ON.
    pub(in crate::guard::rewrite) queries: bool,
    /// It is one of the conditions that AND joins at the top.
    pub(in crate::guard::rewrite) top: bool,
    /// What the condition needs tried.
    pub(in crate::guard::rewrite) trials: Trials<'a>,
}

impl Plain<'_, '_> {
    /// How the condition may stand. It was walked before.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    pub(in crate::guard::rewrite) fn condition(&self, condition: &Node) -> Verdict {
        let Some(inner) = condition.node.as_ref() else { return Verdict::Guarded };
        match inner {
            NodeEnum::BoolExpr(b) if b.boolop() != BoolExprType::Undefined => {
                let inside = Plain { queries: self.queries && is_negated_exists(b), top: false, ..*self };
                b.args.iter().map(|arg| inside.condition(arg)).max().unwrap_or(Verdict::Guarded)
            }
            NodeEnum::ColumnRef(column) => Verdict::of(self.column(column) == Some(BOOL)),
            NodeEnum::NullTest(test) => {
                let told = |arg: &Node| self.value(arg).is_some() || self.is_constant(arg);
                Verdict::of(test.arg.as_deref().is_some_and(told))
            }
            NodeEnum::BooleanTest(test) => {
                let told = |arg: &Node| self.value(arg) == Some(BOOL) || self.is_constant(arg);
                Verdict::of(test.arg.as_deref().is_some_and(told))
            }
            NodeEnum::AExpr(e) => self.listed(e).unwrap_or_else(|| self.comparison(e)),
            NodeEnum::AConst(c) => Verdict::of(c.isnull || matches!(c.val, Some(a_const::Val::Boolval(_)))),
            NodeEnum::SubLink(link) => Verdict::of(self.sublink(link)),
            NodeEnum::ParamRef(p) => Verdict::of(matches!(declared_type(p, self.param_types), 0 | BOOL)),
            nodes::expression!() | nodes::json!() | nodes::no_expression!() => Verdict::Guarded,
        }
    }

    fn sublink(&self, link: &SubLink) -> bool {
        if !self.queries {
            return false;
        }
        let closed = self.closed.iter().find(|c| c.location == link.location);
        match link.sub_link_type() {
            SubLinkType::ExistsSublink => closed.is_some() || exists::is_simple(link),
            SubLinkType::AnySublink => {
                let left = link.testexpr.as_deref().and_then(|t| self.operand(t));
                let right = closed.and_then(|c| c.passed_on).map(Operand::Typed);
                let (Some(l @ Operand::Column(_)), Some(r)) = (left, right) else { return false };
                if link.oper_name.is_empty() { self.safe_named("=", l, r) } else { self.safe(&link.oper_name, l, r) }
            }
            SubLinkType::Undefined
            | SubLinkType::AllSublink
            | SubLinkType::RowcompareSublink
            | SubLinkType::ExprSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::ArraySublink
            | SubLinkType::CteSublink => false,
        }
    }

    fn column(&self, column: &ColumnRef) -> Option<Oid> {
        let names: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
        let meaning = match names?.as_slice() {
            [name] => scope::bare_name(self.levels, name),
            [qualifier, name] => scope::qualified_name(self.levels, None, qualifier, Some(name)),
            [schema, qualifier, name] => scope::qualified_name(self.levels, Some(schema), qualifier, Some(name)),
            _ => return None,
        };
        meaning.column
    }

    fn comparison(&self, e: &AExpr) -> Verdict {
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else { return Verdict::Guarded };
        match e.kind() {
            AExprKind::AexprOp => {
                // (a, b) = (c, d)
                if let (Some(NodeEnum::RowExpr(l)), Some(NodeEnum::RowExpr(r))) = (&left.node, &right.node)
                    && l.args.len() == r.args.len()
                {
                    let pairs = l.args.iter().zip(&r.args).map(|(l, r)| self.pair(&e.name, l, r));
                    return pairs.max().unwrap_or(Verdict::Guarded);
                }
                self.pair(&e.name, left, right)
            }
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => self.pair(&e.name, left, right),
            AExprKind::AexprIn => self.each(e, left, &list_items(right)),
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => self.each_of(e, left, right),
            AExprKind::AexprBetween | AExprKind::AexprNotBetween => self.leakproof_range(left, &list_items(right)),
            AExprKind::Undefined
            | AExprKind::AexprNullif
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => Verdict::Guarded,
        }
    }

    fn pair(&self, name: &[Node], left: &Node, right: &Node) -> Verdict {
        let (Some(l), Some(r)) = (self.side(left), self.side(right)) else { return Verdict::Guarded };
        Verdict::of_operands(self.safe(name, l, r), &[l, r])
    }

    fn each(&self, e: &AExpr, left: &Node, items: &[Node]) -> Verdict {
        let Some(l) = self.operand(left).filter(|_| !items.is_empty()) else { return Verdict::Guarded };
        let safe = items.iter().all(|item| match self.operand(item) {
            Some(Operand::Column(_) | Operand::Opaque) | None => false,
            Some(constant @ (Operand::Typed(_) | Operand::Decimal | Operand::Untyped | Operand::Unknown)) => {
                self.safe(&e.name, l, constant)
            }
        });
        Verdict::of_operands(safe, &[l])
    }

    /// Of `= ANY` and its kin.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    fn each_of(&self, e: &AExpr, left: &Node, right: &Node) -> Verdict {
        match right.node.as_ref() {
            Some(NodeEnum::AArrayExpr(array)) => self.each(e, left, &array.elements),
            // An array literal or parameter takes the array type of the column.
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => Verdict::of(self.each_of_array(e, left, right)),
            Some(NodeEnum::TypeCast(cast)) => Verdict::of(self.array_cast(e, left, right, cast)),
            Some(nodes::expression!() | nodes::json!() | nodes::no_expression!()) | None => Verdict::Guarded,
        }
    }

    fn each_of_array(&self, e: &AExpr, left: &Node, array: &Node) -> bool {
        let mut declared = 0;
        if let Some(NodeEnum::ParamRef(p)) = array.node.as_ref() {
            declared = declared_type(p, self.param_types);
        }
        let Some(Operand::Column(column)) = self.operand(left) else { return false };
        match declared {
            0 => self.safe(&e.name, Operand::Column(column), Operand::Untyped),
            array => element_of(&self.policy.catalog, array)
                .is_some_and(|element| self.safe(&e.name, Operand::Column(column), Operand::Typed(element))),
        }
    }

    /// `= ANY ('{1,2}'::int[])`
    fn array_cast(&self, e: &AExpr, left: &Node, right: &Node, cast: &TypeCast) -> bool {
        let (Some(name), Some(arg)) = (cast.type_name.as_ref(), cast.arg.as_deref()) else { return false };
        if name.array_bounds.len() != 1 {
            return false;
        }
        let (Some(column @ Operand::Column(_)), Some(element)) = (self.operand(left), self.type_oid(&name.names))
        else {
            return false;
        };
        let before = self.is_cast_before(name, arg);
        (before || self.free(right).is_some())
            && self.safe(&e.name, column, Operand::Typed(element))
            && (before || self.tries(Trial::Value, right))
    }

    fn leakproof_range(&self, left: &Node, bounds: &[Node]) -> Verdict {
        let [low, high] = bounds else { return Verdict::Guarded };
        let (Some(l), Some(low), Some(high)) = (self.operand(left), self.operand(low), self.operand(high)) else {
            return Verdict::Guarded;
        };
        let safe = [low, high].iter().all(|b| self.safe_named("<=", l, *b) && self.safe_named(">=", l, *b));
        Verdict::of_operands(safe, &[l, low, high])
    }

    fn is_constant(&self, node: &Node) -> bool {
        matches!(self.simple(node), Some(Operand::Typed(_) | Operand::Decimal | Operand::Untyped))
    }

    /// A side of a comparison: an operand, or a query whose evaluation can be deferred.
    fn side(&self, node: &Node) -> Option<Operand> {
        match deferred::query_of(node) {
            Some(link) if self.queries => {
                let closed = self.closed.iter().find(|c| c.location == link.location)?;
                if !sure::is_sure(self.policy, self.param_types, link) {
                    return None;
                }
                Some(closed.passed_on.map_or(Operand::Unknown, Operand::Typed))
            }
            Some(_) => None,
            None => self.operand(node),
        }
    }

    /// A side of a comparison that is no query. What of it could fail is tried.
    fn operand(&self, node: &Node) -> Option<Operand> {
        self.simple(node).or_else(|| self.value(node).map(Operand::Column)).or_else(|| {
            let free = self.free(node)?;
            let oid = free.oid.filter(|_| free.quiet || self.tries(Trial::Value, node))?;
            Some(Operand::Typed(oid))
        })
    }

    /// A column, or a constant: a literal, a parameter, a cast of one, the time of the statement.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    fn simple(&self, node: &Node) -> Option<Operand> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => match self.column(column) {
                Some(oid) => Some(Operand::Column(oid)),
                None => self.is_opaque(column).then_some(Operand::Opaque),
            },
            NodeEnum::ParamRef(p) => Some(match declared_type(p, self.param_types) {
                0 => Operand::Untyped,
                oid => Operand::Typed(oid),
            }),
            NodeEnum::AConst(c) => match c.val.as_ref() {
                None | Some(a_const::Val::Sval(_)) => Some(Operand::Untyped),
                Some(a_const::Val::Ival(_)) => Some(Operand::Typed(INT4)),
                Some(a_const::Val::Fval(f)) if f.fval.parse::<i64>().is_ok() => Some(Operand::Typed(INT8)),
                Some(a_const::Val::Fval(_)) => Some(Operand::Decimal),
                Some(a_const::Val::Boolval(_)) => Some(Operand::Typed(BOOL)),
                Some(a_const::Val::Bsval(_)) => None,
            },
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::SqlvalueFunction(f) => clock_type(f.op()).map(Operand::Typed),
            nodes::expression!() | nodes::json!() | nodes::no_expression!() => None,
        }
    }

    /// A column of something that gives rows of the tenant's own only, or nothing of a tenant's: `x.c`.
    fn is_opaque(&self, column: &ColumnRef) -> bool {
        let names: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
        matches!(names.as_deref(), Some([qualifier, _]) if scope::is_opaque(self.levels, qualifier))
    }

    /// A cast of a literal, or of a parameter that has the type; not of a column.
    fn cast(&self, cast: &TypeCast) -> Option<Operand> {
        let name = cast.type_name.as_ref()?;
        let plain = name.array_bounds.is_empty() && !name.setof && !name.pct_type;
        if !plain || !self.is_cast_before(name, cast.arg.as_deref()?) {
            return None;
        }
        self.type_oid(&name.names).map(Operand::Typed)
    }

    /// A type of `pg_catalog`, or an enum on the search path.
    fn type_oid(&self, names: &[Node]) -> Option<Oid> {
        let names: Option<Vec<&str>> = names.iter().map(as_string).collect();
        let (schemas, name) = match names?.as_slice() {
            [name] => (search_path(self.policy, self.mode), *name),
            [schema, name] => (vec![*schema], *name),
            _ => return None,
        };
        let found = schemas.iter().find_map(|schema| {
            self.policy.catalog.types.values().find(|t| t.name.schema == *schema && t.name.name == name)
        })?;
        let harmless = found.name.schema == "pg_catalog" || found.typtype == 'e';
        harmless.then_some(found.oid)
    }
}

/// Whether a condition is an EXISTS, a NOT EXISTS or an IN, which the planner turns into joins or runs before any row.
pub(in crate::guard::rewrite) fn becomes_join(condition: &Node) -> bool {
    match condition.node.as_ref() {
        Some(NodeEnum::SubLink(link)) => {
            matches!(link.sub_link_type(), SubLinkType::ExistsSublink | SubLinkType::AnySublink)
        }
        Some(NodeEnum::BoolExpr(b)) => is_negated_exists(b),
        Some(_) | None => false,
    }
}

/// `NOT EXISTS (...)`
fn is_negated_exists(b: &BoolExpr) -> bool {
    let exists = |arg: &Node| matches!(arg.node.as_ref(), Some(NodeEnum::SubLink(link)) if link.sub_link_type() == SubLinkType::ExistsSublink);
    b.boolop() == BoolExprType::NotExpr && b.args.iter().all(exists)
}

/// 0: none, the server finds one.
fn declared_type(param: &ParamRef, param_types: &[Oid]) -> Oid {
    let index = usize::try_from(param.number).ok().and_then(|n| n.checked_sub(1));
    index.and_then(|i| param_types.get(i)).copied().filter(|oid| *oid != UNKNOWN).unwrap_or(0)
}

/// The element type of `pg_catalog._name`.
fn element_of(catalog: &Catalog, array: Oid) -> Option<Oid> {
    let name = catalog.types.get(&array)?;
    let element = name.name.name.strip_prefix('_')?;
    catalog.types.values().find(|t| t.name.schema == name.name.schema && t.name.name == element).map(|t| t.oid)
}

fn list_items(node: &Node) -> Vec<Node> {
    let Some(NodeEnum::List(list)) = node.node.as_ref() else { return Vec::new() };
    list.items.clone()
}

/// Types of `CURRENT_DATE` and its kin, which are constants to a statement.
fn clock_type(op: SqlValueFunctionOp) -> Option<Oid> {
    match op {
        SqlValueFunctionOp::SvfopCurrentDate => Some(1082),
        SqlValueFunctionOp::SvfopCurrentTime | SqlValueFunctionOp::SvfopCurrentTimeN => Some(1266),
        SqlValueFunctionOp::SvfopCurrentTimestamp | SqlValueFunctionOp::SvfopCurrentTimestampN => Some(1184),
        SqlValueFunctionOp::SvfopLocaltime | SqlValueFunctionOp::SvfopLocaltimeN => Some(1083),
        SqlValueFunctionOp::SvfopLocaltimestamp | SqlValueFunctionOp::SvfopLocaltimestampN => Some(1114),
        SqlValueFunctionOp::SqlvalueFunctionOpUndefined
        | SqlValueFunctionOp::SvfopCurrentRole
        | SqlValueFunctionOp::SvfopCurrentUser
        | SqlValueFunctionOp::SvfopUser
        | SqlValueFunctionOp::SvfopSessionUser
        | SqlValueFunctionOp::SvfopCurrentCatalog
        | SqlValueFunctionOp::SvfopCurrentSchema => None,
    }
}
