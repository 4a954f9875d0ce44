//! A proxy as a child process, and what the system says of it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Kernel clock ticks in a second: `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICKS: f64 = 100.0;

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

    /// User and system time so far (fields 14 and 15 of `/proc/PID/stat`, proc(5)).
    pub fn cpu_seconds(&self) -> Result<f64, String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).map_err(|e| e.to_string())?;
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS)
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
