//! Walks FROM: finds out what each item is, which predicate it needs and where that predicate must stand.

mod function;
mod join;
mod view;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeSubselect, RangeTableSample, RangeVar};

use crate::base::{Access, Mode, QualifiedName, Refusal};
use crate::catalog::{RelKind, Relation};
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::relations::{self, Mask, Resolved};
use crate::guard::gate::temporary;
use crate::guard::rewrite::outputs::{alias_columns, renamed};
use crate::guard::rewrite::parent::is_name_of_parent;
use crate::guard::rewrite::scope::{self, Fence, Guard, Item, Locking, Merges, Refs, Shape, Source};
use crate::guard::rewrite::tree::{self, as_string};
use crate::guard::rewrite::{Rewriter, unsupported};
use crate::guard::{Effect, Names, TenantTable, nodes};
use crate::sql::parse;

/// Where an item's predicate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guard::rewrite) enum Place {
    /// Into the WHERE or ON that the caller writes: the table stays as it is.
    Outside,
    /// Into a subquery in the table's place: the join has no condition that could hold it.
    Inside,
    /// The same, and nothing may be pushed into it: an alias over the join hides its columns.
    Fenced,
}

impl Place {
    /// For the side of an outer join whose rows may be made up: its ON can hold the predicate, if it has one.
    fn nullable_side(self, has_on: bool) -> Self {
        match self {
            Place::Fenced => Place::Fenced,
            Place::Outside | Place::Inside if has_on => Place::Outside,
            Place::Outside | Place::Inside => Place::Inside,
        }
    }

    fn both_sides(self) -> Self {
        match self {
            Place::Fenced => Place::Fenced,
            Place::Outside | Place::Inside => Place::Inside,
        }
    }
}

impl<'p> Rewriter<'p> {
    /// Walks one item of FROM at the innermost level. `pending` receives the items whose predicate the caller must place.
    #[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
    pub(in crate::guard::rewrite) fn item_of_from(
        &mut self,
        item: &mut Node,
        place: Place,
        pending: &mut Vec<usize>,
    ) -> Result<(), Refusal> {
        match item.node.as_mut() {
            Some(NodeEnum::RangeVar(relation)) => {
                let relation = relation.clone();
                self.relation(item, &relation, place, pending)
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                let relation = self.sample(sample)?;
                self.relation(item, &relation, place, pending)
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, place, pending),
            Some(NodeEnum::RangeSubselect(sub)) => self.subselect(sub, place),
            Some(NodeEnum::RangeFunction(function)) => self.function(function),
            Some(NodeEnum::RangeTableFunc(table)) => self.table_function(table),
            Some(NodeEnum::JsonTable(table)) => {
                let refs = self.looking_at(|this| this.json_table(table))?;
                self.other(table.alias.as_ref(), refs);
                Ok(())
            }
            Some(other @ (nodes::statement!() | nodes::part!())) => {
                Err(unsupported(crate::guard::rewrite::outputs::construct(other)))
            }
            None => Err(unsupported("this FROM item")),
        }
    }

    fn add(&mut self, item: Item<'p>) -> usize {
        match self.levels.last_mut() {
            Some(level) => {
                level.items.push(item);
                level.items.len() - 1
            }
            None => 0,
        }
    }

    /// Counts a leaf of FROM.
    fn leaf(&mut self) -> usize {
        self.levels.last_mut().map_or(0, |level| {
            level.leaves += 1;
            level.leaves - 1
        })
    }

    /// Counts a leaf that is neither a relation nor a query.
    fn other(&mut self, alias: Option<&Alias>, looks_at: Refs) {
        self.leaf();
        self.add(Item { looks_at, ..Item::unknown(alias.map(|a| a.aliasname.clone())) });
    }

    /// A target that the catalog does not know.
    pub(in crate::guard::rewrite) fn add_unknown(&mut self, relation: &RangeVar) {
        self.other(Some(&alias_of(relation)), Refs::default());
    }

    /// The relation under a TABLESAMPLE, its arguments walked.
    fn sample(&mut self, sample: &mut RangeTableSample) -> Result<RangeVar, Refusal> {
        let RangeTableSample { relation, method, args, repeatable, location: _ } = sample;
        let names: Vec<&str> = method.iter().filter_map(as_string).collect();
        let known = matches!(names.as_slice(), ["system" | "bernoulli"] | ["pg_catalog", "system" | "bernoulli"]);
        if self.guarding() && !(known && names.len() == method.len()) {
            return Err(unsupported("a sampling method other than SYSTEM and BERNOULLI"));
        }
        self.exprs(args)?;
        self.maybe(repeatable)?;
        let Some(NodeEnum::RangeVar(relation)) = relation.as_deref().and_then(|r| r.node.as_ref()) else {
            return Err(unsupported("TABLESAMPLE on this"));
        };
        Ok(relation.clone())
    }

