//! The sockets of a TCP source: accepts or connects, reads, appends whole lines to the log. Never decodes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lines::{Cutter, Entry};
use super::{Peer, Settings};
use crate::common::{Error, ErrorKind, Result};
use crate::connector::Ingest;
use crate::log::Log;

pub struct TcpIngest {
    /// Of the source, for messages.
    pub name: String,
    pub settings: Settings,
}

#[async_trait::async_trait]
impl Ingest for TcpIngest {
    /// # Errors
    /// `ObjectInUse` when the port is taken, `InvalidParameterValue` for an address that cannot be listened on.
    async fn run(self: Box<Self>, log: Arc<Log>, cancel: CancellationToken) -> Result<()> {
        match &self.settings.peer {
            Peer::Listen(address) => {
                let listener = TcpListener::bind(address).await.map_err(|e| self.cannot_listen(address, &e))?;
                self.listen(listener, log, cancel).await
            }
            Peer::Connect(address) => self.connect(address, log, cancel).await,
        }
    }
}

impl TcpIngest {
    fn cannot_listen(&self, address: &str, e: &io::Error) -> Error {
        let message = format!("source \"{}\" cannot listen on {address}", self.name);
        match e.kind() {
            io::ErrorKind::AddrInUse => Error::new(ErrorKind::ObjectInUse, format!("{message}: the port is taken"))
                .with_hint("drop the source that listens there, or write another port"),
            _ => Error::new(ErrorKind::InvalidParameterValue, format!("{message}: {e}"))
                .with_hint("write an address of this machine, as in listen = '127.0.0.1:7000'"),
        }
    }

    async fn listen(&self, listener: TcpListener, log: Arc<Log>, cancel: CancellationToken) -> Result<()> {
        let slots = Arc::new(Semaphore::new(self.settings.max_connections));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(ended) = connections.join_next() => match ended {
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => return Err(e),
                    Err(e) => return Err(Error::internal(format!("a connection of source \"{}\": {e}", self.name))),
                },
                (stream, slot) = accept(&listener, &slots) => {
                    let connection = self.connection(&log, &cancel);
                    connections.spawn(async move {
                        let _slot = slot;
                        connection.run(stream).await
                    });
                }
            }
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    }

    async fn connect(&self, address: &str, log: Arc<Log>, cancel: CancellationToken) -> Result<()> {
        let mut pause = Pause::default();
        loop {
            let connected = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                connected = TcpStream::connect(address) => connected,
            };
            match connected {
                Ok(stream) => {
                    if self.connection(&log, &cancel).run(stream).await? > 0 {
                        pause = Pause::default();
                    }
                }
                Err(e) => tracing::warn!(source = self.name, error = %e, "cannot connect; trying again"),
            }
            if !pause.wait(&cancel).await {
                return Ok(());
            }
        }
    }

    fn connection(&self, log: &Arc<Log>, cancel: &CancellationToken) -> Connection {
        Connection {
            source: self.name.clone(),
            cutter: Cutter::new(self.settings.max_line_bytes, self.settings.header, self.settings.blank),
            log: Arc::clone(log),
            cancel: cancel.clone(),
        }
    }
}

/// The next connection, and its place among those that may be open.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            // A peer that went away at once, or too many open files: neither is the listener's end.
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Pause::FIRST).await;
            }
        }
    }
}

struct Connection {
    source: String,
    cutter: Cutter,
    log: Arc<Log>,
    cancel: CancellationToken,
}

impl Connection {
    /// Reads until the peer ends, the connection breaks or all is cancelled; returns the bytes read.
    async fn run(mut self, mut stream: TcpStream) -> Result<u64> {
        let (mut total, mut last) = (0, 0);
        let broken = loop {
            let read = tokio::select! {
                () = self.cancel.cancelled() => return Ok(total),
                read = stream.read_buf(self.cutter.buffer(last)) => read,
            };
            match read {
                Ok(0) => break false,
                Ok(bytes) => {
                    last = bytes;
                    total += bytes as u64;
                    for entry in self.cutter.cut() {
                        append(&self.source, &self.log, entry, &self.cancel).await?;
                    }
                }
                Err(e) => {
                    tracing::warn!(source = self.source, error = %e, "a connection broke");
                    break true;
                }
            }
        };
        if let Some(entry) = self.cutter.finish(broken) {
            append(&self.source, &self.log, entry, &self.cancel).await?;
        }
        Ok(total)
    }
}

