//! One case for each way a configuration can be wrong.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::{Secret, UpstreamName};

mod auth_query;
mod quota;
mod readers;

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
    assert!(errors.to_string().starts_with("/nonexistent/pgwarden.toml: cannot be read: "), "{errors}");
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
fn admin_roles_and_how_tenants_are_written() {
    let admin = |lines: &str| BASE.replacen("[tenancy]", &format!("[upstream.main.admin]\n{lines}\n[tenancy]"), 1);
    let accepted =
        |lines: &str| parse_text(&admin(lines)).unwrap().config.upstreams[&UpstreamName::new("main")].clone();
    let main = accepted("user = \"boss\"\npassword_env = \"SET\"");
    let boss = main.as_admin().unwrap();
    assert_eq!((boss.user.as_str(), boss.database.as_str()), ("boss", "app"));
    assert_eq!(boss.password.as_ref().map(Secret::expose), Some("secret"));
    assert_eq!((&boss.address, main.admin.as_ref().unwrap().database.as_str()), (&main.address, "postgres"));
    assert!(!format!("{main:?}").contains("secret"));
    let elsewhere = accepted("url = \"postgres://boss:pw@direct:6543/maintenance\"");
    let (boss, role) = (elsewhere.as_admin().unwrap(), elsewhere.admin.as_ref().unwrap());
    assert_eq!(
        (boss.address.to_string(), boss.database, role.database.as_str()),
        ("direct:6543".to_owned(), "app".to_owned(), "maintenance")
    );
    for (lines, part) in [
        ("password_env = \"SET\"", "needs \"user\""),
        ("user = \"x\"\nurl = \"postgres://a@b/c\"", "both \"url\" and \"user\""),
        ("user = \"x\"\nrole = 1", "unknown key \"role\""),
    ] {
        let error = only_error(&admin(lines));
        assert!(error.contains(part), "{error}");
    }
    let own =
        parse_text(&format!("{BASE}[tenants_from]\ntable = \"ops.tenants\"\n")).unwrap().config.tenants_from.unwrap();
    assert_eq!(own.channel.as_deref(), Some("pgwarden_tenants"));
    assert!(
        own.query.starts_with("SELECT name, key, ") && own.query.ends_with(" FROM \"ops\".\"tenants\""),
        "{}",
        own.query
    );
    appended("[tenants_from]\ntable = \"x.t\"\nquery = \"SELECT 1\"\n", &["both \"table\" and \"query\""]);
    appended("[tenants_from]\ntable = \"tenants\"\n", &["\"tenants\""]);
    appended("[tenants_from]\nquery = \"x\"\nwrite = { insert = \"x\" }\n", &["unknown key \"insert\""]);
    assert_eq!((line_of_tenant(BASE, "acme"), line_of_tenant(BASE, "acne")), (Some(11), None));
}

#[test]
fn tenants_do_not_write_what_tenants_come_from() {
    let own = BASE.replacen(
        "key = 1",
        "layout = \"database\"\nupstream = { url = \"postgres://app@127.0.0.1:5432/app\" }",
        1,
    );
    let error = only_error(&format!("{own}[tenants_from]\nquery = \"SELECT name FROM orgs\"\n"));
    assert!(error.contains("[tenants_from] looks for tenants in the database of tenant \"acme\""), "{error}");
    let warned = |rule: &str| {
        let text = format!(
            "{BASE}[tenancy.tables]\n\"public.orgs\" = {rule}\n[tenants_from]\nquery = \"SELECT slug AS name, id AS key FROM public.orgs\"\n"
        );
        let warnings = parse_text(&text).unwrap().warnings;
        warnings.iter().any(|it| it.to_string().contains("tenants may write public.orgs"))
    };
    assert!(warned("{ column = \"id\" }") && warned("{ access = \"write\" }"));
    assert!(!warned("{ column = \"id\", write = false }") && !warned("{ access = \"read\" }"));
}

