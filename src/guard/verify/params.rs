//! Casts of parameters, read anew: one that gives a parameter its type is made before the statement runs, and fails for everybody.
//! One of a parameter that has another type is made when the statement runs: where the first row comes so far, its error would
//! tell of that row. A type of one's own with conditions (a domain) is always looked at then.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RawStmt, SubLinkType, TypeCast, TypeName};

use super::tree::{node, strings};
use super::trial::Beside;
use crate::base::Oid;
use crate::base::oid::{BPCHAR, INT2, INT4, INT8, NUMERIC, TEXT, VARCHAR};
use crate::catalog::TypeInfo;
use crate::guard::facts::Trial;
use crate::guard::policy::Policy;
use crate::sql::walk::{Part, Walk};

const UNKNOWN: Oid = 705;

/// A declared type that no cast is known to take without fail.
const UNLIKE_ANY: Oid = Oid::MAX;

/// How deep in a condition operands are that can have been tried: in a row's list, in a comparison.
const OPERAND_DEPTH: u8 = 4;

/// What is known of the types of the client's parameters.
#[derive(Default)]
pub(super) struct ParamTypes<'v> {
    /// How many are the client's.
    client: u16,
    declared: Vec<Oid>,
    uses: HashMap<i32, Vec<Use<'v>>>,
}

/// A place of a parameter, and what it is cast to there.
struct Use<'v> {
    place: i32,
    target: Option<Target<'v>>,
}

/// The type that a parameter is cast to, alone or as an element of an array.
#[derive(Clone, PartialEq, Eq)]
struct Target<'v> {
    names: Vec<&'v str>,
    arrays: usize,
    element: bool,
}

impl<'v> Target<'v> {
    /// `None` for a type with a modifier, and for what is no plain name.
    fn of(name: &'v TypeName, element: bool) -> Option<Self> {
        let mut names = strings(&name.names)?;
        if names.first() == Some(&"pg_catalog") {
            names.remove(0);
        }
        let plain = name.typmods.is_empty() && !name.setof && !name.pct_type;
        plain.then_some(Self { names, arrays: name.array_bounds.len(), element })
    }
}

impl<'v> ParamTypes<'v> {
    /// Of a statement whose first parameters are the client's, with types by its Parse message, or by PREPARE.
    pub(super) fn of(policy: &Policy, statement: &'v RawStmt, client: u16, parsed: &[Oid]) -> Self {
        let mut types = Self { client, declared: parsed.to_vec(), uses: HashMap::new() };
        if let Some(NodeEnum::PrepareStmt(prepare)) = node(&statement.stmt) {
            types.declared = prepare.argtypes.iter().map(|it| declared_by_name(policy, it)).collect();
        }
        if types.client > 0 {
            statement.fields(&mut |part| types.see(part));
        }
        types
    }

    fn see(&mut self, part: Part<'v>) -> bool {
        super::count_step();
        match part {
            Part::Node(NodeEnum::ParamRef(param)) => self.add(param.number, param.location, None),
            Part::Node(NodeEnum::TypeCast(cast)) => match params_of(cast) {
                Some(params) => params.into_iter().for_each(|(given, target)| match given {
                    NodeEnum::ParamRef(param) => self.add(param.number, param.location, target),
                    other => {
                        self.see(Part::Node(other));
                    }
                }),
                None => return part.fields(&mut |inner| self.see(inner)),
            },
            Part::Node(_) | Part::RangeVar(_) | Part::Select(_) => return part.fields(&mut |inner| self.see(inner)),
        }
        false
    }

    fn add(&mut self, number: i32, place: i32, target: Option<Target<'v>>) {
        self.uses.entry(number).or_default().push(Use { place, target });
    }

    /// Whether a condition, or part of it, makes a cast that may fail when a row is there to run it on.
    pub(super) fn run_late(&self, policy: &Policy, condition: &'v NodeEnum, beside: &Beside<'_, 'v>) -> bool {
        // A CASE is judged as a whole: by what stands in its test.
        !matches!(condition, NodeEnum::CaseExpr(_)) && self.late_beside(policy, condition, condition, beside, 0)
    }

