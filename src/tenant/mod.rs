//! Tenants: names, registry, identification.

mod derive;
mod host;
mod identify;
mod identify_error;
mod queried;
mod registry;
mod standing;
mod startup_options;
pub mod table;
#[cfg(test)]
mod tests;

pub use identify::*;
pub use identify_error::IdentifyError;
pub use queried::QueriedLogins;
pub use registry::*;
pub use standing::{Lives, Withdrawn};
pub use startup_options::parse_startup_options;
