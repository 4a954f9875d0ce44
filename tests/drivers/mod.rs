//! Real clients in front of the shared layout. Each runs a script of its own; what it must find is in the script.

mod psql;
mod rust;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

use crate::support::lab::file;
use crate::support::proxy::Shared;
use crate::support::session::Endpoint;

static PROXY: Shared = Shared::over("drivers");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Drivers lie in `.cache/`; they are installed if `make` has not done so.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = Command::new(root().join("scripts/setup")).arg("drivers").status().expect("scripts/setup");
        assert!(status.success(), "scripts/setup drivers failed");
    });
}

/// The URLs by which the scripts connect: tenants A and B, and the operator.
fn run(mut command: Command) {
    install();
    let proxy = PROXY.get();
    let output = command
        .env("DATABASE_URL", proxy.a().url())
        .env("DATABASE_URL_B", proxy.b().url())
        .env("DATABASE_URL_JOBS", Endpoint::new(proxy.port, "jobs", "jobs_pw", "drivers").url())
        .env("DATABASE_URL_OPERATOR", proxy.login("operator").url())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}", texts(&output));
    assert!(texts(&output).contains("all good"), "{}", texts(&output));
}

fn texts(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

fn python(script: &str) {
    let mut command = Command::new(root().join(".cache/venv/bin/python"));
    command.arg("-B").arg(script_path("python", script));
    run(command);
}

fn script_path(folder: &str, script: &str) -> PathBuf {
    file("drivers").join(folder).join(script)
}

#[test]
fn psycopg() {
    python("psycopg_test.py");
}

#[test]
fn psycopg_for_all_tenants() {
    python("switching_test.py");
}

#[test]
fn asyncpg() {
    python("asyncpg_test.py");
}

#[test]
fn sqlalchemy() {
    python("sqlalchemy_test.py");
}

#[test]
fn django() {
    python("django_test.py");
}

#[test]
fn node_postgres() {
    let mut command = Command::new("node");
    command.arg(script_path("node", "pg_test.js")).env("NODE_PATH", root().join(".cache/node/node_modules"));
    run(command);
}
