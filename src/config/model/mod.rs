//! The configuration as validated: every name in it resolves, every secret is read, every path is absolute or relative
//! to the working directory.

mod listen;
mod logins;
mod tenancy;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use listen::*;
pub use logins::*;
pub use tenancy::*;
pub use upstream::*;

use super::auth_query::AuthQuery;
use super::limits::{Limits, SharedLimits};
use super::quota::{MetricsConfig, QuotaConfig};
use crate::auth::FailureRules;
pub use crate::base::{Enforcement, Witness};
use crate::base::{LoginName, UpstreamName};
pub use crate::wire::tls::TlsMode;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// `[listen]`
    pub listen: Listen,
    /// `[auth]`: how failed logins are answered.
    pub failures: FailureRules,
    /// `[jwt]`: which tokens are accepted.
    pub tokens: Option<TokenConfig>,
    /// `[upstream.*]`, and one more for each tenant with an upstream of its own written inline.
    pub upstreams: BTreeMap<UpstreamName, Arc<Upstream>>,
    /// `[pool]`: caps over all upstreams.
    pub pool: GlobalPool,
    /// `[tenancy]`
    pub tenancy: Tenancy,
    /// `[tenants_from]`
    pub tenants_from: Option<TenantsFrom>,
    /// `[moves]`; without it, the proxy takes no part in moves of tenants.
    pub moves: Option<Moves>,
    /// `[limits]`: what each tenant may take that has no limits of its own.
    pub limits: Limits,
    /// `[limits.login]`: the same for each login in a tenant.
    pub login_limits: Limits,
    /// `[limits.shared]`; without it, each proxy counts by itself.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// `[[login]]`
    pub logins: Vec<Arc<Login>>,
    /// `[auth_query]`: where more logins are looked up.
    pub auth_query: Option<Arc<AuthQuery>>,
    /// `[[tenant]]`
    pub tenants: Vec<Arc<Tenant>>,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: LogConfig,
    /// `[quota]`; without it, nothing of use is kept.
    pub quota: Option<Arc<QuotaConfig>>,
    /// `[metrics]`; without it, there are none.
    pub metrics: Option<MetricsConfig>,
    /// `[doctor] accept`
    pub doctor_accepts: Vec<Accepted>,
}

/// A finding of the doctor's that is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Name of the check.
    pub check: String,
    /// What it is about.
    pub object: String,
    /// A part of what is so, where an object has several findings of a check.
    pub about: Option<String>,
    /// Why it does no harm.
    pub reason: String,
}

/// `[admin]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Operators that may use the console besides the logins of role `admin`.
    pub logins: BTreeSet<LoginName>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Among the other log lines, with target `pgwarden::audit`.
    Log,
    /// Appended to this file, JSON whatever the log's format.
    File(PathBuf),
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`, which wins over it when set.
    pub level: String,
    /// Where audit events go.
    pub audit: AuditSink,
    /// The texts of refused statements stand in it, without their literals.
    pub statements: bool,
}
