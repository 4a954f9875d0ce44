//! The lists. An operator of `pg_catalog` is known by name and operand types, which is its identity.

use super::Trial;
use crate::base::Oid;
use crate::base::oid::{BPCHAR, INT4, TEXT};

const JSONB: Oid = 3802;
const TEXTS: Oid = 1009;
const TSVECTOR: Oid = 3614;
const TSQUERY: Oid = 3615;
const INET: Oid = 869;
const POINT: Oid = 600;
const BOX: Oid = 603;
const ANYARRAY: Oid = 2277;
const ANYRANGE: Oid = 3831;
const ANYELEMENT: Oid = 2283;

type Listed = (&'static str, Oid, Oid, Option<Trial>);

/// Operators of `pg_catalog`: name, left and right operand, trial of the operand without columns.
pub(super) const OPERATORS: &[Listed] = &[
    // jsonb_op.c, jsonb_util.c: a lookup in a sorted container; two are compared in a loop over iterators. JsonbDeepContains
    // checks the depth of the stack, and goes as deep as both operands are nested.
    ("@>", JSONB, JSONB, Some(Trial::Depth)),
    ("<@", JSONB, JSONB, Some(Trial::Depth)),
    ("?", JSONB, TEXT, None),
    ("?|", JSONB, TEXTS, None),
    ("?&", JSONB, TEXTS, None),
    ("=", JSONB, JSONB, None),
    ("<>", JSONB, JSONB, None),
    // jsonfuncs.c: NULL where there is no such member; JsonbToCString prints in a loop.
    ("->", JSONB, TEXT, None),
    ("->", JSONB, INT4, None),
    ("->>", JSONB, TEXT, None),
    ("->>", JSONB, INT4, None),
    // tsvector_op.c: TS_execute recurses over the query, and goes on where the value matches.
    ("@@", TSVECTOR, TSQUERY, Some(Trial::Query)),
    ("@@", TSQUERY, TSVECTOR, Some(Trial::Query)),
    // like_match.c: an error for an escape at the end of the pattern, and check_stack_depth for each % that matched.
    ("~~", TEXT, TEXT, Some(Trial::Pattern)),
    ("!~~", TEXT, TEXT, Some(Trial::Pattern)),
    ("~~*", TEXT, TEXT, Some(Trial::Pattern)),
    ("!~~*", TEXT, TEXT, Some(Trial::Pattern)),
    ("~~", BPCHAR, TEXT, Some(Trial::Pattern)),
    ("!~~", BPCHAR, TEXT, Some(Trial::Pattern)),
    ("~~*", BPCHAR, TEXT, Some(Trial::Pattern)),
    ("!~~*", BPCHAR, TEXT, Some(Trial::Pattern)),
    // arrayfuncs.c: loops that call the elements' equality; for the element types of `is_harmless_element` that fails on
    // nothing. NULLs match nothing. (intarray has operators of its own, which fail on a NULL: another identity.)
    ("&&", ANYARRAY, ANYARRAY, None),
    ("@>", ANYARRAY, ANYARRAY, None),
    ("<@", ANYARRAY, ANYARRAY, None),
    ("=", ANYARRAY, ANYARRAY, None),
    ("<>", ANYARRAY, ANYARRAY, None),
    // rangetypes.c: bounds are compared; for the ranges of `range_element` also the estimator's differences fail on nothing.
    ("@>", ANYRANGE, ANYRANGE, None),
    ("<@", ANYRANGE, ANYRANGE, None),
    ("&&", ANYRANGE, ANYRANGE, None),
    ("<<", ANYRANGE, ANYRANGE, None),
    (">>", ANYRANGE, ANYRANGE, None),
    ("&<", ANYRANGE, ANYRANGE, None),
    ("&>", ANYRANGE, ANYRANGE, None),
    ("=", ANYRANGE, ANYRANGE, None),
    ("@>", ANYRANGE, ANYELEMENT, None),
    ("<@", ANYELEMENT, ANYRANGE, None),
    // network.c: bits are compared.
    ("<<", INET, INET, None),
    ("<<=", INET, INET, None),
    (">>", INET, INET, None),
    (">>=", INET, INET, None),
    ("&&", INET, INET, None),
    // geo_ops.c: coordinates are compared, nothing is computed.
    ("&&", BOX, BOX, None),
    ("@>", BOX, BOX, None),
    ("<@", BOX, BOX, None),
    ("<@", POINT, BOX, None),
    ("@>", BOX, POINT, None),
];

type ListedOfExtension = (&'static str, &'static [&'static str], &'static str, &'static str, Option<Trial>);

const COMPARISONS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];
const PATTERNS: &[&str] = &["~~", "!~~", "~~*", "!~~*"];

/// Operators of extensions: extension, names, left and right operand, trial.
pub(super) const OPERATORS_OF_EXTENSIONS: &[ListedOfExtension] = &[
    // citext.c: str_tolower of both, then as text is compared; LIKE is texticlike.
    ("citext", COMPARISONS, "citext", "citext", None),
    ("citext", PATTERNS, "citext", "citext", Some(Trial::Pattern)),
    ("citext", PATTERNS, "citext", "text", Some(Trial::Pattern)),
    // trgm_op.c: trigrams of both are made and counted.
    ("pg_trgm", &["%", "<%", "%>", "<<%", "%>>"], "text", "text", None),
    // hstore_op.c: look-ups in sorted pairs.
    ("hstore", &["@>", "<@"], "hstore", "hstore", None),
    ("hstore", &["?", "->"], "hstore", "text", None),
    // ltree_op.c: labels are compared.
    ("ltree", &["@>", "<@", "=", "<>", "<", "<=", ">", ">="], "ltree", "ltree", None),
];

/// Functions of a column that fail on no value of an UTF8 database (formatting.c: what its encoding check lets in, every
/// locale provider can map), and their argument and result.
pub(in crate::guard) const VALUE_FUNCTIONS: &[(&str, Oid)] = &[("lower", TEXT), ("upper", TEXT)];

/// Functions that fail on no argument, give no notice, and are not volatile.
pub(in crate::guard) const QUIET_FUNCTIONS: &[&str] =
    &["now", "transaction_timestamp", "statement_timestamp", "lower", "upper"];

/// Functions that give no notice, have no effect, and are not volatile: in an operand without columns.
pub(in crate::guard) const FREE_FUNCTIONS: &[&str] = &[
    // time
    "age",
    "date",
    "date_bin",
    "date_part",
    "date_trunc",
    "extract",
    "justify_days",
    "justify_hours",
    "justify_interval",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "timezone",
    "to_date",
    "to_timestamp",
    // texts
    "btrim",
    "char_length",
    "concat",
    "concat_ws",
    "format",
    "initcap",
    "left",
    "length",
    "lpad",
    "ltrim",
    "md5",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "string_to_array",
    "substr",
    "substring",
    "to_char",
    "to_number",
    "translate",
    // numbers
    "abs",
    "ceil",
    "ceiling",
    "floor",
    "mod",
    "power",
    "round",
    "sign",
    "sqrt",
    "trunc",
    // arrays, ranges, documents, shapes
    "array_append",
    "array_cat",
    "array_prepend",
    "array_remove",
    "box",
    "daterange",
    "int4range",
    "int8range",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_set",
    "point",
    "to_jsonb",
    "tsrange",
    "tstzrange",
];

/// Functions that make a `tsquery` of a text: an empty one with a NOTICE.
pub(in crate::guard) const QUERY_FUNCTIONS: &[&str] =
    &["phraseto_tsquery", "plainto_tsquery", "to_tsquery", "websearch_to_tsquery"];

/// Types whose equality fails on no value, as elements of arrays.
pub(in crate::guard) fn is_harmless_element(oid: Oid) -> bool {
    // bool, "char", int8, int2, int4, text, oid, float4, float8, macaddr, inet, bpchar, varchar, date, time, timestamp,
    // timestamptz, interval, numeric, uuid
    const ELEMENTS: [Oid; 20] =
        [16, 18, 20, 21, 23, 25, 26, 700, 701, 829, 869, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700, 2950];
    ELEMENTS.contains(&oid)
}

/// What a range is of, for those whose operators fail on no value.
pub(in crate::guard) fn range_element(range: Oid) -> Option<Oid> {
    // int4range, int8range, tsrange, tstzrange, daterange
    const RANGES: [(Oid, Oid); 5] = [(3904, 23), (3926, 20), (3908, 1114), (3910, 1184), (3912, 1082)];
    RANGES.iter().find(|it| it.0 == range).map(|it| it.1)
}

/// The type under which a polymorphic operator takes an operand of this type.
pub(in crate::guard) const POLYMORPHIC: [Oid; 3] = [ANYARRAY, ANYRANGE, ANYELEMENT];
