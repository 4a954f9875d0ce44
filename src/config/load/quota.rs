//! `[quota]` and `quota` of `[[tenant]]`

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::{Context, Upstreams};
use crate::base::QualifiedName;
use crate::config::model::{TableOverride, Tenancy};
use crate::config::quota::{Bounds, Quota, QuotaConfig, Refuses, WhenUnknown};
use crate::config::section::{At, Keys, Section, value_type};
use crate::config::values::{parse_duration, parse_qualified_name, parse_size};
use crate::config::{COLUMNS, Measure, PeriodLength, writers_of};

const QUOTA: Keys = Keys {
    known: &[
        "upstream",
        "table",
        "flush_interval",
        "period",
        "when_unknown",
        "refuses",
        "transactions",
        "statements",
        "rows_read",
        "rows_written",
        "bytes_in",
        "bytes_out",
        "busy",
    ],
    later: &["time_zone"],
};
/// The quota of one tenant.
const OF_TENANT: Keys = Keys {
    known: &["refuses", "transactions", "statements", "rows_read", "rows_written", "bytes_in", "bytes_out", "busy"],
    later: &[],
};
const BOUNDS: Keys = Keys { known: &["soft", "hard"], later: &[] };

pub(super) fn read(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    upstreams: &Upstreams,
) -> Option<QuotaConfig> {
    let section = root.table("quota", &QUOTA)?;
    let upstream = match section.nonempty("upstream") {
        Some(name) => upstreams.find(context, name.value, &name.span),
        None if section.has("upstream") => None,
        None => tenancy.and_then(|tenancy| upstreams.0.get(&tenancy.upstream)).and_then(|(_, it)| it.clone()),
    };
    let table = read_table(context, &section);
    let default = read_quota(context, &section, &Quota::default());
    let config = QuotaConfig {
        upstream: upstream?,
        table: table?,
        flush_interval: section
            .duration("flush_interval", Duration::from_millis(100))
            .unwrap_or(Duration::from_secs(10)),
        period: one_of(context, &section, "period", &[("month", PeriodLength::Month), ("day", PeriodLength::Day)]),
        when_unknown: one_of(
            context,
            &section,
            "when_unknown",
            &[("refuse", WhenUnknown::Refuse), ("allow", WhenUnknown::Allow)],
        ),
        default: Arc::new(default),
    };
    if let Some(tenancy) = tenancy {
        keep_from_tenants(context, &section, tenancy, &config);
    }
    Some(config)
}

fn read_table(context: &Context<'_>, section: &Section<'_>) -> Option<QualifiedName> {
    let Some(text) = section.nonempty("table") else {
        return (!section.has("table")).then(|| QualifiedName::new("public", "pgwarden_usage"));
    };
    let name = parse_qualified_name(text.value);
    let fits = |name: &QualifiedName| name.schema.len() < 64 && writers_of(name).name.len() < 64;
    if !name.as_ref().is_some_and(fits) {
        context.findings.error_hint(
            &text.span,
            format!("\"{}\" is no name for the usage table", text.value),
            "schema and name, of at most 55 bytes: \"public.pgwarden_usage\"",
        );
        return None;
    }
    name
}

/// Tenants must neither see nor change what is written down of their use.
fn keep_from_tenants(context: &Context<'_>, section: &Section<'_>, tenancy: &Tenancy, config: &QuotaConfig) {
    for table in [&config.table, &writers_of(&config.table)] {
        let shared = tenancy.shared_tables.contains(table);
        let listed: Option<&TableOverride> = tenancy.tables.get(table);
        if shared || listed.is_some() {
            context.findings.error_hint(
                &section.span_of("table"),
                format!("tenants may use \"{table}\", as [tenancy] has it: they could read or change the usage of all"),
                "take it out of shared_tables and [tenancy.tables]",
            );
        }
    }
    if config.upstream.name == tenancy.upstream && COLUMNS.contains(&tenancy.column.as_str()) {
        context.findings.error_hint(
            &section.span,
            format!(
                "the usage table has a column \"{}\" and would be taken for a table of tenants: they could change their usage",
                tenancy.column
            ),
            "keep it in another database: upstream = \"...\"",
        );
    }
}

