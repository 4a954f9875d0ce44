//! A Redis server of a test's own.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::proxy::free_port;

/// A running redis-server (Debian package `redis-server`, or `valkey-server`). It keeps nothing on disk.
pub struct Redis {
    pub port: u16,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further arguments; `--port` is given.
    #[track_caller]
    pub fn with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut redis = Self { port: free_port(), arguments, directory: tempfile::tempdir().unwrap(), child: None };
        redis.restart();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Ends it at once: what it knew is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, empty, where it was.
    #[track_caller]
    pub fn restart(&mut self) {
        let program = ["/usr/bin/redis-server", "/usr/bin/valkey-server", "redis-server", "valkey-server"];
        let found = program.into_iter().find(|it| Command::new(it).arg("--version").output().is_ok());
        let log = self.directory.path().join("log");
        let mut child = Command::new(found.expect("redis-server is installed: scripts/setup drivers"))
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let deadline = Instant::now() + Duration::from_secs(15);
        let ready = || fs::read_to_string(&log).unwrap_or_default().to_lowercase().contains("ready to accept");
        while !ready() {
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "redis-server is not there: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
    }

    /// Stops it in its tracks, or lets it go on: connections stay open, but nobody answers.
    #[track_caller]
    pub fn freeze(&self, on: bool) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let signal = if on { "-STOP" } else { "-CONT" };
        assert!(Command::new("/bin/kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
