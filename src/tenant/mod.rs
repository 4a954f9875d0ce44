//! Tenants: names, registry, identification.

mod allow;
mod derive;
mod host;
mod identify;
mod identify_error;
mod name;
mod pattern;
mod queried;
mod registry;
mod standing;
mod startup_options;
pub mod table;
#[cfg(test)]
mod tests;

pub use allow::{AllowList, parse_network};
pub use identify::*;
pub use identify_error::IdentifyError;
pub use name::*;
pub use pattern::{Found, NamePattern};
pub use queried::QueriedLogins;
pub use registry::*;
pub use standing::{Lives, Withdrawn};
pub use startup_options::parse_startup_options;
