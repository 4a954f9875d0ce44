//! The table of ratios, and the same as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::cases::Protocol;
use crate::lab::{Peer, Sample};

/// Ratios of one cell: pgwarden over PgBouncer.
#[derive(Debug)]
pub struct Row {
    case: &'static str,
    peer: Peer,
    protocol: Protocol,
    clients: u32,
    /// Least CPU over least CPU: what else runs on the machine only adds.
    least_cpu: f64,
    cpu: Ratio,
    throughput: Ratio,
    latency: Ratio,
    their_cpu_us: f64,
    their_tps: f64,
}

/// Median of the rounds' ratios, with the least and the greatest.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    median: f64,
    min: f64,
    max: f64,
}

impl Ratio {
    fn new(theirs: &[f64], ours: &[f64]) -> Self {
        let mut ratios: Vec<f64> = theirs.iter().zip(ours).map(|(theirs, ours)| ours / theirs).collect();
        Self::sort(&mut ratios);
        let at = |i: usize| ratios.get(i).copied().unwrap_or(f64::NAN);
        Self { median: at(ratios.len() / 2), min: at(0), max: at(ratios.len().saturating_sub(1)) }
    }

    /// In ascending order.
    pub fn sort(values: &mut [f64]) {
        values.sort_by(f64::total_cmp);
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

fn column(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(of).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

impl Row {
    /// Head of the table.
    pub const HEADER: &'static str = "\
case       layout   protocol  clients | CPU least  CPU/transaction    throughput         mean latency       | PgBouncer: CPU us   tps";

    /// Puts the rounds of a cell together.
    pub fn new(
        case: &'static str,
        peer: Peer,
        protocol: Protocol,
        clients: u32,
        theirs: &[Sample],
        ours: &[Sample],
    ) -> Self {
        let both = |of: fn(&Sample) -> f64| (column(theirs, of), column(ours, of));
        let (their_cpu, our_cpu) = both(|s| s.cpu_us);
        let (their_tps, our_tps) = both(|s| s.tps);
        let (their_latency, our_latency) = both(|s| s.latency_ms);
        Self {
            case,
            peer,
            protocol,
            clients,
            least_cpu: least(&our_cpu) / least(&their_cpu),
            cpu: Ratio::new(&their_cpu, &our_cpu),
            throughput: Ratio::new(&their_tps, &our_tps),
            latency: Ratio::new(&their_latency, &our_latency),
            their_cpu_us: mean(&their_cpu),
            their_tps: mean(&their_tps),
        }
    }

    fn layout(&self) -> &'static str {
        if self.peer == Peer::Database { "database" } else { "shared" }
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case, "layout": self.layout(), "protocol": self.protocol.name(), "clients": self.clients,
            "least_cpu": self.least_cpu, "cpu": self.cpu.json(), "throughput": self.throughput.json(),
            "latency": self.latency.json(), "pgbouncer": { "cpu_us": self.their_cpu_us, "tps": self.their_tps },
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<10} {:<8} {:<9} {:>7} | {:>9.2}  {:<18} {:<18} {:<18} | {:>17.1} {:>6.0}",
            self.case,
            self.layout(),
            self.protocol.name(),
            self.clients,
            self.least_cpu,
            self.cpu.to_string(),
            self.throughput.to_string(),
            self.latency.to_string(),
            self.their_cpu_us,
            self.their_tps
        )
    }
}

/// Another thing that was measured: PgBouncer's figure and pgwarden's, or one alone.
#[derive(Debug)]
pub struct Figure {
    name: String,
    theirs: Option<f64>,
    ours: f64,
    ratio: Option<Ratio>,
}

impl Figure {
    /// One figure.
    pub fn plain(name: impl Into<String>, ours: f64) -> Self {
        Self { name: name.into(), theirs: None, ours, ratio: None }
    }

    /// PgBouncer's and pgwarden's, measured once.
    pub fn pair(name: impl Into<String>, theirs: f64, ours: f64) -> Self {
        Self { name: name.into(), theirs: Some(theirs), ours, ratio: Some(Ratio::new(&[theirs], &[ours])) }
    }

    /// PgBouncer's and pgwarden's in interleaved rounds.
    pub fn spread(name: impl Into<String>, theirs: &[f64], ours: &[f64]) -> Self {
        Self { name: name.into(), theirs: Some(mean(theirs)), ours: mean(ours), ratio: Some(Ratio::new(theirs, ours)) }
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "pgbouncer": self.theirs, "pgwarden": self.ours, "ratio": self.ratio.map(Ratio::json) })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theirs = self.theirs.map(|theirs| format!("{theirs:.2}")).unwrap_or_default();
        let ratio = self.ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
        write!(f, "{:<66} {theirs:>10} {:>10.2}   {ratio}", self.name, self.ours)
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    figures: Vec<Figure>,
}

impl Report {
    /// Prints a cell and keeps it.
    pub fn row(&mut self, row: Row) {
        if self.rows.is_empty() {
            println!("{}", Row::HEADER);
        }
        println!("{row}");
        self.rows.push(row);
    }

    /// Prints figures and keeps them.
    pub fn figures(&mut self, figures: Vec<Figure>) {
        for figure in figures {
            if self.figures.is_empty() {
                println!("{:<66} {:>10} {:>10}   ratio", "", "PgBouncer", "pgwarden");
            }
            println!("{figure}");
            self.figures.push(figure);
        }
    }

    /// Writes all as JSON.
    pub fn write(&self, path: &str) -> Result<(), String> {
        let value = json!({
            "cells": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{value:#}\n")).map_err(|e| format!("{path}: {e}"))
    }
}
