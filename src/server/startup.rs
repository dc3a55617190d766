//! From an accepted socket to a session: encryption requests, CancelRequest, authentication, parameters.
//!
//! ```text
//! socket --SSLRequest?--> plain or encrypted --start-up packet--> rule --trust | SCRAM | certificate--> session
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backend::{Backend, BackendSession};
use super::cancel::Registry;
use super::connection::Connection;
use super::error::{self, Fault, violation};
use super::frontend::Body;
use super::rules::Rules;
use super::scram::{self, Exchange};
use super::throttle::Throttle;
use super::tls::{Encrypted, Tls};
use super::wire::{Reader, Writer};
use crate::common::access::Method;
use crate::common::{Error, ErrorKind, Result};
use crate::types::{SessionId, Verifier};

const PROTOCOL_3_0: i32 = 3 << 16;
const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;

/// What all connections share.
pub struct Door<B> {
    pub backend: Arc<B>,
    pub rules: Rules,
    pub tls: Option<Arc<Tls>>,
    /// Connections beyond loopback need not be encrypted.
    pub allow_plaintext: bool,
    pub slots: Arc<Semaphore>,
    pub registry: Registry,
    pub throttle: Throttle,
    /// Makes the salts of users that are not there.
    pub mock: [u8; 32],
}

/// Who is on the other end, as far as the socket tells.
struct Peer {
    address: IpAddr,
    encrypted: bool,
    binding: Option<Arc<[u8]>>,
    common_name: Option<String>,
}

/// A connection that may speak.
pub struct Admitted<S> {
    pub connection: Connection<S>,
    pub reader: Reader,
    /// Held while the connection lasts.
    pub slot: OwnedSemaphorePermit,
}

impl<B: Backend> Door<B> {
    /// `None` when nothing is left to do: a cancel request, a client that left or was refused.
    pub async fn admit(&self, socket: TcpStream) -> std::io::Result<Option<Admitted<B::Session>>> {
        let Some((mut reader, mut writer, peer)) = self.channel(socket).await? else { return Ok(None) };
        let refusal = match self.begin(&mut reader, &mut writer, &peer).await {
            Ok(None) | Err(Fault::Gone(_)) => return Ok(None),
            Ok(Some(parameters)) => match self.open(&parameters, &mut writer) {
                Ok((session, slot)) => {
                    session.set_address(peer.address);
                    let handle = self.registry.register(session.id());
                    return match greet(session, handle, writer, &parameters) {
                        Ok(connection) => Ok(Some(Admitted { connection, reader, slot })),
                        Err(e) => {
                            tracing::warn!(error = %e, "a client could not be greeted");
                            Ok(None)
                        }
                    };
                }
                Err(e) => e,
            },
            Err(Fault::Sql(e)) => e,
        };
        if writer.send(&error::fatal(&refusal)).is_ok() {
            writer.close().await?;
        }
        Ok(None)
    }

    /// Answers requests for encryption, byte by byte so that nothing is read ahead of a handshake: what a man in the
    /// middle puts behind the request must not be taken for the client's.
    async fn channel(&self, mut socket: TcpStream) -> std::io::Result<Option<(Reader, Writer, Peer)>> {
        let address = socket.peer_addr()?.ip().to_canonical();
        let mut head = [0; 8];
        loop {
            if socket.read_exact(&mut head[..4]).await.is_err() {
                return Ok(None);
            }
            let is_request = head[..4] == 8_i32.to_be_bytes();
            if is_request && socket.read_exact(&mut head[4..]).await.is_err() {
                return Ok(None);
            }
            let code = if is_request { (&head[4..]).get_i32() } else { 0 };
            match (&self.tls, code) {
                (Some(tls), SSL) => {
                    socket.write_all(b"S").await?;
                    let Encrypted { stream, binding, common_name } = tls.accept(socket).await?;
                    let (read, write) = tokio::io::split(stream);
                    let peer = Peer { address, encrypted: true, binding, common_name };
                    return Ok(Some((Reader::new(read, &[]), Writer::new(write), peer)));
                }
                (_, SSL | GSS) => socket.write_all(b"N").await?,
                _ => {
                    let (read, write) = socket.into_split();
                    let peer = Peer { address, encrypted: false, binding: None, common_name: None };
                    let begun = if is_request { &head[..] } else { &head[..4] };
                    return Ok(Some((Reader::new(read, begun), Writer::new(write), peer)));
                }
            }
        }
    }

