//! The one form of a tenant predicate: `ref.column OPERATOR(pg_catalog.=) $k`; for a reader of several tenants
//! `ref.column OPERATOR(pg_catalog.=) ANY ($k)`.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, BoolExprType, ColumnRef, NullTestType, RangeVar};

use super::tree::{node, strings};
use crate::base::Arity;
use crate::guard::plan::TenantSlot;
use crate::guard::policy::{Policy, TenantTable};

/// How the columns of a relation in FROM are named at its level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reference<'v> {
    /// By its alias.
    Alias(&'v str),
    /// By its name, with or without the schema.
    Name { schema: &'v str, name: &'v str },
}

impl<'v> Reference<'v> {
    /// How a relation is referred to. `None`: its columns are renamed, so that no column name can be trusted.
    pub fn of(relation: &'v RangeVar) -> Option<Self> {
        match &relation.alias {
            None => Some(Self::Name { schema: &relation.schemaname, name: &relation.relname }),
            Some(alias) => alias.colnames.is_empty().then_some(Self::Alias(&alias.aliasname)),
        }
    }

    /// Whether a qualifier means this relation.
    pub fn is(&self, qualifier: &str) -> bool {
        match self {
            Self::Alias(name) | Self::Name { name, .. } => *name == qualifier,
        }
    }

    /// Whether a column reference is this relation's column of that name, qualified.
    pub fn has_column(&self, column_ref: &ColumnRef, column: &str) -> bool {
        match (self, strings(&column_ref.fields).as_deref()) {
            (Self::Alias(name) | Self::Name { name, .. }, Some([qualifier, named])) => {
                qualifier == name && *named == column
            }
            (Self::Name { schema, name }, Some([s, n, named])) => s == schema && n == name && *named == column,
            (Self::Alias(_) | Self::Name { .. }, _) => false,
        }
    }
}

/// What a predicate compares with: the parameters after the client's.
#[derive(Clone, Copy)]
pub(super) struct Predicates<'p> {
    pub policy: &'p Policy,
    /// Which form it must have.
    pub arity: Arity,
    pub client_params: u16,
    pub slots: &'p [TenantSlot],
}

impl Predicates<'_> {
    /// Whether an expression is the parameter that holds the tenant's value for this table's column.
    pub fn is_value(&self, expression: Option<&NodeEnum>, table: &TenantTable) -> bool {
        self.slot_of(expression)
            .and_then(|i| self.slots.get(i))
            .is_some_and(|slot| slot.arity == self.arity && slot.key == table.key && slot.type_oid == table.type_oid)
    }

    /// Which slot a parameter names.
    pub(super) fn slot_of(&self, expression: Option<&NodeEnum>) -> Option<usize> {
        let Some(NodeEnum::ParamRef(param)) = expression else { return None };
        usize::try_from(i64::from(param.number) - i64::from(self.client_params) - 1).ok()
    }

    /// Whether a conjunct is this table's predicate. `reads`: its rows are read only, and rows of everybody may be among them.
    pub fn is_predicate(
        &self,
        conjunct: &NodeEnum,
        reference: Reference<'_>,
        table: &TenantTable,
        reads: bool,
    ) -> bool {
        if let Some(through) = &table.through {
            let column = self.leads_to_own(conjunct, through, reads);
            return column.is_some_and(|column| reference.has_column(column, &table.column));
        }
        let own = if reads && table.null_is_shared { self.or_null(conjunct).unwrap_or(conjunct) } else { conjunct };
        self.compared(own).is_some_and(|(column_ref, value)| {
            reference.has_column(column_ref, &table.column) && self.is_value(value, table)
        })
    }

    /// Whether an expression compares any column with a tenant value: what the split guard's CASE may test.
    pub fn is_any_predicate(&self, conjunct: &NodeEnum) -> bool {
        self.compared(conjunct).is_some_and(|(_, value)| self.slot_of(value).is_some_and(|i| i < self.slots.len()))
            || self.leads_to_any(conjunct).is_some()
    }

    /// The name by which a predicate's column is qualified.
    pub fn qualifier<'v>(&self, conjunct: &'v NodeEnum) -> Option<&'v str> {
        let column_ref = match self.compared(conjunct) {
            Some((column_ref, _)) => self.is_any_predicate(conjunct).then_some(column_ref)?,
            None => self.leads_to_any(conjunct)?,
        };
        strings(&column_ref.fields)?.iter().rev().nth(1).copied()
    }

    /// The comparison of `column OPERATOR(pg_catalog.=) expression OR column IS NULL`, of one column.
    pub(super) fn or_null<'v>(&self, condition: &'v NodeEnum) -> Option<&'v NodeEnum> {
        let NodeEnum::BoolExpr(or) = condition else { return None };
        let [own, null] = or.args.as_slice() else { return None };
        let (own, Some(NodeEnum::NullTest(null))) = (own.node.as_ref()?, null.node.as_ref()) else { return None };
        let Some(NodeEnum::ColumnRef(tested)) = node(&null.arg) else { return None };
        let (column, _) = self.compared(own)?;
        let same = strings(&column.fields).is_some_and(|fields| Some(fields) == strings(&tested.fields));
        (or.boolop() == BoolExprType::OrExpr && null.nulltesttype() == NullTestType::IsNull && same).then_some(own)
    }

    /// The sides of `column OPERATOR(pg_catalog.=) expression`, or of `... ANY (expression)` where that is the form.
    fn compared<'v>(&self, conjunct: &'v NodeEnum) -> Option<(&'v ColumnRef, Option<&'v NodeEnum>)> {
        let NodeEnum::AExpr(expr) = conjunct else { return None };
        let Some(NodeEnum::ColumnRef(column_ref)) = node(&expr.lexpr) else { return None };
        let kind = match self.arity {
            Arity::One => AExprKind::AexprOp,
            Arity::Several => AExprKind::AexprOpAny,
        };
        let equal = expr.kind() == kind && strings(&expr.name)? == ["pg_catalog", "="];
        equal.then_some((column_ref, node(&expr.rexpr)))
    }
}
