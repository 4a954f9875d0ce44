//! Real clients against [`authenticate`]: tokio-postgres, and psql with OpenSSL's own channel binding.

use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::BytesMut;
use rcgen::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_postgres::NoTls;

use crate::auth::{
    Account, AuthError, Failure, Login, Md5Verifier, Method, MockKey, ScramVerifier, StoredPassword, authenticate,
};
use crate::base::Secret;
use crate::test_cluster::Binaries;
use crate::wire::backend::{Report, TransactionStatus};
use crate::wire::encode::{backend, frontend};
use crate::wire::frame::{AnyTag, ClientLimits};
use crate::wire::startup::{Wish, accept};
use crate::wire::tls::{ClientCertificates, Identity, ServerTls};
use crate::wire::{Conn, Stream};

/// A proxy that authenticates, and answers every query with the user's name.
struct Server {
    method: Method,
    /// `ann`, by what is stored; every other user is unknown, but `nopass` has no password.
    ann: StoredPassword,
    mock: MockKey,
    tls: Option<ServerTls>,
}

impl Server {
    fn new(method: Method, ann: StoredPassword) -> Self {
        Self { method, ann, mock: MockKey::random(), tls: None }
    }

    async fn start(self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(self);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let server = Arc::clone(&server);
                tokio::spawn(async move { server.serve(socket).await });
            }
        });
        port
    }

    async fn serve(&self, socket: TcpStream) {
        let Ok((mut conn, Wish::Session(startup))) = accept(socket.into(), self.tls.as_ref()).await else { return };
        let end_point = self.tls.as_ref().filter(|_| conn.stream.is_encrypted());
        let end_point = end_point.and_then(|tls| tls.end_point(conn.stream.sni())).map(<[u8]>::to_vec);
        let user = startup.user;
        if let Err(error) = authenticate(&mut conn, &self.login(&user, end_point.as_deref())).await {
            if let Some(error) = error.to_pg(&user) {
                conn.refuse(&error).await;
            }
            return;
        }
        backend::authentication_ok(&mut conn.outbox);
        backend::backend_key_data(&mut conn.outbox, 1, &[1, 2, 3, 4]).unwrap();
        backend::ready_for_query(&mut conn.outbox, TransactionStatus::Idle);
        conn.flush().await.unwrap();
        while let Ok(frame) = conn.next_frame(&ClientLimits::default()).await {
            if frame.tag() == b'X' {
                return;
            }
            backend::row_description(&mut conn.outbox, &[backend::Column::text("user")]).unwrap();
            backend::data_row(&mut conn.outbox, &[Some(user.as_bytes())]).unwrap();
            backend::command_complete(&mut conn.outbox, "SELECT 1").unwrap();
            backend::ready_for_query(&mut conn.outbox, TransactionStatus::Idle);
            conn.flush().await.unwrap();
        }
    }

    fn login<'a>(&'a self, user: &'a str, end_point: Option<&'a [u8]>) -> Login<'a> {
        let account = match user {
            "ann" => Account::Password(&self.ann),
            "nopass" => Account::WithoutPassword,
            _ => Account::Unknown,
        };
        Login { method: self.method, user, name: user, account, end_point, mock: &self.mock }
    }
}

fn verifier() -> StoredPassword {
    StoredPassword::Scram(ScramVerifier::from_password("secret"))
}

/// The user's name as the server knows it, or SQLSTATE and message.
async fn log_in(port: u16, user: &str, password: &str) -> Result<String, (String, String)> {
    let config = format!("host=127.0.0.1 port={port} user={user} password={password}");
    match tokio_postgres::connect(&config, NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            let rows = client.simple_query("SELECT user").await.unwrap();
            let user = rows.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            Ok(user.unwrap().to_owned())
        }
        Err(error) => {
            let error = error.as_db_error().unwrap();
            Err((error.code().code().to_owned(), error.message().to_owned()))
        }
    }
}

fn failed(user: &str) -> Result<String, (String, String)> {
    Err(("28P01".to_owned(), format!("password authentication failed for user \"{user}\"")))
}

#[tokio::test]
async fn every_method_takes_the_right_password_and_no_other() {
    let md5 = Md5Verifier::from_password("ann", &Secret::new("secret"));
    let plain = || StoredPassword::Plain(Secret::new("secret"));
    let servers = [
        (Method::Scram, verifier()),
        (Method::Md5, verifier()),
        (Method::Md5, StoredPassword::Md5(md5.clone())),
        (Method::Md5, plain()),
        (Method::Cleartext, verifier()),
        (Method::Cleartext, StoredPassword::Md5(md5)),
        (Method::Cleartext, plain()),
    ];
    for (method, stored) in servers {
        let case = format!("{method:?} {stored:?}");
        let port = Server::new(method, stored).start().await;
        assert_eq!(log_in(port, "ann", "secret").await, Ok("ann".to_owned()), "{case}");
        assert_eq!(log_in(port, "ann", "Secret").await, failed("ann"), "{case}");
        assert_eq!(log_in(port, "nobody", "secret").await, failed("nobody"), "{case}");
        assert_eq!(log_in(port, "nopass", "secret").await, failed("nopass"), "{case}");
    }
}

