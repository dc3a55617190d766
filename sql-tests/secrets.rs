//! Secrets of the real binary: used after kills, changed, and shown nowhere: not in a catalog, not in the log.

use std::fs;

use crate::client::{Client, lines};
use crate::server::{Folder, Options, Server};

const VALUE: &str = "hush_hush_17.csv";
const NEXT: &str = "hush_hush_18.csv";

fn silent(what: &str, told: &str) {
    let at = told.find("hush_hush");
    assert!(at.is_none(), "{what} tells a secret: {told}");
}

/// Every relation of every schema but the users' own.
async fn catalogs_are_silent(client: &Client) {
    let sql = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema <> 'public'";
    let names = client.query(sql).await;
    assert!(names.len() > 40, "{names:?}");
    for name in names.iter().flatten().flatten() {
        // Some have a column that the query engine adds, too, and cannot be read whole.
        let told = client.run(&format!("SELECT * FROM {name}")).await;
        silent(name, &format!("{told:?}"));
    }
}

#[tokio::test]
async fn a_secret_is_used_and_never_shown() {
    let folder = Folder::new();
    fs::write(folder.file(VALUE), "1\n2\nx\n").unwrap();
    fs::write(folder.file(NEXT), "3\n").unwrap();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    let watcher = Client::connect(server.port()).await.unwrap();
    client.execute(&format!("CREATE SECRET place AS '{VALUE}'")).await;
    let seen = watcher.query("SELECT query FROM pg_stat_activity WHERE query LIKE 'CREATE SECRET%'").await;
    assert_eq!(lines(&seen), ["CREATE SECRET place AS <hidden>"]);
    for sql in [
        format!("CREATE SECRET place AS '{VALUE}'"),
        format!("CREATE SECRET other AS '{VALUE}' x"),
        "CREATE SOURCE s (a INT) WITH (connector = 'file', path = 'x', follow = SECRET place) FORMAT PLAIN ENCODE CSV"
            .into(),
        "CREATE SOURCE s (a INT) WITH (connector = 'tcp', listen = SECRET place) FORMAT PLAIN ENCODE CSV".into(),
        "CREATE SINK k AS SELECT 1 AS a WITH (connector = 'file', path = 'x', type = SECRET place) FORMAT PLAIN ENCODE CSV"
            .into(),
    ] {
        let e = client.run(&sql).await.unwrap_err();
        silent(&sql, &format!("{e:?}"));
    }
    client
        .execute("CREATE SOURCE s (a INT) WITH (connector = 'file', path = SECRET place, follow = 'true') FORMAT PLAIN ENCODE CSV").await;
    client.execute("CREATE MATERIALIZED VIEW m AS SELECT sum(a) AS a FROM s").await;
    client
        .run("CREATE SINK k FROM m WITH (connector = 'file', path = SECRET place_out) FORMAT PLAIN ENCODE JSON")
        .await
        .unwrap_err();
    client.execute("CREATE SECRET place_out AS 'hush_hush_out'").await;
    client.execute("CREATE SINK k FROM m WITH (connector = 'file', path = SECRET place_out, type = 'changes') FORMAT PLAIN ENCODE JSON").await;
    client.wait_for("SELECT a FROM m", "3").await;
    let explained = client.query("EXPLAIN CREATE MATERIALIZED VIEW n AS SELECT sum(a) AS a FROM s").await;
    silent("EXPLAIN", &format!("{explained:?}"));
    let letters = client.query("SELECT split, raw FROM weir.dead_letters").await;
    assert!(format!("{letters:?}").contains("SECRET place"), "{letters:?}");
    catalogs_are_silent(&client).await;

    // The value is on disk, and nobody else reads it there.
    use std::os::unix::fs::PermissionsExt;
    for dir in ["data", "data/state"] {
        assert_eq!(fs::metadata(folder.file(dir)).unwrap().permissions().mode() & 0o777, 0o700, "{dir}");
    }
    server.kill();
    silent("the log", &server.log());
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.wait_for("SELECT a FROM m", "3").await;

    // Another value counts from the next start on; what was read stays.
    client.execute(&format!("ALTER SECRET place AS '{NEXT}'")).await;
    client.execute("CREATE MATERIALIZED VIEW n AS SELECT sum(a) AS a FROM s").await;
    client.wait_for("SELECT a FROM n", "3").await;
    server.kill();
    silent("the log", &server.log());
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    client.wait_for("SELECT a FROM m", "6").await;
    catalogs_are_silent(&client).await;
    silent("the log", &server.log());
}
