//! Tests of the rewriter with the gate and the verifier around it.

mod channels;
pub(in crate::guard) mod faults;
pub(in crate::guard) mod fixture;
mod forms;
mod plain;
mod random;
mod readers;
mod refusals;
mod rows;
mod temporary;
mod values;
mod writes;
