//! Who a client is, and how pgwarden proves itself to an upstream.
//!
//! [`client`] asks a client for its password, [`upstream`] answers an upstream that asks for ours. [`scram`] holds stored secrets and the server's side of SCRAM.

pub mod bearer;
pub mod client;
mod md5;
pub mod scram;
mod stored;
#[cfg(test)]
mod tests;
mod throttle;
pub mod token;
pub mod upstream;

pub use client::{Account, AuthError, Failure, Login, Method, authenticate};
pub use scram::{MockKey, ScramVerifier, VerifierError};
pub use stored::{Md5Verifier, StoredPassword};
pub use throttle::{Blocked, FailureRules, Throttle, network_of};
pub use token::{TokenError, TokenKey, TokenRules, TokenVerifier};
pub use upstream::{ChannelBindingMode, Credentials, UpstreamAuthError, UpstreamSession, start_session};
