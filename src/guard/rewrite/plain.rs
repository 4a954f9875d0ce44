//! Plain conditions: those that may stand outside of the CASE guard, because the planner can evaluate them on any row
//! without telling anything of it. A column of a table compared with a constant, a parameter or another column by a
//! leakproof operator; IS [NOT] NULL; a boolean column; IN and = ANY of constants; AND, OR, NOT of these. Nothing else.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, ColumnRef, Node, ParamRef, SqlValueFunctionOp, TypeCast, a_const,
};

use super::scope::{self, Level};
use super::tree::as_string;
use crate::catalog::Catalog;
use crate::guard::gate::names::search_path;
use crate::guard::{Mode, Policy};
use crate::ids::Oid;

const BOOL: Oid = 16;
const INT8: Oid = 20;
const INT2: Oid = 21;
const INT4: Oid = 23;
const TEXT: Oid = 25;
const FLOAT8: Oid = 701;
const VARCHAR: Oid = 1043;
const NUMERIC: Oid = 1700;
const ANYENUM: Oid = 3500;

/// Types of `pg_catalog` whose comparison operators fail on no value and have no effect, though they are not marked
/// leakproof: measured on Postgres 15, where `numeric` is the only one of them in everyday use.
const HARMLESS_COMPARISONS: [Oid; 1] = [NUMERIC];

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Column(Oid),
    /// A constant of a known type.
    Typed(Oid),
    /// A literal or a parameter that takes the type of the other side.
    Untyped,
}

/// Judges conditions at the innermost of `levels`.
pub(super) struct Plain<'a, 'p> {
    pub(super) policy: &'a Policy,
    pub(super) mode: &'a Mode,
    pub(super) levels: &'a [Level<'p>],
    /// Declared types of the client's parameters.
    pub(super) param_types: &'a [Oid],
}

impl Plain<'_, '_> {
    /// Whether the condition is plain.
    pub(super) fn condition(&self, condition: &Node) -> bool {
        let Some(inner) = condition.node.as_ref() else { return false };
        match inner {
            NodeEnum::BoolExpr(b) => {
                b.boolop() != BoolExprType::Undefined && b.args.iter().all(|arg| self.condition(arg))
            }
            NodeEnum::ColumnRef(column) => self.column(column) == Some(BOOL),
            NodeEnum::NullTest(test) => test.arg.as_deref().is_some_and(|a| self.column_node(a).is_some()),
            NodeEnum::BooleanTest(test) => test.arg.as_deref().is_some_and(|a| self.column_node(a) == Some(BOOL)),
            NodeEnum::AExpr(e) => self.comparison(e),
            NodeEnum::AConst(c) => c.isnull || matches!(c.val, Some(a_const::Val::Boolval(_))),
            other => is_bool_parameter(other, self.param_types),
        }
    }

    fn column_node(&self, node: &Node) -> Option<Oid> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => self.column(column),
            _ => None,
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

    fn comparison(&self, e: &AExpr) -> bool {
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else { return false };
        match e.kind() {
            AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => {
                match (self.operand(left), self.operand(right)) {
                    (Some(l), Some(r)) => self.leakproof(&e.name, l, r),
                    _ => false,
                }
            }
            AExprKind::AexprIn => self.each(e, left, &list_items(right)),
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => match right.node.as_ref() {
                Some(NodeEnum::AArrayExpr(array)) => self.each(e, left, &array.elements),
                // An array literal or parameter takes the array type of the column.
                Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => self.each_of_array(e, left, right),
                Some(NodeEnum::TypeCast(cast)) => self.array_cast(e, left, cast),
                _ => false,
            },
            AExprKind::AexprBetween | AExprKind::AexprNotBetween => {
                let bounds = list_items(right);
                self.leakproof_range(left, &bounds)
            }
            AExprKind::Undefined
            | AExprKind::AexprNullif
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => false,
        }
    }

    fn each(&self, e: &AExpr, left: &Node, items: &[Node]) -> bool {
        let Some(l) = self.operand(left) else { return false };
        !items.is_empty()
            && items.iter().all(|item| match self.operand(item) {
                Some(Operand::Column(_)) | None => false,
                Some(constant) => self.leakproof(&e.name, l, constant),
            })
    }

    fn each_of_array(&self, e: &AExpr, left: &Node, array: &Node) -> bool {
        let declared = match array.node.as_ref() {
            Some(NodeEnum::ParamRef(p)) => declared_type(p, self.param_types),
            _ => 0,
        };
        let Some(Operand::Column(column)) = self.operand(left) else { return false };
        match declared {
            0 => self.leakproof(&e.name, Operand::Column(column), Operand::Untyped),
            array => element_of(&self.policy.catalog, array)
                .is_some_and(|element| self.leakproof(&e.name, Operand::Column(column), Operand::Typed(element))),
        }
    }

    /// `= ANY ('{1,2}'::int[])`
    fn array_cast(&self, e: &AExpr, left: &Node, cast: &TypeCast) -> bool {
        let (Some(name), Some(arg)) = (cast.type_name.as_ref(), cast.arg.as_deref()) else { return false };
        if name.array_bounds.len() != 1 {
            return false;
        }
        let constant = match arg.node.as_ref() {
            Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().all(|x| self.is_constant(x)),
            _ => self.is_constant(arg),
        };
        match (self.operand(left), self.type_oid(&name.names)) {
            (Some(Operand::Column(column)), Some(element)) if constant => {
                self.leakproof(&e.name, Operand::Column(column), Operand::Typed(element))
            }
            _ => false,
        }
    }

