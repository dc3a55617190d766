//! The PostgreSQL that some figures stand beside: one of its own, found where Debian's package puts it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use weir::common::clock::instant;

use crate::Outcome;

/// Where a program of PostgreSQL is.
pub fn program(name: &str) -> Option<PathBuf> {
    ["/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|program| program.exists())
}

/// A PostgreSQL of its own, with its default settings; gone when dropped.
pub struct Postgres {
    child: Child,
    dir: PathBuf,
    pub port: u16,
    pub client: Client,
}

impl Postgres {
    /// None where it is not installed.
    pub async fn start() -> Outcome<Option<Self>> {
        let Some(bin) = program("initdb").and_then(|initdb| initdb.parent().map(Path::to_path_buf)) else {
            return Ok(None);
        };
        // It refuses to run as root; its user may not see into other folders than this.
        let dir = std::env::temp_dir().join(format!("weir-bench-postgres-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let root = fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
        let command = |program: &str| {
            let program = bin.join(program);
            if !root {
                return Command::new(program);
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        };
        if root && !Command::new("chown").arg("postgres").arg(&dir).status()?.success() {
            return Err("there is no user postgres to run PostgreSQL".into());
        }
        let made = command("initdb").args(["-A", "trust", "-U", "postgres", "-D"]).arg(dir.join("data")).output()?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = command("postgres")
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let begun = instant();
        let address = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
        loop {
            match tokio_postgres::connect(&address, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Ok(Some(Self { child, dir, port, client }));
                }
                Err(e) if begun.elapsed() > Duration::from_secs(60) => {
                    return Err(format!("PostgreSQL cannot be reached: {e}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its fast shutdown; it may be gone already.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
