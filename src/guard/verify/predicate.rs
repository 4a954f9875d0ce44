//! The one form of a tenant predicate: `ref.column OPERATOR(pg_catalog.=) $k`.

use serde_json::Value;

use super::tree::{field, node_of, number, strings, text};
use crate::guard::plan::TenantSlot;
use crate::guard::policy::TenantTable;

/// `A_Expr_Kind::AEXPR_OP`
const AEXPR_OP: i64 = 1;

/// How the columns of a relation in FROM are named at its level.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reference<'v> {
    /// By its alias.
    Alias(&'v str),
    /// By its name, with or without the schema.
    Name { schema: &'v str, name: &'v str },
}

impl<'v> Reference<'v> {
    /// How a RangeVar is referred to. `None`: its columns are renamed, so that no column name can be trusted.
    pub fn of(range_var: &'v Value) -> Option<Self> {
        let alias = field(range_var, "alias");
        if alias.is_null() {
            return Some(Self::Name { schema: text(range_var, "schemaname"), name: text(range_var, "relname") });
        }
        let renamed = field(alias, "colnames").as_array().is_some_and(|names| !names.is_empty());
        (!renamed).then(|| Self::Alias(text(alias, "aliasname")))
    }

    /// Whether a qualifier means this relation.
    pub fn is(&self, qualifier: &str) -> bool {
        match self {
            Self::Alias(name) | Self::Name { name, .. } => *name == qualifier,
        }
    }

    fn column(&self, column_ref: &Value) -> Option<String> {
        let parts = strings(column_ref, "fields")?;
        match (self, parts.as_slice()) {
            (Self::Alias(alias), [qualifier, column]) if qualifier == alias => Some((*column).to_owned()),
            (Self::Name { name, .. }, [qualifier, column]) if qualifier == name => Some((*column).to_owned()),
            (Self::Name { schema, name }, [s, n, column]) if s == schema && n == name => Some((*column).to_owned()),
            _ => None,
        }
    }
}

/// What a predicate compares with: the parameters after the client's.
#[derive(Clone, Copy)]
pub(super) struct Predicates<'p> {
    pub client_params: u16,
    pub slots: &'p [TenantSlot],
}

impl Predicates<'_> {
    /// Whether an expression is the parameter that holds the tenant's value for this table's column.
    pub fn is_value(&self, expression: &Value, table: &TenantTable) -> bool {
        self.slot_of(expression)
            .and_then(|i| self.slots.get(i))
            .is_some_and(|slot| slot.key == table.key && slot.type_oid == table.type_oid)
    }

    /// Which slot a ParamRef names.
    fn slot_of(&self, expression: &Value) -> Option<usize> {
        let param = node_of(expression, "ParamRef")?;
        let index = number(param, "number").checked_sub(i64::from(self.client_params) + 1)?;
        usize::try_from(index).ok()
    }

    /// Whether a conjunct is this table's predicate.
    pub fn is_predicate(&self, conjunct: &Value, reference: Reference<'_>, table: &TenantTable) -> bool {
        self.compared(conjunct).is_some_and(|(column_ref, value)| {
            reference.column(column_ref).as_deref() == Some(table.column.as_str()) && self.is_value(value, table)
        })
    }

    /// Whether an expression compares any column with a tenant value: what the split guard's CASE may test.
    pub fn is_any_predicate(&self, conjunct: &Value) -> bool {
        self.compared(conjunct).is_some_and(|(_, value)| self.slot_of(value).is_some_and(|i| i < self.slots.len()))
    }

    /// The name by which a predicate's column is qualified.
    pub fn qualifier<'v>(&self, conjunct: &'v Value) -> Option<&'v str> {
        let (column_ref, _) = self.compared(conjunct).filter(|_| self.is_any_predicate(conjunct))?;
        strings(column_ref, "fields")?.iter().rev().nth(1).copied()
    }

    /// The sides of `column OPERATOR(pg_catalog.=) expression`.
    fn compared<'v>(&self, conjunct: &'v Value) -> Option<(&'v Value, &'v Value)> {
        let expr = node_of(conjunct, "AExpr").filter(|e| number(e, "kind") == AEXPR_OP)?;
        let operator = strings(expr, "name")?;
        let column_ref = node_of(field(expr, "lexpr"), "ColumnRef")?;
        (operator == ["pg_catalog", "="]).then_some((column_ref, field(expr, "rexpr")))
    }
}
