//! Public keys that tokens are signed with: PEM files and JWK sets.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

const RSA: &[Algorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor a JWK set.
    #[error("no public key in PEM (BEGIN PUBLIC KEY) can be read: {0}")]
    Pem(String),
    /// Not a JWK set.
    #[error("no JWK set: {0}")]
    Json(String),
    /// A secret: whoever can check tokens could make them.
    #[error("key {0} is symmetric: only public keys are accepted")]
    Symmetric(String),
    /// None that could be used.
    #[error("no key for signatures that is supported (RSA, P-256, P-384, Ed25519)")]
    None,
}

/// A public key, and the algorithms that may be used with it.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// `kid`
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl TokenKey {
    /// The public keys of a PEM text.
    ///
    /// # Errors
    /// As [`KeyError`] says.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| KeyError::Pem(error.to_string()))?;
            keys.push(Self::from_der(&der)?);
        }
        if keys.is_empty() { Err(KeyError::Pem("there is none".to_owned())) } else { Ok(keys) }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|error| KeyError::Pem(error.to_string()))?;
        let bits = &info.subject_public_key.data;
        let kind = &info.algorithm.algorithm;
        let curve = info.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
        let (algorithms, key) = if *kind == OID_PKCS1_RSAENCRYPTION {
            (RSA, DecodingKey::from_rsa_der(bits))
        } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.as_ref() == Some(&OID_EC_P256) {
            (&[ES256][..], DecodingKey::from_ec_der(bits))
        } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.as_ref() == Some(&OID_NIST_EC_P384) {
            (&[ES384][..], DecodingKey::from_ec_der(bits))
        } else if *kind == OID_SIG_ED25519 {
            (&[EdDSA][..], DecodingKey::from_ed_der(bits))
        } else {
            return Err(KeyError::None);
        };
        Ok(Self { id: None, algorithms: algorithms.to_vec(), key })
    }

    /// The public keys of a JWK set (RFC 7517), without those for encryption and those of kinds that are not supported.
    ///
    /// # Errors
    /// As [`KeyError`] says.
    pub fn from_jwks(json: &[u8]) -> Result<Vec<Self>, KeyError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| KeyError::Json(error.to_string()))?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            if let AlgorithmParameters::OctetKey(_) = jwk.algorithm {
                return Err(KeyError::Symmetric(jwk.common.key_id.clone().unwrap_or_else(|| "without kid".to_owned())));
            }
            keys.extend(Self::from_jwk(jwk));
        }
        if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
    }

    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let fitting: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[ES256],
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[ES384],
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[EdDSA],
            _ => return None,
        };
        let own = jwk.common.key_algorithm.as_ref().map(|own| own.to_string().parse::<Algorithm>());
        let algorithms: Vec<_> = match own {
            None => fitting.to_vec(),
            Some(own) => fitting.iter().copied().filter(|it| own.as_ref().is_ok_and(|own| own == it)).collect(),
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        (!algorithms.is_empty()).then(|| Self { id: jwk.common.key_id.clone(), algorithms, key })
    }
}
