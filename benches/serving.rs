//! (i): rows served by a key and by an index, beside PostgreSQL: the same rows, the same pgbench, in turns, while Weir
//! keeps a view up to date at full speed, so that both serve under the same load. Left out where pgbench or PostgreSQL
//! is not installed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio_postgres::{Client, NoTls};
use weir::common::clock::instant;

use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome};

const TABLE: &str = "CREATE TABLE account (id INT PRIMARY KEY, owner INT NOT NULL, balance BIGINT, note VARCHAR)";
const INDEX: &str = "CREATE INDEX by_owner ON account (owner)";

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let Some(tools) = Tools::find() else {
        report.progress("(i) serving: pgbench or PostgreSQL is not installed");
        return Ok(());
    };
    let (rows, seconds) = if bench.events < 1_000_000 { (10_000, 3) } else { (100_000, 15) };
    let postgres = Postgres::start(&tools).await?;
    let mut server = Server::fresh(bench, Options::default()).await?;
    let client = server.connect().await?;
    for client in [&postgres.client, &client] {
        client.simple_query(TABLE).await?;
        client.simple_query(INDEX).await?;
        fill(client, rows).await?;
    }
    postgres.client.simple_query("VACUUM ANALYZE account").await?;
    client.simple_query("FLUSH").await?;
    client.simple_query("CREATE SOURCE bid (auction BIGINT, price BIGINT) WITH (connector = 'datagen')").await?;
    client
        .simple_query("CREATE MATERIALIZED VIEW hot AS SELECT auction % 10000 AS auction, count(*) AS n, max(price) AS top FROM bid GROUP BY auction % 10000")
        .await?;
    let before = updates(&client).await?;
    for (what, column) in [("key", "id"), ("index", "owner")] {
        let script = bench.dir.join("lookup.sql");
        fs::write(&script, format!("\\set k random(1, {rows})\nSELECT * FROM account WHERE {column} = :k;\n"))?;
        for mode in ["prepared", "simple"] {
            for clients in [1, 16] {
                let run = Run { script: &script, mode, clients, seconds };
                let theirs = tools.pgbench(postgres.port, ["postgres", "postgres"], &run)?;
                let ours = tools.pgbench(server.port(), ["root", "dev"], &run)?;
                let name = format!("(i) lookup by {what}, {mode}, connections: {clients}");
                let of = format!("{ours:.0} a second, PostgreSQL {theirs:.0}");
                let details = json!({"per_second": ours, "postgres_per_second": theirs});
                report.add(Figure { name, value: theirs / ours, unit: "x", aim: Some(1.0), of, details });
            }
        }
    }
    if updates(&client).await? <= before {
        return Err("the view was not updated meanwhile".into());
    }
    Ok(())
}

/// Accounts, each with an owner of its own.
async fn fill(client: &Client, rows: usize) -> Outcome<()> {
    const AT_ONCE: usize = 1000;
    for first in (1..=rows).step_by(AT_ONCE) {
        let values: Vec<String> = (first..first + AT_ONCE)
            .map(|id| format!("({id}, {}, {}, 'the account of owner {id}')", rows + 1 - id, id * 100))
            .collect();
        client.simple_query(&format!("INSERT INTO account VALUES {}", values.join(", "))).await?;
    }
    Ok(())
}

/// Rows that the hot view has counted.
async fn updates(client: &Client) -> Outcome<i64> {
    let counted = server::row(client, "SELECT coalesce(sum(n), 0)::bigint FROM hot").await?;
    Ok(counted.first().ok_or("no count")?.parse()?)
}

struct Run<'a> {
    script: &'a Path,
    mode: &'a str,
    clients: usize,
    seconds: u64,
}

/// Where the programs are.
struct Tools {
    bin: PathBuf,
    pgbench: PathBuf,
}

impl Tools {
    fn find() -> Option<Self> {
        let with = |program: &str| {
            let folders = ["/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from);
            folders.into_iter().find(|folder| folder.join(program).exists())
        };
        let bin = with("initdb").filter(|bin| bin.join("postgres").exists())?;
        Some(Self { bin, pgbench: with("pgbench")?.join("pgbench") })
    }

    /// Transactions a second.
    fn pgbench(&self, port: u16, [user, database]: [&str; 2], run: &Run<'_>) -> Outcome<f64> {
        let Run { script, mode, clients, seconds } = *run;
        let output = Command::new(&self.pgbench)
            .args(["-n", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", user, "-M", mode])
            .args(["-c", &clients.to_string(), "-j", &clients.min(2).to_string(), "-T", &seconds.to_string(), "-f"])
            .arg(script)
            .arg(database)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|t| t.split(' ').next());
        let tps = tps.ok_or_else(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(tps.parse()?)
    }
}

/// A PostgreSQL of its own, with its default settings; gone when dropped.
struct Postgres {
    child: Child,
    dir: PathBuf,
    port: u16,
    client: Client,
}

impl Postgres {
    async fn start(tools: &Tools) -> Outcome<Self> {
        // It refuses to run as root; its user may not see into other folders than this.
        let dir = std::env::temp_dir().join(format!("weir-bench-postgres-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let root = fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
        let command = |program: &str| {
            let program = tools.bin.join(program);
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
                    return Ok(Self { child, dir, port, client });
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
