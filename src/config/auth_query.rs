//! `[auth_query]` as validated: where logins are looked up that are not in the file.

use std::sync::Arc;
use std::time::Duration;

use super::limits::Limits;
use super::model::{TenantScope, Upstream};

/// `[auth_query]`: a query that gives the login of a name.
#[derive(Clone, Debug)]
pub struct AuthQuery {
    /// Where it runs, as that upstream's role.
    pub upstream: Arc<Upstream>,
    /// One SELECT; `$1` is the name.
    pub query: String,
    /// The relations that it names, as they stand in it, each part in double quotes.
    pub relations: Vec<String>,
    /// The tenant column, if tenants of the shared layout may live in that database: a relation with it would be theirs.
    pub tenant_column: Option<String>,
    /// The tenants of each login, if the query has no column for them.
    pub tenants: Option<TenantScope>,
    /// What was found is used for so long.
    pub ttl: Duration,
    /// That nothing was found is remembered for so long.
    pub negative_ttl: Duration,
    /// For one look-up, a connection included.
    pub timeout: Duration,
    /// Connections at one time.
    pub connections: usize,
    /// `[limits.login]`: what each such login may take in each of its tenants.
    pub limits: Limits,
}
