use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::*;

/// An issuer with a P-256 key.
struct Issuer {
    key: EcdsaKeyPair,
    public: KeyPair,
}

impl Issuer {
    fn new() -> Self {
        let public = KeyPair::generate().unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &public.serialize_der(), &SystemRandom::new());
        Self { key: key.unwrap(), public }
    }

    fn pem(&self) -> String {
        let der = self.public.subject_public_key_info();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.public.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    fn sign(&self, header: Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(json!({ "alg": "ES256", "typ": "JWT" }), claims)
    }

    fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new(rules(), TokenKey::from_pem(self.pem().as_bytes()).unwrap())
    }
}

fn message(header: Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://id.test".to_owned(),
        audience: vec!["pgwarden".to_owned(), "db".to_owned()],
        algorithms: vec![],
        clock_skew: Duration::from_secs(30),
        tenant_claim: "tenant".to_owned(),
        login_claim: Some("sub".to_owned()),
        scope: "openid".to_owned(),
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn claims() -> Value {
    json!({ "iss": "https://id.test", "aud": "pgwarden", "exp": now() + 300, "sub": "app", "tenant": "acme" })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(key),
        value => claims.as_object_mut().unwrap().insert(key.to_owned(), value),
    };
    claims
}

#[test]
fn a_good_token_and_what_it_says() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    let read = verifier.verify(&issuer.token(&claims())).unwrap();
    assert_eq!(verifier.tenants(&read).unwrap(), ["acme"]);
    assert!(verifier.check_login(&read, "app").is_ok());
    assert_eq!(verifier.check_login(&read, "ops"), Err(TokenError::OtherLogin("sub".to_owned())));
    let several = with("tenant", json!(["acme", "globex"]));
    let read = verifier.verify(&issuer.token(&several)).unwrap();
    assert_eq!(verifier.tenants(&read).unwrap(), ["acme", "globex"]);
    for bad in [Value::Null, json!(1), json!([]), json!(["acme", 1]), json!({ "acme": true }), json!(true)] {
        let read = verifier.verify(&issuer.token(&with("tenant", bad.clone()))).unwrap();
        assert!(verifier.tenants(&read).is_err(), "{bad}");
    }
    for good in [with("aud", json!(["other", "db"])), with("exp", json!(now() - 10)), with("nbf", json!(now() + 10))] {
        assert!(verifier.verify(&issuer.token(&good)).is_ok(), "{good}");
    }
}

#[test]
fn bad_claims() {
    let issuer = Issuer::new();
    let verifier = issuer.verifier();
    for bad in [
        with("exp", json!(now() - 60)),
        with("exp", Value::Null),
        with("exp", json!("tomorrow")),
        with("nbf", json!(now() + 60)),
        with("nbf", json!("yesterday")),
        with("iss", json!("https://evil.test")),
        with("iss", Value::Null),
        with("iss", json!(5)),
        with("aud", json!("other")),
        with("aud", json!(["other"])),
        with("aud", json!([])),
        with("aud", Value::Null),
    ] {
        let error = verifier.verify(&issuer.token(&bad)).unwrap_err();
        assert!(matches!(error, TokenError::Invalid(_)), "{bad}: {error}");
    }
}

