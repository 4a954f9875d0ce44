//! TLS towards upstreams, with libpq's modes.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ALPN, TlsConfigError, provider};
use crate::wire::encode;
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;

/// `sslmode` of libpq, without `allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server can.
    #[default]
    Prefer,
    /// Always; the certificate is only checked if root certificates are given (as libpq does it).
    Require,
    /// Always, with a certificate that a known root has signed, for whatever host.
    VerifyCa,
    /// Always, with a certificate that a known root has signed for the host that was dialled.
    VerifyFull,
}

/// Which roots an upstream's certificate is checked against.
#[derive(Clone, Copy, Debug)]
pub enum Roots<'a> {
    /// Those of the system.
    System,
    /// Those in this PEM text.
    Pem(&'a [u8]),
}

/// Why no connection with the wanted protection came about.
#[derive(Debug, thiserror::Error)]
pub enum TlsConnectError {
    /// The socket or the handshake failed.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The socket failed before the handshake.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server does not do TLS, and the mode demands it.
    #[error("the server does not support TLS, but the TLS mode requires it")]
    NotSupported,
    /// The server answered an SSLRequest with something else than `S` or `N`.
    #[error("unexpected answer {0:#04x} to the request for TLS")]
    BadAnswer(u8),
    /// The host is neither a name nor an address that TLS can check.
    #[error("\"{0}\" is no valid host name for TLS")]
    BadHost(String),
}

/// TLS for connections to one upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    mode: TlsMode,
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Prepares TLS in this mode. `roots` is needed for the modes that verify; with `require` it makes them verify the
    /// chain too, with `prefer` it is not looked at.
    ///
    /// # Errors
    /// If the roots are missing or unreadable.
    pub fn new(mode: TlsMode, roots: Option<Roots<'_>>) -> Result<Self, TlsConfigError> {
        let check = match (mode, roots) {
            (TlsMode::Disable | TlsMode::Prefer, _) | (TlsMode::Require, None) => Check::Nothing,
            (TlsMode::Require | TlsMode::VerifyCa, Some(roots)) => Check::Chain(load(roots)?),
            (TlsMode::VerifyFull, Some(roots)) => Check::ChainAndName(load(roots)?),
            (TlsMode::VerifyCa | TlsMode::VerifyFull, None) => return Err(TlsConfigError::NoRoots),
        };
        let provider = provider();
        let verifier = Arc::new(Verifier { check, provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            // "Dangerous" because the verifier is our own: rustls's cannot leave out the name, or the chain.
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { mode, config: Arc::new(config) })
    }

    #[cfg(test)]
    pub(in crate::wire) fn config_for_tests(&self) -> ClientConfig {
        ClientConfig::clone(&self.config)
    }

    /// The mode.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Asks the server for TLS and does the handshake, as the mode says. `host` is what was dialled: name or address.
    ///
    /// # Errors
    /// As [`TlsConnectError`] says. There is no second try without TLS.
    pub async fn connect(&self, mut socket: TcpStream, host: &str) -> Result<Stream, TlsConnectError> {
        if self.mode == TlsMode::Disable {
            return Ok(Stream::from(socket));
        }
        let mut request = bytes::BytesMut::with_capacity(8);
        encode::frontend::ssl_request(&mut request);
        socket.write_all(&request).await?;
        // Exactly one byte is read: whatever follows it unencrypted ends up in the handshake, which fails on it.
        match (socket.read_u8().await?, self.mode) {
            (b'S', _) => {}
            (b'N', TlsMode::Prefer) => return Ok(Stream::from(socket)),
            (b'N', _) => return Err(TlsConnectError::NotSupported),
            (other, _) => return Err(TlsConnectError::BadAnswer(other)),
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsConnectError::BadHost(host.to_owned()))?;
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(name, Socket::new(socket))
            .await
            .map_err(TlsConnectError::Handshake)?;
        Ok(Stream::TlsClient(Box::new(stream)))
    }
}

fn load(roots: Roots<'_>) -> Result<Trust, TlsConfigError> {
    let certificates = match roots {
        // Single unreadable certificates in the system's store are common and do no harm.
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::Pem(pem) => CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsConfigError::Pem(error.to_string()))?,
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned());
    if store.is_empty() {
        return Err(TlsConfigError::NoRoots);
    }
    Ok(Trust { store, certificates })
}

/// Roots, as a store for signatures and as they are for comparing.
#[derive(Debug)]
struct Trust {
    store: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
enum Check {
    Nothing,
    Chain(Trust),
    ChainAndName(Trust),
}

/// Checks certificates as far as the mode says; signatures of the handshake always.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn chain(
        &self,
        trust: &Trust,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        // A self-signed server certificate that is its own root: OpenSSL accepts it, webpki does not as it is a CA's.
        if trust.certificates.iter().any(|root| root == end_entity) {
            return check_dates(end_entity, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &trust.store,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
    let validity = parsed.validity();
    // Dates of certificates are seconds of the same epoch.
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(trust) => self.chain(trust, end_entity, intermediates, now)?,
            Check::ChainAndName(trust) => {
                self.chain(trust, end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
