//! Where clients come in: addresses, TLS, certificates, tokens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::TokenRules;
use crate::base::NamePattern;

/// Where clients connect, and what is asked of them before they are known.
#[derive(Clone, Debug)]
pub struct Listen {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// TLS towards clients, if it is offered.
    pub tls: Option<ListenTls>,
    /// Logins may be observed.
    pub observe: bool,
    /// From accept to the end of authentication.
    pub login_timeout: Duration,
    /// After a request to stop, transactions may go on for so long.
    pub shutdown_timeout: Duration,
    /// Other processes may listen on the same addresses (`SO_REUSEPORT`): a new one beside an old one that stops.
    pub reuse_port: bool,
    /// A client that does nothing for longer outside of a transaction is disconnected. Zero: never.
    pub idle_timeout: Duration,
    /// Client connections at one time, all tenants together.
    pub max_connections: usize,
    /// Clients that are logging in at one time.
    pub max_logins: usize,
    /// Bytes that long messages of clients, all together, are held in.
    pub buffer_memory: usize,
    /// Threads that serve clients.
    pub workers: usize,
    /// Largest message that a client may send after authentication, in bytes.
    pub max_message_bytes: usize,
}

/// TLS towards clients. The files were readable when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// PEM: certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM: private key.
    pub key: PathBuf,
    /// Refuse clients that do not use TLS.
    pub required: bool,
    /// Accept TLS without an SSLRequest (ALPN `postgresql`, Postgres 17 clients).
    pub direct: bool,
    /// Whether clients are asked for certificates.
    pub client_cert: ClientCert,
    /// PEM: the authorities of client certificates; there if clients are asked.
    pub client_ca: Option<PathBuf>,
    /// Which names of a client certificate are looked at.
    pub client_name: CertificateName,
    /// How login and tenant stand in them. Without any, a certificate names nobody.
    pub client_patterns: Vec<NamePattern>,
    /// `[[listen.tls.certificate]]`: further certificates, chosen by the host name that the client asks for (SNI).
    pub certificates: Vec<NamedCertificate>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// They are not asked.
    None,
    /// They may.
    Request,
    /// They must.
    Require,
}

/// Which names of a client certificate count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    CommonName,
    /// The subject alternative names: DNS names, mail addresses, URIs.
    Alternative,
}

/// A certificate for some host names.
#[derive(Clone, Debug)]
pub struct NamedCertificate {
    /// Host names in lower case; the first label may be `*`.
    pub names: Vec<String>,
    /// PEM: certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM: private key.
    pub key: PathBuf,
}

/// Tokens of clients. The files were readable when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// What is asked of them.
    pub rules: TokenRules,
    /// PEM files of public keys.
    pub public_keys: Vec<PathBuf>,
    /// A JWK set.
    pub jwks_file: Option<PathBuf>,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP; the host is a name or an address (IPv6 without brackets).
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The Unix socket itself, `<directory>/.s.PGSQL.<port>`.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
