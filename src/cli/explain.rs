//! `pgwarden explain`: what the guard makes of statements, and why.

use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{ConfigArgs, conclude, runtime};
use crate::base::{Mode, Refusal, TenantKeys};
use crate::checks::plans::{Compared, compare, has_plan};
use crate::checks::{load_policy, tenants};
use crate::config::{AuditSink, Config, Layout, Role, Tenant, Upstream};
use crate::control;
use crate::guard::{Guard, Guarded, Plan, Policy, Protocol, plan_statements};
use crate::sql;
use crate::tenant::Registry;

/// Options of `pgwarden explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Show what pgwarden would do with each statement of a tenant: forward it as it is, rewrite it (with the final \
                  text), or refuse it (with the error that the client would get), and why. Reads the catalog of the \
                  tenant's upstream; with --plan asks it for plans; executes nothing.",
    after_help = "Examples:\n  pgwarden explain --tenant acme \"SELECT * FROM orders WHERE status = 'open'\"\n  \
                  pgwarden explain --tenant acme --extended 'SELECT * FROM orders WHERE id = $1'\n  \
                  pgwarden explain --tenant acme --plan --file queries.sql\n  \
                  pgwarden explain --tenant acme --fingerprint 1b0ad1d4e5b3e4f1\n\n\
                  Several statements are told of one by one. In one message of a client, one that is refused keeps the others from \
                  running too.\n\nExit code: 0 if all would be forwarded, 1 if one would be refused."
)]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The tenant
    #[arg(short, long, required_unless_present = "login")]
    tenant: Option<String>,
    /// A login of role reader, in the place of a tenant: what it reads of all of its tenants
    #[arg(long, conflicts_with_all = ["tenant", "plan"])]
    login: Option<String>,
    /// As in the extended protocol (Parse, Bind): the tenant's value is a parameter, not a literal
    #[arg(short, long)]
    extended: bool,
    /// The server's plan of each statement without the guard and with it (EXPLAIN, nothing is executed), and the tables that lose an
    /// index
    #[arg(short, long)]
    plan: bool,
    /// A file of statements; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// The refused statement of this fingerprint, from the audit trail: where its text is kept (statements = true in section log)
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["sql", "file"])]
    fingerprint: Option<String>,
    /// The audit trail that has it, as text or JSON; by default the file that audit in section log names
    #[arg(long, value_name = "FILE", requires = "fingerprint")]
    audit: Option<PathBuf>,
    /// The statement, or several with semicolons; - is standard input
    #[arg(required_unless_present_any = ["file", "fingerprint"])]
    sql: Option<String>,
}

