//! One thing that the doctor found.

use std::fmt;

use serde::Serialize;

use crate::config::Accepted;

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

impl Severity {
    /// `high`
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What mending it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// SQL that is done at once.
    Instant,
    /// SQL that reads a table while the app goes on.
    Online,
    /// A decision first.
    Thought,
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
    /// What mending it takes.
    pub cost: Cost,
    /// Statements that mend it, in order. Each runs as it is, outside of a transaction, and leaves the app's statements working.
    pub sql: Vec<String>,
    /// What is to be thought of, before or instead.
    pub advice: String,
    /// The reason for which the configuration accepts it.
    pub accepted: Option<String>,
}

impl Finding {
    /// A finding without a remedy yet.
    pub fn new(
        severity: Severity,
        check: &'static str,
        object: impl Into<String>,
        what: impl Into<String>,
        why: &'static str,
    ) -> Self {
        Self {
            severity,
            check,
            object: object.into(),
            what: what.into(),
            why,
            cost: Cost::Thought,
            sql: Vec::new(),
            advice: String::new(),
            accepted: None,
        }
    }

    /// With statements that mend it.
    pub fn sql(mut self, statements: impl IntoIterator<Item = String>) -> Self {
        self.sql = statements.into_iter().collect();
        let reads = |it: &String| ["CONCURRENTLY", "VALIDATE", "CREATE INDEX"].iter().any(|word| it.contains(word));
        self.cost = match self.sql.iter().any(reads) {
            _ if self.sql.is_empty() => Cost::Thought,
            true => Cost::Online,
            false => Cost::Instant,
        };
        self
    }

    /// With what is to be thought of.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Whether an entry of `[doctor] accept` means it.
    pub fn is_meant_by(&self, accepted: &Accepted) -> bool {
        let bare = |name: &str| name.strip_prefix("public.").unwrap_or(name).to_owned();
        self.check == accepted.check
            && bare(&self.object) == bare(&accepted.object)
            && accepted.about.as_ref().is_none_or(|it| self.what.contains(it.as_str()))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<6} {:<22} {}: {}", self.severity, self.check, self.object, self.what)?;
        if let Some(reason) = &self.accepted {
            return write!(f, "       accepted: {reason}");
        }
        write!(f, "       why: {}", self.why)?;
        for (at, statement) in self.sql.iter().enumerate() {
            write!(f, "\n       {} {statement}", if at == 0 { "sql:" } else { "    " })?;
        }
        if !self.advice.is_empty() {
            write!(f, "\n       {} {}", if self.sql.is_empty() { "fix:" } else { "but:" }, self.advice)?;
        }
        Ok(())
    }
}
