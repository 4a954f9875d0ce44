//! Cleaning up after a process that could not: a shell holds the other end of a pipe, and its end of file means that
//! our process has gone, whatever ended it.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the pipe to close, stops the server that `postmaster.pid` names (SIGQUIT: at once, its children with it),
/// then removes the directory. `$1` is the directory. A line read from the pipe asks for the server to stop already.
const SCRIPT: &str = r#"
stop() {
    pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || return 0
    kill -QUIT "$pid" 2>/dev/null || return 0
    n=0
    while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.05; n=$((n + 1)); done
}
while read -r line; do stop "$1"; done
stop "$1"
rm -rf "$1"
"#;

/// The shell. Dropping it closes the pipe.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
}

impl Guardian {
    /// Starts to watch over a directory, which may not hold a server yet.
    pub(super) fn watch(dir: &Path) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "pgwarden-throwaway"])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C in the terminal must not end it before its work.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Stops the server and waits for its end.
    pub(super) fn stop_server(&mut self, server: &mut Child) {
        // The server may run under another user or have ended: the shell's signal is tried, the plain kill follows.
        if let Some(pipe) = self.shell.stdin.as_mut() {
            let _ = pipe.write_all(b"stop\n");
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while let Ok(None) = server.try_wait() {
            if std::time::Instant::now() > deadline {
                let _ = server.kill();
                let _ = server.wait();
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Lets the shell remove the directory and waits for it.
    pub(super) fn finish(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
