//! SQL as text: Postgres's own grammar behind one door, quoting, fingerprints for logs. Knows no policy.

mod copy;
mod fingerprint;
mod limits;
mod names;
pub(crate) mod parse;
mod positions;
mod quote;
mod touched;
pub(crate) mod walk;

pub use copy::copy_back;
pub use fingerprint::{fingerprint, normalized, one_line};
pub use limits::StatementLimits;
pub use names::{Named, QueryNames, names_of_select};
pub(crate) use parse::split;
pub use positions::position_in;
pub use quote::{literal_pieces, push_literal, quote_identifier, quote_literal, quote_qualified, quote_setting};
pub use touched::{Pinned, Touched, TouchedQuery, touched};
