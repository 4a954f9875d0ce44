//! What is measured besides transactions: latency, memory, connecting, bulk transfer, many tenants.

use std::time::{Duration, Instant};

use crate::cases::{ALTERNATIVES, BULK, Bulk, CASES, Protocol};
use crate::client::Client;
use crate::lab::{Lab, Peer};
use crate::process::Running;
use crate::report::{Figure, Ratio};

/// Queries of one round of the latency section.
const QUERIES: usize = 500;
/// Connections of one round of the connect section.
const CONNECTIONS: u32 = 500;

/// Latency of one client's point reads, p50 in microseconds, as Postgres itself, PgBouncer and pgwarden have it.
pub fn latency(lab: &Lab, rounds: u32) -> Result<Vec<Figure>, String> {
    let doors = [
        (lab.cluster.port(), "one", true),
        (lab.bouncer.port, Peer::PgBouncer.database(), true),
        (lab.warden.port, Peer::Shared.database(), false),
    ];
    let mut medians: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        for ((port, database, by_hand), found) in doors.iter().zip(&mut medians) {
            let tenant = if *by_hand { " AND tenant_id = 1" } else { "" };
            let times = lab.runtime.block_on(async {
                let mut client = Client::connect(*port, database, false).await?;
                let mut times = Vec::with_capacity(QUERIES);
                for i in 0..QUERIES {
                    let id = 1 + (i * 7 + round as usize) % 5000;
                    let sql = format!("SELECT id, status, total_cents FROM orders WHERE id = {id}{tenant}");
                    let start = Instant::now();
                    client.query(&sql).await?;
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                Ok::<_, String>(times)
            })?;
            found.push(median(times));
        }
    }
    // The quietest round of each: everything else that runs only adds.
    let [direct, theirs, ours] = medians.map(|found| found.into_iter().fold(f64::INFINITY, f64::min));
    Ok(vec![
        Figure::plain("p50 at one client, without a proxy (us)", direct),
        Figure::pair("added by the proxy (us)", theirs - direct, ours - direct),
    ])
}

/// Resident bytes for each of many idle clients that ran a query, and CPU while they are idle.
pub fn idle(lab: &Lab, clients: u32) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (tls, clients) in [(false, clients), (true, clients / 5)] {
        let per_client = |running: &Running, peer: Peer| -> Result<(f64, f64), String> {
            let before = running.resident_bytes()?;
            let open = lab.runtime.block_on(async {
                let mut open = Vec::new();
                for _ in 0..clients {
                    let mut client = Client::connect(running.port, peer.database(), tls).await?;
                    client.query("SELECT id FROM orders WHERE id = 1 AND tenant_id = 1").await?;
                    open.push(client);
                }
                Ok::<_, String>(open)
            })?;
            std::thread::sleep(Duration::from_millis(500));
            let (after, cpu) = (running.resident_bytes()?, running.cpu_seconds()?);
            std::thread::sleep(Duration::from_secs(3));
            let cpu = running.cpu_seconds()? - cpu;
            drop(open);
            Ok(((after - before) / f64::from(clients), cpu))
        };
        // Fresh ones: what earlier clients have left behind would be given to these.
        let (bouncer, warden) = lab.fresh()?;
        let (theirs, ours) = (per_client(&bouncer, Peer::PgBouncer)?, per_client(&warden, Peer::Shared)?);
        let kind = if tls { "TLS" } else { "plaintext" };
        figures.push(Figure::pair(format!("bytes for each of {clients} idle clients, {kind}"), theirs.0, ours.0));
        figures.push(Figure::pair(format!("CPU seconds in 3 s with {clients} idle clients, {kind}"), theirs.1, ours.1));
    }
    Ok(figures)
}

/// CPU for each 1,000 connections that log in (trust), run nothing and leave.
pub fn connecting(lab: &Lab, rounds: u32) -> Result<Vec<Figure>, String> {
    let cost = |running: &Running, peer: Peer| -> Result<f64, String> {
        let before = running.cpu_seconds()?;
        lab.runtime.block_on(async {
            for _ in 0..CONNECTIONS {
                Client::connect(running.port, peer.database(), false).await?;
            }
            Ok::<_, String>(())
        })?;
        Ok((running.cpu_seconds()? - before) * 1e6 / f64::from(CONNECTIONS))
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(cost(&lab.bouncer, Peer::PgBouncer)?);
        ours.push(cost(&lab.warden, Peer::Shared)?);
    }
    Ok(vec![Figure::spread("CPU for each 1,000 connections (ms)", &theirs, &ours)])
}

/// Large results and COPY: throughput, and CPU of the proxy, for each MB.
pub fn bulk(lab: &Lab, rounds: u32) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for case in &BULK {
        let (mut theirs, mut ours): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(transfer(lab, Peer::PgBouncer, case)?);
            ours.push(transfer(lab, Peer::Shared, case)?);
        }
        let column = |of: fn(&(f64, f64)) -> f64, samples: &[(f64, f64)]| samples.iter().map(of).collect::<Vec<_>>();
        let name = case.name;
        figures.push(Figure::spread(format!("{name} (MB/s)"), &column(|s| s.0, &theirs), &column(|s| s.0, &ours)));
        figures.push(Figure::spread(format!("{name} (CPU ms/MB)"), &column(|s| s.1, &theirs), &column(|s| s.1, &ours)));
    }
    Ok(figures)
}

