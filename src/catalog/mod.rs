//! What an upstream contains: relations, columns, functions, operators, types. The guard reads it; loading it is I/O.

mod model;

pub use model::*;