#[test]
fn moves_need_a_table_that_is_out_of_tenants_reach() {
    let own = "[tenants_from]\ntable = \"public.pgwarden_tenants\"\n[moves]\n";
    let lease = |lines: &str| parse_text(&format!("{BASE}{own}{lines}")).unwrap().config.moves.unwrap().lease;
    assert_eq!(lease(""), Duration::from_secs(10));
    assert_eq!(lease("lease = \"3s\""), Duration::from_secs(3));
    appended(&format!("{own}lease = \"10ms\"\n"), &["must be at least 1s"]);
    appended("[moves]\n", &["[moves] needs a table of tenants that can be written"]);
    appended("[tenants_from]\nquery = \"SELECT 1\"\n[moves]\n", &["[moves] needs a table"]);
    appended(
        &format!("[tenancy.tables]\n\"public.pgwarden_gates\" = {{ access = \"read\" }}\n{own}"),
        &["tenants may use \"public.pgwarden_gates\""],
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
fn listening() {
    replaced("\"127.0.0.1:6432\"", "[]", &["2:11 ", "at least one \"address\""]);
    replaced(
        "\"127.0.0.1:6432\"",
        "\"localhost:6432\"",
        &["2:11 ", "no address to listen on", "an IP address and a port"],
    );
    replaced("\"127.0.0.1:6432\"", "[\"127.0.0.1:1\", \"127.0.0.1:1\"]", &["2:27 ", "listed twice"]);
    let after = "\"127.0.0.1:6432\"\n";
    replaced(
        after,
        &format!("{after}login_timeout = \"soon\"\n"),
        &["3:17 ", "not a duration: \"soon\"", "ms, s, min, h or d"],
    );
    replaced(after, &format!("{after}login_timeout = \"1ms\"\n"), &["at least 100ms"]);
    replaced(after, &format!("{after}max_message_bytes = \"2GB\"\n"), &["not a size from 65536 to 1073741824"]);
    replaced(after, &format!("{after}max_connections = 0\n"), &["must be from 1 to 1000000"]);
}

#[test]
fn listening_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    write("a.crt", &one.cert.pem());
    write("a.key", &one.signing_key.serialize_pem());
    write("b.key", &other.signing_key.serialize_pem());
    write("junk", "junk");
    let with = |tls: &str| {
        let text = BASE.replacen("[upstream", &format!("tls = {tls}\n[upstream"), 1);
        parse(&text, &dir.path().join("pgwarden.toml"), &env)
    };
    let loaded = with("{ cert = \"a.crt\", key = \"a.key\", required = true }").unwrap();
    let tls = loaded.config.listen.tls.unwrap();
    assert_eq!((tls.cert, tls.required, tls.direct), (dir.path().join("a.crt"), true, true));
    for (tls, at, part) in [
        ("{ cert = \"no.crt\", key = \"a.key\" }", 16, "No such file"),
        ("{ cert = \"junk\", key = \"a.key\" }", 16, "junk holds no certificate"),
        ("{ cert = \"a.crt\", key = \"no.key\" }", 31, "No such file"),
        ("{ cert = \"a.crt\", key = \"junk\" }", 31, "junk: nothing of the kind"),
        ("{ cert = \"a.crt\", key = \"b.key\" }", 31, "do not go together"),
        ("{ cert = \"a.crt\" }", 7, "needs \"key\""),
    ] {
        let errors = with(tls).unwrap_err();
        assert_eq!(errors.errors.len(), 1, "{errors}");
        let e = &errors.errors[0];
        assert_eq!((e.line, e.column), (3, at), "{tls}: {e}");
        assert!(e.message.contains(part), "{e}");
    }
}

#[test]
fn certificates_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let pair = rcgen::generate_simple_self_signed(["a.test".to_owned(), "*.b.test".to_owned()]).unwrap();
    write("a.crt", &pair.cert.pem());
    write("a.key", &pair.signing_key.serialize_pem());
    let with = |certificates: &str| {
        let files = "cert = \"a.crt\"\nkey = \"a.key\"\n";
        let text = format!("{BASE}[listen.tls]\n{files}{}", certificates.replace("FILES", files));
        parse(&text, &dir.path().join("pgwarden.toml"), &env)
    };
    let one = "[[listen.tls.certificate]]\nnames = [\"A.test\", \"*.b.test\"]\nFILES";
    let loaded = with(one).unwrap();
    assert_eq!(loaded.warnings, vec![]);
    assert_eq!(loaded.config.listen.tls.unwrap().certificates[0].names, ["a.test", "*.b.test"]);
    let error = |text: &str| with(text).unwrap_err().to_string();
    for names in ["\"a..b\"", "\"x.*.y\"", "\"-a\"", "\"\"", "\"a b\""] {
        assert!(error(&one.replace("\"A.test\"", names)).contains("no host name"), "{names}");
    }
    assert!(error(&format!("{one}{one}")).contains("two certificates are for \"A.test\""));
    assert!(error(&one.replace("names", "name")).contains("unknown key \"name\" in [[listen.tls.certificate]]"));
    assert!(error(&one.replace("FILES", "cert = \"a.crt\"\n")).contains("needs \"key\""));
    let warnings = with(&one.replace("A.test", "c.test")).unwrap().warnings;
    assert!(warnings[0].message.contains("is not for \"c.test\""), "{warnings:?}");
}

