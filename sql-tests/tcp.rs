//! TCP sources over real sockets, killed and started again between what was taken: nothing of the log is lost or doubled,
//! malformed lines are dead letters once, and the log is cut where its retention says.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use weir::common::clock::instant;

use crate::client::{Client, lines};
use crate::server::{Folder, Options, Server};

/// How often what must come true is looked at again.
const PAUSE: Duration = Duration::from_millis(20);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(folder: &Folder, backend: &'static str) -> (Server, Client) {
    let server = Server::start(folder.path(), &Options { backend, ..Options::default() }).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    (server, client)
}

/// Who sends: calls Weir, or is called by it.
enum Sender {
    Calls(u16),
    Waits(TcpListener),
}

impl Sender {
    /// `listen = '…'` or `connect = '…'`.
    fn option(&self) -> String {
        match self {
            Self::Calls(port) => format!("listen = '127.0.0.1:{port}'"),
            Self::Waits(listener) => format!("connect = '{}'", listener.local_addr().unwrap()),
        }
    }

    /// Sends the text over a connection of its own.
    fn send(&self, text: &str) {
        let end = instant() + Duration::from_secs(60);
        let mut stream = match self {
            Self::Waits(listener) => loop {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(PAUSE)).unwrap();
                // Weir sends nothing: what ends or breaks is a connection of a server that was killed.
                if stream.peek(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock) {
                    break stream;
                }
            },
            Self::Calls(port) => loop {
                match TcpStream::connect(("127.0.0.1", *port)) {
                    Ok(stream) => break stream,
                    Err(e) => assert!(instant() < end, "nobody listens: {e}"),
                }
                std::thread::sleep(PAUSE);
            },
        };
        stream.write_all(text.as_bytes()).unwrap();
    }
}

/// The lines of one batch: good ones `from..to`, and behind them what cannot be read.
fn batch(encode: &str, from: u64, to: u64) -> String {
    let mut text = String::new();
    for id in from..to {
        match encode {
            "JSON" => text.push_str(&format!("{{\"id\": {id}, \"name\": \"row {id}\"}}\n")),
            _ => text.push_str(&format!("{id},row {id}\n")),
        }
    }
    text + if encode == "JSON" { "not json at all\n" } else { "no number,x\n" }
}

