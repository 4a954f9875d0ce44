//! Finding out beforehand what pgwarden makes of a database and of an app: `check --connect`, `assess`, and the other tools
//! for tenants that stand in a table or are made by a pattern.

mod adopted;
mod assess;
mod explain;
mod guide;
mod import;
mod init;
mod road;
mod tenants;
mod views;

use std::fs;
use std::process::{Command, Output, Stdio};

use pgwarden::test_cluster::Cluster;

use crate::support::lab::Lab;
use crate::support::proxy::program;

/// A directory with a configuration, and pgwarden's tools on it.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// The upstream is a database of the lab, with the superuser's eyes; `more` is the rest of the configuration.
    fn new(database: &str, more: &str) -> Self {
        Self::on(&Lab::general().cluster, database, more)
    }

    /// The same, with another cluster.
    fn on(cluster: &Cluster, database: &str, more: &str) -> Self {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:6432\"\n[upstream.main]\nurl = \"postgres://{}@127.0.0.1:{}/{database}\"\npassword = \"{}\"\n{more}",
            Cluster::SUPERUSER,
            cluster.port(),
            cluster.password(),
        );
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        bench.write("pgwarden.toml", &text);
        bench
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        self.write("input", input);
        let output = Command::new(program())
            .args(arguments)
            .args(["--config", &self.path("pgwarden.toml")])
            .env_remove("RUST_LOG")
            .stdin(Stdio::from(fs::File::open(self.path("input")).unwrap()))
            .output()
            .unwrap();
        Ran::of(&output)
    }
}

/// What a tool said.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn says(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "no {word:?} in {self:#?}");
        }
        self
    }
}
