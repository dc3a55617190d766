//! The `tcp` source: lines of JSON or CSV over plain TCP. Weir listens, or connects and keeps connecting.
//!
//! ```text
//! socket --> Cutter (whole lines) --> log (fsync) --> LogSplit --> LinesDecoder --> batches + dead letters
//! ```
//! TCP cannot replay, so each line goes into the source's log first: exactly once from there on. The sender gets no
//! acknowledgement; what it sent and the log has not got when the server dies is lost. While the log is slow or its
//! disk full, the socket is not read: the sender waits. A line is a record: a quoted CSV value cannot hold a newline.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::log_split::LogSplit;
use super::options::Given;
use super::{Context, Decoder, Ingest, Options, Source, SplitReader};
use crate::common::Result;
use crate::types::JobId;

mod decode;
mod ingest;
mod lines;

const OPTIONS: &[&str] = &["listen", "connect", "max_line_bytes", "max_connections"];
const CSV_OPTIONS: &[&str] = &["delimiter", "quote", "escape", "null", "header", "without_header"];

/// Who calls whom.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Peer {
    /// An address to listen on, as `host:port`.
    Listen(String),
    /// An address to connect to, as `host:port`.
    Connect(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    peer: Peer,
    /// A longer line is a dead letter.
    max_line_bytes: usize,
    /// More wait to be accepted.
    max_connections: usize,
    /// The first line of each connection names the columns and is skipped.
    header: bool,
}

/// Opens the source `name`.
///
/// # Errors
/// `InvalidParameterValue` for options that are wrong, missing or unknown.
pub fn source(id: JobId, name: &str, options: &Options, context: &Context) -> Result<Arc<dyn Source>> {
    let settings = settings(name, options)?;
    Ok(Arc::new(TcpSource { id, name: name.into(), settings, options: options.clone(), context: context.clone() }))
}

fn settings(name: &str, options: &Options) -> Result<Settings> {
    let object = format!("source \"{name}\"");
    let given = Given { object: &object, options };
    let csv = match given.choice("encode", &["json", "csv"])? {
        Some(encode) => encode == "csv",
        None => given.required("encode", "json").map(|_| false)?,
    };
    given.only(if csv { &[OPTIONS, CSV_OPTIONS] } else { &[OPTIONS] })?;
    let peer = match (given.text("listen"), given.text("connect")) {
        (Some(address), None) => Peer::Listen(address_of(&given, "listen", address)?),
        (None, Some(address)) => Peer::Connect(address_of(&given, "connect", address)?),
        (Some(_), Some(_)) => {
            return Err(given
                .wrong("options \"listen\" and \"connect\" exclude each other")
                .with_hint("leave out connect and let the sender call, or leave out listen and call it"));
        }
        (None, None) => {
            return Err(given
                .wrong("option \"listen\" or \"connect\" is missing")
                .with_hint("write listen = '127.0.0.1:7000', or connect = 'host:7000'"));
        }
    };
    let header = match (given.flag("header")?, given.flag("without_header")?) {
        (Some(header), Some(without)) if header == without => {
            return Err(given.wrong("options \"header\" and \"without_header\" contradict each other"));
        }
        (Some(header), _) => header,
        (None, without) => without == Some(false),
    };
    Ok(Settings {
        peer,
        max_line_bytes: given.number("max_line_bytes", 1, 256 << 20)?.unwrap_or(1 << 20),
        max_connections: given.number("max_connections", 1, 65_536)?.unwrap_or(1024),
        header,
    })
}

fn address_of(given: &Given, key: &str, address: &str) -> Result<String> {
    let address = address.trim();
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(address.into()),
        _ => Err(given.bad_value(key, address).with_hint(format!("write {key} = 'host:port', as in '127.0.0.1:7000'"))),
    }
}

struct TcpSource {
    id: JobId,
    name: String,
    settings: Settings,
    options: Options,
    context: Context,
}

impl Source for TcpSource {
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        Ok(None)
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        let log = (self.context.logs)(self.id)?;
        Ok(Box::new(LogSplit::open(log, position, lines::TAG_BYTES)?))
    }

    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(decode::LinesDecoder::new(&self.settings, &self.options, schema, projection)?))
    }

    fn ingest(&self) -> Option<Box<dyn Ingest>> {
        Some(Box::new(ingest::TcpIngest { name: self.name.clone(), settings: self.settings.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Result<Settings> {
        settings("s", &pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn options_are_read() {
        let json = ("encode", "json");
        let s = check(&[json, ("connector", "tcp"), ("listen", "127.0.0.1:7000")]).unwrap();
        assert_eq!((s.peer, s.max_line_bytes, s.header), (Peer::Listen("127.0.0.1:7000".into()), 1 << 20, false));
        let s = check(&[("encode", "csv"), ("connect", "db:1"), ("header", "true"), ("max_line_bytes", "9")]).unwrap();
        assert_eq!((s.peer, s.max_line_bytes, s.header), (Peer::Connect("db:1".into()), 9, true));
        for (key, value, header) in [("without_header", "false", true), ("without_header", "true", false)] {
            assert_eq!(check(&[("encode", "csv"), ("listen", "[::1]:0"), (key, value)]).unwrap().header, header);
        }
    }

    #[test]
    fn a_wrong_option_is_named() {
        let (json, csv, listen) = (("encode", "json"), ("encode", "csv"), ("listen", "127.0.0.1:0"));
        let table: [(&[(&str, &str)], &str); 11] = [
            (&[listen], "\"encode\" is missing"),
            (&[listen, ("encode", "parquet")], "\"encode\" cannot be 'parquet'"),
            (&[json], "\"listen\" or \"connect\" is missing"),
            (&[json, listen, ("connect", "a:1")], "exclude each other"),
            (&[json, ("listen", "7000")], "\"listen\" cannot be '7000'"),
            (&[json, ("listen", ":7000")], "\"listen\" cannot be ':7000'"),
            (&[json, ("connect", "a:99999")], "\"connect\" cannot be"),
            (&[json, listen, ("header", "true")], "unknown option \"header\""),
            (&[csv, listen, ("header", "true"), ("without_header", "true")], "contradict"),
            (&[json, listen, ("max_line_bytes", "0")], "\"max_line_bytes\" cannot be '0'"),
            (&[json, listen, ("port", "1")], "unknown option \"port\""),
        ];
        for (pairs, expected) in table {
            let error = check(pairs).unwrap_err();
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
    }
}
