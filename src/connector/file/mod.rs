//! Files as a source: CSV, JSON lines and Parquet; one file, a glob or a folder; plain or packed; read once or followed
//! as they grow. And as a sink, see [`sink`].
//!
//! A file is read in name order after the one before it, so that event time rises over the files of a folder.

mod input;
mod listing;
mod parquet;
pub(super) mod sink;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::input::Compression;
use self::listing::Listing;
use self::parquet::{ParquetDecoder, ParquetReader};
use self::text::{TextReader, UNIT_BYTES};
use self::walk::Walk;
use super::format::{LineFormat, line_decoder};
use super::options::Given;
use super::{Context, Decoder, Options, Source, SplitReader};
use crate::common::Result;

const OPTIONS: &[&str] = &["path", "follow", "compression"];
const ENCODINGS: &[&str] = &["csv", "json", "parquet"];

/// A file source, its options checked.
pub(super) struct FileSource {
    listing: Listing,
    follow: bool,
    compression: Compression,
    encoding: Encoding,
    /// As given, for the decoders.
    options: Options,
    unit_bytes: usize,
}

#[derive(Clone)]
enum Encoding {
    Lines(LineFormat),
    Parquet,
}

impl FileSource {
    pub fn new(given: Given<'_>, context: &Context) -> Result<Self> {
        given.required("encode", "csv")?;
        let encode = given.choice("encode", ENCODINGS)?.unwrap_or_default();
        let path = given.required("path", "folder/*.csv")?;
        let compression = given.choice("compression", Compression::NAMES)?;
        let encoding = match encode {
            "parquet" => {
                given.only(&[&["path", "follow"]])?;
                Encoding::Parquet
            }
            encode => {
                given.only(&[OPTIONS, &LineFormat::options(encode)])?;
                Encoding::Lines(LineFormat::new(given)?)
            }
        };
        Ok(Self {
            listing: Listing::new(&context.base_dir, path),
            follow: given.flag("follow")?.unwrap_or(false),
            compression: Compression::from_name(compression.unwrap_or("auto")),
            encoding,
            options: given.options.clone(),
            unit_bytes: UNIT_BYTES,
        })
    }
}

impl Source for FileSource {
    /// Also says at CREATE that there is no file, which is no error for a source that was read before.
    fn default_schema(&self) -> Result<Option<SchemaRef>> {
        let files = if self.follow { self.listing.files()? } else { self.listing.some_files()? };
        match (&self.encoding, files.first()) {
            (Encoding::Parquet, Some(first)) => Ok(Some(parquet::schema(&self.listing, first)?)),
            _ => Ok(None),
        }
    }

    fn reader(&self, position: Option<&str>) -> Result<Box<dyn SplitReader>> {
        let walk = Walk::new(self.listing.clone(), self.follow, position)?;
        Ok(match &self.encoding {
            Encoding::Parquet => Box::new(ParquetReader::new(walk)),
            Encoding::Lines(format) => Box::new(TextReader::new(walk, self.compression, format, self.unit_bytes)),
        })
    }

    fn decoder(&self, schema: SchemaRef, projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
        Ok(match &self.encoding {
            Encoding::Parquet => Box::new(ParquetDecoder::new(self.listing.clone(), &schema, &projection)?),
            Encoding::Lines(_) => line_decoder(&self.options, schema, projection)?,
        })
    }
}

/// Opens a file source.
pub(super) fn source(given: Given<'_>, context: &Context) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(FileSource::new(given, context)?))
}