/// A tenant's own quota: what it says wins over the default.
pub(super) fn of_tenant(
    context: &Context<'_>,
    tenant: &Section<'_>,
    config: Option<&QuotaConfig>,
    configured: bool,
) -> Option<Arc<Quota>> {
    let section = tenant.table("quota", &OF_TENANT)?;
    let Some(config) = config else {
        if !configured {
            context.findings.error_hint(
                &section.span,
                "\"quota\" does nothing without a section [quota]",
                "[quota] says where usage is kept and how long a period is",
            );
        }
        return None;
    };
    Some(Arc::new(read_quota(context, &section, &config.default)))
}

fn read_quota(context: &Context<'_>, section: &Section<'_>, default: &Quota) -> Quota {
    let mut quota = *default;
    if section.has("refuses") {
        quota.refuses = one_of(context, section, "refuses", &[("writes", Refuses::Writes), ("all", Refuses::All)]);
    }
    for (measure, bounds) in Measure::ALL.into_iter().zip(&mut quota.bounds) {
        if let Some(table) = section.table(key_of(measure), &BOUNDS) {
            *bounds = read_bounds(context, &table, measure);
        }
    }
    quota
}

/// The key of a measure in the configuration.
fn key_of(measure: Measure) -> &'static str {
    match measure {
        Measure::BusyMicros => "busy",
        other => other.name(),
    }
}

fn read_bounds(context: &Context<'_>, section: &Section<'_>, measure: Measure) -> Bounds {
    let mut bounds = Bounds::default();
    for (key, value) in section.entries() {
        let amount = amount(context, key.value, &value, measure);
        match key.value {
            "soft" => bounds.soft = amount,
            "hard" => bounds.hard = amount,
            _ => {}
        }
    }
    if let Bounds { soft: Some(soft), hard: Some(hard) } = bounds
        && soft >= hard
    {
        context.findings.error_hint(
            &section.span_of("soft"),
            "\"soft\" must be less than \"hard\": nobody would be warned",
            "soft = 80 and hard = 100, for instance",
        );
    }
    bounds
}

fn amount(context: &Context<'_>, key: &str, value: &At<&DeValue<'_>>, measure: Measure) -> Option<u64> {
    let (read, what): (Option<u64>, &str) = match (measure, value.value) {
        (Measure::BytesIn | Measure::BytesOut, DeValue::String(text)) => (parse_size(text), "a size like \"10GB\""),
        (Measure::BytesIn | Measure::BytesOut, _) => (None, "a size like \"10GB\""),
        (Measure::BusyMicros, DeValue::String(text)) => {
            let time = parse_duration(text).and_then(|time| u64::try_from(time.as_micros()).ok());
            (time, "a duration like \"10h\"")
        }
        (Measure::BusyMicros, _) => (None, "a duration like \"10h\""),
        (_, DeValue::Integer(number)) => {
            (u64::from_str_radix(number.as_str(), number.radix()).ok(), "a whole number, at least 1")
        }
        (_, _) => (None, "a whole number, at least 1"),
    };
    // What is stored are numbers of 63 bits.
    let read = read.filter(|amount| (1..=i64::MAX.unsigned_abs()).contains(amount));
    if read.is_none() {
        let found = match value.value {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => value_type(other).to_owned(),
        };
        context.findings.error(&value.span, format!("\"{key}\" of {measure} must be {what}, not {found}"));
    }
    read
}

/// A word of a list; the first one is the default.
fn one_of<T: Copy>(context: &Context<'_>, section: &Section<'_>, key: &str, words: &[(&str, T); 2]) -> T {
    let [(_, default), _] = words;
    let Some(word) = section.nonempty(key) else { return *default };
    if let Some((_, value)) = words.iter().find(|(it, _)| *it == word.value) {
        return *value;
    }
    let list: Vec<_> = words.iter().map(|(it, _)| format!("\"{it}\"")).collect();
    context.findings.error_hint(
        &word.span,
        format!("\"{key}\" in {} cannot be \"{}\"", section.title, word.value),
        list.join(" or "),
    );
    *default
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 3] = [&QUOTA, &OF_TENANT, &BOUNDS];
