//! Temporary tables: nothing is named by their schema but what can be nothing else, and what defines one holds expressions and
//! queries that the other rules see, and no other relation than one whose columns it copies.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnDef, ConstrType, Constraint, DropStmt, Node, ObjectType, RangeVar, RawStmt};

use super::predicate::Predicates;
use super::scope::Scope;
use super::tree::{nodes, strings};
use super::{Outcome, Verifier};
use crate::guard::policy::{Names, Policy};
use crate::sql::walk::{Part, Walk, kind};

const SCHEMA: &str = "pg_temp";

impl Predicates<'_> {
    /// Every relation that is named by the schema of temporary tables, wherever it stands.
    pub(super) fn check_temporary(&self, statement: &RawStmt) -> Outcome {
        let mut outcome = Ok(());
        let definition = statement.stmt.as_deref().and_then(|it| it.node.as_ref()).is_some_and(makes);
        statement.fields(&mut |part| see(self.policy, part, definition, &mut outcome));
        outcome
    }
}

fn see(policy: &Policy, part: Part<'_>, definition: bool, outcome: &mut Outcome) -> bool {
    if let Some(relation) = part.range_var()
        && relation.schemaname.starts_with(SCHEMA)
    {
        // What makes the first one is read as by a session that has none.
        *outcome = if definition || policy.names == Names::Temporary {
            is_own(policy, relation)
        } else {
            Err(format!("{} is named by a session without temporary tables", relation.relname))
        };
    }
    outcome.is_err() || part.fields(&mut |inner| see(policy, inner, definition, outcome))
}

/// Whether a statement makes a temporary table, or is one on them alone.
fn makes(statement: &NodeEnum) -> bool {
    matches!(statement, NodeEnum::CreateStmt(_) | NodeEnum::CreateTableAsStmt(_))
}

/// A relation that can only be the session's own.
fn is_own(policy: &Policy, relation: &RangeVar) -> Outcome {
    let RangeVar { catalogname, schemaname, relname, inh: _, relpersistence: _, alias: _, location: _ } = relation;
    if !catalogname.is_empty() || schemaname != SCHEMA {
        return Err(format!("{schemaname}.{relname} is not named as a temporary table of the session is"));
    }
    name_is_own(policy, relname)
}

fn name_is_own(policy: &Policy, name: &str) -> Outcome {
    let word = name.to_lowercase();
    let known = policy.catalog.relations.keys().any(|it| it.name == name)
        || policy.catalog.types.values().any(|it| it.name.name == name)
        || policy.catalog.code_words.contains(&word)
        || !policy.catalog.temporary_makers.is_empty();
    if known || word.starts_with("pg_") { Err(format!("{name} may be more than a temporary table")) } else { Ok(()) }
}

impl<'v, 'p> Verifier<'v, 'p> {
    /// A statement on temporary tables besides queries; `None`: it is another one.
    pub(super) fn temporary(&self, statement: &'v NodeEnum, scope: &Scope<'_, 'v, 'p>) -> Option<Outcome> {
        let own = |relation: Option<&RangeVar>| {
            relation.map_or_else(|| Err("a definition without a name".to_owned()), |it| is_own(self.policy, it))
        };
        let outcome = if let NodeEnum::CreateStmt(stmt) = statement {
            let plain = stmt.inh_relations.is_empty()
                && stmt.partbound.is_none()
                && stmt.partspec.is_none()
                && stmt.of_typename.is_none()
                && stmt.constraints.is_empty()
                && stmt.nnconstraints.is_empty()
                && stmt.options.is_empty();
            own(stmt.relation.as_ref())
                .and_then(|()| if plain { Ok(()) } else { Err("a table of another one".to_owned()) })
                .and_then(|()| nodes(&stmt.table_elts).try_for_each(|part| self.part_of_table(part, scope)))
        } else if let NodeEnum::CreateTableAsStmt(stmt) = statement {
            let into = stmt.into.as_deref().filter(|it| it.options.is_empty() && it.view_query.is_none());
            own(into.and_then(|it| it.rel.as_ref()))
                .and_then(
                    |()| if stmt.objtype() == ObjectType::ObjectTable { Ok(()) } else { Err("no table".to_owned()) },
                )
                .and_then(|()| self.walk(&stmt.query, scope))
        } else if let NodeEnum::IndexStmt(stmt) = statement {
            own(stmt.relation.as_ref())
                .and_then(|()| if stmt.idxname.is_empty() { Ok(()) } else { name_is_own(self.policy, &stmt.idxname) })
                .and_then(|()| {
                    self.walk_all(&[&stmt.index_params, &stmt.index_including_params, &stmt.where_clause], scope)
                })
        } else if let NodeEnum::DropStmt(stmt) = statement {
            self.dropped(stmt)
        } else if let NodeEnum::TruncateStmt(stmt) = statement {
            all_own(self.policy, &stmt.relations)
        } else if let NodeEnum::VacuumStmt(stmt) = statement {
            let named = !stmt.is_vacuumcmd && !stmt.rels.is_empty() && stmt.options.is_empty();
            if named {
                all_own(self.policy, &stmt.rels)
            } else {
                Err("VACUUM, or ANALYZE of more than a table".to_owned())
            }
        } else {
            return None;
        };
        Some(outcome)
    }

    fn part_of_table(&self, part: &'v NodeEnum, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        if let NodeEnum::ColumnDef(column) = part {
            let ColumnDef { type_name, raw_default, constraints, coll_clause, .. } = &**column;
            self.walk_all(&[type_name, raw_default, coll_clause], scope)?;
            return nodes(constraints).try_for_each(|it| self.part_of_table(it, scope));
        }
        if let NodeEnum::Constraint(constraint) = part {
            let Constraint { raw_expr, pktable, exclusions, conname, .. } = &**constraint;
            let named = matches!(constraint.contype(), ConstrType::ConstrPrimary | ConstrType::ConstrUnique);
            if named && !conname.is_empty() {
                name_is_own(self.policy, conname)?;
            }
            if pktable.is_some() || !exclusions.is_empty() || constraint.contype() == ConstrType::ConstrForeign {
                return Err("a constraint that leads to another table".to_owned());
            }
            return self.walk(raw_expr, scope);
        }
        // The names and types of its columns are no secret.
        if let NodeEnum::TableLikeClause(_) = part {
            return Ok(());
        }
        Err(format!("{} in the definition of a table", kind(part)))
    }

    fn dropped(&self, stmt: &DropStmt) -> Outcome {
        let table = |object: &NodeEnum| {
            let NodeEnum::List(list) = object else { return Err("DROP of no table".to_owned()) };
            match strings(&list.items).as_deref() {
                Some([SCHEMA, name]) => name_is_own(self.policy, name),
                Some(_) | None => Err("DROP of more than temporary tables".to_owned()),
            }
        };
        if stmt.remove_type() != ObjectType::ObjectTable || stmt.objects.is_empty() {
            return Err("DROP of something else than temporary tables".to_owned());
        }
        nodes(&stmt.objects).try_for_each(table)
    }
}

fn all_own(policy: &Policy, relations: &[Node]) -> Outcome {
    let one = |node: &NodeEnum| {
        let relation = if let NodeEnum::VacuumRelation(of) = node {
            of.relation.as_ref()
        } else if let NodeEnum::RangeVar(relation) = node {
            Some(relation)
        } else {
            None
        };
        relation.map_or_else(|| Err("a relation without a name".to_owned()), |it| is_own(policy, it))
    };
    if relations.is_empty() { Err("no relation".to_owned()) } else { nodes(relations).try_for_each(one) }
}
