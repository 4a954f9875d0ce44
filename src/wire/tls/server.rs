//! TLS towards clients.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ALPN, TlsConfigError, end_point_hash, provider};
use crate::wire::socket::Socket;

/// A certificate chain with its key, ready to be shown to clients.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    end_point: Option<Arc<[u8]>>,
}

impl Identity {
    /// Reads a certificate chain (server's first) and its private key (PKCS #8, PKCS #1 or SEC 1), both in PEM.
    ///
    /// # Errors
    /// If one is missing or unreadable, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsConfigError::Pem(error.to_string()))?;
        let end_point = end_point_hash(chain.first().ok_or(TlsConfigError::NoCertificate)?).map(Arc::from);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsConfigError::NoKey,
            other => TlsConfigError::Pem(other.to_string()),
        })?;
        let key = Arc::new(CertifiedKey::from_der(chain, key, &provider())?);
        Ok(Self { key, end_point })
    }
}

/// Which identity a client sees, by the host name that it asks for.
#[derive(Debug)]
struct Identities {
    default: Identity,
    /// Keys are in lower case; `*.example.com` stands for one label more (RFC 6125, section 6.4.3).
    by_name: HashMap<String, Identity>,
}

impl Identities {
    fn of(&self, sni: Option<&str>) -> &Identity {
        sni.and_then(|name| self.named(&name.to_ascii_lowercase())).unwrap_or(&self.default)
    }

    /// The identity of a name in lower case: its own goes before a wildcard's.
    fn named(&self, name: &str) -> Option<&Identity> {
        if self.by_name.is_empty() {
            return None;
        }
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.by_name.get(&format!("*.{rest}")));
        self.by_name.get(name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.of(hello.server_name()).key))
    }
}

/// Whether clients are asked for certificates, and whose. One that another authority signed ends the handshake.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may have one that an authority in this PEM text signed.
    Request(Vec<u8>),
    /// They must have one.
    Require(Vec<u8>),
}

impl ClientCertificates {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
        let (pem, required) = match self {
            ClientCertificates::None => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientCertificates::Request(pem) => (pem, false),
            ClientCertificates::Require(pem) => (pem, true),
        };
        let failed = |error: &dyn std::fmt::Display| TlsConfigError::ClientAuthority(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|error| failed(&error))?)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| failed(&error)).map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
    }
}

/// TLS for a listener. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    identities: Arc<Identities>,
    direct: bool,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("identities", &self.identities).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// TLS 1.2 and 1.3 with `default` for every client, or with another identity for the host names in `by_name`, of which
    /// the first label may be `*`.
    ///
    /// # Errors
    /// If rustls does not accept the configuration.
    pub fn new(
        default: Identity,
        by_name: impl IntoIterator<Item = (String, Identity)>,
        clients: &ClientCertificates,
    ) -> Result<Self, TlsConfigError> {
        let identities = Arc::new(Identities {
            default,
            by_name: by_name.into_iter().map(|(name, identity)| (name.to_ascii_lowercase(), identity)).collect(),
        });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.verifier()?)
            .with_cert_resolver(Arc::clone(&identities) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), identities, direct: true })
    }

    /// Says whether a client may begin with the handshake (ALPN `postgresql`, libpq 17) instead of asking for it first.
    /// It may unless this says otherwise.
    pub fn with_direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    pub(in crate::wire) fn takes_direct(&self) -> bool {
        self.direct
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// What the socket or rustls says; the client has got the alert.
    pub async fn accept(&self, socket: Socket<TcpStream>) -> io::Result<TlsStream<Socket<TcpStream>>> {
        self.acceptor.accept(socket).await
    }

    /// Channel binding data (`tls-server-end-point`) of the certificate that a client which asked for `sni` has seen.
    /// `None`: its signature has no hash, so SCRAM-SHA-256-PLUS cannot be offered.
    pub fn end_point(&self, sni: Option<&str>) -> Option<&[u8]> {
        self.identities.of(sni).end_point.as_deref()
    }
}
