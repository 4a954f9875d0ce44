//! The rows that an UPDATE or DELETE touches, as a query.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, AExprKind, BoolExpr, BoolExprType, ColumnRef, Node, RangeVar, ReturningClause, SelectStmt, WithClause,
    a_const,
};

use super::parse::{deparse, expression, parse, reparse};
use super::walk::Part;
use super::{Named, StatementLimits};

/// An UPDATE or DELETE, read for the rows that it touches.
pub struct Touched {
    /// The table that it writes to.
    pub table: Named,
    /// What that is called in its conditions.
    pub alias: String,
    /// Of the same rows.
    select: SelectStmt,
    returning: Option<ReturningClause>,
}

/// What a column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// A literal, as text.
    Literal(String),
    /// A parameter.
    Param(u16),
}

/// A query, and the parameters of the statement that it has too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedQuery {
    /// Its text.
    pub text: String,
    /// The numbers of its parameters.
    pub params: BTreeSet<u16>,
}

/// Reads a text: each UPDATE or DELETE whose rows a query can find. Not those under a cursor, nor what writes in its WITH.
pub fn touched(sql: &str, limits: &StatementLimits, server_version: u32) -> Vec<Touched> {
    let statements = parse(sql, limits, server_version).unwrap_or_default();
    statements.into_iter().filter_map(|statement| read(statement.tree.node?)).collect()
}

fn read(statement: NodeEnum) -> Option<Touched> {
    let (relation, from, condition, with, returning) = match statement {
        NodeEnum::UpdateStmt(it) => (it.relation, it.from_clause, it.where_clause, it.with_clause, it.returning_clause),
        NodeEnum::DeleteStmt(it) => {
            (it.relation, it.using_clause, it.where_clause, it.with_clause, it.returning_clause)
        }
        _ => return None,
    };
    let relation = relation?;
    let under_cursor = matches!(condition.as_deref().and_then(|it| it.node.as_ref()), Some(NodeEnum::CurrentOfExpr(_)));
    if under_cursor || with.as_ref().is_some_and(writes) {
        return None;
    }
    let frame = reparse("SELECT 1 FROM t LIMIT 1").ok()?.pop()?.stmt?.node?;
    let NodeEnum::SelectStmt(mut select) = frame else { return None };
    let table = Named {
        schema: (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone()),
        name: relation.relname.clone(),
    };
    let alias = relation.alias.as_ref().map_or_else(|| relation.relname.clone(), |alias| alias.aliasname.clone());
    select.from_clause = std::iter::once(node(NodeEnum::RangeVar(relation))).chain(from).collect();
    select.where_clause = condition;
    select.with_clause = with;
    Some(Touched { table, alias, select: *select, returning })
}

impl Touched {
    /// A query that has a row if the statement touches one for which `condition` holds too.
    pub fn question(&self, schema: &str, condition: &str) -> Option<TouchedQuery> {
        let mut select = self.select.clone();
        if let Some(NodeEnum::RangeVar(RangeVar { schemaname, .. })) =
            select.from_clause.first_mut().and_then(|it| it.node.as_mut())
        {
            schema.clone_into(schemaname);
        }
        let condition = expression(condition).ok()?;
        let args = select.where_clause.take().map(|it| *it).into_iter().chain([condition]).collect();
        let all = BoolExpr { xpr: None, boolop: BoolExprType::AndExpr.into(), args, location: -1 };
        select.where_clause = Some(Box::new(node(NodeEnum::BoolExpr(Box::new(all)))));
        let mut params = BTreeSet::new();
        each(Part::Select(&select), &mut |part| {
            if let Part::Node(NodeEnum::ParamRef(param)) = part {
                params.extend(u16::try_from(param.number).ok());
            }
        });
        let text = deparse(&node(NodeEnum::SelectStmt(Box::new(select)))).ok()?;
        Some(TouchedQuery { text, params })
    }

