//! The `tcp` source: lines of JSON or CSV over plain TCP. Weir listens, or connects and keeps connecting.
//!
//! ```text
//! socket --> Cutter (whole lines) --> log (fsync) --> LogSplit --> LinesDecoder --> batches + dead letters
//! ```
//! TCP cannot replay, so each line goes into the source's log first: exactly once from there on. The sender gets no
//! acknowledgement; what it sent and the log has not got when the server dies is lost. While the log is slow or its
//! disk full, the socket is not read: the sender waits. A line is a record: a quoted CSV value cannot hold a newline.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::format::{Boundary, LineFormat};
use super::log_split::LogSplit;
use super::options::Given;
use super::{Context, Decoder, Ingest, Options, Source, SplitReader};
use crate::common::Result;
use crate::log::Retention;
use crate::types::JobId;
use lines::Blank;

mod decode;
mod ingest;
mod lines;

const OPTIONS: &[&str] = &["listen", "connect", "max_line_bytes", "max_connections", "retention.bytes", "retention.ms"];
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
    blank: Blank,
    /// Of the log: `None` when the options say nothing.
    retention: Option<Retention>,
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
    let format = LineFormat::new(given)?;
    let encode = given.required("encode", "json")?.to_ascii_lowercase();
    let mut of_format = LineFormat::options(&encode);
    // A record is a line here.
    of_format.retain(|name| *name != "max_record_bytes");
    given.only(&[OPTIONS, &of_format])?;
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
    // That they agree, the format has checked.
    let header = given.flag("header")? == Some(true) || given.flag("without_header")? == Some(false);
    Ok(Settings {
        peer,
        max_line_bytes: given.number("max_line_bytes", 1, 256 << 20)?.unwrap_or(1 << 20),
        max_connections: given.number("max_connections", 1, 65_536)?.unwrap_or(1024),
        header,
        blank: if matches!(format.boundary(), Boundary::Csv(_)) { Blank::Empty } else { Blank::Space },
        retention: retention(&given)?,
    })
}