#[test]
fn bad_signatures() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let verifier = issuer.verifier();
    assert!(matches!(verifier.verify(&other.token(&claims())), Err(TokenError::Invalid(_))));
    // Unsigned, in several spellings, and with the signature cut off or changed.
    for alg in ["none", "None", "NONE", "", "nOnE"] {
        let unsigned = message(json!({ "alg": alg }), &claims());
        for token in [format!("{unsigned}."), unsigned.clone(), format!("{unsigned}.AAAA")] {
            assert_eq!(verifier.verify(&token).unwrap_err(), TokenError::Malformed, "{token}");
        }
    }
    let good = issuer.token(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other_claims = URL_SAFE_NO_PAD.encode(with("tenant", json!("globex")).to_string());
    for token in [format!("{signed}."), format!("{signed}.AAAA"), format!("{header}.{other_claims}.{signature}")] {
        assert!(verifier.verify(&token).is_err(), "{token}");
    }
    // HS256 with the public key as the secret, in each form that somebody may have it in.
    let der = issuer.public.subject_public_key_info();
    for secret in [issuer.pem().into_bytes(), der, issuer.public.public_key_raw().to_vec()] {
        let message = message(json!({ "alg": "HS256" }), &claims());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(verifier.verify(&token).unwrap_err(), TokenError::NoKey);
    }
    // Another algorithm than the key's.
    for alg in ["RS256", "ES384", "EdDSA", "PS512"] {
        let token = issuer.sign(json!({ "alg": alg }), &claims());
        assert_eq!(verifier.verify(&token).unwrap_err(), TokenError::NoKey, "{alg}");
    }
    let critical = issuer.sign(json!({ "alg": "ES256", "crit": ["exp"] }), &claims());
    assert_eq!(verifier.verify(&critical).unwrap_err(), TokenError::Critical);
    assert_eq!(verifier.verify("").unwrap_err(), TokenError::Missing);
    assert_eq!(verifier.verify(&"a".repeat(MAX_TOKEN + 1)).unwrap_err(), TokenError::Malformed);
}

#[test]
fn key_sets() {
    let (one, two) = (Issuer::new(), Issuer::new());
    let set = |keys: Value| TokenKey::from_jwks(json!({ "keys": keys }).to_string().as_bytes());
    let verifier = TokenVerifier::new(rules(), set(json!([one.jwk("1"), two.jwk("2")])).unwrap());
    let by_id =
        |issuer: &Issuer, id: &str| verifier.verify(&issuer.sign(json!({ "alg": "ES256", "kid": id }), &claims()));
    assert!(by_id(&one, "1").is_ok() && by_id(&two, "2").is_ok());
    assert!(matches!(by_id(&one, "2"), Err(TokenError::Invalid(_))));
    assert!(matches!(by_id(&one, "3"), Err(TokenError::NoKey)));
    assert!(verifier.verify(&two.token(&claims())).is_ok());
    let mut encryption = one.jwk("1");
    encryption["use"] = json!("enc");
    assert_eq!(set(json!([encryption])).unwrap_err(), KeyError::None);
    let mut other = one.jwk("1");
    other["alg"] = json!("RS256");
    assert_eq!(set(json!([other])).unwrap_err(), KeyError::None);
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    assert_eq!(set(json!([secret])).unwrap_err(), KeyError::Symmetric("s".to_owned()));
    assert!(matches!(TokenKey::from_jwks(b"{}"), Err(KeyError::Json(_))));
    assert!(TokenKey::from_pem(b"junk").is_err());
    // Only what is allowed.
    let none = TokenVerifier::new(
        TokenRules { algorithms: vec![Algorithm::RS256], ..rules() },
        set(json!([one.jwk("1")])).unwrap(),
    );
    assert!(!none.is_usable());
    assert_eq!(none.verify(&one.token(&claims())).unwrap_err(), TokenError::NoKey);
}

/// RFC 8037, appendix A.4: Ed25519. The signature is right, so what is wrong is only that it has no claims.
#[test]
fn other_kinds_of_keys() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let keys = TokenKey::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let error = TokenVerifier::new(rules(), keys).verify(token).unwrap_err().to_string();
    assert!(!error.contains("InvalidSignature") && error.contains("JSON"), "{error}");
    let damaged = token.replace("hgyY", "hgyZ");
    let keys = TokenKey::from_jwks(
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] })
            .to_string()
            .as_bytes(),
    );
    let error = TokenVerifier::new(rules(), keys.unwrap()).verify(&damaged).unwrap_err().to_string();
    assert!(error.contains("InvalidSignature"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        let issuer = Issuer::new();
        let verifier = issuer.verifier();
        prop_assert!(verifier.verify(&text).is_err());
        prop_assert!(verifier.verify(&parts.join(".")).is_err());
    }
}
