//! Asking a client for its password.

use rand::RngExt;
use subtle::ConstantTimeEq;

use super::md5::md5_hex;
use super::scram::{Binding, MockKey, ScramError, ScramServer, ScramVerifier};
use super::stored::{Md5Verifier, StoredPassword};
use super::throttle::Blocked;
use super::token::TokenError;
use crate::base::{PgError, SqlState};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::encode::backend as encode;
use crate::wire::error::WireError;
use crate::wire::frame::{Frame, LoginLimits, PASSWORD_LIMIT};
use crate::wire::frontend::{SaslInitialResponse, password, sasl_response};

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Not at all: for tests on one machine.
    Trust,
    /// SCRAM-SHA-256, over TLS with channel binding where the client can.
    #[default]
    Scram,
    /// md5 for logins with an md5 hash or a plain password, SCRAM for logins with a verifier (as in `pg_hba.conf`).
    Md5,
    /// The password as it is. Only where nobody can listen: over TLS, a Unix socket or loopback.
    Cleartext,
}

/// What is known of a login.
#[derive(Clone, Copy, Debug)]
pub enum Account<'a> {
    /// There is no such login. The exchange looks as if there were one with another password.
    Unknown,
    /// It has no password: it can only log in under [`Method::Trust`].
    WithoutPassword,
    /// It has one.
    Password(&'a StoredPassword),
}

/// One authentication.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// How.
    pub method: Method,
    /// The user name as the client sent it: md5 is made with it, and error messages name it.
    pub user: &'a str,
    /// The name of the login, without a tenant: what an unknown one is shown is made up from it, so that it is the same
    /// whatever tenant is named.
    pub name: &'a str,
    /// Who.
    pub account: Account<'a>,
    /// Channel binding data of the certificate that the client saw, `ServerTls::end_point`; `None` without TLS.
    pub end_point: Option<&'a [u8]>,
    /// For unknown names.
    pub mock: &'a MockKey,
}

/// Why a proof was not accepted: for the log. The client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No such login.
    UnknownLogin,
    /// The login has no password, or one that does not serve this method.
    NoUsablePassword,
    /// The password is wrong.
    WrongPassword,
    /// The client has no certificate that names the login.
    Certificate,
    /// The login may not be used from the client's address, whatever the proof.
    Address,
    /// What the auth query gave makes no login.
    BadRow,
    /// The login was valid until some time ago, whatever the proof.
    Expired,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::UnknownLogin => "there is no such login",
            Failure::NoUsablePassword => "the login has no password for this method",
            Failure::WrongPassword => "the password is wrong",
            Failure::Certificate => "no client certificate names the login",
            Failure::Address => "the address is not in the login's allow_from",
            Failure::BadRow => "what the auth query gave makes no login",
            Failure::Expired => "the login has expired (VALID UNTIL)",
        })
    }
}

/// Why an authentication failed. Display is for the log.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The client went away (psql does so to ask for a password) or broke the protocol.
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// The SCRAM exchange broke down before it came to the proof.
    #[error(transparent)]
    Scram(ScramError),
    /// The proof was not accepted.
    #[error("{0}")]
    Failed(Failure),
    /// A token that is not accepted.
    #[error("{error}")]
    Token {
        /// Why.
        error: TokenError,
        /// It came by OAUTHBEARER, not as a password.
        bearer: bool,
    },
    /// The client had no token, and asked who gives one.
    #[error("the client asked where to get a token")]
    Discovery,
    /// Too many tries failed before this one. The proof was not looked at.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// The login is not in the file, and the auth query cannot be asked; or the proof was wrong, and it cannot be asked
    /// whether the password has changed. The client cannot tell one from the other.
    #[error("{}", if *.guessed { "the proof is wrong, and the auth query cannot be asked anew" } else { "the auth query cannot be asked" })]
    Away {
        /// A proof was looked at.
        guessed: bool,
    },
    /// A password would have crossed a network in the clear. It was not asked for.
    #[error("cleartext authentication was refused on an unencrypted connection")]
    NotPrivate,
}