    /// Reads start-up packets until the client has named itself and proved it.
    async fn begin(
        &self,
        reader: &mut Reader,
        writer: &mut Writer,
        peer: &Peer,
    ) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let Some(packet) = reader.startup().await? else { return Ok(None) };
        let mut packet = Body(packet);
        match packet.i32()? {
            CANCEL => {
                let (id, secret) = (packet.i32()?, packet.i32()?);
                self.registry.cancel(SessionId(id), secret);
                Ok(None)
            }
            version if version >> 16 == 3 => {
                let parameters = read_parameters(&mut packet)?;
                negotiate(version, &parameters, writer)?;
                let user = parameters.get("user").map_or("", String::as_str);
                let database = parameters.get("database").filter(|d| !d.is_empty()).map_or(user, String::as_str);
                let proved = self.prove(user, database, peer, reader, writer).await;
                if let Err(Fault::Sql(e)) = &proved {
                    let (state, reason) = (e.kind().sqlstate(), e.message());
                    tracing::warn!(target: "audit", user, database, peer = %peer.address, state, reason, "log-in refused");
                }
                Ok(proved?.then_some(parameters))
            }
            version => {
                let (major, minor) = (version >> 16, version & 0xffff);
                Err(violation(format!("unsupported frontend protocol {major}.{minor}: use 3.0")).into())
            }
        }
    }

    /// By the rule that is for this connection. False when the client left, as psql does to ask its user for a password.
    async fn prove(
        &self,
        user: &str,
        database: &str,
        peer: &Peer,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Result<bool, Fault> {
        let refused = |message: String| Error::new(ErrorKind::InvalidAuthorization, message);
        let (address, channel) = (peer.address, if peer.encrypted { "SSL encryption" } else { "no encryption" });
        if !peer.encrypted && !address.is_loopback() && !self.allow_plaintext {
            return Err(refused(format!("connection from {address} is not encrypted"))
                .with_hint("connect with sslmode=require; or start the server with --allow-plaintext")
                .into());
        }
        let who = format!("host \"{address}\", user \"{user}\", database \"{database}\", {channel}");
        match self.method(user, database, peer) {
            Some(Method::Trust) => Ok(true),
            Some(Method::Cert) if peer.common_name.as_deref() == Some(user) && !user.is_empty() => Ok(true),
            Some(Method::Cert) => Err(refused(format!("certificate authentication failed for user \"{user}\"")).into()),
            Some(Method::ScramSha256) => self.scram(user, peer, reader, writer).await,
            Some(Method::Reject) => Err(refused(format!("a rule rejects the connection for {who}")).into()),
            None => Err(refused(format!("no rule for {who}"))
                .with_hint("the settings file has the [[rules]]; the first that matches decides")
                .into()),
        }
    }

    fn method(&self, user: &str, database: &str, peer: &Peer) -> Option<Method> {
        self.rules.method(peer.address, peer.encrypted, database, user, || {
            match self.backend.asks_passwords() || !peer.address.is_loopback() {
                true => Method::ScramSha256,
                false => Method::Trust,
            }
        })
    }

    /// SCRAM-SHA-256 (RFC 5802). A user that is not there, one without a password and a wrong password all look the
    /// same.
    async fn scram(&self, user: &str, peer: &Peer, reader: &mut Reader, writer: &mut Writer) -> Result<bool, Fault> {
        self.throttle.wait(peer.address, user).await;
        let offered: Vec<_> = match &peer.binding {
            Some(_) => vec![scram::PLUS.to_string(), scram::PLAIN.to_string()],
            None => vec![scram::PLAIN.to_string()],
        };
        writer.send(&Authentication::SASL(offered))?;
        writer.flush().await?;

        let Some(body) = password_message(reader).await? else { return Ok(false) };
        let mut body = Body(body);
        let method = body.string()?;
        if ![scram::PLAIN, scram::PLUS].contains(&method.as_str()) {
            return Err(violation(format!("authentication method {method:?} is not {}", scram::PLAIN)).into());
        }
        let length = usize::try_from(body.i32()?).map_err(|_| violation("empty SCRAM message"))?;
        let first = body.bytes(length)?;
        let verifier = self.backend.verifier(user).unwrap_or_else(|| Verifier::mock(user, &self.mock));
        let exchange = Exchange::new(&method, &first, verifier, peer.binding.as_deref())?;
        writer.send(&Authentication::SASLContinue(exchange.challenge().to_string().into()))?;
        writer.flush().await?;

        let Some(last) = password_message(reader).await? else { return Ok(false) };
        match exchange.finish(&last)? {
            Some(signature) => {
                self.throttle.passed(peer.address, user);
                writer.send(&Authentication::SASLFinal(signature.into()))?;
                Ok(true)
            }
            None => {
                self.throttle.failed(peer.address, user);
                let message = format!("password authentication failed for user \"{user}\"");
                Err(Error::new(ErrorKind::InvalidPassword, message).into())
            }
        }
    }

    fn open(
        &self,
        parameters: &BTreeMap<String, String>,
        writer: &mut Writer,
    ) -> Result<(B::Session, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| {
            Error::new(ErrorKind::TooManyConnections, "sorry, too many clients already")
                .with_hint("close some connections, or start the server with a larger --max-connections")
        })?;
        let user = parameters
            .get("user")
            .filter(|user| !user.is_empty())
            .ok_or_else(|| Error::new(ErrorKind::InvalidAuthorization, "no user name in the start-up packet"))?;
        let database = parameters.get("database").filter(|database| !database.is_empty()).unwrap_or(user);
        let mut session = self.backend.session(user, database).inspect_err(|e| {
            let (state, reason) = (e.kind().sqlstate(), e.message());
            tracing::warn!(target: "audit", user, database, state, reason, "log-in refused");
        })?;
        for (name, value) in parameters {
            if !matches!(name.as_str(), "user" | "database" | "replication") && !name.starts_with("_pq_.") {
                session.set_startup_parameter(name, value);
            }
        }
        writer.send(&Authentication::Ok)?;
        Ok((session, slot))
    }
}

