//! Other certificates and keys on reload: who comes later sees them, who is there notices nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::support::message::ssl_request;
use crate::support::session::{self, Endpoint, PATIENCE, Session, Stream};

const LOGIN: &str = "[[login]]\nname = \"app\"\npassword = \"app_pw\"\ntenants = [\"a\"]\n";

struct House {
    folder: Folder,
    proxy: Proxy,
}

impl House {
    fn new(authority: &Authority) -> Self {
        let folder = Folder::new();
        folder.write("old.crt", &authority.pem());
        authority.issue(&folder, "server", &["localhost"]);
        authority.issue(&folder, "named", &["a.db.test"]);
        let pair = |name: &str| {
            format!("cert = \"{}\"\nkey = \"{}\"", folder.at(&format!("{name}.crt")), folder.at(&format!("{name}.key")))
        };
        let listen = format!(
            "[listen.tls]\n{}\n[[listen.tls.certificate]]\nnames = [\"a.db.test\"]\n{}",
            pair("server"),
            pair("named")
        );
        let proxy = Setup { listen: &listen, more: LOGIN, ..Setup::default() }.start();
        Self { folder, proxy }
    }

    /// psql that trusts this authority and binds SCRAM to the certificate.
    fn dial(&self, authority: &str, host: &str) -> Answer {
        let root = self.folder.at(&format!("{authority}.crt"));
        let settings = format!(
            "host={host} sslmode=verify-full sslrootcert={root} channel_binding=require user=app password=app_pw dbname=shared"
        );
        psql(self.proxy.port, &settings, WHOSE)
    }

    /// A session that stays, over TLS.
    fn stay(&self, authority: &str) -> Session {
        let mut stream: TcpStream = session::open(self.proxy.port);
        stream.write_all(&ssl_request()).unwrap();
        stream.set_patience(PATIENCE);
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"S");
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(self.folder.path(&format!("{authority}.crt"))).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(session::tls_client(roots, &[]), name).unwrap();
        let (session, reply) = Endpoint::new(self.proxy.port, "app", "app_pw", "shared")
            .try_connect_over(StreamOwned::new(client, stream));
        reply.ok();
        session
    }
}

#[track_caller]
fn lives(session: &mut Session) {
    assert_eq!(session.simple(WHOSE).ok().value(), "1");
}

#[test]
fn certificates_are_swapped_under_their_clients() {
    let (old, new) = (Authority::new("the old authority"), Authority::new("the new authority"));
    let house = House::new(&old);
    house.folder.write("new.crt", &new.pem());
    assert_eq!(house.dial("old", "localhost").as_deref(), Ok("1"));
    let mut first = house.stay("old");
    lives(&mut first);
    // Written, but not read yet.
    new.issue(&house.folder, "server", &["localhost"]);
    new.issue(&house.folder, "named", &["a.db.test"]);
    assert_eq!(house.dial("old", "a.db.test").as_deref(), Ok("1"));
    house.proxy.reload(|text| text);
    for host in ["localhost", "a.db.test"] {
        assert_eq!(house.dial("new", host).as_deref(), Ok("1"), "{host}");
        let error = house.dial("old", host).unwrap_err();
        assert!(error.contains("certificate verify failed"), "{host}: {error}");
    }
    lives(&mut first);
    let mut second = house.stay("new");
    lives(&mut second);
}

#[test]
fn a_key_that_does_not_fit_changes_nothing() {
    let (old, new) = (Authority::new("the old authority"), Authority::new("the new authority"));
    let house = House::new(&old);
    let mut first = house.stay("old");
    let keep = |name: &str| std::fs::read_to_string(house.folder.path(name)).unwrap();
    let right = (keep("server.crt"), keep("server.key"), keep("named.key"));
    new.issue(&house.folder, "other", &["localhost"]);
    let other_key = keep("other.key");
    let broken = [
        ("server.key", other_key.as_str()),
        ("named.key", other_key.as_str()),
        ("server.crt", "no certificate"),
        ("server.key", ""),
    ];
    for (file, text) in broken {
        house.folder.write(file, text);
        // Whatever else the file says does not come either.
        house.proxy.reload(|text| text.replace("name = \"app\"", "name = \"other\""));
        let log = house.proxy.log();
        let end: Vec<_> = log.lines().rev().take(6).collect();
        assert!(end[0].contains("configuration not reloaded: all stays as it was"), "{file}: {end:#?}");
        let said = end.iter().any(|it| it.contains("ERROR") && (it.contains("certificate") || it.contains(file)));
        assert!(said, "{file}: {end:#?}");
        assert_eq!(house.dial("old", "localhost").as_deref(), Ok("1"), "{file}");
        assert_eq!(house.dial("old", "a.db.test").as_deref(), Ok("1"), "{file}");
        lives(&mut first);
        for (file, text) in [("server.crt", &right.0), ("server.key", &right.1), ("named.key", &right.2)] {
            house.folder.write(file, text);
        }
    }
    house.proxy.reload(|text| text.replace("name = \"other\"", "name = \"app\""));
    assert!(house.proxy.log().lines().last().unwrap().contains("configuration reloaded"));
    assert_eq!(house.dial("old", "localhost").as_deref(), Ok("1"));
    lives(&mut first);
}
