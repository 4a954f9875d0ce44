//! Logins of role "reader".

use super::*;

const READER: &str = r#"[listen]
address = "127.0.0.1:6432"
[upstream.main]
url = "postgres://app@127.0.0.1:5432/app"
[upstream.eu]
url = "postgres://app@127.0.0.1:5433/app"
[tenancy]
upstream = "main"
[[tenant]]
name = "acme"
key = 1
[[tenant]]
name = "globex"
key = 2
[[tenant]]
name = "own"
layout = "schema"
schema = "own"
[[tenant]]
name = "abroad"
upstream = "eu"
key = 1
[[login]]
name = "reports"
password = "md50123456789abcdef0123456789abcdef"
role = "reader"
tenants = ["acme", "globex"]
"#;

#[test]
fn it_reads_where_its_tenants_live() {
    let of = |text: &str| parse_text(text).unwrap().config.logins[0].role.clone();
    assert_eq!(of(READER), Role::Reader { upstream: UpstreamName::new("main") });
    let abroad = READER.replace("tenants = [\"acme\", \"globex\"]", "upstream = \"eu\"\ntenants = [\"abroad\"]");
    assert_eq!(of(&abroad), Role::Reader { upstream: UpstreamName::new("eu") });
    let all = READER.replace("tenants = [\"acme\", \"globex\"]", "tenants = \"*\"");
    assert_eq!(parse_text(&all).unwrap().config.logins[0].tenants, TenantScope::All);
}

#[test]
fn what_it_cannot_read_is_an_error_that_says_what_to_do() {
    for (from, to, wanted) in [
        ("\"globex\"]", "\"own\"]", "login \"reports\" cannot read tenant \"own\": it has a schema of its own"),
        ("\"globex\"]", "\"abroad\"]", "login \"reports\" cannot read tenant \"abroad\": it lives on upstream \"eu\""),
        (
            "5432/app\"",
            "5432/app\"\nenforcement = \"rls\"",
            "the policies of upstream \"main\" (enforcement \"rls\") compare with the key of one",
        ),
        ("5432/app\"", "5432/app\"\nenforcement = \"rewrite+rls\"", "(enforcement \"rewrite+rls\")"),
        ("role = \"reader\"", "role = \"reader\"\ndatabase = \"x\"", "\"database\" is for operators"),
        (
            "tenants = [\"acme\", \"globex\"]",
            "tenants = \"*\"\n[tenancy.pattern]\nlayout = \"shared\"\nkey = \"{name}\"",
            "those that come by [tenancy.pattern] are not known beforehand",
        ),
    ] {
        let text = READER.replacen(from, to, 1);
        let said = parse_text(&text).err().unwrap_or_else(|| panic!("{to} is taken")).to_string();
        assert!(said.contains(wanted), "{said}");
        assert!(!wanted.starts_with("login") || said.contains("pgwarden query"), "{said}");
    }
}
