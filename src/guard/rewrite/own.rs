//! Queries in a database of the tenant's own, and an operator's: what is in them is their business, and goes out as it was written.
//! Only what would leave the database is looked for, in every field of the tree; what is found is for the rewriter, which tells
//! a name in WITH from a relation's, masks what the server shares, and refuses the rest.

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::Rewriter;
use super::tree::as_string;
use crate::base::Mode;
use crate::guard::Effect;
use crate::guard::gate::functions::{self, Before};
use crate::guard::gate::relations::{self, Resolved};
use crate::sql::walk::{Part, Walk};

/// What a query does besides reading and writing its database.
#[derive(Default)]
struct Found {
    effects: Vec<Effect>,
    touches_data: bool,
}

impl Rewriter<'_> {
    /// Whether a query or expression is nobody else's business.
    pub(super) fn is_own_business(&mut self, part: &Node) -> bool {
        match self.mode {
            Mode::Database | Mode::Operator => {}
            Mode::Shared | Mode::Reader | Mode::Schema(_) => return false,
        }
        let mut found = Found::default();
        if part.fields(&mut |part| self.is_for_rewriter(part, &mut found)) {
            return false;
        }
        if matches!(part.node, Some(NodeEnum::InsertStmt(_) | NodeEnum::MergeStmt(_))) {
            found.effects.push(Effect::Draws);
        }
        found.effects.into_iter().for_each(|effect| self.effect(effect));
        if found.touches_data {
            self.touches_data.set(true);
        }
        true
    }

    /// Whether something here must be masked or refused, or may have to be.
    fn is_for_rewriter(&self, part: Part<'_>, found: &mut Found) -> bool {
        if let Some(relation) = part.range_var() {
            let names = (&relation.catalogname, &relation.schemaname, &relation.relname);
            match relations::resolve(self.policy, self.mode, names.0, names.1, names.2) {
                Ok(Resolved::System(_, None)) => {}
                Ok(Resolved::Free(relation)) => found.touches_data |= !relation.is_some_and(relations::is_system),
                Ok(
                    Resolved::System(_, Some(_))
                    | Resolved::Tenant(..)
                    | Resolved::Policed(..)
                    | Resolved::Shared(..)
                    | Resolved::Temporary
                    | Resolved::Own(_),
                )
                | Err(_) => return true,
            }
        }
        if let Part::Node(node) = part {
            if self.calls_beyond(node, found) {
                return true;
            }
            if let NodeEnum::InsertStmt(insert) = node
                && self.draws(insert.relation.as_ref())
            {
                found.effects.push(Effect::Draws);
            } else if let NodeEnum::MergeStmt(merge) = node
                && self.draws(merge.relation.as_ref())
            {
                found.effects.push(Effect::Draws);
            }
        }
        part.fields(&mut |inner| self.is_for_rewriter(inner, found))
    }

    /// Whether a call, or a column that may be one, reaches beyond the database.
    fn calls_beyond(&self, node: &NodeEnum, found: &mut Found) -> bool {
        if let NodeEnum::FuncCall(call) = node {
            found.touches_data |= functions::may_touch_data(self.policy, &call.funcname);
            return match functions::check(self.policy, self.mode, &call.funcname, &call.args) {
                Ok(effects) => {
                    found.effects.extend(effects);
                    false
                }
                Err(_) => true,
            };
        }
        let mut may_be_field = |names: &[Node]| {
            names.iter().filter_map(as_string).any(|name| {
                match functions::check_field(self.policy, self.mode, Before::Value, name) {
                    Ok(effects) => found.effects.extend(effects),
                    Err(_) => return true,
                }
                false
            })
        };
        if let NodeEnum::ColumnRef(column) = node {
            may_be_field(&column.fields)
        } else if let NodeEnum::AIndirection(fields) = node {
            may_be_field(&fields.indirection)
        } else if let NodeEnum::ResTarget(target) = node {
            may_be_field(&target.indirection)
        } else {
            false
        }
    }
}
