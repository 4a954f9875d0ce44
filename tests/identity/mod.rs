//! Who a client is: host names, certificates, tokens, stored passwords, addresses, failed tries.

mod certificates;
mod guessing;
pub mod papers;
mod query;
mod rsa;
mod sni;
mod swap;
mod tokens;

use std::process::Command;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port};
use papers::{Authority, Folder};

/// Tenants `a` and `b` in the shared layout, and `asleep`; more of each section as given.
#[derive(Default)]
struct Setup<'a> {
    listen: &'a str,
    tenancy: &'a str,
    more: &'a str,
}

impl Setup<'_> {
    fn start(&self) -> Proxy {
        let port = free_port();
        let postgres = Lab::general().cluster.port();
        let Setup { listen, tenancy, more } = self;
        let text = format!(
            r#"
[listen]
address = "127.0.0.1:{port}"
{listen}
[upstream.main]
url = "postgres://app_owner@127.0.0.1:{postgres}/shared"
password = "app_owner_pw"
[tenancy]
upstream = "main"
{tenancy}
[tenancy.tables]
"public.invoices" = {{ column = "org_id", key = "uuid" }}
"public.events" = {{ column = "account", key = "account" }}
"public.tickets" = {{ column = "tenant", key = "account" }}
"public.User" = {{ column = "tenantId" }}
[[tenant]]
name = "a"
key = 1
keys = {{ uuid = "00000000-0000-4000-8000-00000000000a", account = "acme" }}
[[tenant]]
name = "b"
key = 2
keys = {{ uuid = "bbbbbbbb-0000-4000-8000-00000000000b", account = "bravo" }}
[[tenant]]
name = "asleep"
key = 3
keys = {{ uuid = "cccccccc-0000-4000-8000-00000000000c", account = "charlie" }}
suspended = true
{more}
"#
        );
        Proxy::launch(&text, port)
    }
}

/// What a client got: the answer, or the error.
type Answer = Result<String, String>;

/// Tells whose customers are seen: `1` for tenant a, `2` for b.
const WHOSE: &str = "SELECT string_agg(DISTINCT tenant_id::text, ',') FROM customers";

/// psql, with a connection string of these settings.
fn psql(port: u16, settings: &str, sql: &str) -> Answer {
    let output = Command::new("psql")
        .args(["-XAtw", "-c", sql])
        .arg(format!("hostaddr=127.0.0.1 port={port} {settings}"))
        .env("PGSSLCERT", "/nonexistent")
        .env("PGSSLKEY", "/nonexistent")
        .output()
        .expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A run of psql that must be refused with this in its words.
#[track_caller]
fn refused(answer: Answer, part: &str) {
    let error = answer.expect_err("it was let in");
    assert!(error.contains(part), "{part:?} is not in {error}");
}

/// The files that `config/identity.toml` names.
pub fn beside_the_example() -> Folder {
    let folder = Folder::new();
    let authority = Authority::new("an example");
    folder.write("clients-ca.crt", &authority.pem());
    authority.issue(&folder, "server", &["pgwarden.example.com"]);
    authority.issue(&folder, "wildcard", &["*.db.example.com", "db.example.com"]);
    authority.issue(&folder, "acme", &["acme.db.example.com"]);
    folder.write("issuer.pem", &tokens::Issuer::new().pem());
    folder
}
