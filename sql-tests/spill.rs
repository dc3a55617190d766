//! State that is larger than the memory limit: a join, an aggregation that keeps values, and the tables below them, far
//! beyond 64 MiB together, changed at random places, killed, and changed again. The rows are compared with a model's.
//!
//! `make spill ROWS=150000` keeps more than a gigabyte.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, distr::Alphanumeric};

use crate::client::Client;
use crate::seed::{number, rng, seed};
use crate::server::{Folder, MOST, Options, Server};

const LIMIT: i64 = 64 << 20;
/// What it takes at the most, however many the rows: beside the limit a debug build itself, what is on its way to disk, and
/// what the allocator has not given back. 30,000 and 60,000 rows took 710 and 720 MB.
const PEAK: i64 = LIMIT + (900 << 20);
/// Rows of an INSERT.
const BATCH: usize = 300;
/// Bytes of a row's text, about.
const BYTES: usize = 1000;

/// What the two tables hold.
struct Model {
    random: StdRng,
    /// Texts are pieces of it that seldom overlap: they get hardly smaller on disk.
    text: String,
    /// Group, text.
    facts: BTreeMap<usize, (usize, String)>,
    groups: usize,
}

impl Model {
    fn text(&mut self) -> String {
        let length = self.random.random_range(BYTES - 100..BYTES + 100);
        let from = self.random.random_range(0..self.text.len() - length);
        self.text[from..from + length].to_string()
    }

    /// Inserts, updates and deletes one row each.
    async fn change(&mut self, client: &Client, times: usize) {
        for _ in 0..times {
            let Some(id) = self.facts.keys().copied().choose(&mut self.random) else { return };
            match self.random.random_range(0..3) {
                0 => {
                    client.execute(&format!("DELETE FROM fact WHERE id = {id}")).await;
                    self.facts.remove(&id);
                }
                _ => {
                    let (group, text) = (self.random.random_range(0..self.groups), self.text());
                    client.execute(&format!("UPDATE fact SET k = {group}, s = '{text}' WHERE id = {id}")).await;
                    self.facts.insert(id, (group, text));
                }
            }
        }
    }

    /// The views are what the model says: as a whole by numbers, and some rows to the last byte.
    async fn compare(&mut self, client: &Client) {
        let bytes: usize = self.facts.values().map(|(_, text)| text.len()).sum();
        let rows = client.query("SELECT count(*), sum(length(fs)), count(DISTINCT id) FROM joined").await;
        let wanted = [self.facts.len(), bytes, self.facts.len()].map(|n| Some(n.to_string()));
        assert_eq!(rows, [wanted], "the join");
        let mut grouped: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (group, text) in self.facts.values() {
            grouped.entry(*group).or_default().push(text);
        }
        let rows = client.query("SELECT count(*), sum(n) FROM grouped").await;
        assert_eq!(rows, [[grouped.len(), self.facts.len()].map(|n| Some(n.to_string()))], "the aggregation");
        for (group, mut texts) in grouped.into_iter().choose_multiple(&mut self.random, 50) {
            texts.sort_unstable();
            let rows = client.query(&format!("SELECT n, low, high FROM grouped WHERE k = {group}")).await;
            let wanted = [texts.len().to_string(), texts[0].to_string(), texts[texts.len() - 1].to_string()];
            assert_eq!(rows, [wanted.map(Some)], "group {group}");
        }
        for (id, (group, text)) in self.facts.iter().choose_multiple(&mut self.random, 50) {
            let rows = client.query(&format!("SELECT fs, left(ds, 8) FROM joined WHERE id = {id}")).await;
            assert_eq!(rows, [[Some(text.clone()), Some(format!("{group:08}"))]], "row {id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_beyond_memory_is_right() {
    let rows = number("WEIR_ROWS", 15_000);
    let mut random = rng(seed("spill"));
    let text = (&mut random).sample_iter(Alphanumeric).take(1 << 21).map(char::from).collect();
    let mut model = Model { random, text, facts: BTreeMap::new(), groups: rows / 2 };
    let folder = Folder::new();
    let options = Options { memory: "64MiB", barrier: "200ms", checkpoint: "500ms", ..Options::default() };
    let mut server = Server::start(folder.path(), &options).unwrap();
    let mut client = Client::connect(server.port()).await.unwrap();
    client.execute("CREATE TABLE fact (id BIGINT PRIMARY KEY, k BIGINT, s VARCHAR)").await;
    client.execute("CREATE TABLE dim (id BIGINT PRIMARY KEY, s VARCHAR)").await;
    for view in [
        "joined AS SELECT f.id, f.s AS fs, d.s AS ds FROM fact f JOIN dim d ON f.k = d.id",
        "grouped AS SELECT k, count(*) AS n, min(s) AS low, max(s) AS high FROM fact GROUP BY k",
    ] {
        client.execute(&format!("CREATE MATERIALIZED VIEW {view}")).await;
    }
    client.execute("SET implicit_flush = off").await;
    for first in (0..model.groups).step_by(BATCH) {
        let values = (first..model.groups.min(first + BATCH)).map(|id| format!("({id}, '{id:08}{}')", model.text()));
        let values = values.collect::<Vec<_>>().join(", ");
        client.execute(&format!("INSERT INTO dim VALUES {values}")).await;
    }
    for first in (0..rows).step_by(BATCH) {
        let mut values = Vec::new();
        for id in first..rows.min(first + BATCH) {
            let (group, text) = (model.random.random_range(0..model.groups), model.text());
            values.push(format!("({id}, {group}, '{text}')"));
            model.facts.insert(id, (group, text));
        }
        client.execute(&format!("INSERT INTO fact VALUES {}", values.join(", "))).await;
    }
    client.execute("FLUSH").await;
    model.compare(&client).await;
    let state: i64 = client.value("SELECT sum(state_bytes) FROM weir.operators").await.parse().unwrap();
    println!("{state} bytes of state for {rows} rows, at the most in memory: {:?}", server.memory(MOST));
    assert!(state > 2 * LIMIT, "{state} bytes of state are not much more than the limit");
    model.change(&client, 100).await;
    client.execute("FLUSH").await;
    model.compare(&client).await;
    model.change(&client, 50).await;
    if let Some(most) = server.memory(MOST) {
        assert!(most < PEAK, "{most} bytes were in memory");
    }
    server.kill();
    server = Server::start(folder.path(), &options).unwrap();
    client = Client::connect(server.port()).await.unwrap();
    model.compare(&client).await;
    model.change(&client, 50).await;
    model.compare(&client).await;
    if let Some(most) = server.memory(MOST) {
        assert!(most < PEAK, "{most} bytes were in memory after the restart");
    }
}
