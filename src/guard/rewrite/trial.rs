//! Trials: conditions without columns that stand beside a client's condition and are evaluated once, before any row is read.
//!
//! Postgres folds one whose parts it knows when it plans, before it estimates anything; of others it makes a one-time filter
//! over the whole query level (`pseudoconstant` in initsplan.c). A trial fails where evaluating the client's condition on some
//! row could; else it is true.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{CoalesceExpr, Node};

use super::Rewriter;
use super::equal::shape;
use super::tree::{self, system_call, system_operator};
use crate::guard::facts::Trial;
use crate::guard::fault::{Fault, planted};

/// Where the trials of conditions are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Once, before any row is read: in WHERE, and in the ON of an inner join.
    Once,
    /// When the planner folds them.
    Folded,
}

/// What is tried.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) kind: Trial,
    pub(super) operand: Node,
}

impl Rewriter<'_> {
    /// Adds the trials of a level's conditions, each once.
    pub(super) fn try_ahead(&mut self, tried: Vec<Tried>, parts: &mut Vec<Node>) {
        if !self.any_at_stake_around() || planted(Fault::Trial) {
            return;
        }
        let mut known = HashSet::new();
        let new = tried.into_iter().filter(|it| known.insert((it.kind, shape(&it.operand))));
        let before = parts.len();
        parts.extend(new.map(Tried::condition));
        if parts.len() > before {
            self.note("what a condition compares with is tried before any row is read");
            self.rewritten = true;
        }
    }
}

impl Tried {
    /// The condition that tries it.
    pub(super) fn condition(self) -> Node {
        match self.kind {
            Trial::Value => tree::case(tree::is_null(self.operand), tree::boolean(true), tree::boolean(true)),
            Trial::Pattern => pattern(self.operand),
            Trial::Query => {
                let query = tree::cast(self.operand, tree::system_type("tsquery"));
                system_operator(at_most_a_thousand(call("numnode", vec![query])), ">", tree::integer(0))
            }
            Trial::Depth => {
                let document = tree::cast(self.operand, tree::system_type("jsonb"));
                let deep = call("jsonb_path_exists", vec![document.clone(), tree::text("$.**{500}")]);
                // Which fails: it is no boolean.
                tree::case(deep, tree::cast(document, tree::system_type("bool")), tree::boolean(true))
            }
        }
    }
}

/// Of a pattern without its pairs of escapes, the last character is no escape, and `%` are counted.
fn pattern(operand: Node) -> Node {
    let text = tree::cast(operand, tree::system_type("text"));
    let text = tree::node(NodeEnum::CoalesceExpr(Box::new(CoalesceExpr {
        xpr: None,
        coalescetype: 0,
        coalescecollid: 0,
        args: vec![text, tree::text("")],
        location: 0,
    })));
    let escape = || call("chr", vec![tree::integer(92)]);
    let pair = call("repeat", vec![escape(), tree::integer(2)]);
    let unpaired = call("replace", vec![text.clone(), pair, tree::text("")]);
    let last = |of: Node| call("right", vec![of, tree::integer(1)]);
    let ends_in_escape = system_operator(last(unpaired), "=", escape());
    // Which is no boolean; made of the pattern, so that the planner does not evaluate it before it knows that.
    let said = tree::text("LIKE pattern must not end with escape character");
    let fails = tree::cast(call("replace", vec![text.clone(), text.clone(), said]), tree::system_type("bool"));
    let length = |of: Node| call("length", vec![of]);
    let without = call("replace", vec![text.clone(), tree::text("%"), tree::text("")]);
    let count = system_operator(length(text), "-", length(without));
    tree::case(ends_in_escape, fails, system_operator(at_most_a_thousand(count), ">=", tree::integer(0)))
}

/// A number, or "smallint out of range".
fn at_most_a_thousand(number: Node) -> Node {
    tree::cast(system_operator(number, "*", tree::integer(30)), tree::system_type("int2"))
}

fn call(name: &str, args: Vec<Node>) -> Node {
    tree::node(NodeEnum::FuncCall(Box::new(system_call(name, args))))
}

/// The text of the condition that tries an operand, for tests of what it lets pass.
#[cfg(test)]
pub(in crate::guard) fn trial_text(kind: Trial, operand: &str) -> String {
    let operand = crate::sql::parse::expression(operand).unwrap();
    crate::sql::parse::deparse(&select_of(Tried { kind, operand }.condition())).unwrap().replacen("SELECT ", "", 1)
}

#[cfg(test)]
fn select_of(value: Node) -> Node {
    let select = pg_query::protobuf::SelectStmt {
        target_list: vec![tree::target("", Some(value))],
        limit_option: pg_query::protobuf::LimitOption::Default.into(),
        op: pg_query::protobuf::SetOperation::SetopNone.into(),
        ..Default::default()
    };
    tree::node(NodeEnum::SelectStmt(Box::new(select)))
}
