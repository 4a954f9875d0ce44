//! Tests of the rewriter with the gate and the verifier around it.

mod faults;
mod fixture;
mod forms;
mod random;
mod refusals;
