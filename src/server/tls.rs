//! Encryption by rustls: the server's certificate, read again when its files change; clients' certificates; and the
//! hash of the certificate that SCRAM binds to.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use ring::digest;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_certificate::{SignatureAlgorithm, X509Certificate};

use crate::common::access::TlsFiles;
use crate::common::{Error, ErrorKind, Result};

/// The certificate in use.
pub struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    binding: Option<Arc<[u8]>>,
    stamps: Vec<Option<SystemTime>>,
}

/// An encrypted connection, and what is known of it.
pub struct Encrypted {
    pub stream: TlsStream<TcpStream>,
    /// `tls-server-end-point`; none for a certificate whose hash RFC 5929 does not define.
    pub binding: Option<Arc<[u8]>>,
    /// Of the client's certificate, which has been verified.
    pub common_name: Option<String>,
}

impl Tls {
    /// # Errors
    /// `ConfigFile` for files that cannot be read or do not go together.
    pub fn open(files: TlsFiles) -> Result<Self> {
        let loaded = load(&files)?;
        Ok(Self { files, loaded: Mutex::new(loaded) })
    }

    /// The certificate as its files are now; as it was, while they are wrong. Blocking.
    fn current(&self) -> Loaded {
        let mut loaded = self.loaded.lock();
        let stamps = stamps(&self.files);
        if stamps != loaded.stamps {
            match load(&self.files) {
                Ok(new) => {
                    tracing::info!(cert = %self.files.cert.display(), "the certificate was read again");
                    *loaded = new;
                }
                Err(e) => {
                    tracing::error!(error = %e, "the changed certificate cannot be used: the old one stays");
                    loaded.stamps = stamps;
                }
            }
        }
        loaded.clone()
    }

    /// The handshake.
    pub async fn accept(self: &Arc<Self>, socket: TcpStream) -> std::io::Result<Encrypted> {
        let tls = self.clone();
        let Loaded { acceptor, binding, .. } = tokio::task::spawn_blocking(move || tls.current()).await?;
        let stream = acceptor.accept(socket).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let common_name = certificate
            .and_then(|der| X509Certificate::from_der(der.as_ref()).ok())
            .and_then(|certificate| certificate.subject_common_name());
        Ok(Encrypted { stream, binding, common_name })
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let stamp = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten().map(|p| stamp(p)).collect()
}

fn load(files: &TlsFiles) -> Result<Loaded> {
    // Before the files: a change in between is seen the next time.
    let stamps = stamps(files);
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| bad(&files.key, e))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| bad(&files.cert, e))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|e| bad(path, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            // Only rules with the method cert ask for one.
            let verifier = verifier.allow_unauthenticated().build().map_err(|e| bad(path, e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let binding = chain.first().and_then(|own| binding(own));
    let config = builder.with_single_cert(chain, key).map_err(|e| bad(&files.cert, e))?;
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), binding, stamps })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(all) if all.is_empty() => Err(bad(path, "there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(e) => Err(bad(path, e)),
    }
}

fn bad(path: &Path, e: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ConfigFile, format!("{}: {e}", path.display()))
        .with_hint("tls_cert is a PEM file with the server's certificate chain, tls_key one with its private key")
}

/// The hash of the certificate by the hash function of its signature, SHA-256 for the weak ones (RFC 5929, 4.1).
fn binding(own: &CertificateDer) -> Option<Arc<[u8]>> {
    let hash = match X509Certificate::from_der(own.as_ref()).ok()?.signature_algorithm()? {
        SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::EcdsaSha256 => {
            &digest::SHA256
        }
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => &digest::SHA384,
        SignatureAlgorithm::RsaSha512 => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(hash, own.as_ref()).as_ref().into())
}