#[tokio::test]
async fn a_password_that_does_not_serve_the_method_fails_like_a_wrong_one() {
    let port = Server::new(Method::Scram, StoredPassword::Plain(Secret::new("secret"))).start().await;
    assert_eq!(log_in(port, "ann", "secret").await, failed("ann"));
}

#[tokio::test]
async fn trust_still_needs_a_known_login() {
    let port = Server::new(Method::Trust, verifier()).start().await;
    assert_eq!(log_in(port, "ann", "x").await, Ok("ann".to_owned()));
    assert_eq!(log_in(port, "nopass", "x").await, Ok("nopass".to_owned()));
    assert_eq!(log_in(port, "nobody", "x").await, failed("nobody"));
}

/// A conversation at the level of frames, over a Unix socket: what the client got, and what became of the login.
async fn raw(method: Method, user: &str, answers: &[&[u8]]) -> (Vec<u8>, Result<(), AuthError>) {
    let server = Server::new(method, verifier());
    let (client, theirs) = UnixStream::pair().unwrap();
    let (mut client, mut conn) = (Conn::new(client), Conn::new(Stream::from(theirs)));
    let user = user.to_owned();
    let server = tokio::spawn(async move {
        let result = authenticate(&mut conn, &server.login(&user, None)).await;
        if let Err(Some(error)) = result.as_ref().map_err(|error| error.to_pg(&user)) {
            conn.refuse(&error).await;
        }
        result
    });
    for answer in answers {
        client.next_frame(&AnyTag(1000)).await.unwrap();
        client.stream.write_all(answer).await.unwrap();
    }
    client.close().await;
    let result = server.await.unwrap();
    let mut got = client.inbox.to_vec();
    client.stream.read_to_end(&mut got).await.unwrap();
    (got, result)
}

#[tokio::test]
async fn messages_out_of_place_end_the_login() {
    let (got, result) = raw(Method::Scram, "ann", &[b"Q\0\0\0\x0dSELECT 1\0"]).await;
    assert!(matches!(result, Err(AuthError::Conn(_))));
    assert!(Report::read(&got[5..]).unwrap().is_fatal());
    let (got, result) = raw(Method::Scram, "ann", &[b"p\x7f\xff\xff\xff"]).await;
    assert!(matches!(result, Err(AuthError::Conn(_))));
    assert_eq!(Report::read(&got[5..]).unwrap().field(b'C'), Some(&b"08P01"[..]));
    // psql closes the connection to ask for a password: nothing to tell, nothing to panic about.
    let (got, result) = raw(Method::Scram, "ann", &[b"X\0\0\0\x04"]).await;
    assert!(matches!(result, Err(AuthError::Conn(_))));
    assert!(got.is_empty());
}

#[tokio::test]
async fn the_log_knows_why_and_the_client_does_not() {
    for (user, failure) in
        [("ann", Failure::WrongPassword), ("nopass", Failure::NoUsablePassword), ("nobody", Failure::UnknownLogin)]
    {
        let mut answer = BytesMut::new();
        frontend::password(&mut answer, b"wrong").unwrap();
        let (got, result) = raw(Method::Cleartext, user, &[&answer]).await;
        assert!(matches!(result, Err(AuthError::Failed(found)) if found == failure), "{user}: {result:?}");
        let report = Report::read(&got[5..]).unwrap();
        assert_eq!(report.field(b'C'), Some(&b"28P01"[..]));
        assert_eq!(report.field(b'D'), None);
    }
}

async fn psql(settings: &str) -> (String, String) {
    let psql = Binaries::find().expect("Postgres's binaries").program("psql");
    let settings = settings.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(psql);
        command.args(["-X", "-A", "-t", "-c", "SELECT user", &settings]).env("PGPASSWORD", "secret");
        command.stdin(Stdio::null()).output().unwrap()
    })
    .await
    .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn psql_logs_in_over_tls_with_channel_binding() {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes()).unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), cert.pem()).unwrap();
    let tls = Some(ServerTls::new(identity, [], &ClientCertificates::None).unwrap());
    let port = Server { tls, ..Server::new(Method::Scram, verifier()) }.start().await;
    let base = format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=x gssencmode=disable");
    let verified = format!("{base} sslmode=verify-full sslrootcert={}", root.path().display());
    for settings in [
        format!("{verified} user=ann channel_binding=require"),
        format!("{verified} user=ann channel_binding=disable"),
        format!("{base} user=ann sslmode=disable"),
        format!("{base} user=ann gssencmode=prefer"),
    ] {
        assert_eq!(psql(&settings).await, ("ann".to_owned(), String::new()), "{settings}");
    }
    let (_, error) = psql(&format!("{verified} user=nobody channel_binding=require")).await;
    assert!(error.contains("password authentication failed for user \"nobody\""), "{error}");
    let (_, error) = psql(&format!("{base} user=ann sslmode=disable channel_binding=require")).await;
    assert!(error.contains("channel binding"), "{error}");
}
