//! Tenants that come from a table: rows as the configured query gives them, and what becomes of them.
//!
//! A row that makes no sense, or that would put two tenants in one place, is left out, whichever of them was there first:
//! the same rows give the same tenants on every proxy. The file's tenants stand whatever the table says.

mod merge;
mod read;
mod row;
#[cfg(test)]
mod tests;

pub(super) use merge::any_type;
pub use merge::{Rejected, merge};
pub use read::{ReadError, read};
pub use row::{Row, Shape, ShapeError};
pub(super) use row::{identifier, own_schema};