#[test]
fn client_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write("a.crt", &pair.cert.pem());
    write("a.key", &pair.signing_key.serialize_pem());
    write("junk", "junk");
    let with = |tls: &str, login: &str| {
        let text =
            BASE.replacen("[upstream", &format!("tls = {{ cert = \"a.crt\", key = \"a.key\"{tls} }}\n[upstream"), 1);
        let text = text.replace("password = \"md50123456789abcdef0123456789abcdef\"", login);
        parse(&text, &dir.path().join("pgwarden.toml"), &env)
    };
    let ca = ", client_ca = \"a.crt\"";
    let cert = "auth = \"cert\"";
    let loaded = with(&format!("{ca}, client_patterns = [\"{{login}}\"]"), cert).unwrap();
    let tls = loaded.config.listen.tls.unwrap();
    assert_eq!((tls.client_cert, tls.client_name), (ClientCert::Request, CertificateName::CommonName));
    assert!(matches!(loaded.config.logins[0].auth, LoginAuth::Certificate));
    let password = "password = \"md50123456789abcdef0123456789abcdef\"";
    for (tls, login, part) in [
        (ca.to_owned(), cert, "no pattern finds {login}"),
        (format!("{ca}, client_patterns = [\"{{tenant}}\"]"), password, "does not list \"certificate\""),
        (format!("{ca}, client_patterns = [\"{{user}}\"]"), password, "only {login} and {tenant}"),
        (format!("{ca}, client_cert = \"must\""), password, "cannot be \"must\""),
        (format!("{ca}, client_name = \"dn\""), password, "cannot be \"dn\""),
        (", client_cert = \"require\"".to_owned(), password, "need \"client_ca\""),
        (", client_ca = \"junk\"".to_owned(), password, "junk holds no certificate"),
        (", client_patterns = [\"{login}\"]".to_owned(), password, "does nothing"),
        (String::new(), "auth = \"cert\"\npassword = \"x\"", "does nothing with auth = \"cert\""),
    ] {
        let errors = with(&tls, login).unwrap_err().to_string();
        assert!(errors.contains(part), "{tls} {login}: {errors}");
    }
}

