//! A real PostgreSQL to compare with: the one that `WEIR_POSTGRES` names (`host=… port=… user=…`), or, where it says
//! `installed`, one of the machine's binaries, started in a temporary folder on a port of its own, stopped when dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use weir::common::clock::instant;

/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whom PostgreSQL runs as where a test runs as root, which it refuses.
const USER: &str = "postgres";

pub struct Reference {
    address: String,
    /// Of a server of our own.
    _own: Option<Own>,
}

struct Own {
    child: Child,
    _folder: TempDir,
}

impl Reference {
    /// `None` where none is wanted.
    pub async fn find() -> Option<Self> {
        let address = std::env::var("WEIR_POSTGRES").ok().filter(|address| !address.is_empty())?;
        if address != "installed" {
            return Some(Self { address, _own: None });
        }
        let Some(binaries) = binaries() else {
            println!("PostgreSQL 15 or later is not installed: nothing is compared");
            return None;
        };
        let reference = start(&binaries);
        let started = instant();
        while tokio_postgres::connect(&reference.address, NoTls).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL did not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(reference)
    }

    pub async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.address, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, which takes the children along.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// The newest installed, from 15 on.
fn binaries() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let versions = installed.filter_map(|e| Some((e.file_name().to_str()?.parse::<u32>().ok()?, e.path().join("bin"))));
    versions.filter(|(v, path)| *v >= 15 && path.join("initdb").exists()).max().map(|(_, path)| path)
}

fn start(binaries: &Path) -> Reference {
    let folder = tempfile::Builder::new().prefix("weir-postgres-").tempdir().unwrap();
    let user = unprivileged();
    if let Some((uid, gid)) = user {
        chown(folder.path(), Some(uid), Some(gid)).unwrap();
    }
    let command = |program: &str| {
        let mut command = Command::new(binaries.join(program));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    let made = command("initdb")
        .args(["-D", "data", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"])
        .status();
    assert!(made.is_ok_and(|s| s.success()), "initdb did not work");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = command("postgres")
        .args(["-D", "data", "-p", &port.to_string(), "-k", "."])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "autovacuum=off"])
        .spawn()
        .unwrap();
    let address = format!("host=127.0.0.1 port={port} user={USER} dbname=postgres");
    Reference { address, _own: Some(Own { child, _folder: folder }) }
}

/// The ids of the user that a server runs as when the test runs as root.
fn unprivileged() -> Option<(u32, u32)> {
    let own = Command::new("id").arg("-u").output().ok()?;
    if own.stdout.trim_ascii() != b"0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(USER))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
