//! What no driver sends: bytes and messages at random or bent, before and after start-up, and SQL that is a soup of
//! tokens. The server answers or closes, lives, and another session goes on. `WEIR_SEED` repeats a run, `WEIR_RUNS` makes
//! it longer.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::seed::{number, rng, seed};
use crate::server::{Folder, Options, Server};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A well-formed message: its type, 0 for a start-up packet, and what it says.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if tag != 0 {
        out.push(tag);
    }
    out.extend((body.len() as i32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn startup() -> Vec<u8> {
    message(0, b"\0\x03\0\0user\0root\0database\0dev\0\0")
}

/// Messages as a driver sends them, one of each kind, in an order that makes sense.
fn dialogue() -> Vec<Vec<u8>> {
    vec![
        message(b'Q', b"SELECT k, v FROM fuzzed; SELECT 'x'\0"),
        message(b'P', b"s\0SELECT $1::int + k FROM fuzzed WHERE v = $2\0\0\x01\0\0\0\x17"),
        message(b'D', b"Ss\0"),
        message(b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01a\0\x01\0\x01"),
        message(b'D', b"Pp\0"),
        message(b'E', b"p\0\0\0\0\x01"),
        message(b'C', b"Ss\0"),
        message(b'H', b""),
        message(b'S', b""),
        message(b'Q', b"COPY fuzzed FROM STDIN (FORMAT csv)\0"),
        message(b'd', b"1,a\n2,\"b\n\"\n"),
        message(b'c', b""),
        message(b'Q', b"COPY fuzzed FROM STDIN (FORMAT binary)\0"),
        message(b'd', b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\xff\xff"),
        message(b'f', b"no more\0"),
        message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        message(b'p', b"secret\0"),
    ]
}

/// Bends bytes: flips, cuts, doubles, puts lengths that lie.
fn bend(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(rng).unwrap(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            _ => {
                let end = (at + 4).min(bytes.len());
                let lie: i32 = *[-1, 0, 3, i32::MAX, i32::MIN, 1 << 20].choose(rng).unwrap();
                bytes.splice(at..end, lie.to_be_bytes());
            }
        }
    }
}

/// Sends and reads until the server closes, or has said nothing for a while.
async fn exchange(port: u16, pieces: &[Vec<u8>]) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("the server takes connections");
    let talk = async {
        for piece in pieces {
            if socket.write_all(piece).await.is_err() {
                return;
            }
        }
        // It has had all that there is: a server that waits for more sees the end.
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the server answers or closes");
}

struct World {
    _folder: Folder,
    server: Server,
    /// A session that must not be disturbed.
    witness: Client,
}

impl World {
    async fn new() -> Self {
        let folder = Folder::new();
        let server = Server::start(folder.path(), &Options::default()).unwrap();
        let witness = Client::connect(server.port()).await.unwrap();
        witness.run("CREATE TABLE fuzzed (k INT PRIMARY KEY, v VARCHAR)").await.unwrap();
        witness
            .run("CREATE MATERIALIZED VIEW counted AS SELECT v, count(*) AS n FROM fuzzed GROUP BY v")
            .await
            .unwrap();
        witness.run("INSERT INTO fuzzed VALUES (1, 'a'), (2, NULL)").await.unwrap();
        Self { _folder: folder, server, witness }
    }

    async fn lives(&mut self, what: &str) {
        if let Some(status) = self.server.wait(Duration::ZERO) {
            panic!("{what}: the server ended with {status}:\n{}", self.server.log());
        }
        let answer = tokio::time::timeout(PATIENCE, self.witness.run("SELECT 1"));
        let answer = answer.await.unwrap_or_else(|_| panic!("{what}: another session hangs"));
        assert_eq!(answer.unwrap().rows, [[Some("1".to_string())]], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_no_driver_sends() {
    let seed = seed("fuzz of messages");
    let mut world = World::new().await;
    for run in 0..number("WEIR_RUNS", 150) {
        let mut rng = rng(seed.wrapping_add(run as u64));
        let pieces = match rng.random_range(0..4) {
            // Noise, at once and behind a good beginning.
            0 | 1 => {
                let mut noise = vec![0; rng.random_range(1..200)];
                rng.fill_bytes(&mut noise);
                if rng.random() { vec![noise] } else { vec![startup(), noise] }
            }
            2 => {
                let mut first = startup();
                bend(&mut first, &mut rng);
                vec![first]
            }
            _ => {
                let mut pieces = dialogue();
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..pieces.len());
                    bend(&mut pieces[at], &mut rng);
                }
                if rng.random() {
                    let (a, b) = (rng.random_range(0..pieces.len()), rng.random_range(0..pieces.len()));
                    pieces.swap(a, b);
                }
                pieces.insert(0, startup());
                pieces
            }
        };
        exchange(world.server.port(), &pieces).await;
        world.lives(&format!("run {run}")).await;
    }
    world.server.stop();
}

/// What SQL is made of, and what it is not.
const TOKENS: &str = "SELECT FROM WHERE GROUP BY ORDER LIMIT OFFSET JOIN LEFT FULL ON USING UNION ALL EXCEPT INTERSECT WITH \
    RECURSIVE AS INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE VIEW MATERIALIZED SOURCE INDEX DROP ALTER EXPLAIN ANALYZE \
    BEGIN COMMIT CASE WHEN THEN ELSE END CAST INTERVAL OVER PARTITION ROWS BETWEEN AND OR NOT NULL IS IN EXISTS ANY LIKE \
    DISTINCT HAVING TUMBLE HOP EMIT CLOSE WINDOW PREPARE EXECUTE DECLARE CURSOR FETCH SHOW COPY TO STDOUT GRANT REVOKE \
    fuzzed counted k v n a.b pg_class weir.jobs ( ( ( ) ) ) , , , ; . * * + - / % = <> < >= || :: -> ->> @> [ ] { } ~ $1 $9 \
    'x' 'a''b' '{1,2}' '{' '2024-01-01' '1 day' E'\\x' $$ $a$ \"k\" \" ' -- /* */ 0 1 -1 1.5 1e400 9223372036854775808 0x1F \
    int bigint text numeric(3,2) jsonb uuid timestamp date interval count(*) sum(k) max(v) array_agg( unnest( to_char( now() \
    generate_series(1,3) ROLLUP(k) ARRAY[1,2] ROW(1) grün \u{0} \u{1F600}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_that_nobody_writes() {
    let seed = seed("fuzz of SQL");
    let mut world = World::new().await;
    let tokens: Vec<&str> = TOKENS.split_whitespace().collect();
    let mut client = Client::connect(world.server.port()).await.unwrap();
    for run in 0..number("WEIR_RUNS", 400) {
        let mut rng = rng(seed.wrapping_add(run as u64));
        let mut words: Vec<&str> = match rng.random_range(0..3) {
            0 => vec!["SELECT", "k", "FROM", "fuzzed", "WHERE"],
            1 => vec!["SELECT"],
            _ => vec![],
        };
        for _ in 0..rng.random_range(1..25) {
            words.push(tokens.choose(&mut rng).unwrap());
        }
        // A COPY that waits for its data would wait for ever; a NUL would end the message.
        let sql = words.join(" ").replace('\0', "").replace("STDIN", "x");
        let answer = tokio::time::timeout(PATIENCE, client.run(&sql)).await;
        match answer {
            Err(_) => panic!("run {run} hangs: {sql}\n{}", world.server.log()),
            Ok(Err(e)) if e.sqlstate == "XX000" => panic!("run {run} hit a bug: {sql}\n{e}"),
            Ok(Err(e)) if e.is_broken() => client = Client::connect(world.server.port()).await.unwrap(),
            Ok(_) => {}
        }
        world.lives(&sql).await;
    }
    world.server.stop();
}
