//! The server's side of the exchange: first message in, challenge out; proof in, signature out. Each state is a type, so
//! that no step can be left out or done twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use subtle::ConstantTimeEq;

use super::verifier::ScramVerifier;
use super::{Key, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, hmac, sha256};
use crate::base::{PgError, SqlState};

/// Random bytes in the server's part of the nonce, as in Postgres.
const NONCE_LEN: usize = 18;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message that does not follow RFC 5802.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// A mechanism that was not offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// The client wants to act for somebody else.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    /// The client demands an extension.
    #[error("client requires an unsupported SCRAM extension")]
    Extension,
    /// The client could do channel binding and was told (by somebody on the way?) that the server cannot.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// A kind of channel binding other than `tls-server-end-point`.
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    /// The client sees another certificate than ours: somebody is in between.
    #[error("SCRAM channel binding check failed")]
    BindingMismatch,
    /// The nonce is not ours.
    #[error("invalid SCRAM response: nonce does not match")]
    Nonce,
    /// The proof is wrong: a wrong password, or no such login.
    #[error("wrong SCRAM proof")]
    Proof,
}

impl ScramError {
    /// What the client is told.
    pub fn to_pg(self, user: &str) -> PgError {
        let protocol = |text: &'static str| PgError::fatal(SqlState::PROTOCOL_VIOLATION, text);
        match self {
            ScramError::Malformed(detail) => protocol("malformed SCRAM message").detail(detail),
            ScramError::Mechanism => protocol("client selected an invalid SASL authentication mechanism"),
            ScramError::BindingType => protocol("unsupported SCRAM channel-binding type"),
            ScramError::Nonce => protocol("invalid SCRAM response").detail("Nonce does not match."),
            ScramError::AuthorizationIdentity | ScramError::Extension => {
                PgError::fatal(SqlState::FEATURE_NOT_SUPPORTED, self.to_string())
            }
            ScramError::Downgrade => PgError::fatal(SqlState::INVALID_AUTHORIZATION, self.to_string())
                .detail("The client supports channel binding but was told that the server does not; it does."),
            ScramError::BindingMismatch => PgError::fatal(SqlState::INVALID_AUTHORIZATION, self.to_string()),
            ScramError::Proof => crate::auth::client::password_failed(user),
        }
    }
}

/// What the connection allows by way of channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// No TLS, or a certificate without binding data: only SCRAM-SHA-256 is offered.
    None,
    /// Data of type `tls-server-end-point`: SCRAM-SHA-256-PLUS is offered too.
    EndPoint(&'a [u8]),
}

impl Binding<'_> {
    /// The mechanisms to offer, best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self {
            Binding::None => &[SCRAM_SHA_256],
            Binding::EndPoint(_) => &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256],
        }
    }
}

/// First state: the mechanisms were offered.
#[derive(Clone, Copy, Debug)]
pub struct ScramServer<'a> {
    verifier: &'a ScramVerifier,
    binding: Binding<'a>,
}

/// Second state: the challenge was made, the proof is awaited.
pub struct ExpectProof<'a> {
    verifier: &'a ScramVerifier,
    /// What `c=` must hold, in base64.
    expected_binding: String,
    nonce: String,
    /// Both first messages with the comma behind each, as they go into the signatures.
    first_messages: String,
}

impl<'a> ScramServer<'a> {
    /// Starts an exchange for the login with this verifier, real or mock.
    pub fn new(verifier: &'a ScramVerifier, binding: Binding<'a>) -> Self {
        Self { verifier, binding }
    }

    /// Takes the mechanism and the first message that the client chose; gives the challenge.
    ///
    /// # Errors
    /// As [`ScramError`] says.
    pub fn first(self, mechanism: &str, message: &[u8]) -> Result<(String, ExpectProof<'a>), ScramError> {
        let random: [u8; NONCE_LEN] = rand::rng().random();
        self.first_with(mechanism, message, &STANDARD.encode(random))
    }

