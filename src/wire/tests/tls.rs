use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wire::conn::Conn;
use crate::wire::startup::{StartupError, Wish, accept};
use crate::wire::tls::{
    ClientCertificates, ClientTls, Identity, Roots, ServerTls, TlsConnectError, TlsMode, end_point_hash,
};
use crate::wire::{Stream, encode};

/// A root of its own.
struct Root {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn root() -> Root {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Root { pem, issuer: Issuer::new(params, key) }
}

impl Root {
    fn identity(&self, host: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

type Accepted = Result<(Conn, Wish), StartupError>;

/// A listener that negotiates with one client; the client's end.
async fn pair(tls: Option<ServerTls>) -> (TcpStream, JoinHandle<Accepted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        accept(Stream::from(socket), tls.as_ref()).await
    });
    (TcpStream::connect(address).await.unwrap(), server)
}

async fn connect(
    server: Option<ServerTls>,
    mode: TlsMode,
    roots: Option<&str>,
    host: &str,
) -> (Result<Stream, TlsConnectError>, JoinHandle<Accepted>) {
    let (socket, server) = pair(server).await;
    let tls = ClientTls::new(mode, roots.map(|pem| Roots::Pem(pem.as_bytes()))).unwrap();
    (tls.connect(socket, host).await, server)
}

fn certificate_refused(result: &Result<Stream, TlsConnectError>) -> bool {
    matches!(result, Err(TlsConnectError::Handshake(error)) if error.to_string().contains("certificate"))
}

#[tokio::test]
async fn each_mode_checks_what_it_promises() {
    let (ours, other) = (root(), root());
    let tls = || Some(ServerTls::new(ours.identity("db.test"), [], &ClientCertificates::None).unwrap());
    let cases = [
        (TlsMode::VerifyFull, Some(&ours), "db.test", true),
        (TlsMode::VerifyFull, Some(&ours), "other.test", false),
        (TlsMode::VerifyFull, Some(&other), "db.test", false),
        (TlsMode::VerifyCa, Some(&ours), "other.test", true),
        (TlsMode::VerifyCa, Some(&ours), "127.0.0.1", true),
        (TlsMode::VerifyCa, Some(&other), "db.test", false),
        (TlsMode::Require, Some(&other), "db.test", false),
        (TlsMode::Require, None, "other.test", true),
        (TlsMode::Prefer, None, "other.test", true),
    ];
    for (mode, roots, host, ok) in cases {
        let (result, _server) = connect(tls(), mode, roots.map(|root| root.pem.as_str()), host).await;
        assert_eq!(matches!(result, Ok(Stream::TlsClient(_))), ok, "{mode:?} {host}: {result:?}");
        assert_eq!(certificate_refused(&result), !ok, "{mode:?} {host}: {result:?}");
    }
    let (result, _server) = connect(tls(), TlsMode::Disable, None, "db.test").await;
    assert!(matches!(result, Ok(Stream::Tcp(_))));
}

#[tokio::test]
async fn a_server_without_tls_is_taken_only_by_prefer() {
    let (result, _server) = connect(None, TlsMode::Prefer, None, "db.test").await;
    assert!(matches!(result, Ok(Stream::Tcp(_))));
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let (result, _server) = connect(None, mode, Some(&root().pem), "db.test").await;
        assert!(matches!(result, Err(TlsConnectError::NotSupported)), "{mode:?}");
    }
    assert!(ClientTls::new(TlsMode::VerifyCa, None).is_err());
    assert!(ClientTls::new(TlsMode::VerifyFull, Some(Roots::Pem(b"nothing"))).is_err());
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_root() {
    let made = rcgen::generate_simple_self_signed(vec!["db.test".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let identity = || Identity::from_pem(pem.as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let tls = || Some(ServerTls::new(identity(), [], &ClientCertificates::None).unwrap());
    let (result, _server) = connect(tls(), TlsMode::VerifyFull, Some(&pem), "db.test").await;
    assert!(matches!(result, Ok(Stream::TlsClient(_))), "{result:?}");
    let (result, _server) = connect(tls(), TlsMode::VerifyFull, Some(&pem), "other.test").await;
    assert!(certificate_refused(&result), "{result:?}");
    assert!(Identity::from_pem(pem.as_bytes(), KeyPair::generate().unwrap().serialize_pem().as_bytes()).is_err());
}

#[tokio::test]
async fn host_names_choose_certificates_and_both_sides_agree_on_the_binding() {
    let root = root();
    let tls = ServerTls::new(
        root.identity("db.test"),
        [("Acme.DB.test".to_owned(), root.identity("acme.db.test"))],
        &ClientCertificates::None,
    );
    let tls = tls.unwrap();
    for host in ["db.test", "acme.db.test"] {
        let (stream, server) = connect(Some(tls.clone()), TlsMode::VerifyFull, Some(&root.pem), host).await;
        let mut client = Conn::new(stream.unwrap());
        encode::frontend::startup(&mut client.outbox, 3 << 16, [("user", "u")]).unwrap();
        client.flush().await.unwrap();
        let (conn, wish) = server.await.unwrap().unwrap();
        assert!(matches!(wish, Wish::Session(message) if message.user == "u"));
        assert_eq!(conn.stream.sni(), Some(host));
        assert!(conn.stream.is_encrypted() && conn.stream.is_private());
        let end_point = client.stream.upstream_end_point().unwrap();
        assert_eq!(tls.end_point(conn.stream.sni()), Some(&end_point[..]));
    }
    assert_ne!(tls.end_point(Some("acme.db.test")), tls.end_point(None));
}

#[test]
fn the_binding_hash_follows_the_signature() {
    let hash = |algorithm: &'static rcgen::SignatureAlgorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        end_point_hash(cert.der()).map(|hash| hash.len())
    };
    assert_eq!(hash(&rcgen::PKCS_ECDSA_P256_SHA256), Some(32));
    assert_eq!(hash(&rcgen::PKCS_ECDSA_P384_SHA384), Some(48));
    assert_eq!(hash(&rcgen::PKCS_ED25519), None);
    assert_eq!(end_point_hash(&CertificateDer::from(&b"no certificate"[..])), None);
}

async fn direct(alpn: &[&[u8]], tls: ServerTls) -> (std::io::Result<()>, Accepted) {
    let (socket, server) = pair(Some(tls)).await;
    let mut config = ClientTls::new(TlsMode::Require, None).unwrap().config_for_tests();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let client = async move {
        let mut stream = connector.connect("db.test".try_into().unwrap(), socket).await?;
        let mut out = bytes::BytesMut::new();
        encode::frontend::startup(&mut out, 3 << 16, [("user", "u")]).unwrap();
        stream.write_all(&out).await
    };
    let (client, server) = tokio::join!(client, server);
    (client, server.unwrap())
}

#[tokio::test]
async fn direct_tls_needs_the_name_of_the_protocol() {
    let tls = ServerTls::new(root().identity("db.test"), [], &ClientCertificates::None).unwrap();
    let (_, server) = direct(&[b"postgresql"], tls.clone()).await;
    assert!(matches!(server, Ok((_, Wish::Session(_)))));
    let (_, server) = direct(&[], tls.clone()).await;
    assert!(matches!(server, Err(StartupError::Refused(_))), "{server:?}");
    let (client, server) = direct(&[b"h2"], tls.clone()).await;
    assert!(client.is_err());
    assert!(matches!(server, Err(StartupError::Tls(_))), "{server:?}");
    let (client, server) = direct(&[b"postgresql"], tls.with_direct(false)).await;
    assert!(client.is_err());
    assert!(matches!(server, Err(StartupError::NoPacket(_))), "{server:?}");
}

#[tokio::test]
async fn plain_bytes_behind_the_request_never_reach_the_session() {
    let tls = ServerTls::new(root().identity("db.test"), [], &ClientCertificates::None).unwrap();
    let (mut socket, server) = pair(Some(tls)).await;
    let mut out = bytes::BytesMut::new();
    encode::frontend::ssl_request(&mut out);
    encode::frontend::startup(&mut out, 3 << 16, [("user", "u")]).unwrap();
    socket.write_all(&out).await.unwrap();
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.unwrap();
    assert_eq!(got[0], b'E');
    assert!(matches!(server.await.unwrap(), Err(StartupError::Refused(_))));
}

#[tokio::test]
async fn a_server_that_answers_an_error_to_the_request_is_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"E\0\0\0\x04").await.unwrap();
    });
    let socket = TcpStream::connect(address).await.unwrap();
    let result = ClientTls::new(TlsMode::Prefer, None).unwrap().connect(socket, "db.test").await;
    assert!(matches!(result, Err(TlsConnectError::BadAnswer(b'E'))));
}