/// MB a second, and CPU milliseconds of the proxy for each MB.
fn transfer(lab: &Lab, peer: Peer, case: &Bulk) -> Result<(f64, f64), String> {
    let running = lab.running(peer, Protocol::Simple);
    let (sql, row) = if peer == Peer::PgBouncer { case.by_hand } else { case.bare };
    let rows = row.repeat(1_000);
    let cpu = running.cpu_seconds()?;
    let start = Instant::now();
    let bytes = lab.runtime.block_on(async {
        let mut client = Client::connect(running.port, peer.database(), false).await?;
        if row.is_empty() {
            return client.query(sql).await;
        }
        client.copy_in(sql, rows.as_bytes(), case.times).await?;
        // What the client sent differs by the tenant column: the table's data counts, the same for both.
        Ok(case.by_hand.1.len() * 1_000 * case.times)
    })?;
    let megabytes = bytes as f64 / 1e6;
    Ok((megabytes / start.elapsed().as_secs_f64(), (running.cpu_seconds()? - cpu) * 1e3 / megabytes))
}

/// Tenants with a database each, all met once: memory and CPU of the proxy.
pub fn databases(lab: &Lab, count: usize) -> Result<Vec<Figure>, String> {
    let text = |e: pgwarden::test_cluster::ClusterError| e.to_string();
    let schema = "CREATE TABLE orders (id bigint PRIMARY KEY, note text); GRANT SELECT ON orders TO app";
    lab.runtime.block_on(async {
        lab.cluster.create_database("t0", None).await.map_err(text)?;
        lab.cluster.run("t0", schema).await.map_err(text)?;
        for i in 1..count {
            lab.cluster.create_database(&format!("t{i}"), Some("t0")).await.map_err(text)?;
        }
        Ok::<_, String>(())
    })?;
    let meet = |running: &Running| -> Result<(f64, f64), String> {
        let (memory, cpu) = (running.resident_bytes()?, running.cpu_seconds()?);
        lab.runtime.block_on(async {
            for i in 0..count {
                Client::connect_patiently(running.port, &format!("t{i}")).await?;
            }
            Ok::<_, String>(())
        })?;
        Ok(((running.resident_bytes()? - memory) / 1e6, (running.cpu_seconds()? - cpu) * 1e3))
    };
    let (bouncer, start_warden) = lab.many_databases(count)?;
    let theirs = meet(&bouncer)?;
    drop(bouncer);
    let ours = meet(&start_warden()?)?;
    Ok(vec![
        Figure::pair(format!("memory after the first contact with {count} databases (MB)"), theirs.0, ours.0),
        Figure::pair(format!("CPU of the first contact with {count} databases (ms)"), theirs.1, ours.1),
    ])
}

/// What keeping and bounding usage costs: CPU for each transaction, without and with `[quota]`.
pub fn quota(lab: &Lab, rounds: u32, seconds: u32) -> Result<Vec<Figure>, String> {
    let bounded = lab.with_quota()?;
    let script = CASES.first().map_or("", |case| case.bare);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (running, samples) in [(&lab.warden, &mut without), (&bounded, &mut with)] {
            samples.push(lab.pgbench(running, Peer::Shared, script, Protocol::Prepared, 8, seconds)?.cpu_us);
        }
    }
    let name = "point read, pgwarden without and with [quota] (CPU us/transaction)";
    Ok(vec![Figure::spread(name, &without, &with)])
}

/// Start with many tenants of the shared layout, until pgwarden listens.
pub fn tenants(lab: &Lab, count: usize) -> Result<Vec<Figure>, String> {
    let start = Instant::now();
    let running = lab.many_tenants(count)?;
    let started = start.elapsed().as_secs_f64();
    let name = format!("t{}", count - 1);
    lab.runtime.block_on(Client::connect_patiently(running.port, &name))?;
    Ok(vec![
        Figure::plain(format!("start with {count} tenants (s)"), started),
        Figure::plain(format!("memory with {count} tenants (MB)"), running.resident_bytes()? / 1e6),
    ])
}

/// The guard against other ways to keep tenants apart, by transactions a second.
pub fn alternatives(lab: &Lab, rounds: u32, seconds: u32) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for alternative in &ALTERNATIVES {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (peer, script, samples) in
                [(Peer::PgBouncer, alternative.theirs, &mut theirs), (Peer::Shared, alternative.ours, &mut ours)]
            {
                let running = lab.running(peer, Protocol::Simple);
                samples.push(lab.pgbench(running, peer, script, Protocol::Simple, 8, seconds)?.tps);
            }
        }
        figures.push(Figure::spread(format!("{} (transactions/s)", alternative.name), &theirs, &ours));
    }
    Ok(figures)
}

fn median(mut values: Vec<f64>) -> f64 {
    Ratio::sort(&mut values);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
