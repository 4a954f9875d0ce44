//! `pgwarden migrate`

mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum};
use tokio::sync::watch;

use super::tenant::{audit, fail, failed, user};
use super::text::shown;
use super::{ConfigArgs, Progress, conclude, runtime};
use crate::config::{Config, parse_duration};
use crate::lifecycle::migrate::{ActAs, MigrateRequest, Patience, Selection, Stop, Told, Tool, What};
use crate::lifecycle::{Lifecycle, LifecycleError};

/// Options of `pgwarden migrate`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(true).args(["dir", "command", "status", "drift"]),
    long_about = "Run migrations in the schema or database of every tenant, or in shared tables: numbered SQL files, or any tool. Each place by \
                  itself: one that fails leaves the others as they are, and a second run does what is left. Needs [upstream.*.admin], and \
                  the tables of pgwarden tenant init.",
    after_help = "Examples:\n  \
        pgwarden migrate --dir migrations/                              V1__x.sql, 0001_x.sql, 20260101120000_x.sql\n  \
        pgwarden migrate --dir migrations/ --canary acme --jobs 8\n  \
        pgwarden migrate --dir migrations/ --status                     which places have come how far\n  \
        pgwarden migrate --dir shared/ --shared                         once, for the tables that tenants share\n  \
        pgwarden migrate --drift --template tmpl                        which places are not like it\n  \
        pgwarden migrate --logs logs/ -- alembic upgrade head           any tool: DATABASE_URL, PGHOST, PGOPTIONS, PGWARDEN_TENANT ...\n  \
        pgwarden migrate -- psql -X -v ON_ERROR_STOP=1 -f change.sql"
)]
pub struct MigrateArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "pgwarden.toml")]
    config: PathBuf,
    /// Files V1__name.sql, 0001_name.sql or 20260101120000_name.sql, applied in this order
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    dir: Option<PathBuf>,
    /// A tool, run once for each place with that place in its environment
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["status", "drift"])]
    command: Vec<String>,
    /// How far each place has come; with --dir, what is left to do
    #[arg(long, conflicts_with_all = ["drift", "dry_run"])]
    status: bool,
    /// Which places are not like the others, or not like --template: tables, columns, indexes, constraints and more
    #[arg(long, conflicts_with_all = ["dir", "dry_run"])]
    drift: bool,
    /// Compare with this schema of the same database, or this database of the same server
    #[arg(long, value_name = "NAME", requires = "drift")]
    template: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
    /// Who does it, for the records; the user of the operating system if it is not given
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    r#where: WhereArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// Which places.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Where")]
struct WhereArgs {
    /// Places of these layouts; without it, those of tenants' own: schema and database
    #[arg(long, value_enum, value_delimiter = ',')]
    layout: Vec<LayoutWord>,
    /// The same as --layout shared
    #[arg(long, conflicts_with = "layout")]
    shared: bool,
    /// Tenants by name, with * and ?: "eu-*,acme"
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    tenants: Vec<String>,
    /// Tenants that come first; if one of them fails, no other is begun
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    canary: Vec<String>,
}

/// How.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "How")]
struct HowArgs {
    /// Places at one time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Begin no more places after so many failures
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_failures: u32,
    /// How long a migration may wait for a lock: all who come after it wait with it
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    lock_timeout: Duration,
    /// Then it is tried so many times again ...
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// ... after this pause
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pause: Duration,
    /// How long one statement may take; 0s: as long as it takes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    statement_timeout: Duration,
    /// A file may be older than what was applied already
    #[arg(long, requires = "dir")]
    out_of_order: bool,
    /// Numbers of files may be missing
    #[arg(long, requires = "dir")]
    gaps: bool,
    /// Keep each place's output of the command in a file there
    #[arg(long, value_name = "DIRECTORY", requires = "command")]
    logs: Option<PathBuf>,
    /// Run as this role, not as the owner of the schema or database
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Tenants can make nothing in their places: run with the admin's login
    #[arg(long)]
    trust: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutWord {
    /// Tables that tenants share: once for each database
    Shared,
    /// Schemas of tenants
    Schema,
    /// Databases of tenants
    Database,
    /// All of them
    All,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a time like 500ms, 2s, 5min".to_owned())
}

impl MigrateArgs {
    fn selection(&self) -> Selection {
        let layouts = match self.r#where.shared {
            true => vec!["shared"],
            false => self.r#where.layout.iter().flat_map(|word| word.layouts()).copied().collect(),
        };
        let layouts = layouts.into_iter().map(str::to_owned).collect();
        Selection { layouts, tenants: self.r#where.tenants.clone() }
    }

