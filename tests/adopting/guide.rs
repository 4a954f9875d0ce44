//! The commands of docs/guides/adopting.md, one after another, on examples/saas.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgwarden::test_cluster::Cluster;
use regex::Regex;

use crate::support::lab::Lab;
use crate::support::proxy::{free_port, program};

/// A block of commands, and lines that it must print.
struct Step {
    commands: String,
    says: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let block = Regex::new(r"(?ms)^```(sh|text)\n(.*?)^```").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for found in block.captures_iter(page) {
        match &found[1] {
            "sh" => steps.push(Step { commands: found[2].to_owned(), says: Vec::new() }),
            _ => steps.last_mut().unwrap().says.extend(found[2].lines().map(str::to_owned)),
        }
    }
    steps
}

/// A line of the page, where `...` stands for anything.
fn is_said(line: &str, mut printed: &str) -> bool {
    line.split("...").map(str::trim).all(|part| match printed.split_once(part) {
        Some((_, rest)) => {
            printed = rest;
            true
        }
        None => false,
    })
}

/// The page's commands as one script; the output of each step is followed by its number.
fn script(steps: &[Step], postgres: u16, port: u16) -> String {
    let mut script = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for (at, step) in steps.iter().enumerate() {
        script.push_str(&format!("{}echo '=== {at}'\n", step.commands));
    }
    script
        .replace(
            "postgres://postgres@127.0.0.1:5432",
            &format!("postgres://{}@127.0.0.1:{postgres}", Cluster::SUPERUSER),
        )
        .replace("127.0.0.1:5432", &format!("127.0.0.1:{postgres}"))
        .replace("127.0.0.1:6432", &format!("127.0.0.1:{port}"))
        .replace("pgwarden init ", &format!("pgwarden init --listen 127.0.0.1:{port} "))
}

/// Runs it; what it printed. Ends it, and what it started, if it takes too long.
fn run(script: &str, directory: &Path) -> (bool, String) {
    let bin = directory.join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(program(), bin.join("pgwarden")).unwrap();
    fs::write(directory.join("script"), script).unwrap();
    let out = fs::File::create(directory.join("out")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut child = Command::new("bash")
        .arg("script")
        .current_dir(directory)
        .env("PATH", path)
        .env("PGPASSWORD", Lab::general().cluster.password())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(out.try_clone().unwrap())
        .stdout(out)
        .process_group(0)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.is_none() {
        Command::new("kill").arg("--").arg(format!("-{}", child.id())).status().unwrap();
        child.wait().unwrap();
    }
    let printed = fs::read_to_string(directory.join("out")).unwrap();
    (status.is_some_and(|it| it.success()), printed)
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let steps = steps(&fs::read_to_string(root.join("docs/guides/adopting.md")).unwrap());
    let says: usize = steps.iter().map(|step| step.says.len()).sum();
    assert!(steps.len() >= 12 && says >= 10, "{} {says}", steps.len());
    let directory = tempfile::tempdir().unwrap();
    for file in fs::read_dir(root.join("examples/saas")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    let (done, printed) = run(&script(&steps, Lab::general().cluster.port(), free_port()), directory.path());
    let log = fs::read_to_string(directory.path().join("pgwarden.log")).unwrap_or_default();
    assert!(done, "{printed}\n{log}");
    let mut rest = printed.as_str();
    for (at, step) in steps.iter().enumerate() {
        let (this, after) = rest.split_once(&format!("=== {at}\n")).unwrap();
        for line in &step.says {
            assert!(this.lines().any(|it| is_said(line, it)), "no {line:?} from\n{}\nbut\n{this}", step.commands);
        }
        rest = after;
    }
}
