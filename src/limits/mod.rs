//! What tenants may take, and logins in tenants: counted here, held to by the session.
//!
//! A [`Limiter`](limiter::Limiter) counts for one tenant, or for one login in one tenant. A session's [`Allowance`] holds those that it is
//! counted by. Limiters are kept by name in the [`Limiters`], so that a reload changes what they allow without losing count.
//! Nothing here costs a session without limits more than a look at one flag.

mod allowance;
mod errors;
mod gauge;
mod limiter;
mod limiters;
mod rate;
mod shared;
#[cfg(test)]
mod tests;
mod view;

pub use allowance::{Allowance, Charge, Permit};
pub use limiter::Whose;
pub use limiters::{LimitLine, Limiters};
pub use shared::SharedLimiter;
pub use view::{Bound, View};
