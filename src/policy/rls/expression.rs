//! Policy expressions, read with Postgres's grammar: whether a row passes only if its tenant column equals the setting.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, FuncCall, Node, NullTestType, SelectStmt, SubLinkType, TypeName,
};

use crate::base::QualifiedName;
use crate::catalog::{Catalog, Relation};
use crate::guard::{TenantTable, Through};
use crate::sql::parse;

/// The comparison that a sound policy makes: the tenant column with the setting that pgwarden seals.
pub(super) struct Comparison<'a> {
    /// By which its columns are named, if they must be; in a table's own expression they need not.
    qualifier: Option<String>,
    table: &'a str,
    column: &'a str,
    setting: &'a str,
    /// Types that both sides may be cast to without two tenants becoming one.
    types: Vec<QualifiedName>,
    catalog: &'a Catalog,
    /// Rows of everybody may pass as well.
    nulls: bool,
    /// Of a table that belongs through a foreign key.
    through: Option<&'a Through>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(catalog: &'a Catalog, relation: &'a Relation, table: &'a TenantTable, setting: &'a str) -> Self {
        let own = relation.column(&table.column).map(|column| [column.type_oid, column.base_type_oid]);
        let own = own.into_iter().flatten().filter_map(|oid| catalog.types.get(&oid)).map(|it| it.name.clone());
        let texts = ["text", "varchar"].map(|name| QualifiedName::new("pg_catalog", name));
        Self {
            qualifier: None,
            table: &relation.name.name,
            column: &table.column,
            setting,
            types: own.chain(texts).collect(),
            catalog,
            nulls: false,
            through: table.through.as_deref(),
        }
    }

    /// Whether an expression, as the server prints it, is the comparison, or makes it and then asks for more.
    pub(super) fn is_made_by(&self, expression: &str) -> bool {
        read(expression, |condition| self.holds(condition))
    }

    /// Whether it shows rows of everybody, and perhaps the tenant's: a test for NULL of the column, or of that which a foreign
    /// key leads to.
    pub(super) fn is_of_everybody(&self, expression: &str) -> bool {
        let lenient = Self { nulls: true, types: self.types.clone(), qualifier: self.qualifier.clone(), ..*self };
        read(expression, |condition| lenient.holds(condition))
    }

    fn is_null_test(&self, condition: &Node) -> bool {
        match condition.node.as_ref() {
            Some(NodeEnum::NullTest(it)) if it.nulltesttype() == NullTestType::IsNull => {
                it.arg.as_deref().is_some_and(|arg| self.is_column(arg))
            }
            Some(_) | None => false,
        }
    }

    fn holds(&self, condition: &Node) -> bool {
        match condition.node.as_ref() {
            Some(NodeEnum::SubLink(it)) if it.sub_link_type() == SubLinkType::ExistsSublink => {
                match (self.through, it.subselect.as_deref().and_then(|query| query.node.as_ref())) {
                    (Some(through), Some(NodeEnum::SelectStmt(select))) => self.leads_to_own(select, through),
                    _ => false,
                }
            }
            Some(NodeEnum::BoolExpr(it)) if it.boolop() == BoolExprType::AndExpr => {
                it.args.iter().any(|part| self.holds(part))
            }
            Some(NodeEnum::NullTest(_)) => self.nulls && self.through.is_none() && self.is_null_test(condition),
            Some(NodeEnum::BoolExpr(it)) if it.boolop() == BoolExprType::OrExpr => {
                self.nulls && self.through.is_none() && it.args.iter().all(|part| self.holds(part))
            }
            Some(NodeEnum::AExpr(it)) if is_equality(it) && self.through.is_none() => {
                match (it.lexpr.as_deref(), it.rexpr.as_deref()) {
                    (Some(left), Some(right)) => {
                        (self.is_column(left) && self.is_setting(right))
                            || (self.is_setting(left) && self.is_column(right))
                    }
                    _ => false,
                }
            }
            Some(_) | None => false,
        }
    }

    /// `SELECT ... FROM parent p WHERE p.key = column AND <p's row is the tenant's>`
    fn leads_to_own(&self, select: &SelectStmt, through: &'a Through) -> bool {
        let [Node { node: Some(NodeEnum::RangeVar(from)) }] = select.from_clause.as_slice() else { return false };
        let bare = SelectStmt {
            target_list: select.target_list.clone(),
            from_clause: select.from_clause.clone(),
            where_clause: select.where_clause.clone(),
            limit_option: select.limit_option,
            op: select.op,
            ..SelectStmt::default()
        };
        let named = from.schemaname == through.parent.schema && from.relname == through.parent.name;
        let Some(parent) = self.catalog.relations.get(&through.parent).filter(|_| named && bare == *select) else {
            return false;
        };
        let alias = from.alias.as_ref().map_or(&from.relname, |alias| &alias.aliasname);
        let child = self.qualifier.as_deref().unwrap_or(self.table);
        let outer = |value: &Node| is_named(value, child, self.column);
        let inner = |value: &Node| is_named(value, alias, &through.key);
        let own = Self {
            qualifier: Some(alias.clone()),
            nulls: self.nulls,
            ..Self::new(self.catalog, parent, &through.rule, self.setting)
        };
        let mut parts = Vec::new();
        select.where_clause.iter().for_each(|condition| conjuncts(condition, &mut parts));
        let leads = |part: &&Node| match part.node.as_ref() {
            Some(NodeEnum::AExpr(it)) if is_equality(it) => match (it.lexpr.as_deref(), it.rexpr.as_deref()) {
                (Some(left), Some(right)) => (inner(left) && outer(right)) || (outer(left) && inner(right)),
                _ => false,
            },
            Some(_) | None => false,
        };
        alias != child && parts.iter().any(leads) && parts.iter().any(|part| own.holds(part))
    }

    fn is_column(&self, value: &Node) -> bool {
        match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(it)) => match (it.fields.as_slice(), self.qualifier.as_deref()) {
                ([name], None) => text(name) == Some(self.column),
                (_, Some(qualifier)) => is_named(value, qualifier, self.column),
                (_, None) => false,
            },
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

/// `qualifier.column`
fn is_named(value: &Node, qualifier: &str, column: &str) -> bool {
    let Some(NodeEnum::ColumnRef(it)) = value.node.as_ref() else { return false };
    matches!(it.fields.as_slice(), [q, c] if text(q) == Some(qualifier) && text(c) == Some(column))
}

/// The parts of nested ANDs.
fn conjuncts<'v>(condition: &'v Node, into: &mut Vec<&'v Node>) {
    match condition.node.as_ref() {
        Some(NodeEnum::BoolExpr(it)) if it.boolop() == BoolExprType::AndExpr => {
            it.args.iter().for_each(|part| conjuncts(part, into));
        }
        Some(_) | None => into.push(condition),
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