    pub(super) fn first_with(
        self,
        mechanism: &str,
        message: &[u8],
        server_nonce: &str,
    ) -> Result<(String, ExpectProof<'a>), ScramError> {
        let plus = match (mechanism, self.binding) {
            (SCRAM_SHA_256, _) => false,
            (SCRAM_SHA_256_PLUS, Binding::EndPoint(_)) => true,
            _ => return Err(ScramError::Mechanism),
        };
        let first = ClientFirst::parse(message)?;
        let mut expected = first.gs2_header.as_bytes().to_vec();
        match (first.flag, self.binding) {
            (BindingFlag::EndPoint, Binding::EndPoint(data)) if plus => {
                expected.extend_from_slice(data);
            }
            (BindingFlag::EndPoint, _) => {
                return Err(ScramError::Malformed("Channel binding is used with a mechanism that has none."));
            }
            (_, _) if plus => {
                return Err(ScramError::Malformed("The mechanism has channel binding, and the message has none."));
            }
            (BindingFlag::NotOffered, Binding::EndPoint(_)) => return Err(ScramError::Downgrade),
            (BindingFlag::NotOffered, Binding::None) | (BindingFlag::Unsupported, _) => {}
        }
        let nonce = format!("{}{server_nonce}", first.nonce);
        let challenge = format!("r={nonce},s={},i={}", STANDARD.encode(&self.verifier.salt), self.verifier.iterations);
        let next = ExpectProof {
            verifier: self.verifier,
            expected_binding: STANDARD.encode(expected),
            nonce,
            first_messages: format!("{},{challenge},", first.bare),
        };
        Ok((challenge, next))
    }
}

impl ExpectProof<'_> {
    /// Takes the client's proof; gives the server's signature, with which the client knows the server too.
    ///
    /// # Errors
    /// [`ScramError::Proof`] for a wrong one; a mock verifier never says anything else.
    pub fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let last = ClientFinal::parse(message)?;
        if last.binding != self.expected_binding {
            return Err(ScramError::BindingMismatch);
        }
        if last.nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let signed = format!("{}{}", self.first_messages, last.without_proof);
        let signature = hmac(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = last.proof;
        for (byte, mask) in client_key.iter_mut().zip(signature) {
            *byte ^= mask;
        }
        let right = sha256(&client_key).ct_eq(self.verifier.stored_key.as_slice());
        if !bool::from(right) || self.verifier.mock {
            return Err(ScramError::Proof);
        }
        let signature = hmac(&self.verifier.server_key, signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

#[derive(Clone, Copy)]
enum BindingFlag {
    /// `n`: the client cannot.
    Unsupported,
    /// `y`: the client could, and thinks that the server cannot.
    NotOffered,
    /// `p=tls-server-end-point`
    EndPoint,
}

struct ClientFirst<'a> {
    flag: BindingFlag,
    /// Up to and including the second comma.
    gs2_header: &'a str,
    /// Everything after it.
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::Malformed("The message ends too early."));
        };
        let gs2_header = text.get(..text.len() - bare.len()).ok_or(ScramError::Malformed("The header is damaged."))?;
        let flag = match flag {
            "n" => BindingFlag::Unsupported,
            "y" => BindingFlag::NotOffered,
            "p=tls-server-end-point" => BindingFlag::EndPoint,
            other if other.starts_with("p=") => return Err(ScramError::BindingType),
            _ => return Err(ScramError::Malformed("Unknown channel-binding flag.")),
        };
        if !identity.is_empty() {
            return Err(ScramError::AuthorizationIdentity);
        }
        let mut attributes = bare.split(',');
        match attributes.next() {
            Some(name) if name.starts_with("n=") => {}
            Some(name) if name.starts_with("m=") => return Err(ScramError::Extension),
            _ => return Err(ScramError::Malformed("Attribute \"n\" is missing.")),
        }
        // The name is not looked at, as in Postgres: the one of the startup packet counts.
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .ok_or(ScramError::Malformed("Attribute \"r\" is missing."))?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed("The nonce has non-printable characters."));
        }
        Ok(Self { flag, gs2_header, bare, nonce })
    }
}

struct ClientFinal<'a> {
    binding: &'a str,
    nonce: &'a str,
    without_proof: &'a str,
    proof: Key,
}

impl<'a> ClientFinal<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        // The proof is the last attribute, behind extensions if there are any.
        let (without_proof, proof) =
            text(message)?.rsplit_once(",p=").ok_or(ScramError::Malformed("Attribute \"p\" is missing."))?;
        let mut attributes = without_proof.split(',');
        let mut attribute = |prefix: &str, missing| {
            attributes.next().and_then(|attribute| attribute.strip_prefix(prefix)).ok_or(ScramError::Malformed(missing))
        };
        let binding = attribute("c=", "Attribute \"c\" is missing.")?;
        let nonce = attribute("r=", "Attribute \"r\" is missing.")?;
        let proof = STANDARD
            .decode(proof)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(ScramError::Malformed("The proof is not base64 of 32 bytes."))?;
        Ok(Self { binding, nonce, without_proof, proof })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    std::str::from_utf8(message)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or(ScramError::Malformed("The message is not text."))
}
