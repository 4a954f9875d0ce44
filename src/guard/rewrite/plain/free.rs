//! Operands without columns: what they are, as far as it can be told, and whether evaluating them can fail.
//!
//! `at >= now() - interval '1 hour'`: the right side has one value for a statement and tells nothing of rows. But Postgres
//! evaluates it when the first row comes that far (or, of two indexes, when the first one had any), so that an error of it
//! would tell that there was such a row, of anybody. So what could fail is tried once, ahead ([`Trial::Value`]).
//!
//! [`Trial::Value`]: crate::guard::facts::Trial::Value

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, Node, TypeCast};

use super::{Operand, Plain, declared_type};
use crate::base::Oid;
use crate::base::oid::{NUMERIC, TEXT};
use crate::catalog::{Function, FunctionKind, Operator, Volatility};
use crate::guard::facts::{FREE_FUNCTIONS, QUIET_FUNCTIONS};
use crate::guard::gate::names::search_path;
use crate::guard::nodes;
use crate::guard::rewrite::tree::{as_string, system_name};

/// An operand without columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Free {
    /// Its type; `None`: a literal or a parameter that takes the type of the other side.
    pub(super) oid: Option<Oid>,
    /// Evaluating it fails on nothing.
    pub(super) quiet: bool,
}

impl Free {
    fn quiet(oid: Option<Oid>) -> Option<Self> {
        Some(Self { oid, quiet: true })
    }
}

