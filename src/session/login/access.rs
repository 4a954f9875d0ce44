//! Who gets in: certificates towards clients, and how logins prove themselves.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auth::token::KeyError;
use crate::auth::{FailureRules, Md5Verifier, Method, MockKey, ScramVerifier, StoredPassword, TokenKey, TokenVerifier};
use crate::base::{Found, LoginName, NamePattern, Secret};
use crate::config::{CertificateName, ClientCert, Config, ListenTls, LoginAuth, TokenConfig};
use crate::tenant::LoginQuery;
use crate::tenant::auth_query::Kind;
use crate::wire::stream::Stream;
use crate::wire::tls::{CertificateNames, ClientCertificates, Identity, ServerTls, TlsConfigError};

/// Why the configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file of `[listen.tls]` or `[jwt]`.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Keys of `[jwt]`.
    #[error("{path}: {error}")]
    TokenKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
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
    /// How failed tries are answered.
    pub failures: FailureRules,
    /// Which tokens are accepted.
    pub tokens: Option<TokenVerifier>,
    /// Where logins are looked up that are not in the file.
    pub query: Option<Arc<LoginQuery>>,
    client_name: CertificateName,
    client_patterns: Vec<NamePattern>,
}

/// What a client's certificate says of it.
#[derive(Debug)]
pub enum CertificateClaim {
    /// There is none, or it is not to name anybody.
    None,
    /// It names these.
    Names(Found),
    /// It fits no pattern: for the log, with what it has.
    Stranger(String),
}

impl Access {
    /// What this configuration says. Reads the files of `[listen.tls]` and `[jwt]`; takes some milliseconds for each password in plain
    /// text, so not within a task that serves clients.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(config: &Config) -> Result<Self, AccessError> {
        let tls = config.listen.tls.as_ref();
        Ok(Self {
            credentials: Credentials::new(config)?,
            tls: tls.map(server_tls).transpose()?,
            tls_required: tls.is_some_and(|tls| tls.required),
            failures: config.failures,
            tokens: config.tokens.as_ref().map(token_verifier).transpose()?,
            query: config.auth_query.as_ref().map(|query| Arc::new(LoginQuery::new(Arc::clone(query)))),
            client_name: tls.map_or(CertificateName::CommonName, |tls| tls.client_name),
            client_patterns: tls.map(|tls| tls.client_patterns.clone()).unwrap_or_default(),
        })
    }

    /// Whom a client's certificate names.
    pub fn certificate_claim(&self, stream: &Stream) -> CertificateClaim {
        let Some(certificate) = stream.client_certificate().filter(|_| !self.client_patterns.is_empty()) else {
            return CertificateClaim::None;
        };
        let names = CertificateNames::read(certificate).unwrap_or_default();
        let names: Vec<_> = match self.client_name {
            CertificateName::CommonName => names.common_name.into_iter().collect(),
            CertificateName::Alternative => names.alternative,
        };
        // The first pattern that fits any of the names.
        let found = self.client_patterns.iter().find_map(|pattern| names.iter().find_map(|name| pattern.find(name)));
        found.map_or_else(|| CertificateClaim::Stranger(names.join(", ")), CertificateClaim::Names)
    }
}

/// How the logins of a configuration prove themselves.
#[derive(Debug)]
pub struct Credentials {
    by_login: HashMap<LoginName, Credential>,
    /// What unknown logins look like: as many of each kind as there are of the known ones.
    decoys: Vec<Decoy>,
}

/// What is asked of an unknown login, and how it is answered.
#[derive(Clone, Debug)]
enum Decoy {
    /// SCRAM, with as many iterations as this one.
    Scram(ScramVerifier),
    Md5,
    Certificate,
    Token,
    OAuth,
}

/// How one login proves itself.
#[derive(Debug)]
pub enum Credential {
    /// With a password.
    Password(Method, StoredPassword),
    /// With a client certificate that names the login.
    Certificate,
    /// With a token, by OAUTHBEARER or as a password.
    Token {
        /// By OAUTHBEARER.
        bearer: bool,
    },
    /// Not at all, from a loopback address.
    Trust,
}

/// How somebody of whom there is no login is treated.
#[derive(Debug)]
pub enum Unknown {
    /// As somebody with a password.
    Password(Method, MockKey),
    /// As somebody without the right certificate.
    Certificate,
    /// As somebody with a token.
    Token {
        /// By OAUTHBEARER.
        bearer: bool,
    },
}

