//! `pgwarden init`

mod ask;
mod files;
mod roles;
mod secrets;
mod write;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Progress, print, runtime};
use crate::base::QualifiedName;
use crate::catalog::{self, Catalog, LoadError};
use crate::checks::init::{Certainty, Choice, Facts, Plan, Rule, Wanted, choose, decide, read};
use crate::config::{Upstream, parse, url_of};
use crate::control::{self, ControlError};
use crate::sql::quote_literal;
use ask::Questions;
use files::Files;
use secrets::Secrets;
use write::Made;

/// Options of `pgwarden init`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Write a first configuration for a database whose tenants share tables. Reads the database's catalog: the tenant \
                  column, which table is whose and how, what all tenants may read, where the tenants are listed. Each guess has its \
                  reason beside it; what cannot be told from the database is asked for on a terminal, or marked with DECIDE and \
                  refused until somebody decides. Changes nothing in the database: two roles for pgwarden stand in a file of SQL to \
                  be run there.",
    after_help = "Examples:\n  pgwarden init --url postgres://postgres@127.0.0.1:5432/app\n  psql postgres://postgres@127.0.0.1:5432/app -f pgwarden.sql\n  \
                  pgwarden check --config pgwarden.toml --connect\n\nThe password is taken from PGPASSWORD if the url has none. Use a role \
                  that may read the tables, such as their owner: pgwarden itself will use the roles of the file.\n\nExit code: 0 if the \
                  files were written."
)]
pub struct InitArgs {
    /// The database: postgres://user@host:port/database
    #[arg(long, value_name = "URL")]
    url: String,
    /// The configuration to write. The other files are put beside it, with its name
    #[arg(short, long, value_name = "FILE", default_value = "pgwarden.toml")]
    out: PathBuf,
    /// The tenant column, if its name does not tell
    #[arg(long, value_name = "NAME")]
    tenant_column: Option<String>,
    /// The table with one row for each tenant, if no foreign key leads there: schema.name
    #[arg(long, value_name = "TABLE")]
    tenants_table: Option<String>,
    /// Where pgwarden will listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6432")]
    listen: std::net::SocketAddr,
    /// Ask nothing: what cannot be decided is marked in the file
    #[arg(short, long)]
    yes: bool,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
}

