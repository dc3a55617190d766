//! The server's settings, with their defaults. Flags, `WEIR_*` variables and the TOML file fill the same struct.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::access::{Rule, TlsFiles};

/// Which state backend holds the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateBackend {
    /// Whole state in memory, a whole snapshot at each checkpoint.
    Memory,
    /// Pages in one sled tree; state may exceed memory.
    #[default]
    Sled,
}

impl StateBackend {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
        }
    }
}

/// Everything that `weir serve` can be told.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub state_backend: StateBackend,
    /// Actors of a fragment.
    pub parallelism: usize,
    /// Bytes that state caches, buffers and queries may hold together.
    pub memory_limit: u64,
    /// How often results become visible.
    pub barrier_interval: Duration,
    /// How often a complete epoch becomes durable; at least the barrier interval.
    pub checkpoint_interval: Duration,
    /// Asked of clients; needed to listen beyond loopback.
    pub password: Option<String>,
    pub max_connections: usize,
    /// Without them: everyone is trusted on loopback until root has a password, then all prove theirs.
    pub rules: Vec<Rule>,
    pub tls: Option<TlsFiles>,
    /// Beyond loopback, connections need not be encrypted.
    pub allow_plaintext: bool,
    /// From the connect to the end of the log-in.
    pub authentication_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4566)),
            data_dir: PathBuf::from("weir-data"),
            state_backend: StateBackend::default(),
            parallelism: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_limit: 1 << 30,
            barrier_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(1),
            password: None,
            max_connections: 500,
            rules: Vec::new(),
            tls: None,
            allow_plaintext: false,
            authentication_timeout: Duration::from_secs(60),
        }
    }
}
