//! `pgwarden demo`: a throwaway Postgres with a small web shop, pgwarden in front of it, a guided tour, and then both to
//! play with until Ctrl-C.

mod screen;
mod shop;
mod tour;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::screen::Screen;
use self::shop::{PASSWORD, RESIDENTS};
use super::runtime;
use crate::app::{Proxy, ServeError};
use crate::config::{self, Config, ConfigErrors};
use crate::observe::{self, InitError};
use crate::test_cluster::{Cluster, ClusterError, Options};

/// Where pgwarden listens unless that port is taken or another is asked for.
const DEFAULT_PORT: u16 = 6432;
/// How long clients may take to end their transactions when the demo ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Options of `pgwarden demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Port to listen on at 127.0.0.1 [default: 6432, or a free one when it is taken]
    #[arg(long)]
    pub port: Option<u16>,
    /// End after the tour; fail if anything in it did not go as it should
    #[arg(long)]
    pub once: bool,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No throwaway Postgres.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The task that starts Postgres was cancelled.
    #[error("starting Postgres: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A file, a port or a signal handler.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The demo's own configuration was refused: a defect.
    #[error("the demo's configuration: {0}")]
    Config(#[from] ConfigErrors),
    /// The log could not be set up.
    #[error(transparent)]
    Log(#[from] InitError),
    /// pgwarden did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A client could not connect through pgwarden.
    #[error("connecting through pgwarden: {0}")]
    Client(#[from] tokio_postgres::Error),
    /// `--once`, and the tour had surprises.
    #[error("{0} statements of the tour did not go as they should")]
    Surprises(usize),
}

/// Runs the demo until Ctrl-C (or the tour's end). Everything that it made is gone when this returns.
pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let ended = match runtime() {
        Ok(runtime) => runtime.block_on(demo(args)),
        Err(code) => return code,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &DemoArgs) -> Result<(), DemoError> {
    let screen = Screen::new();
    let started = Instant::now();
    screen.line("Starting a throwaway Postgres ...");
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&Options::default())).await??;
    let mut server = None;
    let shown = tokio::select! {
        shown = show(&screen, &cluster, args, started, &mut server) => shown,
        interrupt = tokio::signal::ctrl_c() => interrupt.map_err(DemoError::from),
    };
    screen.line("\nStopping, and removing the cluster.");
    let served = match server {
        Some(server) => server.stop().await,
        None => Ok(()),
    };
    // Blocks for the moment that Postgres takes to end; nothing else runs by now.
    drop(cluster);
    shown.and(served)
}

/// pgwarden, serving in a task.
struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(config: Config) -> Result<Self, ServeError> {
        let proxy = Proxy::start(config)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            // An error means that the sender is gone: stop, too.
            let _ = stopped.await;
        };
        Ok(Self { stop, task: tokio::spawn(proxy.run(shutdown)) })
    }

    /// Whoever sits in psql with an open transaction is not waited for.
    async fn stop(self) -> Result<(), DemoError> {
        // An error means that it has ended already.
        let _ = self.stop.send(());
        match tokio::time::timeout(STOP_TIMEOUT, self.task).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Ok(()),
        }
    }
}

async fn show(
    screen: &Screen,
    cluster: &Cluster,
    args: &DemoArgs,
    started: Instant,
    server: &mut Option<Server>,
) -> Result<(), DemoError> {
    shop::build(cluster).await?;
    let (port, path, config) = configure(cluster, args.port)?;
    screen.line(&format!("Postgres is up at 127.0.0.1:{}; starting pgwarden at 127.0.0.1:{port} ...", cluster.port()));
    observe::init(&config.log)?;
    *server = Some(Server::start(config)?);
    introduce(screen);
    let surprises = tour::run(screen, port).await?;
    screen.remark(&format!("\n(ready and shown in {:.1} s)", started.elapsed().as_secs_f64()));
    match (args.once, surprises) {
        (true, 0) => Ok(()),
        (true, surprises) => Err(DemoError::Surprises(surprises)),
        (false, _) => {
            invite(screen, port, &path, cluster);
            // Until Ctrl-C, which ends this future.
            std::future::pending().await
        }
    }
}

/// Writes the configuration beside the cluster's data, for `pgwarden explain` and for reading, and loads it.
fn configure(cluster: &Cluster, port: Option<u16>) -> Result<(u16, PathBuf, Config), DemoError> {
    let port = choose_port(port)?;
    let text = shop::config(port, cluster.port());
    let path = cluster.directory().join("pgwarden.toml");
    std::fs::write(&path, &text)?;
    let loaded = config::parse(&text, &path, &|_| None)?;
    Ok((port, path, loaded.config))
}

fn choose_port(asked: Option<u16>) -> Result<u16, DemoError> {
    let probe =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|it| it.local_addr()).map(|it| it.port());
    match asked {
        Some(port) => Ok(probe(port)?),
        None => Ok(probe(DEFAULT_PORT).or_else(|_| probe(0))?),
    }
}

fn introduce(screen: &Screen) {
    screen.heading("Four tenants behind one address:");
    for it in &RESIDENTS {
        screen.line(&format!("  {:<10} {}", it.name, it.lives));
    }
}

/// What to paste, and where things are.
fn invite(screen: &Screen, port: u16, config: &Path, cluster: &Cluster) {
    screen.heading("Now you. Each line is a tenant:");
    for it in &RESIDENTS {
        screen.line(&format!("  psql postgres://{0}:{PASSWORD}@127.0.0.1:{port}/{0}", it.name));
    }
    screen.line("An operator, past the guard and audited:");
    screen.line(&format!("  psql postgres://operator:{PASSWORD}@127.0.0.1:{port}/shop"));
    screen.line("What pgwarden makes of a statement, and why:");
    let program = std::env::current_exe().map_or_else(|_| "pgwarden".to_owned(), |it| it.display().to_string());
    screen.line(&format!(
        "  {program} explain --config {} --tenant acme \"SELECT * FROM orders WHERE status = 'open'\"",
        config.display()
    ));
    screen.remark(&format!(
        "Who was refused what, and what operators did: {}",
        config.with_file_name("audit.log").display()
    ));
    screen.remark(&format!(
        "Postgres itself: {} (data and log in {})",
        cluster.url("shop"),
        cluster.directory().display()
    ));
    screen.line("\nCtrl-C ends it and removes everything.");
}