impl From<WireError> for AuthError {
    fn from(error: WireError) -> Self {
        AuthError::Conn(error.into())
    }
}

impl From<std::io::Error> for AuthError {
    fn from(error: std::io::Error) -> Self {
        AuthError::Conn(error.into())
    }
}

impl AuthError {
    /// Whether this was a try at a credential that did not work.
    pub fn is_failed_try(&self) -> bool {
        match self {
            AuthError::Failed(_) | AuthError::Scram(_) | AuthError::Token { .. } => true,
            AuthError::Away { guessed } => *guessed,
            AuthError::Conn(_) | AuthError::Blocked(_) | AuthError::Discovery | AuthError::NotPrivate => false,
        }
    }

    /// What the client is told, if it can still listen. It is the same for an unknown login and a wrong password.
    pub fn to_pg(&self, user: &str) -> Option<PgError> {
        match self {
            AuthError::Conn(error) => error.to_pg(),
            AuthError::Scram(error) => Some(error.to_pg(user)),
            AuthError::Failed(Failure::Certificate) => Some(PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("certificate authentication failed for user \"{user}\""),
            )),
            AuthError::Token { bearer: true, .. } | AuthError::Discovery => Some(PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("OAuth bearer authentication failed for user \"{user}\""),
            )),
            AuthError::Failed(_) | AuthError::Token { bearer: false, .. } => Some(password_failed(user)),
            AuthError::Blocked(blocked) => Some(
                PgError::fatal(SqlState::INVALID_AUTHORIZATION, "too many failed authentication attempts")
                    .hint(format!("Try again in {} s.", blocked.left.as_secs() + 1)),
            ),
            AuthError::Away { .. } => Some(
                PgError::fatal(SqlState::CANNOT_CONNECT_NOW, "logins cannot be verified at the moment")
                    .hint("Try again in a few seconds."),
            ),
            AuthError::NotPrivate => Some(
                PgError::fatal(
                    SqlState::INVALID_AUTHORIZATION,
                    "password authentication requires an encrypted connection",
                )
                .hint("Connect with sslmode=require."),
            ),
        }
    }
}

pub(super) fn password_failed(user: &str) -> PgError {
    PgError::fatal(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\""))
}

/// Asks the client to prove that it is `login`, and checks the proof. On success, the last message of the exchange may
/// still stand in `conn.outbox`, to be sent together with AuthenticationOk, which the caller writes once it has decided
/// that the session may begin. On failure nothing has been said yet: see [`AuthError::to_pg`] and `Conn::refuse`.
///
/// # Errors
/// As [`AuthError`] says.
pub async fn authenticate(conn: &mut Conn, login: &Login<'_>) -> Result<(), AuthError> {
    match login.method {
        Method::Trust => match login.account {
            Account::Unknown => Err(AuthError::Failed(Failure::UnknownLogin)),
            Account::WithoutPassword | Account::Password(_) => Ok(()),
        },
        Method::Scram => scram(conn, login).await,
        Method::Md5 => match login.account {
            Account::Password(StoredPassword::Scram(_)) => scram(conn, login).await,
            _ => md5(conn, login).await,
        },
        Method::Cleartext => cleartext(conn, login).await,
    }
}

/// The failure to be logged for an exchange that was done with made-up data.
fn doomed(account: Account<'_>) -> Failure {
    match account {
        Account::Unknown => Failure::UnknownLogin,
        Account::WithoutPassword | Account::Password(_) => Failure::NoUsablePassword,
    }
}

async fn scram(conn: &mut Conn, login: &Login<'_>) -> Result<(), AuthError> {
    match login.account {
        Account::Password(StoredPassword::Scram(verifier)) => {
            scram_with(conn, verifier, login, Failure::WrongPassword).await
        }
        other => {
            let verifier = ScramVerifier::mock(login.mock, login.name);
            scram_with(conn, &verifier, login, doomed(other)).await
        }
    }
}

