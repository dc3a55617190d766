//! (i): rows served by a key and by an index, beside PostgreSQL: the same rows, the same pgbench, in turns, while Weir
//! keeps a view up to date at full speed, so that both serve under the same load. Left out where pgbench or PostgreSQL
//! is not installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio_postgres::Client;

use crate::postgres::{self, Postgres};
use crate::report::{Figure, Report};
use crate::server::{self, Options, Server};
use crate::{Bench, Outcome, median};

const TABLE: &str = "CREATE TABLE account (id INT PRIMARY KEY, owner INT NOT NULL, balance BIGINT, note VARCHAR)";
const INDEX: &str = "CREATE INDEX by_owner ON account (owner)";

pub async fn measure(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let Some(tool) = postgres::program("pgbench") else {
        report.progress("(i) serving: pgbench is not installed");
        return Ok(());
    };
    let Some(postgres) = Postgres::start().await? else {
        report.progress("(i) serving: PostgreSQL is not installed");
        return Ok(());
    };
    let (rows, seconds, rounds) = if bench.events < 1_000_000 { (10_000, 3, 1) } else { (100_000, 3, 7) };
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
                // In turns, as the machine's speed moves by more than the difference.
                let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
                for _ in 0..rounds {
                    let (there, here) = (
                        pgbench(&tool, postgres.port, ["postgres", "postgres"], &run)?,
                        pgbench(&tool, server.port(), ["root", "dev"], &run)?,
                    );
                    theirs.push(there);
                    ours.push(here);
                    ratios.push(there / here);
                }
                let name = format!("(i) lookup by {what}, {mode}, connections: {clients}");
                let of = format!("{:.0} a second, PostgreSQL {:.0}", median(&ours), median(&theirs));
                let details = json!({"per_second": ours, "postgres_per_second": theirs});
                report.add(Figure { name, value: median(&ratios), unit: "x", aim: Some(1.0), of, details });
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

/// Transactions a second.
fn pgbench(program: &Path, port: u16, [user, database]: [&str; 2], run: &Run<'_>) -> Outcome<f64> {
    let Run { script, mode, clients, seconds } = *run;
    let output = Command::new(program)
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
