//! TLS towards clients and towards upstreams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use pgwarden::test_cluster::{Cluster, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, RootCertStore, StreamOwned};

use crate::support::lab::{Lab, block_on};
use crate::support::message::{ssl_request, startup};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::{self, Endpoint, PATIENCE, Session, Stream};

/// A certificate authority, a certificate for `localhost` and its key, in PEM.
struct Papers {
    authority: String,
    certificate: String,
    key: String,
}

fn papers() -> Papers {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // Two names: a certificate whose issuer is called like itself looks self-signed.
    authority.distinguished_name.push(DnType::CommonName, "the tests' authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Papers { authority: issuer.pem(), certificate: server.pem(), key: key.serialize_pem() }
}

static PAPERS: LazyLock<Papers> = LazyLock::new(papers);

/// Where the papers lie as files.
static FILES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in
        [("ca.crt", &PAPERS.authority), ("server.crt", &PAPERS.certificate), ("server.key", &PAPERS.key)]
    {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
});

fn path(name: &str) -> String {
    FILES.path().join(name).display().to_string()
}

fn listen(more: &str) -> String {
    format!("tls = {{ cert = \"{}\", key = \"{}\"{more} }}", path("server.crt"), path("server.key"))
}

static PROXY: LazyLock<Proxy> =
    LazyLock::new(|| Proxy::start(Lab::general(), &Setup { listen: listen(""), ..Setup::default() }));

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The handshake, by the first read or write.
fn handshake(stream: TcpStream, alpn: &[&[u8]]) -> TlsStream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(PAPERS.authority.as_bytes()).unwrap()).unwrap();
    let config = session::tls_client(roots, alpn);
    let name = ServerName::try_from("localhost").unwrap();
    stream.set_patience(PATIENCE);
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

fn after_ssl_request(port: u16) -> TcpStream {
    let mut stream = session::open(port);
    stream.write_all(&ssl_request()).unwrap();
    let mut answer = [0];
    stream.set_patience(PATIENCE);
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    stream
}

fn speaks(end: &Endpoint, stream: TlsStream) {
    let (mut session, reply) = end.try_connect_over(stream);
    reply.ok();
    assert_eq!(session.simple("SELECT name FROM customers WHERE id = 1").ok().value(), "ALPHA_name_1");
    // Larger than one TLS record, both ways.
    let long = "x".repeat(100_000);
    assert_eq!(session.simple(format!("SELECT '{long}'")).ok().value(), long);
}

#[test]
fn tls_after_an_ssl_request() {
    let proxy = &*PROXY;
    speaks(&proxy.a(), handshake(after_ssl_request(proxy.port), &[b"postgresql"]));
    speaks(&proxy.a(), handshake(after_ssl_request(proxy.port), &[]));
    // Without TLS it serves, too: it is not required here.
    proxy.a().connect().simple("SELECT 1").ok();
}

#[test]
fn direct_tls_needs_its_alpn() {
    let proxy = &*PROXY;
    speaks(&proxy.a(), handshake(session::open(proxy.port), &[b"postgresql"]));
    for alpn in [&[][..], &[b"http/1.1".as_slice()]] {
        let (_, reply) = proxy.a().try_connect_over(handshake(session::open(proxy.port), alpn));
        assert!(reply.closed && reply.states.is_empty(), "{}", reply.text());
    }
}

/// Bytes behind the SSLRequest came before the handshake: whoever put them there is not who holds the keys
/// (CVE-2021-23214).
#[test]
fn bytes_smuggled_behind_the_ssl_request_are_refused() {
    let proxy = &*PROXY;
    let end = proxy.a();
    let mut stream = session::open(proxy.port);
    let smuggled = startup(196_608, &[("user", &end.user), ("database", &end.database)]);
    stream.write_all(&[ssl_request(), smuggled].concat()).unwrap();
    let mut session = Session::over(stream);
    // An S may be on its way already; nothing must come of the rest.
    if session.byte() == Ok(b'S') {
        let reply = session.collect_within(1, Duration::from_secs(3));
        assert!(reply.closed && reply.kinds.is_empty(), "{}", reply.text());
    }
    end.connect();
}

#[test]
fn a_second_ssl_request_inside_tls_is_refused() {
    let proxy = &*PROXY;
    let mut session = Session::over(handshake(after_ssl_request(proxy.port), &[]));
    session.send(&ssl_request());
    let reply = session.collect_within(1, Duration::from_secs(3));
    assert!(reply.closed && reply.states.is_empty(), "{}", reply.text());
}

