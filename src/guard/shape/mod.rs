//! Verdicts by statement shape: texts that differ only in literals and comments share one.

mod comments;
mod context;
mod lift;
mod scan;
mod template;

pub(super) use comments::{place_with_comments, without_comments};
pub(super) use lift::{Lifted, lift};
pub(super) use template::{Literals, Template, share_a_marker};
