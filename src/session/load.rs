//! The rows of a query on their way into a table: as the table's types, checked, in pieces of bounded size.
//!
//! ```text
//! query --batches--> Load: cast, checked, gathered --pieces--> EntryWriter --> one entry of the table's log
//! ```

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::dml;
use super::entry::{Entry, EntryWriter};
use super::returning;
use crate::catalog::Table;
use crate::catalog::def::schema;
use crate::common::{Error, Result};
use crate::connector::table_log;
use crate::log::Log;

/// Bytes of a piece. Rows of one piece become visible at once.
const PIECE_BYTES: usize = 16 << 20;

/// Rows that are ready to be appended.
pub struct Loaded {
    pub rows: u64,
    pub entry: Entry,
}

/// Reads all rows of `stream`, whose columns are the visible ones of `table`, for `log`.
///
/// # Errors
/// Of the query; `NotNullViolation`; of a value that a column cannot take.
pub async fn load(table: &Table, name: &str, log: Arc<Log>, mut stream: SendableRecordBatchStream) -> Result<Loaded> {
    let mut load = Load::new(table, name, log);
    while let Some(batch) = stream.try_next().await? {
        load.push(&batch).await?;
    }
    load.finish().await
}

/// The rows of a batch as the visible columns of a table.
pub struct Cast<'t> {
    table: &'t Table,
    name: &'t str,
    /// Nulls are looked for, and told by column.
    pub schema: SchemaRef,
}

impl<'t> Cast<'t> {
    pub fn new(table: &'t Table, name: &'t str) -> Self {
        Self { table, name, schema: dml::nullable(&schema(&returning::visible(table))) }
    }

    pub fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = RecordBatch::try_new(self.schema.clone(), dml::convert(batch.columns(), &self.schema)?)?;
        dml::check_not_null(&rows, self.table, self.name)?;
        Ok(rows)
    }
}

struct Load<'t> {
    cast: Cast<'t>,
    gathered: Vec<RecordBatch>,
    bytes: usize,
    rows: u64,
    pieces: usize,
    /// `None` while a thread has it.
    entry: Option<EntryWriter>,
}

impl<'t> Load<'t> {
    fn new(table: &'t Table, name: &'t str, log: Arc<Log>) -> Self {
        let entry = Some(EntryWriter::new(log));
        Self { cast: Cast::new(table, name), gathered: Vec::new(), bytes: 0, rows: 0, pieces: 0, entry }
    }

    async fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.cast.rows(batch)?;
        self.rows += rows.num_rows() as u64;
        self.bytes += rows.get_array_memory_size();
        self.gathered.push(rows);
        if self.bytes >= PIECE_BYTES { self.cut().await } else { Ok(()) }
    }

    /// Ends a piece.
    async fn cut(&mut self) -> Result<()> {
        let rows = concat_batches(&self.cast.schema, &self.gathered)?;
        self.gathered.clear();
        self.bytes = 0;
        let payload = table_log::encode(&dml::as_stored(&rows, &self.cast.table.columns)?, None)?;
        let rows = rows.num_rows() as u32;
        // A first piece is only kept.
        let blocking = self.pieces > 0;
        self.pieces += 1;
        self.entry = Some(self.run(blocking, move |mut entry| entry.push(rows, payload).map(|()| entry)).await?);
        Ok(())
    }

    async fn finish(mut self) -> Result<Loaded> {
        if !self.gathered.is_empty() {
            self.cut().await?;
        }
        let entry = self.run(self.pieces > 1, EntryWriter::finish).await?;
        Ok(Loaded { rows: self.rows, entry })
    }

    async fn run<T: Send + 'static>(
        &mut self,
        blocking: bool,
        work: impl FnOnce(EntryWriter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let entry = self.entry.take().ok_or_else(|| Error::internal("rows after an error"))?;
        if !blocking {
            return work(entry);
        }
        let done = tokio::task::spawn_blocking(move || work(entry)).await;
        done.map_err(|e| Error::internal(format!("writing rows ended: {e}")))?
    }
}
