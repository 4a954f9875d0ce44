//! The configuration: the TOML as written, the model as validated.
//!
//! The file is read as a tree of values with positions and taken apart by hand rather than by serde's derive, which stops
//! at the first error: `pgwarden check` reports all of them in one run.

mod auth_query;
mod diagnostics;
mod gates;
mod limits;
mod load;
mod measure;
mod model;
mod quota;
mod section;
mod tenant_settings;
#[cfg(test)]
mod tests;
mod url;
mod values;

pub use auth_query::AuthQuery;
pub use diagnostics::{ConfigErrors, Diagnostic};
pub use gates::{GATE_CHANNEL, GateTables};
pub use limits::{Limits, OnLimit, SharedLimits, WhenAway};
pub use load::{Env, Loaded, TERM_COLUMNS, TenantTerms, line_of_tenant, load, parse, terms_of_row, upstream_at};
pub use measure::{COLUMNS, MEASURES, Measure, PeriodLength, writers_of};
pub use model::*;
pub use quota::*;
pub use tenant_settings::{Amount, TenantSetting, TenantValues};
pub use url::{percent, socket_parts, tls_word, url_of};
pub use values::parse_duration;
