//! Casts of parameters: which the server makes when it reads a statement, and which when it runs it.
//!
//! `id = $1::int`: a parameter without a type of its own gets that of the cast, and a value that is none fails before the statement
//! is run. One that has another type, by its declaration or because another place in the statement gives it one, is cast when the
//! statement runs; where a plan is kept for all values, that is when the first row comes so far, or an index had some.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ParamRef, TypeName};

use super::{Plain, declared_type};
use crate::base::oid::{BPCHAR, INT2, INT4, INT8, NUMERIC, TEXT, VARCHAR};
use crate::base::{Mode, Oid};
use crate::guard::Policy;
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::names::search_path;
use crate::guard::rewrite::tree::as_string;
use crate::sql::walk::{Part, Walk};

/// A type that the catalog does not know, or that is not looked for: no operator takes it.
const SOME_TYPE: Oid = Oid::MAX;

/// Where each parameter stands in the statement, and what it is cast to there.
#[derive(Clone, Debug, Default)]
pub(in crate::guard::rewrite) struct ParamCasts(HashMap<i32, Vec<Use>>);

/// One place of a parameter.
#[derive(Clone, Debug)]
struct Use {
    /// Its place in the text.
    at: i32,
    target: Option<Target>,
}

/// What a parameter is cast to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    name: String,
    /// As an element of an array.
    element: bool,
}

impl Target {
    /// `None`: a modifier may not fit the value, which is looked at when the statement runs.
    fn of(name: &TypeName, element: bool) -> Option<Self> {
        let names: Vec<&str> = name.names.iter().filter_map(as_string).collect();
        let bare = names.strip_prefix(&["pg_catalog"]).unwrap_or(&names).join(".");
        let fixed = name.typmods.is_empty() && !name.setof && !name.pct_type;
        fixed.then(|| Self { name: format!("{bare}{}", "[]".repeat(name.array_bounds.len())), element })
    }
}

impl ParamCasts {
    /// Of a statement.
    pub(in crate::guard::rewrite) fn of(statement: &Node) -> Self {
        let mut casts = Self::default();
        statement.fields(&mut |part| {
            casts.see(part);
            false
        });
        casts
    }

    fn see(&mut self, part: Part<'_>) {
        if let Part::Node(NodeEnum::ParamRef(param)) = part {
            return self.add(param, None);
        }
        if let Part::Node(NodeEnum::TypeCast(cast)) = part
            && let Some(name) = &cast.type_name
        {
            match cast.arg.as_deref().and_then(|it| it.node.as_ref()) {
                Some(NodeEnum::ParamRef(param)) => return self.add(param, Target::of(name, false)),
                Some(NodeEnum::AArrayExpr(array)) => {
                    for element in array.elements.iter().filter_map(|it| it.node.as_ref()) {
                        match element {
                            NodeEnum::ParamRef(param) => self.add(param, Target::of(name, true)),
                            other => self.see(Part::Node(other)),
                        }
                    }
                    return;
                }
                Some(_) | None => {}
            }
        }
        part.fields(&mut |inner| {
            self.see(inner);
            false
        });
    }

    fn add(&mut self, param: &ParamRef, target: Option<Target>) {
        self.0.entry(param.number).or_default().push(Use { at: param.location, target });
    }

    /// The same for a condition: `($1::int IS NULL OR id = $1)`. A cast that stands first in it gives the parameter its type, if
    /// all that is not that cast stands behind it in the same condition. (A query in a condition is not read from left to right.)
    pub(in crate::guard::rewrite) fn within(&self, condition: &Node) -> Cow<'_, Self> {
        if self.0.values().all(|uses| is_uniform(uses)) {
            return Cow::Borrowed(self);
        }
        let mut here = HashSet::new();
        if condition.fields(&mut |part| places(part, &mut here)) {
            return Cow::Borrowed(self);
        }
        let mut casts = self.clone();
        for uses in casts.0.values_mut().filter(|uses| !is_uniform(uses)) {
            let first = uses.iter().filter(|it| here.contains(&it.at)).min_by_key(|it| it.at);
            let Some(target) = first.and_then(|it| it.target.clone()) else { continue };
            let fits = |it: &Use| match &it.target {
                Some(other) => *other == target,
                None => here.contains(&it.at),
            };
            if uses.iter().all(fits) {
                uses.iter_mut().for_each(|it| it.target = Some(target.clone()));
            }
        }
        Cow::Owned(casts)
    }

    /// Whether nothing gives the parameter another type than this.
    fn give(&self, param: &ParamRef, target: &Target) -> bool {
        let uses = self.0.get(&param.number).map(Vec::as_slice).unwrap_or_default();
        // One that stands alone has the type that it is cast to, by the guard too.
        uses.len() == 1 || uses.iter().all(|it| it.target.as_ref() == Some(target))
    }
}

