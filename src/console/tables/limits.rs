//! SHOW LIMITS

use crate::console::table::{Cell, Column, Plain, Rows, View, number, text};
use crate::limits::{LimitLine, Whose};

const COLUMNS: &[Column] = &[
    text("tenant"),
    text("login"),
    text("limit"),
    text("value"),
    number("used"),
    number("waits"),
    number("rejections"),
    text("counted"),
];

pub(super) const LIMITS: Plain = Plain {
    name: "LIMITS",
    about: "limits of those who are or were lately connected, how much is taken now, and how often they were felt",
    columns: COLUMNS,
    rows,
};

fn rows(view: &View) -> Rows {
    let book = &view.shared.limiters;
    let shared = book.shared_limiter().map_or("here", |shared_limiter| shared_limiter.standing().as_str());
    book.lines().into_iter().map(|line| row(line, shared)).collect()
}

fn row(line: LimitLine, shared: &str) -> Vec<Cell> {
    let (tenant, login) = match line.whose {
        Whose::Tenant(tenant) => (Some(tenant), None),
        Whose::Login(login, tenant) => (tenant, Some(login)),
        Whose::Everybody => (None, None),
    };
    vec![
        Cell::maybe(tenant),
        Cell::maybe(login),
        Cell::text(line.kind.name()),
        Cell::Text(line.value),
        line.in_use.map_or(Cell::Null, Cell::int),
        Cell::int(line.waits),
        Cell::int(line.rejections),
        Cell::text(if line.shared { shared } else { "here" }),
    ]
}
