//! Sources and sinks: what the engine asks of an outside system. One folder a system; no actor is known here.
//!
//! ```text
//!               fetch (in order, one at a time)        decode (parallel, vectorised)
//! file, log --> SplitReader --Unit{bytes, position}--> Decoder --> record batches + dead letters
//! ```
//!
//! The position of a [`SplitReader`] after a unit is the whole state of a source: what was fetched before a barrier is
//! processed before it, so one position an epoch makes a source exactly-once at any parallelism.

mod blackhole;
mod datagen;
mod file;
pub mod format;
mod log_split;
pub mod nexmark;
mod numbered;
mod options;
mod output;
mod pace;
mod secret;
pub mod table_log;
pub mod tcp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tokio::sync::Notify;

use self::options::Given;
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::log::Retention;
use crate::types::{Epoch, JobId, StreamChunk, WithOptions};

/// Options as written in `WITH (…)` and `FORMAT … ENCODE …( … )`, the values of secrets in their places; keys in lower
/// case. `format` and `encode` hold the words after FORMAT and ENCODE in lower case.
pub type Options = BTreeMap<String, String>;

/// The values of a secret by its name: the one that counts, then those that it had before.
pub type Secrets = dyn Fn(&str) -> Result<Vec<String>> + Send + Sync;

/// What a connector may use of the process.
#[derive(Clone)]
pub struct Context {
    /// Relative paths in options are relative to this.
    pub base_dir: PathBuf,
    /// The data folder.
    pub data_dir: PathBuf,
    pub clock: Clock,
    /// Logs of the sources that cannot replay, by source.
    pub logs: Arc<dyn Fn(JobId) -> Result<Arc<crate::log::Log>> + Send + Sync>,
    pub secrets: Arc<Secrets>,
}

/// A source as defined, its options checked.
pub trait Source: Send + Sync {
    /// Columns that the source has when CREATE SOURCE names none (nexmark, datagen, Parquet files).
    fn default_schema(&self) -> Result<Option<SchemaRef>>;

    /// A reader at `position` (as [`SplitReader::position`] gave it), or at the start.
    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>>;

    /// A decoder of the reader's units into the columns `projection` of `schema`.
    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>>;

    /// A source that cannot replay is ingested into its log by this task, once, for as long as it exists.
    fn ingest(&self) -> Option<Box<dyn Ingest>> {
        None
    }

    /// What that log keeps although its readers have passed it, where the options say so.
    fn retention(&self) -> Option<Retention> {
        None
    }
}

/// Puts what an outside system pushes into the source's log.
#[async_trait::async_trait]
pub trait Ingest: Send {
    /// Runs until cancelled; returns only on an error that retrying cannot mend.
    async fn run(self: Box<Self>, log: Arc<crate::log::Log>, cancel: tokio_util::sync::CancellationToken)
    -> Result<()>;
}

/// The sequential half of a source: hands out units in order. Shared by the actors under a lock: keep it cheap.
pub trait SplitReader: Send {
    fn fetch(&mut self) -> Result<Fetch>;

    /// Where the next `fetch` goes on, as text to be stored; a reader opened there hands out the same units again.
    fn position(&self) -> String;

    /// For `weir.sources`.
    fn splits(&self) -> Vec<SplitStatus>;
}

/// What a reader has for now.
pub enum Fetch {
    Unit(Unit),
    /// Nothing yet: try again after this long, or when notified.
    Wait {
        after: Duration,
        notify: Option<Arc<Notify>>,
    },
    /// A bounded source has ended.
    End,
}

/// Some whole records, as read: about 1 MiB of them.
pub struct Unit {
    /// The split's name: a file's path, `log`, `nexmark`.
    pub split: Arc<str>,
    /// Where in the split it begins: bytes, entries or events, as the split counts.
    pub offset: u64,
    /// Row ids of the unit's records start here; they do not overlap those of another unit.
    pub first_row_id: i64,
    pub payload: Payload,
}

pub enum Payload {
    /// Encoded records.
    Bytes(Bytes),
    /// Numbered records `start..end` of a generator, or row groups of a Parquet file.
    Range(u64, u64),
}

/// The parallel half of a source: one an actor.
pub trait Decoder: Send {
    fn decode(&mut self, unit: Unit) -> Result<Decoded>;
}

