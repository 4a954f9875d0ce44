//! pgwarden as a process.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::lab::Lab;
use super::session::Endpoint;

/// The program under test: the one just built, or what `PGWARDEN_TEST_PROGRAM` names (a release build, another version).
pub fn program() -> OsString {
    std::env::var_os("PGWARDEN_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgwarden").into())
}

/// What of the fixture's configuration a test wants otherwise.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The database of the shared layout.
    pub database: String,
    /// `[upstream.main] pool`
    pub pool: String,
    /// Further lines of `[listen]`.
    pub listen: String,
    /// Further lines of `[upstream.main]`.
    pub upstream: String,
    /// Further lines of `[tenancy]`.
    pub tenancy: String,
    /// Further lines of `[tenancy.tables]`.
    pub tables: String,
    /// Further lines of tenant a.
    pub tenant_a: String,
    /// Further tables at the end.
    pub more: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            database: "shared".to_owned(),
            pool: r#"{ mode = "transaction", size = 10 }"#.to_owned(),
            listen: String::new(),
            upstream: String::new(),
            tenancy: String::new(),
            tables: String::new(),
            tenant_a: String::new(),
            more: String::new(),
        }
    }
}

impl Setup {
    /// The configuration of the fixture: `tests/fixture/pgwarden.toml` with its places filled in.
    pub fn text(&self, lab: &Lab, port: u16) -> String {
        let postgres = lab.cluster.port().to_string();
        let mut text = super::lab::read("fixture/pgwarden.toml");
        for (place, value) in [
            ("{port}", port.to_string().as_str()),
            ("{postgres}", &postgres),
            ("{database}", &self.database),
            ("{pool}", &self.pool),
            ("# {listen}", &self.listen),
            ("# {upstream}", &self.upstream),
            ("# {tenancy}", &self.tenancy),
            ("# {tables}", &self.tables),
            ("# {tenant_a}", &self.tenant_a),
            ("# {more}", &self.more),
        ] {
            text = text.replace(place, value);
        }
        text
    }
}

impl Setup {
    /// The fixture's configuration with an enforcement mode, on this database.
    pub fn enforcing(mode: &str, database: &str) -> Self {
        Self { database: database.to_owned(), upstream: format!("enforcement = \"{mode}\""), ..Self::default() }
    }
}

/// Runs a subcommand of pgwarden on a configuration: whether it succeeded, and what it said on both outputs.
pub fn tool(lab: &Lab, setup: &Setup, arguments: &[&str]) -> (bool, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    fs::write(&path, setup.text(lab, free_port())).unwrap();
    let output =
        Command::new(program()).args(arguments).arg("--config").arg(&path).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Puts the policies on a database that `pgwarden rls generate` prints for it.
#[track_caller]
pub fn police(lab: &Lab, database: &str) {
    let setup = Setup { database: database.to_owned(), ..Setup::default() };
    let (done, ddl, error) = tool(lab, &setup, &["rls", "generate"]);
    assert!(done, "{error}");
    lab.run(database, &ddl);
}

/// A running pgwarden. It ends with this value, or with the process.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    database: String,
    directory: tempfile::TempDir,
    child: Child,
    _reaper: Child,
}

impl Proxy {
    /// Starts pgwarden in front of a lab and waits until it accepts connections.
    #[track_caller]
    pub fn start(lab: &Lab, setup: &Setup) -> Self {
        let port = free_port();
        let mut proxy = Self::launch(&setup.text(lab, port), port);
        proxy.database.clone_from(&setup.database);
        proxy
    }

    /// Starts pgwarden with any configuration that listens on this port.
    #[track_caller]
    pub fn launch(config: &str, port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgwarden.toml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut child = Command::new(program())
            .args(["serve", "--config"])
            .arg(&path)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("pgwarden starts");
        let reaper = reaper(child.id());
        let deadline = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                panic!("pgwarden does not listen ({ended:?}):\n{log}\n{config}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port, database: "shared".to_owned(), directory, child, _reaper: reaper }
    }

    /// A login of the fixture.
    pub fn login(&self, name: &str) -> Endpoint {
        let database = match name {
            "schema_a" | "schema_b" => "schemas",
            "database_a" => "db_tenant_a",
            "database_b" => "db_tenant_b",
            _ => &self.database,
        };
        Endpoint::new(self.port, name, &format!("{name}_pw"), database)
    }

    /// Tenant A of the shared layout.
    pub fn a(&self) -> Endpoint {
        self.login("tenant_a")
    }

    /// Tenant B of the shared layout.
    pub fn b(&self) -> Endpoint {
        self.login("tenant_b")
    }

    /// Its configuration file.
    pub fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("pgwarden.toml")
    }

    /// Changes its configuration file, and tells it to read it again: SIGHUP. Returns when it has.
    #[track_caller]
    pub fn reload(&self, change: impl FnOnce(String) -> String) {
        let path = self.config();
        let text = change(fs::read_to_string(&path).unwrap());
        fs::write(&path, text).unwrap();
        let before = self.reloads();
        self.signal("HUP");
        self.wait_for("an end of the reload", |proxy| proxy.reloads() > before);
    }

    fn reloads(&self) -> usize {
        let log = self.log();
        log.matches("configuration reloaded").count() + log.matches("configuration not reloaded").count()
    }

    /// Sends its process a signal.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "no {what} in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None if Instant::now() > deadline => return None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Its process is there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which something else brings about.
    #[track_caller]
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "pgwarden does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(Path::new("/proc").join(self.child.id().to_string()).join("status"));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reaper's work is done; its pipe closes with it.
        let _ = self._reaper.kill();
        let _ = self._reaper.wait();
        if std::thread::panicking() {
            eprintln!("pgwarden's log ends:\n{}", tail(&self.log(), 30));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Tests keep proxies in statics, which are never dropped: a shell ends the process when ours has gone.
fn reaper(pid: u32) -> Child {
    Command::new("/bin/sh")
        .args(["-c", "read -r line; kill -9 \"$1\" 2>/dev/null", "reaper", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell")
}

/// A proxy for the whole process in front of a database of its own: for one concern's tests, which run in parallel.
#[derive(Debug)]
pub struct Shared {
    database: &'static str,
    cell: OnceLock<Proxy>,
}

impl Shared {
    pub const fn over(database: &'static str) -> Self {
        Self { database, cell: OnceLock::new() }
    }

    /// Starts it the first time.
    pub fn get(&self) -> &Proxy {
        self.cell.get_or_init(|| {
            let lab = Lab::general();
            lab.copy_of_shop(self.database);
            Proxy::start(lab, &Setup { database: self.database.to_owned(), ..Setup::default() })
        })
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
