//! What is derived from relations: subqueries in FROM, common table expressions, joins with an alias.
//!
//! A tenant relation in one stands behind its predicate there. But its statistics are those of all tenants, and the planner
//! follows a column through all of these to them when it estimates a condition; and where nothing fences the query, it
//! moves the condition into it, beside the predicate. So what is not plain stands behind a CASE there too, and what looks at
//! anything but an untouched column stands outside of a fence.

use serde_json::Value;

use super::Verifier;
use super::leak::Level;
use super::scope::{Cte, Scope};
use super::tree::{field, items, node, node_of, number, strings, text};

/// What stands behind an item of FROM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// A tenant relation.
    pub(super) tenant: bool,
    /// A tenant relation, or one of the system's, whose statistics tell of others.
    pub(super) private: bool,
}

/// An item of FROM with values of others behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived<'v> {
    /// By which its columns are named; empty if they cannot be.
    pub(super) name: &'v str,
    /// Its query, if it is one.
    query: Option<&'v Value>,
    /// A tenant relation stands in it, and no fence around that.
    pub(super) open: bool,
    /// Its columns are renamed.
    renamed: bool,
}

impl<'v> Derived<'v> {
    /// A join with an alias over these.
    pub(super) fn join(alias: &'v Value, open: bool) -> Self {
        Self { name: text(alias, "aliasname"), query: None, open, renamed: true }
    }

    /// Whether its column of that name is certainly computed: an expression that could be moved to the rows inside.
    pub(super) fn computes(&self, column: &str) -> bool {
        /// `SetOperation::SETOP_NONE`
        const SETOP_NONE: i64 = 1;
        let Some(select) = self.query.and_then(|query| node_of(query, "SelectStmt")).filter(|_| !self.renamed) else {
            return false;
        };
        number(select, "op") == SETOP_NONE
            && items(select, "target_list")
                .iter()
                .filter_map(|t| node_of(t, "ResTarget"))
                .any(|target| text(target, "name") == column && node_of(field(target, "val"), "ColumnRef").is_none())
    }
}

impl<'p> Verifier<'p> {
    /// What stands in a query, its own subqueries included. The text that is sent names relations with their schemas: a bare
    /// name is a CTE.
    pub(super) fn holds(&self, value: &Value, scope: &Scope<'_, '_>) -> Holds {
        match value {
            Value::Array(items) => items.iter().fold(Holds::default(), |all, item| all.or(self.holds(item, scope))),
            Value::Object(fields) => match node(value) {
                Some(("RangeVar", range_var)) => self.behind(range_var, scope),
                Some((_, inner)) => self.holds(inner, scope),
                None if fields.contains_key("relname") => self.behind(value, scope),
                None => fields.values().fold(Holds::default(), |all, field| all.or(self.holds(field, scope))),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Holds::default(),
        }
    }

    fn behind(&self, range_var: &Value, scope: &Scope<'_, '_>) -> Holds {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        if schema.is_empty() {
            return scope.cte(name).map(|cte| cte.holds).unwrap_or_default();
        }
        let tenant = self.any_tenant_table(schema, name).is_some();
        Holds { tenant, private: tenant || matches!(schema, "pg_catalog" | "information_schema") }
    }

    /// A subquery in FROM, if values of others stand behind it.
    pub(super) fn subselect<'v>(&self, item: &'v Value, scope: &Scope<'v, 'p>) -> Option<Derived<'v>> {
        let (alias, query) = (field(item, "alias"), field(item, "subquery"));
        let holds = self.holds(query, scope);
        let fenced = node_of(query, "SelectStmt").is_some_and(is_fenced);
        holds.private.then(|| Derived {
            name: text(alias, "aliasname"),
            query: Some(query),
            open: holds.tenant && !fenced,
            renamed: !items(alias, "colnames").is_empty(),
        })
    }

    /// A reference to a CTE, if values of others stand behind it.
    pub(super) fn cte_reference<'v>(&self, range_var: &'v Value, cte: &Cte<'v>) -> Option<Derived<'v>> {
        let alias = field(range_var, "alias");
        cte.holds.private.then(|| Derived {
            name: if alias.is_null() { cte.name } else { text(alias, "aliasname") },
            query: Some(cte.query),
            open: cte.open && cte.holds.tenant,
            renamed: !items(alias, "colnames").is_empty(),
        })
    }

    /// A function in FROM that the operator allows: the planner may put the query that it is made of in its place.
    pub(super) fn function<'v>(&self, item: &'v Value) -> Option<Derived<'v>> {
        let calls = items(item, "functions")
            .iter()
            .filter_map(|f| node_of(items(node_of(f, "List")?, "items").first()?, "FuncCall"));
        let mut names = calls.filter_map(|call| strings(call, "funcname")?.last().copied());
        let inlined = names.any(|name| self.policy.allow_functions.iter().any(|allowed| allowed.name == name));
        let alias = field(item, "alias");
        inlined.then(|| Derived { name: text(alias, "aliasname"), query: None, open: false, renamed: true })
    }
}

impl Holds {
    fn or(self, other: Self) -> Self {
        Self { tenant: self.tenant || other.tenant, private: self.private || other.private }
    }
}

impl<'v> Level<'v, '_> {
    /// A lateral subquery that is nothing but what it looks at in this FROM: merged into the query around it, a condition on
    /// it is one on that.
    pub(super) fn lateral(&self, item: &'v Value) -> Option<Derived<'v>> {
        let (alias, query) = (field(item, "alias"), field(item, "subquery"));
        let lateral = field(item, "lateral").as_bool().unwrap_or_default() && self.is_named_in(query);
        lateral.then(|| Derived { name: text(alias, "aliasname"), query: Some(query), open: false, renamed: true })
    }
}

impl Level<'_, '_> {
    /// Whether a condition, which is plain by its form, looks at a computed column of an unfenced query.
    pub(super) fn is_moved_by(&self, value: &Value) -> bool {
        self.any_column(value, &|parts| match parts {
            [qualifier, column] => self.derived.iter().any(|d| d.open && d.name == *qualifier && d.computes(column)),
            _ => false,
        })
    }
}

/// A LIMIT or OFFSET: no condition is moved across it.
fn is_fenced(select: &Value) -> bool {
    !field(select, "limit_offset").is_null() || !field(select, "limit_count").is_null()
}

/// Whether the planner may move conditions into a CTE: not into one that is materialised, writes, or refers to itself.
pub(super) fn cte_is_open(cte: &Value, recursive: bool) -> bool {
    /// `CTEMaterialize::CTEMaterializeAlways`
    const ALWAYS: i64 = 2;
    let query = field(cte, "ctequery");
    let Some(select) = node_of(query, "SelectStmt") else { return false };
    let itself = recursive && names(query, text(cte, "ctename"));
    number(cte, "ctematerialized") != ALWAYS && !is_fenced(select) && !itself
}

/// Whether a relation of that name, without a schema, is named anywhere.
fn names(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        Value::Object(fields) => {
            (text(value, "relname") == name && text(value, "schemaname").is_empty())
                || fields.values().any(|field| names(field, name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
