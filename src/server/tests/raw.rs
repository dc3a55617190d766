//! Bytes that no driver would send.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::start;

/// A client that writes what it likes.
pub struct Raw {
    pub socket: TcpStream,
}

impl Raw {
    pub async fn open(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap() }
    }

    pub async fn startup(&mut self, parameters: &[(&str, &str)]) {
        let mut packet = BytesMut::new();
        packet.put_i32(3 << 16);
        for (name, value) in parameters {
            packet.put_slice(format!("{name}\0{value}\0").as_bytes());
        }
        packet.put_u8(0);
        self.socket.write_i32(packet.len() as i32 + 4).await.unwrap();
        self.socket.write_all(&packet).await.unwrap();
    }

    /// A CancelRequest with what BackendKeyData told.
    pub async fn cancel(&mut self, key: &[u8]) {
        self.socket.write_i32(key.len() as i32 + 8).await.unwrap();
        self.socket.write_i32(80_877_102).await.unwrap();
        self.socket.write_all(key).await.unwrap();
    }

    pub async fn send(&mut self, tag: u8, body: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_u8(tag);
        frame.put_i32(body.len() as i32 + 4);
        frame.put_slice(body);
        self.socket.write_all(&frame).await.unwrap();
    }

    pub async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let tag = self.socket.read_u8().await.ok()?;
        let length = self.socket.read_i32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.socket.read_exact(&mut body).await.ok()?;
        Some((tag, body))
    }

    /// The tags up to that one, errors as `E` with their SQLSTATE.
    pub async fn until(&mut self, end: u8) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some((tag, body)) = self.message().await {
            let state = |body: &[u8]| {
                body.split(|b| *b == 0)
                    .find_map(|f| f.strip_prefix(b"C"))
                    .map_or(String::new(), |s| String::from_utf8_lossy(s).into_owned())
            };
            seen.push(if tag == b'E' { format!("E{}", state(&body)) } else { (tag as char).to_string() });
            if tag == end {
                break;
            }
        }
        seen
    }

    async fn ready(address: SocketAddr) -> Self {
        let mut raw = Self::open(address).await;
        raw.startup(&[("user", "root"), ("database", "dev")]).await;
        raw.until(b'Z').await;
        raw
    }
}

#[tokio::test]
async fn garbage_is_answered_and_hurts_nobody_else() {
    let server = start(|_| {}).await;
    let bystander = server.connect().await;
    let before: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"\0\0\0\x03",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x0a\0\x03\0\0us",
        b"\0\0\0\x09\0\x03\0\0\0",
        b"\0\0\0\x08\x04\xd2\x16\x2e",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
    ];
    for bytes in before {
        let mut raw = Raw::open(server.address).await;
        raw.socket.write_all(bytes).await.unwrap();
        raw.socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = raw.socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == b'E', "{bytes:?}: {answer:?}");
    }
    let after: &[&[u8]] = &[b"\x01\0\0\0\x04", b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"p\x7f\xff\xff\xff", b"Q\0\0"];
    for bytes in after {
        let mut raw = Raw::ready(server.address).await;
        raw.socket.write_all(bytes).await.unwrap();
        raw.socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = raw.socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == b'E', "{bytes:?}: {answer:?}");
    }
    bystander.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn nothing_large_is_taken_before_the_password() {
    let server = start(|c| c.password = Some("x".into())).await;
    for bytes in [&b"Q\x01\0\0\0"[..], b"p\0\x01\0\x01", b"Q\0\0\0\x0dSELECT 1\0", b"p\0\0\0\x05x", b"p\0\0\0\x06x\0"] {
        let mut raw = Raw::open(server.address).await;
        raw.startup(&[("user", "root"), ("database", "dev")]).await;
        assert_eq!(raw.message().await.unwrap().0, b'R');
        raw.socket.write_all(bytes).await.unwrap();
        assert_eq!(raw.until(b'Z').await, ["E08P01"], "{bytes:?}");
    }
}

