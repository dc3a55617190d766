//! What proves a password and cannot be turned back into it: SCRAM-SHA-256's stored and server key, in the text form
//! in which PostgreSQL keeps them (`SCRAM-SHA-256$4096:salt$stored:server`).
//!
//! The password itself is never kept. Knows no roles and no messages.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use crate::common::{Error, ErrorKind};

const PREFIX: &str = "SCRAM-SHA-256$";
const ITERATIONS: u32 = 4096;
/// Bytes of a SHA-256.
const LENGTH: usize = 32;

/// RFC 5802, section 3: enough to check a proof and to give the server's own, not enough to log in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored: [u8; LENGTH],
    server: [u8; LENGTH],
}

impl Verifier {
    /// Of a password, with a salt of its own. Takes some milliseconds, as it is meant to.
    ///
    /// # Errors
    /// `Internal` when the hash cannot be made.
    pub fn of(password: &str) -> Result<Self, Error> {
        postgres_protocol::password::scram_sha_256(password.as_bytes()).parse()
    }

    /// Of no password, for a name that may not exist: the same salt each time, so that a guess learns nothing.
    pub fn mock(name: &str, secret: &[u8; LENGTH]) -> Self {
        let mut salt = sign(secret, name.as_bytes()).to_vec();
        salt.truncate(16);
        Self { iterations: ITERATIONS, salt, stored: rand::random(), server: rand::random() }
    }

    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The server's signature, if `proof` shows that the client knows the password.
    pub fn check(&self, message: &[u8], proof: &[u8]) -> Option<[u8; LENGTH]> {
        let signature = sign(&self.stored, message);
        if proof.len() != LENGTH {
            return None;
        }
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(p, s)| p ^ s).collect();
        let stored = digest::digest(&digest::SHA256, &client_key);
        // In the same time wherever they differ.
        let difference = stored.as_ref().iter().zip(self.stored).fold(0, |all, (a, b)| all | (a ^ b));
        (difference == 0).then(|| sign(&self.server, message))
    }
}

fn sign(key: &[u8], message: &[u8]) -> [u8; LENGTH] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut signature = [0; LENGTH];
    signature.copy_from_slice(tag.as_ref());
    signature
}

impl FromStr for Verifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (costs, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
            let (iterations, salt) = costs.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let bytes = |text: &str| STANDARD.decode(text).ok();
            let key = |text: &str| bytes(text)?.try_into().ok();
            let (iterations, salt) = (iterations.parse().ok().filter(|n| *n > 0)?, bytes(salt)?);
            Some(Self { iterations, salt, stored: key(stored)?, server: key(server)? })
        };
        // The text may be a password: it is not repeated.
        parse().ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameterValue, "not a verifier of SCRAM-SHA-256")
                .with_hint("give the password itself, or SCRAM-SHA-256$iterations:salt$stored:server")
        })
    }
}

impl TryFrom<String> for Verifier {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Verifier> for String {
    fn from(v: Verifier) -> Self {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        format!("{PREFIX}{}:{}${}:{}", v.iterations, text(&v.salt), text(&v.stored), text(&v.server))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_holds_no_password_and_is_read_back() {
        let verifier = Verifier::of("sésame").unwrap();
        let text = String::from(verifier.clone());
        assert!(text.starts_with("SCRAM-SHA-256$4096:") && !text.contains("sésame"), "{text}");
        assert_eq!(text.parse::<Verifier>().unwrap(), verifier);
        assert_ne!(Verifier::of("sésame").unwrap(), verifier, "the salt is its own");
        assert_eq!(format!("{verifier:?}"), "Verifier(…)");
        for bad in ["", "sésame", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:AA==$AA==:AA==", "md5deadbeef"] {
            let e = bad.parse::<Verifier>().unwrap_err().to_string();
            assert!(bad.is_empty() || !e.contains(bad) || bad == "SCRAM-SHA-256$", "{e}");
        }
    }

    #[test]
    fn a_mock_has_one_salt_and_takes_no_proof() {
        let secret = [7; 32];
        let (a, b) = (Verifier::mock("nobody", &secret), Verifier::mock("nobody", &secret));
        assert_eq!(a.salt(), b.salt());
        assert_ne!(a.salt(), Verifier::mock("somebody", &secret).salt());
        assert_eq!(a.check(b"message", &[0; 32]), None);
        assert_eq!(a.check(b"message", &[]), None);
    }
}
