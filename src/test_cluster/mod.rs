//! Throwaway Postgres clusters for the demo and the tests: made with `initdb` in a temporary directory, on a free port of
//! 127.0.0.1, gone with the process that started them.
//!
//! Postgres refuses to run as root, so a process of root starts it as an unprivileged user. A cluster is removed when
//! it is dropped, and, should the process be killed or leave it in a static, by a small shell that waits for the end
//! of the process.

mod binaries;
mod guardian;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::base::hex;
use crate::sql::quote_identifier;
pub use binaries::{Binaries, NobodyToRunAs, Unprivileged};
use guardian::Guardian;

/// How long a fresh cluster may take until it accepts connections. A loaded machine needs seconds, a broken one never ends.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Another process may take the free port between our look and Postgres's bind.
const PORT_ATTEMPTS: usize = 5;
/// `sun_path` holds 108 bytes with its NUL on Linux, 104 on macOS; the socket's own name takes 15 of them.
const MAX_SOCKET_DIR: usize = 85;

/// Why no cluster could be started.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No `initdb` and `postgres` on this machine.
    #[error(
        "no Postgres server binaries found (looked at PGWARDEN_PG_BIN, /usr/lib/postgresql/*/bin and PATH): \
         install the package `postgresql`, or run `make setup`"
    )]
    NoBinaries,
    /// Root has nobody to run Postgres as.
    #[error(
        "running as root, and neither the user `postgres` nor `nobody` is in /etc/passwd: Postgres refuses to run as root"
    )]
    NoUser,
    /// A file or a process could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// `initdb` or `postgres` ran and failed.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// The program.
        what: &'static str,
        /// What it printed.
        output: String,
    },
    /// A statement of the set-up failed.
    #[error("SQL: {0}")]
    Sql(String),
}

/// Names the step in which an I/O error happened.
fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::Io { what, source }
}

/// What a cluster may differ in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further settings for `postgresql.conf`, as `(name, value)`; the value is quoted here.
    pub settings: Vec<(String, String)>,
    /// Lines put before the default `pg_hba.conf` (SCRAM over TCP, trust on the private socket).
    pub hba: Vec<String>,
    /// Certificate chain and key in PEM: the server then speaks TLS.
    pub tls: Option<(String, String)>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    password: String,
    dir: PathBuf,
    server: Child,
    // After `server`: its end makes the shell stop what is left.
    guardian: Guardian,
}

impl Cluster {
    /// The name of the superuser.
    pub const SUPERUSER: &'static str = "postgres";

    /// Makes and starts a cluster; returns when it accepts connections (about one second). Blocks.
    ///
    /// # Errors
    /// No binaries, no unprivileged user, no disk, or what `initdb` or `postgres` printed.
    pub fn start(options: &Options) -> Result<Self, ClusterError> {
        let binaries = Binaries::find().ok_or(ClusterError::NoBinaries)?;
        let user = Unprivileged::for_this_process().map_err(|_| ClusterError::NoUser)?;
        let dir = make_directory(user.as_ref())?;
        // From here on the shell removes the directory, however this process ends.
        let guardian = Guardian::watch(&dir).map_err(io_error("starting the clean-up shell"))?;
        let password = random_word();
        init(&binaries, user.as_ref(), &dir, &password)?;
        write_hba(&dir, options)?;
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port().map_err(io_error("looking for a free port"))?;
            write_settings(&dir, port, options, user.as_ref())?;
            match launch(&binaries, user.as_ref(), &dir) {
                Ok(server) => {
                    return Ok(Self { port, password, dir, server, guardian });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ClusterError::NoBinaries))
    }

    /// One cluster for the whole process, with default options. It lives until the process ends.
    ///
    /// # Errors
    /// As [`Cluster::start`], the first time; the text of that error later.
    pub fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Cluster::start(&Options::default()).map_err(|error| error.to_string()))
            .as_ref()
            .map_err(String::as_str)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The directory with the data, the sockets (`sockets`) and the log (`log`).
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// A URL of the superuser for a database.
    pub fn url(&self, database: &str) -> String {
        let Self { port, password, .. } = self;
        format!("postgres://{}:{password}@127.0.0.1:{port}/{database}", Self::SUPERUSER)
    }

    /// A connection of the superuser to a database; its I/O runs in a task of the current tokio runtime.
    ///
    /// # Errors
    /// The server's error.
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, ClusterError> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), tokio_postgres::NoTls)
            .await
            .map_err(|error| sql_error(&error))?;
        // An error of the connection shows in the client's next call.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Runs a script of any number of statements as superuser in a database.
    ///
    /// # Errors
    /// The first error of the script.
    pub async fn run(&self, database: &str, script: &str) -> Result<(), ClusterError> {
        let client = self.connect(database).await?;
        client.batch_execute(script).await.map_err(|error| sql_error(&error))
    }

    /// Creates a database, as a copy of `template` when one is named.
    ///
    /// # Errors
    /// The server's error: the name exists, the template is in use.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<(), ClusterError> {
        let template = template.map_or_else(String::new, |it| format!(" TEMPLATE {}", quote_identifier(it)));
        self.run("postgres", &format!("CREATE DATABASE {}{template}", quote_identifier(name))).await
    }

    /// Stops the server at once, as `kill -9` of every process would: connections break.
    pub fn kill(&mut self) {
        self.guardian.stop_server(&mut self.server);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        self.guardian.finish();
    }
}

