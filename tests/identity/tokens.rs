//! Tokens, as passwords and by OAUTHBEARER.

use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::support::message::startup;
use crate::support::session::{Endpoint, Session, open};

const LOGINS: &str = r#"
[[login]]
name = "app"
auth = "jwt"
tenants = ["a", "b"]
[[login]]
name = "only_b"
auth = "jwt"
tenants = ["b"]
[[login]]
name = "trio"
auth = "jwt"
tenants = ["a", "b", "c"]
[[tenant]]
name = "c"
key = 4
keys = { uuid = "dddddddd-0000-4000-8000-00000000000d", account = "delta" }
[[login]]
name = "ops"
auth = "jwt"
role = "operator"
[[login]]
name = "web"
auth = "oauth"
tenants = "*"
[jwt]
issuer = "https://id.test"
audience = "pgwarden"
login_claim = "sub"
"#;

pub struct Issuer {
    key: EcdsaKeyPair,
    public: KeyPair,
}

impl Issuer {
    pub fn new() -> Self {
        let public = KeyPair::generate().unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &public.serialize_der(), &SystemRandom::new());
        Self { key: key.unwrap(), public }
    }

    pub fn pem(&self) -> String {
        let der = self.public.subject_public_key_info();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    pub fn token(&self, login: &str, changes: Value) -> String {
        let message = message("ES256", login, changes);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Header and claims of a token, which is good for five minutes.
pub fn message(algorithm: &str, login: &str, changes: Value) -> String {
    let mut claims = json!({ "iss": "https://id.test", "aud": "pgwarden", "exp": now() + 300, "sub": login });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let header = json!({ "alg": algorithm });
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

struct House {
    issuer: Issuer,
    proxy: Proxy,
    _folder: Folder,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let (issuer, folder) = (Issuer::new(), Folder::new());
    folder.write("issuer.pem", &issuer.pem());
    let more = format!(
        "{LOGINS}public_keys = [\"{}\"]\n[auth]\naddress_failures = 0\nfailure_delay = \"0ms\"\n",
        folder.at("issuer.pem")
    );
    let proxy = Setup { more: &more, ..Setup::default() }.start();
    House { issuer, proxy, _folder: folder }
});

fn dial(user: &str, database: &str, token: &str) -> Answer {
    psql(HOUSE.proxy.port, &format!("host=localhost user={user} dbname={database} password={token}"), WHOSE)
}

#[test]
fn the_tokens_tenants_and_the_logins_both_bind() {
    let issuer = &HOUSE.issuer;
    let token = |login: &str, tenant: Value| issuer.token(login, json!({ "tenant": tenant }));
    assert_eq!(dial("app", "shared", &token("app", json!("a"))).as_deref(), Ok("1"));
    assert_eq!(dial("app@b", "shared", &token("app", json!(["a", "b"]))).as_deref(), Ok("2"));
    assert_eq!(dial("only_b", "shared", &token("only_b", json!(["a", "b"]))).as_deref(), Ok("2"));
    // The token of one tenant, the name of another.
    refused(dial("app@b", "shared", &token("app", json!("a"))), "may not act for tenant \"b\"");
    refused(dial("app", "a", &token("app", json!("b"))), "database \"a\" does not exist");
    refused(dial("only_b@a", "shared", &token("only_b", json!(["a", "b"]))), "may not act for tenant \"a\"");
    for (login, tenant) in [("only_b", json!("a")), ("app", json!("nowhere")), ("app", json!([])), ("app", json!(1))] {
        refused(dial(login, "shared", &token(login, tenant)), "password authentication failed");
    }
    refused(dial("app@a", "shared", &issuer.token("app", json!({}))), "password authentication failed");
    // Another login's token; an operator's must not be for tenants.
    refused(dial("app@b", "shared", &token("only_b", json!("b"))), "password authentication failed");
    assert_eq!(dial("ops", "shared", &issuer.token("ops", json!({}))).as_deref(), Ok("1,2,3"));
    refused(dial("ops", "shared", &token("ops", json!("a"))), "password authentication failed");
    refused(dial("ops", "shared", &token("app", json!("a"))), "password authentication failed");
}

/// A session that names its tenants as it goes keeps to those of its token.
#[test]
fn switching_keeps_to_the_token() {
    let port = HOUSE.proxy.port;
    let connect = |tenants: Value| {
        let token = HOUSE.issuer.token("trio", json!({ "tenant": tenants }));
        Endpoint::new(port, "trio", &token, "shared").connect()
    };
    let mut session = connect(json!(["a", "b", "nowhere"]));
    session.simple(WHOSE).refused("28000");
    for (tenant, key) in [("a", "1"), ("b", "2")] {
        session.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        assert_eq!(session.simple(WHOSE).ok().value(), key);
    }
    // The login's, but not the token's.
    session.simple("SET app.tenant_id = 'c'").refused("28000");
    session.simple(format!("/* tenant='c' */ {WHOSE}")).refused("28000");
    session.simple("SET app.tenant_id = 'nowhere'").refused("28000");
    let mut session = connect(json!(["b", "c"]));
    session.simple("SET app.tenant_id = 'c'").ok();
    session.simple("SET app.tenant_id = 'a'").refused("28000");
    // One alone is acted for without being named, and cannot be left.
    let mut session = connect(json!("c"));
    assert_eq!(session.simple("SELECT count(*) FROM customers").ok().value(), "0");
    session.simple("SET app.tenant_id = 'a'").refused("42501");
}

#[test]
fn bad_tokens() {
    let issuer = &HOUSE.issuer;
    let a = |more: Value| {
        let mut changes = json!({ "tenant": "a" });
        changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        issuer.token("app", changes)
    };
    assert!(dial("app", "shared", &a(json!({}))).is_ok());
    let unsigned = message("none", "app", json!({ "tenant": "a" }));
    let symmetric = {
        let message = message("HS256", "app", json!({ "tenant": "a" }));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.pem().as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())))
    };
    let expired = a(json!({ "exp": now() - 100 }));
    let early = a(json!({ "nbf": now() + 100 }));
    let foreign = a(json!({ "iss": "https://other.test" }));
    let audience = a(json!({ "aud": "another" }));
    let forged = Issuer::new().token("app", json!({ "tenant": "a" }));
    for token in [
        format!("{unsigned}."),
        format!("{unsigned}.AAAA"),
        symmetric,
        expired,
        early,
        foreign,
        audience,
        forged,
        "x".to_owned(),
    ] {
        refused(dial("app", "shared", &token), "password authentication failed for user \"app\"");
    }
    let log = HOUSE.proxy.log();
    for reason in ["ExpiredSignature", "ImmatureSignature", "InvalidIssuer", "InvalidAudience", "InvalidSignature"] {
        assert!(log.contains(reason), "{reason} is not in\n{log}");
    }
    assert!(!log.contains("eyJ"), "a token is in the log");
}

