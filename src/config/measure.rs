//! What is counted of use, and in which table it is kept.

use std::fmt;

use crate::base::QualifiedName;

/// How many measures there are.
pub const MEASURES: usize = 7;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// Transactions, implicit ones included, whatever their end.
    Transactions,
    /// Statements that ran on a server, failed ones included; what pgwarden refuses or answers itself is none.
    Statements,
    /// Rows sent to the client, of COPY TO included.
    RowsRead,
    /// Rows inserted, updated, deleted, merged or copied in, as the server reports them for the statement.
    RowsWritten,
    /// Bytes of the client's messages, login aside.
    BytesIn,
    /// Bytes of messages to the client, login aside.
    BytesOut,
    /// Microseconds during which a reply of a server was outstanding.
    BusyMicros,
}

impl Measure {
    /// All of them, in the order of `Counts::values` of the usage room.
    pub const ALL: [Measure; MEASURES] = [
        Measure::Transactions,
        Measure::Statements,
        Measure::RowsRead,
        Measure::RowsWritten,
        Measure::BytesIn,
        Measure::BytesOut,
        Measure::BusyMicros,
    ];

    /// Its name in files, columns and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Transactions => "transactions",
            Measure::Statements => "statements",
            Measure::RowsRead => "rows_read",
            Measure::RowsWritten => "rows_written",
            Measure::BytesIn => "bytes_in",
            Measure::BytesOut => "bytes_out",
            Measure::BusyMicros => "busy_us",
        }
    }
}

impl Measure {
    /// Its name where people read it.
    pub fn title(self) -> &'static str {
        match self {
            Measure::BusyMicros => "busy",
            other => other.name(),
        }
    }

    /// An amount of it where people read it: with its unit, if it has one.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Measure::Transactions | Measure::Statements | Measure::RowsRead | Measure::RowsWritten => {
                amount.to_string()
            }
            Measure::BytesIn | Measure::BytesOut => format!("{amount} B"),
            Measure::BusyMicros => format!("{} ms", amount / 1_000),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// How long a quota lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodLength {
    /// A day.
    Day,
    /// A month of the calendar.
    Month,
}

/// The columns of the usage table.
pub const COLUMNS: [&str; 10] = [
    "tenant",
    "day",
    "transactions",
    "statements",
    "rows_read",
    "rows_written",
    "bytes_in",
    "bytes_out",
    "busy_us",
    "updated_at",
];

/// The table beside the usage table that holds the number of each proxy's last batch.
pub fn writers_of(table: &QualifiedName) -> QualifiedName {
    QualifiedName::new(table.schema.clone(), format!("{}_writers", table.name))
}
