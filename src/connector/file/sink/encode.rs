//! Rows to the bytes of one file: CSV, JSON lines or Parquet. Knows no epochs and no folder.

use std::fs::File;
use std::io::{BufWriter, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;

use crate::common::{Error, Result};
use crate::connector::options::Given;

#[derive(Debug, Clone)]
pub(super) enum Encoding {
    Csv { header: bool, delimiter: u8, null: String },
    Json,
    Parquet,
}

impl Encoding {
    pub const NAMES: &[&str] = &["json", "csv", "parquet"];

    /// Options that only this encoding takes.
    pub fn options(name: &str) -> &'static [&'static str] {
        if name == "csv" { &["header", "delimiter", "null"] } else { &[] }
    }

    pub fn new(name: &str, given: Given<'_>) -> Result<Self> {
        Ok(match name {
            "csv" => Self::Csv {
                header: given.flag("header")?.unwrap_or(false),
                delimiter: given.byte("delimiter")?.unwrap_or(b','),
                null: given.text("null").unwrap_or_default().to_string(),
            },
            "parquet" => Self::Parquet,
            _ => Self::Json,
        })
    }

    /// The files' extension.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Csv { .. } => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// # Errors
    /// `NotSupported` if rows of `schema` have no such form.
    pub fn check(&self, schema: &SchemaRef) -> Result<()> {
        let nested = schema.fields().iter().find(|field| field.data_type().is_nested());
        match (self, nested) {
            (Self::Csv { .. }, Some(field)) => Err(Error::not_supported(format!(
                "column \"{}\": CSV has no form for {}",
                field.name(),
                field.data_type()
            ))
            .with_hint("write ENCODE JSON or ENCODE PARQUET, or cast the column to VARCHAR")),
            _ => Ok(()),
        }
    }

    pub fn encoder(&self, file: File, schema: &SchemaRef) -> Result<Encoder> {
        Ok(match self {
            Self::Csv { header, delimiter, null } => {
                let builder = arrow::csv::WriterBuilder::new().with_header(*header).with_delimiter(*delimiter);
                Encoder::Csv(Box::new(builder.with_null(null.clone()).build(BufWriter::new(file))))
            }
            Self::Json => {
                let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
                Encoder::Json(builder.build(BufWriter::new(file)))
            }
            Self::Parquet => {
                let zstd = ZstdLevel::try_new(1).map_err(failed)?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(failed)?;
                Encoder::Parquet(Box::new(writer))
            }
        })
    }
}

/// A file that is being written.
pub(super) enum Encoder {
    Csv(Box<arrow::csv::Writer<BufWriter<File>>>),
    Json(arrow::json::LineDelimitedWriter<BufWriter<File>>),
    Parquet(Box<ArrowWriter<File>>),
}

impl Encoder {
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Csv(writer) => writer.write(batch)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch).map_err(failed)?,
        }
        Ok(())
    }

    /// Writes what is left and gives the file back, not yet synced.
    pub fn finish(self) -> Result<File> {
        let buffer = match self {
            Self::Csv(writer) => writer.into_inner(),
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Parquet(writer) => return writer.into_inner().map_err(failed),
        };
        let mut file = buffer.into_inner().map_err(|e| Error::from(e.into_error()))?;
        file.flush()?;
        Ok(file)
    }
}

fn failed(e: ParquetError) -> Error {
    match e {
        ParquetError::External(e) => match e.downcast::<std::io::Error>() {
            Ok(e) => Error::from(*e),
            Err(e) => Error::internal(format!("cannot write Parquet: {e}")),
        },
        e => Error::internal(format!("cannot write Parquet: {e}")),
    }
}
