//! Tenants: names, registry, identification.

mod identify;
mod name;
pub mod policy;
mod registry;
mod startup_options;

pub use identify::*;
pub use name::*;
pub use registry::*;
pub use startup_options::parse_startup_options;
