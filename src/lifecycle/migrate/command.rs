//! Any tool, once for each place, with the place in its environment.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::login::Login;
use super::places::Place;
use super::{Run, TOOL_RUNS, Told};
use crate::config::{Address, percent, socket_parts, tls_word, url_of};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;

/// A longer line is told in pieces.
const MAX_LINE: u64 = 64 << 10;
/// After it was told to stop, a tool has so long to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// What would lead libpq elsewhere, or say whose place it is where it is nobody's.
const REMOVED: [&str; 8] = [
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSSLROOTCERT",
    "PGWARDEN_TENANT",
    "PGWARDEN_SCHEMA",
];

/// A command.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where the output of each place is kept; without it, it is told.
    pub logs: Option<PathBuf>,
}

impl Tool {
    pub(super) fn check(&self) -> Result<(), LifecycleError> {
        if self.command.is_empty() {
            return Err(LifecycleError::refused("there is no command", "pgwarden migrate -- psql -f change.sql"));
        }
        match &self.logs {
            Some(directory) => std::fs::create_dir_all(directory).map_err(LifecycleError::file(directory)),
            None => Ok(()),
        }
    }

    fn log_of(&self, place: &Place) -> Result<Option<File>, LifecycleError> {
        let Some(directory) = &self.logs else { return Ok(None) };
        let path = directory.join(format!("{}.log", place.label.replace([' ', '/'], "-")));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.map(Some).map_err(LifecycleError::file(&path))
    }
}

impl Lifecycle {
    pub(super) async fn run_tool(
        &self,
        run: &Run<'_>,
        admin: &Admin,
        place: &Place,
        tool: &Tool,
    ) -> Result<(), LifecycleError> {
        let login = run.login(admin, place, TOOL_RUNS).await?;
        let ran = self.run_child(run, place, tool, environment(run, place, &login)).await;
        let dropped = login.end(admin).await;
        ran?;
        dropped
    }

    async fn run_child(
        &self,
        run: &Run<'_>,
        place: &Place,
        tool: &Tool,
        environment: Vec<(&'static str, String)>,
    ) -> Result<(), LifecycleError> {
        let Some((program, arguments)) = tool.command.split_first() else { return Ok(()) };
        let log = tool.log_of(place)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        REMOVED.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(environment);
        match &log {
            Some(file) => {
                let copy = || file.try_clone().map_err(LifecycleError::file(&PathBuf::from(program)));
                command.stdout(copy()?).stderr(copy()?);
            }
            None => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let child = command.spawn().map_err(LifecycleError::file(&PathBuf::from(program)))?;
        let status = self.watch(run, place, child).await?;
        if run.stop.is_raised() {
            return Err(LifecycleError::Interrupted);
        }
        match status.success() {
            true => Ok(()),
            false => Err(LifecycleError::refused(
                format!("{program}: {status}"),
                match &tool.logs {
                    Some(directory) => format!("its output is in {}", directory.display()),
                    None => "its output says why".to_owned(),
                },
            )),
        }
    }

    /// Tells its output until it ends.
    async fn watch(&self, run: &Run<'_>, place: &Place, mut child: Child) -> Result<ExitStatus, LifecycleError> {
        // Lines wait where they are read, so that a tool which writes faster than they are told waits too.
        let (lines, mut told) = mpsc::channel::<(String, bool)>(64);
        if let Some(output) = child.stdout.take() {
            read_lines(output, false, lines.clone());
        }
        if let Some(output) = child.stderr.take() {
            read_lines(output, true, lines.clone());
        }
        drop(lines);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let mut stopping: Option<Instant> = None;
        let mut ended = None;
        let mut is_open = true;
        loop {
            tokio::select! {
                line = told.recv(), if is_open => match line {
                    Some((line, is_error)) => (run.tell)(Told::Output(&format!("{}: {line}", place.label), is_error)),
                    None => is_open = false,
                },
                _ = tick.tick() => {
                    if ended.is_none() {
                        ended = child.try_wait().map_err(LifecycleError::file(&PathBuf::from(&place.label)))?.map(|status| (status, Instant::now()));
                    }
                    if ended.is_none() && run.stop.is_raised() {
                        let since = *stopping.get_or_insert_with(|| {
                            terminate(&child);
                            Instant::now()
                        });
                        if since.elapsed() > GRACE {
                            let _ = child.kill();
                        }
                    }
                }
            }
            // What it left running in the background may keep its output open.
            if let Some((status, at)) = ended
                && (!is_open || at.elapsed() > Duration::from_secs(1) && told.is_empty())
            {
                return Ok(status);
            }
        }
    }
}

/// As the terminal does it at Ctrl-C: the tool may end its transaction.
fn terminate(child: &Child) {
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
    if let Err(error) = told {
        tracing::debug!(%error, "kill");
    }
}

fn read_lines(output: impl Read + Send + 'static, is_error: bool, lines: mpsc::Sender<(String, bool)>) {
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match output.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                    if lines.blocking_send((line, is_error)).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

/// Everything that tools ask for. The password is in the environment alone, where no other user sees it.
fn environment(run: &Run<'_>, place: &Place, login: &Login) -> Vec<(&'static str, String)> {
    let at = &login.at;
    let mut options: Vec<String> =
        run.request.patience.settings().iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    if login.role != at.user {
        options.push(format!("-c role={}", escaped(&login.role)));
    }
    options.extend(login.search_path.iter().map(|path| format!("-c search_path={}", escaped(path))));
    let options = options.join(" ");
    let url = url_of(at, &at.user, at.password.as_ref(), &[format!("options={}", percent(&options))]);
    let (host, port) = match &at.address {
        Address::Tcp { host, port } => (host.clone(), port.to_string()),
        Address::Unix(socket) => socket_parts(socket),
    };
    let mut all = vec![
        ("DATABASE_URL", url),
        ("PGHOST", host),
        ("PGPORT", port),
        ("PGUSER", at.user.clone()),
        ("PGDATABASE", at.database.clone()),
        ("PGOPTIONS", options),
        ("PGSSLMODE", tls_word(at.tls.mode).to_owned()),
        ("PGWARDEN_LAYOUT", place.word().to_owned()),
        ("PGWARDEN_ROLE", login.role.clone()),
    ];
    all.extend(at.password.iter().map(|it| ("PGPASSWORD", it.expose().to_owned())));
    all.extend(at.tls.root_cert.iter().map(|path| ("PGSSLROOTCERT", path.to_string_lossy().into_owned())));
    all.extend(place.schema().map(|schema| ("PGWARDEN_SCHEMA", schema.to_owned())));
    if super::is_own(&place.layout) {
        all.push(("PGWARDEN_TENANT", place.label.clone()));
    }
    all
}

/// As `options` of libpq has a value: a blank ends it, but behind a backslash.
fn escaped(value: &str) -> String {
    value.chars().fold(String::new(), |mut out, c| {
        if c.is_whitespace() || c == '\\' {
            out.push('\\');
        }
        out.push(c);
        out
    })
}
