//! What the configuration holds of a login's password.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::md5::{Md5Hex, md5_hex};
use super::scram::{ScramVerifier, VerifierError};
use crate::base::Secret;

/// A login's password as it is stored.
#[derive(Clone, Debug)]
pub enum StoredPassword {
    /// A SCRAM verifier: the password cannot be read back from it. A plain password is turned into one when the
    /// configuration is read (it takes some milliseconds, which during logins would tell known names from unknown ones).
    Scram(ScramVerifier),
    /// An md5 hash of password and user name.
    Md5(Md5Verifier),
    /// The password itself.
    Plain(Secret),
}

impl StoredPassword {
    /// Whether this is the password (for cleartext authentication). Compared in constant time.
    pub(super) fn accepts(&self, user: &str, password: &[u8]) -> bool {
        match self {
            StoredPassword::Scram(verifier) => verifier.accepts(password),
            StoredPassword::Md5(stored) => {
                let given = md5_hex(&[password, user.as_bytes()]);
                stored.0.ct_eq(&given).into()
            }
            StoredPassword::Plain(stored) => stored.expose().as_bytes().ct_eq(password).into(),
        }
    }
}

/// The hash in `md5...` of `pg_authid`: md5 of password and user name.
#[derive(Clone)]
pub struct Md5Verifier(Zeroizing<Md5Hex>);

impl Md5Verifier {
    /// Reads `md5` and 32 hexadecimal digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Md5Hex = text.strip_prefix("md5")?.as_bytes().try_into().ok()?;
        digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then(|| Self(Zeroizing::new(digits)))
    }

    /// The hash of this user's password.
    pub fn from_password(user: &str, password: &Secret) -> Self {
        let hash = md5_hex(&[password.expose().as_bytes(), user.as_bytes()]);
        Self(Zeroizing::new(hash))
    }

    /// What a client that knows the password answers to `salt`, without the leading `md5`.
    pub(super) fn response(&self, salt: [u8; 4]) -> Md5Hex {
        md5_hex(&[self.0.as_slice(), &salt])
    }
}

impl fmt::Debug for Md5Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Md5Verifier(..)")
    }
}

impl FromStr for ScramVerifier {
    type Err = VerifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