#[test]
fn tokens() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let der = rcgen::PublicKeyData::subject_public_key_info(&key);
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    std::fs::write(dir.path().join("k.pem"), pem).unwrap();
    std::fs::write(dir.path().join("secret.json"), r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
    let jwt = "[jwt]\nissuer = \"https://id.test\"\naudience = \"x\"\npublic_keys = [\"k.pem\"]\n";
    let base = BASE.replace("password = \"md50123456789abcdef0123456789abcdef\"", "auth = \"jwt\"");
    let with = |from: &str, to: &str| {
        let text = format!("{base}{jwt}").replace(from, to);
        parse(&text, &dir.path().join("pgwarden.toml"), &env)
    };
    let rules = with("", "").unwrap().config.tokens.unwrap().rules;
    assert_eq!((rules.tenant_claim.as_str(), rules.clock_skew.as_secs()), ("tenant", 30));
    for (from, to, part) in [
        (jwt, "", "there is no section [jwt]"),
        ("audience = \"x\"", "", "needs \"audience\""),
        ("issuer = \"https://id.test\"", "", "needs \"issuer\""),
        ("public_keys = [\"k.pem\"]", "", "needs \"public_keys\" or \"jwks_file\""),
        ("public_keys = [\"k.pem\"]", "jwks_file = \"secret.json\"", "is symmetric"),
        ("k.pem", "no.pem", "No such file"),
        ("k.pem", "secret.json", "no public key in PEM"),
        ("audience", "algorithms = [\"none\"]\naudience", "cannot be signed with \"none\""),
        ("audience", "algorithms = [\"HS256\"]\naudience", "cannot be signed with \"HS256\""),
        ("audience", "algorithms = [\"RS256\"]\naudience", "none of the keys can be used"),
        ("tenants = [\"acme\"]", "role = \"operator\"", "any token of the issuer would serve as operator"),
    ] {
        let errors = with(from, to).unwrap_err().to_string();
        assert!(errors.contains(part), "{to}: {errors}");
    }
    assert!(with("tenants = [\"acme\"]", "role = \"operator\"").is_err());
}

#[test]
fn allow_lists_and_failures() {
    let list = |list: &str| format!("allow_from = {list}\n");
    assert!(parse_text(&format!("{BASE}{}", list("[\"10.0.0.0/8\", \"::1\"]"))).is_ok());
    appended(&list("[\"10.1.0.0/8\"]"), &["14:15 ", "\"10.1.0.0/8\" is no network", "\"10.0.0.0/8\""]);
    appended(&list("\"home\""), &["14:14 ", "is no network"]);
    appended(&list("[]"), &["\"allow_from\" is empty"]);
    appended("[auth]\naddress_failures = -1\n", &["15:20 ", "from 0 to"]);
    appended("[auth]\nfailure_delay = \"1min\"\n", &["is above \"max_failure_delay\""]);
    appended("[auth]\nblock_for = \"0s\"\n", &["at least 1s"]);
    let config = parse_text(&format!("{BASE}[auth]\naddress_failures = 0\n")).unwrap().config;
    assert_eq!(config.failures.address_failures, 0);
    assert_eq!(config.failures.window, crate::auth::FailureRules::default().window);
}

