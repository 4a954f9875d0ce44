//! What operators see of limits: SHOW LIMITS, SHOW USAGE, metrics.

use super::lives;
use crate::operation::{CONSOLE, console, psql};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::redis::Redis;
use crate::usage::metrics::{get, value};

fn proxy_with(database: &str, more: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let setup = Setup { database: database.to_owned(), more: format!("{CONSOLE}{more}"), ..Setup::default() };
    Proxy::start(lab, &setup)
}

#[test]
fn limits_and_usage_are_shown() {
    let mut redis = Redis::start();
    let port = free_port();
    let more = format!(
        "[limits]\nconnections = 2\nstatements_per_second = 1\nburst = 6\non_limit = \"reject\"\nresult_rows = 3\n\
         [limits.login]\ntransactions = 5\n\
         [limits.shared]\nurl = \"{}\"\n[metrics]\naddress = \"127.0.0.1:{port}\"\n",
        redis.url()
    );
    let proxy = proxy_with("limits_shown", &more);
    let url = console(&proxy).url();
    let mut a = proxy.a().connect();
    lives(&mut a);
    let _second = proxy.a().connect();
    proxy.a().try_connect().1.refused("53300");
    a.simple("SELECT generate_series(1, 10)").refused("54000");
    a.simple("BEGIN").ok();
    while a.simple("SELECT 1").errors.is_empty() {}
    let (ok, limits) = psql(&url, "SHOW LIMITS");
    assert!(ok, "{limits}");
    for line in ["a||connections|2|2|0|1|here", "a||result_rows|3||0|1|here", "a|tenant_a|transactions|5|1|0|0|here"] {
        assert!(limits.lines().any(|it| it == line), "{line}\n{limits}");
    }
    let rate = limits.lines().find(|it| it.starts_with("a||statements_per_second|1|")).unwrap();
    assert!(rate.ends_with("|counting"), "{rate}");
    assert!(rate.split('|').nth(6).unwrap().parse::<u64>().unwrap() >= 1, "{rate}");
    let (_, text) = get(port, "/metrics");
    for (series, want) in [
        ("pgwarden_limit_rejections_total{limit=\"connections\"}", 1.0),
        ("pgwarden_limit_rejections_total{limit=\"result_rows\"}", 1.0),
        ("pgwarden_limit_waits_total{limit=\"transactions\"}", 0.0),
        ("pgwarden_limits_shared", 1.0),
        ("pgwarden_limits_shared_absences_total", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(want), "{series}\n{text}");
    }
    assert!(value(&text, "pgwarden_limit_rejections_total{limit=\"statements_per_second\"}") >= Some(1.0), "{text}");
    redis.kill();
    proxy.wait_for("word of it", |proxy| proxy.log().contains("limits are not shared"));
    let (_, limits) = psql(&url, "SHOW LIMITS");
    let shown = |it: &str| it.starts_with("a||statements_per_second|1|") && it.ends_with("|away: local");
    assert!(limits.lines().any(shown), "{limits}");
    let (_, text) = get(port, "/metrics");
    assert_eq!(value(&text, "pgwarden_limits_shared"), Some(0.0));
    assert_eq!(value(&text, "pgwarden_limits_shared_absences_total"), Some(1.0));
    a.simple("ROLLBACK").ok();
    let (ok, usage) = psql(&url, "SHOW USAGE");
    assert!(ok, "{usage}");
    let line = usage.lines().find(|it| it.starts_with("a|")).unwrap_or_else(|| panic!("{usage}"));
    let cells: Vec<_> = line.split('|').collect();
    assert_eq!(cells.len(), 9, "{line}");
    // What was cut off ran; what was refused did not. Without [quota] there is none.
    assert!(cells[2].parse::<u64>().unwrap() >= 3 && cells[8].is_empty(), "{line}");
    assert!(usage.lines().any(|it| it.starts_with('|')), "{usage}");
}

/// Nobody knows what was used, since there is no table: writes are refused, and that is shown.
#[test]
fn the_standing_with_a_quota_is_shown() {
    let proxy = proxy_with("usage_shown", "[quota]\nrows_written = { hard = 10 }\n");
    lives(&mut proxy.a().connect());
    let (ok, usage) = psql(&console(&proxy).url(), "SHOW USAGE");
    assert!(ok && usage.lines().any(|it| it.starts_with("a|1|1|1|0|") && it.ends_with("|writes refused")), "{usage}");
}
