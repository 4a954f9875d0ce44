//! A proxy as a child process, and what the system says of it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child that ends with this process's interest in it.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Running {
    /// Starts a proxy and waits until it listens.
    pub fn start(mut command: Command, port: u16, what: &str) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).spawn().map_err(|e| format!("{what}: {e}"))?;
        let mut running = Self { child, port };
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{what} ended: {status}"));
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("{what} does not listen"))
    }

    /// CPU time of its threads so far (first field of `/proc/PID/task/TID/schedstat`, in nanoseconds: `/proc/PID/stat` counts
    /// in hundredths of a second). Threads that ended are not in it; proxies have none that do.
    pub fn cpu_seconds(&self) -> Result<f64, String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).map_err(|e| e.to_string())?;
        let mut nanoseconds = 0.0;
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(nanoseconds / 1e9)
    }

    /// Resident memory.
    pub fn resident_bytes(&self) -> Result<f64, String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).map_err(|e| e.to_string())?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes = line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
        kilobytes.map(|kb| kb * 1024.0).ok_or("no VmRSS".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses at the moment.
pub fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port()).map_err(|e| e.to_string())
}