/// What one of the two options leaves open is not limited.
fn retention(given: &Given) -> Result<Option<Retention>> {
    let bytes = given.number("retention.bytes", 0, u64::MAX)?;
    let time = given.number("retention.ms", 0, u64::MAX)?.map(Duration::from_millis);
    Ok(match (bytes, time) {
        (None, None) => None,
        (bytes, time) => {
            Some(Retention { bytes: bytes.unwrap_or(Retention::ALL.bytes), time: time.unwrap_or(Retention::ALL.time) })
        }
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

    fn retention(&self) -> Option<Retention> {
        self.settings.retention
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;

    use arrow::datatypes::{DataType, Field, Schema};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::common::clock::Clock;
    use crate::connector::Fetch;
    use crate::log::{Log, LogConfig};

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn what_is_sent_is_read_the_same_by_every_reader_from_every_position() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = Log::open(LogConfig::new(dir.path())).unwrap();
        let context = Context {
            base_dir: dir.path().into(),
            data_dir: dir.path().into(),
            clock: Clock::system(),
            secrets: Arc::new(|_| unreachable!("no option is a secret")),
            logs: Arc::new({
                let log = Arc::clone(&log);
                move |_| Ok(Arc::clone(&log))
            }),
        };
        let address = format!("127.0.0.1:{}", free_port());
        let options = [("connector", "tcp"), ("encode", "csv"), ("header", "true"), ("listen", &address)];
        let options = options.map(|(k, v)| (k.to_string(), v.to_string())).into();
        let source = source(JobId(1), "s", &options, &context).unwrap();
        let cancel = CancellationToken::new();
        let ingest = tokio::spawn(source.ingest().unwrap().run(Arc::clone(&log), cancel.clone()));
        let appended = log.appended();
        let mut entries = 0;
        for sender in 0..3 {
            let mut stream = loop {
                match std::net::TcpStream::connect(&address) {
                    Ok(stream) => break stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            write!(stream, "k,v\n{sender}0,a\n\nx,bad\n{sender}1,b").unwrap();
            drop(stream);
            while !text(&log).ends_with(&format!("{sender}1,b\n")) {
                appended.notified().await;
            }
            entries = log.end();
        }
        let schema =
            Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]));
        let mut all = None;
        for from in (0..=entries).rev() {
            let mut reader = source.reader(Some(&from.to_string())).unwrap();
            let mut decoder = source.decoder(Arc::clone(&schema), vec![0]).unwrap();
            let mut found = BTreeMap::new();
            while let Fetch::Unit(unit) = reader.fetch().unwrap() {
                let decoded = decoder.decode(unit).unwrap();
                for chunk in decoded.chunks {
                    let show =
                        |c: usize, row| arrow::util::display::array_value_to_string(chunk.column(c), row).unwrap();
                    found.extend((0..chunk.num_rows()).map(|row| (show(1, row).parse::<u64>().unwrap(), show(0, row))));
                }
                found.extend(decoded.dead_letters.into_iter().map(|l| (l.offset, format!("dead {:?}", l.raw))));
            }
            let larger: BTreeMap<u64, String> = found;
            if let Some(smaller) = all.replace(larger.clone()) {
                assert!(smaller.iter().all(|(id, row)| larger.get(id) == Some(row)), "from {from}");
            }
        }
        let rows: Vec<_> = all.unwrap_or_default().into_iter().collect();
        let values: Vec<_> = rows.iter().map(|(_, row)| row.replace("dead [120, 44, 98, 97, 100]", "x")).collect();
        assert_eq!(values, ["0", "x", "1", "10", "x", "11", "20", "x", "21"]);
        assert_eq!(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        cancel.cancel();
        ingest.await.unwrap().unwrap();
    }

    fn text(log: &Arc<Log>) -> String {
        let mut reader = log.reader(0).unwrap();
        let mut text = String::new();
        while let Some(record) = reader.next().unwrap() {
            text.push_str(std::str::from_utf8(&record.payload).unwrap());
        }
        text
    }

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
        let keep =
            |options: &[(&str, &str)]| check(&[&[json, ("listen", "[::1]:0")], options].concat()).unwrap().retention;
        assert_eq!(keep(&[]), None);
        let (bytes, time) = (1 << 30, Duration::from_secs(60));
        assert_eq!(keep(&[("retention.bytes", "1073741824")]), Some(Retention { bytes, ..Retention::ALL }));
        assert_eq!(keep(&[("retention.ms", "60000")]), Some(Retention { time, ..Retention::ALL }));
        for (key, value, header) in [("without_header", "false", true), ("without_header", "true", false)] {
            assert_eq!(check(&[("encode", "csv"), ("listen", "[::1]:0"), (key, value)]).unwrap().header, header);
        }
    }

    #[test]
    fn a_wrong_option_is_named() {
        let (json, csv, listen) = (("encode", "json"), ("encode", "csv"), ("listen", "127.0.0.1:0"));
        let table: [(&[(&str, &str)], &str); 13] = [
            (&[listen], "cannot be read as an unnamed format"),
            (&[listen, ("encode", "parquet")], "cannot be read as parquet"),
            (&[json], "\"listen\" or \"connect\" is missing"),
            (&[json, listen, ("connect", "a:1")], "exclude each other"),
            (&[json, ("listen", "7000")], "\"listen\" cannot be '7000'"),
            (&[json, ("listen", ":7000")], "\"listen\" cannot be ':7000'"),
            (&[json, ("connect", "a:99999")], "\"connect\" cannot be"),
            (&[json, listen, ("header", "true")], "unknown option \"header\""),
            (&[csv, listen, ("header", "true"), ("without_header", "true")], "contradict"),
            (&[json, listen, ("max_line_bytes", "0")], "\"max_line_bytes\" cannot be '0'"),
            (&[json, listen, ("retention.bytes", "-1")], "\"retention.bytes\" cannot be '-1'"),
            (&[json, listen, ("port", "1")], "unknown option \"port\""),
            (&[json, listen, ("max_record_bytes", "1")], "unknown option \"max_record_bytes\""),
        ];
        for (pairs, expected) in table {
            let error = check(pairs).unwrap_err();
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
    }
}
