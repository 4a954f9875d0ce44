//! Running it: reload, the console, stopping, tenants that come and go.

use std::process::Command;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Endpoint;

mod console;
mod drain;
mod observed;
mod refusals;
mod registry;
mod reload;

/// A login for the console.
pub const CONSOLE: &str = "\n[[login]]\nname = \"boss\"\npassword = \"boss_pw\"\nrole = \"admin\"\n";

/// A proxy with a console in front of a database of its own.
fn proxy(database: &'static str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let setup = Setup { database: database.to_owned(), more: CONSOLE.to_owned(), ..Setup::default() };
    Proxy::start(lab, &setup)
}

pub fn console(proxy: &Proxy) -> Endpoint {
    Endpoint::new(proxy.port, "boss", "boss_pw", "pgwarden")
}

/// psql's answer to one command: whether it succeeded, and what it printed, rows as `a|b`.
pub fn psql(url: &str, command: &str) -> (bool, String) {
    let output = Command::new("psql").args(["-X", "-A", "-t", "-c", command, url]).output().expect("psql");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}
