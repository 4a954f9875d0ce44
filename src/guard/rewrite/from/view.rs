//! Views that stand for their queries: the query takes the view's place, and is walked as if the client had written it.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar, SelectStmt};

use super::{Place, alias_of};
use crate::base::{Arity, QualifiedName, Refusal, RefusalKind, SqlState};
use crate::guard::ViewQuery;
use crate::guard::gate::{reader, relations};
use crate::guard::rewrite::{Rewriter, scope, tree, unsupported};
use crate::guard::shape;
use crate::sql::parse;

/// Bytes of views' queries in one statement: views on views may multiply.
const WRITTEN_OUT_MAX: usize = 256 << 10;
/// A short one counts as so many: each is read anew, behind all that was read before.
const WRITTEN_OUT_MIN: usize = 2 << 10;

impl<'p> Rewriter<'p> {
    /// Whether the item was a view that stands for its query, which is then in its place, guarded.
    pub(super) fn view(&mut self, item: &mut Node, written: &RangeVar, place: Place) -> Result<bool, Refusal> {
        let is_plain = matches!(item.node, Some(NodeEnum::RangeVar(_)));
        let Some((name, view)) = relations::view(self.policy, self.mode, written).filter(|_| is_plain) else {
            return Ok(false);
        };
        if let Some(hidden) = view.bare.iter().find(|name| scope::find_cte(&self.ctes, name).is_some()) {
            return Err(unsupported(format_args!("view {} below a WITH query named \"{hidden}\"", name.name))
                .hint("Give the WITH query another name: the view reads a relation of that one."));
        }
        let query = self.query_of(view)?;
        *item = tree::subselect(query, alias_of(written), false);
        if let Some(NodeEnum::RangeSubselect(sub)) = item.node.as_mut() {
            parse::with_stack(self.written_out, || self.subselect(sub, place))?;
        }
        if let Some(added) = self.levels.last_mut().and_then(|level| level.items.last_mut()) {
            added.lost_schema = written.alias.is_none().then(|| name.schema.clone());
            added.view = Some(name);
        }
        self.rewritten = true;
        self.note(format!("{name}: the view's query in its place"));
        Ok(true)
    }

    /// The view whose row a column reference means: the row of a query is of no type by name, and is cast to the view's.
    pub(in crate::guard::rewrite) fn row_of_view(&self, fields: &[Node]) -> Result<Option<&'p QualifiedName>, Refusal> {
        let [name] = fields else { return Ok(None) };
        let item = tree::as_string(name).and_then(|name| scope::item_named(&self.levels, name));
        let Some((item, view)) = item.and_then(|item| Some((item, item.view?))) else { return Ok(None) };
        if item.nullable {
            // Cast, a row that the join makes up would be one of NULLs.
            return Err(unsupported(format_args!("the row of view {} as a whole behind an outer join", view.name))
                .hint("Name its columns."));
        }
        Ok(Some(view))
    }

    /// The tree of a view's query. Parts of a statement are known by where they stand: those of a view stand behind all others.
    fn query_of(&mut self, view: &ViewQuery) -> Result<SelectStmt, Refusal> {
        let start = self.written_out;
        self.written_out += view.text.len().max(WRITTEN_OUT_MIN);
        if self.written_out > self.text.len() + WRITTEN_OUT_MAX {
            return Err(Refusal::new(
                RefusalKind::Limit,
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "the queries of the views in the statement are too long together",
            )
            .hint("Read fewer views at a time, or the tables themselves."));
        }
        if shape::share_a_marker(self.text, &view.text) {
            return Err(unsupported("a value that a view has too"));
        }
        let padded = format!("{}{}", " ".repeat(start), view.text);
        let query = parse::reparse(&padded).ok().and_then(|mut statements| statements.pop()?.stmt);
        let Some(Node { node: Some(NodeEnum::SelectStmt(select)) }) = query.as_deref() else {
            return Err(unsupported("this view"));
        };
        if self.mode.arity() == Arity::Several
            && let Some(query) = query.as_deref()
        {
            reader::reads_inside(query)?;
        }
        Ok(select.as_ref().clone())
    }
}