    /// The functions that a query for the same rows calls, without their schemas.
    pub fn calls(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        each(Part::Select(&self.select), &mut |part| {
            if let Part::Node(NodeEnum::FuncCall(call)) = part {
                found.extend(call.funcname.last().and_then(name_of).map(str::to_owned));
            }
        });
        found
    }

    /// What the conditions say that this column of the table is equal to, if they do.
    pub fn pinned(&self, column: &str) -> Option<Pinned> {
        let mut found = None;
        let mut left: Vec<&Node> = self.select.where_clause.as_deref().into_iter().collect();
        while let Some(condition) = left.pop() {
            match condition.node.as_ref() {
                Some(NodeEnum::BoolExpr(all)) if all.boolop() == BoolExprType::AndExpr => left.extend(&all.args),
                Some(NodeEnum::AExpr(it)) if it.kind() == AExprKind::AexprOp && is_equality(&it.name) => {
                    let sides = [(&it.lexpr, &it.rexpr), (&it.rexpr, &it.lexpr)];
                    let value = sides.into_iter().find_map(|(name, value)| {
                        let is_it = name.as_deref().is_some_and(|it| self.is_column(it, column));
                        is_it.then(|| value_of(value.as_deref()?)).flatten()
                    });
                    found = found.or(value);
                }
                _ => {}
            }
        }
        found
    }

    /// Whether RETURNING has this column.
    pub fn returns(&self, column: &str) -> bool {
        let Some(returning) = &self.returning else { return false };
        returning.exprs.iter().any(|target| match target.node.as_ref() {
            Some(NodeEnum::ResTarget(target)) => {
                let value = target.val.as_deref().and_then(|it| it.node.as_ref());
                let Some(NodeEnum::ColumnRef(ColumnRef { fields, .. })) = value else { return false };
                match fields.last().and_then(|it| it.node.as_ref()) {
                    Some(NodeEnum::AStar(_)) => true,
                    Some(NodeEnum::String(name)) => name.sval == column,
                    _ => false,
                }
            }
            _ => false,
        })
    }

    fn is_column(&self, it: &Node, column: &str) -> bool {
        let Some(NodeEnum::ColumnRef(ColumnRef { fields, .. })) = it.node.as_ref() else { return false };
        let names: Vec<_> = fields.iter().map(name_of).collect();
        match names.as_slice() {
            [Some(name)] => *name == column,
            [Some(table), Some(name)] => *table == self.alias && *name == column,
            _ => false,
        }
    }
}

fn node(node: NodeEnum) -> Node {
    Node { node: Some(node) }
}

fn name_of(it: &Node) -> Option<&str> {
    match it.node.as_ref() {
        Some(NodeEnum::String(name)) => Some(&name.sval),
        _ => None,
    }
}

fn is_equality(name: &[Node]) -> bool {
    matches!(name, [operator] if name_of(operator) == Some("="))
}

fn value_of(it: &Node) -> Option<Pinned> {
    match it.node.as_ref()? {
        NodeEnum::TypeCast(cast) => value_of(cast.arg.as_deref()?),
        NodeEnum::ParamRef(param) => Some(Pinned::Param(u16::try_from(param.number).ok()?)),
        NodeEnum::AConst(AConst { val: Some(value), .. }) => Some(Pinned::Literal(match value {
            a_const::Val::Ival(it) => it.ival.to_string(),
            a_const::Val::Fval(it) => it.fval.clone(),
            a_const::Val::Sval(it) => it.sval.clone(),
            a_const::Val::Boolval(it) => it.boolval.to_string(),
            a_const::Val::Bsval(_) => return None,
        })),
        _ => None,
    }
}

fn writes(with: &WithClause) -> bool {
    with.ctes.iter().any(|cte| {
        let Some(NodeEnum::CommonTableExpr(cte)) = cte.node.as_ref() else { return true };
        !matches!(cte.ctequery.as_deref().and_then(|it| it.node.as_ref()), Some(NodeEnum::SelectStmt(_)))
    })
}

