//! Passwords of the roles and logins that a first configuration has.

use rand::RngExt as _;

use crate::auth::ScramVerifier;
use crate::base::Secret;

/// Letters and digits: they stand in URLs and files as they are.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// More than 180 bits.
const LENGTH: usize = 32;

/// One of each.
pub(super) struct Secrets {
    /// Of the role that acts for tenants.
    pub tenants: Secret,
    /// Of the role that acts for operators.
    pub operator: Secret,
    /// Of the app's login.
    pub app: Secret,
    /// Of the login for migrations.
    pub migrations: Secret,
}

impl Secrets {
    pub fn new() -> Self {
        Self { tenants: random(), operator: random(), app: random(), migrations: random() }
    }
}

fn random() -> Secret {
    let mut rng = rand::rng();
    let letter = |_| LETTERS.get(rng.random_range(0..LETTERS.len())).map_or('0', |it| char::from(*it));
    Secret::new((0..LENGTH).map(letter).collect::<String>())
}

/// What is stored of a password.
pub(super) fn verifier(password: &Secret) -> Secret {
    let text = ScramVerifier::from_password(password.expose()).to_text();
    Secret::new(text.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_new_each_time() {
        let secrets = Secrets::new();
        let all = [&secrets.tenants, &secrets.operator, &secrets.app, &secrets.migrations].map(Secret::expose);
        for (at, one) in all.iter().enumerate() {
            assert!(one.len() == LENGTH && one.chars().all(|it| it.is_ascii_alphanumeric()));
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
