//! The protocol over raw frames: what drivers rarely send, and what attackers do.

mod advisories;
mod copy;
mod function_call;
mod hostile;
mod pipeline;
mod startup;

use crate::support::proxy::Shared;

/// The proxy of this folder's tests.
static PROXY: Shared = Shared::over("protocol");
