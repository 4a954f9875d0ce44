//! What a statement is and may name: kinds, relations, functions, operators, settings. Default deny.

pub(crate) mod dispatch;
#[cfg(test)]
mod fixture;
pub(crate) mod functions;
pub(crate) mod names;
pub(crate) mod operators;
pub(crate) mod reader;
pub(crate) mod relations;
pub(crate) mod settings;
pub(crate) mod temporary;
pub(crate) mod types;

pub(crate) use functions::{extension_is_safe, tenants_may_call};
pub use settings::startup_setting;
