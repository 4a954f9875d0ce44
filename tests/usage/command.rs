//! `pgwarden usage`

use super::*;

#[test]
fn usage_is_printed_and_exported() {
    let lab = database("usage_print");
    let proxy = proxy("usage_print", "");
    init(&proxy);
    init(&proxy);
    lab.run(
        "usage_print",
        "INSERT INTO pgwarden_usage (tenant, day, transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_us)
         VALUES ('a', '2026-10-31', 1, 2, 3, 4, 5, 6, 7000), ('a', '2026-11-01', 10, 20, 30, 40, 50, 60, 70000),
                ('a', '2026-11-30', 1, 1, 1, 1, 1, 1, 1999), ('b', '2026-11-02', 9, 9, 9, 9, 9, 9, 9999)",
    );
    let csv = usage(&proxy, &["--period", "2026-11", "--format", "csv"]);
    assert!(csv.status.success());
    assert_eq!(
        String::from_utf8_lossy(&csv.stdout),
        "tenant,period,transactions,statements,rows_read,rows_written,bytes_in,bytes_out,busy_ms\r\n\
         a,2026-11,11,21,31,41,51,61,71\r\nb,2026-11,9,9,9,9,9,9,9\r\n"
    );
    let json = usage(&proxy, &["--period", "2026-11", "--format", "json", "--tenant", "a", "--daily"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!((json[0]["period"].as_str(), json[0]["bytes_out"].as_u64()), (Some("2026-11-01"), Some(60)));
    let day = String::from_utf8(usage(&proxy, &["--period", "2026-10-31"]).stdout).unwrap();
    assert!(day.lines().count() == 2 && day.contains("2026-10-31"), "{day}");
    assert!(text(&usage(&proxy, &["--period", "2020-01"])).contains("nothing was used in 2020-01"));
    let unknown = text(&usage(&proxy, &["--tenant", "acem"]));
    assert!(unknown.contains("no tenant of that name"), "{unknown}");
}

#[test]
fn errors_say_what_to_do() {
    database("usage_errors");
    let without = Proxy::start(Lab::general(), &Setup { database: "usage_errors".to_owned(), ..Setup::default() });
    let output = usage(&without, &[]);
    assert!(!output.status.success());
    assert!(text(&output).contains("no section [quota]"), "{}", text(&output));
    let proxy = proxy("usage_errors", "table = \"public.metering\"");
    let output = usage(&proxy, &[]);
    assert!(!output.status.success());
    let said = text(&output);
    assert!(said.contains("public.metering") && said.contains("pgwarden usage --init"), "{said}");
    for arguments in [&["--period", "november"][..], &["--init", "--period", "2026-11"], &["--format", "xml"]] {
        assert_eq!(usage(&proxy, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let ddl = String::from_utf8(usage(&proxy, &["--ddl"]).stdout).unwrap();
    Lab::general().run("usage_errors", &ddl);
    // Made by somebody else, with the rights that the SQL gives.
    assert!(usage(&proxy, &[]).status.success(), "{}", text(&usage(&proxy, &[])));
    proxy.a().connect().simple("SELECT 1").ok();
    Lab::general().run("usage_errors", "REVOKE ALL ON metering FROM app_owner");
    let output = usage(&proxy, &[]);
    assert!(!output.status.success() && text(&output).contains("--ddl"), "{}", text(&output));
}
