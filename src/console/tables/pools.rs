//! SHOW POOLS, SHOW SERVERS, SHOW STATS

use std::collections::HashMap;
use std::time::Duration;

use super::moment;
use crate::console::table::{Cell, Column, Plain, Rows, View, number, text};
use crate::session::Doing;

const POOL_COLUMNS: &[Column] = &[
    text("upstream"),
    text("database"),
    text("user"),
    number("cl_waiting"),
    number("sv_active"),
    number("sv_idle"),
    number("sv_login"),
    number("maxwait_us"),
    number("pool_size"),
    text("pool_mode"),
    text("paused"),
    text("last_error"),
];

pub(super) const POOLS: Plain =
    Plain { name: "POOLS", about: "pools of server connections", columns: POOL_COLUMNS, rows: pool_rows };

fn micros(time: Duration) -> Cell {
    Cell::int(time.as_micros())
}

fn pool_rows(view: &View) -> Rows {
    let mut pools = view.pools.all();
    pools.sort_by_cached_key(|pool| pool.key().to_string());
    let row = |pool: &crate::pool::Pool| {
        let stats = pool.stats();
        vec![
            Cell::text(&stats.key.upstream),
            Cell::text(&stats.key.database),
            Cell::text(&stats.key.user),
            Cell::int(stats.waiting),
            Cell::int(stats.active),
            Cell::int(stats.idle),
            Cell::int(stats.connecting),
            micros(stats.longest_wait),
            Cell::int(stats.size),
            Cell::text(format!("{:?}", pool.settings().mode).to_lowercase()),
            Cell::yes(stats.paused),
            Cell::maybe(stats.last_error),
        ]
    };
    pools.iter().map(row).collect()
}

const SERVER_COLUMNS: &[Column] = &[
    number("id"),
    text("upstream"),
    text("database"),
    text("user"),
    text("addr"),
    text("state"),
    text("connect_time"),
    number("remote_pid"),
    number("link"),
    text("tenant"),
];

pub(super) const SERVERS: Plain = Plain {
    name: "SERVERS",
    about: "server connections; link is the id of the client that has one",
    columns: SERVER_COLUMNS,
    rows: server_rows,
};

fn server_rows(view: &View) -> Rows {
    let mut holders = HashMap::new();
    for handle in view.shared.directory.all() {
        if let (Doing::Active, Some(server)) = handle.doing() {
            holders.insert(server, handle);
        }
    }
    let mut servers: Vec<_> =
        view.pools.all().iter().flat_map(|pool| pool.servers().into_iter().map(|it| (pool.clone(), it))).collect();
    servers.sort_unstable_by_key(|(_, server)| server.id);
    let row = |(pool, server): &(crate::pool::Pool, crate::pool::ServerFacts)| {
        let holder = holders.get(&server.id).filter(|_| !server.idle);
        vec![
            Cell::int(server.id),
            Cell::text(&pool.key().upstream),
            Cell::text(&pool.key().database),
            Cell::text(&pool.key().user),
            Cell::text(&server.address),
            Cell::text(if server.idle { "idle" } else { "active" }),
            Cell::Text(moment(server.since)),
            Cell::int(server.process_id),
            holder.map_or(Cell::Null, |handle| Cell::int(handle.id().0)),
            Cell::maybe(holder.and_then(|handle| handle.tenant())),
        ]
    };
    servers.iter().map(row).collect()
}

const STATS_COLUMNS: &[Column] = &[
    text("upstream"),
    text("database"),
    text("user"),
    number("total_server_assignment_count"),
    number("total_server_connect_count"),
    number("total_server_connect_failures"),
    number("total_wait_count"),
    number("total_wait_timeouts"),
    number("total_wait_time"),
    number("max_wait_time"),
];

pub(super) const STATS: Plain = Plain {
    name: "STATS",
    about: "what pools did since they were made; times in microseconds",
    columns: STATS_COLUMNS,
    rows: stats_rows,
};

fn stats_rows(view: &View) -> Rows {
    let row = |stats: crate::pool::PoolStats| {
        vec![
            Cell::text(&stats.key.upstream),
            Cell::text(&stats.key.database),
            Cell::text(&stats.key.user),
            Cell::int(stats.checkouts),
            Cell::int(stats.connects),
            Cell::int(stats.connect_failures),
            Cell::int(stats.waits),
            Cell::int(stats.wait_timeouts),
            micros(stats.total_wait),
            micros(stats.max_wait),
        ]
    };
    view.pools.stats().into_iter().map(row).collect()
}
