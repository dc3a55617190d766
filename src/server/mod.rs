//! The Postgres wire: listens, admits clients, and turns messages into calls on a session and back.
//!
//! The only place that names pgwire. Knows sessions, rows and errors; no plans, no tables.

mod backend;
mod cancel;
mod connection;
mod copy;
mod encode;
mod error;
mod extended;
mod frontend;
mod params;
mod rows;
mod simple;
mod startup;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::backend::{Backend, BackendSession};
use self::startup::{Door, Verifier};
use crate::common::config::Config;
use crate::common::{Error, ErrorKind, Result};

/// After a failed accept (out of file descriptors, say), until the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From the stop to the moment when the last connections are cut.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    max_connections: usize,
    password: Option<Verifier>,
    stop_limit: Duration,
}

impl Server {
    /// Takes the port. Clients that connect now wait until [`Server::serve`].
    ///
    /// # Errors
    /// `InvalidParameterValue` for an address beyond loopback without a password; `Io` when the port cannot be had.
    pub async fn bind(config: &Config) -> Result<Self> {
        let listen = config.listen;
        if !listen.ip().is_loopback() && config.password.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("refusing to listen on {listen} without a password"),
            )
            .with_hint("set --password, WEIR_PASSWORD, or `password` in the TOML file; or listen on 127.0.0.1"));
        }
        let listener = TcpListener::bind(listen).await.map_err(|e| cannot_listen(listen, e))?;
        let address = listener.local_addr()?;
        let password = config.password.as_deref().map(Verifier::new);
        Ok(Self { listener, address, max_connections: config.max_connections, password, stop_limit: STOP_LIMIT })
    }

    /// Where it listens: the port that was chosen when the settings ask for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then tells every client 57P01 and returns when all have gone.
    pub async fn serve<B: Backend>(self, backend: Arc<B>, stop: CancellationToken) {
        let door = Arc::new(Door {
            backend,
            password: self.password,
            slots: Arc::new(Semaphore::new(self.max_connections)),
            registry: cancel::Registry::default(),
        });
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    let (door, stop) = (door.clone(), stop.clone());
                    clients.spawn(async move {
                        let served = tokio::select! {
                            served = client(&door, socket, &stop) => served,
                            // A client that does not read its goodbye must not hold up the stop.
                            () = async { stop.cancelled().await; tokio::time::sleep(self.stop_limit).await } => Ok(()),
                        };
                        if let Err(e) = served {
                            tracing::debug!(%peer, error = %e, "a connection broke");
                        }
                    });
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while clients.join_next().await.is_some() {}
    }
}

async fn client<B: Backend>(door: &Door<B>, socket: TcpStream, stop: &CancellationToken) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // A client whose machine vanished gives its place back after two minutes.
    let probe = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(20));
    SockRef::from(&socket).set_tcp_keepalive(&probe.with_retries(3))?;
    let admitted = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        admitted = tokio::time::timeout(startup::TIMEOUT, door.admit(socket)) => admitted,
    };
    match admitted {
        Ok(Ok(Some(admitted))) => {
            let result = admitted.connection.run(admitted.reader, stop).await;
            drop(admitted.slot);
            result
        }
        Ok(Ok(None)) | Err(_) => Ok(()),
        Ok(Err(e)) => Err(e),
    }
}

fn cannot_listen(address: SocketAddr, e: io::Error) -> Error {
    let error = Error::new(ErrorKind::Io, format!("cannot listen on {address}: {e}"));
    match e.kind() {
        io::ErrorKind::AddrInUse => error.with_hint(format!(
            "port {} is taken: stop what holds it, or choose another with --listen",
            address.port()
        )),
        io::ErrorKind::PermissionDenied => error.with_hint("choose a port above 1023 with --listen"),
        _ => error.with_hint("choose an address of this machine with --listen"),
    }
}

#[cfg(test)]
mod tests;
