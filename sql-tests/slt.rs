//! Runs every `.slt` file beside this one in every world: the same questions must have the same answers on each state
//! backend, at each parallelism, and with the server stopped or killed between any two statements.
//!
//! A file names its inputs as `in/…` (`sql-tests/data`) and its outputs as `out/…`. A first line `# worlds: a b` keeps it
//! to these worlds. `WEIR_SLT=part` runs the files whose path holds `part`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tokio::sync::Mutex;

use crate::client::{Client, Failure};
use crate::seed;
use crate::server::{Folder, Options, Server};

/// What happens to the server between statements.
#[derive(Clone, Copy, PartialEq)]
enum Disruption {
    None,
    /// SIGTERM, then a start at another parallelism.
    Restart,
    /// SIGKILL, then a start.
    Kill,
}

struct World {
    name: &'static str,
    backend: &'static str,
    parallelism: usize,
    disruption: Disruption,
}

#[tokio::test]
async fn sled() {
    run(World { name: "sled", backend: "sled", parallelism: 2, disruption: Disruption::None }).await;
}

#[tokio::test]
async fn memory() {
    run(World { name: "memory", backend: "memory", parallelism: 3, disruption: Disruption::None }).await;
}

#[tokio::test]
async fn parallelism_one() {
    run(World { name: "one", backend: "sled", parallelism: 1, disruption: Disruption::None }).await;
}

#[tokio::test]
async fn restarted() {
    run(World { name: "restarted", backend: "sled", parallelism: 3, disruption: Disruption::Restart }).await;
}

#[tokio::test]
async fn killed() {
    run(World { name: "killed", backend: "sled", parallelism: 3, disruption: Disruption::Kill }).await;
}

#[tokio::test]
async fn killed_in_memory() {
    run(World { name: "killed-memory", backend: "memory", parallelism: 1, disruption: Disruption::Kill }).await;
}

/// The server of a world, with the state of its disruptions.
struct Host {
    folder: Folder,
    server: Server,
    options: Options,
    disruption: Disruption,
    /// Rises with each start.
    generation: u64,
    random: StdRng,
}

impl Host {
    fn new(world: &World, seed: u64) -> Self {
        let folder = Folder::new();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/data");
        std::os::unix::fs::symlink(data, folder.file("in")).unwrap();
        std::fs::create_dir(folder.file("out")).unwrap();
        let options = Options { backend: world.backend, parallelism: world.parallelism, ..Options::default() };
        let server = Server::start(folder.path(), &options).unwrap();
        Self { folder, server, options, disruption: world.disruption, generation: 0, random: seed::rng(seed) }
    }

    /// Before a quarter of the statements.
    fn disrupt(&mut self) {
        if self.disruption == Disruption::None || self.random.random_range(0..4) > 0 {
            return;
        }
        if self.disruption == Disruption::Restart {
            self.server.stop();
            self.options.parallelism = if self.options.parallelism == 1 { 3 } else { 1 };
        } else {
            self.server.kill();
        }
        self.server = Server::start(self.folder.path(), &self.options).unwrap();
        self.generation += 1;
    }
}

/// One session of a file: lives on through restarts, as a client that connects again and sets its variables.
struct Session {
    host: Arc<Mutex<Host>>,
    client: Option<(u64, Client)>,
    /// What it has set, to be set again.
    set: Vec<String>,
    in_transaction: bool,
    /// Time to give sources before each question; only while blessing, as that does not try again.
    settle: Duration,
}

impl Session {
    async fn client(&mut self) -> Result<&Client, Failure> {
        let mut host = self.host.lock().await;
        if !self.in_transaction {
            host.disrupt();
        }
        if self.client.as_ref().is_none_or(|(generation, _)| *generation != host.generation) {
            let client = Client::connect(host.server.port()).await?;
            for set in &self.set {
                client.run(set).await?;
            }
            // What the lost session had written must be seen by this one.
            client.run("FLUSH").await?;
            self.client = Some((host.generation, client));
        }
        Ok(&self.client.as_ref().expect("it was just made").1)
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        tokio::time::sleep(self.settle).await;
        let answer = self.client().await?.run(sql).await;
        match sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "BEGIN" => self.in_transaction = true,
            "COMMIT" | "ROLLBACK" => self.in_transaction = false,
            "SET" | "RESET" | "DISCARD" if answer.is_ok() => {
                // A role that it is no longer may be gone.
                if ["SET ROLE", "RESET ROLE"].iter().any(|role| sql.to_ascii_uppercase().starts_with(role)) {
                    self.set.retain(|set| !set.to_ascii_uppercase().starts_with("SET ROLE"));
                }
                self.set.push(sql.to_string());
            }
            _ => {}
        }
        let answer = answer?;
        let Some(width) = answer.columns else { return Ok(DBOutput::StatementComplete(answer.count)) };
        let cell = |cell: Option<String>| match cell {
            None => "NULL".to_string(),
            Some(text) if text.is_empty() => "(empty)".to_string(),
            Some(text) => text,
        };
        let rows = answer.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(e: &Failure) -> Option<String> {
        Some(e.sqlstate.clone())
    }
}

