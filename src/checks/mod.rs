//! Looking after an upstream: what in its schema weakens isolation, and the DDL that mends it; and
//! the proof that isolation holds.

pub mod doctor;
pub mod rls;
pub mod verify_isolation;
