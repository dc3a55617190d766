//! The command line, `WEIR_*` variables and the TOML file, to one [`Config`]. A flag wins over a variable, a variable
//! over the file, the file over the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

use weir::common::access::{Rule, TlsFiles};
use weir::common::config::{Config, StateBackend};
use weir::common::{Error, ErrorKind, Result};
use weir::types::VNODES;

/// A SQL streaming database in one binary: psql in, continuous answers out.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArguments),
    /// Send SQL to a server, for machines without psql.
    #[command(disable_help_flag = true)]
    Sql(SqlArguments),
}

/// Every setting may also stand in the environment or in the TOML file (there with `_` for `-`).
#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// TOML file with settings.
    #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port for Postgres clients. Beyond loopback a password is needed. [default: 127.0.0.1:4566]
    #[arg(long, env = "WEIR_LISTEN", value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Folder that holds everything; made when missing. [default: weir-data]
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where state lives: `sled` (pages on disk, may exceed memory) or `memory` (whole snapshots). [default: sled]
    #[arg(long, env = "WEIR_STATE_BACKEND", value_name = "BACKEND", value_parser = state_backend)]
    state_backend: Option<StateBackend>,
    /// Parallel instances of each part of a query. [default: number of cores]
    #[arg(long, env = "WEIR_PARALLELISM", value_name = "N")]
    parallelism: Option<usize>,
    /// Memory for state caches, buffers and queries together, such as 512MB or 2GiB. [default: 1GiB]
    #[arg(long, env = "WEIR_MEMORY_LIMIT", value_name = "SIZE")]
    memory_limit: Option<Size>,
    /// How often results become visible, such as 200ms or 1s. [default: 1s]
    #[arg(long, env = "WEIR_BARRIER_INTERVAL", value_name = "TIME")]
    barrier_interval: Option<Span>,
    /// How often results become durable; at least the barrier interval. [default: 1s]
    #[arg(long, env = "WEIR_CHECKPOINT_INTERVAL", value_name = "TIME")]
    checkpoint_interval: Option<Span>,
    /// Password that clients must prove. Better set by WEIR_PASSWORD: other users can see a flag. [default: none]
    #[arg(long, env = "WEIR_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// PEM file with the certificate chain for TLS; needs --tls-key. Read again when it changes. [default: none]
    #[arg(long, env = "WEIR_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, env = "WEIR_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// PEM file with the authorities of clients' certificates, for rules with the method `cert`. [default: none]
    #[arg(long, env = "WEIR_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Take connections beyond loopback that are not encrypted.
    #[arg(long, env = "WEIR_ALLOW_PLAINTEXT")]
    allow_plaintext: bool,
    /// A client that has not logged in by then is dropped. [default: 60s]
    #[arg(long, env = "WEIR_AUTHENTICATION_TIMEOUT", value_name = "TIME")]
    authentication_timeout: Option<Span>,
    /// Clients at a time; one more is refused. [default: 500]
    #[arg(long, env = "WEIR_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// What is logged to stderr: a level, or targets such as `info,weir::checkpoint=debug`. [default: info]
    #[arg(long, env = "WEIR_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// The TOML file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    state_backend: Option<String>,
    parallelism: Option<usize>,
    memory_limit: Option<Size>,
    barrier_interval: Option<Span>,
    checkpoint_interval: Option<Span>,
    password: Option<String>,
    max_connections: Option<usize>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    allow_plaintext: Option<bool>,
    authentication_timeout: Option<Span>,
    #[serde(default)]
    rules: Vec<FileRule>,
    log: Option<String>,
}

/// One `[[rules]]` of the TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    #[serde(rename = "type")]
    channel: String,
    #[serde(default = "all")]
    database: String,
    #[serde(default = "all")]
    user: String,
    #[serde(default = "all")]
    address: String,
    method: String,
}

fn all() -> String {
    "all".to_string()
}

impl FileRule {
    fn rule(&self) -> Result<Rule, String> {
        let named = |name: &String| Some(name.clone()).filter(|name| name != "all");
        Ok(Rule {
            channel: self.channel.parse()?,
            database: named(&self.database),
            user: named(&self.user),
            address: self.address.parse()?,
            method: self.method.parse()?,
        })
    }
}

