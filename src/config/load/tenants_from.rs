//! `[tenants_from]`

use std::time::Duration;

use super::tenancy::{identifier, qualified};
use super::{Context, Upstreams};
use crate::base::UpstreamName;
use crate::config::model::{OWN_TABLE_COLUMNS, Tenancy, TenantWrites, TenantsFrom};
use crate::config::section::{Keys, Section};
use crate::sql::quote_qualified;

const TENANTS_FROM: Keys = Keys { known: &["upstream", "query", "table", "channel", "interval", "write"], later: &[] };
const WRITE: Keys = Keys { known: &["create", "suspend", "move", "delete"], later: &[] };

/// The channel on which pgwarden's own table tells of changes, where none is written.
const CHANNEL: &str = "pgwarden_tenants";

pub(super) fn read(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    upstreams: &Upstreams,
) -> Option<TenantsFrom> {
    let section = root.table("tenants_from", &TENANTS_FROM)?;
    let source = read_source(context, &section);
    let channel = identifier(context, &section, "channel");
    let interval = section.duration("interval", Duration::from_secs(1)).unwrap_or(Duration::from_secs(30));
    let upstream = match section.has("upstream") {
        true => {
            let name = section.nonempty("upstream")?;
            upstreams.find(context, name.value, &name.span)?;
            UpstreamName::new(name.value)
        }
        false => tenancy?.upstream.clone(),
    };
    let (query, writes) = source?;
    let channel = match &writes {
        TenantWrites::Own(_) => channel.or(Some(CHANNEL.to_owned())),
        TenantWrites::Statements { .. } => channel,
    };
    Some(TenantsFrom { upstream, query, channel, interval, writes })
}

/// What is read, and how it is written: a query and statements for a table of the user's, or pgwarden's own table.
fn read_source(context: &Context<'_>, section: &Section<'_>) -> Option<(String, TenantWrites)> {
    if !section.has("table") {
        let query =
            section.required("query", "\"SELECT name, key FROM tenants\", or table = \"public.pgwarden_tenants\"");
        let write = section.table("write", &WRITE);
        let statement = |key| Some(write.as_ref()?.nonempty(key)?.value.to_owned());
        let writes = TenantWrites::Statements {
            create: statement("create"),
            suspend: statement("suspend"),
            moved: statement("move"),
            delete: statement("delete"),
        };
        return Some((query?.value.to_owned(), writes));
    }
    for key in ["query", "write"] {
        if section.has(key) {
            let message = format!("[tenants_from] has both \"table\" and \"{key}\"");
            let hint =
                "\"table\" is a table of pgwarden's own, which it reads and writes itself; for one of yours: \"query\"";
            context.findings.error_hint(&section.span_of(key), message, hint);
        }
    }
    let written = section.nonempty("table")?;
    let name = qualified(context, written.value, &written.span, "public.pgwarden_tenants")?;
    let query = format!("SELECT {} FROM {}", OWN_TABLE_COLUMNS.join(", "), quote_qualified(&name));
    Some((query, TenantWrites::Own(name)))
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&TENANTS_FROM, &WRITE];
