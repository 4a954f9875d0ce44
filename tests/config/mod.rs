//! The command line: `check`, `hash-password`, `explain`, `demo`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::lab::{Lab, read};
use crate::support::proxy::{Proxy, Setup, program};
use crate::support::session::Endpoint;

fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).env_remove("RUST_LOG").output().expect("pgwarden")
}

fn texts(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

/// `pgwarden check` on a text; whether it was accepted, and what it said.
fn check(text: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    fs::write(&path, text).unwrap();
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    (output.status.success(), texts(&output))
}

#[test]
fn examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = crate::identity::beside_the_example();
    let mut count = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            count += 1;
            let copy = files.path(path.file_name().unwrap().to_str().unwrap());
            fs::copy(&path, &copy).unwrap();
            let path = copy;
            let output = run(&["check", "--config", path.to_str().unwrap()]);
            assert!(output.status.success(), "{}:\n{}", path.display(), texts(&output));
        }
    }
    assert!(count >= 3);
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/pgwarden.toml");
    let output = Command::new(program())
        .args(["check", "--config", packaged.to_str().unwrap()])
        .env("SHOP_APP_PASSWORD", "x")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", texts(&output));
}

#[test]
fn all_errors_come_at_once_with_their_lines() {
    let text = r#"[listen]
address = "not an address"
[upstream.main]
url = "mysql://x"
colour = "red"
[tenancy]
upstream = "mian"
[[login]]
name = "app"
password = "x"
tenants = ["nonesuch"]
[[tenant]]
name = "acme"
key = 1
key = 1
"#;
    let (accepted, said) = check(text);
    assert!(!accepted);
    assert!(said.contains("pgwarden.toml:"), "{said}");
    // TOML's own error first: there is no tree to read further in.
    assert!(said.contains(":15:"), "{said}");
    let (accepted, said) = check(&text.replace("key = 1\nkey = 1\n", "key = 1\n"));
    assert!(!accepted);
    for place in [":2:", ":4:", ":5:", ":7:", ":11:"] {
        assert!(said.contains(place), "no error at {place}\n{said}");
    }
    for word in ["colour", "mian", "nonesuch"] {
        assert!(said.contains(word), "{word} is not named\n{said}");
    }
}

#[test]
fn a_missing_file_is_said() {
    let output = run(&["check", "--config", "/nonexistent/pgwarden.toml"]);
    assert!(!output.status.success());
    assert!(texts(&output).contains("/nonexistent/pgwarden.toml"), "{}", texts(&output));
    assert!(!run(&["serve", "--config", "/nonexistent/pgwarden.toml"]).status.success());
}

#[test]
fn a_hashed_password_lets_its_owner_in() {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(program())
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("pa ss wörd\n".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let verifier = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(verifier.starts_with("SCRAM-SHA-256$"), "{verifier}");
    let more = format!("\n[[login]]\nname = \"hashed\"\npassword = '{verifier}'\ntenants = [\"a\"]\n");
    let proxy = Proxy::start(Lab::general(), &Setup { more, ..Setup::default() });
    let end = Endpoint { password: "pa ss wörd".to_owned(), ..proxy.login("hashed") };
    end.connect().simple("SELECT 1").ok();
    let (_, reply) = Endpoint { password: "pa ss word".to_owned(), ..end }.try_connect();
    reply.refused("28P01");
}

#[test]
fn explain_shows_the_verdict_and_the_final_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let postgres = Lab::general().cluster.port().to_string();
    let text = read("fixture/pgwarden.toml")
        .replace("{port}", "6432")
        .replace("{postgres}", &postgres)
        .replace("{database}", "shared")
        .replace("{pool}", "{ size = 2 }");
    fs::write(&path, text).unwrap();
    let explain = |sql: &str| texts(&run(&["explain", "--config", path.to_str().unwrap(), "--tenant", "a", sql]));
    let said = explain("SELECT * FROM orders WHERE status = 'open'");
    assert!(said.contains("tenant_id") && said.contains("orders"), "{said}");
    let said = explain("SELECT pg_read_file('/etc/passwd')");
    assert!(said.contains("42501") && said.contains("pg_read_file"), "{said}");
    let said = explain("SELECT 1");
    assert!(said.contains("SELECT 1"), "{said}");
}

/// Whoever reads what is printed may leave early, as `head -1` does.
#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let [path, password] = ["pgwarden.toml", "password"].map(|it| directory.path().join(it));
    fs::write(&path, Setup::default().text(Lab::general(), 6432)).unwrap();
    fs::write(&password, "secret\n").unwrap();
    let configured = [
        &["check"][..],
        &["check", "--connect"],
        &["explain", "--tenant", "a", "SELECT * FROM orders"],
        &["doctor", "--fail-on", "never"],
        &["rls", "generate"],
        &["rls", "check"],
    ];
    let configured = configured.map(|it| [it, &["--config", path.to_str().unwrap()]].concat());
    let others = [vec!["hash-password"], vec!["ddl-trigger"], vec!["completions", "bash"], vec!["man"]];
    for arguments in configured.into_iter().chain(others) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let input = fs::File::open(&password).unwrap();
        let output = Command::new(program()).args(&arguments).stdin(input).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

/// The tour shows what it says, and leaves nothing behind.
#[test]
fn the_demo_goes_as_it_should() {
    let output = run(&["demo", "--once", "--port", &crate::support::proxy::free_port().to_string()]);
    let said = texts(&output);
    assert!(output.status.success(), "{said}");
    for text in ["anvil", "secret volcano lair", "42501", "red stapler", "raincoat"] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
    // The lair is globex's: acme sees two open orders of its own.
    let (acme, globex) = said.split_once("globex=>").unwrap();
    assert!(acme.contains("giant magnet") && !acme.contains("volcano lair"), "{said}");
    assert!(globex.contains("volcano lair"));
}
