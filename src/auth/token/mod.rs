//! Signed tokens (JWT, RFC 7519) by which clients prove who they are, and for which tenants they may act.

mod keys;
mod signature;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

pub use keys::{KeyError, TokenKey};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;

/// What is asked of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// `iss` must be this.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audience: Vec<String>,
    /// Algorithms that are accepted; empty: all that fit the keys. Symmetric ones never are.
    pub algorithms: Vec<Algorithm>,
    /// By how much the clocks of the issuer and of this machine may differ.
    pub clock_skew: Duration,
    /// The claim that lists the tenants, a string or a list of strings.
    pub tenant_claim: String,
    /// The claim that must name the login, a string or a list of strings; `None`: tokens serve any login.
    pub login_claim: Option<String>,
    /// What clients are told to ask the issuer for (OAUTHBEARER).
    pub scope: String,
}

/// Why a token is not accepted: for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// Longer than [`MAX_TOKEN`], not text, or not three parts.
    #[error("it is no token")]
    Malformed,
    /// Tokens are not configured.
    #[error("[jwt] is not configured")]
    NotConfigured,
    /// The algorithm is not accepted, or no key for it is known.
    #[error("no known key fits its algorithm and key id")]
    NoKey,
    /// It demands what is not understood.
    #[error("it has critical extensions")]
    Critical,
    /// Signature, issuer, audience or time.
    #[error("the token: {0}")]
    Invalid(String),
    /// The claim that must name the login does not.
    #[error("its claim \"{0}\" does not name the login")]
    OtherLogin(String),
    /// The claim that lists the tenants is missing or of another kind.
    #[error("its claim \"{0}\" lists no tenants")]
    NoTenants(String),
    /// None of its tenants is one of the login's.
    #[error("none of the tenants in its claim \"{0}\" is one of the login's")]
    OtherTenants(String),
    /// It is for tenants, and an operator is not bound to any.
    #[error("an operator's token must have no claim \"{0}\"")]
    Operator(String),
}

/// Keys and rules.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    rules: TokenRules,
    keys: Vec<TokenKey>,
}

/// The claims of a token whose signature, issuer, audience and times are right.
#[derive(Clone, Debug)]
pub struct Claims(Map<String, Value>);

impl TokenVerifier {
    /// A verifier of tokens that one of these keys signed.
    pub fn new(rules: TokenRules, keys: Vec<TokenKey>) -> Self {
        signature::install();
        Self { rules, keys }
    }

    /// What is asked of tokens.
    pub fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// Whether any key can be used with the accepted algorithms.
    pub fn is_usable(&self) -> bool {
        self.keys.iter().any(|key| key.algorithms.iter().any(|algorithm| self.accepts(*algorithm)))
    }

    fn accepts(&self, algorithm: Algorithm) -> bool {
        self.rules.algorithms.is_empty() || self.rules.algorithms.contains(&algorithm)
    }

    /// Checks signature, issuer, audience, expiry and begin of validity.
    ///
    /// # Errors
    /// As [`TokenError`] says.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if !self.accepts(header.alg) {
            return Err(TokenError::NoKey);
        }
        let validation = self.validation(header.alg);
        // The algorithm must be one of the key's own, whatever the token says: a public key is never taken for a secret.
        let fitting = self.keys.iter().filter(|key| {
            let named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            named && key.algorithms.contains(&header.alg)
        });
        let mut error = TokenError::NoKey;
        for key in fitting {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(data) => return Ok(Claims(data.claims)),
                Err(failure) if matches!(failure.kind(), ErrorKind::InvalidSignature) => {
                    error = TokenError::Invalid(failure.to_string());
                }
                Err(failure) => return Err(TokenError::Invalid(failure.to_string())),
            }
        }
        Err(error)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&self.rules.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = self.rules.clock_skew.as_secs();
        validation
    }

    /// Whether the claim that must name the login does.
    ///
    /// # Errors
    /// It does not.
    pub fn check_login(&self, claims: &Claims, login: &str) -> Result<(), TokenError> {
        let Some(claim) = &self.rules.login_claim else { return Ok(()) };
        let named = claims.texts(claim).is_some_and(|names| names.contains(&login));
        if named { Ok(()) } else { Err(TokenError::OtherLogin(claim.clone())) }
    }

    /// The tenants that the token is for, at least one.
    ///
    /// # Errors
    /// It names none.
    pub fn tenants<'c>(&self, claims: &'c Claims) -> Result<Vec<&'c str>, TokenError> {
        let claim = &self.rules.tenant_claim;
        claims.texts(claim).filter(|names| !names.is_empty()).ok_or_else(|| TokenError::NoTenants(claim.clone()))
    }

    /// Whether the token is for tenants.
    pub fn is_for_tenants(&self, claims: &Claims) -> bool {
        claims.0.contains_key(&self.rules.tenant_claim)
    }
}

impl Claims {
    /// A claim that is a string, or a list of nothing but strings.
    fn texts(&self, claim: &str) -> Option<Vec<&str>> {
        match self.0.get(claim)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }
}
