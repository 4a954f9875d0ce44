//! Views that no rule names and that read nothing without one. To name such a view is to write out its query: each table in it is
//! then guarded as if the client had named it.

use std::collections::{HashMap, HashSet};

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::PolicyInput;
use super::rules::{is_own, is_system_schema};
use crate::base::{Oid, QualifiedName};
use crate::catalog::{Catalog, RelKind, Relation, View};
use crate::guard::{TableRule, ViewQuery};
use crate::sql::parse;
use crate::sql::walk::{Part, Walk};

/// Longer ones are not written out.
const QUERY_MAX: usize = 64 << 10;

/// The views of the shared layout that stand for their queries.
pub(super) fn standing_for_queries(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    tables: &HashMap<QualifiedName, TableRule>,
    search_path: &[String],
) -> HashMap<QualifiedName, ViewQuery> {
    // A name without a schema in a view's query is the system's.
    if search_path.iter().skip(1).any(|schema| schema == "pg_catalog") {
        return HashMap::new();
    }
    let by_oid: HashMap<Oid, &Relation> = catalog.relations.values().map(|it| (it.oid, it)).collect();
    let names = Names { catalog, search_path };
    let mut open: Vec<(&Relation, &View)> = candidates(input, catalog).collect();
    let mut found = HashMap::new();
    // Those first that read no other view.
    loop {
        let before = open.len();
        open.retain(|(relation, view)| {
            let reads = catalog.reads.get(&relation.oid).map(Vec::as_slice).unwrap_or_default();
            let mut read = reads.iter().map(|oid| by_oid.get(oid));
            let ready = read.all(|it| {
                it.is_some_and(|it| {
                    found.contains_key(&it.name)
                        || (tables.contains_key(&it.name) && shows_the_same(input, relation, it))
                })
            });
            if ready && let Some(query) = names.query(view) {
                found.insert(relation.name.clone(), query);
            }
            !ready
        });
        if open.len() == before {
            return found;
        }
    }
}

/// Views that the configuration says nothing of.
fn candidates<'c>(input: &PolicyInput<'_>, catalog: &'c Catalog) -> impl Iterator<Item = (&'c Relation, &'c View)> {
    let private = input.private_schemas(catalog);
    let tenancy = input.tenancy;
    let told: HashSet<&QualifiedName> =
        tenancy.tables.keys().chain(&tenancy.shared_tables).chain(&tenancy.own_tables).collect();
    let untold = |name: &QualifiedName| {
        !told.contains(name)
            && !is_own(input, name)
            && !is_system_schema(&name.schema)
            && !private.contains(name.schema.as_str())
    };
    let views = catalog.views.iter().filter(|(name, view)| untold(name) && view.query.len() <= QUERY_MAX);
    let relations = views.filter_map(|(name, view)| Some((catalog.relations.get(name)?, view)));
    let found: Vec<_> = relations.filter(|(it, _)| it.kind == RelKind::View && it.extension.is_none()).collect();
    found.into_iter()
}

/// Whether the upstream's role sees the same rows of a relation as the view's owner: a view reads with the rights of its owner, whom
/// other policies may bind. Those of tenants bind everybody.
fn shows_the_same(input: &PolicyInput<'_>, view: &Relation, read: &Relation) -> bool {
    !read.row_security_active || view.security_invoker || input.enforcement.uses_rls()
}

/// What names mean in a query that was printed with nothing but `pg_catalog` in the search path, and is read with another.
struct Names<'a> {
    catalog: &'a Catalog,
    search_path: &'a [String],
}

impl Names<'_> {
    fn query(&self, view: &View) -> Option<ViewQuery> {
        let text = view.query.trim_end().trim_end_matches(';');
        let bare = parse::with_stack(text.len(), || {
            let statements = parse::reparse(text).ok()?;
            let [statement] = statements.as_slice() else { return None };
            let tree = statement.stmt.as_deref()?;
            let mut bare = Vec::new();
            let is_select = matches!(tree.node, Some(NodeEnum::SelectStmt(_)));
            let means_another = tree.met(&mut |part| self.means_another(part, &mut bare));
            (is_select && !means_another).then_some(bare)
        })?;
        Some(ViewQuery { text: text.to_owned(), bare })
    }

    /// Whether something in a part could be another's; relations without a schema are remembered.
    fn means_another(&self, part: Part<'_>, bare: &mut Vec<String>) -> bool {
        // Other names without a schema are those of its own WITH.
        if let Some(relation) = part.range_var()
            && relation.schemaname.is_empty()
            && self.catalog.relation("pg_catalog", &relation.relname).is_some()
            && !bare.contains(&relation.relname)
        {
            bare.push(relation.relname.clone());
        }
        let other = match part {
            Part::Node(NodeEnum::FuncCall(call)) => self.other_function(&call.funcname),
            Part::Node(NodeEnum::AExpr(e)) => self.other_operator(&e.name),
            Part::Node(NodeEnum::SubLink(link)) => self.other_operator(&link.oper_name),
            Part::Node(NodeEnum::SortBy(sort)) => self.other_operator(&sort.use_op),
            // These compare by an operator that is not printed.
            Part::Node(NodeEnum::JoinExpr(join)) => !join.using_clause.is_empty() && self.other_operator_named("="),
            Part::Node(NodeEnum::CaseExpr(case)) => case.arg.is_some() && self.other_operator_named("="),
            // What a number of these is depends on the session.
            Part::Node(NodeEnum::TypeCast(cast)) => {
                cast.type_name.as_ref().is_some_and(|name| unqualified(&name.names) == Some("money"))
            }
            Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => false,
        };
        other || part.fields(&mut |inner| self.means_another(inner, bare))
    }

    /// Functions of other schemas: one for a type of one's own comes before a polymorphic one. What an extension's types are
    /// given to is printed with its schema.
    fn other_function(&self, name: &[Node]) -> bool {
        let overloads = unqualified(name).and_then(|name| self.catalog.functions.get(name));
        overloads
            .into_iter()
            .flatten()
            .any(|it| self.is_elsewhere(&it.name) && (it.extension.is_none() || self.are_system_types(&it.arg_types)))
    }

    fn other_operator(&self, name: &[Node]) -> bool {
        unqualified(name).is_some_and(|name| self.other_operator_named(name))
    }

    /// Operators of other schemas whose operands could be those.
    fn other_operator_named(&self, name: &str) -> bool {
        self.catalog
            .operators
            .get(name)
            .into_iter()
            .flatten()
            .any(|it| self.is_elsewhere(&it.name) && self.are_system_types(&[it.left, it.right]))
    }

    fn is_elsewhere(&self, name: &QualifiedName) -> bool {
        name.schema != "pg_catalog" && self.search_path.contains(&name.schema)
    }

    /// What the view's own operands are is printed with them (casts that Postgres puts in, too).
    fn are_system_types(&self, types: &[Oid]) -> bool {
        let is_system = |oid: &Oid| self.catalog.types.get(oid).is_none_or(|it| it.name.schema == "pg_catalog");
        types.iter().all(is_system)
    }
}

/// A name without a schema.
fn unqualified(name: &[Node]) -> Option<&str> {
    let [only] = name else { return None };
    let Some(NodeEnum::String(name)) = only.node.as_ref() else { return None };
    Some(&name.sval)
}
