//! Values for the tenant column: in SET, in VALUES, in the target list of INSERT ... SELECT.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, MultiAssignRef, Node, ResTarget, TypeCast, TypeName, a_const};

use super::insert::in_their_places;
use super::parent::{foreign_parent, violation};
use super::tree::{self, as_string};
use super::{Rewriter, foreign_value, unsupported};
use crate::base::{OWN_VALUE_ONLY, Refusal};
use crate::guard::fault::{Fault, planted};
use crate::guard::policy::Through;
use crate::guard::{TenantCheck, TenantTable, nodes};
use crate::sql::parse;

/// What the client gives for the tenant column.
enum Given {
    /// `DEFAULT`
    Default,
    /// A literal, also under a cast: its text.
    Literal(String),
    /// `NULL`
    Null,
    /// A parameter that Bind carries.
    Param(u16),
    /// Anything else.
    Computed,
}

impl Rewriter<'_> {
    #[allow(unreachable_patterns, reason = "the group of expressions names the kinds above too")]
    fn given(&self, value: &Node, table: &TenantTable) -> Given {
        match value.node.as_ref() {
            Some(NodeEnum::SetToDefault(_)) => Given::Default,
            Some(NodeEnum::AConst(constant)) => literal(constant),
            Some(NodeEnum::TypeCast(cast)) => match cast.arg.as_deref() {
                Some(arg) => match self.given(arg, table) {
                    Given::Literal(text) => Given::Literal(text),
                    Given::Null => Given::Null,
                    // The cast names the type that the parameter would have without it (SQLAlchemy).
                    Given::Param(number) if is_of_column(cast, table) => Given::Param(number),
                    Given::Default | Given::Param(_) | Given::Computed => Given::Computed,
                },
                None => Given::Computed,
            },
            // A parameter of an SQL-level PREPARE is bound by EXECUTE, where nothing can compare it: see `checked`.
            Some(NodeEnum::ParamRef(param)) if !self.simple => {
                u16::try_from(param.number).map_or(Given::Computed, Given::Param)
            }
            Some(nodes::expression!() | nodes::json!() | nodes::no_expression!()) | None => Given::Computed,
        }
    }

    /// Makes a row's value for the tenant column the tenant's own: replaced, or checked when it is bound, or when it is run.
    pub(super) fn own_value(&mut self, value: &mut Node, table: &TenantTable) -> Result<(), Refusal> {
        if planted(Fault::OwnValue) {
            return Ok(());
        }
        if let Some(through) = &table.through {
            return self.own_parent_value(value, table, through);
        }
        let slot = self.tenant_slot(table)?;
        let own = tree::param(self.param_number(slot));
        match self.given(value, table) {
            Given::Default => *value = own,
            Given::Literal(text) => {
                self.checks.push(TenantCheck::Literal { slot, value: text.into() });
                *value = own;
            }
            Given::Param(number) => self.checks.push(TenantCheck::Param { slot, number }),
            Given::Null => return Err(foreign_value(&table.column)),
            Given::Computed => {
                let computed = std::mem::take(value);
                *value = self.checked(computed, table)?;
            }
        }
        Ok(())
    }

    /// Makes a row's value for the column of its foreign key one that is checked when the statement runs.
    fn own_parent_value(&mut self, value: &mut Node, table: &TenantTable, through: &Through) -> Result<(), Refusal> {
        let given = match self.given(value, table) {
            Given::Default | Given::Null => return Err(foreign_parent(through)),
            Given::Literal(_) | Given::Param(_) | Given::Computed => std::mem::take(value),
        };
        let given = match given.node.as_ref() {
            Some(NodeEnum::ColumnRef(_)) => given,
            // As it would be in the column's place.
            Some(_) | None => tree::cast(given, type_named(&through.type_name)?),
        };
        *value = self.checked_parent(given, table)?;
        self.rewritten = true;
        Ok(())
    }

    /// `CASE WHEN computed = $n THEN $n ELSE <error> END`: a value that only shows when the statement runs. Of a column that leads
    /// to the tenant's row, `computed` is a column.
    pub(super) fn checked(&mut self, computed: Node, table: &TenantTable) -> Result<Node, Refusal> {
        if let Some(through) = &table.through {
            let is_own = self.is_own(computed.clone(), table, false)?;
            self.note(format!("the row that {} leads to is looked at when the statement runs", table.column));
            let message = violation(through);
            return Ok(tree::case(is_own, computed, failure(&message, &through.type_name)?));
        }
        let slot = self.tenant_slot(table)?;
        let number = self.param_number(slot);
        let is_own = tree::system_operator(computed, "=", tree::param(number));
        self.note(format!("the value for {} is compared with the tenant's when the statement runs", table.column));
        let message = format!("column {} {OWN_VALUE_ONLY}", table.column);
        Ok(tree::case(is_own, tree::param(number), failure(&message, &table.type_name)?))
    }

    /// Walks the assignments of an UPDATE. `target`: the tenant table, and the names under which its columns go.
    pub(super) fn assignments(
        &mut self,
        assignments: &mut [Node],
        target: Option<(&TenantTable, &[&str])>,
    ) -> Result<(), Refusal> {
        let columns: Vec<String> = assignments.iter().map(assigned_column).collect();
        let mut row: Option<Node> = None;
        for (at, assignment) in assignments.iter_mut().enumerate() {
            let Some(NodeEnum::ResTarget(assignment)) = assignment.node.as_mut() else {
                return Err(unsupported("this assignment"));
            };
            let ResTarget { name, indirection, val, location: _ } = assignment.as_mut();
            self.subscripts(indirection)?;
            let tenant = target.filter(|(table, _)| table.column == *name);
            if tenant.is_some() && !indirection.is_empty() {
                return Err(foreign_value(name));
            }
            let Some(value) = val.as_deref_mut() else { return Err(unsupported("this assignment")) };
            // `(a, b) = ...`: each column holds a copy of the source, of which the first is printed.
            if let Some(NodeEnum::MultiAssignRef(multi)) = value.node.as_mut() {
                let MultiAssignRef { source, colno, ncolumns } = multi.as_mut();
                let Some(source) = source.as_deref_mut() else { return Err(unsupported("this assignment")) };
                if *colno == 1 {
                    let width = usize::try_from(*ncolumns).unwrap_or(0);
                    let group: Vec<&str> = columns.iter().skip(at).take(width).map(String::as_str).collect();
                    self.assign_row(source, &group, target)?;
                    row = Some(source.clone());
                } else {
                    *source = row.clone().ok_or_else(|| unsupported("this assignment"))?;
                }
                continue;
            }
            match tenant {
                Some((table, names)) => self.assign_tenant(value, table, names)?,
                None => self.expr(value)?,
            }
        }
        Ok(())
    }

    /// The right side of `(a, b) = ...`: what goes into the tenant column must show.
    fn assign_row(
        &mut self,
        source: &mut Node,
        columns: &[&str],
        target: Option<(&TenantTable, &[&str])>,
    ) -> Result<(), Refusal> {
        let own = target.and_then(|(table, names)| {
            let at = columns.iter().position(|c| *c == table.column)?;
            Some((at, table, names))
        });
        let Some((at, table, names)) = own else { return self.expr(source) };
        match source.node.as_mut() {
            Some(NodeEnum::RowExpr(row)) => {
                in_their_places(&row.args)?;
                for (i, element) in row.args.iter_mut().enumerate() {
                    if i == at {
                        self.assign_tenant(element, table, names)?;
                    } else {
                        self.expr(element)?;
                    }
                }
                Ok(())
            }
            Some(NodeEnum::SubLink(_)) => {
                self.expr(source)?;
                self.assign_query(source, columns.len(), at, table)
            }
            // Postgres takes nothing else.
            Some(_) | None => Err(foreign_value(&table.column)),
        }
    }

    /// `(SELECT q.c1, CASE WHEN q.c2 = $n ... FROM (SELECT true) LEFT JOIN (query) q(c1, c2) ON true)`: a query without a row
    /// would set the tenant column to NULL, and so is compared too.
    fn assign_query(&mut self, source: &mut Node, width: usize, at: usize, table: &TenantTable) -> Result<(), Refusal> {
        let Some(NodeEnum::SubLink(link)) = source.node.as_mut() else { return Err(unsupported("this assignment")) };
        let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref_mut().and_then(|it| it.node.as_mut()) else {
            return Err(unsupported("this assignment"));
        };
        let (targets, rows) = self.checked_columns(std::mem::take(query), width, at, table)?;
        **query = tree::select(targets, tree::one_row_at_least(rows), None, false);
        self.rewritten = true;
        Ok(())
    }

    fn assign_tenant(&mut self, value: &mut Node, table: &TenantTable, names: &[&str]) -> Result<(), Refusal> {
        if is_itself(value, table, names) || planted(Fault::Assignment) {
            return self.expr(value);
        }
        match self.given(value, table) {
            Given::Literal(_) | Given::Param(_) | Given::Default | Given::Null if table.through.is_none() => {}
            _ => self.expr(value)?,
        }
        self.own_value(value, table)
    }

    /// What follows a column that is assigned to: `a[1]`, `a.f`. Fields are no functions here.
    pub(super) fn subscripts(&mut self, parts: &mut [Node]) -> Result<(), Refusal> {
        for part in parts {
            if as_string(part).is_none() {
                self.expr(part)?;
            }
        }
        Ok(())
    }
}

