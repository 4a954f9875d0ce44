//! Looking after an upstream: what in its schema weakens isolation, and the DDL that mends it.

pub mod doctor;
