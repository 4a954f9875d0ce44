//! SHOW REFUSALS, SHOW LAST_REFUSALS

use super::moment;
use crate::console::table::{Cell, Column, Plain, Rows, number, text};
use crate::observe::refusals::{Seen, last, most_frequent};

const COLUMNS: &[Column] = &[
    text("enforced"),
    number("count"),
    text("kind"),
    text("object"),
    text("sqlstate"),
    text("error"),
    text("hint"),
    text("last"),
    text("tenant"),
    text("login"),
    text("fingerprint"),
    text("statement"),
];

pub(super) const REFUSALS: Plain = Plain {
    name: "REFUSALS",
    about: "what was refused, or would have been of those who are only observed: the most frequent first, with what to do",
    columns: COLUMNS,
    rows: |_| rows(most_frequent()),
};

pub(super) const LAST_REFUSALS: Plain =
    Plain { name: "LAST_REFUSALS", about: "the same, the last first", columns: COLUMNS, rows: |_| rows(last()) };

fn rows(seen: Vec<Seen>) -> Rows {
    seen.into_iter().map(row).collect()
}

fn row(seen: Seen) -> Vec<Cell> {
    vec![
        Cell::text(seen.enforced.as_str()),
        Cell::int(seen.count),
        Cell::text(seen.kind.as_str()),
        Cell::text(seen.object),
        Cell::text(seen.code),
        Cell::text(seen.message),
        Cell::text(seen.hint),
        Cell::Text(moment(seen.last)),
        Cell::maybe(seen.tenant),
        Cell::text(seen.login),
        Cell::text(seen.fingerprint),
        Cell::maybe(seen.statement),
    ]
}
