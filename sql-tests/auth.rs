//! Logging in to the real binary: passwords, roles and their limits, over tokio-postgres and psql, through kill -9.

use std::process::Command;

use tokio_postgres::{Client, NoTls};

use crate::server::{Folder, Options, Server};

async fn connect(port: u16, user: &str, password: &str) -> Result<Client, (String, String)> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname("dev").password(password);
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            Ok(client)
        }
        Err(e) => match e.as_db_error() {
            Some(e) => Err((e.code().code().to_string(), e.message().to_string())),
            None => Err((String::new(), e.to_string())),
        },
    }
}

/// The SQLSTATE of a statement's failure.
async fn state(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => "00000".into(),
        Err(e) => e.code().map_or_else(String::new, |c| c.code().to_string()),
    }
}

#[tokio::test]
async fn roles_log_in_with_their_passwords_through_a_kill() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    // As long as root has no password, loopback is trusted.
    let root = connect(server.port(), "root", "anything").await.unwrap();
    root.batch_execute("CREATE TABLE t (a INT); CREATE ROLE group_only; CREATE USER ann PASSWORD 'séc,=ret'")
        .await
        .unwrap();
    root.batch_execute("CREATE USER old PASSWORD 'x' VALID UNTIL '2001-01-01'; CREATE USER bare").await.unwrap();
    root.batch_execute("GRANT SELECT ON t TO ann; ALTER USER root PASSWORD 'r'").await.unwrap();
    server.kill();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let port = server.port();

    // Nothing tells a wrong password from a user that is not there.
    for (user, password) in [
        ("root", "wrong"),
        ("ann", "wrong"),
        ("nobody", "wrong"),
        ("bare", ""),
        ("bare", "x"),
        ("old", "x"),
        ("group_only", "x"),
    ] {
        let (state, message) = connect(port, user, password).await.err().unwrap();
        if !password.is_empty() {
            assert_eq!(
                (state.as_str(), message),
                ("28P01", format!("password authentication failed for user \"{user}\""))
            );
        }
    }
    let root = connect(port, "root", "r").await.unwrap();
    let ann = connect(port, "ann", "séc,=ret").await.unwrap();
    assert_eq!(state(&ann, "SELECT * FROM t").await, "00000");
    assert_eq!(state(&ann, "INSERT INTO t VALUES (1)").await, "42501");
    assert_eq!(state(&ann, "CREATE ROLE x").await, "42501");
    assert_eq!(state(&ann, "SET SESSION AUTHORIZATION root").await, "42501");
    assert_eq!(state(&ann, "ALTER ROLE ann PASSWORD 'mine'").await, "00000");
    assert_eq!(state(&ann, "ALTER ROLE ann SUPERUSER").await, "42501");
    assert_eq!(state(&ann, "ALTER ROLE root PASSWORD 'mine'").await, "42501");
    assert!(connect(port, "ann", "séc,=ret").await.is_err());

    root.batch_execute("ALTER ROLE ann CONNECTION LIMIT 1").await.unwrap();
    assert_eq!(connect(port, "ann", "mine").await.err().unwrap().0, "53300");
    root.batch_execute("ALTER ROLE ann CONNECTION LIMIT -1 NOLOGIN").await.unwrap();
    let (state_now, message) = connect(port, "ann", "mine").await.err().unwrap();
    assert_eq!((state_now.as_str(), message.as_str()), ("28000", "role \"ann\" is not permitted to log in"));

    // Dropped while connected: the session has nothing left.
    root.batch_execute("REVOKE ALL ON t FROM ann; DROP ROLE ann").await.unwrap();
    assert_eq!(state(&ann, "SELECT * FROM t").await, "42501");

    let psql = Command::new("psql")
        .args([
            "-X",
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-U",
            "root",
            "-d",
            "dev",
            "-Atc",
            "SELECT current_user",
        ])
        .env("PGPASSWORD", "r")
        .output();
    if let Ok(output) = psql {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "root\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn the_log_tells_definitions_and_refused_log_ins_and_no_passwords() {
    let folder = Folder::new();
    let mut server = Server::start(folder.path(), &Options::default()).unwrap();
    let port = server.port();
    let root = connect(port, "root", "").await.unwrap();
    root.batch_execute("CREATE TABLE t (a INT); CREATE USER ann PASSWORD 'hidden one'; GRANT SELECT ON t TO ann")
        .await
        .unwrap();
    assert_eq!(state(&root, "CREATE TABLE t (a INT)").await, "42P07");
    let ann = connect(port, "ann", "hidden one").await.unwrap();
    assert_eq!(state(&ann, "DROP TABLE t").await, "42501");
    root.batch_execute("ALTER USER root PASSWORD 'hidden two'").await.unwrap();
    for _ in 0..5 {
        let (state, _) = connect(port, "ann", "hidden three").await.err().unwrap();
        assert_eq!(state, "28P01");
    }
    drop((root, ann));
    server.stop();
    let log = server.log();
    for line in [
        r#"done session=1 login="root" user="root" action="CREATE TABLE" object="t""#,
        r#"done session=1 login="root" user="root" action="CREATE ROLE" object="ann""#,
        r#"action="GRANT""#,
        r#"refused session=1 login="root" user="root" action="CREATE TABLE" object="t" state="42P07""#,
        r#"refused session=2 login="ann" user="ann" action="DROP" object="t" state="42501""#,
        r#"log-in refused user="ann" database="dev""#,
        // Who guesses waits.
        r#"log-in slowed down user="ann" peer=127.0.0.1"#,
    ] {
        assert!(log.lines().any(|l| l.contains(" audit: ") && l.contains(line)), "{line} is not in\n{log}");
    }
    assert!(!log.contains("hidden"), "{log}");
}

#[tokio::test]
async fn rules_are_read_again() {
    let folder = Folder::new();
    let settings = folder.file("weir.toml");
    let rule = |user: &str, method: &str| {
        format!(
            "[[rules]]\ntype = \"host\"\ndatabase = \"all\"\nuser = \"{user}\"\naddress = \"all\"\nmethod = \"{method}\"\n"
        )
    };
    std::fs::write(&settings, rule("all", "trust")).unwrap();
    let server = Server::start(folder.path(), &Options { config: "weir.toml", ..Options::default() }).unwrap();
    let port = server.port();
    let root = connect(port, "root", "").await.unwrap();
    root.batch_execute("CREATE USER guest").await.unwrap();
    let guest = connect(port, "guest", "").await.unwrap();
    assert_eq!(state(&guest, "SELECT pg_reload_conf()").await, "42501");

    std::fs::write(&settings, rule("guest", "reject") + &rule("all", "trust")).unwrap();
    assert!(root.query_one("SELECT pg_reload_conf()", &[]).await.unwrap().get::<_, bool>(0));
    let refused = until(async || connect(port, "guest", "").await.err()).await;
    assert!(refused.1.contains("a rule rejects the connection"), "{refused:?}");
    // Who is in stays in.
    assert_eq!(state(&guest, "SELECT 1").await, "00000");

    // What cannot be used changes nothing.
    std::fs::write(&settings, "[[rules]\n").unwrap();
    let signal = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
    assert!(signal.is_ok_and(|s| s.success()));
    until(async || server.log().contains("the rules stay as they were").then_some(())).await;
    assert!(connect(port, "guest", "").await.is_err());
    assert!(connect(port, "root", "").await.is_ok());
}

/// Asks until there is an answer.
async fn until<T>(mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        match answer().await {
            Some(answer) => return answer,
            None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    panic!("nothing came within half a minute");
}