async fn scram_with(
    conn: &mut Conn,
    verifier: &ScramVerifier,
    login: &Login<'_>,
    on_wrong_proof: Failure,
) -> Result<(), AuthError> {
    let failed = |error| match error {
        ScramError::Proof => AuthError::Failed(on_wrong_proof),
        other => AuthError::Scram(other),
    };
    let binding = login.end_point.map_or(Binding::None, Binding::EndPoint);
    encode::authentication_sasl(&mut conn.outbox, binding.mechanisms())?;
    let frame = ask(conn).await?;
    let response = SaslInitialResponse::read(frame.body())?;
    let exchange = ScramServer::new(verifier, binding);
    let (challenge, exchange) = match response.data {
        Some(data) => exchange.first(response.mechanism, data),
        None => {
            // The client waits for a challenge although SCRAM has none before its first message: an empty one.
            encode::authentication_sasl_continue(&mut conn.outbox, b"")?;
            let frame = ask(conn).await?;
            exchange.first(response.mechanism, sasl_response(frame.body()))
        }
    }
    .map_err(failed)?;
    encode::authentication_sasl_continue(&mut conn.outbox, challenge.as_bytes())?;
    let frame = ask(conn).await?;
    let signature = exchange.finish(sasl_response(frame.body())).map_err(failed)?;
    encode::authentication_sasl_final(&mut conn.outbox, signature.as_bytes())?;
    Ok(())
}

async fn md5(conn: &mut Conn, login: &Login<'_>) -> Result<(), AuthError> {
    let salt: [u8; 4] = rand::rng().random();
    encode::authentication_md5(&mut conn.outbox, salt);
    let frame = ask(conn).await?;
    let response = password(frame.body())?;
    let (expected, failure) = match login.account {
        Account::Password(StoredPassword::Md5(stored)) => (Some(stored.response(salt)), Failure::WrongPassword),
        Account::Password(StoredPassword::Plain(plain)) => {
            (Some(Md5Verifier::from_password(login.user, plain).response(salt)), Failure::WrongPassword)
        }
        other => (None, doomed(other)),
    };
    // Without an expected answer the same work is done for nothing.
    let compared = expected.unwrap_or_else(|| md5_hex(&[login.user.as_bytes(), &salt]));
    let right = response.strip_prefix(b"md5").is_some_and(|digits| digits.ct_eq(&compared).into());
    if right && expected.is_some() { Ok(()) } else { Err(AuthError::Failed(failure)) }
}

async fn cleartext(conn: &mut Conn, login: &Login<'_>) -> Result<(), AuthError> {
    if !conn.stream.is_private() {
        return Err(AuthError::NotPrivate);
    }
    encode::authentication_cleartext(&mut conn.outbox);
    let frame = ask(conn).await?;
    let given = password(frame.body())?;
    match login.account {
        Account::Password(stored) if stored.accepts(login.user, given) => Ok(()),
        Account::Password(_) => Err(AuthError::Failed(Failure::WrongPassword)),
        other => {
            // The time of a verifier, so that unknown names do not answer faster.
            ScramVerifier::mock(login.mock, login.name).accepts(given);
            Err(AuthError::Failed(doomed(other)))
        }
    }
}

/// Sends what was asked and waits for the answer.
async fn ask(conn: &mut Conn) -> Result<Frame, AuthError> {
    ask_within(conn, PASSWORD_LIMIT).await
}

/// As [`ask`], for an answer whose length field is at most this.
pub(super) async fn ask_within(conn: &mut Conn, limit: u32) -> Result<Frame, AuthError> {
    conn.flush().await?;
    let frame = conn.next_frame(&LoginLimits(limit)).await?;
    match frame.tag() {
        b'p' => Ok(frame),
        b'X' => Err(ConnError::Closed.into()),
        other => Err(WireError::UnknownTag(other).into()),
    }
}
