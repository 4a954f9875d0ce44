//! What SHOW shows: tables with typed columns.

use std::sync::Arc;

use super::Boxed;
use crate::base::PgError;
use crate::config::Config;
use crate::pool::Pools;
use crate::session::SharedState;

pub use super::tables::moment;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A whole number: `int8`.
    Int(i64),
    /// NULL.
    Null,
}

impl Cell {
    /// Text as it is.
    pub fn text(text: impl ToString) -> Self {
        Cell::Text(text.to_string())
    }

    /// Text, or NULL.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        text.map_or(Cell::Null, Cell::text)
    }

    /// `yes` or `no`.
    pub fn yes(is: bool) -> Self {
        Cell::text(if is { "yes" } else { "no" })
    }

    /// A number; one that is too large is cut.
    pub fn int(number: impl TryInto<i64>) -> Self {
        Cell::Int(number.try_into().unwrap_or(i64::MAX))
    }
}

/// A column: its name, and whether it holds numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Numbers (`int8`), else text.
    pub numbers: bool,
}

/// A column of text.
pub const fn text(name: &'static str) -> Column {
    Column { name, numbers: false }
}

/// A column of numbers.
pub const fn number(name: &'static str) -> Column {
    Column { name, numbers: true }
}

/// What tables look at.
#[derive(Clone)]
pub struct View {
    /// Sessions, tenants, logins.
    pub shared: Arc<SharedState>,
    /// Server connections.
    pub pools: Pools,
    /// The configuration in force.
    pub config: Arc<Config>,
}

/// Rows of a table.
pub type Rows = Vec<Vec<Cell>>;

/// Something that SHOW can show.
pub trait ShowTable: Send + Sync {
    /// In capitals, as it is asked for.
    fn name(&self) -> &'static str;
    /// What it shows, in a few words.
    fn about(&self) -> &'static str;
    /// Its columns.
    fn columns(&self) -> &'static [Column];
    /// Its rows, each of as many cells as there are columns.
    ///
    /// # Errors
    /// What keeps it from being shown.
    fn rows<'a>(&'a self, view: &'a View) -> Boxed<'a, Result<Rows, PgError>>;
}

/// A table whose rows are at hand.
pub(super) struct Plain {
    pub name: &'static str,
    pub about: &'static str,
    pub columns: &'static [Column],
    pub rows: fn(&View) -> Rows,
}

impl ShowTable for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn rows<'a>(&'a self, view: &'a View) -> Boxed<'a, Result<Rows, PgError>> {
        let (view, rows) = (view.clone(), self.rows);
        // There may be very many of them.
        Box::pin(async move {
            tokio::task::spawn_blocking(move || rows(&view)).await.map_err(|_| {
                PgError::error(crate::base::SqlState::INTERNAL_ERROR, "the table could not be put together")
            })
        })
    }
}
