//! Walks FROM: finds out what each item is, which predicate it needs and where that predicate must stand.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, ColumnDef, JoinExpr, JoinType, List, Node, RangeFunction, RangeSubselect, RangeTableFunc, RangeTableFuncCol,
    RangeTableSample, RangeVar,
};

use super::outputs::{alias_columns, renamed};
use super::scope::{self, Fence, Guard, Item, Refs, Shape, Source};
use super::tree::{self, as_string};
use super::{Rewriter, unsupported};
use crate::catalog::{QualifiedName, Relation};
use crate::guard::gate::relations::{Mask, Resolved};
use crate::guard::{Refusal, TenantTable, parse};

/// Where an item's predicate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
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
    pub(super) fn item_of_from(
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
            Some(other) => Err(unsupported(super::outputs::construct(other))),
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
    pub(super) fn add_unknown(&mut self, relation: &RangeVar) {
        self.other(Some(&alias_of(relation)), Refs::default());
    }

    /// The relation under a TABLESAMPLE, its arguments walked.
    fn sample(&mut self, sample: &mut RangeTableSample) -> Result<RangeVar, Refusal> {
        let RangeTableSample { relation, method, args, repeatable, location: _ } = sample;
        let names: Vec<&str> = method.iter().filter_map(as_string).collect();
        match names.as_slice() {
            ["system" | "bernoulli"] | ["pg_catalog", "system" | "bernoulli"] => {}
            _ if !self.guarding() => {}
            _ => return Err(unsupported("a sampling method other than SYSTEM and BERNOULLI")),
        }
        self.exprs(args)?;
        self.maybe(repeatable)?;
        match relation.as_deref().and_then(|r| r.node.as_ref()) {
            Some(NodeEnum::RangeVar(relation)) => Ok(relation.clone()),
            _ => Err(unsupported("TABLESAMPLE on this")),
        }
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
        match self.resolve(relation)? {
            Resolved::Tenant(table, found) => self.tenant(item, relation, table, found, place, pending),
            Resolved::Shared(found) => {
                self.keep(item, relation, found, true);
                Ok(())
            }
            Resolved::System(found, None) => {
                self.keep(item, relation, found, false);
                Ok(())
            }
            Resolved::System(found, Some(mask)) => self.masked(item, relation, found, &mask),
            Resolved::Free(Some(found)) => {
                self.add_relation(relation, found, false, None);
                Ok(())
            }
            Resolved::Free(None) => {
                self.other(Some(&alias_of(relation)), Refs::default());
                Ok(())
            }
        }
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
        self.met_tenant |= shape.tenant;
        shape.outputs = renamed(shape.outputs, &alias_columns(relation.alias.as_ref()));
        self.add(Item {
            fence: if shape.tenant { Fence::Cte(frame, index) } else { Fence::None },
            looks_at: shape.looks_at.clone(),
            source: Source::Query(shape),
            ..Item::unknown(Some(alias_of(relation).aliasname))
        });
    }

    pub(super) fn add_relation(
        &mut self,
        written: &RangeVar,
        found: &'p Relation,
        shared: bool,
        guard: Option<Guard>,
    ) -> usize {
        self.leaf();
        self.met_shared |= shared;
        self.add(Item {
            schema: written.alias.is_none().then(|| found.name.schema.clone()),
            source: Source::Relation { relation: found, renamed: alias_columns(written.alias.as_ref()) },
            guard,
            shared,
            ..Item::unknown(Some(alias_of(written).aliasname))
        })
    }

    /// A relation without tenants in it. It is named with its schema, in case that the statement is printed.
    fn keep(&mut self, item: &mut Node, written: &RangeVar, found: &'p Relation, shared: bool) {
        self.add_relation(written, found, shared, None);
        qualify(item, &found.name);
    }

    fn masked(&mut self, item: &mut Node, written: &RangeVar, found: &'p Relation, mask: &Mask) -> Result<(), Refusal> {
        if matches!(item.node, Some(NodeEnum::RangeTableSample(_))) {
            return Err(unsupported("TABLESAMPLE on a system relation"));
        }
        self.add_relation_wrapped(written, found, None);
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
        self.met_tenant = true;
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
        let condition = super::guard::predicate(&inner);
        // A guard that cannot be named outside: nothing may be pushed inside.
        let fenced = place == Place::Fenced || outside.is_none();
        let query = tree::select(targets, std::mem::take(item), Some(condition), fenced);
        *item = tree::subselect(query, alias, lateral);
        self.wrapped = true;
        self.note(format!("{}: behind a subquery with the tenant's predicate", found.name));
        self.add_relation_wrapped(written, found, outside.filter(|_| !fenced));
        Ok(())
    }

    /// A wrapped relation: `schema.table.column` does not reach it any more, and is shortened.
    fn add_relation_wrapped(&mut self, written: &RangeVar, found: &'p Relation, guard: Option<Guard>) {
        let index = self.add_relation(written, found, false, guard);
        if let Some(item) = self.levels.last_mut().and_then(|l| l.items.get_mut(index)) {
            item.lost_schema = item.schema.take();
        }
    }

    /// The predicate's parts for a tenant relation as it is named at this place.
    pub(super) fn guard_for(
        &mut self,
        written: &RangeVar,
        table: &TenantTable,
        found: &Relation,
    ) -> Result<Guard, Refusal> {
        if found.column(&table.column).is_none() {
            return Err(unsupported(format_args!("relation \"{}\" without its tenant column", found.name)));
        }
        let slot = self.tenant_slot(table)?;
        let prefix = match &written.alias {
            Some(alias) => vec![alias.aliasname.clone()],
            // An unaliased table is named in full: no other item can be meant.
            None => vec![found.name.schema.clone(), found.name.name.clone()],
        };
        Ok(Guard { prefix, column: table.column.clone(), param: self.param_number(slot) })
    }

    fn join(&mut self, join: &mut JoinExpr, place: Place, pending: &mut Vec<usize>) -> Result<(), Refusal> {
        let kind = join.jointype();
        let JoinExpr { jointype: _, is_natural, larg, rarg, using_clause, join_using_alias, quals, alias, rtindex: _ } =
            join;
        let (Some(left), Some(right)) = (larg.as_deref_mut(), rarg.as_deref_mut()) else {
            return Err(unsupported("this join"));
        };
        let merged = *is_natural || !using_clause.is_empty();
        let inner_place = if alias.is_some() { Place::Fenced } else { place };
        let (left_place, right_place) = match kind {
            JoinType::JoinInner => (inner_place, inner_place),
            JoinType::JoinLeft => (inner_place, inner_place.nullable_side(!merged)),
            JoinType::JoinRight => (inner_place.nullable_side(!merged), inner_place),
            JoinType::JoinFull => (inner_place.both_sides(), inner_place.both_sides()),
            JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner => return Err(unsupported("this kind of join")),
        };
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        let start = self.items_here();
        self.item_of_from(left, left_place, &mut of_left)?;
        let middle = self.items_here();
        self.item_of_from(right, right_place, &mut of_right)?;
        let end = self.items_here();
        if merged && let Some(level) = self.levels.last_mut() {
            level.merged = true;
        }
        let here: Vec<usize> = match kind {
            JoinType::JoinLeft => std::mem::take(&mut of_right),
            JoinType::JoinRight => std::mem::take(&mut of_left),
            _inner_or_full => Vec::new(),
        };
        if quals.is_some() || !here.is_empty() {
            let on = quals.take();
            *quals = match kind {
                JoinType::JoinFull => self.full_join_condition(on)?,
                _pushed_down => self.conditions(on, &here)?,
            };
        }
        match kind {
            JoinType::JoinLeft => self.made_nullable(middle..end),
            JoinType::JoinRight => self.made_nullable(start..middle),
            JoinType::JoinFull => self.made_nullable(start..end),
            _inner => {}
        }
        pending.append(&mut of_left);
        pending.append(&mut of_right);
        if let Some(alias) = join_using_alias {
            let looks_at = self.all_since(start);
            self.add(Item { looks_at, ..Item::unknown(Some(alias.aliasname.clone())) });
        }
        if let Some(alias) = alias.clone() {
            self.hide(start, &alias);
        }
        Ok(())
    }

    fn items_here(&self) -> usize {
        self.levels.last().map_or(0, |l| l.items.len())
    }

    fn made_nullable(&mut self, items: std::ops::Range<usize>) {
        let level = self.levels.last_mut();
        let here = level.and_then(|l| l.items.get_mut(items));
        here.into_iter().flatten().for_each(|item| item.nullable = true);
    }

    /// All items of this level from `start` on, and what they look at.
    fn all_since(&self, start: usize) -> Refs {
        let mut refs = Refs::default();
        let level = self.levels.len().saturating_sub(1);
        for (i, item) in self.levels.last().into_iter().flat_map(|l| l.items.iter().enumerate().skip(start)) {
            refs.items.insert((level, i));
            refs.absorb(&item.looks_at);
        }
        refs
    }

    /// An alias over a join hides the names in it. What it hides stands fenced, and loses its guards, which no condition
    /// outside could name.
    fn hide(&mut self, start: usize, alias: &Alias) {
        let looks_at = self.all_since(start);
        let Some(level) = self.levels.last_mut() else { return };
        level.merged = true;
        for item in level.items.iter_mut().skip(start) {
            item.name = None;
            item.schema = None;
            item.guard = None;
            item.source = Source::Hidden;
        }
        self.add(Item { looks_at, ..Item::unknown(Some(alias.aliasname.clone())) });
    }

    fn subselect(&mut self, sub: &mut RangeSubselect, place: Place) -> Result<(), Refusal> {
        let RangeSubselect { lateral: _, subquery, alias } = sub;
        let Some(query) = subquery.as_deref_mut() else { return Err(unsupported("this subquery")) };
        let leaf = self.leaf();
        let mut shape = self.any_query(query)?;
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
            looks_at: shape.looks_at.clone(),
            source: Source::Query(shape),
            ..Item::unknown(alias.as_ref().map(|a| a.aliasname.clone()))
        });
        Ok(())
    }

    fn function(&mut self, function: &mut RangeFunction) -> Result<(), Refusal> {
        let refs = self.looking_at(|this| this.function_parts(function))?;
        let alias = function.alias.clone().or_else(|| function_name(function));
        self.other(alias.as_ref(), refs);
        Ok(())
    }

    fn function_parts(&mut self, function: &mut RangeFunction) -> Result<(), Refusal> {
        let RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias: _, coldeflist } = function;
        for entry in functions {
            let Some(NodeEnum::List(List { items })) = entry.node.as_mut() else {
                return Err(unsupported("this function in FROM"));
            };
            let Some((call, definitions)) = items.split_first_mut() else {
                return Err(unsupported("this function in FROM"));
            };
            self.expr(call)?;
            for definition in definitions {
                match definition.node.as_mut() {
                    None => {}
                    Some(NodeEnum::List(List { items })) => self.column_definitions(items)?,
                    Some(other) => return Err(unsupported(super::outputs::construct(other))),
                }
            }
        }
        self.column_definitions(coldeflist)
    }

    fn column_definitions(&mut self, definitions: &mut [Node]) -> Result<(), Refusal> {
        for definition in definitions {
            let Some(NodeEnum::ColumnDef(definition)) = definition.node.as_mut() else {
                return Err(unsupported("this column definition"));
            };
            let ColumnDef {
                colname: _,
                type_name,
                compression: _,
                inhcount: _,
                is_local: _,
                is_not_null: _,
                is_from_type: _,
                storage: _,
                storage_name: _,
                raw_default,
                cooked_default,
                identity: _,
                identity_sequence,
                generated: _,
                coll_clause: _,
                coll_oid: _,
                constraints,
                fdwoptions,
                location: _,
            } = definition.as_mut();
            let more = raw_default.is_some()
                || cooked_default.is_some()
                || identity_sequence.is_some()
                || !constraints.is_empty()
                || !fdwoptions.is_empty();
            if more {
                return Err(unsupported("this column definition"));
            }
            self.type_name(type_name)?;
        }
        Ok(())
    }

    fn table_function(&mut self, table: &mut RangeTableFunc) -> Result<(), Refusal> {
        let refs = self.looking_at(|this| this.table_function_parts(table))?;
        self.other(table.alias.as_ref(), refs);
        Ok(())
    }

    fn table_function_parts(&mut self, table: &mut RangeTableFunc) -> Result<(), Refusal> {
        let RangeTableFunc { lateral: _, docexpr, rowexpr, namespaces, columns, alias: _, location: _ } = table;
        self.maybe(docexpr)?;
        self.maybe(rowexpr)?;
        self.exprs(namespaces)?;
        for column in columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = column.node.as_mut() else {
                return Err(unsupported("this XMLTABLE column"));
            };
            let RangeTableFuncCol {
                colname: _,
                type_name,
                for_ordinality: _,
                is_not_null: _,
                colexpr,
                coldefexpr,
                location: _,
            } = column.as_mut();
            self.type_name(type_name)?;
            self.maybe(colexpr)?;
            self.maybe(coldefexpr)?;
        }
        Ok(())
    }
}

