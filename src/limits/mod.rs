//! What tenants may take, and logins in tenants: counted here, held to by the session.
//!
//! A [`Meter`] counts for one tenant, or for one login in one tenant. A session's [`Allowance`] holds those that it is
//! counted by. Meters are kept by name in the [`LimitBook`], so that a reload changes what they allow without losing count.
//! Nothing here costs a session without limits more than a look at one flag.

mod allowance;
mod book;
mod errors;
mod gauge;
mod meter;
mod rate;
mod shared;
#[cfg(test)]
mod tests;
mod view;

pub use allowance::{Allowance, Charge, Permit};
pub use book::{LimitBook, LimitLine};
pub use meter::{Kind, Meter, Whose};
pub use shared::{Commons, Standing};
pub use view::{Bound, View};
