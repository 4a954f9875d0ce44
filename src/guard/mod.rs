//! The guard: statement in, verdict out. Pure: no I/O in this room.
//!
//! `gate` reads a statement with Postgres's own grammar, `rewrite` puts the tenant's predicates into the tree, the tree
//! is printed, and `verify` reads the printed text anew and refuses it unless every tenant relation stands behind its
//! predicate. `witness` reads it once more, by another grammar. What comes out is a [`Plan`]: independent of the tenant, so
//! that one cache entry serves them all.

mod bind;
mod channels;
pub mod context;
pub mod copy_rows;
pub mod copy_stream;
mod facts;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod gate;
mod nodes;
mod place;
mod plan;
mod policy;
mod recheck;
mod rewrite;
mod service;
mod setting_rules;
mod shape;
mod statements;
mod unread;
pub mod value;
mod verify;
mod witness;

pub use bind::{BindValue, Guarded};
pub use channels::{ChannelName, ChannelSpace, Listening};
pub use gate::startup_setting;
pub(crate) use gate::{extension_is_safe, tenants_may_call};
pub use plan::*;
pub use policy::*;
pub use recheck::recheck;
pub use service::{Guard, Planner, Script};
pub use setting_rules::SettingRules;
pub use statements::plan_statements;
pub use unread::NEWEST_TESTED;
pub use witness::{Abstention, Testimony, WitnessCounts, testify, witness_counts};

/// A plan that forwards a text as it is, for the tests of this room.
#[cfg(test)]
pub(crate) fn test_plan(sql: &str) -> Plan {
    Plan::verbatim(StatementKind::Select, sql)
}
