//! Client certificates: who signed them, and whom they name.

use rcgen::{CertificateParams, DnType, SanType};
use std::sync::LazyLock;

use super::*;

struct House {
    folder: Folder,
    proxy: Proxy,
}

const LOGINS: &str = r#"
[[login]]
name = "app"
auth = "cert"
tenants = ["a", "b"]
[[login]]
name = "plain"
password = "plain_pw"
tenants = ["a", "b"]
[[login]]
name = "ops"
auth = "cert"
role = "operator"
tenants = ["a"]
"#;

fn house(client_cert: &str) -> House {
    let folder = Folder::new();
    let authority = Authority::new("the servers' authority");
    let clients = Authority::new("the clients' authority");
    folder.write("ca.crt", &authority.pem());
    folder.write("clients.crt", &clients.pem());
    authority.issue(&folder, "server", &["localhost"]);
    for (file, name) in [
        ("app", "app"),
        ("app_a", "app.a.clients.test"),
        ("app_b", "app.b.clients.test"),
        ("plain_a", "plain.a.clients.test"),
        ("ops", "ops"),
        ("stranger", "somebody@else/where"),
    ] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        clients.sign(&folder, file, params);
    }
    // The same names by an authority that is not asked, and by one of the same name.
    for (file, authority) in
        [("other", Authority::new("another")), ("imposter", Authority::new("the clients' authority"))]
    {
        authority.issue(&folder, file, &["app.a.clients.test"]);
    }
    let mut expired = CertificateParams::new(Vec::new()).unwrap();
    expired.distinguished_name.push(DnType::CommonName, "app");
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    clients.sign(&folder, "expired", expired);
    let listen = format!(
        "[listen.tls]\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_cert = \"{client_cert}\"\n\
         client_patterns = [\"{{login}}.{{tenant}}.clients.test\", \"{{login}}\"]",
        folder.at("server.crt"),
        folder.at("server.key"),
        folder.at("clients.crt")
    );
    let tenancy = "identify = [\"certificate\", \"user\", \"database\"]";
    let proxy = Setup { listen: &listen, tenancy, more: LOGINS }.start();
    House { folder, proxy }
}

static REQUESTED: LazyLock<House> = LazyLock::new(|| house("request"));

impl House {
    /// psql with one of the certificates, or none.
    fn dial(&self, certificate: &str, settings: &str) -> Answer {
        let at = |name: &str| self.folder.at(&format!("{certificate}.{name}"));
        let client = match certificate {
            "" => String::new(),
            _ => format!("sslcert={} sslkey={}", at("crt"), at("key")),
        };
        let root = self.folder.at("ca.crt");
        let settings = format!("host=localhost sslmode=verify-full sslrootcert={root} {client} {settings}");
        psql(self.proxy.port, &settings, WHOSE)
    }
}

#[test]
fn a_certificate_is_the_proof_and_names_the_tenant() {
    let house = &*REQUESTED;
    assert_eq!(house.dial("app_a", "user=app dbname=shared").as_deref(), Ok("1"));
    assert_eq!(house.dial("app_b", "user=app dbname=shared").as_deref(), Ok("2"));
    assert_eq!(house.dial("app_b", "user=app@b dbname=b").as_deref(), Ok("2"));
    assert_eq!(house.dial("app", "user=app@b dbname=shared").as_deref(), Ok("2"));
    assert_eq!(house.dial("ops", "user=ops dbname=shared").as_deref(), Ok("1,2,3"));
    // The certificate of one tenant, the name of another elsewhere.
    refused(house.dial("app_a", "user=app@b dbname=shared"), "name different tenants");
    refused(house.dial("app_a", "user=app dbname=b"), "name different tenants");
}

#[test]
fn a_certificate_serves_its_own_login_only() {
    let house = &*REQUESTED;
    for certificate in ["", "plain_a", "ops", "stranger"] {
        let error = house.dial(certificate, "user=app@a dbname=shared").unwrap_err();
        assert!(error.contains("certificate authentication failed for user \"app@a\""), "{certificate}: {error}");
    }
    refused(house.dial("app", "user=ops dbname=shared"), "certificate authentication failed");
    // Beside a password, too: a certificate that names somebody else does not go with it.
    let plain = "user=plain password=plain_pw dbname=shared";
    assert_eq!(house.dial("plain_a", plain).as_deref(), Ok("1"));
    assert_eq!(house.dial("", &plain.replace("=plain ", "=plain@b ")).as_deref(), Ok("2"));
    refused(house.dial("app_a", plain), "the client certificate is not one of login \"plain\"");
    refused(house.dial("stranger", plain), "the client certificate is not one of login \"plain\"");
    // The certificate alone does not replace the password.
    refused(house.dial("plain_a", "user=plain password=wrong dbname=shared"), "password authentication failed");
    // Without TLS there is no certificate.
    let plaintext = psql(house.proxy.port, "host=localhost sslmode=disable user=app@a dbname=shared", WHOSE);
    refused(plaintext, "certificate authentication failed");
}

/// Signed by somebody else, by somebody else of the same name, or expired: the handshake fails.
#[test]
fn other_authorities_certificates_end_the_handshake() {
    let house = &*REQUESTED;
    for certificate in ["other", "imposter", "expired"] {
        for user in ["app", "plain password=plain_pw"] {
            let error = house.dial(certificate, &format!("user={user} dbname=shared")).unwrap_err();
            assert!(!error.contains("authentication failed") && error.contains("SSL"), "{certificate}: {error}");
        }
    }
}

#[test]
fn required_certificates() {
    let house = house("require");
    assert_eq!(house.dial("plain_a", "user=plain password=plain_pw dbname=shared").as_deref(), Ok("1"));
    assert_eq!(house.dial("app_a", "user=app dbname=shared").as_deref(), Ok("1"));
    let error = house.dial("", "user=plain@a password=plain_pw dbname=shared").unwrap_err();
    assert!(error.contains("SSL"), "{error}");
}

#[test]
fn alternative_names() {
    let folder = Folder::new();
    let authority = Authority::new("one for all");
    folder.write("ca.crt", &authority.pem());
    authority.issue(&folder, "server", &["localhost"]);
    let mut params = CertificateParams::new(vec!["irrelevant.test".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://shop/b/app".try_into().unwrap()));
    // What the common name says does not count here.
    params.distinguished_name.push(DnType::CommonName, "spiffe://shop/a/ops");
    authority.sign(&folder, "client", params);
    let listen = format!(
        "[listen.tls]\ncert = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_name = \"san\"\n\
         client_patterns = [\"spiffe://shop/{{tenant}}/{{login}}\"]",
        folder.at("server.crt"),
        folder.at("server.key"),
        folder.at("ca.crt")
    );
    let proxy = Setup { listen: &listen, tenancy: "identify = [\"certificate\"]", more: LOGINS }.start();
    let house = House { folder, proxy };
    assert_eq!(house.dial("client", "user=app dbname=shared").as_deref(), Ok("2"));
    refused(house.dial("client", "user=ops dbname=shared"), "certificate authentication failed");
}
