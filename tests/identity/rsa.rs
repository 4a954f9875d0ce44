//! Tokens that are signed by RSA keys, from PEM files and JWK sets.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::json;

use super::tokens::message;
use super::*;
use crate::support::lab::read;

const LOGIN: &str = "[[login]]\nname = \"app\"\nauth = \"jwt\"\ntenants = [\"a\", \"b\"]\n[auth]\naddress_failures = 0\n\
    failure_delay = \"0ms\"\n[jwt]\nissuer = \"https://id.test\"\naudience = \"pgwarden\"\nlogin_claim = \"sub\"\n";

struct Signer {
    key: RsaKeyPair,
    /// BEGIN PUBLIC KEY
    pem: String,
}

impl Signer {
    fn new() -> Self {
        let text = read("fixture/rsa.pem");
        let inside: String =
            text.lines().skip_while(|it| !it.contains("BEGIN")).filter(|it| !it.contains("---")).collect();
        let der = STANDARD.decode(inside).unwrap();
        let start = text.find("-----BEGIN").unwrap();
        let public = KeyPair::from_pem(&text[start..]).unwrap().subject_public_key_info();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(public));
        Self { key: RsaKeyPair::from_pkcs8(&der).unwrap(), pem }
    }

    fn jwks(&self) -> String {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.key.public());
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        json!({ "keys": [{ "kty": "RSA", "use": "sig", "n": n, "e": e }] }).to_string()
    }

    /// A token for tenant b whose header says this algorithm.
    fn token(&self, algorithm: &str, encoding: &'static dyn RsaEncoding) -> String {
        let message = message(algorithm, "app", json!({ "tenant": "b" }));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn dial(proxy: &Proxy, token: &str) -> Answer {
    psql(proxy.port, &format!("host=localhost user=app dbname=shared password={token}"), WHOSE)
}

#[test]
fn rsa_signatures_of_both_kinds() {
    let (signer, folder) = (Signer::new(), Folder::new());
    folder.write("issuer.pem", &signer.pem);
    folder.write("keys.json", &signer.jwks());
    let ec = tokens::Issuer::new();
    for keys in [
        format!("public_keys = [\"{}\"]", folder.at("issuer.pem")),
        format!("jwks_file = \"{}\"", folder.at("keys.json")),
    ] {
        let proxy = Setup { more: &format!("{LOGIN}{keys}\n"), ..Setup::default() }.start();
        for token in [
            signer.token("RS256", &RSA_PKCS1_SHA256),
            signer.token("PS256", &RSA_PSS_SHA256),
            signer.token("RS512", &RSA_PKCS1_SHA512),
        ] {
            assert_eq!(dial(&proxy, &token).as_deref(), Ok("2"));
        }
        // The public key as the secret of an HMAC, as a PEM file and as it stands in one.
        let symmetric = |secret: &[u8]| {
            let message = message("HS256", "app", json!({ "tenant": "b" }));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())))
        };
        let der = STANDARD.decode(signer.pem.lines().filter(|it| !it.contains("---")).collect::<String>()).unwrap();
        let good = signer.token("RS256", &RSA_PKCS1_SHA256);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let unsigned = message("none", "app", json!({ "tenant": "b" }));
        for token in [
            symmetric(signer.pem.as_bytes()),
            symmetric(&der),
            // What the header says is what must have been done.
            signer.token("PS256", &RSA_PKCS1_SHA256),
            signer.token("RS256", &RSA_PSS_SHA256),
            signer.token("ES256", &RSA_PKCS1_SHA256),
            signer.token("RS256", &RSA_PKCS1_SHA512),
            signer.token("rs256", &RSA_PKCS1_SHA256),
            // Another key's, none, another text's.
            ec.token("app", json!({ "tenant": "b" })),
            format!("{unsigned}."),
            format!("{unsigned}.{signature}"),
            format!("{}.{signature}", message("RS256", "app", json!({ "tenant": "a" }))),
            format!("{signed}."),
        ] {
            refused(dial(&proxy, &token), "password authentication failed for user \"app\"");
        }
    }
    // Where the file says which algorithms, no others.
    let keys = format!("public_keys = [\"{}\"]\nalgorithms = [\"PS256\"]\n", folder.at("issuer.pem"));
    let proxy = Setup { more: &format!("{LOGIN}{keys}"), ..Setup::default() }.start();
    assert_eq!(dial(&proxy, &signer.token("PS256", &RSA_PSS_SHA256)).as_deref(), Ok("2"));
    refused(dial(&proxy, &signer.token("RS256", &RSA_PKCS1_SHA256)), "password authentication failed");
}
