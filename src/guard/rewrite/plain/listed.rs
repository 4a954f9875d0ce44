//! Operators and functions on the list of [`facts`]: harmless to a row, once the operand without columns has passed its trial.

use std::cell::RefCell;

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{AExpr, AExprKind, BoolExpr, FuncCall, Node};

use super::free::Free;
use super::{Plain, UNKNOWN, Verdict, declared_type, element_of};
use crate::base::Oid;
use crate::base::oid::{INT4, TEXT, VARCHAR};
use crate::catalog::{Operator, TypeInfo};
use crate::guard::facts::{self, POLYMORPHIC, Trial, VALUE_FUNCTIONS};
use crate::guard::nodes;
use crate::guard::rewrite::tree::{self, as_string, system_name};
use crate::guard::rewrite::trial::Tried;

const JSONB: Oid = 3802;
const TSQUERY: Oid = 3615;

/// Where trials can be held, and those that are asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::guard::rewrite) enum Trials<'a> {
    /// In HAVING, which may be moved.
    Nowhere,
    /// Of literals, which the planner knows: in the ON of an outer join, or under EXISTS, it makes no one-time filter.
    Folded(&'a RefCell<Vec<Tried>>),
    /// Of anything.
    Once(&'a RefCell<Vec<Tried>>),
}

/// A side of a listed operator.
#[derive(Clone, Copy)]
enum Side<'n> {
    /// A column, or a harmless value of one.
    Column(Oid),
    Free(&'n Node, Option<Free>),
}

impl Plain<'_, '_> {
    /// A column, or what a harmless function or operator gives of one: its type.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    pub(super) fn value(&self, node: &Node) -> Option<Oid> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::FuncCall(call) if self.policy.catalog.texts.utf8 => {
                let name = system_name(call)?;
                let [arg] = call.args.as_slice() else { return None };
                let of_text = self.operator_type(self.value(arg)?) == TEXT;
                let listed = VALUE_FUNCTIONS.contains(&(name, TEXT)) && of_text;
                (listed && self.system_functions(name, call.funcname.len() == 1).is_some()).then_some(TEXT)
            }
            NodeEnum::AExpr(e) if e.kind() == AExprKind::AexprOp => {
                let name = operator_name(e)?;
                let (left, right) = (e.lexpr.as_deref()?, self.free(e.rexpr.as_deref()?)?);
                let of_jsonb = self.operator_type(self.value(left)?) == JSONB;
                let key = matches!(right, Free { oid: None | Some(TEXT | VARCHAR | INT4), quiet: true });
                let listed = facts::gives_value(name) && of_jsonb && key;
                let ours = self.taking(name, JSONB).all(|o| facts::of_system(name, o.left, o.right).is_some());
                (listed && ours).then_some(if name == "->" { JSONB } else { TEXT })
            }
            nodes::expression!() | nodes::json!() | nodes::no_expression!() => None,
        }
    }

    /// A comparison by an operator on the list; `None`: it is none.
    pub(super) fn listed(&self, e: &AExpr) -> Option<Verdict> {
        let name = operator_name(e).filter(|name| facts::is_listed(name))?;
        let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
        let (l, r) = (self.listed_side(left)?, self.listed_side(right)?);
        let (trial, operand, on_the_right) = match (l, r) {
            (Side::Column(l), Side::Column(r)) => {
                // Of two columns neither can be tried.
                let trial = self.trial(name, Some(l), Some(r))?;
                return (trial.is_none() && facts::trial_by_name(name).is_none()).then_some(Verdict::Plain);
            }
            (Side::Column(l), Side::Free(node, free)) => {
                (self.trial(name, Some(l), free.map_or(self.query_type(node), |it| it.oid))?, (node, free), true)
            }
            (Side::Free(node, free), Side::Column(r)) => {
                (self.trial(name, free.map_or(self.query_type(node), |it| it.oid), Some(r))?, (node, free), false)
            }
            (Side::Free(..), Side::Free(..)) => return None,
        };
        let (node, free) = operand;
        let passes = match trial {
            None => free.is_some_and(|it| it.quiet) || (free.is_some() && self.tries(Trial::Value, node)),
            // On the left it is what the column is the pattern for.
            Some(Trial::Pattern) => on_the_right && self.is_pattern(node) && self.tries(Trial::Pattern, node),
            Some(Trial::Query) => self.is_text_search(node) && self.tries(Trial::Query, node),
            // The planner tries it on statistics, so that it must be known as soon as they are: a literal, a parameter.
            Some(Trial::Depth) => (self.is_constant(node) || is_cast_parameter(node)) && self.tries(Trial::Depth, node),
            Some(Trial::Value) => self.tries(Trial::Value, node),
        };
        passes.then_some(Verdict::Plain)
    }

    fn listed_side<'n>(&self, node: &'n Node) -> Option<Side<'n>> {
        match self.value(node) {
            Some(oid) => Some(Side::Column(oid)),
            None => match self.free(node) {
                Some(free) => Some(Side::Free(node, Some(free))),
                None => self.query_type(node).map(|_| Side::Free(node, None)),
            },
        }
    }

    /// The trial that the operator asks for which Postgres will take; `None`: it is not on the list. A side without a type
    /// takes that of the other.
    fn trial(&self, name: &str, left: Option<Oid>, right: Option<Oid>) -> Option<Option<Trial>> {
        let typed = |oid: Option<Oid>| oid.map(|oid| self.operator_type(oid)).filter(|oid| *oid != UNKNOWN);
        let found: Vec<&Operator> = match (typed(left), typed(right)) {
            (Some(l), Some(r)) => self.exactly(name, l, r),
            (Some(one), None) | (None, Some(one)) => match self.exactly(name, one, one) {
                none if none.is_empty() => {
                    let on_the_left = typed(right).is_none();
                    let all = self.policy.catalog.operators.get(name)?.iter();
                    all.filter(|o| if on_the_left { o.left == one } else { o.right == one }).collect()
                }
                same => same,
            },
            (None, None) => return None,
        };
        if found.is_empty() {
            let (l, r) = (typed(left).or(typed(right))?, typed(right).or(typed(left))?);
            return self.polymorphic(name, l, r);
        }
        let mut trials = found.into_iter().map(|o| self.trial_of(name, o));
        let first = trials.next()??;
        let sound = match first {
            Some(Trial::Pattern) => self.policy.catalog.texts.utf8 && !self.policy.catalog.texts.loose_collations,
            Some(Trial::Value | Trial::Query | Trial::Depth) | None => true,
        };
        (sound && trials.all(|it| it == Some(first))).then_some(first)
    }

    fn exactly(&self, name: &str, left: Oid, right: Oid) -> Vec<&Operator> {
        let all = self.policy.catalog.operators.get(name).into_iter().flatten();
        all.filter(|o| (o.left, o.right) == (left, right)).collect()
    }

    fn taking<'s>(&'s self, name: &str, left: Oid) -> impl Iterator<Item = &'s Operator> {
        self.policy.catalog.operators.get(name).into_iter().flatten().filter(move |o| o.left == left)
    }

    pub(super) fn trial_of(&self, name: &str, operator: &Operator) -> Option<Option<Trial>> {
        let type_name = |oid| self.policy.catalog.types.get(&oid).map(|it: &TypeInfo| it.name.name.as_str());
        match operator.extension.as_deref() {
            None if operator.name.schema == "pg_catalog" => facts::of_system(name, operator.left, operator.right),
            None => None,
            Some(extension) => {
                let (left, right) = (type_name(operator.left)?, type_name(operator.right)?);
                let texts = self.policy.catalog.texts.utf8 || !matches!(extension, "citext" | "pg_trgm");
                facts::of_extension(extension, name, left, right).filter(|_| texts)
            }
        }
    }

    /// Of an operator that takes arrays or ranges of any type.
    fn polymorphic(&self, name: &str, left: Oid, right: Oid) -> Option<Option<Trial>> {
        let [any_array, any_range, any_element] = POLYMORPHIC;
        let is_array = |oid| element_of(&self.policy.catalog, oid).is_some_and(facts::is_harmless_element);
        let (l, r) = match (facts::range_element(left), facts::range_element(right)) {
            (Some(_), Some(_)) if left == right => (any_range, any_range),
            (Some(element), None) if element == right => (any_range, any_element),
            (None, Some(element)) if element == left => (any_element, any_range),
            (None, None) if left == right && is_array(left) => (any_array, any_array),
            (Some(_) | None, Some(_) | None) => return None,
        };
        let all = self.policy.catalog.operators.get(name)?;
        // Somebody's own, which Postgres might take instead.
        let closer = |o: &Operator| o.name.schema != "pg_catalog" && (o.left == left || o.right == right);
        let exact = self.exactly(name, l, r);
        let [only] = exact.as_slice() else { return None };
        self.trial_of(name, only).filter(|_| !all.iter().any(closer))
    }

    /// A pattern that is known as soon as its parts are: literals and parameters, put together.
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    fn is_pattern(&self, node: &Node) -> bool {
        let Some(inner) = node.node.as_ref() else { return false };
        match inner {
            // One that ends in its escape fails where a value matches so far, and on a database of the tenant's own may not fail.
            NodeEnum::AConst(c) => matches!(c.val.as_ref(), Some(Val::Sval(s)) if !ends_in_escape(&s.sval)),
            NodeEnum::ParamRef(p) => matches!(declared_type(p, self.param_types), 0 | TEXT | VARCHAR | UNKNOWN),
            NodeEnum::TypeCast(cast) => {
                let name = cast.type_name.as_ref().filter(|it| it.array_bounds.is_empty() && it.typmods.is_empty());
                let to_text =
                    name.and_then(|it| self.type_oid(&it.names)).is_some_and(|it| matches!(it, TEXT | VARCHAR));
                to_text && cast.arg.as_deref().is_some_and(|arg| self.is_pattern(arg))
            }
            NodeEnum::AExpr(e) => {
                let sides = [e.lexpr.as_deref(), e.rexpr.as_deref()];
                let joined = e.kind() == AExprKind::AexprOp && operator_name(e) == Some("||");
                joined && sides.iter().all(|side| side.is_some_and(|it| self.is_pattern(it)))
            }
            NodeEnum::FuncCall(call) => {
                let known = matches!(system_name(call), Some("lower" | "upper" | "like_escape"));
                known && self.free_name_is_systems(call) && call.args.iter().all(|arg| self.is_pattern(arg))
            }
            nodes::expression!() | nodes::json!() | nodes::no_expression!() => false,
        }
    }

    fn free_name_is_systems(&self, call: &FuncCall) -> bool {
        system_name(call).is_some_and(|name| self.system_functions(name, call.funcname.len() == 1).is_some())
    }

    /// A literal or a parameter, or a call that makes a query of such.
    fn is_text_search(&self, node: &Node) -> bool {
        self.is_constant(node) || is_cast_parameter(node) || self.query_type(node).is_some()
    }

    fn query_type(&self, node: &Node) -> Option<Oid> {
        let Some(NodeEnum::FuncCall(call)) = node.node.as_ref() else { return None };
        let known = facts::QUERY_FUNCTIONS.contains(&system_name(call)?);
        let constant = |arg: &Node| self.free(arg).is_some_and(|it| it.quiet);
        (known && self.free_name_is_systems(call) && call.args.iter().all(constant)).then_some(TSQUERY)
    }

    /// Asks for a trial; `false`: none can be held here.
    pub(super) fn tries(&self, kind: Trial, operand: &Node) -> bool {
        let (once, found) = match self.trials {
            Trials::Nowhere => return false,
            Trials::Folded(found) => (false, found),
            Trials::Once(found) => (true, found),
        };
        let held = match kind {
            // Under OR it would fail where the other side is true.
            Trial::Value | Trial::Query => once && self.top,
            Trial::Pattern | Trial::Depth => once || has_no_parameter(operand),
        };
        if held {
            found.borrow_mut().push(Tried { kind, operand: operand.clone() });
        }
        held
    }

    /// Writes down the type of what stands beside `@>` or `<@`, which documents have too: so that the text that is sent shows
    /// whether there is something to be tried. Returns whether it did.
    pub(in crate::guard::rewrite) fn spell_out(&self, condition: &mut Node) -> bool {
        match condition.node.as_mut() {
            Some(NodeEnum::BoolExpr(b)) => {
                let BoolExpr { xpr: _, boolop: _, args, location: _ } = b.as_mut();
                args.iter_mut().fold(false, |any, arg| self.spell_out(arg) | any)
            }
            Some(NodeEnum::AExpr(e)) if matches!(operator_name(e), Some("@>" | "<@")) => {
                let AExpr { lexpr, rexpr, .. } = e.as_mut();
                let (Some(left), Some(right)) = (lexpr.as_deref_mut(), rexpr.as_deref_mut()) else { return false };
                match (self.value(left), self.value(right)) {
                    (Some(column), None) => self.spell_out_side(right, column),
                    (None, Some(column)) => self.spell_out_side(left, column),
                    (Some(_), Some(_)) | (None, None) => false,
                }
            }
            Some(_) | None => false,
        }
    }

    fn spell_out_side(&self, side: &mut Node, column: Oid) -> bool {
        let shows = match side.node.as_ref() {
            Some(NodeEnum::TypeCast(_) | NodeEnum::AArrayExpr(_) | NodeEnum::SqlvalueFunction(_)) => true,
            Some(NodeEnum::FuncCall(call)) => system_name(call).is_some_and(|it| facts::QUIET_FUNCTIONS.contains(&it)),
            Some(_) | None => false,
        };
        let (Some(free), false) = (self.free(side), shows || self.operator_type(column) == JSONB) else { return false };
        let Some(it) = self.policy.catalog.types.get(&free.oid.unwrap_or(column)) else { return false };
        let mut name = tree::system_type(&it.name.name);
        name.names = vec![tree::string(&it.name.schema), tree::string(&it.name.name)];
        *side = tree::cast(std::mem::take(side), name);
        true
    }
}