    fn late_beside(
        &self,
        policy: &Policy,
        value: &'v NodeEnum,
        condition: &'v NodeEnum,
        beside: &Beside<'_, 'v>,
        depth: u8,
    ) -> bool {
        if !self.is_late(policy, Part::Node(value), condition) {
            return false;
        }
        let trials = [Trial::Value, Trial::Pattern, Trial::Query, Trial::Depth];
        if depth > 0 && trials.into_iter().any(|trial| beside.tries(trial, value)) {
            return false;
        }
        let late = |value: &'v NodeEnum| self.late_beside(policy, value, condition, beside, depth + 1);
        let any = |list: &'v [Node]| list.iter().filter_map(|it| it.node.as_ref()).any(late);
        match value {
            _ if depth >= OPERAND_DEPTH => true,
            NodeEnum::AExpr(expr) => [&expr.lexpr, &expr.rexpr].into_iter().filter_map(node).any(late),
            NodeEnum::RowExpr(row) => any(&row.args),
            NodeEnum::List(list) => any(&list.items),
            NodeEnum::AArrayExpr(array) => any(&array.elements),
            _ => true,
        }
    }

    /// The same whatever is tried. Queries that become joins are levels of their own.
    fn is_late(&self, policy: &Policy, part: Part<'v>, condition: &'v NodeEnum) -> bool {
        super::count_step();
        match part {
            Part::Node(NodeEnum::SubLink(link)) => match link.sub_link_type() {
                SubLinkType::ExistsSublink => false,
                SubLinkType::AnySublink => {
                    node(&link.testexpr).is_some_and(|test| self.is_late(policy, Part::Node(test), condition))
                }
                SubLinkType::Undefined
                | SubLinkType::AllSublink
                | SubLinkType::RowcompareSublink
                | SubLinkType::ExprSublink
                | SubLinkType::MultiexprSublink
                | SubLinkType::ArraySublink
                | SubLinkType::CteSublink => part.fields(&mut |inner| self.is_late(policy, inner, condition)),
            },
            Part::Node(NodeEnum::TypeCast(cast)) => {
                self.is_late_cast(policy, cast, condition)
                    || part.fields(&mut |inner| self.is_late(policy, inner, condition))
            }
            Part::Node(_) | Part::RangeVar(_) | Part::Select(_) => {
                part.fields(&mut |inner| self.is_late(policy, inner, condition))
            }
        }
    }

    fn is_late_cast(&self, policy: &Policy, cast: &'v TypeCast, condition: &'v NodeEnum) -> bool {
        let named = cast.type_name.as_ref().and_then(|name| type_named(policy, &strings(&name.names)?));
        if named.is_some_and(|it| it.typtype == 'd') {
            return true;
        }
        let late = |(given, target): (&'v NodeEnum, Option<Target<'v>>)| match given {
            NodeEnum::ParamRef(param) if param.number <= i32::from(self.client) => {
                match (target, self.declared(param.number)) {
                    (None, _) => true,
                    (Some(target), 0) => !self.gives(param.number, &target, condition),
                    (Some(target), declared) => !takes(policy, declared, &target, named),
                }
            }
            _ => false,
        };
        params_of(cast).is_some_and(|params| params.into_iter().any(late))
    }

    /// The type that a parameter was declared to have; 0: none.
    fn declared(&self, number: i32) -> Oid {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let declared = index.and_then(|index| self.declared.get(index)).copied();
        declared.filter(|oid| *oid != UNKNOWN).unwrap_or(0)
    }

