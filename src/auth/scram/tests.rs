use proptest::prelude::*;

use crate::auth::Md5Verifier;
use crate::auth::md5::md5_hex;
use crate::auth::scram::{
    Binding, MockKey, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, ScramServer, ScramVerifier, VerifierError,
};
use crate::base::{Secret, SqlState};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The exchange of RFC 7677, section 3: user `user`, password `pencil`.
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn pencil() -> ScramVerifier {
    ScramVerifier::with_salt(b"pencil", STANDARD.decode(SALT).unwrap(), 4096)
}

#[test]
fn the_example_of_the_rfc_passes() {
    let verifier = pencil();
    let server = ScramServer::new(&verifier, Binding::None);
    let (challenge, server) = server.first_with(SCRAM_SHA_256, FIRST, SERVER_NONCE).unwrap();
    assert_eq!(challenge, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(server.finish(LAST.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

fn answer(verifier: &ScramVerifier, last: &str) -> Result<String, ScramError> {
    let server = ScramServer::new(verifier, Binding::None);
    server.first_with(SCRAM_SHA_256, FIRST, SERVER_NONCE)?.1.finish(last.as_bytes())
}

#[test]
fn damaged_answers_fail() {
    let verifier = pencil();
    assert_eq!(answer(&verifier, &LAST.replace("p=dH", "p=dI")), Err(ScramError::Proof));
    assert_eq!(answer(&verifier, &LAST.replace("biws", "eSws")), Err(ScramError::BindingMismatch));
    assert_eq!(answer(&verifier, &LAST.replace("k0,", "k1,")), Err(ScramError::Nonce));
    // An attribute more is signed too.
    assert_eq!(answer(&verifier, &LAST.replace(",p=", ",x=1,p=")), Err(ScramError::Proof));
    for malformed in ["", "c=biws", &LAST[..LAST.len() - 4], "r=x,c=biws,p=AAAA", &LAST.replace("c=", "d=")] {
        assert!(matches!(answer(&verifier, malformed), Err(ScramError::Malformed(_))), "{malformed}");
    }
    let other = ScramVerifier::with_salt(b"pencils", STANDARD.decode(SALT).unwrap(), 4096);
    assert_eq!(answer(&other, LAST), Err(ScramError::Proof));
    let error = ScramError::Proof.to_pg("mallory");
    assert_eq!(error.code, SqlState::INVALID_PASSWORD);
    assert_eq!(error.message, "password authentication failed for user \"mallory\"");
}

#[test]
fn first_messages_are_held_to_the_rules() {
    let verifier = pencil();
    let first = |mechanism: &str, message: &str, binding: Binding<'_>| {
        ScramServer::new(&verifier, binding).first(mechanism, message.as_bytes()).map(|(challenge, _)| challenge)
    };
    let (plain, tls) = (Binding::None, Binding::EndPoint(b"hash"));
    assert!(first(SCRAM_SHA_256, "n,,n=,r=abc", plain).unwrap().starts_with("r=abc"));
    assert!(first(SCRAM_SHA_256, "y,,n=,r=abc", plain).is_ok());
    assert!(first(SCRAM_SHA_256, "n,,n=,r=abc,x=1", tls).is_ok());
    assert!(first(SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,n=,r=abc", tls).is_ok());
    assert_eq!(first(SCRAM_SHA_256, "y,,n=,r=abc", tls), Err(ScramError::Downgrade));
    assert_eq!(first(SCRAM_SHA_256_PLUS, "p=tls-unique,,n=,r=abc", tls), Err(ScramError::BindingType));
    assert_eq!(first(SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,n=,r=abc", plain), Err(ScramError::Mechanism));
    assert_eq!(first("SCRAM-SHA-1", "n,,n=,r=abc", plain), Err(ScramError::Mechanism));
    assert_eq!(first(SCRAM_SHA_256, "n,a=root,n=,r=abc", plain), Err(ScramError::AuthorizationIdentity));
    assert_eq!(first(SCRAM_SHA_256, "n,,m=1,n=,r=abc", plain), Err(ScramError::Extension));
    let malformed = [
        (SCRAM_SHA_256, "p=tls-server-end-point,,n=,r=abc", tls),
        (SCRAM_SHA_256_PLUS, "n,,n=,r=abc", tls),
        (SCRAM_SHA_256_PLUS, "y,,n=,r=abc", tls),
        (SCRAM_SHA_256, "", plain),
        (SCRAM_SHA_256, "n,,", plain),
        (SCRAM_SHA_256, "x,,n=,r=abc", plain),
        (SCRAM_SHA_256, "n,,n=,r=", plain),
        (SCRAM_SHA_256, "n,,n=,r=a b", plain),
        (SCRAM_SHA_256, "n,,n=,s=abc", plain),
        (SCRAM_SHA_256, "n,,n=,r=a\0b", plain),
    ];
    for (mechanism, message, binding) in malformed {
        assert!(matches!(first(mechanism, message, binding), Err(ScramError::Malformed(_))), "{message:?}");
    }
}

#[test]
fn nonces_are_fresh() {
    let verifier = pencil();
    let challenge = || ScramServer::new(&verifier, Binding::None).first(SCRAM_SHA_256, FIRST).unwrap().0;
    assert_ne!(challenge(), challenge());
}

#[test]
fn verifiers_are_read_and_written_as_postgres_does() {
    let text = pencil().to_text();
    assert!(text.expose().starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
    let read: ScramVerifier = text.expose().parse().unwrap();
    assert_eq!(read.to_text(), text);
    assert!(answer(&read, LAST).is_ok());
    let error = |text: &str| ScramVerifier::parse(text).unwrap_err();
    assert_eq!(error("secret"), VerifierError::Form);
    assert_eq!(error("SCRAM-SHA-256$4096:abc"), VerifierError::Form);
    assert_eq!(error(&text.expose().replace("4096", "0")), VerifierError::Iterations);
    assert_eq!(error(&text.expose().replace("4096", "-1")), VerifierError::Iterations);
    assert_eq!(error(&text.expose().replace("4096", "")), VerifierError::Iterations);
    for dear in ["1000001", "2000000000", "4294967296", "99999999999999999999"] {
        assert_eq!(error(&text.expose().replace("4096", dear)), VerifierError::TooManyIterations);
    }
    assert!(ScramVerifier::parse(&text.expose().replace("4096", "1000000")).is_ok());
    assert_eq!(error(&text.expose().replace("W22Z", "!!!!")), VerifierError::Salt);
    assert_eq!(error(&text.expose().replace(SALT, "")), VerifierError::Salt);
    assert_eq!(error(&text.expose()[..text.expose().len() - 4]), VerifierError::Key);
    let (one, two) = (ScramVerifier::from_password("x"), ScramVerifier::from_password("x"));
    assert_ne!(one.to_text(), two.to_text());
    assert!(one.accepts(b"x") && !one.accepts(b"y"));
}

#[test]
fn passwords_are_prepared_as_the_rfc_says() {
    // A soft hyphen maps to nothing, a Roman numeral to its letters; what is prohibited or not UTF-8 stays as it is.
    assert!(ScramVerifier::from_password("I\u{ad}X").accepts(b"IX"));
    assert!(ScramVerifier::from_password("\u{2168}").accepts(b"IX"));
    assert!(ScramVerifier::from_password("a\u{7}").accepts(b"a\x07"));
    assert!(ScramVerifier::with_salt(b"\xff", vec![1], 1).accepts(b"\xff"));
}

#[test]
fn made_up_verifiers_look_real_and_fit_nothing() {
    let key = MockKey::random();
    let mock = ScramVerifier::mock(&key, "nobody");
    assert_eq!(mock.salt.len(), 16);
    assert_eq!(mock.iterations, 4096);
    assert_eq!(mock.to_text(), ScramVerifier::mock(&key, "nobody").to_text());
    assert_ne!(mock.salt, ScramVerifier::mock(&key, "somebody").salt);
    assert_ne!(mock.salt, ScramVerifier::mock(&MockKey::random(), "nobody").salt);
    // Even somebody who knew a password for its keys could not pass.
    let open = ScramVerifier { mock: true, ..pencil() };
    assert_eq!(answer(&open, LAST), Err(ScramError::Proof));
    assert!(!open.accepts(b"pencil"));
    let costly = ScramVerifier::with_salt(b"x", vec![1], 7);
    assert_eq!(key.pick("nobody", 5), key.pick("nobody", 5));
    assert!((0..100).all(|name| key.pick(&name.to_string(), 3) < 3));
    assert!((0..3).all(|number| (0..100).any(|name| key.pick(&name.to_string(), 3) == number)));
    assert_eq!(key.pick("nobody", 0), 0);
    assert_eq!(ScramVerifier::mock(&key.like(&costly), "nobody").iterations, 7);
}

#[test]
fn nothing_secret_is_printed() {
    let verifier = pencil();
    let shown = format!("{verifier:?} {:?} {:?}", MockKey::random(), Secret::new("hunter2"));
    assert_eq!(shown, "ScramVerifier(..) MockKey(..) Secret(..)");
}

#[test]
fn md5_is_computed_as_libpq_does() {
    let expected = postgres_protocol::authentication::md5_hash(b"ann", b"secret", *b"salt");
    let verifier = Md5Verifier::from_password("ann", &Secret::new("secret"));
    assert_eq!(format!("md5{}", std::str::from_utf8(&verifier.response(*b"salt")).unwrap()), expected);
    let stored = format!("md5{}", std::str::from_utf8(&md5_hex(&[b"secret", b"ann"])).unwrap());
    assert_eq!(Md5Verifier::parse(&stored).unwrap().response(*b"salt"), verifier.response(*b"salt"));
    assert!(Md5Verifier::parse("md5").is_none());
    assert!(Md5Verifier::parse(&stored.to_uppercase()).is_none());
    assert!(Md5Verifier::parse(&format!("{stored}0")).is_none());
}

proptest! {
    #[test]
    fn no_message_makes_the_exchange_panic(first in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..80), last in ".{0,80}") {
        let verifier = ScramVerifier::mock(&MockKey::random(), "u");
        for message in [first.as_bytes(), &bytes, FIRST] {
            for mechanism in [SCRAM_SHA_256, SCRAM_SHA_256_PLUS] {
                let server = ScramServer::new(&verifier, Binding::EndPoint(b"hash"));
                if let Ok((_, server)) = server.first(mechanism, message) {
                    prop_assert!(server.finish(last.as_bytes()).is_err());
                }
            }
        }
        let _ = ScramVerifier::parse(&first);
    }
}
