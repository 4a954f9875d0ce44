//! `pgwarden tenant move`

use std::time::Duration;

use super::create::pair;
use crate::config::parse_duration;
use crate::lifecycle::{Destination, MoveRequest, MoveStep, RoleChoice};

/// Options of `pgwarden tenant move`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    long_about = "Give a tenant another place while it is served. What it sends waits at the proxies, which need a section [moves], while its \
                  rows are copied; then it goes on in the new place. If anything fails it goes on where it was, and what was made is taken \
                  back. What it had stays in the old place until --finish.",
    group = clap::ArgGroup::new("step").required(true).args(["to", "back", "finish", "abort"])
)]
pub(super) struct MoveArgs {
    /// The tenant
    name: String,
    /// Where it is to live: database, schema (each with =NAME; default: by section tenancy.pattern, or as its name), or shared
    #[arg(long, value_name = "PLACE", value_parser = place)]
    to: Option<Place>,
    /// Move it to where it came from, with the rows that it has now
    #[arg(long)]
    back: bool,
    /// Delete what it had in the old place
    #[arg(long)]
    finish: bool,
    /// Take back a move whose process ended before the tenant had moved
    #[arg(long)]
    abort: bool,
    /// The upstream; default: where it is
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The role that its sessions act as (schema); default: as its schema
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// It has no role of its own: its sessions act as the pool's
    #[arg(long, conflicts_with = "role")]
    no_role: bool,
    /// Its value of the tenant column (shared), if it has none or is to have another
    #[arg(long)]
    key: Option<String>,
    /// A further key by name (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    keys: Vec<(String, String)>,
    /// A database that its own begins as a copy of: empty but for extensions
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Its statements wait at most so long; then it goes on where it was
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    max_pause: Duration,
    /// Compare hashes of the rows too, not their numbers alone
    #[arg(long)]
    verify: bool,
    /// No proxy serves the tenant: there is nobody to wait for
    #[arg(long)]
    no_proxies: bool,
    /// Run definitions that the tenant may have written itself: you have read them
    #[arg(long)]
    trust: bool,
    /// The tenant can do without what cannot be made in the new place
    #[arg(long)]
    leave_out: bool,
    /// With --finish: rows of shared tables that are deleted in one transaction
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// With --finish: delete at most so many rows a second
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// A layout, and perhaps a name.
#[derive(Clone, Debug)]
struct Place {
    layout: String,
    named: Option<String>,
}

fn place(text: &str) -> Result<Place, String> {
    let (layout, named) = match text.split_once('=') {
        Some((layout, named)) => (layout, Some(named.to_owned())),
        None => (text, None),
    };
    match (layout, &named) {
        ("database" | "schema", None) | ("shared", None) => {}
        ("database" | "schema", Some(named)) if !named.is_empty() => {}
        _ => return Err("database, database=NAME, schema, schema=NAME or shared".to_owned()),
    }
    Ok(Place { layout: layout.to_owned(), named })
}

/// Between half a second and an hour.
fn time(text: &str) -> Result<Duration, String> {
    let limits = Duration::from_millis(500)..=Duration::from_secs(3600);
    parse_duration(text).filter(|it| limits.contains(it)).ok_or_else(|| "a time like 500ms, 5s or 2min".to_owned())
}

impl MoveArgs {
    pub fn request(&self) -> MoveRequest {
        let role = match &self.role {
            Some(role) => RoleChoice::Named(role.clone()),
            None if self.no_role => RoleChoice::None,
            None => RoleChoice::OfSchema,
        };
        let step = match &self.to {
            Some(place) => MoveStep::To(Destination {
                layout: place.layout.clone(),
                named: place.named.clone(),
                upstream: self.upstream.clone(),
                role,
                key: self.key.clone(),
                keys: self.keys.iter().cloned().collect(),
                template: self.template.clone(),
            }),
            None if self.finish => MoveStep::Finish { batch: self.batch, rate: self.rate },
            None if self.back => MoveStep::Back,
            None => MoveStep::Abort,
        };
        MoveRequest {
            name: self.name.clone(),
            step,
            max_pause: self.max_pause,
            verify: self.verify,
            no_proxies: self.no_proxies,
            trust: self.trust,
            leave_out: self.leave_out,
            dry_run: self.dry_run,
        }
    }
}
