//! Trials: what an operand without columns must have passed before a condition with it may stand on rows of others. The text
//! that tries it is given here once more, and must stand beside the condition.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;
use serde_json::Value;

use crate::guard::facts::Trial;
use crate::sql::parse::expression;

/// Where conditions stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Where they may be moved away.
    Nowhere,
    /// Where the planner evaluates a trial if it knows the operand's value, but makes no one-time filter of it.
    Folded,
    /// In WHERE, or in the ON of an inner join.
    Once,
}

/// The conditions that AND joins in one place.
pub(super) struct Beside<'c, 'v> {
    conditions: &'c [&'v NodeEnum],
    held: Held,
    /// What is tried among them, read when it is first asked for.
    tried: OnceCell<HashSet<(Trial, String)>>,
}

impl<'c, 'v> Beside<'c, 'v> {
    pub(super) fn new(conditions: &'c [&'v NodeEnum], held: Held) -> Self {
        Self { conditions, held, tried: OnceCell::new() }
    }

    /// Whether an operand is tried here.
    pub(super) fn tries(&self, trial: Trial, operand: &NodeEnum) -> bool {
        let held = match (self.held, trial) {
            (Held::Once, _) => true,
            (Held::Folded, Trial::Pattern | Trial::Depth) => has_no_parameter(operand),
            (Held::Folded, Trial::Value | Trial::Query) | (Held::Nowhere, _) => false,
        };
        let Some(operand) = held.then(|| json(operand)).flatten() else { return false };
        self.tried.get_or_init(|| self.read()).contains(&(trial, operand.to_string()))
    }

    fn read(&self) -> HashSet<(Trial, String)> {
        let mut tried = HashSet::new();
        for condition in self.conditions {
            super::count_step();
            if !matches!(condition, NodeEnum::CaseExpr(_) | NodeEnum::AExpr(_)) {
                continue;
            }
            let Some(condition) = json(condition) else { continue };
            for trial in [Trial::Value, Trial::Pattern, Trial::Query, Trial::Depth] {
                let operand = text_of(trial).operand_of(&condition);
                tried.extend(operand.map(|operand| (trial, operand.to_string())));
            }
        }
        tried
    }
}

/// The text of a trial, in which `operand` stands for what is tried.
struct Template {
    tree: Value,
    hole: Value,
}

impl Template {
    fn new(text: &str) -> Self {
        let read = |text| expression(text).ok().and_then(|node: Node| json(node.node.as_ref()?));
        // A text that cannot be read fits nothing: no condition would pass.
        Self { tree: read(text).unwrap_or(Value::Null), hole: read("operand").unwrap_or(Value::Null) }
    }

    /// What is tried, if a condition is this trial: the same in each of its places.
    fn operand_of<'a>(&self, condition: &'a Value) -> Option<&'a Value> {
        let mut operand = None;
        let fits = !self.tree.is_null() && self.fits(&self.tree, condition, &mut operand);
        operand.filter(|_| fits)
    }

    fn fits<'a>(&self, wanted: &Value, actual: &'a Value, operand: &mut Option<&'a Value>) -> bool {
        if *wanted == self.hole {
            return *operand.get_or_insert(actual) == actual;
        }
        match (wanted, actual) {
            (Value::Object(a), Value::Object(b)) => {
                let mut pairs = a.iter().map(|(key, value)| Some((value, b.get(key)?)));
                a.len() == b.len() && pairs.all(|pair| pair.is_some_and(|(a, b)| self.fits(a, b, operand)))
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.fits(a, b, operand))
            }
            (a, b) => a == b,
        }
    }
}

fn text_of(trial: Trial) -> &'static Template {
    static VALUE: LazyLock<Template> =
        LazyLock::new(|| Template::new("CASE WHEN operand IS NULL THEN true ELSE true END"));
    static PATTERN: LazyLock<Template> = LazyLock::new(|| {
        Template::new(
            "CASE WHEN pg_catalog.right(pg_catalog.replace(COALESCE(operand::pg_catalog.text, ''),
                pg_catalog.repeat(pg_catalog.chr(92), 2), ''), 1) OPERATOR(pg_catalog.=) pg_catalog.chr(92)
             THEN pg_catalog.replace(COALESCE(operand::pg_catalog.text, ''), COALESCE(operand::pg_catalog.text, ''),
                'LIKE pattern must not end with escape character')::pg_catalog.bool
             ELSE ((pg_catalog.length(COALESCE(operand::pg_catalog.text, '')) OPERATOR(pg_catalog.-)
                pg_catalog.length(pg_catalog.replace(COALESCE(operand::pg_catalog.text, ''), '%', '')))
                OPERATOR(pg_catalog.*) 30)::pg_catalog.int2 OPERATOR(pg_catalog.>=) 0 END",
        )
    });
    static QUERY: LazyLock<Template> = LazyLock::new(|| {
        Template::new(
            "(pg_catalog.numnode(operand::pg_catalog.tsquery) OPERATOR(pg_catalog.*) 30)::pg_catalog.int2
             OPERATOR(pg_catalog.>) 0",
        )
    });
    static DEPTH: LazyLock<Template> = LazyLock::new(|| {
        Template::new(
            "CASE WHEN pg_catalog.jsonb_path_exists(operand::pg_catalog.jsonb, '$.**{500}')
             THEN operand::pg_catalog.jsonb::pg_catalog.bool ELSE true END",
        )
    });
    match trial {
        Trial::Value => &VALUE,
        Trial::Pattern => &PATTERN,
        Trial::Query => &QUERY,
        Trial::Depth => &DEPTH,
    }
}

/// Whether there is no parameter in an operand.
fn has_no_parameter(operand: &NodeEnum) -> bool {
    let literal = |node: &Node| node.node.as_ref().is_some_and(has_no_parameter);
    match operand {
        NodeEnum::AConst(_) => true,
        NodeEnum::TypeCast(cast) => cast.arg.as_deref().is_some_and(literal),
        NodeEnum::AExpr(expr) => {
            [&expr.lexpr, &expr.rexpr].into_iter().all(|side| side.as_deref().is_some_and(literal))
        }
        NodeEnum::FuncCall(call) => call.args.iter().all(literal),
        _ => false,
    }
}

/// A tree without the places of its parts in the text.
fn json(value: &NodeEnum) -> Option<Value> {
    let mut value = serde_json::to_value(value).ok()?;
    forget_places(&mut value);
    Some(value)
}

fn forget_places(value: &mut Value) {
    let is_place = |key: &str| {
        key == "location" || key.ends_with("_location") || key.ends_with("list_start") || key.ends_with("list_end")
    };
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !is_place(key));
            fields.values_mut().for_each(forget_places);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_places),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_can_be_read() {
        for trial in [Trial::Value, Trial::Pattern, Trial::Query, Trial::Depth] {
            assert!(!text_of(trial).tree.is_null() && !text_of(trial).hole.is_null(), "{trial:?}");
        }
    }
}