async fn survives(encode: &str, backend: &'static str, sender: Sender) {
    let folder = Folder::new();
    let (mut server, mut client) = start(&folder, backend).await;
    client
        .execute(&format!(
            "CREATE SOURCE s (id BIGINT, name VARCHAR) WITH (connector = 'tcp', {}) FORMAT PLAIN ENCODE {encode};
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM s",
            sender.option()
        ))
        .await;
    const ROWS: u64 = 200;
    for round in 0..4 {
        let (from, to) = (round * ROWS, (round + 1) * ROWS);
        let text = batch(encode, from, to);
        tokio::task::block_in_place(|| sender.send(&text));
        // What a view shows is in the log, and so on disk.
        client.wait_for("SELECT n FROM v", &to.to_string()).await;
        let letters = (round + 1).to_string();
        client.wait_for("SELECT count(*) FROM weir.dead_letters WHERE source = 's'", &letters).await;
        server.kill();
        (server, client) = start(&folder, backend).await;
        client.execute("FLUSH").await;
        let sum = to * (to - 1) / 2;
        client.wait_for("SELECT n || ' ' || d || ' ' || s FROM v", &format!("{to} {to} {sum}")).await;
        let letters = client.query("SELECT count(*), count(DISTINCT \"offset\") FROM weir.dead_letters").await;
        assert_eq!(lines(&letters), [format!("{n} {n}", n = round + 1)], "{}", server.log());
    }
    // A view that comes later sees all of it.
    client.execute("CREATE MATERIALIZED VIEW later AS SELECT count(id) AS n, max(name) AS last FROM s").await;
    client.wait_for("SELECT n FROM later", &(4 * ROWS).to_string()).await;
    assert_eq!(client.value("SELECT last FROM later").await, "row 99");
    assert_eq!(client.value("SELECT count(DISTINCT (source, \"offset\", raw)) FROM weir.dead_letters").await, "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_sent_to_weir_survive_kills() {
    for (encode, backend) in [("JSON", "sled"), ("CSV", "memory")] {
        survives(encode, backend, Sender::Calls(free_port())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_weir_fetches_survive_kills() {
    for (encode, backend) in [("CSV", "sled"), ("JSON", "memory")] {
        survives(encode, backend, Sender::Waits(TcpListener::bind("127.0.0.1:0").unwrap())).await;
    }
}

/// Bytes of the segments of all logs.
fn log_bytes(folder: &Folder) -> u64 {
    let mut bytes = 0;
    for log in std::fs::read_dir(folder.file("data/log")).unwrap() {
        for segment in std::fs::read_dir(log.unwrap().path()).unwrap() {
            // One may go while it is looked at.
            bytes += segment.unwrap().metadata().map_or(0, |m| m.len());
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_cut_to_its_retention_and_never_before_its_readers() {
    const LIMIT: u64 = 512 << 10;
    let folder = Folder::new();
    let (mut server, mut client) = start(&folder, "sled").await;
    let sender = Sender::Calls(free_port());
    client
        .execute(&format!(
            "CREATE SOURCE s (id BIGINT, pad VARCHAR) WITH (connector = 'tcp', {}, retention.bytes = '{LIMIT}')
             FORMAT PLAIN ENCODE CSV;
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(id) AS s FROM s",
            sender.option()
        ))
        .await;
    let pad = "x".repeat(1000);
    let mut sent = 0;
    for round in 0..4 {
        let text: String = (sent..sent + 1000).map(|id| format!("{id},{pad}\n")).collect();
        sent += 1000;
        tokio::task::block_in_place(|| sender.send(&text));
        client.wait_for("SELECT n FROM v", &sent.to_string()).await;
        if round == 1 {
            server.kill();
            (server, client) = start(&folder, "sled").await;
            client.wait_for("SELECT n FROM v", &sent.to_string()).await;
        }
    }
    let end = instant() + Duration::from_secs(60);
    // Segments are cut as a whole: about the limit.
    while log_bytes(&folder) > LIMIT + (LIMIT / 4) {
        assert!(instant() < end, "the log keeps {} bytes of {sent} kB\n{}", log_bytes(&folder), server.log());
        tokio::time::sleep(PAUSE).await;
    }
    server.kill();
    let (server, client) = start(&folder, "sled").await;
    client.wait_for("SELECT n || ' ' || s FROM v", &format!("{sent} {}", sent * (sent - 1) / 2)).await;
    // A view that comes now begins with what is left.
    client.execute("CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n, max(id) AS hi FROM s").await;
    client.wait_for("SELECT hi FROM later", &(sent - 1).to_string()).await;
    let left: u64 = client.value("SELECT n FROM later").await.parse().unwrap();
    assert!(left > 0 && left < sent, "{left} of {sent} rows are left\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_folder_survives_kills() {
    let folder = Folder::new();
    std::fs::create_dir(folder.file("days")).unwrap();
    let (mut server, mut client) = start(&folder, "sled").await;
    client
        .execute(
            "CREATE SOURCE s (id BIGINT, name VARCHAR) WITH (connector = 'file', path = 'days', follow = 'true')
             FORMAT PLAIN ENCODE JSON;
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM s",
        )
        .await;
    let mut sent = 0;
    for day in 0..4 {
        // Each file grows while it is followed, once with a kill between its halves.
        for half in 0..2 {
            let text = batch("JSON", sent, sent + 100);
            sent += 100;
            let path = folder.file(&format!("days/day-{day}.json"));
            let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
            // A line that is cut short is read when its rest comes.
            let (begin, rest) = text.split_at(text.len() / 2 + 7);
            file.write_all(begin.as_bytes()).unwrap();
            client.wait_for(&format!("SELECT n >= {} FROM v", sent - 60), "t").await;
            if half == day % 2 {
                server.kill();
                (server, client) = start(&folder, "sled").await;
            }
            file.write_all(rest.as_bytes()).unwrap();
            let sum = sent * (sent - 1) / 2;
            client.wait_for("SELECT n || ' ' || d || ' ' || s FROM v", &format!("{sent} {sent} {sum}")).await;
        }
    }
    client.wait_for("SELECT count(*) FROM weir.dead_letters", "8").await;
    drop(server);
}
