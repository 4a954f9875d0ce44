//! SHOW GATES

use tokio::time::Instant;

use crate::base::PgError;
use crate::console::table::{Rows, number, text};
use crate::console::{Boxed, Cell, Column, ShowTable, View};
use crate::session::Doing;

/// The gates that are shut here.
pub(in crate::app) struct GatesTable;

const COLUMNS: &[Column] = &[
    text("tenant"),
    text("state"),
    text("reason"),
    text("proxies"),
    number("epoch"),
    number("cl_waiting"),
    number("opens_in_ms"),
];

impl ShowTable for GatesTable {
    fn name(&self) -> &'static str {
        "GATES"
    }

    fn about(&self) -> &'static str {
        "tenants whose gate is shut: drained, when nothing of them is under way here"
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows<'a>(&'a self, view: &'a View) -> Boxed<'a, Result<Rows, PgError>> {
        Box::pin(async move {
            let gates = view.shared.directory.gates();
            let mut rows = Rows::new();
            if gates.are_unknown() {
                let mut row = vec![Cell::Null, Cell::text("unknown"), Cell::text("lease"), Cell::text("this")];
                row.resize(COLUMNS.len(), Cell::Null);
                rows.push(row);
            }
            for it in gates.view() {
                let concerned = view.shared.directory.gated_with(&it.tenant);
                let waiting = concerned.iter().filter(|handle| handle.doing().0 == Doing::Waiting).count();
                let left = it.gate.deadline.saturating_duration_since(Instant::now());
                rows.push(vec![
                    Cell::text(&it.tenant),
                    Cell::text(if it.drained { "drained" } else { "shut" }),
                    Cell::text(&it.gate.reason),
                    Cell::text(if it.gate.epoch.is_some() { "all" } else { "this" }),
                    it.gate.epoch.map_or(Cell::Null, Cell::int),
                    Cell::int(waiting),
                    Cell::int(left.as_millis()),
                ]);
            }
            Ok(rows)
        })
    }
}
