//! The Nexmark benchmark's queries as views over the generator, over files and over tables: each must hold what the query
//! gives as a batch over the same events.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::csv::WriterBuilder;
use weir::connector::nexmark::{self, Kind};

use crate::client::{Client, Rows};
use crate::compare;
use crate::server::{Folder, Options, Server};

const EVENTS: u64 = 20_000;

/// Streams with their columns.
const STREAMS: [(&str, &str); 3] = [
    (
        "bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP, extra VARCHAR",
    ),
    (
        "auction",
        "id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP,
         expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR",
    ),
    (
        "person",
        "id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
         date_time TIMESTAMP, extra VARCHAR",
    ),
];

const SIDE_INPUT: &str = "CREATE TABLE side_input (key BIGINT PRIMARY KEY, value VARCHAR);
    INSERT INTO side_input SELECT value, 'side ' || value FROM generate_series(0, 9999, 7) AS s(value)";

/// Where a server's streams come from.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    Generator,
    Files,
    /// Rows that are kept, and so can be asked as a batch.
    Tables,
}

/// The queries by number, as they stand in the examples.
fn queries() -> BTreeMap<u32, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nexmark/queries");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let numbered = files.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().trim_start_matches('q').to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let query: Vec<&str> = text.lines().filter(|l| !l.starts_with("--")).collect();
        (name.parse().unwrap(), query.join("\n").trim_end().trim_end_matches(';').to_string())
    });
    numbered.collect()
}

/// A server with the streams and a view for each query; all of it read.
async fn views(folder: &Folder, input: Input, parallelism: usize) -> (Server, Client) {
    let options = Options { parallelism, ..Options::default() };
    let server = Server::start(folder.path(), &options).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.execute(SIDE_INPUT).await;
    for (name, columns) in STREAMS {
        let kind = if input == Input::Tables { "TABLE" } else { "SOURCE" };
        let options = match input {
            Input::Files => format!("connector = 'file', path = '{name}.csv') FORMAT PLAIN ENCODE CSV"),
            _ => format!("connector = 'nexmark', type = '{name}', events = '{EVENTS}')"),
        };
        let watermark = "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND";
        client.execute(&format!("CREATE {kind} {name} ({columns}, {watermark}) WITH ({options}")).await;
    }
    for (number, query) in queries() {
        client.execute(&format!("CREATE MATERIALIZED VIEW q{number} AS {query}")).await;
    }
    client.wait_for("SELECT bool_and(finished) FROM weir.sources WHERE source <> 'side_input'", "t").await;
    client.execute("FLUSH").await;
    (server, client)
}

async fn answers(client: &Client) -> BTreeMap<u32, Rows> {
    let mut answers = BTreeMap::new();
    for number in queries().into_keys() {
        answers.insert(number, client.query(&format!("SELECT * FROM q{number}")).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_what_the_batch_answers() {
    let tables = Folder::new();
    let (_server, client) = views(&tables, Input::Tables, 3).await;
    let mut expected = BTreeMap::new();
    for (number, query) in queries() {
        expected.insert(number, client.query(&query).await);
    }
    assert_eq!(expected.len(), 23);
    compare_all("tables", answers(&client).await, &expected);
    let generator = Folder::new();
    let (_server, of_generator) = views(&generator, Input::Generator, 1).await;
    compare_all("the generator", answers(&of_generator).await, &expected);

    let files = Folder::new();
    for kind in [Kind::Bid, Kind::Auction, Kind::Person] {
        write(&files.file(&format!("{}.csv", kind.name())), kind);
    }
    let (_server, of_files) = views(&files, Input::Files, 2).await;
    compare_all("files", answers(&of_files).await, &expected);
}

fn compare_all(input: &str, answers: BTreeMap<u32, Rows>, expected: &BTreeMap<u32, Rows>) {
    for (number, rows) in answers {
        if let Some(difference) = compare::difference(rows, expected[&number].clone()) {
            panic!("q{number} over {input} differs from the batch\n{difference}");
        }
    }
}

/// The same events as the generator source makes.
fn write(path: &Path, kind: Kind) {
    let events = nexmark::generate(kind, 0..EVENTS, &kind.schema()).unwrap();
    let format = WriterBuilder::new().with_header(false).with_timestamp_format("%Y-%m-%d %H:%M:%S%.3f".into());
    format.build(File::create(path).unwrap()).write(&events).unwrap();
}
