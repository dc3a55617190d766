//! Files as a sink: each epoch's rows become files of a folder, exactly once.
//!
//! Rows are written aside, made durable when their epoch is sealed, and moved to their place by one rename each when it
//! is committed. See [`folder`] for the names.

mod encode;
mod folder;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::encode::{Encoder, Encoding};
use self::folder::Folder;
use crate::common::{Error, ErrorKind, Result};
use crate::connector::options::Given;
use crate::connector::{Context, Sink, SinkWriter};
use crate::types::{Epoch, JobId, StreamChunk};

/// The column that says how often a row was added or, below 0, taken back.
const WEIGHT: &str = "_weight";

struct FileSink {
    object: String,
    folder: Arc<Folder>,
    encoding: Encoding,
    changes: bool,
}

/// Opens a file sink.
pub(in crate::connector) fn sink(id: JobId, given: Given<'_>, context: &Context) -> Result<Arc<dyn Sink>> {
    given.required("encode", "json")?;
    let encode = given.choice("encode", Encoding::NAMES)?.unwrap_or_default();
    given.only(&[&["path", "type"], Encoding::options(encode)])?;
    let changes = given.choice("type", &["append-only", "changes"])? == Some("changes");
    let path = context.base_dir.join(given.required("path", "folder")?);
    Ok(Arc::new(FileSink {
        object: given.object.to_string(),
        encoding: Encoding::new(encode, given)?,
        folder: Arc::new(Folder::open(path, &context.data_dir, id).map_err(|e| e.context(given.object))?),
        changes,
    }))
}

impl Sink for FileSink {
    fn writer(&self, actor: usize, schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        self.encoding.check(&schema).map_err(|e| e.context(&self.object))?;
        let schema = if self.changes { with_weight(&schema) } else { schema };
        Ok(Box::new(FileWriter {
            object: self.object.clone(),
            folder: self.folder.clone(),
            encoding: self.encoding.clone(),
            changes: self.changes,
            actor,
            schema,
            open: None,
        }))
    }

    fn recover(&self, committed: Epoch) -> Result<()> {
        self.folder.recover(committed).map_err(|e| e.context(&self.object))
    }

    fn commit(&self, epoch: Epoch) -> Result<()> {
        self.folder.commit(epoch).map_err(|e| e.context(&self.object))
    }
}

struct FileWriter {
    object: String,
    folder: Arc<Folder>,
    encoding: Encoding,
    changes: bool,
    actor: usize,
    schema: SchemaRef,
    /// The open epoch's file, once it has a row.
    open: Option<Encoder>,
}

impl FileWriter {
    /// The rows as they are written.
    fn rows(&self, chunk: &StreamChunk) -> Result<RecordBatch> {
        let batch = chunk.batch();
        if self.changes {
            let weights = chunk.weights().cloned().unwrap_or_else(|| Int64Array::from_value(1, batch.num_rows()));
            let columns = batch.columns().iter().cloned().chain([Arc::new(weights) as _]).collect();
            return Ok(RecordBatch::try_new(self.schema.clone(), columns)?);
        }
        let Some(weights) = chunk.weights() else { return Ok(batch.clone()) };
        if weights.values().iter().any(|weight| *weight < 0) {
            let message =
                format!("{}: its input changes or removes rows, which an append-only file cannot", self.object);
            return Err(Error::new(ErrorKind::InvalidDefinition, message)
                .with_hint("write type = 'changes' for a last column _weight, 1 for a new row and -1 for an old one"));
        }
        let repeated = weights.values().iter().enumerate();
        let indices = repeated.flat_map(|(row, weight)| std::iter::repeat_n(row as u64, *weight as usize));
        Ok(chunk.take(&UInt64Array::from_iter_values(indices))?.into_parts().0)
    }
}

impl SinkWriter for FileWriter {
    fn write(&mut self, chunk: &StreamChunk) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let rows = self.rows(chunk)?;
        let encoder = match &mut self.open {
            Some(encoder) => encoder,
            open => {
                let file =
                    self.folder.create(self.actor, self.encoding.extension()).map_err(|e| e.context(&self.object))?;
                open.insert(self.encoding.encoder(file, &self.schema)?)
            }
        };
        encoder.write(&rows).map_err(|e| e.context(&self.object))
    }

    fn seal(&mut self, epoch: Epoch) -> Result<()> {
        let Some(encoder) = self.open.take() else { return Ok(()) };
        let file = encoder.finish().map_err(|e| e.context(&self.object))?;
        let extension = self.encoding.extension();
        self.folder.seal(&file, epoch, self.actor, extension).map_err(|e| e.context(&self.object))
    }
}

fn with_weight(schema: &SchemaRef) -> SchemaRef {
    let weight = Arc::new(Field::new(WEIGHT, DataType::Int64, false));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain([weight]).collect::<Vec<_>>()))
}
