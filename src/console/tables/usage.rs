//! SHOW USAGE

use crate::console::table::{Cell, Column, Plain, Rows, View, number, text};
use crate::usage::{Account, QuotaState};

const COLUMNS: &[Column] = &[
    text("tenant"),
    number("transactions"),
    number("statements"),
    number("rows_read"),
    number("rows_written"),
    number("bytes_in"),
    number("bytes_out"),
    number("busy_us"),
    text("quota"),
];

pub(super) const USAGE: Plain = Plain {
    name: "USAGE",
    about: "what tenants used through this process since it started, and how they stand with their quotas",
    columns: COLUMNS,
    rows,
};

fn rows(view: &View) -> Rows {
    let ledger = &view.shared.ledger;
    let mut accounts = ledger.accounts();
    accounts.sort_by(|a, b| a.tenant().cmp(&b.tenant()));
    // What operators do, and sessions that act for no tenant.
    accounts.push(ledger.nobody());
    accounts.iter().map(|account| row(account)).collect()
}

fn row(account: &Account) -> Vec<Cell> {
    let standing = match account.standing() {
        QuotaState::Fine => "within",
        QuotaState::Warned => "above soft",
        QuotaState::WritesRefused => "writes refused",
        QuotaState::AllRefused => "all refused",
    };
    let mut cells = vec![Cell::maybe(account.tenant())];
    cells.extend(account.totals().values().map(Cell::int));
    cells.push(if account.has_quota() { Cell::text(standing) } else { Cell::Null });
    cells
}
