//! Advisory locks: a key space for each tenant.
//!
//! Keys are one space for all of a database. So the key that the server gets is a hash of the tenant's own key and the number
//! (or two numbers) that the client gives, 64 bits of SHA-256: nobody finds a number that meets another's.
//!
//! Locks stand in a table of fixed size that all sessions share. So only statements that take as many as their text has calls
//! may take any: a SELECT of values, without FROM, and without functions that may give rows.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, SelectStmt, SetOperation, TypeName};

use super::{Rewriter, tree, unsupported};
use crate::base::oid::TEXT;
use crate::base::{Arity, Mode, Refusal};
use crate::guard::channels::lock_space;
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::functions::LockCall;
use crate::guard::{Effect, TenantSlot};
use crate::sql::walk::{Part, Walk};

/// Functions that give one value, which keys are made by.
const SINGLE: &[&str] = &[
    "abs",
    "btrim",
    "concat",
    "convert_to",
    "date_part",
    "decode",
    "digest",
    "encode",
    "extract",
    "format",
    "hashbigint",
    "hashint4",
    "hashint4extended",
    "hashint8",
    "hashint8extended",
    "hashtext",
    "hashtextextended",
    "int4send",
    "int8send",
    "left",
    "length",
    "lower",
    "lpad",
    "md5",
    "mod",
    "now",
    "overlay",
    "replace",
    "right",
    "sha256",
    "substr",
    "substring",
    "upper",
    "uuid_hash",
    "uuid_hash_extended",
];

impl Rewriter<'_> {
    /// Puts the tenant's key into the key of a lock.
    pub(super) fn lock(&mut self, call: &mut FuncCall, which: LockCall) -> Result<(), Refusal> {
        // Printed, so that the verifier sees it.
        self.rewritten = true;
        if call.func_variadic || planted(Fault::LockKeys) {
            return Ok(());
        }
        let numbers = match call.args.as_slice() {
            [_] => ["int8send"].as_slice(),
            [_, _] => ["int4send", "int4send"].as_slice(),
            // There is no such function: the server says so.
            [] | [_, _, _, ..] => return Ok(()),
        };
        let space = match self.mode {
            Mode::Schema(own) => tree::text(&lock_space(own, numbers.len())),
            Mode::Shared | Mode::Reader | Mode::Database | Mode::Operator => {
                let tag = if numbers.len() == 1 { ":1:" } else { ":2:" };
                let slot = self.slot_for(TenantSlot {
                    key: None,
                    arity: Arity::One,
                    type_oid: TEXT,
                    type_name: "pg_catalog.text".into(),
                })?;
                tree::system_operator(tree::param(self.param_number(slot)), "||", tree::text(tag))
            }
        };
        let mut bytes = system("convert_to", vec![space, tree::text("UTF8")]);
        for (number, send) in std::mem::take(&mut call.args).into_iter().zip(numbers) {
            bytes = tree::system_operator(bytes, "||", system(send, vec![number]));
        }
        let head = system("substr", vec![system("sha256", vec![bytes]), tree::integer(1), tree::integer(8)]);
        let hex = system("encode", vec![head, tree::text("hex")]);
        let digits = tree::system_operator(tree::text("x"), "||", hex);
        let bits = TypeName { typmods: vec![tree::integer(64)], ..tree::system_type("bit") };
        call.args = vec![tree::cast(tree::cast(digits, bits), tree::system_type("int8"))];
        self.note("advisory locks: a key space of the tenant's own");
        if which == LockCall::Take {
            self.locks = self.locks.saturating_add(1);
        }
        Ok(())
    }

    /// Whether advisory locks are each tenant's own: where tenants share a database.
    pub(super) fn owns_locks(&self) -> bool {
        matches!(self.mode, Mode::Shared | Mode::Schema(_))
    }

    /// The statement takes as many locks as it has calls.
    pub(super) fn check_locks(&mut self, statement: &Node) -> Result<(), Refusal> {
        if self.locks == 0 || !self.guarding() {
            return Ok(());
        }
        if !is_of_values(statement) {
            return Err(unsupported("an advisory lock in a query over rows").hint(
                "Take advisory locks in a SELECT of their own without FROM, one for each key: a query over rows could fill \
                 the table of locks that all tenants share. Or lock rows: SELECT ... FOR UPDATE SKIP LOCKED.",
            ));
        }
        self.effect(Effect::Locks(self.locks));
        Ok(())
    }
}

fn system(name: &str, args: Vec<Node>) -> Node {
    tree::node(NodeEnum::FuncCall(Box::new(tree::system_call(name, args))))
}

/// `SELECT values`: nothing in it is run more than once.
fn is_of_values(statement: &Node) -> bool {
    let Some(NodeEnum::SelectStmt(select)) = statement.node.as_ref() else { return false };
    let SelectStmt { from_clause, with_clause, values_lists, group_clause, window_clause, .. } = select.as_ref();
    let bare = from_clause.is_empty()
        && with_clause.is_none()
        && values_lists.is_empty()
        && group_clause.is_empty()
        && window_clause.is_empty()
        && select.op() == SetOperation::SetopNone;
    bare && !select.fields(&mut |part| has_rows(part))
}

/// Whether a query stands in it, or a call that may give rows.
fn has_rows(part: Part<'_>) -> bool {
    match part {
        Part::Select(_) | Part::RangeVar(_) => true,
        Part::Node(NodeEnum::SelectStmt(_) | NodeEnum::SubLink(_)) => true,
        Part::Node(NodeEnum::FuncCall(call)) if !is_single(call) => true,
        Part::Node(node) => node.fields(&mut |inner| has_rows(inner)),
    }
}

fn is_single(call: &FuncCall) -> bool {
    let bare = call.funcname.last().and_then(tree::as_string).unwrap_or_default();
    SINGLE.contains(&bare) || LockCall::of(bare).is_some()
}