#[derive(Debug, Args)]
pub struct SqlArguments {
    /// Server's host.
    #[arg(short = 'h', long, env = "PGHOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Server's port.
    #[arg(short, long, env = "PGPORT", default_value_t = 4566)]
    pub port: u16,
    /// User name. Its password is taken from PGPASSWORD.
    #[arg(short = 'U', long, env = "PGUSER", default_value = "root")]
    pub user: String,
    /// Database.
    #[arg(short, long, env = "PGDATABASE", default_value = "dev")]
    pub database: String,
    /// Run these statements and leave; may be given several times.
    #[arg(short, long, value_name = "SQL")]
    pub command: Vec<String>,
    /// Run the statements of this file and leave (`-` reads stdin).
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Go on after an error; the exit code still tells it.
    #[arg(long)]
    pub keep_going: bool,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// What `weir serve` runs with.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    pub log: String,
}

impl ServeArguments {
    /// # Errors
    /// `ConfigFile` for a file that cannot be read, has an unknown key or a wrong value; `InvalidParameterValue` for
    /// settings that cannot work together.
    pub fn settings(self) -> Result<Settings> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let file_backend = file
            .state_backend
            .as_deref()
            .map(state_backend)
            .transpose()
            .map_err(|e| Error::new(ErrorKind::ConfigFile, format!("state_backend: {e}")))?;
        let default = Config::default();
        let config = Config {
            listen: self.listen.or(file.listen).unwrap_or(default.listen),
            data_dir: self.data_dir.or(file.data_dir).unwrap_or(default.data_dir),
            state_backend: self.state_backend.or(file_backend).unwrap_or(default.state_backend),
            parallelism: self.parallelism.or(file.parallelism).unwrap_or(default.parallelism.min(VNODES)),
            memory_limit: self.memory_limit.or(file.memory_limit).map_or(default.memory_limit, |s| s.0),
            barrier_interval: self.barrier_interval.or(file.barrier_interval).map_or(default.barrier_interval, |s| s.0),
            checkpoint_interval: self
                .checkpoint_interval
                .or(file.checkpoint_interval)
                .map_or(default.checkpoint_interval, |s| s.0),
            password: self.password.or(file.password).filter(|p| !p.is_empty()),
            rules: rules(&file.rules)?,
            tls: tls(
                self.tls_cert.or(file.tls_cert),
                self.tls_key.or(file.tls_key),
                self.tls_client_ca.or(file.tls_client_ca),
            )?,
            allow_plaintext: self.allow_plaintext || file.allow_plaintext.unwrap_or_default(),
            authentication_timeout: self
                .authentication_timeout
                .or(file.authentication_timeout)
                .map_or(default.authentication_timeout, |s| s.0),
            max_connections: self.max_connections.or(file.max_connections).unwrap_or(default.max_connections),
        };
        check(&config)?;
        Ok(Settings { config, log: self.log.or(file.log).unwrap_or_else(|| "info".to_string()) })
    }
}

fn rules(rules: &[FileRule]) -> Result<Vec<Rule>> {
    let one = |(index, rule): (usize, &FileRule)| {
        rule.rule().map_err(|e| Error::new(ErrorKind::ConfigFile, format!("rule {}: {e}", index + 1)))
    };
    rules.iter().enumerate().map(one).collect()
}

fn tls(cert: Option<PathBuf>, key: Option<PathBuf>, client_ca: Option<PathBuf>) -> Result<Option<TlsFiles>> {
    match (cert, key, client_ca) {
        (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles { cert, key, client_ca })),
        (None, None, None) => Ok(None),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, "half of the TLS settings is missing")
            .with_hint("--tls-cert and --tls-key go together; --tls-client-ca needs both")),
    }
}

