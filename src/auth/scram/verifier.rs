//! What a server stores of a password.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Key, hmac, sha256};
use crate::base::Secret;

/// Bytes of salt in a new verifier, as in Postgres.
const SALT_LEN: usize = 16;

/// Proof that a client knows a password, without the password: the content of `pg_authid.rolpassword`.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Zeroizing<Key>,
    pub(super) server_key: Zeroizing<Key>,
    /// Belongs to no login: no proof is right.
    pub(super) mock: bool,
}

/// Why a text is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Not of the form `SCRAM-SHA-256$iterations:salt$stored:server`.
    #[error("expected SCRAM-SHA-256$iterations:salt$stored_key:server_key")]
    Form,
    /// The iteration count is no number above 0.
    #[error("the iteration count is not a positive number")]
    Iterations,
    /// Whoever proves the password would hash for minutes or hours.
    #[error("the iteration count is above {}", ScramVerifier::MAX_ITERATIONS)]
    TooManyIterations,
    /// The salt is not base64, or empty.
    #[error("the salt is not base64")]
    Salt,
    /// A key is not base64 of 32 bytes.
    #[error("a key is not base64 of 32 bytes")]
    Key,
}

impl ScramVerifier {
    /// Iterations of a new verifier: Postgres's own default.
    pub const ITERATIONS: u32 = 4096;
    /// Most iterations of a verifier that is read: less than a second's work. (OWASP advises 600,000; many drivers do not
    /// answer a server that asks for more than 100,000.)
    pub const MAX_ITERATIONS: u32 = 1_000_000;

    /// Makes a verifier with a fresh salt. Takes some milliseconds.
    pub fn from_password(password: &str) -> Self {
        Self::with_salt(password.as_bytes(), rand::rng().random::<[u8; SALT_LEN]>().to_vec(), Self::ITERATIONS)
    }

    pub(super) fn with_salt(password: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let (stored_key, server_key) = keys(password, &salt, iterations);
        Self { iterations, salt, stored_key, server_key, mock: false }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or(VerifierError::Form)?;
        let (cost, keys) = rest.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let iterations = read_iterations(iterations)?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or(VerifierError::Salt)?;
        Ok(Self {
            iterations,
            salt,
            stored_key: decode_key(stored_key)?,
            server_key: decode_key(server_key)?,
            mock: false,
        })
    }

    /// How often the password is hashed.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The text form, as Postgres stores it: `SCRAM-SHA-256$iterations:salt$stored_key:server_key`.
    pub fn to_text(&self) -> Secret {
        Secret::new(format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key.as_slice()),
            STANDARD.encode(self.server_key.as_slice()),
        ))
    }

    /// A verifier for a name that does not exist: the same for the same name, so that repeated tries see the same salt,
    /// and different for each process. No password fits it.
    pub fn mock(key: &MockKey, user: &str) -> Self {
        let derive = |purpose: &str| hmac(&key.key, format!("{purpose}\0{user}").as_bytes());
        Self {
            iterations: key.iterations,
            salt: derive("salt").into_iter().take(SALT_LEN).collect(),
            stored_key: Zeroizing::new(derive("stored")),
            server_key: Zeroizing::new(derive("server")),
            mock: true,
        }
    }

    /// Whether this is the password.
    pub(in crate::auth) fn accepts(&self, password: &[u8]) -> bool {
        let (stored_key, _) = keys(password, &self.salt, self.iterations);
        bool::from(stored_key.ct_eq(self.stored_key.as_slice())) && !self.mock
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

fn read_iterations(text: &str) -> Result<u32, VerifierError> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err(VerifierError::Iterations),
        Ok(count) if count <= ScramVerifier::MAX_ITERATIONS => Ok(count),
        Ok(_) => Err(VerifierError::TooManyIterations),
        // More than 32 bits
        Err(_) if all_digits => Err(VerifierError::TooManyIterations),
        Err(_) => Err(VerifierError::Iterations),
    }
}

fn decode_key(text: &str) -> Result<Zeroizing<Key>, VerifierError> {
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| VerifierError::Key)?);
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| VerifierError::Key)
}

/// StoredKey and ServerKey.
fn keys(password: &[u8], salt: &[u8], iterations: u32) -> (Zeroizing<Key>, Zeroizing<Key>) {
    let password = prepare(password);
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(&password, salt, iterations, salted.as_mut_slice());
    let client_key = Zeroizing::new(hmac(&salted, b"Client Key"));
    (Zeroizing::new(sha256(client_key.as_slice())), Zeroizing::new(hmac(&salted, b"Server Key")))
}

/// SASLprep where it applies; Postgres takes a password as it is where it does not (not UTF-8, prohibited characters).
fn prepare(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = std::str::from_utf8(password)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok())
        .map(|text| text.into_owned().into_bytes());
    Zeroizing::new(prepared.unwrap_or_else(|| password.to_vec()))
}

/// A secret of the process, from which the exchanges with unknown names are made up.
#[derive(Clone)]
pub struct MockKey {
    key: Zeroizing<Key>,
    iterations: u32,
}

impl MockKey {
    /// A random key. Unknown names are shown Postgres's default iteration count.
    pub fn random() -> Self {
        Self { key: Zeroizing::new(rand::rng().random()), iterations: ScramVerifier::ITERATIONS }
    }

    /// The same key, with the iteration count of this verifier: give it one of the real logins', so that unknown names
    /// look like it.
    pub fn like(&self, verifier: &ScramVerifier) -> Self {
        self.with_iterations(verifier.iterations)
    }

    /// The same key, with this iteration count.
    pub fn with_iterations(&self, iterations: u32) -> Self {
        Self { iterations, key: self.key.clone() }
    }

    /// A number below `count` that depends on the name alone; 0 if there is none.
    pub fn pick(&self, name: &str, count: usize) -> usize {
        let hash = hmac(&self.key, format!("pick\0{name}").as_bytes());
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        number.checked_rem(count).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    }
}

impl fmt::Debug for MockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockKey(..)")
    }
}
