//! SHOW TENANTS

use std::collections::HashMap;

use crate::config::Layout;
use crate::console::table::{Cell, Column, Plain, Rows, View, number, text};
use crate::session::Doing;

const COLUMNS: &[Column] = &[
    text("name"),
    text("layout"),
    text("upstream"),
    text("database"),
    text("schema"),
    text("suspended"),
    number("clients"),
    number("cl_active"),
    number("cl_waiting"),
];

pub(super) const TENANTS: Plain =
    Plain { name: "TENANTS", about: "tenants, where they live, and their clients", columns: COLUMNS, rows };

#[derive(Clone, Copy, Default)]
struct Clients {
    all: u64,
    active: u64,
    waiting: u64,
}

fn rows(view: &View) -> Rows {
    let mut clients: HashMap<String, Clients> = HashMap::new();
    for handle in view.shared.directory.all() {
        let Some(tenant) = handle.tenant() else { continue };
        let counted = clients.entry(tenant.to_string()).or_default();
        counted.all += 1;
        match handle.doing().0 {
            Doing::Active => counted.active += 1,
            Doing::Waiting => counted.waiting += 1,
            Doing::Idle => {}
        }
    }
    let registry = view.shared.registry.load();
    let mut tenants: Vec<_> = registry.tenants().collect();
    tenants.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let row = |tenant: &std::sync::Arc<crate::config::Tenant>| {
        let (layout, schema) = match &tenant.layout {
            Layout::Shared => ("shared", None),
            Layout::Schema { schema, .. } => ("schema", Some(schema)),
            Layout::Database => ("database", None),
        };
        let counted = clients.get(tenant.name.as_str()).copied().unwrap_or_default();
        vec![
            Cell::text(&tenant.name),
            Cell::text(layout),
            Cell::text(&tenant.upstream.name),
            Cell::text(&tenant.upstream.database),
            Cell::maybe(schema),
            Cell::yes(tenant.suspended),
            Cell::int(counted.all),
            Cell::int(counted.active),
            Cell::int(counted.waiting),
        ]
    };
    tenants.into_iter().map(row).collect()
}
