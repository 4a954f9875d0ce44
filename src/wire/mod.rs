//! Frames and messages of the Postgres protocol, startup, TLS. No policy lives here.
//!
//! Bytes arrive in a buffer, [`frame`] finds the frames in it and checks their lengths before anything is allocated,
//! [`frontend`] and [`backend`] give borrowed, bounds-checked views of the bodies, [`encode`] writes messages.

pub mod backend;
pub mod encode;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod reader;
