//! Secrets among the options: their values are put in when a connector is opened, and taken out again of what it tells:
//! errors, the names of splits, dead letters.
//!
//! ```text
//! WithOptions --resolve--> Options --open--> connector
//!                  |                              | errors, splits, letters
//!                  +--- Hidden: value -> name --> `SECRET name` in their places
//! ```

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tokio_util::sync::CancellationToken;

use super::{
    Context, DeadLetter, Decoded, Decoder, Fetch, Ingest, Options, Sink, SinkWriter, Source, SplitReader, SplitStatus,
    Unit,
};
use crate::common::{Error, Result};
use crate::log::{Log, Retention};
use crate::types::{Epoch, OptionValue, StreamChunk, WithOptions};

/// Values that are not to be shown, the longest first, each with what is shown instead.
#[derive(Clone)]
pub(super) struct Hidden(Arc<[(String, String)]>);

/// The options with the values of secrets.
///
/// # Errors
/// `UndefinedObject` for a secret that is not there.
pub(super) fn resolve(options: &WithOptions, context: &Context) -> Result<(Options, Hidden)> {
    let mut values = Vec::new();
    let mut resolved = Options::new();
    for (key, value) in options {
        let text = match value {
            OptionValue::Text(text) => text.clone(),
            OptionValue::Secret { secret } => {
                let all = (context.secrets)(secret)?;
                for value in &all {
                    // As it stands in Rust's quotes, and as a word of a list, too.
                    let quoted = format!("{value:?}");
                    let quoted = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_string();
                    for form in [value.clone(), quoted, value.to_lowercase()] {
                        if !values.iter().any(|(hidden, _)| *hidden == form) {
                            values.push((form, format!("SECRET {secret}")));
                        }
                    }
                }
                let none = || Error::internal(format!("secret \"{secret}\" has no value"));
                all.into_iter().next().ok_or_else(none)?
            }
        };
        resolved.insert(key.clone(), text);
    }
    values.retain(|(value, _)| !value.is_empty());
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    Ok((resolved, Hidden(values.into())))
}

impl Hidden {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text without the values; those in what has been put in are not looked for.
    fn in_text(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.0.iter().find_map(|(value, name)| Some((rest.strip_prefix(value.as_str())?, name))) {
                Some((after, name)) => {
                    shown.push_str(name);
                    rest = after;
                }
                None => {
                    shown.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        shown
    }

    pub fn in_error(&self, e: Error) -> Error {
        if self.is_empty() { e } else { e.map_texts(|text| self.in_text(text)) }
    }

    fn of<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| self.in_error(e))
    }
}

/// The source, telling no secret.
pub(super) fn hiding_source(source: Arc<dyn Source>, hidden: Hidden) -> Arc<dyn Source> {
    if hidden.is_empty() { source } else { Arc::new(Hiding { inner: source, hidden }) }
}

/// The sink, telling no secret.
pub(super) fn hiding_sink(sink: Arc<dyn Sink>, hidden: Hidden) -> Arc<dyn Sink> {
    if hidden.is_empty() { sink } else { Arc::new(Hiding { inner: sink, hidden }) }
}

/// A part of a connector that is given secrets.
struct Hiding<T> {
    inner: T,
    hidden: Hidden,
}

impl Source for Hiding<Arc<dyn Source>> {
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        self.hidden.of(self.inner.default_schema())
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        let inner = self.hidden.of(self.inner.reader(position))?;
        Ok(Box::new(Hiding { inner, hidden: self.hidden.clone() }))
    }

    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        let inner = self.hidden.of(self.inner.decoder(schema, projection))?;
        Ok(Box::new(Hiding { inner, hidden: self.hidden.clone() }))
    }

    fn ingest(&self) -> Option<Box<dyn Ingest>> {
        let inner = self.inner.ingest()?;
        Some(Box::new(Hiding { inner, hidden: self.hidden.clone() }))
    }

    fn retention(&self) -> Option<Retention> {
        self.inner.retention()
    }
}

impl SplitReader for Hiding<Box<dyn SplitReader>> {
    fn fetch(&mut self) -> Result<Fetch> {
        self.hidden.of(self.inner.fetch())
    }

    /// Stored, never shown: the reader must find it again.
    fn position(&self) -> String {
        self.inner.position()
    }

    fn splits(&self) -> Vec<SplitStatus> {
        let shown = |s: SplitStatus| SplitStatus { split: self.hidden.in_text(&s.split), ..s };
        self.inner.splits().into_iter().map(shown).collect()
    }
}

