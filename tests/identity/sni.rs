//! Host names in the TLS handshake: certificates by name, and tenants by name.

use std::path::Path;
use std::sync::LazyLock;

use super::*;

struct House {
    folder: Folder,
    proxy: Proxy,
}

const LOGINS: &str = r#"
[[login]]
name = "app"
password = "app_pw"
tenants = ["a", "asleep"]
[[login]]
name = "both"
password = "both_pw"
tenants = ["a", "b"]
"#;

/// `a.db.test` has a certificate of its own, all others below `db.test` share one; the default is for another name.
static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let folder = Folder::new();
    let authority = Authority::new("the house's authority");
    folder.write("ca.crt", &authority.pem());
    authority.issue(&folder, "default", &["default.test"]);
    authority.issue(&folder, "a", &["a.db.test"]);
    authority.issue(&folder, "wild", &["*.db.test", "db.test"]);
    let pair = |name: &str| {
        format!("cert = \"{}\"\nkey = \"{}\"", folder.at(&format!("{name}.crt")), folder.at(&format!("{name}.key")))
    };
    let listen = format!(
        "[listen.tls]\n{}\n[[listen.tls.certificate]]\nnames = [\"a.db.test\"]\n{}\n\
         [[listen.tls.certificate]]\nnames = [\"*.db.test\", \"db.test\"]\n{}",
        pair("default"),
        pair("a"),
        pair("wild")
    );
    let tenancy = "identify = [\"sni\", \"user\", \"database\", \"option\"]\ndomain = \"db.test\"";
    let proxy = Setup { listen: &listen, tenancy, more: LOGINS }.start();
    House { folder, proxy }
});

/// psql by this host name, checking the certificate against it and binding SCRAM to the channel.
fn dial(host: &str, settings: &str) -> Answer {
    let root = HOUSE.folder.at("ca.crt");
    let settings = format!("host={host} sslmode=verify-full sslrootcert={root} channel_binding=require {settings}");
    psql(HOUSE.proxy.port, &settings, WHOSE)
}

const APP: &str = "user=app password=app_pw dbname=shared";
const BOTH: &str = "user=both password=both_pw dbname=shared";

#[test]
fn the_host_names_the_tenant() {
    assert_eq!(dial("a.db.test", BOTH).as_deref(), Ok("1"));
    assert_eq!(dial("b.db.test", BOTH).as_deref(), Ok("2"));
    assert_eq!(dial("A.DB.test", BOTH).as_deref(), Ok("1"));
    // The domain itself, and hosts that are none of it, name none.
    refused(dial("db.test", BOTH), "tenant context required");
    refused(dial("default.test", BOTH), "tenant context required");
    assert_eq!(dial("default.test", &BOTH.replace("user=both", "user=both@b")).as_deref(), Ok("2"));
}

#[test]
fn all_places_must_agree() {
    assert_eq!(dial("b.db.test", &BOTH.replace("user=both", "user=both@b")).as_deref(), Ok("2"));
    for other in ["user=both@b password=both_pw dbname=shared", "user=both password=both_pw dbname=b"] {
        let error = dial("a.db.test", other).unwrap_err();
        assert!(error.contains("name different tenants"), "{error}");
    }
    let option = format!("{BOTH} options='-c pgwarden.tenant=b'");
    refused(dial("a.db.test", &option), "name different tenants");
}

/// The host of one tenant with the login of another; unknown tenants give the same text, suspended ones of strangers too.
#[test]
fn a_host_gives_no_rights() {
    for tenant in ["b", "nobody", "x-y"] {
        let error = dial(&format!("{tenant}.db.test"), APP).unwrap_err();
        let expected = format!("login \"app\" may not act for tenant \"{tenant}\"");
        assert!(error.contains(&expected), "{error}");
    }
    refused(dial("asleep.db.test", APP), "is suspended");
    refused(dial("asleep.db.test", BOTH), "may not act for tenant \"asleep\"");
    // Before the password is right, nothing is said of tenants.
    let wrong = |host: &str| dial(host, "user=app password=wrong dbname=shared").unwrap_err().replace(host, "HOST");
    assert_eq!(wrong("a.db.test"), wrong("nobody.db.test"));
    assert!(wrong("b.db.test").contains("password authentication failed for user \"app\""));
}

/// psycopg has a libpq that begins with the handshake (sslnegotiation=direct) where it is new enough.
#[test]
fn direct_tls_names_the_tenant_too() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    let root = HOUSE.folder.at("ca.crt");
    let settings = format!(
        "host=b.db.test hostaddr=127.0.0.1 port={} sslmode=verify-full sslrootcert={root} sslnegotiation=direct {BOTH}",
        HOUSE.proxy.port
    );
    let script = "import psycopg, sys\nassert psycopg.pq.version() >= 170000\n\
                  print(psycopg.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])";
    let output = Command::new(python).args(["-B", "-c", script, &settings, WHOSE]).output().expect("python");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n", "{}", String::from_utf8_lossy(&output.stderr));
}