    /// A relation or common table expression; `item` is the node that holds it, with its TABLESAMPLE if it has one.
    fn relation(
        &mut self,
        item: &mut Node,
        relation: &RangeVar,
        place: Place,
        pending: &mut Vec<usize>,
    ) -> Result<(), Refusal> {
        if relation.schemaname.is_empty()
            && relation.catalogname.is_empty()
            && let Some((frame, index)) = scope::find_cte(&self.ctes, &relation.relname)
        {
            self.cte_reference(relation, frame, index);
            return Ok(());
        }
        if self.view(item, relation, place)? {
            return Ok(());
        }
        let resolved = self.resolve(relation)?;
        if let Resolved::Tenant(_, found) | Resolved::Policed(_, found) | Resolved::Shared(found, _) = resolved
            && found.kind == RelKind::View
        {
            self.effect(Effect::MayDraw);
        }
        match resolved {
            Resolved::Tenant(table, found) => self.tenant(item, relation, table, found, place, pending),
            Resolved::Policed(table, found) => self.policed(item, relation, table, found, place, pending),
            Resolved::Shared(found, access) => {
                self.keep(item, relation, found, access != Access::Write);
                Ok(())
            }
            Resolved::System(found, mask) => {
                self.met.private |= matches!(self.mode, Mode::Shared | Mode::Reader | Mode::Schema(_));
                match mask.filter(|_| !planted(Fault::Mask)) {
                    None => self.keep(item, relation, found, false),
                    Some(mask) => self.masked(item, relation, found, &mask)?,
                }
                Ok(())
            }
            Resolved::Free(Some(found)) => {
                self.add_relation(relation, found, false, None);
                Ok(())
            }
            Resolved::Free(None) => {
                self.other(Some(&alias_of(relation)), Refs::default());
                Ok(())
            }
            Resolved::Temporary => {
                self.names_temporary();
                self.other(Some(&alias_of(relation)), Refs::default());
                with_relation(item, |it| temporary::SCHEMA.clone_into(&mut it.schemaname));
                Ok(())
            }
            Resolved::Own(found) => {
                match found {
                    Some(found) => {
                        self.add_relation(relation, found, false, None);
                    }
                    None => self.other(Some(&alias_of(relation)), Refs::default()),
                }
                self.in_own_schema(relation, |own| with_relation(item, |it| own.clone_into(&mut it.schemaname)))
            }
        }
    }

    /// A relation of the tenant's own that is named with its schema, since a common schema has that name too.
    pub(in crate::guard::rewrite) fn in_own_schema(
        &mut self,
        relation: &RangeVar,
        name_schema: impl FnOnce(&str),
    ) -> Result<(), Refusal> {
        let Mode::Schema(own) = self.mode else { return Err(unsupported(format_args!("\"{}\"", relation.relname))) };
        name_schema(own);
        self.rewritten = true;
        self.note(format!("{}: the tenant's own, named with its schema", relation.relname));
        Ok(())
    }

    fn cte_reference(&mut self, relation: &RangeVar, frame: usize, index: usize) {
        self.leaf();
        let mut shape = Shape::default();
        if let Some(scope) = self.ctes.get_mut(frame) {
            let own_body = scope.walking == Some(index);
            if let Some(cte) = scope.ctes.get_mut(index) {
                cte.recursive |= own_body;
                shape = cte.shape.clone();
            }
        }
        self.met.tenant |= shape.tenant;
        self.met.private |= shape.private;
        shape.outputs = renamed(shape.outputs, &alias_columns(relation.alias.as_ref()));
        self.add(Item {
            fence: if shape.tenant { Fence::Cte(frame, index) } else { Fence::None },
            looks_at: shape.looks_at.clone(),
            private: shape.private,
            source: Source::Query(shape),
            ..Item::unknown(Some(alias_of(relation).aliasname))
        });
    }

    pub(in crate::guard::rewrite) fn add_relation(
        &mut self,
        written: &RangeVar,
        found: &'p Relation,
        shared: bool,
        guard: Option<Guard<'p>>,
    ) -> usize {
        self.leaf();
        self.met.shared |= shared;
        self.add(Item {
            schema: written.alias.is_none().then(|| found.name.schema.clone()),
            source: Source::Relation { relation: found, renamed: alias_columns(written.alias.as_ref()) },
            guard,
            shared,
            ..Item::unknown(Some(alias_of(written).aliasname))
        })
    }

