//! Asking a client for a token: as its password, or by OAUTHBEARER (RFC 7628), as Postgres 18 does it.

use serde_json::json;

use super::client::{AuthError, ask_within};
use super::scram::ScramError;
use super::token::{MAX_TOKEN, TokenError, TokenRules};
use crate::wire::conn::Conn;
use crate::wire::encode::backend as encode;
use crate::wire::frontend::{SaslInitialResponse, password, sasl_response};

/// The mechanism.
const OAUTHBEARER: &str = "OAUTHBEARER";
/// Largest message with a token in it, length field included.
const MESSAGE_LIMIT: u32 = 20 << 10;
/// Separates the parts of a message.
const KVSEP: char = '\u{1}';

const _: () = assert!(MAX_TOKEN + 1024 < MESSAGE_LIMIT as usize);

/// Asks for a token as a password. Only where nobody can listen.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn token_as_password(conn: &mut Conn) -> Result<String, AuthError> {
    if !conn.stream.is_private() {
        return Err(AuthError::NotPrivate);
    }
    encode::authentication_cleartext(&mut conn.outbox);
    let frame = ask_within(conn, MESSAGE_LIMIT).await?;
    let given = password(frame.body())?;
    // What is no text is no token either.
    Ok(std::str::from_utf8(given).unwrap_or_default().to_owned())
}

/// Asks for a token by OAUTHBEARER. Only where nobody can listen.
///
/// # Errors
/// As [`AuthError`] says; [`AuthError::Discovery`] when the client only wanted to know whom to ask for a token.
pub async fn bearer_token(conn: &mut Conn, rules: &TokenRules) -> Result<String, AuthError> {
    if !conn.stream.is_private() {
        return Err(AuthError::NotPrivate);
    }
    encode::authentication_sasl(&mut conn.outbox, &[OAUTHBEARER])?;
    let frame = ask_within(conn, MESSAGE_LIMIT).await?;
    let response = SaslInitialResponse::read(frame.body())?;
    if response.mechanism != OAUTHBEARER {
        return Err(AuthError::Scram(ScramError::Mechanism));
    }
    let token = match response.data {
        Some(data) => read(data)?,
        None => {
            encode::authentication_sasl_continue(&mut conn.outbox, b"")?;
            let frame = ask_within(conn, MESSAGE_LIMIT).await?;
            read(sasl_response(frame.body()))?
        }
    };
    if token.is_empty() {
        reject(conn, rules).await?;
        return Err(AuthError::Discovery);
    }
    Ok(token)
}

/// Tells the client by the mechanism's own means that its token is not accepted, and whom to ask for another. The failure
/// proper has still to be told.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn reject(conn: &mut Conn, rules: &TokenRules) -> Result<(), AuthError> {
    let status = json!({
        "status": "invalid_token",
        "openid-configuration": format!("{}/.well-known/openid-configuration", rules.issuer.trim_end_matches('/')),
        "scope": rules.scope,
    });
    encode::authentication_sasl_continue(&mut conn.outbox, status.to_string().as_bytes())?;
    // The client answers with nothing but a separator; what else it says does not matter any more.
    ask_within(conn, MESSAGE_LIMIT).await.map(|_| ())
}

/// Reads `n,,^Aauth=Bearer <token>^A^A`; the token is empty if the client has none.
fn read(data: &[u8]) -> Result<String, AuthError> {
    let malformed = |detail| AuthError::Scram(ScramError::Malformed(detail));
    let text = std::str::from_utf8(data).map_err(|_| malformed("The message is not text."))?;
    let (header, rest) = text.split_once(KVSEP).ok_or(malformed("The message ends too early."))?;
    match header {
        "n,," | "y,," => {}
        _ if header.starts_with("p=") => {
            return Err(malformed("Channel binding is used with a mechanism that has none."));
        }
        _ if header.starts_with("n,a=") || header.starts_with("y,a=") => {
            return Err(AuthError::Scram(ScramError::AuthorizationIdentity));
        }
        _ => return Err(malformed("The header is damaged.")),
    }
    let pairs = rest.strip_suffix("\u{1}\u{1}").ok_or(malformed("The message ends too early."))?;
    let mut auth = None;
    for pair in pairs.split(KVSEP) {
        let (key, value) = pair.split_once('=').ok_or(malformed("A key has no value."))?;
        // RFC 7628: other keys (host, port) are left alone; one that comes twice is an attempt to be read in two ways.
        if key == "auth" && auth.replace(value).is_some() {
            return Err(malformed("The key \"auth\" comes twice."));
        }
    }
    let auth = auth.ok_or(malformed("The key \"auth\" is missing."))?;
    if auth.is_empty() {
        return Ok(String::new());
    }
    let token = auth.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = token.ok_or(malformed("The token is not of type Bearer."))?;
    let token = token.trim_start_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(plain) {
        return Err(AuthError::Token { error: TokenError::Malformed, bearer: true });
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(read(b"n,,\x01auth=Bearer a.b-c_d.e\x01\x01").unwrap(), "a.b-c_d.e");
        assert_eq!(read(b"y,,\x01host=x\x01auth=bearer  abc=\x01port=5\x01\x01").unwrap(), "abc=");
        assert_eq!(read(b"n,,\x01auth=\x01\x01").unwrap(), "");
        for bad in [
            &b""[..],
            b"n,,",
            b"n,,\x01",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer abc",
            b"n,,\x01auth=Bearer abc\x01",
            b"p=tls-server-end-point,,\x01auth=Bearer abc\x01\x01",
            b"n,a=root,\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Basic abc\x01\x01",
            b"n,,\x01auth=Bearer\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            b"n,,\x01x\x01\x01",
            b"\xff\xff",
        ] {
            assert!(read(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
