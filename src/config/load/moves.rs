//! `[moves]`

use std::time::Duration;

use super::Context;
use crate::config::GateTables;
use crate::config::model::{Moves, Tenancy, TenantsFrom};
use crate::config::section::{Keys, Section};

const MOVES: Keys = Keys { known: &["lease"], later: &[] };

pub(super) fn read(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    from: Option<&TenantsFrom>,
) -> Option<Moves> {
    let section = root.table("moves", &MOVES)?;
    let lease = section.duration("lease", Duration::from_secs(1)).unwrap_or(Duration::from_secs(10));
    if !from.is_some_and(|from| from.writes.any()) {
        context.findings.error_hint(
            &section.span,
            "[moves] needs a table of tenants that can be written: where a tenant lives is changed there, for all proxies at once",
            "[tenants_from] table = \"public.pgwarden_tenants\", or a section [tenants_from.write]",
        );
    }
    if let (Some(tenancy), Some(from)) = (tenancy, from) {
        keep_from_tenants(context, &section, tenancy, from);
    }
    Some(Moves { lease })
}

/// Tenants must neither see nor open the gates of others.
fn keep_from_tenants(context: &Context<'_>, section: &Section<'_>, tenancy: &Tenancy, from: &TenantsFrom) {
    for table in GateTables::beside(&from.writes).all() {
        if tenancy.shared_tables.contains(&table) || tenancy.tables.contains_key(&table) {
            context.findings.error_hint(
                &section.span,
                format!("tenants may use \"{table}\", as [tenancy] has it: it is pgwarden's own"),
                "take it out of shared_tables and [tenancy.tables]",
            );
        }
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&MOVES];