    /// What is run; `None`: something is asked.
    fn what(&self) -> Option<What> {
        let HowArgs { gaps, out_of_order, logs, .. } = self.how.clone();
        match &self.dir {
            Some(directory) if !self.status => Some(What::Files { directory: directory.clone(), gaps, out_of_order }),
            _ if !self.command.is_empty() => Some(What::Tool(Tool { command: self.command.clone(), logs })),
            _ => None,
        }
    }

    fn request(&self, what: What) -> MigrateRequest {
        let HowArgs { lock_timeout, retries, pause, statement_timeout, .. } = self.how;
        MigrateRequest {
            what,
            selection: self.selection(),
            act_as: ActAs { role: self.how.role.clone(), trust: self.how.trust },
            patience: Patience { lock_timeout, retries, pause, statement_timeout },
            jobs: usize::from(self.how.jobs),
            canary: self.r#where.canary.clone(),
            max_failures: usize::try_from(self.how.max_failures).unwrap_or(usize::MAX),
            dry_run: self.dry_run,
        }
    }
}

impl LayoutWord {
    fn layouts(self) -> &'static [&'static str] {
        match self {
            Self::Shared => &["shared"],
            Self::Schema => &["schema"],
            Self::Database => &["database"],
            Self::All => &["shared", "schema", "database"],
        }
    }
}

/// Does it, and prints what came of it.
pub(super) fn run(args: &MigrateArgs) -> ExitCode {
    let config = match (ConfigArgs { config: args.config.clone() }).load() {
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
    match runtime.block_on(done(args, config)) {
        Ok((text, well)) => conclude(text, well),
        Err(error) => failed(&error),
    }
}

/// What is printed, and whether it went well.
async fn done(args: &MigrateArgs, config: Config) -> Result<(String, bool), LifecycleError> {
    let progress = Progress::new();
    let on_terminal = progress.is_shown();
    let line = |what: &str| match on_terminal {
        // Those of a moment.
        true => {}
        false => eprintln!("{}", shown(what)),
    };
    let by = args.by.clone().unwrap_or_else(user);
    let (lifecycle, rejected) = Lifecycle::open(config, by, |what| eprintln!("{what}")).await?;
    for row in rejected {
        eprintln!("warning: [tenants_from]: row \"{}\" is left out: {}", row.name, row.why);
    }
    let (selection, jobs) = (args.selection(), usize::from(args.how.jobs));
    if args.status {
        let status = lifecycle.migration_status(&selection, args.dir.as_deref(), args.how.gaps, jobs).await?;
        let well = status.places.iter().all(|it| it.problem.is_none());
        return Ok((print::status(&status, args.json), well));
    }
    if args.drift {
        let drift = lifecycle.migration_drift(&selection, args.template.as_deref(), jobs).await?;
        return Ok((print::drift(&drift, args.json), drift.drifted.is_empty()));
    }
    let Some(what) = args.what() else { return Ok((String::new(), true)) };
    let tell = |told: Told<'_>| match told {
        Told::Line(what) => {
            progress.say(shown(what));
            line(what);
        }
        Told::Place { line: what, done, all } => {
            progress.counted(&shown(what), Some((done, all)));
            line(&format!("[{done}/{all}] {what}"));
        }
        Told::Output(what, is_error) => progress.beside(|| match is_error || args.json {
            true => eprintln!("{what}"),
            false => println!("{what}"),
        }),
    };
    let report = lifecycle.migrate(&args.request(what), stop(), &tell).await?;
    drop(progress);
    Ok((print::report(&report, args.json), report.is_well()))
}

/// Raised by Ctrl-C, and by who ends the process in an orderly way.
fn stop() -> Stop {
    let (raise, raised) = watch::channel(false);
    tokio::spawn(async move {
        let terminated = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => signal.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => {}
            Some(()) = terminated => {}
            else => return,
        }
        eprintln!("stopping: nothing more is begun, what is under way is undone");
        // Nobody may be waiting any more.
        let _ = raise.send(true);
        // It stays raised.
        std::future::pending::<()>().await;
    });
    Stop::when(raised)
}
