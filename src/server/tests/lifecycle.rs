//! Connections that come, are refused, break and are stopped.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

use super::fake::{Fake, eventually};
use super::raw::Raw;
use super::start;
use crate::common::ErrorKind;
use crate::common::access::{Channel, Method, Rule};
use crate::common::config::Config;
use crate::server::Server;

#[tokio::test]
async fn a_password_is_proved() {
    let server = start(|c| c.password = Some("sésame".into())).await;
    let (client, connection) = server.settings().password("sésame").connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await.unwrap();

    let error = server.settings().password("wrong").connect(NoTls).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "28P01");
    assert!(server.settings().connect(NoTls).await.is_err());
}

#[tokio::test]
async fn another_database_is_refused() {
    let server = start(|_| {}).await;
    let error = server.settings().dbname("prod").connect(NoTls).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "3D000");
    assert_eq!(error.as_db_error().unwrap().hint(), Some("connect to dev"));
}

#[tokio::test]
async fn a_request_cancels_the_running_statement_only() {
    let server = start(|_| {}).await;
    let client = server.connect().await;
    for sql in ["WAIT", "COUNT", "STUCK"] {
        let token = client.cancel_token();
        let before = server.backend.batches.load(Ordering::SeqCst);
        let running = client.simple_query(sql);
        let cancel = async {
            if sql == "WAIT" {
                eventually("the statement waits", || server.backend.waiting.load(Ordering::SeqCst) == 1).await;
            } else if sql == "COUNT" {
                eventually("rows flow", || server.backend.batches.load(Ordering::SeqCst) > before).await;
            }
            // STUCK may not have begun: ask until it ends.
            loop {
                token.cancel_query(NoTls).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let result = tokio::select! { result = running => result, _ = cancel => unreachable!() };
        assert_eq!(result.unwrap_err().code().unwrap().code(), "57014", "{sql}");
    }
}

/// As libpq does it: a request is done when the server has closed its connection.
#[tokio::test]
async fn a_request_that_comes_too_late_cancels_nothing() {
    let server = start(|_| {}).await;
    let mut client = Raw::open(server.address).await;
    client.startup(&[("user", "root"), ("database", "dev")]).await;
    let mut key = Vec::new();
    while let Some((tag, body)) = client.message().await {
        match tag {
            b'K' => key = body,
            b'Z' => break,
            _ => {}
        }
    }
    let mut request = Raw::open(server.address).await;
    request.cancel(&key).await;
    assert!(request.message().await.is_none(), "nothing but the end is answered");
    client.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(client.until(b'Z').await, ["T", "D", "C", "Z"]);
}

#[tokio::test]
async fn a_broken_connection_stops_its_statement() {
    let server = start(|_| {}).await;
    for sql in ["WAIT", "COUNT"] {
        let (client, connection) = server.settings().connect(NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let running = tokio::spawn(async move { client.simple_query(sql).await });
        let count = || match sql {
            "WAIT" => server.backend.waiting.load(Ordering::SeqCst),
            _ => server.backend.streams.load(Ordering::SeqCst),
        };
        eventually("the statement runs", || count() == 1).await;
        connection.abort();
        eventually("the statement ends", || count() == 0).await;
        running.abort();
    }
}

#[tokio::test]
async fn five_hundred_connections_and_not_one_more() {
    let server = start(|c| c.max_connections = 500).await;
    let mut clients = Vec::new();
    for _ in 0..500 {
        clients.push(server.connect().await);
    }
    let error = server.settings().connect(NoTls).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "53300");
    for client in &clients {
        client.simple_query("SELECT 1").await.unwrap();
    }
    // A place that is left is free again.
    clients.pop();
    for attempt in 0.. {
        match server.settings().connect(NoTls).await {
            Ok(_) => break,
            Err(e) if attempt < 500 => assert_eq!(e.code().unwrap().code(), "53300"),
            Err(e) => panic!("the place was not given back: {e}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stop_tells_every_client() {
    let mut server = start(|_| {}).await;
    let idle = server.connect().await;
    let busy = server.connect().await;
    let running = tokio::spawn(async move { busy.simple_query("WAIT").await });
    eventually("the statement waits", || server.backend.waiting.load(Ordering::SeqCst) == 1).await;

    let mut raw = super::raw::Raw::open(server.address).await;
    raw.startup(&[("user", "root"), ("database", "dev")]).await;
    raw.until(b'Z').await;
    server.stop.cancel();
    let (tag, body) = raw.message().await.unwrap();
    assert_eq!(tag, b'E');
    assert!(String::from_utf8_lossy(&body).contains("57P01"));
    assert_eq!(raw.socket.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);

    assert!(running.await.unwrap().is_err());
    (&mut server.serving).await.unwrap();
    assert!(idle.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let mut server = Server::bind(&config).await.unwrap();
    server.stop_limit = std::time::Duration::from_millis(200);
    let (address, stop, backend) = (server.address(), CancellationToken::new(), Arc::new(Fake::default()));
    let serving = tokio::spawn(server.serve(backend.clone(), stop.clone()));
    let mut raw = super::raw::Raw::open(address).await;
    raw.startup(&[("user", "root"), ("database", "dev")]).await;
    raw.until(b'Z').await;
    raw.send(b'Q', b"COUNT\0").await;
    let (mut last, mut still) = (0, 0);
    eventually("the socket is full", || {
        let now = backend.batches.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still == 10
    })
    .await;
    stop.cancel();
    serving.await.unwrap();
    assert_eq!(backend.streams.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_door_is_not_opened_unsafely_nor_twice() {
    let open = Config { listen: ([0, 0, 0, 0], 0).into(), ..Config::default() };
    let error = Server::bind(&open).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidParameterValue);
    assert!(error.hint().unwrap().contains("WEIR_PASSWORD"));
    let with_password = Config { password: Some("x".into()), ..open };
    let error = Server::bind(&with_password).await.err().unwrap();
    assert!(error.message().contains("without encryption"), "{error}");
    let told = Config { allow_plaintext: true, ..with_password };
    assert!(Server::bind(&told).await.is_ok());
    let trusting = Rule {
        channel: Channel::Host,
        database: None,
        user: None,
        address: "10.0.0.0/8".parse().unwrap(),
        method: Method::Trust,
    };
    let error = Server::bind(&Config { rules: vec![trusting], ..told }).await.err().unwrap();
    assert!(error.message().contains("trusts addresses beyond loopback"), "{error}");

    let first = Server::bind(&Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() }).await.unwrap();
    let taken = Config { listen: first.address(), ..Config::default() };
    let error = Server::bind(&taken).await.err().unwrap();
    let port = first.address().port().to_string();
    assert!(error.message().contains(&port) && error.hint().unwrap().contains("--listen"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_talks_to_it() {
    let server = start(|_| {}).await;
    let psql = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &server.address.port().to_string(), "-U", "root", "dev"])
        .args(["-c", "SELECT 1 AS a, 'x' AS b; SELECT null AS c", "-c", "NOTICE", "-c", "FAIL x"])
        .output();
    let output = match psql {
        Ok(output) => output,
        Err(e) => {
            eprintln!("SKIPPED: psql cannot be run here ({e})");
            return;
        }
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains(" a | b \n---+---\n 1 | x\n(1 row)"), "{out}");
    assert!(err.contains("NOTICE:  heads up"), "{err}");
    assert!(err.contains("ERROR:  relation \"x\" does not exist\nLINE 1: FAIL x\n             ^"), "{err}");
    assert!(err.contains("HINT:  CREATE TABLE x"), "{err}");
}
