//! Server connections: connecting, checking out, preparing, cancelling, health.