    /// A tenant relation that the server's policies guard. It stays, unless its tenant column has no name that conditions
    /// outside could use.
    fn policed(
        &mut self,
        item: &mut Node,
        written: &RangeVar,
        table: &'p TenantTable,
        found: &'p Relation,
        place: Place,
        pending: &mut Vec<usize>,
    ) -> Result<(), Refusal> {
        let guard = self.guard_for(written, table, found)?;
        let aliased_columns = written.alias.as_ref().is_some_and(|a| !a.colnames.is_empty());
        let guard = if aliased_columns { outside_guard(written, found, guard) } else { Some(guard) };
        match guard.filter(|_| place != Place::Fenced) {
            Some(guard) => {
                qualify(item, &found.name);
                self.add_policed(written, found, guard);
                Ok(())
            }
            None => self.tenant(item, written, table, found, Place::Fenced, pending),
        }
    }

    /// A tenant relation that the server's policies guard.
    pub(in crate::guard::rewrite) fn add_policed(&mut self, written: &RangeVar, found: &'p Relation, guard: Guard<'p>) {
        self.met_tenant();
        self.note(format!("{}: the server's row-level security (enforcement is rls)", found.name));
        let index = self.add_relation(written, found, false, Some(guard));
        if let Some(item) = self.levels.last_mut().and_then(|l| l.items.get_mut(index)) {
            item.policed = true;
        }
    }

    /// A relation without tenants in it. It is named with its schema, in case that the statement is printed.
    fn keep(&mut self, item: &mut Node, written: &RangeVar, found: &'p Relation, shared: bool) {
        self.add_relation(written, found, shared, None);
        // A temporary table comes before it under its bare name.
        self.rewritten |= self.policy.names == Names::Temporary && !relations::is_system(found);
        // In the schema layout a tenant's own table of that name, made a moment ago, stands before a shared one.
        let own_first = written.schemaname.is_empty() && matches!(self.mode, Mode::Schema(_));
        if !own_first || relations::is_system(found) {
            qualify(item, &found.name);
        }
    }

    fn masked(&mut self, item: &mut Node, written: &RangeVar, found: &'p Relation, mask: &Mask) -> Result<(), Refusal> {
        if matches!(item.node, Some(NodeEnum::RangeTableSample(_))) {
            return Err(unsupported("TABLESAMPLE on a system relation"));
        }
        self.add_relation_wrapped(written, found, None, true);
        let text = mask.subquery(found, self.tableoid);
        let query = parse::reparse(&text).ok().and_then(|mut stmts| stmts.pop()?.stmt?.node);
        let Some(NodeEnum::SelectStmt(mut query)) = query else {
            return Err(unsupported(format_args!("relation \"{}\"", found.name)));
        };
        if mask.rows.is_some() {
            query.limit_offset = Some(Box::new(tree::integer(0)));
            query.limit_option = pg_query::protobuf::LimitOption::Count.into();
        }
        *item = tree::subselect(*query, alias_of(written), false);
        self.rewritten = true;
        self.note(format!("{}: only the columns and rows that tell nothing of others", found.name));
        Ok(())
    }

    /// A tenant relation: kept, with its predicate in the WHERE or ON around it, or wrapped with its predicate inside.
    fn tenant(
        &mut self,
        item: &mut Node,
        written: &RangeVar,
        table: &'p TenantTable,
        found: &'p Relation,
        place: Place,
        pending: &mut Vec<usize>,
    ) -> Result<(), Refusal> {
        self.met_tenant();
        self.rewritten = true;
        let guard = self.guard_for(written, table, found)?;
        let aliased_columns = written.alias.as_ref().is_some_and(|a| !a.colnames.is_empty());
        qualify(item, &found.name);
        let outside = outside_guard(written, found, guard.clone());
        if place == Place::Outside && !aliased_columns {
            self.note(format!("{}: the tenant's predicate in WHERE or ON", found.name));
            let index = self.add_relation(written, found, false, Some(guard));
            pending.push(index);
            return Ok(());
        }
        let alias = alias_of(written);
        let inner = Guard { prefix: vec![found.name.schema.clone(), found.name.name.clone()], ..guard.clone() };
        let targets = found
            .columns
            .iter()
            .map(|c| tree::target("", Some(tree::column(std::slice::from_ref(&found.name.name), &c.name))))
            .collect();
        let lateral = matches!(item.node, Some(NodeEnum::RangeTableSample(_)));
        strip_alias(item);
        let condition = Some(self.predicate(&inner)?).filter(|_| !planted(Fault::Inside));
        // A guard that cannot be named outside: nothing may be pushed inside.
        let fenced = place == Place::Fenced || outside.is_none();
        let query = tree::select(targets, std::mem::take(item), condition, fenced);
        *item = tree::subselect(query, alias, lateral);
        self.note(format!("{}: behind a subquery with the tenant's predicate", found.name));
        self.add_relation_wrapped(written, found, outside.filter(|_| !fenced), fenced);
        Ok(())
    }

