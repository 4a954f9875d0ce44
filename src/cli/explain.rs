//! `pgwarden explain`: what the guard makes of a statement, and why.

use std::fmt::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use super::{ConfigArgs, conclude, runtime};
use crate::base::Refusal;
use crate::catalog::LoadError;
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Layout, Tenant};
use crate::guard::{Guard, Guarded, Plan, Protocol, plan_statements};

/// Options of `pgwarden explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Show what pgwarden would do with a statement of a tenant: forward it as it is, rewrite it (with the final \
                  text), or refuse it (with the error that the client would get), and why. Reads the catalog of the \
                  tenant's upstream; sends it nothing else.",
    after_help = "Examples:\n  pgwarden explain --tenant acme \"SELECT * FROM orders WHERE status = 'open'\"\n  \
                  pgwarden explain --tenant acme --extended 'SELECT * FROM orders WHERE id = $1'\n\n\
                  Exit code: 0 if it would be forwarded, 1 if it would be refused."
)]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The tenant
    #[arg(short, long)]
    tenant: String,
    /// As in the extended protocol (Parse, Bind): the tenant's value is a parameter, not a literal
    #[arg(short, long)]
    extended: bool,
    /// The statement, or several with semicolons
    sql: String,
}

/// Explains on standard output.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let config = match args.config.load_with_tenants() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(tenant) = tenants::find(&config, &args.tenant) else {
        eprintln!("pgwarden: no tenant \"{}\" in {}", args.tenant, config.path.display());
        return ExitCode::FAILURE;
    };
    let tenant = tenant.as_ref();
    let guard = match runtime().map(|runtime| runtime.block_on(guard(&config, tenant))) {
        Ok(Ok(guard)) => guard,
        Ok(Err(error)) => {
            eprintln!("pgwarden: upstream \"{}\" at {}: {error}", tenant.upstream.name, tenant.upstream.address);
            return ExitCode::FAILURE;
        }
        Err(code) => return code,
    };
    let mut said = format!("tenant   {} ({})\n", tenant.name, layout(&tenant.layout));
    if tenant.layout == Layout::Shared {
        said.push_str(&format!("mode     enforcement {}\n", tenant.upstream.enforcement.as_str()));
    }
    let verdict = verdict(&guard, tenant, args);
    // Writing to a String cannot fail.
    let _ = match &verdict {
        Ok(guarded) => forwarded(&mut said, guarded, args.extended),
        Err(refusal) => refused(&mut said, refusal),
    };
    conclude(said, verdict.is_ok())
}

async fn guard(config: &Config, tenant: &Tenant) -> Result<Guard, LoadError> {
    let (policy, _) = load_policy(config, &tenant.upstream).await?;
    Ok(Guard::new(Arc::new(policy), plan_statements))
}

fn verdict(guard: &Guard, tenant: &Tenant, args: &ExplainArgs) -> Result<Guarded, Refusal> {
    let protocol = if args.extended { Protocol::Extended { param_types: &[] } } else { Protocol::Simple };
    guard.plan(&tenant.layout.mode(), protocol, &args.sql)?.bind(&tenant.keys)
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
    writeln!(said, "error    {} (SQLSTATE {})", error.message, error.code)?;
    if let Some(detail) = &error.detail {
        writeln!(said, "detail   {detail}")?;
    }
    if let Some(hint) = &error.hint {
        writeln!(said, "hint     {hint}")?;
    }
    Ok(())
}
