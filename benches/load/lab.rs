//! The proxies in front of one throwaway Postgres, and pgbench against either.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgwarden::test_cluster::{Binaries, Cluster, Options, Unprivileged};
use tokio::runtime::Runtime;

use crate::cases::{Protocol, SCHEMA};
use crate::client::Client;
use crate::process::{Running, free_port};

/// Server connections of either proxy.
pub const POOL: u32 = 20;

/// Who is in front of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Debian's PgBouncer, or the one that `PGWARDEN_PGBOUNCER` names.
    PgBouncer,
    /// The binary of this build, guard on, tenant of the shared layout.
    Shared,
    /// The same, tenant with a database of its own: nothing is rewritten.
    Database,
}

impl Peer {
    /// The database that a client asks for.
    pub fn database(self) -> &'static str {
        if self == Peer::Database { "two" } else { "one" }
    }
}

/// One run of pgbench.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU of the proxy per transaction, in microseconds.
    pub cpu_us: f64,
    /// Transactions per second.
    pub tps: f64,
    /// Mean latency in milliseconds.
    pub latency_ms: f64,
}

/// Everything that runs.
pub struct Lab {
    pub warden: Running,
    pub bouncer: Running,
    /// Where prepared statements are compared.
    bouncer_prepared: Running,
    /// How many clients it serves at a time.
    pub prepared_clients: u32,
    /// What `pgbouncer --version` says.
    pub bouncer_version: String,
    pub runtime: Runtime,
    binaries: Binaries,
    dir: tempfile::TempDir,
    user: Option<Unprivileged>,
    // Last: Postgres ends after its clients.
    pub cluster: Cluster,
}

impl Lab {
    /// Starts Postgres with the bench's tables, PgBouncer twice, and pgwarden.
    pub fn start() -> Result<Self, String> {
        let binaries = Binaries::find().ok_or("no Postgres binaries")?;
        let settings = [("shared_buffers", "256MB"), ("synchronous_commit", "off"), ("max_connections", "1200")];
        let hba = vec!["host all app 127.0.0.1/32 trust".to_owned()];
        let options = Options { settings: settings.map(|(k, v)| (k.into(), v.into())).to_vec(), hba, tls: None };
        let cluster = Cluster::start(&options).map_err(|e| e.to_string())?;
        let runtime = Runtime::new().map_err(|e| e.to_string())?;
        runtime.block_on(fill(&cluster)).map_err(|e| e.to_string())?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let user = Unprivileged::for_this_process().map_err(|_| "no unprivileged user")?;
        if let Some(user) = &user {
            chown(dir.path(), Some(user.uid), Some(user.gid)).map_err(|e| e.to_string())?;
        }
        write_certificate(dir.path())?;
        let databases = databases(&cluster);
        let (bouncer_version, knows_prepared) = bouncer_version()?;
        let transaction = if knows_prepared { "transaction\nmax_prepared_statements = 200" } else { "transaction" };
        let prepared = if knows_prepared { transaction } else { "session" };
        let bouncer = start_bouncer(dir.path(), &databases, transaction, user.as_ref())?;
        let bouncer_prepared = start_bouncer(dir.path(), &databases, prepared, user.as_ref())?;
        let prepared_clients = if knows_prepared { u32::MAX } else { POOL };
        let warden = start_warden(dir.path(), &cluster, &tenants(&cluster))?;
        let lab = Self {
            warden,
            bouncer,
            bouncer_prepared,
            prepared_clients,
            bouncer_version,
            runtime,
            binaries,
            dir,
            user,
            cluster,
        };
        for (running, peer) in [
            (&lab.warden, Peer::Shared),
            (&lab.warden, Peer::Database),
            (&lab.bouncer, Peer::PgBouncer),
            (&lab.bouncer_prepared, Peer::PgBouncer),
        ] {
            lab.runtime.block_on(Client::connect_patiently(running.port, peer.database()))?;
        }
        Ok(lab)
    }

    /// Another PgBouncer and another pgwarden, that have served nobody yet.
    pub fn fresh(&self) -> Result<(Running, Running), String> {
        let dir = self.dir.path();
        let bouncer = start_bouncer(dir, &databases(&self.cluster), "transaction", self.user.as_ref())?;
        let warden = start_warden(dir, &self.cluster, &tenants(&self.cluster))?;
        for (running, peer) in [(&bouncer, Peer::PgBouncer), (&warden, Peer::Shared)] {
            self.runtime.block_on(Client::connect_patiently(running.port, peer.database()))?;
        }
        Ok((bouncer, warden))
    }

