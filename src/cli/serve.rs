//! `pgwarden serve`

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgs, runtime};
use crate::app::{Proxy, check_policies};
use crate::config::Config;
use crate::observe;

/// Options of `pgwarden serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Run the proxy in the foreground. An upstream that is down is logged and tried again; it does not keep \
                  pgwarden from starting.",
    after_help = "SIGHUP: read the configuration again; a file with errors changes nothing.\n\
                  SIGTERM or SIGINT: accept no more clients, let transactions end (listen.shutdown_timeout), then stop; the second one: stop at once."
)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs until it is told to stop.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let config = match args.config.load() {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    if let Err(error) = observe::init(&config.log) {
        eprintln!("pgwarden: {error}");
        return ExitCode::FAILURE;
    }
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(config)),
        Err(code) => code,
    }
}

async fn serve(config: Config) -> ExitCode {
    // The handlers are there before clients are.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        eprintln!("pgwarden: cannot handle signals");
        return ExitCode::FAILURE;
    };
    if let Err(error) = check_policies(&config).await {
        tracing::error!(%error, "cannot start");
        eprintln!("pgwarden: {error}");
        return ExitCode::FAILURE;
    }
    let proxy = match Proxy::start(config) {
        Ok(proxy) => proxy,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            eprintln!("pgwarden: {error}");
            return ExitCode::FAILURE;
        }
    };
    let control = proxy.control();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: reading the configuration again");
            // What it did is in the log.
            let _ = control.reload().await;
        }
    });
    let control = proxy.control();
    tokio::spawn(async move {
        loop {
            let told = tokio::select! {
                told = terminate.recv() => told,
                told = interrupt.recv() => told,
            };
            match told {
                Some(()) => control.stop(),
                None => return,
            }
        }
    });
    proxy.run(std::future::pending()).await;
    ExitCode::SUCCESS
}
