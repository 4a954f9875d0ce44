//! The table of ratios, and the same as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::cases::Protocol;
use crate::peers::Sample;

/// Ratios of one cell: pgwarden over PgBouncer.
#[derive(Debug)]
pub struct Row {
    case: &'static str,
    protocol: Protocol,
    clients: u32,
    cpu: Ratio,
    throughput: Ratio,
    latency: Ratio,
    their_cpu_us: f64,
    their_tps: f64,
}

/// Median of the rounds' ratios, with the least and the greatest.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    median: f64,
    min: f64,
    max: f64,
}

impl Ratio {
    fn new(theirs: &[Sample], ours: &[Sample], of: impl Fn(&Sample) -> f64) -> Self {
        let mut ratios: Vec<f64> = theirs.iter().zip(ours).map(|(t, o)| of(o) / of(t)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |i: usize| ratios.get(i).copied().unwrap_or(f64::NAN);
        Self { median: at(ratios.len() / 2), min: at(0), max: at(ratios.len().saturating_sub(1)) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.2} ({:.2}-{:.2})", self.median, self.min, self.max)
    }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len() as f64
}

impl Row {
    /// Head of the table.
    pub const HEADER: &'static str = "\
case       protocol  clients | CPU/transaction    throughput         mean latency       | PgBouncer: CPU us   tps";

    /// Puts the rounds of a cell together.
    pub fn new(case: &'static str, protocol: Protocol, clients: u32, theirs: &[Sample], ours: &[Sample]) -> Self {
        Self {
            case,
            protocol,
            clients,
            cpu: Ratio::new(theirs, ours, |s| s.cpu_us),
            throughput: Ratio::new(theirs, ours, |s| s.tps),
            latency: Ratio::new(theirs, ours, |s| s.latency_ms),
            their_cpu_us: mean(theirs, |s| s.cpu_us),
            their_tps: mean(theirs, |s| s.tps),
        }
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case, "protocol": self.protocol.name(), "clients": self.clients, "cpu": self.cpu.json(),
            "throughput": self.throughput.json(), "latency": self.latency.json(),
            "pgbouncer": { "cpu_us": self.their_cpu_us, "tps": self.their_tps },
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<10} {:<9} {:>7} | {:<18} {:<18} {:<18} | {:>17.1} {:>6.0}",
            self.case,
            self.protocol.name(),
            self.clients,
            self.cpu.to_string(),
            self.throughput.to_string(),
            self.latency.to_string(),
            self.their_cpu_us,
            self.their_tps
        )
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Summary {
    /// The cells.
    pub rows: Vec<Row>,
    /// Resident bytes for each idle client: PgBouncer's, pgwarden's.
    pub idle: Option<(f64, f64)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Ratios are pgwarden / PgBouncer, median of the rounds (least-greatest); below 1 is better for CPU and latency."
        )?;
        if let Some((theirs, ours)) = self.idle {
            write!(
                f,
                "Resident memory of an idle client that ran a query: PgBouncer {theirs:.0} bytes, pgwarden {ours:.0} bytes"
            )?;
        }
        Ok(())
    }
}

impl Summary {
    /// Writes the figures as JSON.
    pub fn write(&self, path: &str) -> Result<(), String> {
        let idle = self.idle.map(|(theirs, ours)| json!({ "pgbouncer_bytes": theirs, "pgwarden_bytes": ours }));
        let value = json!({ "cells": self.rows.iter().map(Row::json).collect::<Vec<_>>(), "idle_client": idle });
        std::fs::write(path, format!("{value:#}\n")).map_err(|e| format!("{path}: {e}"))
    }
}
