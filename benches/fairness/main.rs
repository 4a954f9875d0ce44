//! A quiet tenant beside a noisy one: how long its statements take alone, and while 200 clients of another tenant keep the
//! pool busy; through pgwarden, and through PgBouncer, whose waiting clients stand in one line.
//!
//! `cargo bench --bench fairness -- [--seconds N] [--clients N]`; writes `target/fairness.json`. Needs the Debian packages
//! `postgresql` and `pgbouncer`.

// The load bench's, of which not all is needed here.
#[path = "../load/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../load/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../load/lab.rs"]
#[allow(dead_code)]
mod lab;
#[path = "../load/process.rs"]
#[allow(dead_code)]
mod process;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use lab::Lab;
use tokio::time::sleep;

/// Holds a server connection for five milliseconds, without CPU: what is measured is the wait for one.
const NOISE: &str = "SELECT public.pause()";
/// A point read by primary key.
const QUIET: &str = "SELECT total_cents FROM orders WHERE id = 1";
/// The quiet tenant's pace.
const PACE: Duration = Duration::from_millis(10);

struct Options {
    seconds: u64,
    clients: usize,
}

/// One proxy, and the databases that the two tenants ask it for.
struct Side {
    name: &'static str,
    port: u16,
    noisy: &'static str,
    quiet: &'static str,
}

/// Times of the quiet tenant's statements, in milliseconds.
struct Times {
    p50: f64,
    p99: f64,
    most: f64,
    count: usize,
}

impl Times {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |part: f64| all.get(((all.len() as f64 * part) as usize).min(all.len().saturating_sub(1))).copied();
        let at = |part| at(part).unwrap_or(f64::NAN);
        Self { p50: at(0.5), p99: at(0.99), most: at(1.0), count: all.len() }
    }
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fairness bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seconds: 10, clients: 200 };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or(format!("{arg} needs a value"))?;
            value.parse::<u64>().map_err(|_| format!("{value}: not a number"))
        };
        match arg.as_str() {
            // What `cargo bench` itself passes
            "--bench" => {}
            "--seconds" => options.seconds = number()?,
            "--clients" => options.clients = usize::try_from(number()?).map_err(|e| e.to_string())?,
            other => return Err(format!("unknown option {other}; see the head of benches/fairness/main.rs")),
        }
    }
    Ok(options)
}

fn bench(options: &Options) -> Result<(), String> {
    let lab = Lab::start()?;
    // PgBouncer knows no tenants: both stand in the line of its one pool, as they share pgwarden's.
    let warden = lab.many_tenants(2)?;
    let sides = [
        Side { name: "PgBouncer", port: lab.bouncer.port, noisy: "one", quiet: "one" },
        Side { name: "pgwarden", port: warden.port, noisy: "t0", quiet: "t1" },
    ];
    println!("| the quiet tenant's statements | p50 ms | p99 ms | longest ms | statements | of the neighbour |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut json = Vec::new();
    for side in &sides {
        for clients in [0, options.clients] {
            let (times, noise) = lab.runtime.block_on(measure(side, clients, options.seconds))?;
            let beside = if clients == 0 { "alone".to_owned() } else { format!("beside {clients} busy clients") };
            println!(
                "| {}, {beside} | {:.2} | {:.2} | {:.2} | {} | {noise} |",
                side.name, times.p50, times.p99, times.most, times.count
            );
            json.push(format!(
                "{{\"peer\":\"{}\",\"neighbours\":{clients},\"p50_ms\":{},\"p99_ms\":{},\"max_ms\":{}}}",
                side.name, times.p50, times.p99, times.most
            ));
        }
    }
    std::fs::write("target/fairness.json", format!("[{}]\n", json.join(","))).map_err(|e| e.to_string())
}

async fn measure(side: &Side, clients: usize, seconds: u64) -> Result<(Times, u64), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let noise = Arc::new(AtomicU64::new(0));
    let mut noisy = Vec::new();
    for _ in 0..clients {
        let mut client = Client::connect_patiently(side.port, side.noisy).await?;
        let (stop, noise) = (Arc::clone(&stop), Arc::clone(&noise));
        noisy.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                client.query(NOISE).await?;
                noise.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        }));
    }
    let quiet = listen(side, seconds).await;
    stop.store(true, Ordering::Relaxed);
    for client in noisy {
        client.await.map_err(|_| "a client panicked")??;
    }
    Ok((Times::of(quiet?), noise.load(Ordering::Relaxed)))
}

async fn listen(side: &Side, seconds: u64) -> Result<Vec<f64>, String> {
    let mut client = Client::connect_patiently(side.port, side.quiet).await?;
    // The neighbours' lines form.
    sleep(Duration::from_millis(500)).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        client.query(QUIET).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        sleep(PACE).await;
    }
    Ok(times)
}