/// The name of an operator that stands between its operands, without a schema or with `pg_catalog`.
fn operator_name(e: &AExpr) -> Option<&str> {
    let names: Option<Vec<&str>> = e.name.iter().map(as_string).collect();
    match (e.kind(), names?.as_slice()) {
        (AExprKind::AexprOp | AExprKind::AexprLike | AExprKind::AexprIlike, [name] | ["pg_catalog", name]) => {
            Some(name)
        }
        _ => None,
    }
}

/// `$1::jsonb`, `$1::text::jsonb`
fn is_cast_parameter(node: &Node) -> bool {
    let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() else { return false };
    let Some(arg) = cast.arg.as_deref() else { return false };
    matches!(arg.node, Some(NodeEnum::ParamRef(_))) || is_cast_parameter(arg)
}

/// Whether a text ends in a backslash that is no second of a pair.
fn ends_in_escape(pattern: &str) -> bool {
    pattern.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Whether there is no parameter in a pattern or document: the planner knows its value.
fn has_no_parameter(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(has_no_parameter),
        Some(NodeEnum::AExpr(e)) => {
            [&e.lexpr, &e.rexpr].into_iter().all(|it| it.as_deref().is_some_and(has_no_parameter))
        }
        Some(NodeEnum::FuncCall(call)) => call.args.iter().all(has_no_parameter),
        _ => false,
    }
}