/// Every `.slt` file of this folder that wants to run in the world, by name.
fn files(world: &World) -> Vec<PathBuf> {
    let wanted = std::env::var("WEIR_SLT").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests");
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "slt") && path.to_string_lossy().contains(&wanted) {
                let text = std::fs::read_to_string(&path).unwrap();
                let worlds = text.lines().next().and_then(|l| l.strip_prefix("# worlds:"));
                if worlds.is_none_or(|w| w.split_whitespace().any(|name| name == world.name)) {
                    files.push(path);
                }
            }
        }
    }
    files.sort();
    files
}

async fn run(world: World) {
    let seed = seed::seed(world.name);
    let bless = std::env::var_os("WEIR_BLESS").is_some() && world.name == "sled";
    let files = files(&world);
    let mut host = Arc::new(Mutex::new(Host::new(&world, seed)));
    let mut failures = Vec::new();
    for file in &files {
        let failure = match run_file(file, host.clone(), bless).await {
            Ok(()) => clean(&host).await.err(),
            Err(e) => Some(e),
        };
        if let Some(failure) = failure {
            let log = host.lock().await.server.log();
            let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display();
            failures.push(format!("{name} in world {}: {failure}\n--- server log ---\n{log}\n---", world.name));
            // What it left behind must not trouble the next.
            host = Arc::new(Mutex::new(Host::new(&world, seed)));
        }
    }
    println!("{}: {} of {} files passed", world.name, files.len() - failures.len(), files.len());
    assert!(failures.is_empty(), "WEIR_SEED={seed}\n{}", failures.join("\n\n"));
}

async fn run_file(file: &Path, host: Arc<Mutex<Host>>, bless: bool) -> Result<(), String> {
    let mut runner = Runner::new(|| {
        let host = host.clone();
        let settle = Duration::from_millis(if bless { 300 } else { 0 });
        async move { Ok(Session { host, client: None, set: Vec::new(), in_transaction: false, settle }) }
    });
    if bless {
        let columns = sqllogictest::strict_column_validator;
        let (validator, normalizer) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
        return runner.update_test_file(file, " ", validator, normalizer, columns).await.map_err(|e| e.to_string());
    }
    runner.run_file_async(file).await.map_err(|e| e.to_string())
}

/// Drops what a file has made, so that the next one finds nothing.
async fn clean(host: &Arc<Mutex<Host>>) -> Result<(), String> {
    let client = Client::connect(host.lock().await.server.port()).await.map_err(|e| e.to_string())?;
    for kind in ["SINK", "MATERIALIZED VIEW", "VIEW", "TABLE", "SOURCE"] {
        let answer = client.run(&format!("SHOW {kind}S")).await.map_err(|e| e.to_string())?;
        let names: Vec<String> = answer.rows.into_iter().flatten().flatten().map(|n| format!("\"{n}\"")).collect();
        if !names.is_empty() {
            let drop = format!("DROP {kind} {} CASCADE", names.join(", "));
            client.run(&drop).await.map_err(|e| format!("{drop}: {e}"))?;
        }
    }
    let roles = "SELECT rolname FROM pg_roles WHERE rolname NOT IN ('root', 'pg_read_all_data')";
    let answer = client.run(roles).await.map_err(|e| e.to_string())?;
    for role in answer.rows.into_iter().flatten().flatten() {
        let drop = format!("REVOKE ALL ON SCHEMA public FROM \"{role}\"; DROP ROLE \"{role}\"");
        client.run(&drop).await.map_err(|e| format!("{drop}: {e}"))?;
    }
    Ok(())
}
