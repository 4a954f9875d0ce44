//! `pgwarden tenant`

mod create;
mod moving;
pub(super) mod print;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value as Json;

use super::{ConfigArgs, Progress, conclude, runtime};
use crate::config::{AuditSink, Config, LogConfig};
use crate::lifecycle::{DeleteRequest, ExportRequest, Home, ImportRequest, Lifecycle, LifecycleError};
use crate::observe;

/// Options of `pgwarden tenant`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "The life of a tenant: make it, look at it, suspend it, copy it out and in, move it, delete it. One operation on a tenant at a time; each is recorded in the \
                  table of operations, leaves nothing half done when it fails, and may be run again. Servers are connected to as \
                  [upstream.*.admin], never as the pool's role.",
    after_help = "Examples:\n  \
        pgwarden tenant init                                      make pgwarden's own tables\n  \
        pgwarden tenant create acme --key 42\n  \
        pgwarden tenant create globex --layout schema --template template\n  \
        pgwarden tenant list\n  \
        pgwarden tenant show acme --json\n  \
        pgwarden tenant move acme --to database --dry-run\n  \
        pgwarden tenant suspend acme"
)]
pub struct TenantArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What all verbs have.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "pgwarden.toml", global = true)]
    config: std::path::PathBuf,
    /// Print what came of it as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Who does it, for the records; the user of the operating system if it is not given
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Make pgwarden's own tables: that of operations, and that of tenants where section tenants_from has "table"
    Init {
        /// Print their definition instead
        #[arg(long)]
        ddl: bool,
    },
    /// All tenants: layout, place, size on disk
    List,
    /// One tenant: place, tables with rows and bytes, usage, the last operations on it
    Show {
        /// The tenant
        name: String,
    },
    /// Make a tenant: its schema or database, its role, its line among the tenants
    Create(create::CreateArgs),
    /// No logins for now: running sessions end when their transactions do
    Suspend(SuspendArgs),
    /// Logins again
    Resume(SuspendArgs),
    /// Copy a tenant's data at one moment into a directory, which psql can load
    Export(ExportArgs),
    /// Load an export into a tenant's empty place
    Import(ImportArgs),
    /// Give a tenant another place while it is served: its statements wait meanwhile
    Move(moving::MoveArgs),
    /// Delete a suspended tenant's data, and print the evidence
    Delete(DeleteArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct SuspendArgs {
    /// The tenant
    name: String,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ExportArgs {
    /// The tenant
    name: String,
    /// A directory that is not there, or empty
    directory: std::path::PathBuf,
    /// Rows in COPY's binary format: quicker, for the same major version and the same types
    #[arg(long)]
    binary: bool,
    /// Tables that are copied at one time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
}

impl ExportArgs {
    fn request(&self) -> ExportRequest {
        let jobs = usize::from(self.jobs);
        ExportRequest { name: self.name.clone(), directory: self.directory.clone(), binary: self.binary, jobs }
    }
}

#[derive(Clone, Debug, clap::Args)]
struct ImportArgs {
    /// The tenant, which there is already
    name: String,
    /// What export wrote
    directory: std::path::PathBuf,
    /// Compare hashes of the rows too, not their numbers alone
    #[arg(long)]
    verify: bool,
    /// Run definitions that the tenant may have written itself: you have read them
    #[arg(long)]
    trust: bool,
    /// Check the files, and say what would be loaded
    #[arg(long)]
    dry_run: bool,
}

impl ImportArgs {
    fn request(&self) -> ImportRequest {
        ImportRequest {
            name: self.name.clone(),
            directory: self.directory.clone(),
            verify: self.verify,
            trust: self.trust,
            dry_run: self.dry_run,
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
struct DeleteArgs {
    /// The tenant
    name: String,
    /// Count what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Rows of shared tables that are deleted in one transaction
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Delete at most so many rows a second
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
    /// Export its data there before
    #[arg(long, value_name = "DIRECTORY")]
    export_first: Option<std::path::PathBuf>,
}

impl DeleteArgs {
    fn request(&self) -> DeleteRequest {
        DeleteRequest {
            name: self.name.clone(),
            dry_run: self.dry_run,
            batch: self.batch,
            rate: self.rate,
            reason: self.reason.clone(),
            export_first: self.export_first.clone(),
        }
    }
}

/// Does it, and prints what came of it.
pub(super) fn run(args: &TenantArgs) -> ExitCode {
    let config = match (ConfigArgs { config: args.common.config.clone() }).load() {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    if let Err(error) = audit(&config.log) {
        return fail(&error);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = done(args, config) => outcome,
            // What is under way is rolled back by its server, and what it had made is finished by the next run.
            Ok(()) = tokio::signal::ctrl_c() => Err(LifecycleError::Interrupted),
        }
    });
    match outcome {
        Ok((text, well)) => conclude(text, well),
        Err(error) => failed(&error),
    }
}

/// Says why it did not go well, and what to do.
pub(super) fn failed(error: &LifecycleError) -> ExitCode {
    eprintln!("pgwarden: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("  hint: {hint}");
    }
    ExitCode::FAILURE
}

pub(super) fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("pgwarden: {error}");
    ExitCode::FAILURE
}

/// Audit events go to their file. Where they stand in a proxy's log, the table of operations tells the same.
pub(super) fn audit(config: &LogConfig) -> Result<(), observe::InitError> {
    match &config.audit {
        AuditSink::Log => Ok(()),
        AuditSink::File(_) => observe::init(&LogConfig { level: "off".to_owned(), ..config.clone() }),
    }
}

/// What is printed, and whether it went well.
async fn done(args: &TenantArgs, config: Config) -> Result<(String, bool), LifecycleError> {
    if let Verb::Init { ddl } = &args.verb {
        let home = Home::new(&config)?;
        if !ddl {
            Lifecycle::init(&home).await?;
            return Ok((format!("made, or there already: {}\n", print::tables(&home)), true));
        }
        return Ok((home.definition(), true));
    }
    let by = args.common.by.clone().unwrap_or_else(user);
    let progress = Progress::new();
    let shown = progress.is_shown();
    let tell = move |what: &str| match shown {
        true => progress.say(what),
        // A line each in a log.
        false => eprintln!("{what}"),
    };
    let (lifecycle, rejected) = Lifecycle::open(config, by, tell).await?;
    for row in rejected {
        eprintln!("warning: [tenants_from]: row \"{}\" is left out: {}", row.name, row.why);
    }
    let json = args.common.json;
    let text = match &args.verb {
        Verb::Init { .. } => String::new(),
        Verb::List => print::list(&lifecycle.list().await, json),
        Verb::Show { name } => print::view(&lifecycle.show(name).await?, json),
        Verb::Create(create) => print::outcome(&lifecycle.create(&create.request()).await?, json),
        Verb::Export(it) => print::outcome(&lifecycle.export(&it.request()).await?, json),
        Verb::Import(it) => print::outcome(&lifecycle.import(&it.request()).await?, json),
        Verb::Move(it) => print::outcome(&lifecycle.move_tenant(&it.request()).await?, json),
        Verb::Delete(it) => print::outcome(&lifecycle.delete(&it.request()).await?, json),
        Verb::Suspend(it) => print::outcome(&lifecycle.set_suspended(&it.name, true, it.dry_run).await?, json),
        Verb::Resume(it) => print::outcome(&lifecycle.set_suspended(&it.name, false, it.dry_run).await?, json),
    };
    Ok((text, true))
}

/// Who runs this.
pub(super) fn user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    name.unwrap_or_else(|| "unknown".to_owned())
}

/// A JSON value with a line's end.
pub(super) fn pretty(value: &Json) -> String {
    format!("{value:#}\n")
}
