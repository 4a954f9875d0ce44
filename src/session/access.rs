//! Who gets in: certificates towards clients, and how logins prove themselves.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::auth::{Md5Verifier, Method, ScramVerifier, Secret, StoredPassword};
use crate::config::{Config, ListenTls, LoginAuth};
use crate::ids::LoginName;
use crate::wire::tls::{Identity, ServerTls, TlsConfigError};

/// Why the configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A file of `[listen.tls]`.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate or its key.
    #[error("TLS certificate: {0}")]
    Tls(#[from] TlsConfigError),
    /// A login's password.
    #[error("login \"{0}\": its stored password cannot be read")]
    Password(LoginName),
}

/// Who gets in and how: what of the configuration is looked at before a session begins. Immutable; a reload swaps in a
/// new one.
#[derive(Debug)]
pub struct Access {
    /// How logins prove themselves.
    pub credentials: Credentials,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Clients without TLS are refused.
    pub tls_required: bool,
}

impl Access {
    /// What this configuration says. Reads the files of `[listen.tls]`; takes some milliseconds for each password in plain
    /// text, so not within a task that serves clients.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(config: &Config) -> Result<Self, GatewayError> {
        let tls = config.listen.tls.as_ref();
        Ok(Self {
            credentials: Credentials::new(config)?,
            tls: tls.map(server_tls).transpose()?,
            tls_required: tls.is_some_and(|tls| tls.required),
        })
    }
}

/// How the logins of a configuration prove themselves.
#[derive(Debug)]
pub struct Credentials {
    by_login: HashMap<LoginName, Credential>,
}

/// How one login proves itself.
#[derive(Debug)]
pub enum Credential {
    /// With a password.
    Password(Method, StoredPassword),
    /// Not at all, from a loopback address.
    Trust,
}

impl Credentials {
    /// Reads the stored passwords. For those in plain text this takes some milliseconds each.
    ///
    /// # Errors
    /// A password that is none.
    pub fn new(config: &Config) -> Result<Self, GatewayError> {
        let mut by_login = HashMap::new();
        for login in &config.logins {
            let credential = Credential::new(&login.auth).ok_or_else(|| GatewayError::Password(login.name.clone()))?;
            by_login.insert(login.name.clone(), credential);
        }
        Ok(Self { by_login })
    }

    /// How this login proves itself; `None` if there is no such login.
    pub fn get(&self, login: &str) -> Option<&Credential> {
        self.by_login.get(login)
    }
}

impl Credential {
    fn new(auth: &LoginAuth) -> Option<Self> {
        Some(match auth {
            LoginAuth::ScramVerifier(secret) => {
                Credential::Password(Method::Scram, StoredPassword::Scram(secret.expose().parse().ok()?))
            }
            LoginAuth::ScramPlain(secret) => {
                let verifier = ScramVerifier::from_password(secret.expose());
                Credential::Password(Method::Scram, StoredPassword::Scram(verifier))
            }
            LoginAuth::Md5Hash(secret) => {
                Credential::Password(Method::Md5, StoredPassword::Md5(Md5Verifier::parse(secret.expose())?))
            }
            LoginAuth::Md5Plain(secret) => {
                Credential::Password(Method::Md5, StoredPassword::Plain(Secret::new(secret.expose())))
            }
            LoginAuth::Trust => Credential::Trust,
        })
    }
}

fn server_tls(tls: &ListenTls) -> Result<ServerTls, GatewayError> {
    let mut by_name = HashMap::new();
    for certificate in &tls.certificates {
        let identity = identity(&certificate.cert, &certificate.key)?;
        by_name.extend(certificate.names.iter().map(|name| (name.clone(), identity.clone())));
    }
    Ok(ServerTls::new(identity(&tls.cert, &tls.key)?, by_name)?.with_direct(tls.direct))
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, GatewayError> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| GatewayError::File { path: path.into(), error });
    Ok(Identity::from_pem(&read(cert)?, &read(key)?)?)
}
