//! The real `weir` binary as a child process: started on a data folder, killed, stopped, started again. Its log is kept,
//! and shown when a test fails. Knows no SQL.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use weir::common::clock::instant;

/// A start or a stop that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the log that are shown with a failure.
const LOG_LINES: usize = 60;

pub const NOW: &str = "VmRSS:";
pub const MOST: &str = "VmHWM:";

/// How servers of one folder are started.
#[derive(Clone)]
pub struct Options {
    pub backend: &'static str,
    pub parallelism: usize,
    pub barrier: &'static str,
    pub checkpoint: &'static str,
    /// As `FAILPOINTS` takes them; empty for none.
    pub failpoints: String,
    /// Memory limit, as the flag takes it.
    pub memory: &'static str,
    /// A settings file in the folder; empty for none.
    pub config: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        let failpoints = String::new();
        Self {
            backend: "sled",
            parallelism: 2,
            barrier: "50ms",
            checkpoint: "100ms",
            failpoints,
            memory: "256MiB",
            config: "",
        }
    }
}

/// A server that runs, or has ended; killed when dropped.
pub struct Server {
    child: Child,
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts on `folder/data` in the working directory `folder` and waits until it accepts.
    ///
    /// # Errors
    /// The log, when the server ends before it accepts.
    pub fn start(folder: &Path, options: &Options) -> Result<Self, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--listen", "127.0.0.1:0", "--state-backend", options.backend])
            .args(["--parallelism", &options.parallelism.to_string(), "--memory-limit", options.memory])
            .args(["--barrier-interval", options.barrier, "--checkpoint-interval", options.checkpoint])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(if options.config.is_empty() { vec![] } else { vec!["--config", options.config] })
            .current_dir(folder)
            .env("FAILPOINTS", &options.failpoints)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("the server cannot be started: {e}"))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let lines = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(port) = port(&line) {
                    let _ = ready.send(port);
                }
                lines.lock().unwrap().push(line);
            }
        });
        let mut server = Self { child, port: 0, log };
        // An end of the log means an end of the server.
        match is_ready.recv_timeout(PATIENCE) {
            Ok(port) => {
                server.port = port;
                Ok(server)
            }
            Err(e) => {
                let ended = server.child.try_wait();
                server.kill();
                Err(format!("the server did not start ({e}, {ended:?}):\n{}", server.log()))
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has resident: [`NOW`], or [`MOST`] that it ever had. `None` where the system has no /proc.
    pub fn memory(&self, field: &str) -> Option<i64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<i64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(kill.is_ok_and(|s| s.success()), "kill did not work");
        let status = self.wait(PATIENCE).unwrap_or_else(|| panic!("the server did not stop:\n{}", self.log()));
        assert!(status.success(), "the server stopped with {status}:\n{}", self.log());
    }

    /// The end of the server, when it comes in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = instant();
        while start.elapsed() < patience {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// The last lines that it has logged.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}\n------", self.log());
        }
    }
}

/// The port in the line that says that the server accepts.
fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("ready for connections address=127.0.0.1:")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A folder for one server, gone with its last user: `data/` beneath is the server's, the rest is input and output.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
