//! The two proxies in front of one throwaway Postgres, and pgbench against either.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgwarden::throwaway::{Binaries, Cluster, Options, Unprivileged};

use crate::cases::{Case, Protocol, SCHEMA};

/// Kernel clock ticks in a second: `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICKS: f64 = 100.0;
/// Server connections of either proxy.
const POOL: u32 = 20;

/// Who is in front of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Debian's PgBouncer.
    PgBouncer,
    /// The binary of this build, guard on.
    Pgwarden,
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

/// A child that ends with this process's interest in it.
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that runs.
pub struct Lab {
    warden: Running,
    bouncer: Running,
    bouncer_session: Running,
    binaries: Binaries,
    dir: tempfile::TempDir,
    // Last: Postgres ends after its clients.
    _cluster: Cluster,
}

impl Lab {
    /// Starts Postgres with the bench's tables, PgBouncer in transaction and in session mode, and pgwarden.
    pub fn start() -> Result<Self, String> {
        let binaries = Binaries::find().ok_or("no Postgres binaries")?;
        let settings = [("shared_buffers", "256MB"), ("synchronous_commit", "off"), ("max_connections", "200")];
        let hba = vec!["host all all 127.0.0.1/32 trust".to_owned()];
        let options = Options { settings: settings.map(|(k, v)| (k.into(), v.into())).to_vec(), hba, tls: None };
        let cluster = Cluster::start(&options).map_err(|e| e.to_string())?;
        let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
        runtime.block_on(load(&cluster)).map_err(|e| e.to_string())?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let user = Unprivileged::for_this_process().map_err(|_| "no unprivileged user")?;
        if let Some(user) = &user {
            chown(dir.path(), Some(user.uid), Some(user.gid)).map_err(|e| e.to_string())?;
        }
        let bouncer = start_bouncer(dir.path(), cluster.port(), "transaction", user.as_ref())?;
        let bouncer_session = start_bouncer(dir.path(), cluster.port(), "session", user.as_ref())?;
        let warden = start_warden(dir.path(), cluster.port())?;
        Ok(Self { warden, bouncer, bouncer_session, binaries, dir, _cluster: cluster })
    }

    /// Where the peer listens, in transaction mode.
    // The fairness bench's.
    #[allow(dead_code)]
    pub fn port(&self, peer: Peer) -> u16 {
        self.running(peer, Protocol::Simple).port
    }

    fn running(&self, peer: Peer, protocol: Protocol) -> &Running {
        match (peer, protocol) {
            (Peer::Pgwarden, _) => &self.warden,
            (Peer::PgBouncer, Protocol::Prepared) => &self.bouncer_session,
            (Peer::PgBouncer, Protocol::Simple | Protocol::Extended) => &self.bouncer,
        }
    }

    /// Runs a case for some seconds.
    pub fn pgbench(
        &self,
        peer: Peer,
        case: &Case,
        protocol: Protocol,
        clients: u32,
        seconds: u32,
    ) -> Result<Sample, String> {
        let running = self.running(peer, protocol);
        // PgBouncer in session mode serves no more clients than its pool has connections.
        let clients = if protocol == Protocol::Prepared { clients.min(POOL) } else { clients };
        let script = self.dir.path().join("case.sql");
        fs::write(&script, if peer == Peer::Pgwarden { case.bare } else { case.by_hand }).map_err(|e| e.to_string())?;
        let cpu = cpu_seconds(running.child.id())?;
        let output = Command::new(self.binaries.program("pgbench"))
            .args(["-n", "-h", "127.0.0.1", "-U", "app", "-M", protocol.name()])
            .args(["-p", &running.port.to_string(), "-c", &clients.to_string(), "-j", "1", "-T", &seconds.to_string()])
            .arg("-f")
            .arg(&script)
            .arg("bench")
            .output()
            .map_err(|e| format!("pgbench: {e}"))?;
        let used = cpu_seconds(running.child.id())? - cpu;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!(
                "pgbench against {peer:?}, {}: {}",
                case.name,
                String::from_utf8_lossy(&output.stderr)
            ));
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

    /// Resident bytes for each of many idle clients that ran a query: PgBouncer's and pgwarden's.
    pub fn idle_memory(&self, clients: u32) -> Result<(f64, f64), String> {
        let per_client = |running: &Running| -> Result<f64, String> {
            let before = resident_bytes(running.child.id())?;
            let sockets = (0..clients).map(|_| idle_client(running.port)).collect::<Result<Vec<_>, _>>()?;
            std::thread::sleep(Duration::from_millis(500));
            let after = resident_bytes(running.child.id())?;
            drop(sockets);
            Ok((after - before) / f64::from(clients))
        };
        Ok((per_client(&self.bouncer)?, per_client(&self.warden)?))
    }
}

