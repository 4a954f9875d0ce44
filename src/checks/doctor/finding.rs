//! One thing that the doctor found.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Rows of one tenant can reach or change another's, whatever the proxy does.
    High,
    /// A tenant can learn that something of another exists, or a layer of defence is missing.
    Medium,
    /// Slower than it could be, or worth knowing.
    Low,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        })
    }
}

/// One thing that the doctor found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the check, for filters in CI.
    pub check: &'static str,
    /// What it is about, schema-qualified.
    pub object: String,
    /// What is so.
    pub what: String,
    /// Why that matters.
    pub why: &'static str,
    /// DDL that mends it, or what to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<6} {:<22} {}: {}\n       why: {}\n       fix: {}",
            self.severity, self.check, self.object, self.what, self.why, self.fix
        )
    }
}