impl Plain<'_, '_> {
    /// What an operand without columns is; `None`: it has columns, or it cannot be told.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    pub(super) fn free(&self, node: &Node) -> Option<Free> {
        match node.node.as_ref()? {
            NodeEnum::ParamRef(p) => Free::quiet(Some(declared_type(p, self.param_types)).filter(|oid| *oid != 0)),
            NodeEnum::AConst(_) | NodeEnum::SqlvalueFunction(_) => match self.simple(node)? {
                Operand::Untyped => Free::quiet(None),
                Operand::Typed(oid) => Free::quiet(Some(oid)),
                Operand::Decimal => Free::quiet(Some(NUMERIC)),
                Operand::Column(_) | Operand::Unknown | Operand::Opaque => None,
            },
            NodeEnum::TypeCast(cast) => self.free_cast(cast),
            NodeEnum::FuncCall(call) => self.free_call(call),
            NodeEnum::AExpr(e) if e.kind() == AExprKind::AexprOp => self.free_operator(e),
            NodeEnum::CoalesceExpr(e) => self.one_of(&e.args).map(|it| Free { oid: it.oid.or(Some(TEXT)), ..it }),
            NodeEnum::MinMaxExpr(e) => self.one_of(&e.args).map(|it| Free { oid: it.oid.or(Some(TEXT)), ..it }),
            NodeEnum::AArrayExpr(array) if !array.elements.is_empty() => {
                let element = self.one_of(&array.elements)?;
                Some(Free { oid: Some(self.array_of(element.oid.unwrap_or(TEXT))?), ..element })
            }
            nodes::expression!() | nodes::json!() | nodes::no_expression!() => None,
        }
    }

    /// Several of one type, of which one is taken.
    fn one_of(&self, items: &[Node]) -> Option<Free> {
        let all = items.iter().map(|item| self.free(item)).collect::<Option<Vec<_>>>()?;
        let oid = all.iter().find_map(|it| it.oid);
        let alike = all.iter().all(|it| it.oid.is_none() || it.oid == oid);
        alike.then(|| Free { oid, quiet: all.iter().all(|it| it.quiet) })
    }

    fn free_cast(&self, cast: &TypeCast) -> Option<Free> {
        let (name, arg) = (cast.type_name.as_ref()?, cast.arg.as_deref()?);
        if name.setof || name.pct_type || name.array_bounds.len() > 1 {
            return None;
        }
        self.free(arg)?;
        let oid = self.type_oid(&name.names)?;
        let oid = if name.array_bounds.is_empty() { oid } else { self.array_of(oid)? };
        Some(Free { oid: Some(oid), quiet: self.is_cast_before(name, arg) })
    }

    fn free_call(&self, call: &FuncCall) -> Option<Free> {
        let name = system_name(call)?;
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            let value = match arg.node.as_ref()? {
                NodeEnum::NamedArgExpr(named) => named.arg.as_deref()?,
                _ => arg,
            };
            args.push(self.free(value)?);
        }
        if !(FREE_FUNCTIONS.contains(&name) || QUIET_FUNCTIONS.contains(&name)) {
            return None;
        }
        let all = self.system_functions(name, call.funcname.len() == 1)?;
        let takes = |f: &&Function| f.arg_types.len() == args.len();
        let fits = |f: &&Function| {
            f.arg_types
                .iter()
                .zip(&args)
                .all(|(wanted, arg)| arg.oid.is_none_or(|oid| self.operator_type(oid) == *wanted))
        };
        let untyped_as_text =
            |f: &&Function| f.arg_types.iter().zip(&args).all(|(wanted, arg)| arg.oid.is_some() || *wanted == TEXT);
        let taking: Vec<&Function> = match all.iter().copied().filter(takes).collect::<Vec<_>>() {
            none if none.is_empty() => all,
            taking => taking,
        };
        let fitting: Vec<&Function> = match taking.iter().copied().filter(fits).collect::<Vec<_>>() {
            none if none.is_empty() => taking,
            fitting => fitting,
        };
        let returns = |of: &[&Function]| only(of.iter().map(|f| f.returns));
        let oid = returns(&fitting)
            .or_else(|| returns(&fitting.iter().copied().filter(untyped_as_text).collect::<Vec<_>>()))
            .filter(|oid| !self.is_pseudo(*oid))?;
        let quiet = QUIET_FUNCTIONS.contains(&name) && args.iter().all(|arg| arg.quiet);
        Some(Free { oid: Some(oid), quiet })
    }

    /// All functions that a name of `pg_catalog` may mean, none of them volatile, aggregate or somebody else's.
    pub(super) fn system_functions(&self, name: &str, unqualified: bool) -> Option<Vec<&Function>> {
        let all = self.policy.catalog.functions.get(name)?;
        let path = search_path(self.policy, self.mode);
        let is_system = |f: &Function| f.name.schema == "pg_catalog";
        let ours = |f: &Function| !is_system(f) && unqualified && path.contains(&f.name.schema.as_str());
        let system: Vec<&Function> = all.iter().filter(|f| is_system(f)).collect();
        let sound = |f: &&Function| f.kind == FunctionKind::Function && f.volatility != Volatility::Volatile;
        (!system.is_empty() && system.iter().all(sound) && !all.iter().any(ours)).then_some(system)
    }

    fn free_operator(&self, e: &AExpr) -> Option<Free> {
        let names: Option<Vec<&str>> = e.name.iter().map(as_string).collect();
        let name = match names?.as_slice() {
            [name] | ["pg_catalog", name] => *name,
            _ => return None,
        };
        let left = match e.lexpr.as_deref() {
            Some(left) => Some(self.free(left)?),
            None => None,
        };
        let right = self.free(e.rexpr.as_deref()?)?;
        let all = self.policy.catalog.operators.get(name)?;
        let (l, r) =
            (left.map(|it| it.oid.map(|oid| self.operator_type(oid))), right.oid.map(|oid| self.operator_type(oid)));
        let found: Vec<&Operator> = match (l, r) {
            (Some(Some(l)), Some(r)) => all.iter().filter(|o| (o.left, o.right) == (l, r)).collect(),
            (None, Some(r)) => all.iter().filter(|o| (o.left, o.right) == (0, r)).collect(),
            // A literal is taken for what the other side is, if there is such an operator.
            (Some(Some(one)), None) | (Some(None), Some(one)) => {
                let same: Vec<&Operator> = all.iter().filter(|o| (o.left, o.right) == (one, one)).collect();
                let takes = |o: &&Operator| if r.is_none() { o.left == one } else { o.right == one };
                if same.is_empty() { all.iter().filter(takes).collect() } else { same }
            }
            (Some(None), None) => all.iter().filter(|o| (o.left, o.right) == (TEXT, TEXT)).collect(),
            (None, None) => return None,
        };
        let sound = |o: &&Operator| o.name.schema == "pg_catalog" && o.volatility != Volatility::Volatile;
        let oid =
            only(found.iter().map(|o| o.result)).filter(|oid| found.iter().all(sound) && !self.is_pseudo(*oid))?;
        Some(Free { oid: Some(oid), quiet: false })
    }

    fn is_pseudo(&self, oid: Oid) -> bool {
        self.policy.catalog.types.get(&oid).is_none_or(|it| it.typtype == 'p')
    }

    /// `pg_catalog._name`
    pub(super) fn array_of(&self, element: Oid) -> Option<Oid> {
        let types = &self.policy.catalog.types;
        let name = &types.get(&element)?.name;
        let array = |it: &&crate::catalog::TypeInfo| {
            it.name.schema == name.schema && it.name.name.strip_prefix('_') == Some(name.name.as_str())
        };
        types.values().find(array).map(|it| it.oid)
    }
}

/// The value of all of them, if they have one.
fn only(mut all: impl Iterator<Item = Oid>) -> Option<Oid> {
    let first = all.next()?;
    all.all(|it| it == first).then_some(first)
}