/// All parts in this one, and itself.
fn each<'v>(part: Part<'v>, see: &mut dyn FnMut(Part<'v>)) {
    see(part);
    part.fields(&mut |inner| {
        each(inner, see);
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Option<Touched> {
        touched(sql, &StatementLimits::default(), 150_000).pop()
    }

    #[test]
    fn the_same_rows_are_asked_for() {
        let question = |sql: &str| read(sql).unwrap().question("s", "x.k IS DISTINCT FROM 1").unwrap();
        for (sql, text, params) in [
            ("DELETE FROM t", "SELECT 1 FROM s.t WHERE x.k IS DISTINCT FROM 1 LIMIT 1", &[][..]),
            (
                "UPDATE t AS x SET a = $1 WHERE id = $2 OR b",
                "SELECT 1 FROM s.t x WHERE (id = $2 OR b) AND x.k IS DISTINCT FROM 1 LIMIT 1",
                &[2],
            ),
            (
                "WITH o AS (SELECT $3::int AS id) DELETE FROM s.t x USING o, p WHERE x.id = o.id AND p.id = (SELECT $1)",
                "WITH o AS (SELECT $3::int AS id) SELECT 1 FROM s.t x, o, p \
                 WHERE (x.id = o.id AND p.id = (SELECT $1)) AND x.k IS DISTINCT FROM 1 LIMIT 1",
                &[1, 3],
            ),
        ] {
            let asked = question(sql);
            assert_eq!(asked.text.replace(['\n', '\r'], " ").replace("  ", " "), text, "{sql}");
            assert_eq!(asked.params.into_iter().collect::<Vec<_>>(), params, "{sql}");
        }
        for none in [
            "SELECT 1",
            "INSERT INTO t VALUES (1)",
            "DELETE FROM t WHERE CURRENT OF c",
            "WITH d AS (DELETE FROM u RETURNING id) DELETE FROM t WHERE id IN (SELECT id FROM d)",
        ] {
            assert!(read(none).is_none(), "{none}");
        }
        let each = touched("BEGIN; DELETE FROM t; UPDATE u SET a = 1", &StatementLimits::default(), 150_000);
        assert_eq!(each.iter().map(|it| &*it.table.name).collect::<Vec<_>>(), ["t", "u"]);
    }

    #[test]
    fn what_is_called() {
        let calls = |sql: &str| read(sql).unwrap().calls().into_iter().collect::<Vec<_>>();
        assert_eq!(calls("DELETE FROM t WHERE a = now() AND b IN (SELECT s.f(x) FROM g() x)"), ["f", "g", "now"]);
        assert!(calls("UPDATE t SET a = nextval('s') WHERE id = 1").is_empty(), "it is not asked for");
    }

    #[test]
    fn what_a_column_is_equal_to() {
        let pinned = |sql: &str| read(sql).unwrap().pinned("k");
        let literal = |it: &str| Some(Pinned::Literal(it.to_owned()));
        for (sql, value) in [
            ("DELETE FROM t WHERE k = 1", literal("1")),
            ("DELETE FROM t x WHERE id = 7 AND (b AND 'u'::uuid = x.k)", literal("u")),
            ("UPDATE t SET a = 1 WHERE k = $2::int AND a = $1", Some(Pinned::Param(2))),
            ("DELETE FROM t WHERE k = 1 OR id = 2", None),
            ("DELETE FROM t WHERE k <> 1 AND k = other AND y.k = 1 AND NOT (k = 1)", None),
            ("DELETE FROM t", None),
        ] {
            assert_eq!(pinned(sql), value, "{sql}");
        }
    }

    #[test]
    fn columns_that_are_returned() {
        for (sql, returned) in [
            ("DELETE FROM t RETURNING *", true),
            ("DELETE FROM t RETURNING id, t.k", true),
            ("DELETE FROM t RETURNING id", false),
            ("DELETE FROM t", false),
        ] {
            assert_eq!(read(sql).unwrap().returns("k"), returned, "{sql}");
        }
    }
}
