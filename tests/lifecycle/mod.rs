//! The life of a tenant: made, shown, suspended, migrated, copied out and in, deleted, on a real Postgres.

mod create;
mod delete;
mod export;
mod gate;
mod migrate;
mod moving;
mod questions;
mod show;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::lab::{Lab, block_on};
use crate::support::proxy::{Proxy, Setup, program};
use crate::support::session::{Endpoint, Session};

/// The role of `[upstream.*.admin]`: it makes databases and roles, and is no superuser. It may act as those who own the tables.
const ADMIN: &str = "DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'warden_admin') THEN
      CREATE ROLE warden_admin LOGIN PASSWORD 'warden_admin_pw' CREATEDB CREATEROLE;
      GRANT app_owner, spt_pool TO warden_admin;
      IF current_setting('server_version_num')::int >= 160000 THEN
        GRANT app_owner, spt_pool TO warden_admin WITH ADMIN OPTION;
      END IF;
    END IF;
  END $$";

/// The cluster, with that role in it.
fn lab() -> &'static Lab {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| Lab::general().run("postgres", ADMIN));
    Lab::general()
}

const SOURCE: &str = r#"
[tenants_from]
table = "public.pgwarden_tenants"
interval = "1s"
[[login]]
name = "all"
password = "all_pw"
tenants = "*"
"#;

/// A configuration file with a database of its own behind it, and pgwarden's tables in that.
struct Stage {
    database: String,
    directory: tempfile::TempDir,
    text: String,
    port: u16,
}

impl Stage {
    fn new(database: &str) -> Self {
        let stage = Self::without_tables(database, SOURCE);
        stage.ok(&["init"]);
        stage
    }

    /// With these lines at the end of the configuration.
    fn without_tables(database: &str, more: &str) -> Self {
        let lab = lab();
        lab.copy_of_shop(database);
        // A database's owner makes what it likes in it; who acts as the owner too.
        lab.run(
            database,
            &format!(
                "GRANT CREATE ON SCHEMA public TO warden_admin; GRANT CREATE ON DATABASE {database} TO warden_admin"
            ),
        );
        let port = crate::support::proxy::free_port();
        let admin = "admin = { user = \"warden_admin\", password = \"warden_admin_pw\" }";
        let setup = Setup {
            database: database.to_owned(),
            upstream: admin.to_owned(),
            more: more.to_owned(),
            ..Setup::default()
        };
        let stage = Self {
            database: database.to_owned(),
            directory: tempfile::tempdir().unwrap(),
            text: setup.text(lab, port),
            port,
        };
        stage.write(&stage.text);
        stage
    }

    fn write(&self, text: &str) {
        std::fs::write(self.directory.path().join("pgwarden.toml"), text).unwrap();
    }

    fn proxy(&self) -> Proxy {
        Proxy::launch(&self.text, self.port)
    }

    /// `pgwarden tenant`
    fn tenant(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("pgwarden")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.pgwarden("tenant", arguments)
    }

    /// A subcommand.
    fn pgwarden(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg(subcommand).arg("--config").arg(self.directory.path().join("pgwarden.toml")).args(arguments);
        command.env_remove("RUST_LOG").env("USER", "the_tester").env_remove("SUDO_USER");
        command
    }

    /// It goes well; what is printed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.tenant(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Json {
        let printed = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// It does not go well, and what is said has all these parts.
    #[track_caller]
    fn refused(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.tenant(arguments);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part:?} is not in\n{said}");
        }
    }

    /// Past pgwarden, as superuser.
    fn superuser(&self) -> Session {
        lab().superuser(&self.database)
    }

    #[track_caller]
    fn value(&self, sql: &str) -> String {
        self.superuser().simple(sql).ok().value()
    }

    /// A tenant's login.
    fn login(&self, tenant: &str) -> Endpoint {
        Endpoint::new(self.port, &format!("all@{tenant}"), "all_pw", "x")
    }

    /// Connects as soon as the proxy has heard of the tenant.
    #[track_caller]
    fn soon(&self, tenant: &str) -> Session {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let endpoint = Endpoint { database: tenant.to_owned(), ..self.login(tenant) };
            let (session, reply) = endpoint.try_connect();
            if reply.errors.is_empty() {
                return session;
            }
            assert!(Instant::now() < end, "{}", reply.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

/// A role or database of the cluster is there.
fn exists(catalog: &str, column: &str, name: &str) -> bool {
    let mut superuser = lab().superuser("postgres");
    superuser.simple(format!("SELECT count(*) FROM {catalog} WHERE {column} = '{name}'").as_str()).ok().value() != "0"
}

/// What a statement prints, past pgwarden.
fn rows(database: &str, sql: &str) -> Vec<String> {
    block_on(async {
        let client = lab().cluster.connect(database).await.unwrap();
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
    })
}
