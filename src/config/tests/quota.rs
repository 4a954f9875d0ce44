//! `[quota]`, quotas of tenants, `[metrics]`.

use super::*;
use crate::config::{Measure, PeriodLength};

fn bounds(quota: &Quota, measure: Measure) -> Bounds {
    quota.bounds().find(|(it, _)| *it == measure).unwrap().1
}

#[test]
fn a_tenants_quota_wins_measure_by_measure() {
    let text = format!(
        "{BASE}quota = {{ refuses = \"all\", rows_read = {{ hard = 7 }}, busy = {{}} }}\n\
         [quota]\nrows_read = {{ soft = 1, hard = 2 }}\nbytes_out = {{ hard = \"2kB\" }}\nbusy = {{ soft = \"3s\" }}\n"
    );
    let config = parse_text(&text).unwrap_or_else(|e| panic!("{e}")).config;
    let kept = config.quota.unwrap();
    assert_eq!((kept.table.to_string().as_str(), kept.period), ("public.pgwarden_usage", PeriodLength::Month));
    assert_eq!((kept.flush_interval.as_secs(), kept.when_unknown), (10, WhenUnknown::Refuse));
    assert_eq!(bounds(&kept.default, Measure::BusyMicros), Bounds { soft: Some(3_000_000), hard: None });
    assert_eq!(kept.default.refuses, Refuses::Writes);
    let own = config.tenants[0].quota.as_deref().unwrap();
    assert_eq!(own.refuses, Refuses::All);
    assert_eq!(bounds(own, Measure::RowsRead), Bounds { soft: None, hard: Some(7) });
    assert_eq!(bounds(own, Measure::BytesOut), Bounds { soft: None, hard: Some(2048) });
    assert_eq!(bounds(own, Measure::BusyMicros), Bounds::default());
    assert!(own.has_hard() && !own.is_empty());
    assert!(parse_text(BASE).unwrap().config.quota.is_none());
}

#[test]
fn bounds_must_make_sense() {
    for (line, parts) in [
        ("statements = { hard = 0 }", &["hard", "statements", "at least 1", "not 0"][..]),
        ("statements = { hard = \"many\" }", &["whole number", "\"many\""]),
        ("statements = { hard = 99999999999999999999 }", &["whole number"]),
        ("statements = 5", &["statements", "a table"]),
        ("statements = { heard = 5 }", &["unknown key \"heard\"", "hard"]),
        ("bytes_in = { soft = 5 }", &["size", "10GB"]),
        ("busy = { soft = 5 }", &["duration"]),
        ("rows_read = { soft = 5, hard = 5 }", &["less than \"hard\""]),
        ("period = \"week\"", &["period", "\"month\" or \"day\""]),
        ("flush_interval = \"1ms\"", &["at least"]),
        ("upstream = \"mian\"", &["no upstream \"mian\"", "main"]),
        ("table = \"usage\"", &["no name for the usage table"]),
        ("row_written = { hard = 5 }", &["unknown key", "rows_written"]),
        ("time_zone = \"Europe/Berlin\"", &["not yet supported"]),
    ] {
        appended(&format!("[quota]\n{line}\n"), parts);
    }
    appended("quota = { statements = { hard = 5 } }\n", &["14:", "does nothing without a section [quota]"]);
}

/// A configuration that would let tenants read or change what they owe.
#[test]
fn the_usage_table_is_not_the_tenants() {
    let quota = "[quota]\n";
    let with = |from: &str, to: &str| format!("{}{quota}", BASE.replacen(from, to, 1));
    let shared = with("[[login]]", "shared_tables = [\"public.pgwarden_usage\"]\n[[login]]");
    assert!(only_error(&shared).contains("tenants may use \"public.pgwarden_usage\""));
    let listed =
        with("[[login]]", "[tenancy.tables]\n\"public.pgwarden_usage_writers\" = { column = \"writer\" }\n[[login]]");
    assert!(only_error(&listed).contains("tenants may use \"public.pgwarden_usage_writers\""));
    let column = with("[[login]]", "column = \"tenant\"\n[[login]]");
    assert!(only_error(&column).contains("taken for a table of tenants"));
    let elsewhere =
        format!("{}upstream = \"other\"\n[upstream.other]\nurl = \"postgres://x@127.0.0.1/usage\"\n", column);
    assert!(parse_text(&elsewhere).is_ok());
    let own = with("key = 1", "layout = \"database\"\nupstream = { url = \"postgres://app@127.0.0.1:5432/app\" }");
    assert!(only_error(&own).contains("in the database of tenant \"acme\""));
}

#[test]
fn metrics_have_an_address() {
    let config = parse_text(&format!("{BASE}[metrics]\naddress = \"[::1]:9187\"\n")).unwrap().config;
    assert_eq!(config.metrics.unwrap().max_tenants, 100);
    appended("[metrics]\n", &["needs \"address\""]);
    appended("[metrics]\naddress = \"localhost\"\n", &["no address and port", "9187"]);
}
