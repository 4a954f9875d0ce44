//! `[tenancy.pattern]`

use super::{Context, Upstreams};
use crate::base::UpstreamName;
use crate::config::model::{Pattern, PatternLayout, Template};
use crate::config::section::{Keys, Section};

const PATTERN: Keys = Keys { known: &["key", "schema", "role", "database", "upstream"], later: &[] };

/// `default`: where tenants live that name no upstream.
pub(super) fn read(
    context: &Context<'_>,
    tenancy: &Section<'_>,
    upstreams: &Upstreams,
    default: &UpstreamName,
) -> Option<Pattern> {
    let section = tenancy.table("pattern", &PATTERN)?;
    let upstream = match section.has("upstream") {
        true => {
            let name = section.nonempty("upstream")?;
            upstreams.find(context, name.value, &name.span)?;
            UpstreamName::new(name.value)
        }
        false => default.clone(),
    };
    let key = template(context, &section, "key", "{name}");
    let schema = template(context, &section, "schema", "t_{name}");
    let role = template(context, &section, "role", "t_{name}_role");
    let database = template(context, &section, "database", "tenant_{name}");
    for (name, template) in [("schema", &schema), ("database", &database)] {
        if template.as_ref().is_some_and(Template::is_bare) {
            context.findings.error_hint(
                &section.span_of(name),
                format!("\"{name}\" must have something besides {{name}}: any {name} could be named otherwise"),
                format!("{name} = \"tenant_{{name}}\""),
            );
        }
    }
    if section.has("role") && !section.has("schema") {
        let message = "\"role\" does nothing without \"schema\"";
        context.findings.error_hint(&section.span_of("role"), message, "remove it");
    }
    let layout = match (section.has("schema"), section.has("database")) {
        (true, false) => PatternLayout::Schema { schema: schema?, role },
        (false, true) => PatternLayout::Database { database: database? },
        (false, false) if section.has("key") => PatternLayout::Shared,
        (false, false) => {
            context.findings.error_hint(
                &section.span,
                "[tenancy.pattern] needs \"schema\", \"database\" or \"key\"",
                "schema = \"t_{name}\"",
            );
            return None;
        }
        (true, true) => {
            context
                .findings
                .error(&section.span_of("database"), "a tenant has a schema or a database of its own, not both");
            return None;
        }
    };
    Some(Pattern { upstream, layout, key })
}

fn template(context: &Context<'_>, section: &Section<'_>, key: &str, example: &str) -> Option<Template> {
    let text = section.nonempty(key)?;
    let template = Template::parse(text.value);
    if template.is_none() {
        context.findings.error_hint(
            &text.span,
            format!("\"{key}\" must hold {{name}} once, no other braces and no control characters"),
            format!("{key} = \"{example}\""),
        );
    }
    template
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&PATTERN];
