//! The measures of use.

use crate::config::{MEASURES, Measure};

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