    /// A wrapped relation: `schema.table.column` does not reach it any more, and is shortened.
    fn add_relation_wrapped(
        &mut self,
        written: &RangeVar,
        found: &'p Relation,
        guard: Option<Guard<'p>>,
        private: bool,
    ) {
        let index = self.add_relation(written, found, false, guard);
        if let Some(item) = self.levels.last_mut().and_then(|l| l.items.get_mut(index)) {
            item.lost_schema = item.schema.take();
            item.wrapped = true;
            item.private = private;
        }
    }

    /// The predicate's parts for a tenant relation as it is named at this place.
    pub(in crate::guard::rewrite) fn guard_for(
        &mut self,
        written: &RangeVar,
        table: &'p TenantTable,
        found: &Relation,
    ) -> Result<Guard<'p>, Refusal> {
        if found.column(&table.column).is_none() {
            return Err(unsupported(format_args!("relation \"{}\" without its tenant column", found.name)));
        }
        if written.alias.as_ref().is_some_and(|alias| is_name_of_parent(&alias.aliasname)) {
            return Err(unsupported("an alias of pgwarden's own"));
        }
        let prefix = match &written.alias {
            Some(alias) => vec![alias.aliasname.clone()],
            // An unaliased table is named in full: no other item can be meant.
            None => vec![found.name.schema.clone(), found.name.name.clone()],
        };
        let reads = !self.locking.has(&alias_of(written).aliasname);
        Ok(Guard { prefix, column: table.column.clone(), table, reads })
    }

    /// Remembers that a tenant relation stands in the query being walked.
    pub(in crate::guard::rewrite) fn met_tenant(&mut self) {
        self.met.tenant = true;
        self.met.private = true;
    }

    fn subselect(&mut self, sub: &mut RangeSubselect, place: Place) -> Result<(), Refusal> {
        let RangeSubselect { lateral: _, subquery, alias } = sub;
        let Some(query) = subquery.as_deref_mut() else { return Err(unsupported("this subquery")) };
        let leaf = self.leaf();
        let locked = alias.as_ref().map_or(self.locking != Locking::None, |alias| self.locking.has(&alias.aliasname));
        let mut shape = self.query_locked(query, if locked { Locking::All } else { Locking::None })?;
        shape.outputs = renamed(shape.outputs, &alias_columns(alias.as_ref()));
        let fence = if shape.tenant { Fence::Leaf(leaf) } else { Fence::None };
        if place == Place::Fenced
            && shape.tenant
            && let Some(level) = self.levels.last_mut()
        {
            level.fenced.insert(leaf);
        }
        self.add(Item {
            fence,
            shared: shape.shared,
            private: shape.private,
            looks_at: shape.looks_at.clone(),
            merges: Merges::Leaf(leaf),
            source: Source::Query(shape),
            ..Item::unknown(alias.as_ref().map(|a| a.aliasname.clone()))
        });
        Ok(())
    }
}

/// The name by which a relation's columns are referred to, with its column list.
pub(in crate::guard::rewrite) fn alias_of(relation: &RangeVar) -> Alias {
    relation.alias.clone().unwrap_or_else(|| Alias { aliasname: relation.relname.clone(), colnames: vec![] })
}

/// Puts the schema before the relation's name. An unaliased relation keeps the name that columns refer to.
fn qualify(item: &mut Node, name: &QualifiedName) {
    with_relation(item, |relation| {
        relation.schemaname.clone_from(&name.schema);
        relation.relname.clone_from(&name.name);
    });
}

fn strip_alias(item: &mut Node) {
    with_relation(item, |relation| relation.alias = None);
}

fn with_relation(item: &mut Node, edit: impl FnOnce(&mut RangeVar)) {
    if let Some(NodeEnum::RangeVar(relation)) = item.node.as_mut() {
        edit(relation);
    } else if let Some(NodeEnum::RangeTableSample(sample)) = item.node.as_mut()
        && let Some(inner) = sample.relation.as_deref_mut()
    {
        with_relation(inner, edit);
    }
}

/// The guard as conditions outside of the subquery can name it; `None` if the alias gives its column's name twice.
fn outside_guard<'p>(written: &RangeVar, found: &Relation, guard: Guard<'p>) -> Option<Guard<'p>> {
    let renamed = alias_columns(written.alias.as_ref());
    let at = found.columns.iter().position(|c| c.name == guard.column)?;
    let visible: Vec<&str> =
        found.columns.iter().enumerate().map(|(i, c)| renamed.get(i).unwrap_or(&c.name).as_str()).collect();
    let name = *visible.get(at)?;
    let once = visible.iter().filter(|v| **v == name).count() == 1;
    once.then(|| Guard {
        prefix: vec![alias_of(written).aliasname],
        column: name.to_owned(),
        table: guard.table,
        reads: guard.reads,
    })
}