/// Queues everything between authentication and the first statement.
fn greet<S: BackendSession>(
    session: S,
    handle: super::cancel::Handle,
    mut writer: Writer,
    parameters: &BTreeMap<String, String>,
) -> Result<Connection<S>> {
    let user = parameters.get("user").map_or("", String::as_str);
    let application = parameters.get("application_name").map_or("", String::as_str);
    // Clients read the leading number to know what the server can do.
    let version = concat!("15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");
    let status = [
        ("server_version", version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        ("session_authorization", user),
        ("application_name", application),
    ];
    for (name, value) in status {
        writer.send(&ParameterStatus::new(name.to_string(), value.to_string()))?;
    }
    writer.send(&BackendKeyData::new(session.id().0, SecretKey::I32(handle.secret())))?;
    let mut connection = Connection::new(session, writer, handle);
    connection.tell_news()?;
    connection.writer.send(&ReadyForQuery::new(TransactionStatus::Idle))?;
    Ok(connection)
}

fn read_parameters(packet: &mut Body) -> Result<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    loop {
        let name = packet.string()?;
        if name.is_empty() {
            return Ok(parameters);
        }
        parameters.insert(name, packet.string()?);
    }
}

/// A client that asks for a later minor version, or for protocol options, is told what there is.
fn negotiate(version: i32, parameters: &BTreeMap<String, String>, writer: &mut Writer) -> Result<()> {
    let options: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if version == PROTOCOL_3_0 && options.is_empty() {
        return Ok(());
    }
    writer.send(&NegotiateProtocolVersion::new(PROTOCOL_3_0, options))
}

async fn password_message(reader: &mut Reader) -> Result<Option<Bytes>, Fault> {
    match reader.small_message().await? {
        None => Ok(None),
        Some((b'p', body)) => Ok(Some(body)),
        Some((b'X', _)) => Ok(None),
        Some((tag, body)) => {
            let length = body.remaining();
            Err(violation(format!("message type {tag} of {length} bytes where a password was expected")).into())
        }
    }
}