    /// pgwarden that keeps what tenants use in a table and bounds it.
    pub fn with_quota(&self) -> Result<Running, String> {
        let tenants = format!(
            "{}[quota]\nflush_interval = \"1s\"\nstatements = {{ hard = 1000000000000 }}\n",
            tenants(&self.cluster)
        );
        let (dir, file) = (self.dir.path(), self.dir.path().join("quota.toml"));
        fs::write(&file, warden_config(&self.cluster, free_port()?, &tenants)).map_err(|e| e.to_string())?;
        let ddl = Command::new(warden_program()).args(["usage", "--ddl", "--config"]).arg(&file).output();
        let ddl = String::from_utf8_lossy(&ddl.map_err(|e| e.to_string())?.stdout).into_owned();
        self.runtime.block_on(self.cluster.run("one", &ddl)).map_err(|e| e.to_string())?;
        let running = start_warden(dir, &self.cluster, &tenants)?;
        self.runtime.block_on(Client::connect_patiently(running.port, Peer::Shared.database()))?;
        Ok(running)
    }

    /// The process behind a peer.
    pub fn running(&self, peer: Peer, protocol: Protocol) -> &Running {
        match (peer, protocol) {
            (Peer::Shared | Peer::Database, _) => &self.warden,
            (Peer::PgBouncer, Protocol::Prepared) => &self.bouncer_prepared,
            (Peer::PgBouncer, Protocol::Simple | Protocol::Extended) => &self.bouncer,
        }
    }

    /// PgBouncer and pgwarden in front of so many databases, `t0` and on.
    pub fn many_databases(&self, count: usize) -> Result<(Running, impl FnOnce() -> Result<Running, String>), String> {
        let names: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
        let databases: String = names
            .iter()
            .map(|name| format!("{name} = host=127.0.0.1 port={} dbname={name} user=app\n", self.cluster.port()))
            .collect();
        let bouncer = start_bouncer(self.dir.path(), &databases, "transaction", self.user.as_ref())?;
        let tenants: String = names
            .iter()
            .map(|name| {
                let url = upstream_url(&self.cluster, name);
                format!("[[tenant]]\nname = \"{name}\"\nlayout = \"database\"\nupstream = {{ url = \"{url}\" }}\n")
            })
            .collect();
        Ok((bouncer, move || start_warden(self.dir.path(), &self.cluster, &tenants)))
    }

    /// pgwarden with so many tenants of the shared layout.
    pub fn many_tenants(&self, count: usize) -> Result<Running, String> {
        let tenants: String = (0..count).map(|i| format!("[[tenant]]\nname = \"t{i}\"\nkey = \"{i}\"\n")).collect();
        start_warden(self.dir.path(), &self.cluster, &tenants)
    }

    /// Runs a script for some seconds through a process, as a client of a peer's database.
    pub fn pgbench(
        &self,
        running: &Running,
        peer: Peer,
        script: &str,
        protocol: Protocol,
        clients: u32,
        seconds: u32,
    ) -> Result<Sample, String> {
        let file = self.dir.path().join("case.sql");
        fs::write(&file, script).map_err(|e| e.to_string())?;
        let cpu = running.cpu_seconds()?;
        let output = Command::new(self.binaries.program("pgbench"))
            .args(["-n", "-h", "127.0.0.1", "-U", "app", "-M", protocol.name()])
            .args(["-p", &running.port.to_string(), "-c", &clients.to_string(), "-j", "1", "-T", &seconds.to_string()])
            .arg("-f")
            .arg(&file)
            .arg(peer.database())
            .output()
            .map_err(|e| format!("pgbench: {e}"))?;
        let used = running.cpu_seconds()? - cpu;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("pgbench against {peer:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let figure = |label: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(label))?;
            line.trim_start_matches([' ', '=', ':']).split([' ', '/']).next()?.parse::<f64>().ok()
        };
        let transactions = figure("number of transactions actually processed").ok_or("pgbench printed no count")?;
        Ok(Sample {
            cpu_us: used * 1e6 / transactions,
            tps: figure("tps").ok_or("pgbench printed no tps")?,
            latency_ms: figure("latency average").ok_or("pgbench printed no latency")?,
        })
    }
}

