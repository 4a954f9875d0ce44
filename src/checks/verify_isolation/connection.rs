//! How a tenant connects to the proxy: a connection URL as libpq reads it, TLS included.

use std::str::FromStr;

use tokio::net::TcpStream;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};

use crate::auth::{ChannelBindingMode, Credentials, start_session};
use crate::base::Secret;
use crate::wire::conn::Conn;
use crate::wire::startup::ProtocolVersion;
use crate::wire::stream::Stream;
use crate::wire::tls::{ClientTls, Roots, TlsMode};

/// libpq's own.
const DEFAULT_PORT: u16 = 5432;

/// The client's half and the half that moves it on.
pub type Connected = (Client, tokio_postgres::Connection<Stream, tokio_postgres::tls::NoTlsStream>);

/// A connection URL. Beyond what tokio-postgres knows: `sslmode=verify-ca`, `verify-full`, and `sslrootcert`.
#[derive(Clone, Debug)]
pub struct Connection {
    config: Config,
    tls: ClientTls,
}

impl Connection {
    /// User, database, options, hosts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, by another user and database name, and without options.
    #[must_use]
    pub fn by(&self, user: &str, database: &str) -> Self {
        let mut other = self.clone();
        other.config.user(user).dbname(database).options("");
        other
    }

    /// The host name that a TLS handshake names, where there is one for certain.
    pub fn server_name(&self) -> Option<&str> {
        match (self.tls.mode(), self.config.get_hosts().first()) {
            (TlsMode::Disable | TlsMode::Prefer, _) => None,
            (TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull, Some(Host::Tcp(host))) => Some(host),
            (TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull, Some(_) | None) => None,
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// What failed, in words.
    pub async fn connect(&self) -> Result<Connected, String> {
        self.config.connect_raw(self.stream().await?, NoTls).await.map_err(|error| super::describe(&error))
    }

    /// Connects, for messages that are written by hand.
    ///
    /// # Errors
    /// What failed, in words.
    pub async fn open(&self) -> Result<Conn, String> {
        let mut conn = Conn::new(self.stream().await?);
        let password = self.config.get_password().map(|it| Secret::new(String::from_utf8_lossy(it)));
        let credentials = Credentials {
            user: self.config.get_user().unwrap_or_default(),
            password: password.as_ref(),
            channel_binding: ChannelBindingMode::Prefer,
            allow_cleartext: true,
        };
        let params = [
            ("database", self.config.get_dbname()),
            ("options", self.config.get_options()),
            ("application_name", self.config.get_application_name()),
        ];
        let params: Vec<_> = params.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let session = start_session(&mut conn, ProtocolVersion::V3_0, &params, &credentials).await;
        session.map(|_| conn).map_err(|error| error.to_string())
    }

    async fn stream(&self) -> Result<Stream, String> {
        let Some(Host::Tcp(host)) = self.config.get_hosts().first() else {
            return Err("the connection names no host".to_owned());
        };
        let port = self.config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
        let socket = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        self.tls.connect(socket, host).await.map_err(|error| error.to_string())
    }
}

impl FromStr for Connection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plain, mode, root) = without_tls(text)?;
        let mut config: Config = plain.parse().map_err(|error| format!("{error}"))?;
        // TLS, if there is any, is on already when it begins.
        config.ssl_mode(SslMode::Disable);
        let pem = match &root {
            Some(path) => Some(std::fs::read(path).map_err(|error| format!("sslrootcert {path}: {error}"))?),
            None => None,
        };
        let roots = match (&pem, mode) {
            (Some(pem), _) => Some(Roots::Pem(pem)),
            (None, TlsMode::VerifyCa | TlsMode::VerifyFull) => Some(Roots::System),
            (None, TlsMode::Disable | TlsMode::Prefer | TlsMode::Require) => None,
        };
        let tls = ClientTls::new(mode, roots).map_err(|error| error.to_string())?;
        Ok(Self { config, tls })
    }
}

/// The text without `sslmode` and `sslrootcert`, and these.
fn without_tls(text: &str) -> Result<(String, TlsMode, Option<String>), String> {
    let (head, separator, parameters) = match text.split_once('?') {
        Some((head, parameters)) if text.contains("://") => (format!("{head}?"), '&', parameters),
        Some(_) | None if text.contains("://") => return Ok((text.to_owned(), TlsMode::default(), None)),
        Some(_) | None => (String::new(), ' ', text),
    };
    let (mut kept, mut mode, mut root) = (Vec::new(), TlsMode::default(), None);
    for parameter in parameters.split(separator) {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = tls_mode(value)?,
            Some(("sslrootcert", "system")) => root = None,
            Some(("sslrootcert", value)) => root = Some(decoded(value)?),
            Some(_) | None => kept.push(parameter),
        }
    }
    let kept = kept.join(&separator.to_string());
    Ok((format!("{head}{kept}").trim_end_matches('?').to_owned(), mode, root))
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    match text {
        "disable" => Ok(TlsMode::Disable),
        "prefer" | "allow" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        other => Err(format!("sslmode \"{other}\" is none of disable, prefer, require, verify-ca, verify-full")),
    }
}

/// `%2F` and its like.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|it| char::from(it).to_digit(16));
        match byte {
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => bytes.extend(u8::try_from(high * 16 + low)),
                _ => return Err(format!("\"{text}\" is not percent-encoded")),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_settings_are_taken_out() {
        let read = |text| without_tls(text).unwrap();
        let url = "postgres://a:b@h:1/d?application_name=x&sslmode=verify-full&sslrootcert=%2Ftmp%2Fca.pem";
        let (plain, mode, root) = read(url);
        assert_eq!(plain, "postgres://a:b@h:1/d?application_name=x");
        assert_eq!((mode, root.as_deref()), (TlsMode::VerifyFull, Some("/tmp/ca.pem")));
        assert_eq!(read("postgres://h/d?sslmode=require").0, "postgres://h/d");
        assert_eq!(read("postgres://h/d").1, TlsMode::Prefer);
        assert_eq!(read("host=h sslmode=disable user=u"), ("host=h user=u".to_owned(), TlsMode::Disable, None));
        assert!(without_tls("postgres://h/d?sslmode=sometimes").is_err());
        assert!("postgres://h/d?sslmode=verify-ca&sslrootcert=/nonesuch".parse::<Connection>().is_err());
        let named: Connection = "postgres://h.example/d?sslmode=require".parse().unwrap();
        assert_eq!(named.server_name(), Some("h.example"));
    }
}