/// What a client says by OAUTHBEARER, and what it is told.
fn bearer(user: &str, message: &[u8]) -> (Option<Value>, crate::support::reply::Reply) {
    let mut session = Session::over(open(HOUSE.proxy.port));
    session.send(&startup(196_608, &[("user", user), ("database", "shared")]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let (tag, body) = session.message(deadline).unwrap();
    assert_eq!((tag, &body[..4]), (b'R', &10_u32.to_be_bytes()[..]));
    assert_eq!(&body[4..], b"OAUTHBEARER\0\0");
    let mut body = b"OAUTHBEARER\0".to_vec();
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    session.send(&tagged(b'p', &body));
    let mut status = None;
    let (tag, body) = session.message(deadline).unwrap();
    if tag == b'R' && body[..4] == 11_u32.to_be_bytes() {
        status = Some(serde_json::from_slice(&body[4..]).unwrap());
        session.send(&tagged(b'p', b"\x01"));
        return (status, session.collect(1));
    }
    let mut reply = crate::support::reply::Reply::default();
    reply.add(tag, &body);
    if tag == b'R' {
        reply = session.collect(1).ok();
        reply = {
            let answer = session.simple(WHOSE);
            drop(reply);
            answer
        };
    }
    (status, reply)
}

fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}

#[test]
fn oauthbearer() {
    let said = |token: &str| format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes();
    let good = HOUSE.issuer.token("web", json!({ "tenant": "b" }));
    let (status, reply) = bearer("web", &said(&good));
    assert_eq!((status, reply.ok().value()), (None, "2".to_owned()));
    let (_, reply) = bearer("web@a", &said(&good));
    assert_eq!(reply.sqlstate(), "28000");
    // Whom to ask for a token, as libpq 18 asks first.
    for message in
        [b"n,,\x01auth=\x01\x01".to_vec(), said("forged"), said(&HOUSE.issuer.token("app", json!({ "tenant": "b" })))]
    {
        let (status, reply) = bearer("web", &message);
        let status = status.expect("a status");
        assert_eq!(status["status"], "invalid_token");
        assert_eq!(status["openid-configuration"], "https://id.test/.well-known/openid-configuration");
        assert_eq!(status["scope"], "openid");
        assert_eq!(reply.sqlstate(), "28000");
        assert!(reply.text().contains("OAuth bearer authentication failed for user \"web\""), "{}", reply.text());
    }
    let (_, reply) = bearer("web", b"n,a=root,\x01auth=Bearer x\x01\x01");
    assert!(reply.closed || !reply.errors.is_empty());
}

/// libpq 18 itself. Its first connection learns whom to ask, the second one brings the token; with the issuer's document
/// named in full, the first one does.
#[test]
fn oauthbearer_by_libpq() {
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    let script = crate::support::lab::file("identity/oauth.py");
    let run = |issuer: &str, user: &str, token: &str| -> Answer {
        let settings = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={user} dbname=shared require_auth=oauth oauth_issuer={issuer} \
             oauth_client_id=tests oauth_scope=openid",
            HOUSE.proxy.port
        );
        let output =
            Command::new(&python).arg("-B").arg(&script).args([token, &settings, WHOSE]).output().expect("python");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    };
    let good = HOUSE.issuer.token("web", json!({ "tenant": "b" }));
    let document = "https://id.test/.well-known/openid-configuration";
    for issuer in ["https://id.test", document] {
        assert_eq!(run(issuer, "web", &good).as_deref(), Ok(format!("{document} openid\n2").as_str()), "{issuer}");
    }
    assert!(run(document, "web@b", &good).is_ok());
    refused(run(document, "web@a", &good), "may not act for tenant \"a\"");
    for bad in ["forged", &HOUSE.issuer.token("app", json!({ "tenant": "b" }))] {
        refused(run(document, "web", bad), "OAuth bearer authentication failed for user \"web\"");
    }
    // libpq does not give a token to whom it does not trust: another issuer than it was told.
    refused(run("https://other.test", "web", &good), "issuer");
}
