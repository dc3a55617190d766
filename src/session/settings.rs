//! Settings of the whole database, as `ALTER SYSTEM SET` changes them and `weir.settings` shows them.

use std::time::Duration;

use parking_lot::RwLock;

use crate::common::config::Config;
use crate::common::{Error, ErrorKind, Result};

/// The running settings.
pub struct Settings(RwLock<Config>);

/// A row of `weir.settings`.
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    /// Changed by `ALTER SYSTEM SET` without a restart.
    pub changeable: bool,
    pub description: &'static str,
}

impl Settings {
    pub fn new(config: Config) -> Self {
        Self(RwLock::new(config))
    }

    pub fn config(&self) -> Config {
        self.0.read().clone()
    }

    pub fn all(&self) -> Vec<Setting> {
        let c = self.0.read();
        let setting = |name, value, changeable, description| Setting { name, value, changeable, description };
        vec![
            setting("barrier_interval", text(c.barrier_interval), true, "how often results become visible"),
            setting("checkpoint_interval", text(c.checkpoint_interval), true, "how often they become durable"),
            setting("data_dir", c.data_dir.display().to_string(), false, "where everything is kept"),
            setting("listen", c.listen.to_string(), false, "address of the Postgres port"),
            setting("max_connections", c.max_connections.to_string(), false, "open connections at the most"),
            setting("memory_limit", c.memory_limit.to_string(), false, "bytes that state and queries may hold"),
            setting("parallelism", c.parallelism.to_string(), false, "actors of a fragment"),
            setting("state_backend", c.state_backend.name().into(), false, "sled or memory"),
        ]
    }

    /// Changes a setting; `None` is its default. Returns the intervals that now hold.
    pub fn set(&self, name: &str, value: Option<&str>) -> Result<(Duration, Duration)> {
        let mut config = self.0.write();
        let defaults = Config::default();
        match name {
            "barrier_interval" => {
                config.barrier_interval = value.map_or(Ok(defaults.barrier_interval), |v| duration(name, v))?;
            }
            "checkpoint_interval" => {
                config.checkpoint_interval = value.map_or(Ok(defaults.checkpoint_interval), |v| duration(name, v))?;
            }
            _ => {
                let known = "barrier_interval and checkpoint_interval can be changed while Weir runs";
                let kind = ErrorKind::UndefinedObject;
                return Err(Error::new(kind, format!("setting {name:?} cannot be set here"))
                    .with_hint(format!("{known}; others are flags of weir serve (see weir.settings)")));
            }
        }
        Ok((config.barrier_interval, config.checkpoint_interval))
    }
}

fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// `250ms`, `1s`, `2min`, or a bare number of milliseconds (as RisingWave takes it).
pub fn duration(name: &str, value: &str) -> Result<Duration> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let scale = match value[digits..].trim() {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "min" | "m" => Some(60_000),
        _ => None,
    };
    let parsed = value[..digits].parse::<u64>().ok().zip(scale).and_then(|(n, scale)| n.checked_mul(scale));
    match parsed {
        Some(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, format!("invalid value {value:?} for {name}"))
            .with_hint("write a duration above zero such as '250ms', '1s' or '2min'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("250ms", Some(250)), ("1s", Some(1000)), ("2 min", Some(120_000)), ("40", Some(40))] {
            assert_eq!(duration("x", text).ok().map(|d| d.as_millis() as u64), millis, "{text}");
        }
        for text in ["", "0s", "-1s", "1 day", "99999999999999999999s"] {
            assert!(duration("x", text).is_err(), "{text}");
        }
    }
}