fn assigned_column(assignment: &Node) -> String {
    let Some(NodeEnum::ResTarget(target)) = assignment.node.as_ref() else { return String::new() };
    target.name.clone()
}

/// `tenant_id` or `t.tenant_id`
fn is_itself(value: &Node, table: &TenantTable, names: &[&str]) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = value.node.as_ref() else { return false };
    let parts: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
    match parts.as_deref() {
        Some([column]) => *column == table.column,
        Some([qualifier, column]) => names.contains(qualifier) && *column == table.column,
        _ => false,
    }
}

/// Whether a cast is to the tenant column's own type.
fn is_of_column(cast: &TypeCast, table: &TenantTable) -> bool {
    let same = |name: &TypeName| {
        type_named(&table.type_name).is_ok_and(|own| {
            let TypeName { names, setof, pct_type, typmods, array_bounds, type_oid: _, typemod: _, location: _ } = name;
            *names == own.names && !setof && !pct_type && typmods.is_empty() && array_bounds.is_empty()
        })
    };
    cast.type_name.as_ref().is_some_and(same)
}

fn literal(constant: &AConst) -> Given {
    if constant.isnull {
        return Given::Null;
    }
    match constant.val.as_ref() {
        Some(a_const::Val::Ival(i)) => Given::Literal(i.ival.to_string()),
        Some(a_const::Val::Fval(f)) => Given::Literal(f.fval.clone()),
        Some(a_const::Val::Sval(s)) => Given::Literal(s.sval.clone()),
        Some(a_const::Val::Boolval(b)) => Given::Literal(b.boolval.to_string()),
        Some(a_const::Val::Bsval(_)) | None => Given::Computed,
    }
}

/// An expression of the column's type that fails when it is evaluated, and not before: `concat` is not immutable, so the
/// planner does not try it.
pub(super) fn failure(message: &str, type_name: &str) -> Result<Node, Refusal> {
    let call = tree::system_call("concat", vec![tree::text(message)]);
    let concat = tree::node(NodeEnum::FuncCall(Box::new(call)));
    let failing = tree::cast(tree::cast(concat, tree::system_type("bool")), tree::system_type("text"));
    Ok(tree::cast(failing, type_named(type_name)?))
}

fn type_named(type_name: &str) -> Result<TypeName, Refusal> {
    let null = parse::expression(&format!("NULL::{type_name}")).ok().and_then(|e| e.node);
    let mut name = None;
    if let Some(NodeEnum::TypeCast(cast)) = null {
        name = cast.type_name;
    }
    name.ok_or_else(|| unsupported(format_args!("the type {type_name} of a tenant column")))
}
