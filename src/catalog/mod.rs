//! What an upstream contains: relations, columns, functions, operators, types. The guard reads it; loading it is I/O.

mod known;
mod load;
mod model;
mod source;
#[cfg(test)]
mod tests;

pub use load::{DDL_TRIGGER, LoadError, load};
pub use model::*;
pub use source::{CatalogSource, Known, RefreshTimes};
