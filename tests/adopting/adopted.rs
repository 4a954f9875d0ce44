//! Databases that `pgwarden init` looks at, and what it wrote for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgwarden::test_cluster::Cluster;

use super::Ran;
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port, program};
use crate::support::session::{Endpoint, Session};

/// A database with an owner of its own, and the directory that `init` writes to.
pub struct Adopted {
    database: &'static str,
    directory: tempfile::TempDir,
    port: u16,
}

impl Adopted {
    pub fn new(database: &'static str, schema: &str) -> Self {
        let lab = Lab::general();
        lab.create(database, None);
        let owner = format!("{database}_owner");
        lab.run(
            database,
            &format!("CREATE ROLE {owner}; ALTER SCHEMA public OWNER TO {owner}; SET ROLE {owner}; {schema}"),
        );
        lab.run(database, "ANALYZE");
        Self { database, directory: tempfile::tempdir().unwrap(), port: free_port() }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn url(&self) -> String {
        format!("postgres://{}@127.0.0.1:{}/{}", Cluster::SUPERUSER, Lab::general().cluster.port(), self.database)
    }

    pub fn pgwarden(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(program())
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PGPASSWORD", Lab::general().cluster.password())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran::of(&output)
    }

    pub fn init(&self, more: &[&str]) -> Ran {
        let (url, listen) = (self.url(), format!("127.0.0.1:{}", self.port));
        self.pgwarden(&[&["init", "--url", &url, "--listen", &listen][..], more].concat())
    }

    /// Writes the files, makes the roles, and has the configuration checked: what it warns of.
    #[track_caller]
    pub fn adopt(&self) -> Vec<String> {
        self.init(&[]).says(0, &["written: pgwarden.toml"]);
        Lab::general().run(self.database, &self.text("pgwarden.sql"));
        let ran = self.pgwarden(&["check", "--connect"]);
        ran.says(0, &["pgwarden.toml: ok"]);
        ran.err.lines().map(str::to_owned).collect()
    }

    /// pgwarden with the configuration as it was written.
    pub fn serve(&self) -> Proxy {
        self.serve_as(&self.text("pgwarden.toml"))
    }

    /// With another one.
    pub fn serve_as(&self, config: &str) -> Proxy {
        let here = format!("password_file = \"{}/", self.directory.path().display());
        let proxy = Proxy::launch(&config.replace("password_file = \"", &here), self.port);
        proxy.wait_for("tenants", |it| it.log().contains("tenants read from their table"));
        proxy
    }

    /// A login, by the URL that stands in the file.
    pub fn login(&self, variable: &str, database: Option<&str>) -> Session {
        self.endpoint(variable, database).connect()
    }

    pub fn endpoint(&self, variable: &str, database: Option<&str>) -> Endpoint {
        let text = self.text("pgwarden.logins");
        let line = text.lines().find_map(|it| it.strip_prefix(&format!("{variable}="))).unwrap();
        let (user, rest) = line.strip_prefix("postgres://").unwrap().split_once(':').unwrap();
        let (password, rest) = rest.split_once('@').unwrap();
        let (address, own) = rest.split_once('/').unwrap();
        assert_eq!(address, format!("127.0.0.1:{}", self.port));
        Endpoint::new(self.port, user, password, database.unwrap_or(own))
    }

    pub fn tenant(&self, name: &str) -> Session {
        self.login("DATABASE_URL", Some(name))
    }

    pub fn operator(&self) -> Session {
        self.login("MIGRATIONS_DATABASE_URL", None)
    }
}
