//! Tenants: names, registry, identification, usage.

mod allow;
mod derive;
mod host;
mod identify;
mod identify_error;
pub mod limits;
mod name;
mod pattern;
pub mod policy;
mod queried;
mod registry;
mod standing;
mod startup_options;
pub mod table;
#[cfg(test)]
mod tests;
pub mod usage;

pub use allow::{AllowList, parse_network};
pub use identify::*;
pub use identify_error::IdentifyError;
pub use name::*;
pub use pattern::{Found, NamePattern};
pub use queried::QueriedLogins;
pub use registry::*;
pub use standing::{Lives, Withdrawn};
pub use startup_options::parse_startup_options;
