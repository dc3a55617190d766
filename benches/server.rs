//! A server of its own for a measurement: the real binary on a data folder, killed when dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use weir::common::clock::instant;

use crate::{Bench, Outcome};

/// How a server runs, where it is not as always.
#[derive(Clone, Copy)]
pub struct Options {
    pub backend: &'static str,
    pub checkpoint_interval: &'static str,
    pub memory_limit: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { backend: "sled", checkpoint_interval: "1s", memory_limit: "1GiB" }
    }
}

pub struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts one on an empty folder.
    pub async fn fresh(bench: &Bench, options: Options) -> Outcome<Self> {
        let dir = bench.dir.join("server");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Self::start(bench, options)
    }

    /// Starts one on the folder that the last one left. Does not wait for it.
    pub fn start(bench: &Bench, options: Options) -> Outcome<Self> {
        let dir = bench.dir.join("server");
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = dir.join("log.txt");
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .args(["--state-backend", options.backend])
            .args(["--checkpoint-interval", options.checkpoint_interval])
            .args(["--memory-limit", options.memory_limit])
            .args(["--parallelism", &bench.parallelism.to_string()])
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Self { child, port, log })
    }

    /// A connection, as soon as the server takes one.
    pub async fn connect(&mut self) -> Outcome<Client> {
        let address = format!("host=127.0.0.1 port={} user=root dbname=dev", self.port);
        let begun = instant();
        loop {
            match tokio_postgres::connect(&address, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Ok(client);
                }
                Err(e) if self.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(60) => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    return Err(format!("the server cannot be reached: {e}\n{log}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// CPU seconds that the process has used.
    pub fn cpu(&self) -> Outcome<f64> {
        cpu_seconds(&format!("/proc/{}/stat", self.child.id()))
    }

    /// The most memory that the process has held, in MB.
    pub fn peak_megabytes(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kib: f64 = line.split_whitespace().next().ok_or("no VmHWM")?.parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}

/// CPU seconds of the process of a `stat` file of `/proc`, in ticks of 10 ms.
pub fn cpu_seconds(stat: &str) -> Outcome<f64> {
    let stat = fs::read_to_string(Path::new(stat))?;
    // The name before it may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no stat")?.1.split_whitespace().collect();
    let ticks = |field: usize| -> Outcome<f64> { Ok(fields.get(field).ok_or("no stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// The first row's columns as text; nulls are empty.
pub async fn row(client: &Client, sql: &str) -> Outcome<Vec<String>> {
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok((0..row.len()).map(|i| row.get(i).unwrap_or_default().to_string()).collect());
        }
    }
    Err(format!("no row: {sql}").into())
}

/// Waits until the sources of `job` have handed out their last row, and all results of it can be read.
pub async fn wait_finished(client: &Client, job: &str) -> Outcome<()> {
    let sql = format!("SELECT count(*), count(*) FILTER (WHERE finished) FROM weir.sources WHERE job = '{job}'");
    let begun = instant();
    loop {
        let counts = row(client, &sql).await?;
        if counts[0] != "0" && counts[0] == counts[1] {
            break;
        }
        if begun.elapsed() > Duration::from_secs(900) {
            let jobs = row(client, "SELECT name, state, error FROM weir.jobs").await?;
            return Err(format!("the sources do not finish: {jobs:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.simple_query("FLUSH").await?;
    Ok(())
}
