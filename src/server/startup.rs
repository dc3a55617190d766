//! From an accepted socket to a session: encryption requests, CancelRequest, authentication, parameters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pgwire::api::auth::Password;
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramServerAuth, gen_salted_password};
use pgwire::error::PgWireError;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backend::{Backend, BackendSession};
use super::cancel::Registry;
use super::connection::Connection;
use super::error::{self, Fault, violation};
use super::frontend::Body;
use super::wire::{Reader, Writer};
use crate::common::{Error, ErrorKind, Result};
use crate::types::SessionId;

/// A client that has not authenticated by then is dropped.
pub const TIMEOUT: Duration = Duration::from_secs(60);

const PROTOCOL_3_0: i32 = 3 << 16;
const CANCEL: i32 = 80_877_102;
const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;

/// What all connections share.
pub struct Door<B> {
    pub backend: Arc<B>,
    pub password: Option<Verifier>,
    pub slots: Arc<Semaphore>,
    pub registry: Registry,
}

/// What proves a password: salted and hashed; the text itself is not kept.
pub struct Verifier(Password);

impl Verifier {
    pub fn new(password: &str) -> Self {
        let salt: [u8; 16] = rand::random();
        Self(Password::new(Some(salt.to_vec()), gen_salted_password(password, &salt, SCRAM_ITERATIONS)))
    }
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
        let (read, write) = socket.into_split();
        let (mut reader, mut writer) = (Reader::new(read), Writer::new(write));
        let refusal = match self.begin(&mut reader, &mut writer).await {
            Ok(None) | Err(Fault::Gone(_)) => return Ok(None),
            Ok(Some(parameters)) => match self.open(&parameters, &mut writer) {
                Ok((session, slot)) => {
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

    /// Reads start-up packets until the client has named itself and proved it.
    async fn begin(&self, reader: &mut Reader, writer: &mut Writer) -> Result<Option<BTreeMap<String, String>>, Fault> {
        loop {
            let Some(packet) = reader.startup().await? else { return Ok(None) };
            let mut packet = Body(packet);
            match packet.i32()? {
                SSL | GSS => {
                    writer.byte(b'N');
                    writer.flush().await?;
                }
                CANCEL => {
                    let (id, secret) = (packet.i32()?, packet.i32()?);
                    self.registry.cancel(SessionId(id), secret);
                    return Ok(None);
                }
                version if version >> 16 == 3 => {
                    let parameters = read_parameters(&mut packet)?;
                    negotiate(version, &parameters, writer)?;
                    if let Some(verifier) = &self.password
                        && !scram(verifier, reader, writer).await?
                    {
                        return Ok(None);
                    }
                    return Ok(Some(parameters));
                }
                version => {
                    let (major, minor) = (version >> 16, version & 0xffff);
                    return Err(violation(format!("unsupported frontend protocol {major}.{minor}: use 3.0")).into());
                }
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
        let mut session = self.backend.session(user, database)?;
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

/// SCRAM-SHA-256 (RFC 5802). False when the client left, as psql does to ask its user for a password.
async fn scram(verifier: &Verifier, reader: &mut Reader, writer: &mut Writer) -> Result<bool, Fault> {
    writer.send(&Authentication::SASL(vec![SCRAM_SHA_256_METHOD.to_string()]))?;
    writer.flush().await?;

    let Some(body) = password_message(reader).await? else { return Ok(false) };
    let mut body = Body(body);
    let method = body.string()?;
    if method != SCRAM_SHA_256_METHOD {
        return Err(violation(format!("authentication method {method:?} is not {SCRAM_SHA_256_METHOD}")).into());
    }
    let length = usize::try_from(body.i32()?).map_err(|_| violation("empty SCRAM message"))?;
    let first = body.bytes(length)?;
    let (challenge, pending) =
        ScramServerAuth::new().on_client_first_message(&first, verifier.0.clone()).map_err(|e| refused(&e))?;
    writer.send(&Authentication::SASLContinue(challenge.into()))?;
    writer.flush().await?;

    let Some(last) = password_message(reader).await? else { return Ok(false) };
    let proof = pending.on_client_final_message(&last).map_err(|e| refused(&e))?;
    writer.send(&Authentication::SASLFinal(proof.into()))?;
    Ok(true)
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

fn refused(e: &PgWireError) -> Error {
    match e {
        PgWireError::InvalidPassword(_) => Error::new(ErrorKind::InvalidPassword, "password authentication failed"),
        other => violation(format!("authentication failed: {other}")),
    }
}
