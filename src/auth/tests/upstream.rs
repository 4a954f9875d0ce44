//! [`start_session`] against a real Postgres with every method that pgwarden speaks.

use tokio::net::TcpStream;

use crate::auth::{ChannelBindingMode, Credentials, ScramVerifier, UpstreamAuthError, UpstreamSession, start_session};
use crate::base::{Secret, SqlState};
use crate::test_cluster::{Cluster, Options};
use crate::wire::Conn;
use crate::wire::startup::ProtocolVersion;
use crate::wire::tls::{ClientTls, Roots, TlsMode};

struct Upstream {
    cluster: Cluster,
    certificate: String,
}

async fn upstream() -> Upstream {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let line = |user: &str, method: &str| format!("host all {user} 127.0.0.1/32 {method}");
    let cluster = Cluster::start(&Options {
        tls: Some((certificate.clone(), made.signing_key.serialize_pem())),
        hba: vec![
            line("by_md5", "md5"),
            line("by_word", "password"),
            line("by_trust", "trust"),
            "hostssl all by_scram 127.0.0.1/32 scram-sha-256".to_owned(),
            line("by_scram", "scram-sha-256"),
        ],
        ..Options::default()
    })
    .unwrap();
    let verifier = ScramVerifier::from_password("ours");
    let roles = format!(
        "SET password_encryption = 'md5'; CREATE ROLE by_md5 LOGIN PASSWORD 'secret';
         SET password_encryption = 'scram-sha-256'; CREATE ROLE by_scram LOGIN PASSWORD 'secret';
         CREATE ROLE by_word LOGIN PASSWORD 'secret'; CREATE ROLE by_trust LOGIN;
         CREATE ROLE by_verifier LOGIN PASSWORD '{}';",
        verifier.to_text().expose()
    );
    cluster.run("postgres", &roles).await.unwrap();
    Upstream { cluster, certificate }
}

impl Upstream {
    async fn log_in(
        &self,
        mode: TlsMode,
        user: &str,
        password: Option<&str>,
        channel_binding: ChannelBindingMode,
    ) -> Result<UpstreamSession, UpstreamAuthError> {
        let socket = TcpStream::connect(("127.0.0.1", self.cluster.port())).await.unwrap();
        let tls = ClientTls::new(mode, Some(Roots::Pem(self.certificate.as_bytes()))).unwrap();
        let mut conn = Conn::new(tls.connect(socket, "localhost").await.unwrap());
        assert_eq!(conn.stream.is_encrypted(), mode != TlsMode::Disable);
        let password = password.map(Secret::new);
        let credentials = Credentials { user, password: password.as_ref(), channel_binding, allow_cleartext: false };
        let params = [("database", "postgres"), ("client_encoding", "UTF8"), ("application_name", "pgwarden")];
        start_session(&mut conn, ProtocolVersion::V3_2, &params, &credentials).await
    }
}

#[tokio::test]
async fn every_method_of_a_real_server_is_answered() {
    use ChannelBindingMode::{Disable, Prefer, Require};
    let upstream = upstream().await;
    let cases = [
        (TlsMode::Disable, "by_scram", Some("secret"), Prefer),
        (TlsMode::Require, "by_scram", Some("secret"), Disable),
        (TlsMode::VerifyFull, "by_scram", Some("secret"), Require),
        (TlsMode::VerifyFull, "by_verifier", Some("ours"), Require),
        (TlsMode::Disable, "by_md5", Some("secret"), Prefer),
        (TlsMode::Disable, "by_word", Some("secret"), Prefer),
        (TlsMode::Prefer, "by_word", Some("secret"), Prefer),
        (TlsMode::Disable, "by_trust", None, Prefer),
    ];
    for (mode, user, password, binding) in cases {
        let session = upstream.log_in(mode, user, password, binding).await;
        let session = session.unwrap_or_else(|error| panic!("{mode:?} {user}: {error}"));
        assert_eq!(session.parameters.get("application_name").map(String::as_str), Some("pgwarden"));
        assert_eq!(session.parameters.get("client_encoding").map(String::as_str), Some("UTF8"));
        let (pid, key) = session.cancel_key.unwrap();
        assert!(pid > 0);
        let major = session.parameters.get("server_version").and_then(|text| text.split('.').next()?.parse().ok());
        let expected = if major >= Some(18) { (ProtocolVersion::V3_2, 32) } else { (ProtocolVersion::V3_0, 4) };
        assert_eq!((session.version, key.len()), expected);
    }

    for user in ["by_scram", "by_md5", "by_word", "nobody"] {
        let error = upstream.log_in(TlsMode::Disable, user, Some("wrong"), Prefer).await.unwrap_err();
        let wrong = matches!(&error, UpstreamAuthError::Server { code, .. } if *code == SqlState::INVALID_PASSWORD);
        assert!(wrong, "{user}: {error}");
        // The client of pgwarden is not asked for a password because pgwarden's own is wrong.
        assert_eq!(error.to_pg().code, SqlState::CONNECTION_FAILURE);
        let error = upstream.log_in(TlsMode::Disable, user, None, Prefer).await.unwrap_err();
        assert!(matches!(error, UpstreamAuthError::NoPassword), "{user}: {error}");
    }
    for (mode, user) in [(TlsMode::Disable, "by_scram"), (TlsMode::Require, "by_md5"), (TlsMode::Require, "by_trust")] {
        let error = upstream.log_in(mode, user, Some("secret"), Require).await.unwrap_err();
        assert!(matches!(error, UpstreamAuthError::NoBinding), "{user}: {error}");
    }
}

#[tokio::test]
async fn postgres_and_pgwarden_read_each_others_verifiers() {
    let cluster = Cluster::shared().unwrap();
    cluster.run("postgres", "CREATE ROLE verifier_probe PASSWORD 'pässword'").await.unwrap();
    let client = cluster.connect("postgres").await.unwrap();
    let row = client.query_one("SELECT rolpassword FROM pg_authid WHERE rolname = 'verifier_probe'", &[]).await;
    let text: String = row.unwrap().get(0);
    let verifier: ScramVerifier = text.parse().unwrap();
    assert!(verifier.accepts("pässword".as_bytes()));
    assert!(!verifier.accepts(b"password"));
    assert_eq!(verifier.to_text().expose(), text);
    cluster.run("postgres", "DROP ROLE verifier_probe").await.unwrap();
}
