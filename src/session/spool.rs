//! The rows that a scrollable cursor has read, to be read again from any place: the first ones in memory, the others in a
//! temporary file that goes with the cursor.
//!
//! ```text
//! stream --push--> pieces [ in memory ... | file: offset, length ... ] --rows(from, many, back)--> a part of one piece
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::execution::SpillFile;

use crate::batch::BatchEnv;
use crate::common::{Error, Result};

/// Bytes of rows that stay in memory.
const HELD: usize = 1 << 20;

pub struct Spool {
    env: Arc<BatchEnv>,
    pieces: Vec<Piece>,
    rows: u64,
    held: usize,
    file: Option<Overflow>,
    /// The piece that was last read from the file.
    loaded: Option<(usize, RecordBatch)>,
}

struct Piece {
    /// The number of its first row, from 0.
    first: u64,
    rows: u64,
    place: Place,
}

enum Place {
    Memory(RecordBatch),
    /// Offset and length of an IPC stream.
    File(u64, usize),
}

struct Overflow {
    file: Arc<File>,
    end: u64,
    /// Deletes the file when it goes.
    _spill: Arc<dyn SpillFile>,
}

impl Spool {
    pub fn new(env: Arc<BatchEnv>) -> Self {
        Self { env, pieces: Vec::new(), rows: 0, held: 0, file: None, loaded: None }
    }

    /// Rows that it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (first, rows) = (self.rows, batch.num_rows() as u64);
        let bytes = batch.get_array_memory_size();
        let place = if self.held + bytes <= HELD {
            self.held += bytes;
            Place::Memory(batch)
        } else {
            self.write(batch).await?
        };
        self.pieces.push(Piece { first, rows, place });
        self.rows += rows;
        Ok(())
    }

    async fn write(&mut self, batch: RecordBatch) -> Result<Place> {
        if self.file.is_none() {
            let spill = self.env.temporary_file("a cursor")?;
            let path = spill.path().ok_or_else(|| Error::internal("a temporary file without a path"))?;
            let file = Arc::new(File::options().read(true).write(true).open(path)?);
            self.file = Some(Overflow { file, end: 0, _spill: spill });
        }
        let Some(overflow) = &mut self.file else { return Err(Error::internal("no temporary file")) };
        let (file, offset) = (overflow.file.clone(), overflow.end);
        let write = move || {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
            writer.write(&batch)?;
            let bytes = writer.into_inner()?;
            file.write_all_at(&bytes, offset)?;
            Ok::<_, Error>(bytes.len())
        };
        let length = tokio::task::spawn_blocking(write).await.map_err(ended)??;
        overflow.end += length as u64;
        Ok(Place::File(offset, length))
    }

    /// Some rows from row `from` on, at most `many`, or from it back to the first, in that order; none where there is no
    /// such row.
    pub async fn read(&mut self, from: u64, many: usize, back: bool) -> Result<Option<RecordBatch>> {
        let number = self.pieces.partition_point(|piece| piece.first + piece.rows <= from);
        let Some(piece) = self.pieces.get(number).filter(|_| many > 0) else { return Ok(None) };
        let (at, rows) = (from - piece.first, piece.rows);
        let batch = match (&piece.place, &self.loaded) {
            (Place::Memory(batch), _) => batch.clone(),
            (Place::File(..), Some((of, batch))) if *of == number => batch.clone(),
            (Place::File(offset, length), _) => {
                let batch = self.load(*offset, *length).await?;
                self.loaded = Some((number, batch.clone()));
                batch
            }
        };
        Ok(Some(match back {
            false => batch.slice(at as usize, many.min((rows - at) as usize)),
            true => {
                let many = (many as u64).min(at + 1);
                take_record_batch(&batch, &UInt64Array::from_iter_values((at + 1 - many..=at).rev()))?
            }
        }))
    }

    async fn load(&self, offset: u64, length: usize) -> Result<RecordBatch> {
        let Some(overflow) = &self.file else { return Err(Error::internal("no temporary file")) };
        let file = overflow.file.clone();
        let read = move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            let mut reader = StreamReader::try_new(bytes.as_slice(), None)?;
            let batch = reader.next().ok_or_else(|| Error::internal("a cursor's rows are lost"))?;
            Ok::<_, Error>(batch?)
        };
        tokio::task::spawn_blocking(read).await.map_err(ended)?
    }
}

fn ended(e: tokio::task::JoinError) -> Error {
    Error::internal(format!("a cursor's file work ended: {e}"))
}