fn is_uniform(uses: &[Use]) -> bool {
    uses.windows(2).all(|pair| matches!(pair, [one, other] if one.target == other.target))
}

/// Where parameters stand; true: there is a query.
fn places(part: Part<'_>, here: &mut HashSet<i32>) -> bool {
    match part {
        Part::Node(NodeEnum::SubLink(_)) | Part::Select(_) => true,
        Part::Node(NodeEnum::ParamRef(param)) => {
            here.insert(param.location);
            false
        }
        Part::Node(_) | Part::RangeVar(_) => part.fields(&mut |inner| places(inner, here)),
    }
}

/// The types that PREPARE declares, which parameters have as those of a Parse message have theirs.
pub(in crate::guard::rewrite) fn declared_by_prepare(
    policy: &Policy,
    mode: &Mode,
    statement: &Node,
) -> Option<Vec<Oid>> {
    let Some(NodeEnum::PrepareStmt(prepare)) = statement.node.as_ref() else { return None };
    let oid = |argtype: &Node| {
        let Some(NodeEnum::TypeName(name)) = argtype.node.as_ref() else { return SOME_TYPE };
        let names: Vec<&str> = name.names.iter().filter_map(as_string).collect();
        let (schemas, last) = match names.as_slice() {
            [last] => (search_path(policy, mode), *last),
            [schema, last] => (vec![*schema], *last),
            _ => return SOME_TYPE,
        };
        let last = match name.array_bounds.len() {
            0 => last.to_owned(),
            _ => format!("_{last}"),
        };
        let types = || policy.catalog.types.values();
        let found =
            schemas.iter().find_map(|schema| types().find(|it| it.name.schema == *schema && it.name.name == last));
        found.filter(|_| !name.setof && !name.pct_type).map_or(SOME_TYPE, |it| it.oid)
    };
    Some(prepare.argtypes.iter().map(oid).collect())
}

impl Plain<'_, '_> {
    /// Whether a cast is made before the statement is run, whatever rows there are: of literals, and of parameters that have the
    /// type, or no other.
    pub(super) fn is_cast_before(&self, name: &TypeName, arg: &Node) -> bool {
        match arg.node.as_ref() {
            Some(NodeEnum::ParamRef(param)) => self.has_type(param, name, false),
            Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().all(|element| match element.node.as_ref() {
                Some(NodeEnum::ParamRef(param)) => self.has_type(param, name, true),
                Some(_) | None => self.is_literal(element),
            }),
            Some(_) | None => self.is_literal(arg),
        }
    }

    /// A constant without parameters: what is made of one that has its type already is made when the statement runs.
    fn is_literal(&self, node: &Node) -> bool {
        self.is_constant(node) && !any_param(node)
    }

    fn has_type(&self, param: &ParamRef, name: &TypeName, element: bool) -> bool {
        if planted(Fault::ParamTypes) {
            return true;
        }
        let Some(target) = Target::of(name, element) else { return false };
        let declared = declared_type(param, self.param_types);
        if declared == 0 {
            return self.casts.give(param, &target);
        }
        let wanted = self.type_oid(&name.names).and_then(|oid| match name.array_bounds.len() {
            0 => Some(oid),
            _ if element => Some(oid),
            1 => self.array_of(oid),
            _ => None,
        });
        wanted.is_some_and(|wanted| wanted == declared || widens(declared, wanted))
    }
}

fn any_param(node: &Node) -> bool {
    fn is_param(part: Part<'_>) -> bool {
        matches!(part, Part::Node(NodeEnum::ParamRef(_))) || part.fields(&mut is_param)
    }
    node.fields(&mut is_param)
}

/// Whether a cast fails on no value.
fn widens(from: Oid, to: Oid) -> bool {
    const TEXTS: [Oid; 3] = [TEXT, VARCHAR, BPCHAR];
    match to {
        INT4 => from == INT2,
        INT8 => matches!(from, INT2 | INT4),
        NUMERIC => matches!(from, INT2 | INT4 | INT8),
        TEXT | VARCHAR => TEXTS.contains(&from),
        _ => false,
    }
}
