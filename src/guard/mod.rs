//! The guard: statement in, verdict out. Pure: no I/O in this room.
//!
//! `gate` reads a statement with Postgres's own grammar, `rewrite` puts the tenant's predicates into the tree, the tree
//! is printed, and `verify` reads the printed text anew and refuses it unless every tenant relation stands behind its
//! predicate. What comes out is a [`Plan`]: independent of the tenant, so that one cache entry serves them all.

pub mod copy_stream;
mod gate;
mod plan;
mod policy;
mod refusal;
mod rewrite;
pub mod value;

pub use plan::*;
pub use policy::*;
pub use refusal::*;
