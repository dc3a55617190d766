//! The Postgres wire: listens, admits clients, and turns messages into calls on a session and back.
//!
//! The only place that names pgwire. Knows sessions, rows and errors; no plans, no tables.

mod backend;
mod cancel;
mod connection;
mod copy;
mod copy_binary;
mod encode;
mod error;
mod extended;
mod frontend;
mod params;
mod rows;
mod rules;
mod scram;
mod simple;
mod startup;
mod threads;
mod throttle;
mod tls;
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
pub use self::rules::Rules;
use self::startup::Door;
use self::threads::Threads;
use self::throttle::Throttle;
use self::tls::Tls;
use crate::common::access::{Channel, Method, Rule};
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
    rules: Rules,
    tls: Option<Arc<Tls>>,
    allow_plaintext: bool,
    log_in_limit: Duration,
    stop_limit: Duration,
}

impl Server {
    /// Takes the port. Clients that connect now wait until [`Server::serve`].
    ///
    /// # Errors
    /// `InvalidParameterValue` for settings that let strangers in or show what they send; `ConfigFile` for a certificate
    /// that cannot be used; `Io` when the port cannot be had.
    pub async fn bind(config: &Config) -> Result<Self> {
        let listen = config.listen;
        check_safe(config)?;
        let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let listener = TcpListener::bind(listen).await.map_err(|e| cannot_listen(listen, e))?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            max_connections: config.max_connections,
            rules: Rules::new(config),
            tls,
            allow_plaintext: config.allow_plaintext,
            log_in_limit: config.authentication_timeout,
            stop_limit: STOP_LIMIT,
        })
    }

    /// Who may connect, to be changed while it serves.
    pub fn rules(&self) -> Rules {
        self.rules.clone()
    }

    /// Where it listens: the port that was chosen when the settings ask for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then tells every client 57P01 and returns when all have gone.
    pub async fn serve<B: Backend>(self, backend: Arc<B>, stop: CancellationToken) {
        let door = Arc::new(Door {
            backend,
            rules: self.rules,
            tls: self.tls,
            allow_plaintext: self.allow_plaintext,
            throttle: Throttle::default(),
            mock: rand::random(),
            slots: Arc::new(Semaphore::new(self.max_connections)),
            registry: cancel::Registry::default(),
        });
        let (mut threads, mut clients) = (Threads::default(), JoinSet::new());
        let limit = self.log_in_limit;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            // The socket is told its thread's events from here on, not the listener's.
            let accepted = accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer)));
            let begun = accepted.and_then(|(socket, peer)| {
                let (door, stop) = (door.clone(), stop.clone());
                threads.spawn(&mut clients, async move {
                    let served = tokio::select! {
                        served = client(&door, socket, limit, &stop) => served,
                        // A client that does not read its goodbye must not hold up the stop.
                        () = async { stop.cancelled().await; tokio::time::sleep(self.stop_limit).await } => Ok(()),
                    };
                    if let Err(e) = served {
                        tracing::debug!(%peer, error = %e, "a connection broke");
                    }
                })
            });
            if let Err(e) = begun {
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        drop(self.listener);
        while clients.join_next().await.is_some() {}
    }
}

async fn client<B: Backend>(
    door: &Door<B>,
    socket: std::net::TcpStream,
    limit: Duration,
    stop: &CancellationToken,
) -> io::Result<()> {
    let socket = TcpStream::from_std(socket)?;
    socket.set_nodelay(true)?;
    // A client whose machine vanished gives its place back after two minutes.
    let probe = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(20));
    SockRef::from(&socket).set_tcp_keepalive(&probe.with_retries(3))?;
    let admitted = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        admitted = tokio::time::timeout(limit, door.admit(socket)) => admitted,
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

/// Beyond loopback nobody is let in unproved, nor unencrypted unless told so.
fn check_safe(config: &Config) -> Result<()> {
    let unsafe_to = |message: String| Err(Error::new(ErrorKind::InvalidParameterValue, message));
    let encrypted_only =
        |rule: &Rule| rule.channel == Channel::HostSsl || matches!(rule.method, Method::Reject) || config.tls.is_some();
    if let Some(rule) = config.rules.iter().find(|r| r.method == Method::Cert && r.channel != Channel::HostSsl) {
        return unsafe_to(format!(
            "the method cert needs an encrypted connection, but a rule has it for {:?}",
            rule.channel
        ))
        .map_err(|e| e.with_hint("write type = \"hostssl\""));
    }
    let asks_for = |method| config.rules.iter().any(|r| r.method == method);
    if asks_for(Method::Cert) && config.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        return unsafe_to("a rule asks for certificates, but nobody is known who signs them".into())
            .map_err(|e| e.with_hint("set --tls-client-ca beside --tls-cert and --tls-key"));
    }
    let listen = config.listen;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if config.password.is_none() && config.rules.is_empty() {
        return unsafe_to(format!("refusing to listen on {listen} without a password")).map_err(|e| {
            e.with_hint("set --password, WEIR_PASSWORD, or `password` in the TOML file; or listen on 127.0.0.1")
        });
    }
    if config.rules.iter().any(|r| r.method == Method::Trust && !r.address.is_loopback()) {
        return unsafe_to(format!("refusing to listen on {listen} with a rule that trusts addresses beyond loopback"))
            .map_err(|e| e.with_hint("write method = \"scram-sha-256\" or \"cert\" in it"));
    }
    if !config.allow_plaintext
        && config.tls.is_none()
        && (config.rules.is_empty() || !config.rules.iter().all(encrypted_only))
    {
        return unsafe_to(format!("refusing to listen on {listen} without encryption"))
            .map_err(|e| e.with_hint("set --tls-cert and --tls-key; or, on a network of your own, --allow-plaintext"));
    }
    Ok(())
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
