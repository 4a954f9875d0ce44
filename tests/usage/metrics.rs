//! `/metrics`, `/healthz`, `/readyz`

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::support::proxy::free_port;

/// Status and body of a GET.
pub fn get(port: u16, path: &str) -> (u16, String) {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn request(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

/// The value of a series.
pub fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|it| it.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn prometheus_reads_what_happened() {
    let lab = database("metrics");
    let port = free_port();
    let setup =
        Setup { more: format!("[metrics]\naddress = \"127.0.0.1:{port}\"\nmax_tenants = 1"), ..setup("metrics", "") };
    let mut proxy = Proxy::start(lab, &setup);
    eventually("it is ready", || get(port, "/readyz").0 == 200);
    assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(port, "/other").0, 404);
    assert_eq!(
        request(port, "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").0,
        405
    );
    let mut a = proxy.a().connect();
    a.simple("SELECT name FROM customers LIMIT 2").ok();
    a.simple("SELECT pg_read_file('x')").refused("42501");
    proxy.b().connect().simple("SELECT name FROM customers LIMIT 1").ok();
    proxy.login("operator").connect().simple("SELECT 1").ok();
    let _ = crate::support::session::Endpoint { password: "wrong".to_owned(), ..proxy.a() }.try_connect();
    let mut held = proxy.login("operator").connect();
    held.simple("BEGIN").ok();
    eventually("all is counted", || {
        let (status, text) = get(port, "/metrics");
        status == 200
            && value(&text, "pgwarden_statements_total{tenant=\"a\"}") == Some(1.0)
            && value(&text, "pgwarden_statements_total{tenant=\"(others)\"}") == Some(1.0)
            && value(&text, "pgwarden_clients{state=\"idle\"}") == Some(1.0)
    });
    let text = get(port, "/metrics").1;
    let pool = "upstream=\"main\",user=\"app_owner\",database=\"metrics\"";
    for (series, want) in [
        ("pgwarden_rows_read_total{tenant=\"a\"}".to_owned(), 2.0),
        ("pgwarden_rows_read_total{tenant=\"(none)\"}".to_owned(), 1.0),
        ("pgwarden_quota_state{tenant=\"a\"}".to_owned(), 0.0),
        ("pgwarden_refusals_total{sqlstate=\"42501\",kind=\"function\"}".to_owned(), 1.0),
        ("pgwarden_logins_refused_total".to_owned(), 1.0),
        ("pgwarden_witness_readings_total{said=\"uncovered\"}".to_owned(), 0.0),
        ("pgwarden_witness_abstentions_total{reason=\"grammar\"}".to_owned(), 0.0),
        ("pgwarden_clients{state=\"active\"}".to_owned(), 1.0),
        (format!("pgwarden_server_connections{{{pool},state=\"active\"}}"), 1.0),
        (format!("pgwarden_pool_size{{{pool}}}"), 10.0),
    ] {
        assert_eq!(value(&text, &series), Some(want), "{series}\n{text}");
    }
    for series in [
        "pgwarden_bytes_out_total{tenant=\"a\"}",
        "pgwarden_busy_seconds_total{tenant=\"a\"}",
        "pgwarden_witness_readings_total{said=\"covered\"}",
    ] {
        assert!(value(&text, series).is_some_and(|it| it > 0.0), "{series}\n{text}");
    }
    // No tenant beyond the limit has series of its own.
    assert!(!text.contains("tenant=\"b\""), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    // Draining: it lives, and wants no more clients.
    storage::signal(proxy.pid(), "TERM");
    eventually("it drains", || get(port, "/readyz") == (503, "draining\n".to_owned()));
    assert_eq!(get(port, "/healthz").0, 200);
    held.simple("COMMIT").ok();
    assert!(proxy.ended().success());
}
