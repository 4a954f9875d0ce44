//! Frames and messages of the Postgres protocol, startup, TLS. No policy lives here.
