//! `[tenants_from]`

use std::time::Duration;

use super::tenancy::identifier;
use super::{Context, Upstreams};
use crate::base::UpstreamName;
use crate::config::model::{Tenancy, TenantsFrom};
use crate::config::section::{Keys, Section};

const TENANTS_FROM: Keys = Keys { known: &["upstream", "query", "channel", "interval"], later: &[] };

pub(super) fn read(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    upstreams: &Upstreams,
) -> Option<TenantsFrom> {
    let section = root.table("tenants_from", &TENANTS_FROM)?;
    let query = section.required("query", "\"SELECT name, key FROM tenants\"");
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
    Some(TenantsFrom { upstream, query: query?.value.to_owned(), channel, interval })
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&TENANTS_FROM];