/// Explains on standard output.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(explained(&config, args)) {
        Ok((said, passes)) => conclude(said, passes),
        Err(error) => {
            eprintln!("pgwarden: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be said, and whether nothing would be refused.
async fn explained(config: &Config, args: &ExplainArgs) -> Result<(String, bool), String> {
    let whose = Whose::of(config, args)?;
    let text = text(config, args)?;
    let upstream = whose.upstream();
    let of_upstream =
        |error: &dyn fmt::Display| format!("upstream \"{}\" at {}: {error}", upstream.name, upstream.address);
    let (policy, _) = load_policy(config, upstream).await.map_err(|error| of_upstream(&error))?;
    let policy = Arc::new(policy);
    let guard = Guard::new(Arc::clone(&policy), plan_statements);
    let planner = match args.plan {
        true => Some(control::connect(upstream, "pgwarden explain").await.map_err(|error| of_upstream(&error))?),
        false => None,
    };
    let mut said = whose.title();
    if whose.mode().is_shared() {
        said.push_str(&format!("mode     enforcement {}\n", upstream.enforcement.as_str()));
    }
    let statements = statements(&text);
    // Literals of the audit trail's statements are parameters.
    let extended = args.extended || args.fingerprint.is_some();
    let mut passes = true;
    for (statement, number) in statements.iter().zip(1..) {
        if statements.len() > 1 {
            said.push_str(&format!("\nstatement {number} of {}: {}\n", statements.len(), heading(statement)));
        }
        let verdict = verdict(&guard, &whose, extended, statement);
        passes &= verdict.is_ok();
        // Writing to a String cannot fail.
        let _ = match &verdict {
            Ok(guarded) => forwarded(&mut said, guarded, extended),
            Err(refusal) => refused(&mut said, refusal),
        };
        if let (Some(client), Ok(guarded), Whose::Tenant(tenant)) = (&planner, &verdict, &whose) {
            said.push_str(&plans(client, &policy, tenant, statement, guarded).await);
        }
    }
    Ok((said, passes))
}

/// The statements' text.
fn text(config: &Config, args: &ExplainArgs) -> Result<String, String> {
    match (&args.sql, &args.file, &args.fingerprint) {
        (Some(sql), _, _) if sql != "-" => Ok(sql.clone()),
        (Some(_), _, _) => read(Path::new("-")),
        (None, Some(path), _) => read(path),
        (None, None, Some(fingerprint)) => audited(config, args, fingerprint),
        (None, None, None) => Err("no statement is given".to_owned()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let outcome = match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut bytes),
        Some(_) | None => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    outcome.map_err(|error| format!("{}: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{}: it is not UTF-8", path.display()))
}

/// The last statement of this fingerprint in the audit trail: SQL, without its literals.
fn audited(config: &Config, args: &ExplainArgs, fingerprint: &str) -> Result<String, String> {
    let path = match (&args.audit, &config.log.audit) {
        (Some(path), _) => path,
        (None, AuditSink::File(path)) => path,
        (None, AuditSink::Log) => return Err("name the log that has the audit trail: --audit FILE".to_owned()),
    };
    let log = read(path)?;
    let found =
        log.lines().rev().filter(|line| line.contains(fingerprint)).find_map(|line| statement_of(line, fingerprint));
    found.ok_or_else(|| {
        format!(
            "{}: it has no statement of fingerprint {fingerprint} (texts are kept from [log] statements = true on)",
            path.display()
        )
    })
}

/// The statement of a line of the audit trail, if it is of this fingerprint.
fn statement_of(line: &str, fingerprint: &str) -> Option<String> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        let field = |name: &str| line.get(name).and_then(serde_json::Value::as_str);
        return field("statement").filter(|_| field("fingerprint") == Some(fingerprint)).map(str::to_owned);
    }
    // Fields of text lines are written as Rust's strings are.
    let (before, rest) = line.split_once(" statement=\"")?;
    let (text, _) = rest.rsplit_once('"')?;
    before.contains(&format!("fingerprint=\"{fingerprint}\"")).then(|| text.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// One by one; a text that cannot be taken apart is one, and the guard says why.
fn statements(text: &str) -> Vec<String> {
    let all = sql::split(text).unwrap_or_else(|_| vec![text]);
    let all: Vec<String> = all.into_iter().map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect();
    if all.is_empty() { vec![text.to_owned()] } else { all }
}

/// The beginning of a statement, in one line.
fn heading(statement: &str) -> String {
    sql::one_line(statement).chars().take(100).collect()
}

fn verdict(guard: &Guard, whose: &Whose, extended: bool, sql: &str) -> Result<Guarded, Refusal> {
    let protocol = if extended { Protocol::Extended { param_types: &[] } } else { Protocol::Simple };
    guard.plan(&whose.mode(), protocol, sql)?.bind(whose.keys())
}

/// For whom a statement is explained.
enum Whose {
    Tenant(Arc<Tenant>),
    Reader { login: String, upstream: Arc<Upstream>, tenants: usize, keys: TenantKeys },
}

impl Whose {
    fn of(config: &Config, args: &ExplainArgs) -> Result<Self, String> {
        let of_file = |what: &str, name: &str| format!("no {what} \"{name}\" in {}", config.path.display());
        let (None, Some(name)) = (&args.tenant, &args.login) else {
            let name = args.tenant.as_deref().unwrap_or_default();
            return tenants::find(config, name).map(Self::Tenant).ok_or_else(|| of_file("tenant", name));
        };
        let registry = Registry::new(config);
        let login = registry.login(name).ok_or_else(|| of_file("login", name))?;
        let Role::Reader { upstream } = &login.role else {
            return Err(format!("login \"{name}\" is no reader: name the tenant that it acts for (--tenant)"));
        };
        let upstream = registry.upstream(upstream).ok_or_else(|| of_file("upstream", upstream.as_str()))?;
        let found = registry.read_by(login, upstream, None).map_err(|error| error.to_string())?;
        Ok(Self::Reader {
            login: name.clone(),
            upstream: Arc::clone(upstream),
            tenants: found.len(),
            keys: TenantKeys::of_several(found.iter().map(|tenant| &tenant.keys)),
        })
    }

    fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Self::Tenant(tenant) => &tenant.upstream,
            Self::Reader { upstream, .. } => upstream,
        }
    }

    fn mode(&self) -> Mode {
        match self {
            Self::Tenant(tenant) => tenant.layout.mode(),
            Self::Reader { .. } => Mode::Reader,
        }
    }

    fn keys(&self) -> &TenantKeys {
        match self {
            Self::Tenant(tenant) => &tenant.keys,
            Self::Reader { keys, .. } => keys,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Tenant(tenant) => format!("tenant   {} ({})\n", tenant.name, layout(&tenant.layout)),
            Self::Reader { login, upstream, tenants, .. } => {
                format!("login    {login} (reader of {tenants} tenants on upstream \"{}\")\n", upstream.name)
            }
        }
    }
}

async fn plans(
    client: &tokio_postgres::Client,
    policy: &Policy,
    tenant: &Tenant,
    statement: &str,
    guarded: &Guarded,
) -> String {
    if !has_plan(guarded) {
        return "plan     none: it is no query\n".to_owned();
    }
    match compare(client, policy, tenant, statement, guarded).await {
        Ok(compared) => compared_text(&compared),
        Err(error) => format!("plan     none: {error}\n"),
    }
}

fn compared_text(compared: &Compared) -> String {
    let Compared { without, with } = compared;
    let indented = |text: &str| text.trim_end().replace('\n', "\n         ");
    if without.text == with.text {
        return format!("plan     the same without the guard:\n         {}\n", indented(&with.text));
    }
    let mut said = format!(
        "plan     without the guard: cost {:.2}\n         {}\nplan     with the guard: cost {:.2}\n         {}\n",
        without.cost,
        indented(&without.text),
        with.cost,
        indented(&with.text)
    );
    for table in compared.lost() {
        said.push_str(&format!("plan     {table} LOSES ITS INDEX: with the guard it is read from end to end\n"));
    }
    said
}

fn layout(layout: &Layout) -> String {
    match layout {
        Layout::Shared => "shared layout".to_owned(),
        Layout::Schema { schema, .. } => format!("schema layout: {schema}"),
        Layout::Database => "database layout".to_owned(),
    }
}

fn forwarded(said: &mut String, guarded: &Guarded, extended: bool) -> fmt::Result {
    let rewritten = guarded.plans().iter().any(|plan| plan.rewritten);
    writeln!(said, "verdict  {}", if rewritten { "rewritten and forwarded" } else { "forwarded as it is" })?;
    writeln!(said, "sql      {}", guarded.text().replace('\n', "\n         "))?;
    for (plan, statement) in guarded.plans().iter().zip(0..) {
        explain_plan(said, plan, guarded, statement, extended)?;
    }
    Ok(())
}

fn explain_plan(said: &mut String, plan: &Plan, guarded: &Guarded, statement: usize, extended: bool) -> fmt::Result {
    for (slot, index) in plan.slots.iter().zip(0..) {
        let Some((value, _)) = guarded.slot_value(statement, index) else { continue };
        let key = slot.key.as_deref().unwrap_or("key");
        let place =
            if extended { format!("${} = ", usize::from(plan.client_params) + index + 1) } else { String::new() };
        writeln!(said, "value    {place}'{value}' as {} (the tenant's {key})", slot.type_name)?;
    }
    for effect in &plan.effects {
        writeln!(said, "effect   {effect}")?;
    }
    for note in &plan.notes {
        writeln!(said, "why      {note}")?;
    }
    Ok(())
}

fn refused(said: &mut String, refusal: &Refusal) -> fmt::Result {
    let error = &refusal.error;
    writeln!(said, "verdict  refused ({})", refusal.kind.as_str())?;
    if let Some(object) = &refusal.object {
        writeln!(said, "object   {object}")?;
    }
    writeln!(said, "error    {} (SQLSTATE {})", error.message, error.code)?;
    if let Some(detail) = &error.detail {
        writeln!(said, "detail   {detail}")?;
    }
    if let Some(hint) = &error.hint {
        writeln!(said, "hint     {hint}")?;
    }
    Ok(())
}
