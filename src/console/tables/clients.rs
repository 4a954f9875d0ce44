//! SHOW CLIENTS

use super::moment;
use crate::console::table::{Cell, Column, Plain, Rows, View, number, text};
use crate::session::{Doing, SessionHandle};
use crate::tenant::Target;

const COLUMNS: &[Column] = &[
    number("id"),
    text("type"),
    text("user"),
    text("tenant"),
    text("upstream"),
    text("database"),
    text("state"),
    text("addr"),
    number("port"),
    text("connect_time"),
    text("application_name"),
    text("tls"),
    number("link"),
];

pub(super) const CLIENTS: Plain = Plain {
    name: "CLIENTS",
    about: "clients; link is the id of the server connection that one has",
    columns: COLUMNS,
    rows,
};

fn rows(view: &View) -> Rows {
    view.shared.directory.all().iter().map(|handle| row(handle)).collect()
}

fn row(handle: &SessionHandle) -> Vec<Cell> {
    let occupant = handle.occupant();
    let target = occupant.as_ref().map(|it| &it.target);
    let kind = match target {
        None => "-",
        Some(Target::Tenant(_)) => "tenant",
        Some(Target::Unbound { .. }) => "tenants",
        Some(Target::Reader { .. }) => "reader",
        Some(Target::Observed { .. }) => "observed",
        Some(Target::Operator { .. }) => "operator",
        Some(Target::Console) => "console",
    };
    let (doing, link) = handle.doing();
    let state = match (&occupant, doing) {
        (None, _) => "login",
        (Some(_), Doing::Idle) => "idle",
        (Some(_), Doing::Waiting) => "waiting",
        (Some(_), Doing::Active) => "active",
    };
    vec![
        Cell::int(handle.id().0),
        Cell::text(kind),
        Cell::maybe(occupant.as_ref().map(|it| &it.login.name)),
        Cell::maybe(handle.tenant()),
        Cell::maybe(target.and_then(Target::upstream).map(|it| &it.name)),
        Cell::maybe(target.and_then(Target::database)),
        Cell::text(state),
        Cell::maybe(handle.peer().map(|it| it.ip())),
        handle.peer().map_or(Cell::Null, |it| Cell::int(it.port())),
        Cell::Text(moment(handle.since())),
        Cell::maybe(occupant.as_ref().map(|it| &it.application_name)),
        Cell::maybe(occupant.as_ref().map(|it| if it.encrypted { "yes" } else { "no" })),
        link.map_or(Cell::Null, Cell::int),
    ]
}
