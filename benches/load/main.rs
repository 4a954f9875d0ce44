//! Side-by-side load: PgBouncer and pgwarden with the guard on, in interleaved rounds in front of one throwaway Postgres.
//! Prints pgwarden's figures as ratios to PgBouncer's and writes `target/load.json`.
//!
//! `cargo bench --bench load -- [--seconds N] [--rounds N] [--clients 8,32,128] [--cases name,name]
//! [--protocols simple,extended,prepared] [--only section,section]`
//!
//! Sections: `idle`, `connect`, `latency`, `cells` (pgbench: cases x protocols x clients), `bulk`, `alternatives`, `quota`, `tenants`,
//! `databases`. Needs the Debian packages `postgresql` and `pgbouncer`. `PGWARDEN_TEST_PROGRAM` names another pgwarden.
//!
//! PgBouncer gets the statements with the tenant predicate written by hand; pgwarden gets them without, and adds it.
//! PgBouncer before 1.21 (Debian 12 has 1.18) has no prepared statements in transaction mode: there it is compared in
//! session mode. `PGWARDEN_PGBOUNCER` names another one.

mod cases;
mod client;
mod lab;
mod process;
mod report;
mod sections;

use std::process::ExitCode;

use cases::{CASES, Case, Protocol};
use lab::{Lab, Peer, Sample};
use report::{Report, Row};

/// Clients of the section `idle`.
const IDLE: u32 = 5_000;
/// Databases of the section `databases`.
const DATABASES: usize = 500;
/// Tenants of the section `tenants`.
const TENANTS: usize = 100_000;
/// In the order in which they run: memory that load has left behind would be given to the idle clients.
const SECTIONS: [&str; 9] =
    ["idle", "connect", "latency", "cells", "bulk", "alternatives", "quota", "tenants", "databases"];

/// What to run.
struct Options {
    seconds: u32,
    rounds: u32,
    clients: Vec<u32>,
    cases: Vec<&'static Case>,
    protocols: Vec<Protocol>,
    sections: Vec<&'static str>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("load bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seconds: 2,
        rounds: 5,
        clients: vec![8, 32, 128],
        cases: CASES.iter().collect(),
        protocols: Protocol::ALL.to_vec(),
        sections: SECTIONS.to_vec(),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u32>().map_err(|_| format!("{text}: not a number"));
        match arg.as_str() {
            // What `cargo bench` itself passes
            "--bench" => {}
            "--seconds" => options.seconds = number(value()?)?,
            "--rounds" => options.rounds = number(value()?)?,
            "--clients" => options.clients = value()?.split(',').map(|n| number(n.into())).collect::<Result<_, _>>()?,
            "--cases" => {
                let find = |name: &str| CASES.iter().find(|c| c.name == name).ok_or(format!("no case {name}"));
                options.cases = value()?.split(',').map(find).collect::<Result<_, _>>()?;
            }
            "--protocols" => options.protocols = value()?.split(',').map(Protocol::parse).collect::<Result<_, _>>()?,
            "--only" => {
                let find = |name: &str| SECTIONS.into_iter().find(|s| *s == name).ok_or(format!("no section {name}"));
                options.sections = value()?.split(',').map(find).collect::<Result<_, _>>()?;
            }
            other => return Err(format!("unknown option {other}; see the head of benches/load/main.rs")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    eprintln!("starting Postgres, PgBouncer and pgwarden ...");
    let lab = Lab::start()?;
    println!("PgBouncer {}", lab.bouncer_version);
    let rounds = options.rounds;
    let mut report = Report::default();
    for section in SECTIONS.into_iter().filter(|section| options.sections.contains(section)) {
        eprintln!("-- {section}");
        match section {
            "idle" => report.figures(sections::idle(&lab, IDLE)?),
            "connect" => report.figures(sections::connecting(&lab, rounds)?),
            "latency" => report.figures(sections::latency(&lab, rounds)?),
            "bulk" => report.figures(sections::bulk(&lab, rounds)?),
            "alternatives" => report.figures(sections::alternatives(&lab, rounds, options.seconds)?),
            "quota" => report.figures(sections::quota(&lab, rounds, options.seconds)?),
            "tenants" => report.figures(sections::tenants(&lab, TENANTS)?),
            "databases" => report.figures(sections::databases(&lab, DATABASES)?),
            _ => cells(&lab, options, &mut report)?,
        }
    }
    println!(
        "\nRatios are pgwarden / PgBouncer, median of the rounds (least-greatest); CPU least is the least of pgwarden's rounds over"
    );
    println!("the least of PgBouncer's. Below 1 is better but for throughput and MB/s.");
    report.write("target/load.json")
}

fn cells(lab: &Lab, options: &Options, report: &mut Report) -> Result<(), String> {
    for case in &options.cases {
        for protocol in &options.protocols {
            for clients in &options.clients {
                report.row(cell(lab, options, case, Peer::Shared, *protocol, *clients)?);
            }
        }
    }
    // Without rewriting one case tells it all.
    for case in options.cases.iter().take(1) {
        for protocol in &options.protocols {
            report.row(cell(lab, options, case, Peer::Database, *protocol, 8)?);
        }
    }
    Ok(())
}

/// One cell of the table: rounds of both peers, interleaved so that drift of the machine hits both.
fn cell(
    lab: &Lab,
    options: &Options,
    case: &Case,
    peer: Peer,
    protocol: Protocol,
    clients: u32,
) -> Result<Row, String> {
    // PgBouncer in session mode serves no more clients than its pool has connections.
    let clients = if protocol == Protocol::Prepared { clients.min(lab.prepared_clients) } else { clients };
    let script = if peer == Peer::Database { case.by_hand } else { case.bare };
    let (mut theirs, mut ours): (Vec<Sample>, Vec<Sample>) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (peer, script, samples) in [(Peer::PgBouncer, case.by_hand, &mut theirs), (peer, script, &mut ours)] {
            let running = lab.running(peer, protocol);
            samples.push(lab.pgbench(running, peer, script, protocol, clients, options.seconds)?);
        }
    }
    Ok(Row::new(case.name, peer, protocol, clients, &theirs, &ours))
}
