//! Tenants: names, registry, identification, usage.

mod host;
mod identify;
mod identify_error;
mod name;
pub mod policy;
mod registry;
mod standing;
mod startup_options;
#[cfg(test)]
mod tests;
pub mod usage;

pub use identify::*;
pub use identify_error::IdentifyError;
pub use name::*;
pub use registry::*;
pub use standing::{Lives, Withdrawn};
pub use startup_options::parse_startup_options;
