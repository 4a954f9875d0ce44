use std::time::Duration;

use super::*;

fn query(lines: &str) -> AuthQuery {
    let loaded = parse_text(&format!("{BASE}[auth_query]\n{lines}")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, vec![]);
    AuthQuery::clone(&loaded.config.auth_query.unwrap())
}

#[test]
fn defaults() {
    let query = query("");
    assert_eq!((query.upstream.name.as_str(), query.query.as_str()), ("main", "SELECT * FROM pgwarden_login($1)"));
    assert_eq!((query.ttl, query.negative_ttl), (Duration::from_secs(60), Duration::from_secs(5)));
    assert_eq!((query.tenants, query.tenant_column.as_deref()), (None, Some("tenant_id")));
}

#[test]
fn whose_tables_it_reads() {
    let own = "query = 'SELECT * FROM ops.\"Log\"\"ins\" JOIN x ON true WHERE name = $1'\ntenants = \"*\"\n";
    let all = query(own);
    assert_eq!(
        all.relations,
        ["\"ops\".\"Log\"\"ins\"", "\"x\""].map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(all.tenants, Some(TenantScope::All));
    // In a database where no tenant lives, a column of that name is no matter.
    let elsewhere = "upstream = \"logins\"\n[upstream.logins]\nurl = \"postgres://app@127.0.0.1:5432/logins\"\n";
    assert_eq!(query(elsewhere).tenant_column, None);
    // The same database under another name is the same one; a table of tenants may name any.
    assert!(query(&elsewhere.replace("/logins", "/app")).tenant_column.is_some());
    assert!(query(&format!("{elsewhere}[tenants_from]\nquery = \"SELECT 1\"\n")).tenant_column.is_some());
}

#[test]
fn errors() {
    appended("[auth_query]\nupstream = \"man\"\n", &["no upstream \"man\""]);
    appended("[auth_query]\nquery = \"SELECT 1\"\n", &["15:9 ", "it needs $1"]);
    appended("[auth_query]\nquery = \"SELECT $1, $2\"\n", &["no other parameter"]);
    appended("[auth_query]\nquery = \"SELEC $1\"\n", &["syntax error"]);
    appended("[auth_query]\ntenants = []\n", &["could do nothing"]);
    appended("[auth_query]\ntenants = [\"acne\"]\n", &["did you mean \"acme\"?"]);
    appended("[auth_query]\nconnections = 0\n", &["from 1 to 100"]);
    let own =
        "[[tenant]]\nname = \"own\"\nlayout = \"database\"\nupstream = { url = \"postgres://x@127.0.0.1:5432/own\" }\n";
    let logins = "[upstream.logins]\nurl = \"postgres://y@127.0.0.1:5432/own\"\n[auth_query]\nupstream = \"logins\"\n";
    appended(&format!("{own}{logins}"), &["in the database of tenant \"own\""]);
    replaced(
        "upstream = \"main\"",
        "upstream = \"main\"\nallow_functions = [\"public.pgwarden_login\"]\n[auth_query]",
        &["tenants may use \"public.pgwarden_login\"", "allow_functions"],
    );
    replaced(
        "upstream = \"main\"",
        "upstream = \"main\"\nshared_tables = [\"ops.logins\"]\n[auth_query]\nquery = \"SELECT * FROM logins WHERE name = $1\"",
        &["tenants may use \"ops.logins\"", "shared_tables"],
    );
}

#[test]
fn no_other_login_is_needed() {
    let start = BASE.find("[[login]]").unwrap();
    let end = BASE.find("[[tenant]]").unwrap();
    assert!(parse_text(&format!("{}{}[auth_query]\n", &BASE[..start], &BASE[end..])).is_ok());
}
