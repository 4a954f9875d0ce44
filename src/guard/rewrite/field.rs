//! Fields, each of which may be a function in disguise: `x.f` is `f(x)` where `x` has no such column, and where it is no row.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeName};

use super::Rewriter;
use super::expression::Walk;
use super::scope;
use super::tree::as_string;
use crate::guard::gate::functions::{self, Before};

impl Rewriter<'_> {
    /// `x.field`, which may be a call.
    pub(super) fn field(&mut self, before: Before, field: &str) -> Walk {
        for effect in functions::check_field(self.policy, self.mode, before, field)? {
            self.effect(effect);
        }
        Ok(())
    }

    /// What follows a value or a column: subscripts, fields, `.*`.
    pub(super) fn indirection(&mut self, before: Before, parts: &mut [Node]) -> Walk {
        // What a field or an element is, is not known.
        let mut before = before;
        for part in parts {
            if let Some(field) = as_string(part) {
                self.field(std::mem::replace(&mut before, Before::Value), field)?;
            } else if !super::outputs::is_star(part) {
                self.expr(part)?;
            }
        }
        Ok(())
    }

    /// What an expression is that a field is taken of.
    pub(super) fn before(&self, arg: Option<&Node>) -> Before {
        let inner = arg.and_then(|arg| arg.node.as_ref());
        let row = if let Some(NodeEnum::FuncCall(call)) = inner {
            return functions::gives(self.policy, self.mode, &call.funcname);
        } else if let Some(NodeEnum::ColumnRef(column)) = inner {
            let names: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
            let of = |oid: Option<u32>| oid.is_some_and(|oid| self.policy.catalog.is_composite(oid));
            match names.as_deref() {
                Some([name]) => scope::is_row(&self.levels, name) || of(scope::bare_name(&self.levels, name).column),
                Some([qualifier, name]) => of(scope::qualified_name(&self.levels, None, qualifier, Some(name)).column),
                Some(_) | None => false,
            }
        } else if let Some(NodeEnum::TypeCast(cast)) = inner {
            cast.type_name.as_ref().is_some_and(|name| self.is_row_type(name))
        } else {
            matches!(inner, Some(NodeEnum::RowExpr(_)))
        };
        if row { Before::Row } else { Before::Value }
    }

    /// Whether every type of that name is a composite one.
    fn is_row_type(&self, name: &TypeName) -> bool {
        let catalog = &self.policy.catalog;
        let last = name.names.last().and_then(as_string);
        let mut found = catalog.types.values().filter(|it| Some(it.name.name.as_str()) == last).peekable();
        let one = name.array_bounds.is_empty() && !name.setof && !name.pct_type && found.peek().is_some();
        one && found.all(|it| catalog.is_composite(it.oid))
    }
}
