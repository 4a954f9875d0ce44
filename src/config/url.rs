//! `postgres://user:password@host:port/database?sslmode=...`, as libpq reads it, one host only.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::model::{Address, TlsMode, Upstream};
use crate::base::Secret;

/// The port of a Postgres server when none is given.
const DEFAULT_PORT: u16 = 5432;

/// A connection URL, taken apart and percent-decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UpstreamUrl {
    pub(super) address: Address,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) sslmode: Option<TlsMode>,
    pub(super) sslrootcert: Option<PathBuf>,
}

/// Takes a URL apart. Errors never quote the URL: it may hold a password.
pub(super) fn parse_url(url: &str) -> Result<UpstreamUrl, String> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or("it must begin with postgres://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, hostport) = authority.rsplit_once('@').ok_or("it names no user: postgres://user@host/database")?;
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(decode(password)?)),
        None => (userinfo, None),
    };
    let user = decode(user)?;
    if user.is_empty() {
        return Err("it names no user: postgres://user@host/database".to_owned());
    }
    let mut options = read_query(query)?;
    let (host, port) = split_host(hostport)?;
    let host = match options.host.take() {
        Some(dir) if host.is_empty() => dir,
        Some(_) => return Err("it names the host twice".to_owned()),
        None => host,
    };
    let path = decode(path)?;
    let database = if path.is_empty() { user.clone() } else { path };
    Ok(UpstreamUrl {
        address: address(&host, port)?,
        user,
        password,
        database,
        sslmode: options.sslmode,
        sslrootcert: options.sslrootcert,
    })
}

fn address(host: &str, port: u16) -> Result<Address, String> {
    if host.is_empty() {
        return Err("it names no host: postgres://user@host/database, or ?host=/directory for a Unix socket".to_owned());
    }
    if host.contains(',') {
        return Err("it names several hosts: one upstream is one server".to_owned());
    }
    if host.starts_with('/') {
        let socket = PathBuf::from(host).join(format!(".s.PGSQL.{port}"));
        return Ok(Address::Unix(socket));
    }
    Ok(Address::Tcp { host: host.to_owned(), port })
}

/// Host (decoded, without the brackets of IPv6) and port.
fn split_host(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the address has no closing bracket")?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or("after ] comes a port")?),
            };
            (host.to_owned(), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (decode(host)?, Some(port)),
            None => (decode(text)?, None),
        },
    };
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(text) => text.parse().ok().filter(|p| *p != 0).ok_or_else(|| format!("\"{text}\" is no port"))?,
    };
    Ok((host, port))
}

#[derive(Default)]
struct Query {
    sslmode: Option<TlsMode>,
    sslrootcert: Option<PathBuf>,
    host: Option<String>,
}

fn read_query(query: &str) -> Result<Query, String> {
    let mut read = Query::default();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "sslmode" => {
                read.sslmode = Some(
                    parse_tls_mode(&value)
                        .ok_or_else(|| format!("sslmode \"{value}\" is not one of {}", TLS_MODES.join(", ")))?,
                );
            }
            "sslrootcert" => read.sslrootcert = Some(PathBuf::from(value)),
            "host" => read.host = Some(value),
            other => {
                return Err(format!("parameter \"{other}\" is not supported (sslmode, sslrootcert and host are)"));
            }
        }
    }
    Ok(read)
}

/// The values of `sslmode`.
pub(super) const TLS_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// A value of `sslmode`.
pub(super) fn parse_tls_mode(text: &str) -> Option<TlsMode> {
    match text {
        "disable" => Some(TlsMode::Disable),
        "prefer" => Some(TlsMode::Prefer),
        "require" => Some(TlsMode::Require),
        "verify-ca" => Some(TlsMode::VerifyCa),
        "verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    }
}

/// The value of `sslmode` for a mode.
pub fn tls_word(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Disable => "disable",
        TlsMode::Prefer => "prefer",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    }
}

/// The URL of an upstream's database for a role, with further parameters (`options=...`), encoded already.
pub fn url_of(upstream: &Upstream, role: &str, password: Option<&Secret>, more: &[String]) -> String {
    let (role, database) = (percent(role), percent(&upstream.database));
    let password = password.map(|it| format!(":{}", percent(it.expose()))).unwrap_or_default();
    let (place, mut options) = match &upstream.address {
        Address::Tcp { host, port } if host.contains(':') => (format!("[{host}]:{port}"), Vec::new()),
        Address::Tcp { host, port } => (format!("{}:{port}", percent(host)), Vec::new()),
        Address::Unix(socket) => {
            let (directory, port) = socket_parts(socket);
            (format!(":{port}"), vec![format!("host={}", percent(&directory))])
        }
    };
    if upstream.tls.mode != TlsMode::Prefer {
        options.push(format!("sslmode={}", tls_word(upstream.tls.mode)));
    }
    if let Some(path) = &upstream.tls.root_cert {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        options.push(format!("sslrootcert={}", percent(&path.to_string_lossy())));
    }
    options.extend_from_slice(more);
    let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("postgres://{role}{password}@{place}/{database}{options}")
}

/// Directory and port of a Unix socket.
pub fn socket_parts(socket: &Path) -> (String, String) {
    let port = socket.extension().unwrap_or_default().to_string_lossy().into_owned();
    (socket.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned(), port)
}

/// Percent-encoding for a part of a URL.
pub fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after
            .get(..2)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(|b| *b != 0)
            .ok_or("after % come two hexadecimal digits, not 00")?;
        bytes.push(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 when decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn the_parts_of_a_url() {
        let url = parse_url("postgres://app:p%40ss%2F@db.example.com:5433/shop?sslmode=verify-full").unwrap();
        assert_eq!(url.address, tcp("db.example.com", 5433));
        assert_eq!(url.user, "app");
        assert_eq!(url.password.as_deref(), Some("p@ss/"));
        assert_eq!(url.database, "shop");
        assert_eq!(url.sslmode, Some(TlsMode::VerifyFull));
    }

    #[test]
    fn defaults() {
        let url = parse_url("postgresql://app@localhost").unwrap();
        assert_eq!(url.address, tcp("localhost", 5432));
        assert_eq!(url.database, "app");
        assert_eq!((url.password, url.sslmode), (None, None));
    }

    #[test]
    fn ipv6_and_unix_sockets() {
        assert_eq!(parse_url("postgres://a@[::1]:6000/d").unwrap().address, tcp("::1", 6000));
        let socket = Address::Unix(PathBuf::from("/run/pg/.s.PGSQL.5432"));
        for url in ["postgres://a@/d?host=/run/pg", "postgres://a@%2Frun%2Fpg/d"] {
            assert_eq!(parse_url(url).unwrap().address, socket, "{url}");
        }
    }

    #[test]
    fn bad_urls() {
        for bad in [
            "mysql://a@h/d",
            "postgres://h/d",
            "postgres://:p@h/d",
            "postgres://a@/d",
            "postgres://a@h,i/d",
            "postgres://a@h:0/d",
            "postgres://a@h:99999/d",
            "postgres://a@h:x/d",
            "postgres://a@[::1/d",
            "postgres://a@h/d?sslmode=maybe",
            "postgres://a@h/d?search_path=x",
            "postgres://a@h/d%zz",
            "postgres://a@h/d%00",
            "postgres://a@h/d%e2%82",
            "postgres://a@h/d?host=/x",
            "postgres://a@h/%",
            "postgres://a@h/%é",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