#[tokio::test]
async fn answers_to_odd_sequences() {
    let server = start(|_| {}).await;
    let parse = |sql: &str| (b'P', format!("\0{sql}\0\0\0").into_bytes());
    let bind = || (b'B', b"\0\0\0\0\0\0\0\0".to_vec());
    let execute = |n: u8| (b'E', vec![0, 0, 0, 0, n]);
    let sync = || (b'S', Vec::new());
    let describe = |what: &str| (b'D', format!("{what}\0").into_bytes());
    let query = |sql: &str| (b'Q', format!("{sql}\0").into_bytes());
    type Case = (Vec<(u8, Vec<u8>)>, &'static [&'static str]);
    let cases: Vec<Case> = vec![
        (vec![parse("SELECT 1"), bind(), describe("P"), execute(0), sync()], &["1", "2", "T", "D", "C", "Z"]),
        (vec![parse("SELECT 1"), describe("S"), sync()], &["1", "t", "T", "Z"]),
        (vec![parse("SET x"), describe("S"), bind(), execute(0), sync()], &["1", "t", "n", "2", "S", "C", "Z"]),
        (vec![parse(""), bind(), describe("P"), execute(0), sync()], &["1", "2", "n", "I", "Z"]),
        // An error skips to Sync; what is between is not run.
        (vec![parse("SELECT SYNTAX"), bind(), execute(0), query("SELECT 1"), sync()], &["E42601", "Z"]),
        (vec![parse("PANIC"), bind(), execute(0), execute(0), sync()], &["1", "2", "EXX000", "Z"]),
        // The unnamed statement lives past Sync, but not past a simple query.
        (vec![bind(), sync()], &["2", "Z"]),
        (vec![query(""), bind(), sync()], &["I", "Z", "E26000", "Z"]),
        (vec![execute(0), sync()], &["E34000", "Z"]),
        (vec![describe("S"), sync()], &["E26000", "Z"]),
        (vec![(b'B', b"\0".to_vec()), sync()], &["E08P01", "Z"]),
        (vec![(b'C', b"Snone\0".to_vec()), sync()], &["3", "Z"]),
        // Steps, then more than there is, then again.
        (
            vec![parse("COUNT 3"), bind(), execute(2), execute(2), execute(2), sync()],
            &["1", "2", "D", "D", "s", "D", "C", "C", "Z"],
        ),
        // A named statement cannot be replaced; the names live past Sync, portals do not.
        (
            vec![
                (b'P', b"a\0SELECT 1\0\0\0".to_vec()),
                (b'B', b"p\0a\0\0\0\0\0\0\0".to_vec()),
                (b'B', b"p\0a\0\0\0\0\0\0\0".to_vec()),
                sync(),
            ],
            &["1", "2", "E42P03", "Z"],
        ),
        (vec![(b'P', b"a\0SELECT 1\0\0\0".to_vec()), sync()], &["E42P05", "Z"]),
        (vec![(b'E', b"p\0\0\0\0\0".to_vec()), sync()], &["E34000", "Z"]),
        (vec![(b'F', b"".to_vec())], &["E0A000", "Z"]),
        (vec![(b'd', b"x".to_vec()), (b'c', b"".to_vec()), query("")], &["I", "Z"]),
        (vec![(b'Q', b"\xff\0".to_vec())], &["E08P01", "Z"]),
        (vec![(b'B', b"\0a\0\0\x01\0\x07\0\0\0\0".to_vec()), sync()], &["E08P01", "Z"]),
        (vec![(b'B', b"\0a\0\0\0\0\0\0\x02\0\x01\0\x01".to_vec()), sync()], &["E08P01", "Z"]),
        (vec![(b'B', b"\0a\0\0\0\0\x01\0\0\0\x01x\0\0".to_vec()), sync()], &["E08P01", "Z"]),
    ];
    let mut raw = Raw::ready(server.address).await;
    for (messages, want) in cases {
        for (tag, body) in &messages {
            raw.send(*tag, body).await;
        }
        let mut got = Vec::new();
        for _ in want.iter().filter(|tag| **tag == "Z") {
            got.extend(raw.until(b'Z').await);
        }
        assert_eq!(got, want, "{messages:?}");
    }
}

#[tokio::test]
async fn start_up_tells_what_clients_ask() {
    let server = start(|_| {}).await;
    let mut raw = Raw::open(server.address).await;
    // Encryption is declined, then the talk goes on.
    raw.socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
    assert_eq!(raw.socket.read_u8().await.unwrap(), b'N');
    raw.socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x30").await.unwrap();
    assert_eq!(raw.socket.read_u8().await.unwrap(), b'N');
    raw.startup(&[("user", "me"), ("database", "dev"), ("TimeZone", "UTC"), ("_pq_.x", "1")]).await;
    let mut status = Vec::new();
    let mut tags = String::new();
    while let Some((tag, body)) = raw.message().await {
        if !tags.ends_with(tag as char) {
            tags.push(tag as char);
        }
        if tag == b'S' {
            status.push(String::from_utf8(body).unwrap().trim_end_matches('\0').replace('\0', "="));
        }
        if tag == b'Z' {
            break;
        }
    }
    assert_eq!(tags, "vRSKSZ");
    for want in [
        "server_encoding=UTF8",
        "client_encoding=UTF8",
        "integer_datetimes=on",
        "standard_conforming_strings=on",
        "session_authorization=me",
        "DateStyle=ISO, MDY",
    ] {
        assert!(status.iter().any(|s| s == want), "{want} in {status:?}");
    }
    assert!(status.iter().any(|s| s.starts_with("server_version=15.0 (Weir ")), "{status:?}");
}
