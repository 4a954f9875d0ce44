//! One case for each way a configuration can be wrong.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::{Secret, UpstreamName};

mod auth_query;
mod fuzz;
mod listening;
mod quota;
mod readers;
mod tenancy;

const BASE: &str = r#"[listen]
address = "127.0.0.1:6432"
[upstream.main]
url = "postgres://app@127.0.0.1:5432/app"
[tenancy]
upstream = "main"
[[login]]
name = "app"
password = "md50123456789abcdef0123456789abcdef"
tenants = ["acme"]
[[tenant]]
name = "acme"
key = 1
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "SET" => Some("secret".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse_text(text: &str) -> Result<Loaded, ConfigErrors> {
    parse(text, Path::new("t/pgwarden.toml"), &env)
}

/// The one error, as `line:column message / hint`.
#[track_caller]
fn only_error(text: &str) -> String {
    let errors = parse_text(text).expect_err("accepted").errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let e = &errors[0];
    assert_eq!(e.file, Path::new("t/pgwarden.toml"));
    format!("{}:{} {} / {}", e.line, e.column, e.message, e.hint.as_deref().unwrap_or("-"))
}

/// The base with a text replaced; the one error must hold all the parts.
#[track_caller]
fn replaced(from: &str, to: &str, parts: &[&str]) {
    assert!(BASE.contains(from), "{from}");
    let error = only_error(&BASE.replacen(from, to, 1));
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// The base with text appended.
#[track_caller]
fn appended(text: &str, parts: &[&str]) {
    let error = only_error(&format!("{BASE}{text}"));
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn the_base_is_fine() {
    let loaded = parse_text(BASE).unwrap();
    assert_eq!(loaded.warnings, vec![]);
    let config = loaded.config;
    assert_eq!(config.tenancy.column, "tenant_id");
    assert_eq!(config.tenants[0].keys.default.as_deref(), Some("1"));
    assert_eq!(config.tenants[0].upstream.database, "app");
    assert!(matches!(config.logins[0].auth, LoginAuth::Md5Hash(_)));
    assert_eq!(config.log.audit, AuditSink::Log);
}

#[test]
fn the_examples_are_accepted_without_a_warning() {
    for name in ["minimal", "full"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{name}.toml"));
        let loaded = load(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.warnings, vec![], "{name}");
    }
}

/// Every key of every section stands in full.toml, if only in a comment.
#[test]
fn the_full_example_names_every_key() {
    let full = include_str!("../../../config/full.toml");
    for key in load::known_keys() {
        assert!(full.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|w| w == key), "{key}");
    }
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    let text =
        BASE.replace("127.0.0.1:6432", "nowhere").replace("[\"acme\"]", "[\"acne\"]").replace("key = 1", "kay = 1.5");
    let errors = parse_text(&text).unwrap_err();
    let lines: Vec<_> = errors.errors.iter().map(|e| e.line).collect();
    assert_eq!(lines, [2, 10, 11, 13], "{errors}");
    assert_eq!(errors.to_string().lines().next(), Some("t/pgwarden.toml:2:11: \"nowhere\" is no address to listen on"));
}

#[test]
fn all_syntax_errors() {
    let errors = parse_text("[listen\nx = = 1\n[a]\ny = 'z\n").unwrap_err();
    assert!(errors.errors.len() >= 3, "{errors}");
    assert_eq!(errors.errors[0].line, 1);
    // A duplicate key is one of them.
    replaced("key = 1", "key = 1\nkey = 2", &["14:1 ", "duplicate key"]);
}

#[test]
fn a_file_that_cannot_be_read() {
    let errors = load(Path::new("/nonexistent/pgwarden.toml")).unwrap_err();
    let said = errors.to_string();
    assert!(
        said.starts_with("/nonexistent/pgwarden.toml: cannot be read: ") && said.contains("pgwarden init"),
        "{said}"
    );
    let errors = load(&std::env::temp_dir()).unwrap_err().to_string();
    assert!(errors.contains("cannot be read") && !errors.contains("pgwarden init"), "{errors}");
}

#[test]
fn columns_count_characters() {
    appended("[log]\nformat = \"tëxt\" # é\n", &["15:10 "]);
}

#[test]
fn unknown_keys() {
    replaced(
        "[listen]",
        "[listen]\nadress = 1",
        &["2:1 ", "unknown key \"adress\" in [listen]", "did you mean \"address\"?"],
    );
    replaced("key = 1", "key = 1\nzzz = 1", &["14:1 ", "unknown key \"zzz\" in [[tenant]]", "known keys: name, key"]);
    replaced("[listen]", "lisen = 1\n[listen]", &["1:1 ", "in the configuration", "did you mean \"listen\"?"]);
    appended(
        "upstream = { url = \"postgres://a@h/b\", pol = 1 }\n",
        &["unknown key \"pol\" in upstream of tenant \"acme\"", "\"pool\""],
    );
    replaced(
        "upstream = \"main\"",
        "upstream = \"main\"\ntables = { \"public.x\" = { colum = \"y\" } }",
        &["7:27 ", "[tenancy.tables] \"public.x\"", "\"column\""],
    );
}

#[test]
fn shared_limits() {
    let shared = |lines: &str| format!("[limits.shared]\n{lines}\n");
    let accepted = |lines: &str| parse_text(&format!("{BASE}{}", shared(lines))).unwrap().config.shared_limits.unwrap();
    let plain = accepted("url = \"redis://127.0.0.1:7000/2\"");
    assert_eq!((plain.address.as_str(), plain.prefix.as_str()), ("127.0.0.1:7000", "pgwarden:"));
    assert_eq!((plain.when_away, plain.timeout), (WhenAway::Local, Duration::from_millis(250)));
    let full = accepted("url = \"rediss://db.test\"\nwhen_away = \"refuse\"\npassword_env = \"SET\"\ntimeout = \"1s\"");
    assert_eq!((full.when_away, full.password.as_ref().map(Secret::expose)), (WhenAway::Refuse, Some("secret")));
    assert!(!format!("{full:?}").contains("secret"));
    appended(&shared("timeout = \"1s\""), &["needs \"url\"", "redis://127.0.0.1:6379"]);
    appended(&shared("url = \"http://user:hidden@x\""), &["\"url\" in [limits.shared] cannot be read"]);
    appended(&shared("url = \"redis://x\"\nwhen_away = \"open\""), &["cannot be \"open\"", "\"refuse\""]);
    appended(&shared("url = \"redis://x\"\nroot_cert = \"no.crt\""), &["t/no.crt: "]);
    appended(&shared("url = \"redis://x\"\npasword = \"y\""), &["did you mean \"password\"?"]);
}

#[test]
fn keys_of_later_versions() {
    appended("domain = \"acme.test\"\n", &["14:1 ", "\"domain\" in [[tenant]] is not yet supported"]);
}

#[test]
fn limits() {
    let config = parse_text(&format!(
        "{BASE}limits = {{ connections = 5, statements_per_second = 0 }}\n[limits]\nstatements_per_second = 100\n\
         burst = 300\non_limit = \"reject\"\n[limits.login]\nresult_bytes = \"4MB\"\n"
    ))
    .unwrap()
    .config;
    let tenant = config.tenants.iter().find(|tenant| tenant.limits.connections == Some(5)).unwrap();
    assert_eq!((tenant.limits.statements_per_second, tenant.limits.on_limit), (Some(0), Some(OnLimit::Reject)));
    assert_eq!(config.limits.burst, Some(300));
    assert!(config.logins.iter().all(|login| login.limits.result_bytes.is_none() == (login.role != Role::Tenant)));
    appended("limits = { conections = 5 }\n", &["unknown key \"conections\"", "did you mean \"connections\"?"]);
    appended("limits = { on_limit = \"drop\" }\n", &["cannot be \"drop\"", "\"wait\" or \"reject\""]);
    appended("limits = { burst = 5 }\n", &["\"burst\"", "does nothing without \"statements_per_second\""]);
    appended("[limits]\nstatement_timeout = \"5 weeks\"\n", &["is not a duration"]);
    appended("[limits]\nconnections = -1\n", &["\"connections\" in [limits] must be from 0 to 1000000"]);
}

#[test]
fn missing_sections() {
    let without = |from: &str, to: &str| {
        let a = BASE.find(from).unwrap();
        let b = BASE[a..].find(to).map_or(BASE.len(), |b| a + b);
        only_error(&format!("{}{}", &BASE[..a], &BASE[b..]))
    };
    assert!(without("[listen]", "[upstream").contains("section [listen] is missing"));
    assert!(without("[[login]]", "[[tenant").contains("no [[login]] is configured"));
    let errors = parse_text("").unwrap_err();
    let text = errors.to_string();
    for part in ["[listen] is missing", "no upstream", "[tenancy] is missing", "no [[login]]"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn wrong_types() {
    replaced("name = \"app\"", "name = 5", &["8:8 ", "\"name\" in [[login]] must be a string, not a number"]);
    replaced("tenants = [\"acme\"]", "tenants = [\"acme\", 7]", &["10:20 ", "must hold strings only, not a number"]);
    replaced("[\"acme\"]", "true", &["must be a list of strings, not true or false"]);
    replaced("[upstream.main]", "[upstream]\nx = 5\n[upstream.main]", &["4:1 ", "\"x\" in [upstream] is a number"]);
    appended("[log]\nformat = \"xml\"\n", &["15:10 ", "no log format", "\"text\" or \"json\""]);
    appended("suspended = \"yes\"\n", &["must be true or false, not a string"]);
}

#[test]
fn upstreams() {
    let url = "url = \"postgres://app@127.0.0.1:5432/app\"\n";
    let with = |line: &str| format!("{url}{line}\n");
    replaced(url, "url = \"http://x\"\n", &["4:7 ", "it must begin with postgres://"]);
    replaced(url, "", &["3:1 ", "needs \"url\""]);
    appended("[upstream.\"a b\"]\nurl = \"postgres://a@h\"\n", &["14:11 ", "no name for an upstream"]);
    replaced(url, &with("pool = { size = 0 }"), &["5:17 ", "from 1 to 10000"]);
    replaced(url, &with("pool = { size = 2, min_idle = 3 }"), &["5:31 ", "larger than the pool's \"size\" (2)"]);
    replaced(url, &with("pool = { mode = \"statement\" }"), &["5:17 ", "no pool mode"]);
    replaced(url, &with("pool = { mode = \"transacton\" }"), &["did you mean \"transaction\"?"]);
    replaced(url, &with("pool = { size = 501 }"), &["larger than [pool] max_server_connections (500)"]);
    replaced(url, &with("tls = { mode = \"verify\" }"), &["5:16 ", "no TLS mode", "verify-full"]);
    replaced(url, &with("tls = { root_cert = \"no.crt\" }"), &["5:21 ", "t/no.crt: "]);
    replaced(
        url,
        &with("password = \"a\"\npassword_env = \"SET\""),
        &["6:16 ", "has both \"password\" and \"password_env\""],
    );
    replaced(url, &with("password_env = \"UNSET\""), &["5:16 ", "environment variable UNSET is not set"]);
    replaced(url, &with("password_env = \"EMPTY\""), &["EMPTY is empty"]);
    replaced(url, &with("password_file = \"no.pw\""), &["5:17 ", "t/no.pw: "]);
    replaced(
        url,
        "url = \"postgres://app:pw@h/app?sslmode=require\"\npassword = \"a\"\n",
        &["5:12 ", "a password in its url"],
    );
    replaced(
        url,
        "url = \"postgres://app@h/app?sslmode=require\"\ntls = { mode = \"prefer\" }\n",
        &["5:16 ", "sslmode in its url"],
    );
    replaced(
        url,
        "url = \"postgres://app@/app?host=/run\"\ntls = { mode = \"require\" }\n",
        &["a Unix socket has no TLS"],
    );
}

#[test]
fn passwords_are_read_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pw"), "from the file\nsecond line\n").unwrap();
    let text = BASE.replacen("[tenancy]", "password_file = \"pw\"\n[tenancy]", 1);
    let config = parse(&text, &dir.path().join("c.toml"), &env).unwrap().config;
    let upstream = &config.upstreams["main"];
    assert_eq!(upstream.password.as_ref().unwrap().expose(), "from the file");
    let printed = format!("{config:?}");
    assert!(!printed.contains("from the file") && !printed.contains("0123456789abcdef"), "{printed}");
    let config = parse_text(&BASE.replacen("[tenancy]", "password_env = \"SET\"\n[tenancy]", 1)).unwrap().config;
    assert_eq!(config.upstreams["main"].password.as_ref().unwrap().expose(), "secret");
    // A wrong URL is not quoted: it may hold a password.
    let error = only_error(&BASE.replacen("postgres://app@", "postgres://app:hunter2@h:x", 1));
    assert!(!error.contains("hunter2"), "{error}");
}
