//! Who may connect from where, and how they prove it: the rules of the TOML file, as `pg_hba.conf` has them.
//!
//! Plain data and the match; the server asks it once a connection.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It need not.
    Trust,
    /// By its password.
    ScramSha256,
    /// By a certificate whose common name is the user.
    Cert,
    /// It cannot.
    Reject,
}

/// Which connections a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Host,
    /// Encrypted ones.
    HostSsl,
    /// Those that are not.
    HostNoSsl,
}

/// One rule; the first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub channel: Channel,
    /// `None` is all.
    pub database: Option<String>,
    /// `None` is all.
    pub user: Option<String>,
    pub address: Network,
    pub method: Method,
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    All,
    Of { address: IpAddr, bits: u32 },
}

/// Files of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Who signs clients' certificates; without it none are asked for.
    pub client_ca: Option<PathBuf>,
}

impl Rule {
    pub fn matches(&self, peer: IpAddr, encrypted: bool, database: &str, user: &str) -> bool {
        let channel = match self.channel {
            Channel::Host => true,
            Channel::HostSsl => encrypted,
            Channel::HostNoSsl => !encrypted,
        };
        channel
            && self.database.as_deref().is_none_or(|d| d == database)
            && self.user.as_deref().is_none_or(|u| u == user)
            && self.address.contains(peer)
    }
}

impl Network {
    pub fn contains(self, peer: IpAddr) -> bool {
        let Self::Of { address, bits } = self else { return true };
        let same = |a: u128, b: u128, width: u32| bits == 0 || (a ^ b) >> (width - bits.min(width)) == 0;
        match (address, peer.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    /// Whether only this machine is in it.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::All => false,
            Self::Of { address: IpAddr::V4(a), bits } => a.is_loopback() && bits >= 8,
            Self::Of { address: IpAddr::V6(a), bits } => a.is_loopback() && bits == 128,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let wrong = || format!("{text:?} is neither `all` nor an address such as 10.0.0.0/8, 192.168.1.7 or ::1/128");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits > width { Err(wrong()) } else { Ok(Self::Of { address, bits }) }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "trust" => Ok(Self::Trust),
            "scram-sha-256" => Ok(Self::ScramSha256),
            "cert" => Ok(Self::Cert),
            "reject" => Ok(Self::Reject),
            _ => Err(format!("method {text:?} is none of trust, scram-sha-256, cert, reject")),
        }
    }
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::Host),
            "hostssl" => Ok(Self::HostSsl),
            "hostnossl" => Ok(Self::HostNoSsl),
            _ => Err(format!("type {text:?} is none of host, hostssl, hostnossl")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (network, peer, inside) in [
            ("all", "203.0.113.9", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7", "192.168.1.8", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::1/128", "::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(peer.parse().unwrap()), inside, "{network:?} {peer}");
        }
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "::1/129", "10.0.0/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_asks_for_all_of_it() {
        let rule = Rule {
            channel: Channel::HostSsl,
            database: Some("dev".into()),
            user: Some("ann".into()),
            address: "127.0.0.0/8".parse().unwrap(),
            method: Method::Trust,
        };
        let peer = "127.0.0.1".parse().unwrap();
        assert!(rule.matches(peer, true, "dev", "ann"));
        assert!(!rule.matches(peer, false, "dev", "ann"));
        assert!(!rule.matches(peer, true, "x", "ann"));
        assert!(!rule.matches(peer, true, "dev", "bob"));
        assert!(!rule.matches("10.0.0.1".parse().unwrap(), true, "dev", "ann"));
        assert!(rule.address.is_loopback() && !Network::All.is_loopback());
    }
}
