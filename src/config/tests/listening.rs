//! [listen]: addresses, TLS, certificates, tokens, allow lists.

use super::*;

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
