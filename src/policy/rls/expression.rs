//! Policy expressions, read with Postgres's grammar: whether a row passes only if its tenant column equals the setting.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, FuncCall, Node, NullTestType, SelectStmt, SubLinkType, TypeName,
};

use crate::base::QualifiedName;
use crate::catalog::{Catalog, Relation};
use crate::guard::TenantTable;
use crate::sql::parse;

/// The comparison that a sound policy makes: the tenant column with the setting that pgwarden seals.
pub(super) struct Comparison<'a> {
    column: &'a str,
    setting: &'a str,
    /// Types that both sides may be cast to without two tenants becoming one.
    types: Vec<QualifiedName>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(catalog: &Catalog, relation: &Relation, table: &'a TenantTable, setting: &'a str) -> Self {
        let own = relation.column(&table.column).map(|column| [column.type_oid, column.base_type_oid]);
        let own = own.into_iter().flatten().filter_map(|oid| catalog.types.get(&oid)).map(|it| it.name.clone());
        let texts = ["text", "varchar"].map(|name| QualifiedName::new("pg_catalog", name));
        Self { column: &table.column, setting, types: own.chain(texts).collect() }
    }

    /// Whether an expression, as the server prints it, is the comparison, or makes it and then asks for more.
    pub(super) fn is_made_by(&self, expression: &str) -> bool {
        read(expression, |condition| self.holds(condition))
    }

    /// Whether it is a test for NULL of the column.
    pub(super) fn is_null_test(&self, expression: &str) -> bool {
        read(expression, |condition| match condition.node.as_ref() {
            Some(NodeEnum::NullTest(it)) if it.nulltesttype() == NullTestType::IsNull => {
                it.arg.as_deref().is_some_and(|arg| self.is_column(arg))
            }
            Some(_) | None => false,
        })
    }

    fn holds(&self, condition: &Node) -> bool {
        match condition.node.as_ref() {
            Some(NodeEnum::BoolExpr(it)) if it.boolop() == BoolExprType::AndExpr => {
                it.args.iter().any(|part| self.holds(part))
            }
            Some(NodeEnum::AExpr(it)) if is_equality(it) => match (it.lexpr.as_deref(), it.rexpr.as_deref()) {
                (Some(left), Some(right)) => {
                    (self.is_column(left) && self.is_setting(right)) || (self.is_setting(left) && self.is_column(right))
                }
                _ => false,
            },
            Some(_) | None => false,
        }
    }

    fn is_column(&self, value: &Node) -> bool {
        match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(it)) => {
                matches!(it.fields.as_slice(), [name] if text(name) == Some(self.column))
            }
            Some(NodeEnum::TypeCast(it)) => {
                self.keeps_apart(it.type_name.as_ref()) && it.arg.as_deref().is_some_and(|arg| self.is_column(arg))
            }
            Some(_) | None => false,
        }
    }

    /// `current_setting('app.tenant_id', true)`, within casts, NULLIF with a constant, and scalar subqueries.
    fn is_setting(&self, value: &Node) -> bool {
        match value.node.as_ref() {
            Some(NodeEnum::FuncCall(it)) => self.is_call(it),
            Some(NodeEnum::TypeCast(it)) => {
                self.keeps_apart(it.type_name.as_ref()) && it.arg.as_deref().is_some_and(|arg| self.is_setting(arg))
            }
            Some(NodeEnum::AExpr(it)) if it.kind() == AExprKind::AexprNullif => {
                it.lexpr.as_deref().is_some_and(|arg| self.is_setting(arg))
                    && it.rexpr.as_deref().is_some_and(|arg| constant(arg).is_some())
            }
            Some(NodeEnum::SubLink(it)) if it.sub_link_type() == SubLinkType::ExprSublink => {
                match it.subselect.as_deref().and_then(|query| query.node.as_ref()) {
                    Some(NodeEnum::SelectStmt(select)) => only_value(select).is_some_and(|it| self.is_setting(it)),
                    Some(_) | None => false,
                }
            }
            Some(_) | None => false,
        }
    }

    fn is_call(&self, call: &FuncCall) -> bool {
        let name: Vec<_> = call.funcname.iter().filter_map(text).collect();
        let named = matches!(name.as_slice(), ["current_setting"] | ["pg_catalog", "current_setting"]);
        let setting = call.args.first().and_then(constant);
        named && setting.is_some_and(|it| it.eq_ignore_ascii_case(self.setting))
    }

    /// A cast to this type makes no two tenants' keys one: no modifier that cuts, no type of fewer values.
    fn keeps_apart(&self, name: Option<&TypeName>) -> bool {
        let Some(name) = name.filter(|it| it.typmods.is_empty() && it.array_bounds.is_empty() && !it.setof) else {
            return false;
        };
        let parts: Vec<_> = name.names.iter().filter_map(text).collect();
        let known = |schema: &str, name: &str| self.types.iter().any(|it| it.schema == schema && it.name == name);
        match parts.as_slice() {
            [name] => known("pg_catalog", name),
            [schema, name] => known(schema, name),
            _ => false,
        }
    }
}

/// An expression as the server prints it, if it can be read.
fn read(expression: &str, test: impl FnOnce(&Node) -> bool) -> bool {
    let Ok(mut statements) = parse::reparse(&format!("SELECT {expression}")) else { return false };
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else { return false };
    let Some(NodeEnum::SelectStmt(select)) = statement.stmt.and_then(|node| node.node) else { return false };
    only_value(&select).is_some_and(test)
}

/// The one value of a SELECT that has nothing else.
fn only_value(select: &SelectStmt) -> Option<&Node> {
    let [target] = select.target_list.as_slice() else { return None };
    let bare = SelectStmt {
        target_list: select.target_list.clone(),
        limit_option: select.limit_option,
        op: select.op,
        ..SelectStmt::default()
    };
    match target.node.as_ref() {
        Some(NodeEnum::ResTarget(target)) if bare == *select => target.val.as_deref(),
        Some(_) | None => None,
    }
}

fn is_equality(expr: &AExpr) -> bool {
    let name: Vec<_> = expr.name.iter().filter_map(text).collect();
    expr.kind() == AExprKind::AexprOp && matches!(name.as_slice(), ["="] | ["pg_catalog", "="])
}

/// A string constant, within a cast or not.
fn constant(value: &Node) -> Option<&str> {
    use pg_query::protobuf::a_const::Val;
    match value.node.as_ref()? {
        NodeEnum::AConst(it) => match it.val.as_ref()? {
            Val::Sval(it) => Some(&it.sval),
            Val::Ival(_) | Val::Fval(_) | Val::Boolval(_) | Val::Bsval(_) => None,
        },
        NodeEnum::TypeCast(it) => constant(it.arg.as_deref()?),
        _ => None,
    }
}

fn text(node: &Node) -> Option<&str> {
    match node.node.as_ref() {
        Some(NodeEnum::String(it)) => Some(&it.sval),
        Some(_) | None => None,
    }
}
