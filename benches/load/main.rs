//! Side-by-side load: pgbench against PgBouncer and against pgwarden with the guard on, interleaved, on one throwaway
//! Postgres. Prints CPU of the proxy per transaction, throughput and latency as ratios to PgBouncer, and writes
//! `target/load.json`.
//!
//! `cargo bench --bench load -- [--seconds N] [--rounds N] [--clients 1,8,32] [--cases name,name] [--protocols simple,extended,prepared]`
//!
//! PgBouncer gets the statements with the tenant predicate written by hand; pgwarden gets them without, and adds it.
//! Debian's PgBouncer 1.18 has no prepared statements in transaction mode: there it is compared in session mode.

mod cases;
mod peers;
mod report;

use std::process::ExitCode;

use cases::{CASES, Case, Protocol};
use peers::{Lab, Peer, Sample};
use report::{Row, Summary};

/// What to run.
struct Options {
    seconds: u32,
    rounds: u32,
    clients: Vec<u32>,
    cases: Vec<&'static Case>,
    protocols: Vec<Protocol>,
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
        seconds: 4,
        rounds: 3,
        clients: vec![1, 8, 32],
        cases: CASES.iter().collect(),
        protocols: Protocol::ALL.to_vec(),
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
            other => return Err(format!("unknown option {other}; see the head of benches/load/main.rs")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    eprintln!("starting Postgres, PgBouncer and pgwarden ...");
    let lab = Lab::start()?;
    let runs = options.cases.len() * options.protocols.len() * options.clients.len();
    eprintln!("{runs} cells, about {} s", runs as u32 * options.rounds * 2 * (options.seconds + 1));
    // First of all: memory that load has left behind would be given to the idle clients.
    let mut summary = Summary { idle: Some(lab.idle_memory(1_000)?), ..Summary::default() };
    println!("{}", Row::HEADER);
    for case in &options.cases {
        for protocol in &options.protocols {
            for clients in &options.clients {
                let row = cell(&lab, options, case, *protocol, *clients)?;
                println!("{row}");
                summary.rows.push(row);
            }
        }
    }
    println!("\n{summary}");
    summary.write("target/load.json")
}

/// One cell of the table: rounds of both peers, interleaved so that drift of the machine hits both.
fn cell(lab: &Lab, options: &Options, case: &Case, protocol: Protocol, clients: u32) -> Result<Row, String> {
    let (mut theirs, mut ours): (Vec<Sample>, Vec<Sample>) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        theirs.push(lab.pgbench(Peer::PgBouncer, case, protocol, clients, options.seconds)?);
        ours.push(lab.pgbench(Peer::Pgwarden, case, protocol, clients, options.seconds)?);
    }
    Ok(Row::new(case.name, protocol, clients, &theirs, &ours))
}