#[test]
fn domains_of_tenants() {
    let with = |lines: &str| BASE.replacen("[[login]]", &format!("{lines}\n[[login]]"), 1);
    let error = |lines: &str| only_error(&with(lines));
    assert!(error("identify = [\"user\"]\ndomain = \"db.test\"").starts_with("8:10 \"domain\" does nothing"));
    assert!(error("domain = \"db.test\"").contains("does nothing"));
    let errors = parse_text(&with("identify = [\"sni\"]")).unwrap_err().to_string();
    assert!(errors.contains("needs \"domain\"") && errors.contains("needs TLS"), "{errors}");
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

#[test]
fn tenancy() {
    let line = "upstream = \"main\"\n";
    let with = |more: &str| format!("{line}{more}\n");
    replaced(line, "upstream = \"mian\"\n", &["6:12 ", "no upstream \"mian\"", "did you mean \"main\"?"]);
    replaced(line, "", &["5:1 ", "[tenancy] needs \"upstream\""]);
    replaced(line, &with("column = \"\""), &["7:10 ", "must not be empty"]);
    replaced(line, &with(&format!("column = \"{}\"", "x".repeat(64))), &["longer than 63 bytes"]);
    replaced(line, &with("setting = \"tenant_id\""), &["7:11 ", "no name for a setting"]);
    replaced(line, &with("identify = [\"usr\"]"), &["7:13 ", "did you mean \"user\"?"]);
    replaced(line, &with("identify = [\"user\", \"user\"]"), &["listed twice"]);
    replaced(line, &with("shared_tables = [\"countries\"]"), &["7:18 ", "not a schema and a name", "public.countries"]);
    replaced(line, &with("shared_tables = [\"a.b\", \"a.b\"]"), &["listed twice"]);
    replaced(line, &with("allow_functions = [\"f\"]"), &["7:20 ", "not a schema and a name"]);
    for (entry, complaint) in [
        ("\"x*\" = true", "no name of a setting"),
        ("\"a b\" = true", "no name of a setting"),
        ("work_mem = \"much\"", "must be true, false or a greatest value"),
        ("work_mem = [1]", "must be true, false or a greatest value"),
        ("\"App.tenant_id\" = true", "pgwarden alone sets it"),
    ] {
        replaced(line, &with(&format!("settings = {{ {entry} }}")), &["7:", complaint]);
    }
    replaced(line, &with("catalog_refresh = \"0s\""), &["at least 1s"]);
    replaced(line, &with("catalog_max_age = \"0s\""), &["at least 100ms"]);
    replaced(line, &with("witness = \"enforced\""), &["7:11 ", "did you mean", "enforce"]);
    replaced(line, &with("witness = \"silent\""), &["one of \"enforce\", \"report\", \"off\""]);
    replaced(line, &with("search_path = []"), &["\"search_path\" is empty"]);
    replaced(line, &with("search_path = [\"$user\"]"), &["cannot stand in the pinned search path"]);
    replaced(line, &with("[tenancy.tables]\nx = {}"), &["8:1 ", "not a schema and a name"]);
    replaced(line, &with("[tenancy.tables]\n\"a.b\" = \"c\""), &["8:9 ", "must be a table, not a string"]);
    let table = |entry: &str| with(&format!("[tenancy.tables]\n\"a.b\" = {entry}"));
    replaced(line, &table("{ access = \"all\" }"), &["8:20 ", "one of \"read\", \"insert\", \"write\""]);
    replaced(line, &table("{ access = \"write\", key = \"k\" }"), &["\"key\" goes with a table of tenants"]);
    replaced(line, &table("{ null = \"all\" }"), &["8:18 ", "\"shared\": all tenants read them"]);
    replaced(
        line,
        &table("{ through = \"x\", column = \"y\" }"),
        &["\"column\" goes with a table that has the tenant"],
    );
    replaced(line, &table("{ through = \"x\", access = \"read\" }"), &["\"through\" goes with a table of tenants"]);
    let warnings = |entry: &str| parse_text(&BASE.replacen(line, &table(entry), 1)).unwrap().warnings;
    assert!(warnings("{ access = \"read\" }").is_empty() && warnings("{ write = false }").is_empty());
    for (access, said) in [("insert", "may add rows to a.b"), ("write", "change and delete every row of a.b")] {
        let warnings = warnings(&format!("{{ access = \"{access}\" }}"));
        assert!(matches!(warnings.as_slice(), [it] if it.message.contains(said)), "{warnings:?}");
    }
    replaced(
        line,
        &with("shared_tables = [\"a.b\"]\n[tenancy.tables]\n\"a.b\" = {}"),
        &["stands in \"shared_tables\" too"],
    );
}

#[test]
fn logins() {
    let name = "name = \"app\"";
    let password = "password = \"md50123456789abcdef0123456789abcdef\"";
    replaced(name, "name = \"a/b\"", &["8:8 ", "no name for a login"]);
    replaced(name, "", &["7:1 ", "[[login]] needs \"name\""]);
    replaced(password, "", &["7:1 ", "needs \"password\", \"password_env\"", "hash-password"]);
    replaced(password, &format!("{password}\nauth = \"scram\""), &["9:12 ", "cannot use this kind"]);
    replaced(password, &format!("{password}\nauth = \"trust\""), &["does nothing with auth = \"trust\""]);
    replaced(password, &format!("{password}\nauth = \"scrum\""), &["10:8 ", "did you mean \"scram\"?"]);
    replaced(password, "password = \"SCRAM-SHA-256$4096:x$y:z\"", &["9:12 ", "malformed"]);
    replaced(password, &format!("{password}\npassword_file = \"x\""), &["has both"]);
    replaced("tenants = [\"acme\"]", "", &["needs \"tenants\""]);
    replaced("[\"acme\"]", "[]", &["10:11 ", "could do nothing"]);
    replaced("[\"acme\"]", "[\"acme\", \"acmee\"]", &["10:20 ", "no tenant \"acmee\"", "did you mean \"acme\"?"]);
    replaced("[\"acme\"]", "[\"acme\", \"*\"]", &["tenants = \"*\" alone"]);
    replaced(password, &format!("{password}\nrole = \"operater\""), &["did you mean \"operator\"?"]);
    replaced(password, &format!("{password}\nupstream = \"main\""), &["is for operators"]);
    replaced(password, &format!("{password}\nrole = \"operator\"\nupstream = \"x\""), &["11:12 ", "no upstream \"x\""]);
    let login = &BASE[BASE.find("[[login]]").unwrap()..BASE.find("[[tenant]]").unwrap()];
    appended(login, &["15:8 ", "login \"app\" is configured twice"]);
}

#[test]
fn ways_to_authenticate() {
    let password = "password = \"md50123456789abcdef0123456789abcdef\"";
    let auth = |to: &str| {
        let loaded = parse_text(&BASE.replacen(password, to, 1)).unwrap();
        (loaded.config.logins[0].auth.clone(), loaded.warnings.len())
    };
    assert!(matches!(auth("password = \"x\""), (LoginAuth::ScramPlain(s), 1) if s.expose() == "x"));
    assert!(matches!(auth("password_env = \"SET\""), (LoginAuth::ScramPlain(s), 0) if s.expose() == "secret"));
    assert!(matches!(auth("password_env = \"SET\"\nauth = \"md5\""), (LoginAuth::Md5Plain(_), 0)));
    assert!(matches!(auth("auth = \"trust\""), (LoginAuth::Trust, 0)));
    let minimal = include_str!("../../../config/minimal.toml");
    let verifier = minimal.split('"').find(|p| p.starts_with("SCRAM")).unwrap();
    assert!(matches!(auth(&format!("password = \"{verifier}\"")), (LoginAuth::ScramVerifier(_), 0)));
    let error =
        only_error(&BASE.replacen(password, "auth = \"trust\"", 1).replacen("127.0.0.1:6432", "0.0.0.0:6432", 1));
    assert!(error.contains("auth = \"trust\", but pgwarden listens on 0.0.0.0:6432"), "{error}");
}

#[test]
fn tenants() {
    let name = "name = \"acme\"";
    let key = "key = 1";
    appended("[[tenant]]\nname = \"acme\"\nkey = 2\n", &["15:8 ", "tenant \"acme\" is configured twice"]);
    appended("[[tenant]]\nname = \"a.b\"\nkey = 2\n", &["15:8 ", "no name for a tenant"]);
    replaced(key, "", &["11:1 ", "layout \"shared\" needs \"key\""]);
    for (value, what) in [
        ("1.5", "a fraction"),
        ("true", "true or false"),
        ("\"\"", "empty"),
        ("[1]", "a list"),
        ("2024-01-01", "a date"),
    ] {
        replaced(key, &format!("key = {value}"), &["13:7 ", "cannot be ", what]);
    }
    replaced(key, "key = 1\nlayout = \"shard\"", &["14:10 ", "no layout", "did you mean \"shared\"?"]);
    replaced(key, "layout = \"schema\"", &["13:10 ", "needs \"schema\""]);
    replaced(key, "layout = \"schema\"\nschema = \"pg_x\"", &["14:10 ", "Postgres's own schemas"]);
    replaced(key, "key = 1\nschema = \"x\"", &["14:10 ", "does nothing in layout \"shared\""]);
    replaced(key, "layout = \"schema\"\nschema = \"x\"\nkeys = {}", &["\"keys\" does nothing"]);
    replaced(key, "layout = \"database\"", &["13:10 ", "needs an upstream of its own"]);
    replaced(key, "key = 1\nupstream = \"x\"", &["14:12 ", "no upstream \"x\"", "[upstream.x]"]);
    replaced(key, "key = 1\nupstream = 5", &["14:12 ", "the name of one or a table, not a number"]);
    replaced(
        "[[login]]",
        "[tenancy.tables]\n\"public.t\" = { key = \"uuid\" }\n[[login]]",
        &["13:1 ", "no key \"uuid\", which [tenancy.tables] \"public.t\" asks for"],
    );
    let warnings = parse_text(&BASE.replacen(key, "key = 1\nkeys = { uuid = \"u\" }", 1)).unwrap().warnings;
    assert!(
        matches!(warnings.as_slice(), [w] if w.message.contains("no table of [tenancy.tables] uses")),
        "{warnings:?}"
    );
    let warnings = parse_text(&BASE.replace("acme", "app")).unwrap().warnings;
    assert!(matches!(warnings.as_slice(), [w] if w.message.contains("called like the database")), "{warnings:?}");
    let second = "[[tenant]]\nname = \"globex\"\nlayout = \"database\"\nupstream = { url = \"postgres://x@h/globex\" }\n[[tenant]]\nname = \"initech\"\nlayout = \"database\"\nupstream = { url = \"postgres://x@h/initech\" }\n";
    let warnings = parse_text(&format!("{BASE}{second}")).unwrap().warnings;
    assert!(matches!(warnings.as_slice(), [w] if w.message.contains("the same role \"x\"")), "{warnings:?}");
    assert_eq!(
        parse_text(&format!("{BASE}{}", second.replace("x@h/initech", "y@h/initech"))).unwrap().warnings,
        vec![]
    );
    assert!(
        parse_text(&BASE.replacen(name, "name = \"acme\"\nsuspended = true", 1)).unwrap().config.tenants[0].suspended
    );
}

#[test]
fn what_would_mix_tenants_up() {
    appended("[[tenant]]\nname = \"b\"\nkey = \"1\"\n", &["14:1 ", "\"acme\" and \"b\" have the same key, \"1\""]);
    appended(
        "[[tenant]]\nname = \"b\"\nlayout = \"database\"\nupstream = \"main\"\n",
        &["14:1 ", "layout \"database\", but tenant \"acme\" lives in the same database"],
    );
    let schema = |name: &str| format!("[[tenant]]\nname = \"{name}\"\nlayout = \"schema\"\nschema = \"s\"\n");
    appended(&format!("{}{}", schema("b"), schema("c")), &["18:1 ", "\"b\" and \"c\" have the same schema \"s\""]);
    // The same database under another name is the same database.
    let inline = |name: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\nlayout = \"database\"\nupstream = {{ url = \"postgres://{name}@h/own\" }}\n"
        )
    };
    appended(&format!("{}{}", inline("b"), inline("c")), &["18:1 ", "lives in the same database"]);
    // On another upstream the same key is another one.
    let other = "[[tenant]]\nname = \"b\"\nkey = 1\nupstream = { url = \"postgres://app@h/other\" }\n";
    let config = parse_text(&format!("{BASE}{other}")).unwrap().config;
    assert!(config.upstreams.contains_key("tenant/b"));
}

mod fuzz {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the text, there is a configuration or at least one error, each with a place in the file.
        #[test]
        fn any_text(text in "(?s).{0,400}") {
            check(&text);
        }

        /// The full example with a piece cut out and another put in.
        #[test]
        fn a_damaged_example(
            from in 0_usize..5000,
            len in 0_usize..40,
            piece in "([a-z_]{1,8}|[\\[\\]{}=\"',.#\\n -]{1,4}|[0-9]{1,20}|é){0,3}",
        ) {
            let full = include_str!("../../../config/full.toml");
            let chars: Vec<char> = full.chars().collect();
            let from = from.min(chars.len());
            let rest = (from + len).min(chars.len());
            let text: String = chars[..from].iter().copied().chain(piece.chars()).chain(chars[rest..].iter().copied()).collect();
            check(&text);
        }
    }

    fn check(text: &str) {
        if let Err(found) = parse_text(text) {
            let lines = text.matches('\n').count() + 1;
            assert!(!found.errors.is_empty());
            assert!(found.errors.iter().all(|e| (1..=lines).contains(&e.line) && e.column >= 1), "{found}");
        }
    }
}
