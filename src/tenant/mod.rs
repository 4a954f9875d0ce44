//! Tenants: names, registry, identification.

pub mod auth_query;
mod derive;
mod gates;
mod host;
mod identify;
mod identify_error;
mod queried;
mod reading;
mod registry;
mod standing;
pub mod table;
#[cfg(test)]
mod tests;

pub use auth_query::LoginQuery;
pub use gates::*;
pub use identify::*;
pub use identify_error::IdentifyError;
pub use queried::QueriedLogins;
pub use registry::*;
pub use standing::{Lives, Withdrawn};
