//! The measures of use.

use std::fmt;

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
    /// All of them, in the order of [`Counts::values`].
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

/// A number for each [`Measure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Measure::Transactions`]
    pub transactions: u64,
    /// [`Measure::Statements`]
    pub statements: u64,
    /// [`Measure::RowsRead`]
    pub rows_read: u64,
    /// [`Measure::RowsWritten`]
    pub rows_written: u64,
    /// [`Measure::BytesIn`]
    pub bytes_in: u64,
    /// [`Measure::BytesOut`]
    pub bytes_out: u64,
    /// [`Measure::BusyMicros`]
    pub busy_micros: u64,
}

impl Counts {
    /// The numbers in the order of [`Measure::ALL`].
    pub fn values(&self) -> [u64; MEASURES] {
        let Self { transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_micros } = *self;
        [transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_micros]
    }

    /// The reverse of [`Counts::values`].
    pub fn from_values(values: [u64; MEASURES]) -> Self {
        let [transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_micros] = values;
        Self { transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_micros }
    }

    /// The number of one measure.
    pub fn get(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Transactions => self.transactions,
            Measure::Statements => self.statements,
            Measure::RowsRead => self.rows_read,
            Measure::RowsWritten => self.rows_written,
            Measure::BytesIn => self.bytes_in,
            Measure::BytesOut => self.bytes_out,
            Measure::BusyMicros => self.busy_micros,
        }
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut values = self.values();
        for (value, earlier) in values.iter_mut().zip(earlier.values()) {
            *value = value.saturating_sub(earlier);
        }
        Self::from_values(values)
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        let mut values = self.values();
        for (value, other) in values.iter_mut().zip(other.values()) {
            *value = value.saturating_add(other);
        }
        *self = Self::from_values(values);
    }

    /// Nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