async fn fill(cluster: &Cluster) -> Result<(), pgwarden::test_cluster::ClusterError> {
    cluster.run("postgres", "CREATE ROLE app LOGIN").await?;
    for database in ["one", "two"] {
        cluster.create_database(database, None).await?;
        cluster.run(database, SCHEMA).await?;
        // By itself: not within a transaction.
        cluster.run(database, "VACUUM ANALYZE orders, behind_rls").await?;
        cluster.run(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app").await?;
    }
    Ok(())
}

/// PgBouncer's.
fn databases(cluster: &Cluster) -> String {
    let line = |name| format!("{name} = host=127.0.0.1 port={} dbname={name} user=app\n", cluster.port());
    line("one") + &line("two")
}

/// pgwarden's: one for each layout that is measured.
fn tenants(cluster: &Cluster) -> String {
    format!(
        "[[tenant]]\nname = \"one\"\nkey = \"1\"\n[[tenant]]\nname = \"two\"\nlayout = \"database\"\n\
         upstream = {{ url = \"{}\", pool = {{ size = {POOL} }} }}\n",
        upstream_url(cluster, "two")
    )
}

fn upstream_url(cluster: &Cluster, database: &str) -> String {
    format!("postgres://app@127.0.0.1:{}/{database}?sslmode=disable", cluster.port())
}

/// For clients that ask for TLS; readable for PgBouncer's user.
fn write_certificate(dir: &Path) -> Result<(), String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(|e| e.to_string())?;
    for (file, text) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
        let path = dir.join(file);
        fs::write(&path, text).map_err(|e| e.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn bouncer_program() -> OsString {
    std::env::var_os("PGWARDEN_PGBOUNCER").unwrap_or_else(|| "pgbouncer".into())
}

/// Its version, and whether it has prepared statements in transaction mode (1.21 and later).
fn bouncer_version() -> Result<(String, bool), String> {
    let output = Command::new(bouncer_program()).arg("--version").output();
    let output = output.map_err(|e| format!("pgbouncer (Debian package `pgbouncer`): {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().and_then(|line| line.strip_prefix("PgBouncer ")).unwrap_or("0.0").to_owned();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let knows_prepared = (numbers.next(), numbers.next()) >= (Some(1), Some(21));
    Ok((version, knows_prepared))
}

fn start_bouncer(dir: &Path, databases: &str, mode: &str, user: Option<&Unprivileged>) -> Result<Running, String> {
    let port = free_port()?;
    let ini = dir.join(format!("{port}.ini"));
    let users = dir.join("users.txt");
    let text = format!(
        "[databases]\n{databases}[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         auth_type = trust\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = {POOL}\nmax_client_conn = 20000\nunix_socket_dir =\n\
         client_tls_sslmode = allow\nclient_tls_cert_file = {dir}/server.crt\nclient_tls_key_file = {dir}/server.key\n\
         logfile = {dir}/{port}.log\nlog_connections = 0\nlog_disconnections = 0\nserver_check_delay = 30\n",
        users = users.display(),
        dir = dir.display()
    );
    fs::write(&ini, text).and_then(|()| fs::write(&users, "\"app\" \"\"\n")).map_err(|e| e.to_string())?;
    let mut command = Command::new(bouncer_program());
    command.arg("-q").arg(&ini).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    Running::start(command, port, "pgbouncer (Debian package `pgbouncer`)")
}

fn warden_program() -> OsString {
    std::env::var_os("PGWARDEN_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgwarden").into())
}

/// None is kept for others, as at PgBouncer: pgbench prepares with calls that wait, and one client that waits for a connection keeps
/// those from going on whose transactions have all of them.
fn warden_config(cluster: &Cluster, port: u16, tenants: &str) -> String {
    format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\nmax_connections = 20000\ntls = {{ cert = \"server.crt\", key = \"server.key\" }}\n\
         [upstream.main]\nurl = \"{}\"\npool = {{ mode = \"transaction\", size = {POOL}, kept_for_others = 0 }}\n[pool]\nmax_server_connections = 1000\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nallow_functions = [\"public.pause\"]\n[log]\nlevel = \"error\"\naudit = \"audit.log\"\n\
         [[login]]\nname = \"app\"\nauth = \"trust\"\ntenants = \"*\"\n{tenants}",
        upstream_url(cluster, "one")
    )
}

fn start_warden(dir: &Path, cluster: &Cluster, tenants: &str) -> Result<Running, String> {
    let port = free_port()?;
    let file: PathBuf = dir.join(format!("{port}.toml"));
    fs::write(&file, warden_config(cluster, port, tenants)).map_err(|e| e.to_string())?;
    let mut command = Command::new(warden_program());
    command.arg("serve").arg("--config").arg(&file);
    Running::start(command, port, "pgwarden")
}
