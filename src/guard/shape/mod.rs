//! Verdicts by statement shape: texts that differ only in literals share one.

mod context;
mod lift;
mod template;

pub(super) use lift::{Lifted, lift};
pub(super) use template::{Literals, Template};
