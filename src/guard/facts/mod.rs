//! Facts about Postgres: which operators and functions tell nothing of a row by anything but what they give.
//!
//! Postgres marks some as leakproof. Those below are not marked, but were read in its source (14 to 18) and are tried by
//! tests/plans: neither error nor notice, lock or other effect of theirs depends on the value of a column, where the other
//! operand passes its [`Trial`]. Rewriter and verifier share these lists and nothing else.
//!
//! What fails by a value stays out: casts, arithmetic, regular expressions, patterns from columns, distances (`point <-> point`
//! overflows), `numrange` (its estimator casts bounds to float8), text search over a text (NOTICE of a long word), `json`
//! (read anew, to any depth), polygons and circles (float8 overflow), `-|-` of ranges (makes a range). Values of hundreds of
//! megabytes are not counted: what copies one may run out of memory.

mod lists;
#[cfg(test)]
mod tests;

pub(in crate::guard) use lists::{
    FREE_FUNCTIONS, POLYMORPHIC, QUERY_FUNCTIONS, QUIET_FUNCTIONS, VALUE_FUNCTIONS, is_harmless_element, range_element,
};
use lists::{OPERATORS, OPERATORS_OF_EXTENSIONS};

use crate::base::Oid;

/// What of an operand without columns is tried once, before any row is read: should it fail, it fails for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::guard) enum Trial {
    /// That it can be evaluated.
    Value,
    /// A pattern of LIKE: it does not end in its escape, which fails where a value matches so far; it has at most a thousand
    /// `%`, each of which recurses where a value matches so far.
    Pattern,
    /// A `tsquery`: it has at most a thousand nodes, which recurse where a value matches so far, and more than none. Making
    /// an empty one gives a NOTICE, and it matches nothing.
    Query,
    /// A `jsonb`: nested less than 500 deep. Comparing recurses as far as the value is nested too.
    Depth,
}

/// The trial that an operator of `pg_catalog` asks for, if it is on the list.
pub(in crate::guard) fn of_system(name: &str, left: Oid, right: Oid) -> Option<Option<Trial>> {
    OPERATORS.iter().find(|it| it.0 == name && (it.1, it.2) == (left, right)).map(|it| it.3)
}

/// The same of an extension's operator, by the names of its operands' types.
pub(in crate::guard) fn of_extension(extension: &str, name: &str, left: &str, right: &str) -> Option<Option<Trial>> {
    let mut all = OPERATORS_OF_EXTENSIONS.iter();
    all.find(|it| it.0 == extension && it.1.contains(&name) && (it.2, it.3) == (left, right)).map(|it| it.4)
}

/// Whether some operator of that name is on a list.
pub(in crate::guard) fn is_listed(name: &str) -> bool {
    OPERATORS.iter().any(|it| it.0 == name) || OPERATORS_OF_EXTENSIONS.iter().any(|it| it.1.contains(&name))
}

/// The trial that some operator of that name asks for.
pub(in crate::guard) fn trial_by_name(name: &str) -> Option<Trial> {
    let extensions = OPERATORS_OF_EXTENSIONS.iter().filter(|it| it.1.contains(&name)).find_map(|it| it.4);
    OPERATORS.iter().filter(|it| it.0 == name).find_map(|it| it.3).or(extensions)
}

/// Operators whose value is compared further: `doc ->> 'k' = 'v'`.
pub(in crate::guard) fn gives_value(name: &str) -> bool {
    matches!(name, "->" | "->>")
}
