//! SUBSCRIBE over the wire: who goes on after each kill of the server ends with exactly the rows that there are, and who
//! cancels or leaves ends the subscription.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::client::{Client, Failure, Rows};
use crate::seed;
use crate::server::{Folder, Options, Server};

/// Kills on one data folder.
const KILLS: usize = 4;
/// Longest life in milliseconds.
const LIFE: u64 = 800;
/// Where a server may kill itself, and up to how many times the point is passed before.
const POINTS: &[(&str, usize)] = &[("state.commit.apply", 4), ("state.commit.flush", 4)];
const PATIENCE: Duration = Duration::from_secs(60);

const SETUP: &str = "
CREATE TABLE t (k INT PRIMARY KEY, v BIGINT);
CREATE MATERIALIZED VIEW v AS SELECT k % 5 AS g, count(*) AS n, sum(v) AS s FROM t GROUP BY k % 5;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_misses_and_doubles_nothing() {
    let seed = seed::seed("subscribe");
    for backend in ["sled", "memory"] {
        outlive_kills(&mut seed::rng(seed), backend).await;
    }
}

async fn outlive_kills(random: &mut StdRng, backend: &'static str) {
    let folder = Folder::new();
    let mut options = Options { backend, parallelism: random.random_range(1..=3), ..Options::default() };
    let mut server = Server::start(folder.path(), &options).unwrap();
    Client::connect(server.port()).await.unwrap().execute(SETUP).await;
    let mut copies = [Copied::of("t"), Copied::of("v")];
    for kill in 0..KILLS {
        let writer = tokio::spawn(write(server.port(), random.random()));
        let readers = copies.map(|copy| tokio::spawn(copy.until_broken(server.port())));
        if options.failpoints.is_empty() {
            tokio::time::sleep(Duration::from_millis(random.random_range(LIFE / 4..LIFE))).await;
        } else {
            server.wait(Duration::from_millis(2 * LIFE));
        }
        server.kill();
        writer.await.unwrap();
        let [t, v] = readers;
        copies = [t.await.unwrap(), v.await.unwrap()];
        options.parallelism = random.random_range(1..=3);
        options.failpoints = match POINTS[random.random_range(0..POINTS.len())] {
            _ if kill % 2 == 0 => String::new(),
            (name, most) => format!("{name}={}*off->return(kill)", random.random_range(1..=most)),
        };
        if kill + 1 == KILLS {
            options.failpoints.clear();
        }
        server = Server::start(folder.path(), &options).unwrap();
    }
    let client = Client::connect(server.port()).await.unwrap();
    client.execute("FLUSH").await;
    for mut copy in copies {
        let name = copy.name;
        assert!(copy.resumed > 0, "{backend}: the subscription to {name} never went on from an epoch");
        let rows = client.query(&format!("SELECT * FROM {name}")).await;
        let read = tokio::time::timeout(PATIENCE, copy.read(&client, Some(&rows))).await;
        assert!(matches!(read, Ok(Ok(()))), "{backend}: {read:?}: {name} has {rows:?}, its copy {:?}", copy.rows);
        client.execute("CLOSE c").await;
    }
}

/// Changes random rows until the connection breaks.
async fn write(port: u16, seed: u64) {
    let mut random = seed::rng(seed);
    let Ok(client) = Client::connect(port).await else { return };
    loop {
        let k = random.random_range(0..40);
        let sql = match random.random_range(0..4) {
            0 => format!("DELETE FROM t WHERE k = {k}"),
            1 => format!("INSERT INTO t VALUES ({k}, NULL), ({}, 1)", k + 1),
            _ => format!("INSERT INTO t VALUES ({k}, {})", random.random_range(0..3)),
        };
        if let Err(e) = client.run(&sql).await {
            assert!(e.is_broken(), "{sql}: {e}");
            return;
        }
    }
}

/// What a subscriber has made of what it was given.
struct Copied {
    name: &'static str,
    /// Rows and how often they are there, at the end of `epoch`.
    rows: BTreeMap<Vec<Option<String>>, i64>,
    epoch: Option<String>,
    /// How often it went on from an epoch.
    resumed: usize,
}

impl Copied {
    fn of(name: &'static str) -> Self {
        Self { name, rows: BTreeMap::new(), epoch: None, resumed: 0 }
    }

    async fn until_broken(mut self, port: u16) -> Self {
        if let Ok(client) = Client::connect(port).await
            && let Err(e) = self.read(&client, None).await
        {
            assert!(e.is_broken(), "{}: {e}", self.name);
        }
        self
    }

