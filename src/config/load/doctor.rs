//! `[doctor]`

use super::Context;
use crate::config::model::Accepted;
use crate::config::section::{Keys, Section};

const DOCTOR: Keys = Keys { known: &["accept"], later: &[] };
const ACCEPT: Keys = Keys { known: &["check", "object", "about", "reason"], later: &[] };

/// Findings that are accepted. One that is wrong is reported, and left out.
pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Vec<Accepted> {
    let Some(section) = root.table("doctor", &DOCTOR) else { return Vec::new() };
    section.tables("accept", &ACCEPT).iter().filter_map(|entry| accepted(context, entry)).collect()
}

fn accepted(context: &Context<'_>, entry: &Section<'_>) -> Option<Accepted> {
    let check = entry.required("check", "\"global-unique-key\"");
    let object = entry.required("object", "\"public.users\"");
    let reason = entry.required("reason", "\"log-in by email, before the tenant is known\"");
    let about = entry.nonempty("about").map(|it| it.value.to_owned());
    let (check, object, reason) = (check?, object?, reason?);
    if reason.value.trim().is_empty() {
        context.findings.error_hint(&reason.span, "a finding is accepted for a reason", "say why it does no harm here");
        return None;
    }
    let [check, object, reason] = [check, object, reason].map(|it| it.value.to_owned());
    Some(Accepted { check, object, about, reason })
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&DOCTOR, &ACCEPT];