/// Appends once, however long the disk refuses; gives up only when cancelled.
async fn append(source: &str, log: &Arc<Log>, entry: Entry, cancel: &CancellationToken) -> Result<()> {
    let mut pause = Pause::default();
    loop {
        match log.append(entry.payload.clone(), entry.rows).await {
            Ok(_) => return Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::DiskFull | ErrorKind::Io) => {
                tracing::warn!(source, error = %e, "the sender waits until the log takes its lines");
            }
            Err(e) => return Err(e),
        }
        if !pause.wait(cancel).await {
            return Ok(());
        }
    }
}

/// Waits that double up to ten seconds.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    /// False when cancelled meanwhile.
    async fn wait(&mut self, cancel: &CancellationToken) -> bool {
        cancel.run_until_cancelled(tokio::time::sleep(self.next())).await.is_some()
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (2 * pause).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::super::lines::Blank;
    use super::*;
    use crate::log::LogConfig;

    fn ingest(peer: Peer) -> TcpIngest {
        let settings = Settings {
            peer,
            max_line_bytes: 1000,
            max_connections: 8,
            header: false,
            blank: Blank::Space,
            retention: None,
        };
        TcpIngest { name: "s".into(), settings }
    }

    fn log(dir: &tempfile::TempDir) -> Arc<Log> {
        Log::open(LogConfig::new(dir.path())).unwrap()
    }

    /// Waits until the log holds `count` lines; gives them sorted.
    async fn lines(log: &Arc<Log>, count: usize) -> Vec<String> {
        let appended = log.appended();
        let mut reader = log.reader(0).unwrap();
        let mut lines = Vec::new();
        while lines.len() < count {
            match reader.next().unwrap() {
                Some(record) => {
                    let text = String::from_utf8(record.payload.to_vec()).unwrap();
                    lines.extend(text[1..].lines().map(str::to_string));
                }
                None => appended.notified().await,
            }
        }
        lines.sort();
        lines
    }

    #[tokio::test]
    async fn many_senders_are_heard_and_cancel_ends_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log(&dir);
        let cancel = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn({
            let (log, cancel) = (Arc::clone(&log), cancel.clone());
            async move { ingest(Peer::Listen(String::new())).listen(listener, log, cancel).await }
        });
        let mut senders = JoinSet::new();
        // More than may be open at once.
        for sender in 0..20 {
            senders.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for n in 0..50 {
                    stream.write_all(format!("{sender}/{n}\n").as_bytes()).await.unwrap();
                }
                stream.write_all(format!("{sender}/last").as_bytes()).await.unwrap();
            });
        }
        senders.join_all().await;
        let mut expected: Vec<_> = (0..20).flat_map(|s| (0..50).map(move |n| format!("{s}/{n}"))).collect();
        expected.extend((0..20).map(|s| format!("{s}/last")));
        expected.sort();
        assert_eq!(lines(&log, 20 * 51).await, expected);
        let _open = TcpStream::connect(address).await.unwrap();
        cancel.cancel();
        running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_a_clear_error() {
        let dir = tempfile::TempDir::new().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        for (address, kind, words) in [
            (address, ErrorKind::ObjectInUse, "the port is taken"),
            ("192.0.2.1:1".into(), ErrorKind::InvalidParameterValue, "cannot listen on 192.0.2.1:1"),
        ] {
            let ingest = Box::new(ingest(Peer::Listen(address)));
            let error = ingest.run(log(&dir), CancellationToken::new()).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_connecting_source_comes_back_after_each_end() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log(&dir);
        let cancel = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let running = tokio::spawn({
            let (log, cancel) = (Arc::clone(&log), cancel.clone());
            async move { Box::new(ingest(Peer::Connect(address))).run(log, cancel).await }
        });
        for n in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(format!("{n}\n").as_bytes()).await.unwrap();
        }
        assert_eq!(lines(&log, 3).await, ["0", "1", "2"]);
        cancel.cancel();
        running.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn pauses_double_and_end_when_cancelled() {
        let mut pause = Pause::default();
        let millis: Vec<_> = (0..9).map(|_| pause.next().as_millis()).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(!pause.wait(&cancel).await);
    }
}