impl Decoder for Hiding<Box<dyn Decoder>> {
    fn decode(&mut self, unit: Unit) -> Result<Decoded> {
        let Decoded { chunks, dead_letters } = self.hidden.of(self.inner.decode(unit))?;
        let shown = |letter: DeadLetter| DeadLetter {
            split: self.hidden.in_text(&letter.split).into(),
            error: self.hidden.in_text(&letter.error),
            ..letter
        };
        Ok(Decoded { chunks, dead_letters: dead_letters.into_iter().map(shown).collect() })
    }
}

#[async_trait::async_trait]
impl Ingest for Hiding<Box<dyn Ingest>> {
    async fn run(self: Box<Self>, log: Arc<Log>, cancel: CancellationToken) -> Result<()> {
        let Self { inner, hidden } = *self;
        hidden.of(inner.run(log, cancel).await)
    }
}

impl Sink for Hiding<Arc<dyn Sink>> {
    fn writer(&self, actor: usize, schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        let inner = self.hidden.of(self.inner.writer(actor, schema))?;
        Ok(Box::new(Hiding { inner, hidden: self.hidden.clone() }))
    }

    fn recover(&self, committed: Epoch) -> Result<()> {
        self.hidden.of(self.inner.recover(committed))
    }

    fn commit(&self, epoch: Epoch) -> Result<()> {
        self.hidden.of(self.inner.commit(epoch))
    }
}

impl SinkWriter for Hiding<Box<dyn SinkWriter>> {
    fn write(&mut self, chunk: &StreamChunk) -> Result<()> {
        self.hidden.of(self.inner.write(chunk))
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        self.hidden.of(self.inner.seal(epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::ErrorKind;
    use crate::common::clock::Clock;

    fn context() -> Context {
        Context {
            base_dir: ".".into(),
            data_dir: ".".into(),
            clock: Clock::manual(0),
            secrets: Arc::new(|name| match name {
                "where" => Ok(vec!["/Quiet/\"place\"".into(), "before".into()]),
                "part" => Ok(vec!["place".into()]),
                name => Err(Error::new(ErrorKind::UndefinedObject, format!("no {name}"))),
            }),
            logs: Arc::new(|_| unreachable!("a file needs no log")),
        }
    }

    fn options(pairs: &[(&str, &str)]) -> WithOptions {
        let value = |text: &str| match text.strip_prefix('$') {
            Some(secret) => OptionValue::Secret { secret: secret.into() },
            None => text.into(),
        };
        pairs.iter().map(|(k, v)| (k.to_string(), value(v))).collect()
    }

    #[test]
    fn values_take_the_places_of_names_and_back() {
        let (resolved, hidden) =
            resolve(&options(&[("a", "$where"), ("b", "plain"), ("c", "$part")]), &context()).unwrap();
        assert_eq!(resolved.get("a").unwrap(), "/Quiet/\"place\"");
        for (told, shown) in [
            ("cannot read /Quiet/\"place\"/x", "cannot read SECRET where/x"),
            ("\"/Quiet/\\\"place\\\"\" is no place", "\"SECRET where\" is no SECRET part"),
            ("/quiet/\"place\"", "SECRET where"),
            ("ä place placeplace", "ä SECRET part SECRET partSECRET part"),
            ("it was before", "it was SECRET where"),
            ("", ""),
        ] {
            assert_eq!(hidden.in_text(told), shown, "{told}");
        }
        let e = Error::new(ErrorKind::Io, "at place").with_detail("place").with_hint("no place").with_origin("place");
        let e = hidden.in_error(e);
        assert_eq!(
            [Some(e.message()), e.detail(), e.hint(), e.origin()].map(Option::unwrap),
            ["at SECRET part", "SECRET part", "no SECRET part", "SECRET part"]
        );
    }

    #[test]
    fn errors_of_opening_hide_them() {
        let given = options(&[("connector", "file"), ("path", "x"), ("encode", "csv"), ("follow", "$part")]);
        let e = super::super::source(crate::types::JobId(1), "s", &given, &context()).err().unwrap();
        assert!(e.message().contains("SECRET part") && !e.to_string().contains("place"), "{e}");
        let given = options(&[("connector", "file"), ("path", "$lost")]);
        let e = super::super::source(crate::types::JobId(1), "s", &given, &context()).err().unwrap();
        assert_eq!(e.message(), "no lost");
    }
}
