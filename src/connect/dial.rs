//! Opening a socket to an upstream, and TLS in it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::error::ConnectError;
use super::target::ServerTarget;
use crate::config::Address;
use crate::wire::stream::{Keepalive, Stream};
use crate::wire::tls::TlsConnectError;

/// A connection to the upstream with TLS as its mode says and nothing said on it yet: for the control plane.
///
/// # Errors
/// As [`ConnectError`] says. There is no time limit.
pub async fn open_stream(target: &ServerTarget, keepalive: Keepalive) -> Result<Stream, ConnectError> {
    Ok(dial(target, None, keepalive).await?.0)
}

/// Opens the socket and, as the target's TLS mode says, TLS in it. `peer` is a known address of the host.
///
/// # Errors
/// As [`ConnectError`] says. There is no time limit.
pub async fn dial(
    target: &ServerTarget,
    peer: Option<SocketAddr>,
    keepalive: Keepalive,
) -> Result<(Stream, Option<SocketAddr>), ConnectError> {
    let (host, port) = match &target.address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(ConnectError::Socket)?;
            return Ok((Stream::from(socket), None));
        }
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let (socket, peer) = match peer {
        Some(peer) => (TcpStream::connect(peer).await.map_err(ConnectError::Socket)?, peer),
        None => dial_host(host, port, target.connect_timeout).await?,
    };
    keepalive.apply(&socket).map_err(ConnectError::Socket)?;
    let stream = target.tls.connect(socket, host).await.map_err(|error| match error {
        TlsConnectError::Io(error) => ConnectError::Broken(error),
        TlsConnectError::Handshake(_)
        | TlsConnectError::NotSupported
        | TlsConnectError::BadAnswer(_)
        | TlsConnectError::BadHost(_) => ConnectError::Tls(error.to_string()),
    })?;
    Ok((stream, Some(peer)))
}

/// Tries the addresses of the host one after the other, each for its share of the time, so that one that does not answer
/// leaves time for the next.
async fn dial_host(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(ConnectError::Resolve)?.collect();
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = ConnectError::Resolve(std::io::ErrorKind::NotFound.into());
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok((socket, address)),
            Ok(Err(error)) => last = ConnectError::Socket(error),
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}