/// The name by which a relation's columns are referred to, with its column list.
pub(super) fn alias_of(relation: &RangeVar) -> Alias {
    relation.alias.clone().unwrap_or_else(|| Alias { aliasname: relation.relname.clone(), colnames: vec![] })
}

/// A single function in FROM without an alias goes by its own name.
fn function_name(function: &RangeFunction) -> Option<Alias> {
    let [entry] = function.functions.as_slice() else { return None };
    let Some(NodeEnum::List(List { items })) = entry.node.as_ref() else { return None };
    match items.first()?.node.as_ref()? {
        NodeEnum::FuncCall(call) => {
            let aliasname = as_string(call.funcname.last()?)?.to_owned();
            Some(Alias { aliasname, colnames: vec![] })
        }
        _ => None,
    }
}

/// Puts the schema before the relation's name. An unaliased relation keeps the name that columns refer to.
pub(super) fn qualify(item: &mut Node, name: &QualifiedName) {
    with_relation(item, |relation| {
        relation.schemaname.clone_from(&name.schema);
        relation.relname.clone_from(&name.name);
    });
}

fn strip_alias(item: &mut Node) {
    with_relation(item, |relation| relation.alias = None);
}

fn with_relation(item: &mut Node, edit: impl FnOnce(&mut RangeVar)) {
    match item.node.as_mut() {
        Some(NodeEnum::RangeVar(relation)) => edit(relation),
        Some(NodeEnum::RangeTableSample(sample)) => {
            if let Some(inner) = sample.relation.as_deref_mut() {
                with_relation(inner, edit);
            }
        }
        _neither => {}
    }
}

/// The guard as conditions outside of the subquery can name it; `None` if the alias gives its column's name twice.
fn outside_guard(written: &RangeVar, found: &Relation, guard: Guard) -> Option<Guard> {
    let renamed = alias_columns(written.alias.as_ref());
    let at = found.columns.iter().position(|c| c.name == guard.column)?;
    let visible: Vec<&str> =
        found.columns.iter().enumerate().map(|(i, c)| renamed.get(i).unwrap_or(&c.name).as_str()).collect();
    let name = *visible.get(at)?;
    let once = visible.iter().filter(|v| **v == name).count() == 1;
    once.then(|| Guard { prefix: vec![alias_of(written).aliasname], column: name.to_owned(), param: guard.param })
}
