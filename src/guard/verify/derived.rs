//! What is derived from relations: subqueries in FROM, common table expressions, joins with an alias.
//!
//! A tenant relation in one stands behind its predicate there. But its statistics are those of all tenants, and the planner
//! follows a column through all of these to them when it estimates a condition; and where nothing fences the query, it
//! moves the condition into it, beside the predicate. So what is not plain stands behind a CASE there too, and what looks at
//! anything but an untouched column stands outside of a fence.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, CommonTableExpr, CteMaterialize, Node, RangeFunction, RangeSubselect, RangeVar, SelectStmt, SetOperation,
};

use super::Verifier;
use super::scope::{Cte, Scope};
use super::tree::{alias_name, node, nodes, strings, targets};

/// What stands behind an item of FROM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// A tenant relation.
    pub(super) tenant: bool,
    /// A tenant relation, or one of the system's, whose statistics tell of others.
    pub(super) private: bool,
}

impl Holds {
    /// All that can stand behind an item.
    pub(super) const ALL: Self = Self { tenant: true, private: true };

    /// What stands behind either.
    pub(super) fn or(self, other: Self) -> Self {
        Self { tenant: self.tenant || other.tenant, private: self.private || other.private }
    }
}

/// An item of FROM with values of others behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived<'v> {
    /// By which its columns are named; empty if they cannot be.
    pub(super) name: &'v str,
    /// Its query, if it is one.
    query: Option<&'v NodeEnum>,
    /// A tenant relation stands in it, and no fence around that.
    pub(super) open: bool,
    /// Its columns are renamed.
    renamed: bool,
}

impl<'v> Derived<'v> {
    /// A join with an alias over these.
    pub(super) fn join(alias: &'v Alias, open: bool) -> Self {
        Self { name: &alias.aliasname, query: None, open, renamed: true }
    }

    /// A lateral subquery over these.
    pub(super) fn lateral(alias: Option<&'v Alias>, query: &'v NodeEnum) -> Self {
        Self { name: alias_name(alias), query: Some(query), open: false, renamed: true }
    }

    /// Whether its column of that name is certainly computed: an expression that could be moved to the rows inside.
    pub(super) fn computes(&self, column: &str) -> bool {
        let Some(select) = self.query.and_then(as_select).filter(|_| !self.renamed) else { return false };
        select.op() == SetOperation::SetopNone
            && targets(&select.target_list)
                .any(|target| target.name == column && !matches!(node(&target.val), Some(NodeEnum::ColumnRef(_))))
    }
}

impl<'v, 'p> Verifier<'v, 'p> {
    /// A subquery in FROM, if values of others stand behind it.
    pub(super) fn subselect(&self, item: &'v RangeSubselect, scope: &Scope<'_, 'v, 'p>) -> Option<Derived<'v>> {
        let query = node(&item.subquery)?;
        let holds = self.holds(query, scope);
        holds.private.then(|| Derived {
            name: alias_name(item.alias.as_ref()),
            query: Some(query),
            open: holds.tenant && !as_select(query).is_some_and(is_fenced),
            renamed: is_renamed(item.alias.as_ref()),
        })
    }

    /// A reference to a CTE, if values of others stand behind it.
    pub(super) fn cte_reference(&self, relation: &'v RangeVar, cte: &Cte<'v>) -> Option<Derived<'v>> {
        cte.holds.private.then(|| Derived {
            name: relation.alias.as_ref().map_or(cte.name, |alias| &alias.aliasname),
            query: cte.query,
            open: cte.open && cte.holds.tenant,
            renamed: is_renamed(relation.alias.as_ref()),
        })
    }

    /// Whether the planner may move conditions into a CTE: not into one that is materialised, writes, or refers to itself.
    pub(super) fn cte_is_open(&self, cte: &CommonTableExpr, recursive: bool) -> bool {
        let Some(query) = node(&cte.ctequery) else { return false };
        let open = as_select(query).is_some_and(|select| !is_fenced(select));
        let itself = || recursive && self.survey.bare_names(query).contains(&cte.ctename.as_str());
        open && cte.ctematerialized() != CteMaterialize::Always && !itself()
    }

    /// A function in FROM that the operator allows: the planner may put the query that it is made of in its place.
    pub(super) fn function(&self, item: &'v RangeFunction) -> Option<Derived<'v>> {
        let inlined = nodes(&item.functions).filter_map(called).any(|name| self.policy.is_listed_function(name));
        let name = alias_name(item.alias.as_ref());
        inlined.then_some(Derived { name, query: None, open: false, renamed: true })
    }
}

/// The name, without the schema, of the function that an item of ROWS FROM calls.
fn called(item: &NodeEnum) -> Option<&str> {
    let NodeEnum::List(list) = item else { return None };
    let Some(Node { node: Some(NodeEnum::FuncCall(call)) }) = list.items.first() else { return None };
    strings(&call.funcname)?.last().copied()
}

fn as_select(query: &NodeEnum) -> Option<&SelectStmt> {
    match query {
        NodeEnum::SelectStmt(select) => Some(select),
        _ => None,
    }
}

fn is_renamed(alias: Option<&Alias>) -> bool {
    alias.is_some_and(|alias| !alias.colnames.is_empty())
}

/// A LIMIT or OFFSET: no condition is moved across it.
fn is_fenced(select: &SelectStmt) -> bool {
    select.limit_offset.is_some() || select.limit_count.is_some()
}