/// `pgwarden verify-isolation` connects with the modes of libpq.
#[test]
fn verify_isolation_over_tls() {
    let listen = listen(", required = true");
    let lab = Lab::general();
    lab.copy_of_shop("verify_tls");
    let proxy = Proxy::start(lab, &Setup { listen, database: "verify_tls".to_owned(), ..Setup::default() });
    let run = |parameters: &str| {
        let url = |end: Endpoint| format!("{}?{parameters}", end.url().replace("127.0.0.1", "localhost"));
        Command::new(crate::support::proxy::program())
            .args(["verify-isolation", "--config"])
            .arg(proxy.config())
            .args(["--as-a", &url(proxy.a()), "--as-b", &url(proxy.b())])
            .output()
            .unwrap()
    };
    let root = format!("sslrootcert={}", path("ca.crt"));
    for (parameters, passes) in [
        (format!("sslmode=verify-full&{root}"), true),
        ("sslmode=require".to_owned(), true),
        ("sslmode=disable".to_owned(), false),
        // A root that did not sign it
        ("sslmode=verify-ca".to_owned(), false),
    ] {
        let output = run(&parameters);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.success(),
            passes,
            "{parameters}: {told}\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(passes || told.contains("connecting as tenant a"), "{told}");
    }
}

#[test]
fn required_tls_refuses_plain_clients() {
    let proxy = Proxy::start(Lab::general(), &Setup { listen: listen(", required = true"), ..Setup::default() });
    let (_, reply) = proxy.a().try_connect();
    assert!(reply.closed && reply.kinds == "E", "{} {}", reply.kinds, reply.text());
    assert_eq!(reply.sqlstate(), "28000");
    speaks(&proxy.a(), handshake(after_ssl_request(proxy.port), &[]));
}

/// libpq checks the certificate, and binds SCRAM to the channel.
#[test]
fn psql_verifies_and_binds_the_channel() {
    let port = PROXY.port;
    let conninfo = |mode: &str| {
        let root = path("ca.crt");
        format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=tenant_a password=tenant_a_pw dbname=shared \
             sslmode={mode} sslrootcert={root} channel_binding=require"
        )
    };
    let output =
        Command::new("psql").args(["-XAtc", "SELECT count(*) FROM customers"]).arg(conninfo("verify-full")).output();
    let output = output.expect("psql");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// A cluster that speaks TLS with the same papers, and refuses everything else.
static SECURED: LazyLock<Cluster> = LazyLock::new(|| {
    let options = Options {
        hba: vec![
            "hostssl all all 127.0.0.1/32 scram-sha-256".to_owned(),
            "hostnossl all app 127.0.0.1/32 reject".to_owned(),
        ],
        tls: Some((PAPERS.certificate.clone(), PAPERS.key.clone())),
        ..Options::default()
    };
    let cluster = Cluster::start(&options).expect("a cluster");
    let script = "CREATE ROLE app LOGIN PASSWORD 'app_pw'; CREATE TABLE t (tenant_id int, body text); \
                  INSERT INTO t VALUES (1, 'own'), (2, 'foreign'); GRANT SELECT ON t TO app";
    block_on(cluster.run("postgres", script)).unwrap();
    cluster
});

fn in_front(host: &str, tls: &str) -> Proxy {
    let listen = crate::support::proxy::free_port();
    let upstream = SECURED.port();
    let text = format!(
        r#"
[listen]
address = "127.0.0.1:{listen}"
[upstream.main]
url = "postgres://app@{host}:{upstream}/postgres"
password = "app_pw"
tls = {tls}
[tenancy]
upstream = "main"
[[tenant]]
name = "one"
key = 1
[[login]]
name = "one"
password = "one_pw"
tenants = ["one"]
"#
    );
    Proxy::launch(&text, listen)
}

fn reads_its_rows(proxy: &Proxy) -> bool {
    let end = Endpoint::new(proxy.port, "one", "one_pw", "postgres");
    let (mut session, reply) = end.try_connect();
    reply.errors.is_empty() && !reply.closed && session.simple("SELECT body FROM t").first_column() == ["own"]
}

#[test]
fn upstream_modes() {
    let root = path("ca.crt");
    let other = {
        let file = FILES.path().join("other.crt");
        std::fs::write(&file, papers().authority).unwrap();
        file.display().to_string()
    };
    let cases = [
        ("localhost", "{ mode = \"require\" }".to_owned(), true),
        ("localhost", "{ mode = \"prefer\" }".to_owned(), true),
        ("127.0.0.1", format!("{{ mode = \"verify-ca\", root_cert = \"{root}\" }}"), true),
        ("localhost", format!("{{ mode = \"verify-full\", root_cert = \"{root}\" }}"), true),
        ("localhost", "{ mode = \"disable\" }".to_owned(), false),
        // The certificate is for localhost only.
        ("127.0.0.1", format!("{{ mode = \"verify-full\", root_cert = \"{root}\" }}"), false),
        ("localhost", format!("{{ mode = \"verify-ca\", root_cert = \"{other}\" }}"), false),
    ];
    for (host, tls, works) in cases {
        let proxy = in_front(host, &tls);
        // The catalog may still be on its way.
        let mut served = false;
        for _ in 0..if works { 20 } else { 2 } {
            served = reads_its_rows(&proxy);
            if served {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(served, works, "{host} {tls}:\n{}", proxy.log());
    }
}