fn read(path: &Path) -> Result<File> {
    let bad = |e: String| Error::new(ErrorKind::ConfigFile, format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    toml::from_str(&text).map_err(|e| bad(e.to_string().trim_end().to_string()))
}

fn check(config: &Config) -> Result<()> {
    const SMALLEST_LIMIT: u64 = 16 << 20;
    let bad = |message: String| Err(Error::new(ErrorKind::InvalidParameterValue, message));
    if !(1..=VNODES).contains(&config.parallelism) {
        return bad(format!("parallelism {} is not between 1 and {VNODES}", config.parallelism));
    }
    if config.memory_limit < SMALLEST_LIMIT {
        return bad(format!("a memory limit of {} bytes is below the least, 16MiB", config.memory_limit));
    }
    if config.barrier_interval < Duration::from_millis(1) {
        return bad("the barrier interval is below the least, 1ms".to_string());
    }
    if config.checkpoint_interval < config.barrier_interval {
        return bad(format!(
            "the checkpoint interval ({:?}) is below the barrier interval ({:?})",
            config.checkpoint_interval, config.barrier_interval
        ));
    }
    if !(1..=100_000).contains(&config.max_connections) {
        return bad(format!("max connections {} is not between 1 and 100000", config.max_connections));
    }
    Ok(())
}

fn state_backend(text: &str) -> Result<StateBackend, String> {
    [StateBackend::Sled, StateBackend::Memory]
        .into_iter()
        .find(|backend| backend.name() == text)
        .ok_or_else(|| format!("{text:?} is neither `sled` nor `memory`"))
}

/// Bytes: `1048576`, `512MB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [
            ("", 1),
            ("b", 1),
            ("kb", 1_000),
            ("mb", 1_000_000),
            ("gb", 1_000_000_000),
            ("tb", 1_000_000_000_000),
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
            ("tib", 1 << 40),
        ];
        quantity(text, &units).map(Self).ok_or_else(|| format!("{text:?} is not a size such as 512MB or 2GiB"))
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A time span: `200ms`, `1s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
        quantity(text, &units)
            .map(|micros| Self(Duration::from_micros(micros)))
            .ok_or_else(|| format!("{text:?} is not a time such as 200ms or 1s"))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A whole number with a unit, case and space aside; `None` on overflow too.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings> {
        let all = ["weir", "serve"].iter().chain(arguments);
        match Cli::try_parse_from(all).map_err(|e| Error::new(ErrorKind::Syntax, e.to_string()))?.command {
            Command::Serve(arguments) => arguments.settings(),
            Command::Sql(_) => unreachable!(),
        }
    }

    #[test]
    fn sizes_and_spans() {
        let sizes = [("16", 16), ("512MB", 512_000_000), ("2GiB", 2 << 30), ("1 kib", 1024), ("0", 0)];
        for (text, want) in sizes {
            assert_eq!(text.parse(), Ok(Size(want)), "{text}");
        }
        for text in ["", "MB", "-1", "1.5GB", "12 apples", "99999999999TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        let spans = [("200ms", 200_000), ("1s", 1_000_000), ("2 m", 120_000_000), ("1h", 3_600_000_000)];
        for (text, want) in spans {
            assert_eq!(text.parse(), Ok(Span(Duration::from_micros(want))), "{text}");
        }
        for text in ["", "1", "s", "1 day", "-1s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "parallelism = 3\nmemory_limit = \"64MiB\"\nstate_backend = \"memory\"\nlog = \"warn\"")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let got = settings(&["--config", path, "--parallelism", "2"]).unwrap();
        assert_eq!((got.config.parallelism, got.config.memory_limit), (2, 64 << 20));
        assert_eq!(got.config.state_backend, StateBackend::Memory);
        assert_eq!((got.log.as_str(), got.config.max_connections), ("warn", 500));
    }

    #[test]
    fn mistakes_are_named() {
        let file = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            settings(&["--config", file.path().to_str().unwrap()]).unwrap_err().to_string()
        };
        assert!(file("paralelism = 3").contains("paralelism"));
        assert!(file("memory_limit = \"lots\"").contains("lots"));
        assert!(file("state_backend = \"rocksdb\"").contains("rocksdb"));
        assert!(file("listen = 5").contains("listen"));
        assert!(file("not toml").contains("not toml"));
        for arguments in [
            &["--parallelism", "0"][..],
            &["--parallelism", "257"],
            &["--memory-limit", "1MB"],
            &["--barrier-interval", "0s"],
            &["--barrier-interval", "2s", "--checkpoint-interval", "1s"],
            &["--max-connections", "0"],
            &["--state-backend", "rocksdb"],
            &["--listen", "nowhere"],
            &["--config", "/nonexistent.toml"],
        ] {
            assert!(settings(arguments).is_err(), "{arguments:?}");
        }
    }
}