/// The records of a unit.
#[derive(Default)]
pub struct Decoded {
    /// The projected columns, then `_row_id`; weights only from a table's log. Batches of at most some 8192 rows.
    pub chunks: Vec<StreamChunk>,
    pub dead_letters: Vec<DeadLetter>,
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub split: Arc<str>,
    /// Of the record itself: with the split it identifies the letter.
    pub offset: u64,
    pub raw: Vec<u8>,
    pub error: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitStatus {
    pub split: String,
    pub offset: u64,
    /// The end as far as known: bytes, entries or events like `offset`.
    pub end: Option<u64>,
    pub finished: bool,
}

/// A sink as defined, its options checked.
pub trait Sink: Send + Sync {
    /// One an actor; `actor` numbers them from 0.
    fn writer(&self, actor: usize, schema: SchemaRef) -> Result<Box<dyn SinkWriter>>;

    /// Called at start, before any writer, with the last committed epoch: finishes what was committed and takes back
    /// what was not.
    fn recover(&self, committed: Epoch) -> Result<()>;

    /// Called after `epoch` is committed: publishes all that was sealed up to it. Idempotent.
    fn commit(&self, epoch: Epoch) -> Result<()>;
}

pub trait SinkWriter: Send {
    fn write(&mut self, chunk: &StreamChunk) -> Result<()>;

    /// Makes what was written in `epoch` durable aside, ready for `commit`.
    fn seal(&mut self, epoch: Epoch) -> Result<()>;
}

const SOURCES: &[&str] = &["file", "tcp", "nexmark", "datagen"];
const SINKS: &[&str] = &["file", "blackhole"];

/// Opens the source `name`: checks every option and says which is wrong.
pub fn source(id: JobId, name: &str, options: &WithOptions, context: &Context) -> Result<Arc<dyn Source>> {
    let (options, hidden) = secret::resolve(options, context)?;
    let source = open_source(id, name, &options, context).map_err(|e| hidden.in_error(e))?;
    Ok(secret::hiding_source(source, hidden))
}

fn open_source(id: JobId, name: &str, options: &Options, context: &Context) -> Result<Arc<dyn Source>> {
    let object = format!("source \"{name}\"");
    let given = Given { object: &object, options };
    match given.required("connector", "file")? {
        "file" => file::source(given, context),
        "nexmark" => nexmark::source(given, context),
        "datagen" => datagen::source(given, context),
        "tcp" => tcp::source(id, name, options, context),
        other => Err(unknown(given, other, SOURCES)),
    }
}

/// Opens the sink `name`: checks every option and says which is wrong.
pub fn sink(id: JobId, name: &str, options: &WithOptions, context: &Context) -> Result<Arc<dyn Sink>> {
    let (options, hidden) = secret::resolve(options, context)?;
    let sink = open_sink(id, name, &options, context).map_err(|e| hidden.in_error(e))?;
    Ok(secret::hiding_sink(sink, hidden))
}

fn open_sink(id: JobId, name: &str, options: &Options, context: &Context) -> Result<Arc<dyn Sink>> {
    let object = format!("sink \"{name}\"");
    let given = Given { object: &object, options };
    match given.required("connector", "file")? {
        "file" => file::sink::sink(id, given, context),
        "blackhole" => blackhole::sink(given),
        other => Err(unknown(given, other, SINKS)),
    }
}

fn unknown(given: Given<'_>, connector: &str, known: &[&str]) -> Error {
    let hint = format!("known connectors: {}", options::quoted(known.iter().copied()));
    given.bad_value("connector", connector).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_are_chosen_by_name() {
        let context = Context {
            base_dir: ".".into(),
            data_dir: ".".into(),
            clock: Clock::manual(0),
            logs: Arc::new(|_| Err(Error::internal("no log"))),
            secrets: Arc::new(|_| Err(Error::internal("no secret"))),
        };
        let open = |connector: &str, sink: bool| {
            let options = WithOptions::from([("connector".to_string(), connector.into())]);
            match sink {
                false => super::source(JobId(1), "s", &options, &context).err(),
                true => super::sink(JobId(1), "s", &options, &context).err(),
            }
        };
        for connector in SOURCES {
            assert!(open(connector, false).is_none_or(|e| !e.message().contains("connector")), "{connector}");
        }
        for connector in SINKS {
            assert!(open(connector, true).is_none_or(|e| !e.message().contains("connector")), "{connector}");
        }
        let e = open("kafka", false).unwrap();
        assert_eq!(e.message(), "source \"s\": option \"connector\" cannot be 'kafka'");
        assert_eq!(e.hint(), Some("known connectors: 'file', 'tcp', 'nexmark', 'datagen'"));
        assert!(open("nexmark", true).unwrap().hint().unwrap().contains("'blackhole'"));
        assert!(open("", true).unwrap().message().contains("missing"));
    }
}