/// Writes the files; says on standard output what they are for.
pub(super) fn run(args: &InitArgs) -> ExitCode {
    match make(args) {
        Ok(said) => print(said),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(args: &InitArgs) -> Result<String, String> {
    let files = Files::beside(&args.out)?;
    if !args.force {
        files.are_new()?;
    }
    let upstream = upstream(&args.url)?;
    let wanted = wanted(args)?;
    let runtime = runtime().map_err(|_| "no runtime".to_owned())?;
    let (catalog, facts, choice) = runtime.block_on(ask_database(&upstream, &wanted))?;
    let mut questions = Questions::new(!args.yes && io::stdin().is_terminal());
    let plan = decide(&catalog, &facts, choice, &mut |question| questions.ask(question));
    let made = Made {
        plan: &plan,
        catalog: &catalog,
        facts: &facts,
        upstream: &upstream,
        listen: args.listen,
        files: &files,
        secrets: &Secrets::new(),
    };
    let contents = made.contents();
    files.write(&contents, args.force)?;
    accepted(&args.out)?;
    Ok(summary(&plan, &files, &upstream, &args.out))
}

/// What was written is a configuration.
fn accepted(path: &Path) -> Result<(), String> {
    crate::config::load(path).map(drop).map_err(|found| {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        format!("{} was written, and is not accepted:\n{}", path.display(), errors.join("\n"))
    })
}

fn wanted(args: &InitArgs) -> Result<Wanted, String> {
    let table = args.tenants_table.as_deref().map(|text| {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        match schema.is_empty() || name.is_empty() || name.contains('.') {
            true => Err(format!("--tenants-table {text}: not a schema and a name, as in public.orgs")),
            false => Ok(QualifiedName::new(schema, name)),
        }
    });
    Ok(Wanted { column: args.tenant_column.clone(), table: table.transpose()? })
}

/// As a configuration would have it.
fn upstream(url: &str) -> Result<Arc<Upstream>, String> {
    let text = |password: &str| {
        format!(
            "[listen]\naddress = \"127.0.0.1:6432\"\n[upstream.main]\nurl = {}\n{password}[tenancy]\nupstream = \"main\"\n\
             [tenancy.pattern]\nkey = \"{{name}}\"\n[[login]]\nname = \"x\"\npassword = \"x\"\ntenants = \"*\"\n",
            super::text::Quoted(url)
        )
    };
    let env = |name: &str| std::env::var(name).ok();
    let here = Path::new("pgwarden.toml");
    let with = env("PGPASSWORD").filter(|it| !it.is_empty()).and_then(|_| {
        // In the url and in the environment: the url's stands.
        parse(&text("password_env = \"PGPASSWORD\"\n"), here, &env).ok()
    });
    let read = match with {
        Some(loaded) => Ok(loaded),
        None => parse(&text(""), here, &env),
    };
    let loaded = read.map_err(|found| {
        let errors: Vec<String> =
            found.errors.iter().map(|it| it.message.replace("\"url\" in [upstream.main]", "--url")).collect();
        errors.join("; ")
    })?;
    loaded.config.upstreams.into_values().next().ok_or_else(|| "--url names no database".to_owned())
}

async fn ask_database(upstream: &Upstream, wanted: &Wanted) -> Result<(Arc<Catalog>, Facts, Choice), String> {
    let progress = Progress::new();
    progress.say(format!("reading the catalog at {}", upstream.address));
    let failed = |error: LoadError| not_read(upstream, &error);
    let catalog = catalog::load(upstream).await.map_err(failed)?;
    let choice = choose(&catalog, wanted).map_err(|error| error.to_string())?;
    progress.say("looking at tables, views and functions");
    let control = control::connect(upstream, "pgwarden init").await.map_err(|error| failed(error.into()))?;
    let facts = read(&control, &catalog, &choice).await.map_err(|error| failed(error.into()))?;
    Ok((catalog, facts, choice))
}

/// Why the database could not be asked, with what to do.
fn not_read(upstream: &Upstream, error: &LoadError) -> String {
    let code = match error {
        LoadError::Control(ControlError::Postgres(error)) => error.code().map(|it| it.code().to_owned()),
        LoadError::Control(_) | LoadError::TooOld(_) | LoadError::Unexpected { .. } => None,
    };
    let hint = match code.as_deref() {
        Some("3D000") => "; --url names another database than there is: psql -l lists them",
        Some("28P01" | "28000") => "; give the password in PGPASSWORD or in the url",
        Some("42501") => "; use a role that may read the tables, such as their owner",
        _ => "",
    };
    format!("database {} at {}: {error}{hint}", quote_literal(&upstream.database), upstream.address)
}

/// What was made, and what comes next.
fn summary(plan: &Plan, files: &Files, upstream: &Upstream, out: &Path) -> String {
    let count = |is: fn(&Rule) -> bool| plan.relations.values().filter(|it| is(&it.rule)).count();
    let marks = plan.count(|it| it.certainty != Certainty::Sure)
        + plan.remarks.len()
        + usize::from(plan.choice.rival.is_some());
    format!(
        "tenant column {}: {}\n{} relations of tenants by it, {} by another column or their own key, {} through a foreign key; {} shared, {} \
         refused\n{marks} marked with DECIDE in {}\n\nwritten: {}\n\nNext:\n  psql {} -f {}\n  pgwarden check --config {} --connect\n  pgwarden serve --config {}\n",
        plan.choice.column,
        plan.choice.why,
        count(|it| matches!(it, Rule::ByColumn)),
        count(|it| matches!(it, Rule::Column { .. } | Rule::Tenants(_))),
        count(|it| matches!(it, Rule::Through(_))),
        count(|it| matches!(it, Rule::Shared | Rule::Open(_))),
        count(|it| matches!(it, Rule::Refused)),
        out.display(),
        files.names().join(", "),
        url_of(upstream, &upstream.user, None, &[]),
        files.sql.display(),
        out.display(),
        out.display(),
    )
}
