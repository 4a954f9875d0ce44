//! Rows with canaries: where they are planted, and that nothing of them stays; and that nothing is taken for the other tenant's
//! that may be one's own.

use super::{proxy, text, verify};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};

/// Rows by table.
const ROWS: &str = "SELECT string_agg(format('%s %s', c.oid::regclass, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n, \
    md5(string_agg(x::text, '','' ORDER BY x::text)) AS n FROM %s x', c.oid::regclass), false, true, '')))::text), E'\\n' ORDER BY 1) \
    FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace";

#[test]
fn what_is_planted_is_gone_afterwards() {
    let proxy = proxy("verify_planted");
    let mut superuser = Lab::general().superuser("verify_planted");
    let before = superuser.simple(ROWS).ok().value().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = verify(&proxy, &proxy.a(), &["--json", json.to_str().unwrap()]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", text(&output.stderr));
    assert_eq!(superuser.simple(ROWS).ok().value(), before);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let table = |name: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|it| it["table"] == name).unwrap_or_else(|| panic!("{name}: {report}")).clone()
    };
    // Numbers, texts, dates, ranges that exclude each other; through parents; rows of everybody beside.
    for planted in
        ["customers", "order_items", "invoices", "bookings", "profiles", "profile_notes", "templates", "User"]
    {
        assert_eq!(table(&format!("public.{planted}"))["planted"], true, "{planted}\n{shown}");
    }
    // A trigger would leave a row in the audit log.
    for (without, why) in [("orders", "trigger"), ("plans", "may not insert")] {
        let table = table(&format!("public.{without}"));
        assert!(table["planted"] == false && table["without"].as_str().unwrap().contains(why), "{table}");
        assert!(shown.contains(&format!("no canary in public.{without}")), "{shown}");
    }
}

#[test]
fn nothing_is_written_where_nothing_is_to_be_planted() {
    let proxy = proxy("verify_unplanted");
    let inserted = "SELECT sum(n_tup_ins)::text FROM pg_stat_user_tables WHERE relname = 'customers'";
    let output = verify(&proxy, &proxy.a(), &["--no-plant"]);
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(!text(&output.stderr).contains("planting"));
    // A copy of a template begins to count anew; the attacks' own inserts are refused.
    assert_eq!(Lab::general().superuser("verify_unplanted").simple(inserted).ok().value(), "0");
}

/// Texts of one that are parts of the other's, keys and texts that both have beyond what is read, and errors about one's own rows.
#[test]
fn raises_no_false_alarm() {
    let lab = Lab::general();
    lab.copy_of_shop("verify_alike");
    lab.run(
        "verify_alike",
        "UPDATE comments SET body = 'comment on ' || id WHERE tenant_id = 2;
         INSERT INTO comments (id, tenant_id, body) SELECT 100000 + n, 1, 'comment on ' || 10000 + n FROM generate_series(1, 6000) n;
         INSERT INTO comments (id, tenant_id, body) SELECT 200000 + n, 2, 'comment on ' || 10000 + n FROM generate_series(5950, 6000) n;
         UPDATE docs SET title = (SELECT title FROM docs d WHERE d.id = 1), body = 'the body of all of the documents of everybody' WHERE tenant_id IN (1, 2);
         CREATE VIEW of_orders AS SELECT id, tenant_id, note FROM orders;
         ALTER VIEW of_orders OWNER TO app_owner",
    );
    let tables = "\"public.of_orders\" = { column = \"tenant_id\" }".to_owned();
    let proxy = Proxy::start(lab, &Setup { database: "verify_alike".to_owned(), tables, ..Setup::default() });
    for further in [&[][..], &["--no-plant"]] {
        let output = verify(&proxy, &proxy.a(), further);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{shown}\n{}", text(&output.stderr));
        // COPY to a view is an error while the data is still on its way.
        assert!(shown.contains("public.of_orders"), "{shown}");
    }
}

#[test]
fn an_interrupted_run_takes_away_what_it_planted() {
    let proxy = proxy("verify_interrupted");
    let mut superuser = Lab::general().superuser("verify_interrupted");
    let before = superuser.simple(ROWS).ok().value().to_owned();
    let mut child = std::process::Command::new(super::program())
        .args(["verify-isolation", "--config"])
        .arg(proxy.config())
        .args(["--as-a", &proxy.a().url(), "--as-b", &proxy.b().url()])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("table 2 of")));
    assert_ne!(superuser.simple(ROWS).ok().value(), before, "something is planted now");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    assert_eq!(superuser.simple(ROWS).ok().value(), before);
}
