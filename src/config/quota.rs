//! `[quota]` as validated: what of use is kept, and how much of it a tenant may have.

use std::sync::Arc;
use std::time::Duration;

use super::model::Upstream;
use crate::base::QualifiedName;
use crate::config::{MEASURES, Measure, PeriodLength};

/// `[quota]`: usage is kept in a table, and quotas hold for it.
#[derive(Clone, Debug)]
pub struct QuotaConfig {
    /// Where the table is.
    pub upstream: Arc<Upstream>,
    /// The table; one more beside it, `<name>_writers`, makes sure that nothing is counted twice.
    pub table: QualifiedName,
    /// How often what was counted is written; what a crash may lose.
    pub flush_interval: Duration,
    /// How long a quota lasts. Periods are those of UTC.
    pub period: PeriodLength,
    /// What holds for tenants with a hard quota while nobody knows what they have used.
    pub when_unknown: WhenUnknown,
    /// The quota of tenants that have none of their own.
    pub default: Arc<Quota>,
}

/// What holds while the use of a tenant is not known: the table was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// What its hard quota would refuse is refused.
    Refuse,
    /// Nothing is refused.
    Allow,
}

/// What a hard quota that is used up refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuses {
    /// Statements that write.
    #[default]
    Writes,
    /// All statements but those that end or begin transactions.
    All,
}

/// How much of one measure a tenant may use in a period. In the measure's own unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// From here on clients are warned.
    pub soft: Option<u64>,
    /// From here on statements are refused.
    pub hard: Option<u64>,
}

/// How much a tenant may use in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What is refused when a hard bound is reached.
    pub refuses: Refuses,
    /// In the order of [`Measure::ALL`].
    pub bounds: [Bounds; MEASURES],
}

impl Quota {
    /// All bounds.
    pub fn bounds(&self) -> impl Iterator<Item = (Measure, Bounds)> {
        Measure::ALL.into_iter().zip(self.bounds)
    }

    /// Whether statements may ever be refused for it.
    pub fn has_hard(&self) -> bool {
        self.bounds.iter().any(|bounds| bounds.hard.is_some())
    }

    /// Whether it bounds anything.
    pub fn is_empty(&self) -> bool {
        self.bounds.iter().all(|bounds| *bounds == Bounds::default())
    }
}

/// `[metrics]`: where Prometheus finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Address of the HTTP endpoint.
    pub address: std::net::SocketAddr,
    /// Tenants with series of their own; the use of all further ones is in one series together.
    pub max_tenants: usize,
}
