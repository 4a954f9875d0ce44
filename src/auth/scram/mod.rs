//! SCRAM-SHA-256 (RFC 5802, RFC 7677): stored verifiers, and the server's side of the exchange.

mod exchange;
#[cfg(test)]
mod tests;
mod verifier;

pub use exchange::{Binding, ExpectProof, ScramError, ScramServer};
pub use verifier::{MockKey, ScramVerifier, VerifierError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A SHA-256 hash or a key of that size.
type Key = [u8; 32];

fn hmac(key: &Key, message: &[u8]) -> Key {
    // HMAC fills a key that is shorter than a block of the hash with zeros; doing so here cannot fail.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn sha256(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}