async fn load(cluster: &Cluster) -> Result<(), pgwarden::throwaway::ClusterError> {
    cluster.create_database("bench", None).await?;
    cluster.run("bench", "CREATE ROLE app LOGIN").await?;
    cluster.run("bench", SCHEMA).await?;
    let pause = "CREATE FUNCTION public.pause() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.005)'";
    cluster.run("bench", pause).await?;
    cluster.run("bench", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app").await
}

fn start_bouncer(dir: &Path, upstream: u16, mode: &str, user: Option<&Unprivileged>) -> Result<Running, String> {
    let port = free_port()?;
    let ini = dir.join(format!("{mode}.ini"));
    let users = dir.join("users.txt");
    let text = format!(
        "[databases]\nbench = host=127.0.0.1 port={upstream} dbname=bench user=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         auth_type = trust\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = {POOL}\nmax_client_conn = 20000\nunix_socket_dir =\n\
         logfile = {dir}/{mode}.log\nlog_connections = 0\nlog_disconnections = 0\nserver_check_delay = 30\n",
        users = users.display(),
        dir = dir.display()
    );
    fs::write(&ini, text).and_then(|()| fs::write(&users, "\"app\" \"\"\n")).map_err(|e| e.to_string())?;
    let mut command = Command::new("pgbouncer");
    command.arg("-q").arg(&ini).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    ready(command, port, "pgbouncer (Debian package `pgbouncer`)")
}

fn start_warden(dir: &Path, upstream: u16) -> Result<Running, String> {
    let port = free_port()?;
    let file: PathBuf = dir.join("pgwarden.toml");
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\nmax_connections = 20000\n[upstream.main]\nurl = \"postgres://app@127.0.0.1:{upstream}/bench?sslmode=disable\"\n\
         pool = {{ mode = \"transaction\", size = {POOL} }}\n[tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nallow_functions = [\"public.pause\"]\n[log]\nlevel = \"warn\"\n\
         [[login]]\nname = \"app\"\nauth = \"trust\"\ntenants = [\"one\"]\n[[tenant]]\nname = \"one\"\nkey = \"1\"\n\
         [[login]]\nname = \"quiet\"\nauth = \"trust\"\ntenants = [\"two\"]\n[[tenant]]\nname = \"two\"\nkey = \"2\"\n"
    );
    fs::write(&file, text).map_err(|e| e.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
    command.arg("serve").arg("--config").arg(&file);
    ready(command, port, "pgwarden")
}

/// Starts a proxy and waits until it answers.
fn ready(mut command: Command, port: u16, what: &str) -> Result<Running, String> {
    let child = command.stdin(Stdio::null()).spawn().map_err(|e| format!("{what}: {e}"))?;
    let mut running = Running { child, port };
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if let Ok(Some(status)) = running.child.try_wait() {
            return Err(format!("{what} ended: {status}"));
        }
        if idle_client(port).is_ok() {
            return Ok(running);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{what} does not answer"))
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port()).map_err(|e| e.to_string())
}

/// A client that logged in, ran one query and stays connected.
fn idle_client(port: u16) -> Result<TcpStream, String> {
    let mut socket = log_in(port, "app")?;
    run(&mut socket, "SELECT id FROM orders WHERE id = 1")?;
    Ok(socket)
}

/// A client that logged in.
pub fn log_in(port: u16, user: &str) -> Result<TcpStream, String> {
    let connect = || -> std::io::Result<TcpStream> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let parameters = format!("user\0{user}\0database\0bench\0\0");
        let mut startup = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
        startup.extend(196_608u32.to_be_bytes());
        startup.extend(parameters.as_bytes());
        socket.write_all(&startup)?;
        until_ready(&mut socket)?;
        Ok(socket)
    };
    connect().map_err(|e| e.to_string())
}

/// Runs a statement to its end.
pub fn run(socket: &mut TcpStream, sql: &str) -> Result<(), String> {
    let mut message = vec![b'Q'];
    message.extend((sql.len() as u32 + 5).to_be_bytes());
    message.extend(sql.as_bytes());
    message.push(0);
    socket.write_all(&message).and_then(|()| until_ready(socket)).map_err(|e| e.to_string())
}

fn until_ready(socket: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0u8; 5];
        socket.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        socket.read_exact(&mut body)?;
        match tag {
            b'Z' => return Ok(()),
            b'E' => return Err(std::io::Error::other(String::from_utf8_lossy(&body).into_owned())),
            _ => {}
        }
    }
}

/// User and system time of a process (fields 14 and 15 of `/proc/PID/stat`, proc(5)).
fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| e.to_string())?;
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

fn resident_bytes(pid: u32) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).map(|kb| kb * 1024.0).ok_or("no VmRSS".into())
}
