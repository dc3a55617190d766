//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677, 5929) from the server's side, on a verifier: pgwire's own needs
//! the salted password, with which one could log in.
//!
//! ```text
//! n,,n=user,r=nonce -> Exchange --challenge: r=nonce+ours,s=salt,i=4096--> client
//! c=…,r=…,p=proof   -> finish   --v=signature--> client
//! ```
//!
//! Only texts in, texts out: knows no sockets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::violation;
use crate::common::Result;
use crate::types::Verifier;

pub const PLAIN: &str = "SCRAM-SHA-256";
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// After the client's first message.
pub struct Exchange {
    verifier: Verifier,
    /// What `c=` must be: the client's header, and the channel's data where it binds to the channel.
    binding: String,
    nonce: String,
    first_bare: String,
    challenge: String,
}

impl Exchange {
    /// `channel` is the `tls-server-end-point` of an encrypted connection, where the mechanism PLUS was offered.
    ///
    /// # Errors
    /// `ProtocolViolation` for a message out of shape, and for a client that was made to believe that the server cannot
    /// bind to the channel.
    pub fn new(method: &str, first: &[u8], verifier: Verifier, channel: Option<&[u8]>) -> Result<Self> {
        let text = utf8(first)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("client-first-message"));
        };
        if !authzid.is_empty() {
            return Err(violation("client uses authorization identity, but it is not supported"));
        }
        let header = format!("{flag},,");
        let data: &[u8] = match (flag, method, channel) {
            ("n", PLAIN, _) | ("y", PLAIN, None) => &[],
            ("y", PLAIN, Some(_)) => {
                return Err(violation("SCRAM channel binding negotiation error").with_detail(
                    "the client supports SCRAM channel binding but thinks the server does not; however, this server does",
                ));
            }
            ("p=tls-server-end-point", PLUS, Some(channel)) => channel,
            _ => return Err(violation(format!("SCRAM channel binding {flag:?} does not go with {method}"))),
        };
        let mut fields = bare.split(',');
        let (user, nonce) = (fields.next().unwrap_or_default(), fields.next().and_then(|f| f.strip_prefix("r=")));
        let (Some(nonce), true) = (nonce.filter(|n| !n.is_empty()), user.starts_with("n=")) else {
            return Err(malformed("client-first-message"));
        };
        let nonce = format!("{nonce}{}", STANDARD.encode(rand::random::<[u8; 18]>()));
        let challenge = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt()), verifier.iterations());
        let binding = STANDARD.encode([header.as_bytes(), data].concat());
        Ok(Self { verifier, binding, nonce, first_bare: bare.to_string(), challenge })
    }

    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// The server's signature; `None` when the client does not know the password.
    ///
    /// # Errors
    /// `ProtocolViolation` for a message out of shape or bound to another channel.
    pub fn finish(&self, last: &[u8]) -> Result<Option<String>> {
        let text = utf8(last)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("client-final-message"))?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|f| f.strip_prefix("c="));
        let nonce = fields.next().and_then(|f| f.strip_prefix("r="));
        if binding != Some(&self.binding) {
            return Err(violation("SCRAM channel binding check failed"));
        }
        if nonce != Some(&self.nonce) {
            return Err(violation("invalid SCRAM response: nonce does not match"));
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed("client-final-message"))?;
        let message = format!("{},{},{without_proof}", self.first_bare, self.challenge);
        let signature = self.verifier.check(message.as_bytes(), &proof);
        Ok(signature.map(|signature| format!("v={}", STANDARD.encode(signature))))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("message"))
}

fn malformed(what: &str) -> crate::common::Error {
    violation(format!("malformed SCRAM {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_refused() {
        let channel = Some(&b"hash"[..]);
        for (method, first, channel, expected) in [
            (PLAIN, "n,,n=,r=abc", None, None),
            (PLAIN, "n,,n=,r=abc", channel, None),
            (PLAIN, "y,,n=,r=abc", None, None),
            (PLUS, "p=tls-server-end-point,,n=,r=abc", channel, None),
            // A man in the middle has taken PLUS out of the offer.
            (PLAIN, "y,,n=,r=abc", channel, Some("negotiation error")),
            (PLUS, "n,,n=,r=abc", channel, Some("does not go with")),
            (PLAIN, "p=tls-server-end-point,,n=,r=abc", channel, Some("does not go with")),
            (PLUS, "p=tls-unique,,n=,r=abc", channel, Some("does not go with")),
            (PLAIN, "n,a=other,n=,r=abc", None, Some("authorization identity")),
            (PLAIN, "n,,r=abc", None, Some("malformed")),
            (PLAIN, "n,,n=,r=", None, Some("malformed")),
            (PLAIN, "", None, Some("malformed")),
        ] {
            let verifier = Verifier::mock("x", &[0; 32]);
            let got = Exchange::new(method, first.as_bytes(), verifier, channel).map(|_| ()).map_err(|e| e.to_string());
            match (expected, got) {
                (None, got) => assert_eq!(got, Ok(()), "{method} {first}"),
                (Some(part), got) => {
                    assert!(got.as_ref().is_err_and(|e| e.contains(part)), "{method} {first}: {got:?}")
                }
            }
        }
    }

    #[test]
    fn the_last_message_is_bound_to_the_first() {
        let verifier = Verifier::mock("x", &[0; 32]);
        let exchange = Exchange::new(PLAIN, b"n,,n=,r=abc", verifier, None).unwrap();
        let nonce = exchange.challenge().split(',').next().unwrap().to_string();
        let proof = STANDARD.encode([0; 32]);
        assert_eq!(exchange.finish(format!("c=biws,{nonce},p={proof}").as_bytes()).unwrap(), None);
        for bad in ["c=biws,r=abc,p=AA==", "c=eSws,r=abc,p=AA==", "c=biws", "", "c=biws,r=abc"] {
            assert!(exchange.finish(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