    fn leakproof_range(&self, left: &Node, bounds: &[Node]) -> bool {
        let Some(l) = self.operand(left) else { return false };
        bounds.len() == 2
            && bounds.iter().all(|bound| {
                self.operand(bound)
                    .is_some_and(|b| self.leakproof_named("<=", l, b) && self.leakproof_named(">=", l, b))
            })
    }

    fn is_constant(&self, node: &Node) -> bool {
        matches!(self.operand(node), Some(Operand::Typed(_) | Operand::Untyped))
    }

    fn operand(&self, node: &Node) -> Option<Operand> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(column) => self.column(column).map(Operand::Column),
            NodeEnum::ParamRef(p) => Some(match declared_type(p, self.param_types) {
                0 => Operand::Untyped,
                oid => Operand::Typed(oid),
            }),
            NodeEnum::AConst(c) => match c.val.as_ref() {
                None | Some(a_const::Val::Sval(_)) => Some(Operand::Untyped),
                Some(a_const::Val::Ival(_)) => Some(Operand::Typed(INT4)),
                Some(a_const::Val::Fval(f)) if f.fval.parse::<i64>().is_ok() => Some(Operand::Typed(INT8)),
                Some(a_const::Val::Fval(_)) => Some(Operand::Typed(NUMERIC)),
                Some(a_const::Val::Boolval(_)) => Some(Operand::Typed(BOOL)),
                Some(a_const::Val::Bsval(_)) => None,
            },
            NodeEnum::TypeCast(cast) => self.cast(cast),
            NodeEnum::SqlvalueFunction(f) => clock_type(f.op()).map(Operand::Typed),
            _ => None,
        }
    }

    /// A cast of a literal or a parameter; not of a column.
    fn cast(&self, cast: &TypeCast) -> Option<Operand> {
        let name = cast.type_name.as_ref()?;
        if !name.array_bounds.is_empty() || name.setof || name.pct_type || !self.is_constant(cast.arg.as_deref()?) {
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

    fn leakproof(&self, name: &[Node], left: Operand, right: Operand) -> bool {
        let names: Option<Vec<&str>> = name.iter().map(as_string).collect();
        match names.as_deref() {
            Some([op] | ["pg_catalog", op]) => self.leakproof_named(op, left, right),
            _ => false,
        }
    }

    /// Whether the operator that Postgres will take is one of `pg_catalog` and tells nothing.
    fn leakproof_named(&self, op: &str, left: Operand, right: Operand) -> bool {
        let (l, r) = match (left, right) {
            (Operand::Untyped, Operand::Untyped) => return true,
            (Operand::Column(l) | Operand::Typed(l), Operand::Column(r) | Operand::Typed(r)) => (l, r),
            (Operand::Column(l) | Operand::Typed(l), Operand::Untyped) => (l, l),
            (Operand::Untyped, Operand::Column(r) | Operand::Typed(r)) => (r, r),
        };
        let (l, r) = (self.operator_type(l), self.operator_type(r));
        // A number in the text is cast to the column's type, once.
        let (l, r) = match (left, right) {
            (Operand::Column(_), Operand::Typed(_)) if takes_number(l, r) => (l, l),
            (Operand::Typed(_), Operand::Column(_)) if takes_number(r, l) => (r, r),
            _ => (l, r),
        };
        let Some(all) = self.policy.catalog.operators.get(op) else { return false };
        let mut exact = all.iter().filter(|o| o.left == l && o.right == r).peekable();
        exact.peek().is_some()
            && exact.all(|o| {
                o.name.schema == "pg_catalog"
                    && (o.leakproof || (HARMLESS_COMPARISONS.contains(&l) && l == r && is_comparison(op)))
            })
    }

    /// The type under which operators are declared: `varchar` uses those of `text`, enums those of `anyenum`.
    fn operator_type(&self, oid: Oid) -> Oid {
        match self.policy.catalog.types.get(&oid) {
            Some(t) if t.typtype == 'e' => ANYENUM,
            Some(t) if t.typtype == 'd' && t.base != oid => self.operator_type(t.base),
            _ if oid == VARCHAR => TEXT,
            _ => oid,
        }
    }
}

/// Whether Postgres casts a constant of the second type to the first, and not the column.
fn takes_number(column: Oid, constant: Oid) -> bool {
    match column {
        NUMERIC => matches!(constant, INT2 | INT4 | INT8),
        FLOAT8 => matches!(constant, INT2 | INT4 | INT8 | NUMERIC),
        _ => false,
    }
}

fn is_comparison(op: &str) -> bool {
    matches!(op, "=" | "<>" | "<" | "<=" | ">" | ">=")
}

fn is_bool_parameter(inner: &NodeEnum, param_types: &[Oid]) -> bool {
    match inner {
        NodeEnum::ParamRef(p) => matches!(declared_type(p, param_types), 0 | BOOL),
        _ => false,
    }
}

fn declared_type(param: &ParamRef, param_types: &[Oid]) -> Oid {
    let index = usize::try_from(param.number).ok().and_then(|n| n.checked_sub(1));
    index.and_then(|i| param_types.get(i)).copied().unwrap_or(0)
}

/// The element type of `pg_catalog._name`.
fn element_of(catalog: &Catalog, array: Oid) -> Option<Oid> {
    let name = catalog.types.get(&array)?;
    let element = name.name.name.strip_prefix('_')?;
    catalog.types.values().find(|t| t.name.schema == name.name.schema && t.name.name == element).map(|t| t.oid)
}

fn list_items(node: &Node) -> Vec<Node> {
    match node.node.as_ref() {
        Some(NodeEnum::List(list)) => list.items.clone(),
        _ => Vec::new(),
    }
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