    /// Reads on until the copy is `wanted`. What belongs to an epoch that is not known to be whole is forgotten.
    async fn read(&mut self, client: &Client, wanted: Option<&Rows>) -> Result<(), Failure> {
        let since = self.epoch.as_ref().map(|epoch| format!("SINCE {epoch}")).unwrap_or_default();
        let name = self.name;
        client.run(&format!("DECLARE c CURSOR FOR SUBSCRIBE TO {name} {since} WITH (progress = true)")).await?;
        self.resumed += usize::from(self.epoch.is_some());
        let mut open = Vec::new();
        loop {
            for mut row in client.run("FETCH 20 FROM c WITH (timeout = '100ms')").await?.rows {
                let columns = row.split_off(3);
                match row[2].as_deref() {
                    Some("f") => open.push((columns, row[1].as_ref().unwrap().parse::<i64>().unwrap())),
                    _ => {
                        self.epoch = row[0].clone();
                        self.complete(open.drain(..));
                    }
                }
            }
            if let Some(wanted) = wanted
                && self.rows.iter().map(|(row, n)| (row, *n)).eq(counted(wanted).iter().map(|(row, n)| (row, *n)))
            {
                return Ok(());
            }
        }
    }

    fn complete(&mut self, changes: impl Iterator<Item = (Vec<Option<String>>, i64)>) {
        for (row, weight) in changes {
            *self.rows.entry(row).or_default() += weight;
        }
        self.rows.retain(|_, n| *n != 0);
        let wrong = self.rows.iter().find(|(_, n)| **n != 1);
        assert_eq!(wrong, None, "{}: a row with a key is there once", self.name);
    }
}

fn counted(rows: &Rows) -> BTreeMap<Vec<Option<String>>, i64> {
    let mut counted = BTreeMap::new();
    for row in rows {
        *counted.entry(row.clone()).or_default() += 1;
    }
    counted
}

/// A connection that can be cut.
async fn connect(port: u16) -> (tokio_postgres::Client, JoinHandle<()>) {
    let config = format!("host=127.0.0.1 port={port} user=root dbname=dev connect_timeout=10");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

/// The weight and key of the next row, or what the subscription ended with.
async fn next(
    rows: &mut (impl StreamExt<Item = Result<SimpleQueryMessage, tokio_postgres::Error>> + Unpin),
) -> Result<String, SqlState> {
    loop {
        match tokio::time::timeout(PATIENCE, rows.next()).await.expect("a row or an error") {
            Some(Ok(SimpleQueryMessage::Row(row))) => {
                return Ok(format!("{} {}", row.get("weir_weight").unwrap(), row.get("k").unwrap()));
            }
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(e.code().cloned().unwrap_or(SqlState::CONNECTION_FAILURE)),
            None => panic!("a subscription has no end"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cancels_or_leaves_ends_the_subscription() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute("CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;

    let (subscriber, connection) = connect(server.port()).await;
    {
        let mut rows = pin!(subscriber.simple_query_raw("SUBSCRIBE TO t").await.unwrap());
        assert_eq!(next(&mut rows).await.unwrap(), "1 1");
        client.execute("INSERT INTO t VALUES (2)").await;
        assert_eq!(next(&mut rows).await.unwrap(), "1 2", "it comes while the statement runs");
        client.execute("DELETE FROM t WHERE k = 1").await;
        assert_eq!(next(&mut rows).await.unwrap(), "-1 1");
        subscriber.cancel_token().cancel_query(NoTls).await.unwrap();
        assert_eq!(next(&mut rows).await, Err(SqlState::QUERY_CANCELED));
    }
    subscriber.simple_query("SET statement_timeout = '200ms'").await.unwrap();
    {
        let mut rows = pin!(subscriber.simple_query_raw("SUBSCRIBE TO t").await.unwrap());
        assert_eq!(next(&mut rows).await.unwrap(), "1 2");
        assert_eq!(next(&mut rows).await, Err(SqlState::QUERY_CANCELED), "statement_timeout");
    }
    subscriber.simple_query("SET statement_timeout = 0").await.unwrap();
    {
        let mut rows = pin!(subscriber.simple_query_raw("SUBSCRIBE TO t").await.unwrap());
        assert_eq!(next(&mut rows).await.unwrap(), "1 2");
        connection.abort();
    }
    // Who asks is the only one that is left.
    client.wait_for("SELECT count(*) FROM pg_stat_activity", "1").await;

    let (subscriber, _connection) = connect(server.port()).await;
    let mut rows = pin!(subscriber.simple_query_raw("SUBSCRIBE TO t").await.unwrap());
    assert_eq!(next(&mut rows).await.unwrap(), "1 2");
    client.execute("DROP TABLE t").await;
    assert_eq!(next(&mut rows).await, Err(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE), "the table was dropped");
}