impl Credentials {
    /// Reads the stored passwords. For those in plain text this takes some milliseconds each.
    ///
    /// # Errors
    /// A password that is none.
    pub fn new(config: &Config) -> Result<Self, AccessError> {
        let mut by_login = HashMap::new();
        let mut decoys = Vec::new();
        for login in &config.logins {
            let credential = Credential::new(&login.auth).ok_or_else(|| AccessError::Password(login.name.clone()))?;
            decoys.extend(credential.decoy());
            by_login.insert(login.name.clone(), credential);
        }
        Ok(Self { by_login, decoys })
    }

    /// How an unknown login is treated: like one of the known, and always the same for the same name. `kinds`: those of an
    /// auth query are known too.
    pub fn unknown(&self, name: &str, mock: &MockKey, kinds: &[Kind]) -> Unknown {
        let own = self.decoys.len();
        let pick = mock.pick(name, own + kinds.len());
        match self.decoys.get(pick) {
            None => match pick.checked_sub(own).and_then(|pick| kinds.get(pick)) {
                Some(Kind::Scram(iterations)) => Unknown::Password(Method::Scram, mock.with_iterations(*iterations)),
                Some(Kind::Md5) => Unknown::Password(Method::Md5, mock.clone()),
                None => Unknown::Password(Method::Scram, mock.clone()),
            },
            Some(Decoy::Scram(verifier)) => Unknown::Password(Method::Scram, mock.like(verifier)),
            Some(Decoy::Md5) => Unknown::Password(Method::Md5, mock.clone()),
            Some(Decoy::Certificate) => Unknown::Certificate,
            Some(Decoy::Token) => Unknown::Token { bearer: false },
            Some(Decoy::OAuth) => Unknown::Token { bearer: true },
        }
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
            LoginAuth::Certificate => Credential::Certificate,
            LoginAuth::Token => Credential::Token { bearer: false },
            LoginAuth::OAuth => Credential::Token { bearer: true },
            LoginAuth::Trust => Credential::Trust,
            // The query's, not the file's.
            LoginAuth::Queried => return None,
        })
    }

    fn decoy(&self) -> Option<Decoy> {
        match self {
            Credential::Password(_, StoredPassword::Scram(verifier)) => Some(Decoy::Scram(verifier.clone())),
            Credential::Password(_, StoredPassword::Md5(_) | StoredPassword::Plain(_)) => Some(Decoy::Md5),
            Credential::Certificate => Some(Decoy::Certificate),
            Credential::Token { bearer: false } => Some(Decoy::Token),
            Credential::Token { bearer: true } => Some(Decoy::OAuth),
            // For tests only: nobody would be fooled.
            Credential::Trust => None,
        }
    }
}

fn token_verifier(tokens: &TokenConfig) -> Result<TokenVerifier, AccessError> {
    let mut keys = Vec::new();
    let failed = |path: &Path| {
        let path = path.to_owned();
        |error| AccessError::TokenKeys { path, error }
    };
    for path in &tokens.public_keys {
        keys.extend(TokenKey::from_pem(&read(path)?).map_err(failed(path))?);
    }
    if let Some(path) = &tokens.jwks_file {
        keys.extend(TokenKey::from_jwks(&read(path)?).map_err(failed(path))?);
    }
    Ok(TokenVerifier::new(tokens.rules.clone(), keys))
}

fn server_tls(tls: &ListenTls) -> Result<ServerTls, AccessError> {
    let mut by_name = HashMap::new();
    for certificate in &tls.certificates {
        let identity = identity(&certificate.cert, &certificate.key)?;
        by_name.extend(certificate.names.iter().map(|name| (name.clone(), identity.clone())));
    }
    let authorities = || tls.client_ca.as_deref().map_or(Ok(Vec::new()), read);
    let clients = match tls.client_cert {
        ClientCert::None => ClientCertificates::None,
        ClientCert::Request => ClientCertificates::Request(authorities()?),
        ClientCert::Require => ClientCertificates::Require(authorities()?),
    };
    Ok(ServerTls::new(identity(&tls.cert, &tls.key)?, by_name, &clients)?.with_direct(tls.direct))
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|error| AccessError::File { path: path.into(), error })
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, AccessError> {
    Ok(Identity::from_pem(&read(cert)?, &read(key)?)?)
}
