//! psql: its backslash commands, tab completion, \copy, and what a person types.

use std::process::{Command, Stdio};

use super::{PROXY, texts};
use crate::support::lab::Lab;

/// psql's output for a script given on standard input.
fn psql(url: &str, script: &str) -> (bool, String) {
    use std::io::Write;
    let mut child = Command::new("psql")
        .args(["-X", "-v", "ON_ERROR_STOP=0", "-P", "pager=off", url])
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), texts(&output))
}

/// Through pgwarden as tenant A: lines that the owner gets directly, and most of them. What is left out tells of things
/// that tenants may not use (tables without a rule that refer to this one).
fn no_more_than_direct(commands: &[&str]) {
    let proxy = PROXY.get();
    for command in commands {
        let (_, through) = psql(&proxy.a().url(), command);
        let (_, direct) = psql(&Lab::general().owner("drivers").url(), command);
        assert!(!through.contains("ERROR"), "{command}\n{through}");
        let known: Vec<&str> = direct.lines().collect();
        let strange: Vec<_> = through.lines().filter(|it| !known.contains(it)).collect();
        assert!(strange.is_empty(), "{command}\n{strange:#?}");
        assert!(through.lines().count() * 3 >= known.len() * 2, "{command}\n{through}\n{direct}");
    }
}

/// The same through pgwarden and directly.
fn same_as_direct(commands: &[&str]) {
    let proxy = PROXY.get();
    let mut differing = Vec::new();
    for command in commands {
        let (_, through) = psql(&proxy.a().url(), command);
        let (_, direct) = psql(&Lab::general().owner("drivers").url(), command);
        if through != direct {
            differing.push(format!("{command}\nthrough pgwarden:\n{through}\ndirectly:\n{direct}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

#[test]
fn describes_tables() {
    no_more_than_direct(&[
        "\\d orders",
        "\\d customers",
        "\\d invoices",
        "\\d events",
        "\\d \"User\"",
        "\\d orders_id_seq",
        "\\dn",
        "\\d nonesuch",
        "\\dt orders",
    ]);
}

/// Lists leave out what tenants may not use, sizes and the like; what is there is as in the database.
#[test]
fn lists_relations() {
    let proxy = PROXY.get();
    for command in ["\\d", "\\dt", "\\di", "\\ds", "\\dv", "\\dt public.*"] {
        let (_, through) = psql(&proxy.a().url(), command);
        let (_, direct) = psql(&Lab::general().owner("drivers").url(), command);
        assert!(!through.contains("ERROR"), "{command}\n{through}");
        let words =
            |text: &str| text.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        let known = words(&direct);
        let own = words(&through).into_iter().filter(|it| it.starts_with("public |")).collect::<Vec<_>>();
        let strange: Vec<_> = own.iter().filter(|it| !known.contains(it)).collect();
        assert!(strange.is_empty(), "{command}\n{strange:#?}");
        assert!(command == "\\dv" || own.iter().any(|it| it.contains("orders")), "{command}\n{through}");
    }
    let (_, plus) = psql(&proxy.a().url(), "\\d+ orders");
    assert!(!plus.contains("ERROR") && plus.contains("total_ok") && plus.contains("orders_customer_id_fkey"), "{plus}");
}

/// What Tab sends after `SELECT * FROM ord`, `UPDATE `, `\d `, and after `WHERE ` of a known table.
#[test]
fn completes_names() {
    let queries = [
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') \
         AND substring(pg_catalog.quote_ident(c.relname),1,3)='cou' AND pg_catalog.pg_table_is_visible(c.oid) \
         AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') \
         UNION SELECT pg_catalog.quote_ident(n.nspname) || '.' FROM pg_catalog.pg_namespace n \
         WHERE substring(pg_catalog.quote_ident(n.nspname) || '.',1,3)='cou' ORDER BY 1 LIMIT 1000;",
        "SELECT pg_catalog.quote_ident(attname) FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c \
         WHERE c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped \
         AND substring(pg_catalog.quote_ident(attname),1,2)='to' AND pg_catalog.quote_ident(relname)='orders' \
         AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1;",
        "SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace WHERE substring(pg_catalog.quote_ident(nspname),1,2)='pu' ORDER BY 1;",
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND (c.relname) LIKE 'cust%' AND pg_catalog.pg_table_is_visible(c.oid) \
         AND n.nspname OPERATOR(pg_catalog.!~) '^pg_' ORDER BY 1, 2;",
    ];
    same_as_direct(&queries);
}

#[test]
fn runs_what_a_person_types() {
    let script = "
SELECT count(*) FROM orders;
BEGIN;
INSERT INTO settings (k, v) VALUES ('psql', 'x') RETURNING tenant_id;
ROLLBACK;
\\copy (SELECT name FROM customers ORDER BY id LIMIT 2) TO STDOUT
\\copy settings (k, v) FROM STDIN
psql1\tone
\\.
DELETE FROM settings WHERE k LIKE 'psql%' RETURNING k;
SELECT name FROM customers WHERE id = 1 \\gx
\\conninfo
\\set FETCH_COUNT 3
SELECT id FROM orders ORDER BY id;
";
    let (done, said) = psql(&PROXY.get().a().url(), script);
    assert!(done, "{said}");
    for text in ["15", "ALPHA_name_2", "COPY 1", "psql1", "name | ALPHA_name_1", "(15 rows)"] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
    assert!(!said.contains("ERROR") && !said.contains("CANARY"), "{said}");
}

#[test]
fn shows_refusals_with_hint_and_place() {
    let (_, said) = psql(&PROXY.get().a().url(), "SELECT * FROM order_tags;\nSELECT nam FROM customers;\n");
    assert!(said.contains("ERROR") && said.contains("HINT"), "{said}");
    // The place in the client's own text, or none; never one in the text that was sent.
    assert!(said.contains("column \"nam\" does not exist"), "{said}");
    assert!(!said.contains("LINE") || said.contains("LINE 1: SELECT nam FROM customers;"), "{said}");
}

/// A login of several tenants, wherever they live, as a person types it.
#[test]
fn goes_from_tenant_to_tenant() {
    let url = crate::support::session::Endpoint::new(PROXY.get().port, "jobs", "jobs_pw", "drivers").url();
    let script = "\\set PROMPT1 '%x'\n\
        BEGIN;\nSET LOCAL app.tenant_id = 'sb';\n\\pset tuples_only on\nSELECT min(name) FROM customers;\n\\d customers\nCOMMIT;\n\
        SET app.tenant_id = 'a';\nSELECT min(name) FROM customers;\n\\copy (SELECT min(email) FROM customers) to stdout\n\
        BEGIN;\nSELECT min(name) FROM customers;\nSET LOCAL app.tenant_id = 'da';\nROLLBACK;\n\
        /* tenant='da' */ SELECT current_database();\nRESET app.tenant_id;\nSELECT min(name) FROM customers;\n";
    let (_, shown) = psql(&url, script);
    for expected in [
        "CANARY_B_name_1",
        "credit | integer",
        "ALPHA_name_1",
        "ALPHA_email_1",
        "within this transaction",
        "db_tenant_a",
        "tenant context required",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}
