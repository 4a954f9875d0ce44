//! The configuration: the TOML as written, the model as validated.

mod model;
mod secret;

pub use model::*;
pub use secret::Secret;