    /// Whether a parameter has the type because it is cast to it: in all of its places, or in the first of a condition that has all
    /// of the others.
    fn gives(&self, number: i32, target: &Target<'v>, condition: &'v NodeEnum) -> bool {
        let uses = self.uses.get(&number).map(Vec::as_slice).unwrap_or_default();
        let same = |it: &&Use<'v>| it.target.as_ref() == Some(target);
        if uses.iter().all(|it| same(&it)) {
            return true;
        }
        let mut here = Vec::new();
        if has_query(Part::Node(condition), number, &mut here) {
            return false;
        }
        let first = uses.iter().filter(|it| here.contains(&it.place)).min_by_key(|it| it.place);
        first.is_some_and(|it| same(&it))
            && uses.iter().all(|it| same(&it) || (it.target.is_none() && here.contains(&it.place)))
    }
}

/// What a cast of parameters, one or in an array, is made of, with what each is cast to.
fn params_of(cast: &TypeCast) -> Option<Vec<(&NodeEnum, Option<Target<'_>>)>> {
    let name = cast.type_name.as_ref()?;
    match node(&cast.arg)? {
        param @ NodeEnum::ParamRef(_) => Some(vec![(param, Target::of(name, false))]),
        NodeEnum::AArrayExpr(array) => {
            let elements = array.elements.iter().filter_map(|it| it.node.as_ref());
            Some(elements.map(|it| (it, Target::of(name, true))).collect())
        }
        _ => None,
    }
}

/// Whether there is a query; and the places of a parameter.
fn has_query(part: Part<'_>, number: i32, places: &mut Vec<i32>) -> bool {
    match part {
        Part::Node(NodeEnum::SubLink(_)) | Part::Select(_) => true,
        Part::Node(NodeEnum::ParamRef(param)) if param.number == number => {
            places.push(param.location);
            false
        }
        Part::Node(_) | Part::RangeVar(_) => part.fields(&mut |inner| has_query(inner, number, places)),
    }
}

/// A type that PREPARE names.
fn declared_by_name(policy: &Policy, argtype: &Node) -> Oid {
    let Some(NodeEnum::TypeName(name)) = argtype.node.as_ref() else { return UNLIKE_ANY };
    let named =
        strings(&name.names).and_then(|names| type_named(policy, &names)).filter(|_| !name.setof && !name.pct_type);
    let found = named.and_then(|it| if name.array_bounds.is_empty() { Some(it) } else { array_of(policy, it) });
    found.map_or(UNLIKE_ANY, |it| it.oid)
}

/// A type as Postgres will resolve its name.
fn type_named<'p>(policy: &'p Policy, names: &[&str]) -> Option<&'p TypeInfo> {
    let of = |schema: &str, name: &str| {
        policy.catalog.types.values().find(|it| it.name.schema == schema && it.name.name == name)
    };
    match names {
        [name] => {
            let path = policy.search_path.iter().map(String::as_str);
            let system = (!policy.search_path.iter().any(|it| it == "pg_catalog")).then_some("pg_catalog");
            system.into_iter().chain(path).find_map(|schema| of(schema, name))
        }
        [schema, name] => of(schema, name),
        _ => None,
    }
}

fn array_of<'p>(policy: &'p Policy, element: &TypeInfo) -> Option<&'p TypeInfo> {
    let is_array = |it: &&TypeInfo| {
        it.name.schema == element.name.schema && it.name.name.strip_prefix('_') == Some(element.name.name.as_str())
    };
    policy.catalog.types.values().find(is_array)
}

/// Whether all values of a declared type are values of what they are cast to.
fn takes(policy: &Policy, declared: Oid, target: &Target<'_>, named: Option<&TypeInfo>) -> bool {
    let wanted = match (target.arrays, target.element) {
        (0, _) | (_, true) => named,
        (1, false) => named.and_then(|it| array_of(policy, it)),
        (_, false) => None,
    };
    wanted.is_some_and(|wanted| {
        wanted.oid == declared
            || match declared {
                INT2 => matches!(wanted.oid, INT4 | INT8 | NUMERIC),
                INT4 => matches!(wanted.oid, INT8 | NUMERIC),
                INT8 => wanted.oid == NUMERIC,
                TEXT | VARCHAR | BPCHAR => matches!(wanted.oid, TEXT | VARCHAR),
                _ => false,
            }
    })
}
