//! Where a pool's connections go, and how they log in.

use std::time::Duration;

use crate::base::{Secret, UpstreamName};
use crate::config::{Address, Upstream, UpstreamTls};
use crate::wire::tls::{ClientTls, Roots, TlsConfigError, TlsMode};

/// Everything needed to open a server connection. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct ServerTarget {
    /// Name of the upstream, for logs and errors.
    pub upstream: UpstreamName,
    /// Where it listens.
    pub address: Address,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// The role's password.
    pub password: Option<Secret>,
    /// TLS towards it.
    pub tls: ClientTls,
    /// What `tls` was made of: mode and trusted roots.
    pub trust: (TlsMode, Option<Vec<u8>>),
    /// Settings that the connection starts with: startup parameters, to which RESET and DISCARD ALL return. They come from
    /// the configuration, never from a client (a client's `search_path` in a startup packet was CVE-2025-12819 of PgBouncer).
    pub settings: Vec<(String, String)>,
    /// Ask for protocol 3.2 (Postgres 18: cancel keys of 32 bytes) instead of 3.0.
    pub protocol_3_2: bool,
    /// Time for name resolution, TCP, TLS and authentication together.
    pub connect_timeout: Duration,
}

/// Why a configured upstream cannot be connected to, whatever its state.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file with the trusted roots.
    #[error("cannot read {path}: {error}")]
    RootCert {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// TLS cannot be set up with these roots.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
}

impl ServerTarget {
    /// The target of a configured upstream, as its own role in its own database. Reads the file of trusted roots.
    ///
    /// # Errors
    /// If that file cannot be read or holds no root.
    pub fn new(upstream: &Upstream) -> Result<Self, TargetError> {
        let (tls, roots) = client_tls(&upstream.tls)?;
        Ok(Self {
            upstream: upstream.name.clone(),
            address: upstream.address.clone(),
            database: upstream.database.clone(),
            user: upstream.user.clone(),
            password: upstream.password.clone(),
            tls,
            trust: (upstream.tls.mode, roots),
            settings: Vec::new(),
            protocol_3_2: false,
            connect_timeout: upstream.connect_timeout,
        })
    }

    /// Whether a connection to one does for the other: all is equal but the time that connecting may take.
    pub fn leads_to_the_same(&self, other: &Self) -> bool {
        let password = |it: &Self| it.password.as_ref().map(|secret| secret.expose().to_owned());
        self.address == other.address
            && self.database == other.database
            && self.user == other.user
            && password(self) == password(other)
            && self.trust == other.trust
            && self.settings == other.settings
    }
}

fn client_tls(settings: &UpstreamTls) -> Result<(ClientTls, Option<Vec<u8>>), TargetError> {
    let mode = settings.mode;
    let pem = match &settings.root_cert {
        Some(path) => Some(std::fs::read(path).map_err(|error| TargetError::RootCert { path: path.clone(), error })?),
        None => None,
    };
    let roots = match (&pem, mode) {
        (Some(pem), _) => Some(Roots::Pem(pem)),
        (None, TlsMode::VerifyCa | TlsMode::VerifyFull) => Some(Roots::System),
        (None, TlsMode::Disable | TlsMode::Prefer | TlsMode::Require) => None,
    };
    Ok((ClientTls::new(mode, roots)?, pem))
}
