//! TLS with rustls, towards clients and towards upstreams.

mod binding;
mod client;
mod names;
mod server;

pub use binding::end_point_hash;
pub use client::{ClientTls, Roots, TlsConnectError, TlsMode};
pub use names::CertificateNames;
pub use server::{ClientCertificates, Identity, ServerTls};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The ALPN protocol name of Postgres, registered with IANA.
pub const ALPN: &[u8] = b"postgresql";

/// A TLS configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The PEM text holds no certificate.
    #[error("no certificate found in the PEM text")]
    NoCertificate,
    /// The PEM text holds no private key.
    #[error("no private key found in the PEM text")]
    NoKey,
    /// The PEM text is damaged.
    #[error("cannot read the PEM text: {0}")]
    Pem(String),
    /// A mode that verifies, without any root certificate to verify with.
    #[error("no root certificate to verify the upstream with")]
    NoRoots,
    /// The authorities of client certificates.
    #[error("client certificates: {0}")]
    ClientAuthority(String),
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