/// tokio-postgres's own text says only "db error": the server's message is its source.
fn sql_error(error: &tokio_postgres::Error) -> ClusterError {
    ClusterError::Sql(match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    })
}

fn random_word() -> String {
    let bytes: [u8; 12] = rand::random();
    hex(&bytes)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A private directory that belongs to the user who will run Postgres.
fn make_directory(user: Option<&Unprivileged>) -> Result<PathBuf, ClusterError> {
    let name = format!("pgwarden-{}", random_word());
    let mut dir = std::env::temp_dir().join(&name);
    if dir.as_os_str().len() > MAX_SOCKET_DIR {
        dir = Path::new("/tmp").join(&name);
    }
    for dir in [&dir, &dir.join("sockets")] {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .and_then(|()| give(dir, user))
            .map_err(io_error(format!("making {}", dir.display())))?;
    }
    Ok(dir)
}

fn give(path: &Path, user: Option<&Unprivileged>) -> io::Result<()> {
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// A command of Postgres's, run as the unprivileged user, from a directory that this user may read.
fn command(program: PathBuf, user: Option<&Unprivileged>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    // What PGDATA, PGPORT and the like of the caller say is not meant for this cluster.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn init(binaries: &Binaries, user: Option<&Unprivileged>, dir: &Path, password: &str) -> Result<(), ClusterError> {
    let password_file = dir.join("password");
    write_private(&password_file, password, user)?;
    let output = command(binaries.program("initdb"), user, dir)
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username"])
        .arg(Cluster::SUPERUSER)
        .args(["--auth=scram-sha-256", "--pwfile"])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(dir.join("data"))
        .output()
        .map_err(io_error("starting initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Failed {
        what: "initdb",
        output: String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    })
}

fn write_private(path: &Path, text: &str, user: Option<&Unprivileged>) -> Result<(), ClusterError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
        .and_then(|()| give(path, user))
        .map_err(io_error(format!("writing {}", path.display())))
}

fn write_hba(dir: &Path, options: &Options) -> Result<(), ClusterError> {
    let mut text = options.hba.join("\n");
    // The socket lies in a directory that only its owner enters.
    text.push_str("\nlocal all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    let path = dir.join("data/pg_hba.conf");
    fs::write(&path, text).map_err(io_error(format!("writing {}", path.display())))
}

/// Speed over durability: nothing of this cluster is to survive.
fn write_settings(dir: &Path, port: u16, options: &Options, user: Option<&Unprivileged>) -> Result<(), ClusterError> {
    let mut settings = vec![
        ("port", port.to_string()),
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("unix_socket_directories", dir.join("sockets").display().to_string()),
        ("fsync", "off".to_owned()),
        ("synchronous_commit", "off".to_owned()),
        ("full_page_writes", "off".to_owned()),
        ("max_connections", "200".to_owned()),
        ("shared_buffers", "64MB".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
    ];
    if let Some((certificate, key)) = &options.tls {
        write_private(&dir.join("server.crt"), certificate, user)?;
        write_private(&dir.join("server.key"), key, user)?;
        settings.push(("ssl", "on".to_owned()));
        settings.push(("ssl_cert_file", dir.join("server.crt").display().to_string()));
        settings.push(("ssl_key_file", dir.join("server.key").display().to_string()));
    }
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let text = settings.into_iter().chain(given).fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        text
    });
    let path = dir.join("data/postgresql.auto.conf");
    fs::write(&path, text).map_err(io_error(format!("writing {}", path.display())))
}

/// Starts the server and waits until it says that it is ready.
fn launch(binaries: &Binaries, user: Option<&Unprivileged>, dir: &Path) -> Result<Child, ClusterError> {
    let log_path = dir.join("log");
    let log = fs::File::create(&log_path).map_err(io_error("making the server's log"))?;
    let errors = log.try_clone().map_err(io_error("making the server's log"))?;
    let mut server = command(binaries.program("postgres"), user, dir)
        .arg("-D")
        .arg(dir.join("data"))
        .stdout(log)
        .stderr(errors)
        // Ctrl-C in the terminal is for our process, which stops the server in its own time.
        .process_group(0)
        .spawn()
        .map_err(io_error("starting postgres"))?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if is_ready(dir) {
            return Ok(server);
        }
        let ended = server.try_wait().map_err(io_error("waiting for postgres"))?.is_some();
        if ended || Instant::now() > deadline {
            // It may have ended by itself: then there is nothing to kill.
            let _ = server.kill();
            let _ = server.wait();
            return Err(ClusterError::Failed {
                what: "postgres",
                output: fs::read_to_string(&log_path).unwrap_or_default(),
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The eighth line of `postmaster.pid` is the state that `pg_ctl` waits for.
fn is_ready(dir: &Path) -> bool {
    fs::read_to_string(dir.join("data/postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).is_some_and(|it| it.trim() == "ready"))
}

#[cfg(test)]
mod tests;
