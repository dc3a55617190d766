//! What could not take part: dead letters and late rows, kept as ordinary state rows of the job, so that they are counted
//! exactly once like everything else.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;

use super::operator::{LateRows, Output, fnv1a};
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::connector::DeadLetter;
use crate::plan::Policy;
use crate::state::StateWriter;
use crate::types::{Epoch, OperatorId, key, time};

/// `origin` (a source's name or an operator), `split`, `at_offset`, `raw` (bytes), `expression`, `error`, `at`; the first
/// three are the key, so that several readers of one record give one letter.
pub fn dead_letters_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("origin", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, false),
        Field::new("at_offset", DataType::Int64, false),
        Field::new("raw", DataType::Binary, false),
        Field::new("expression", DataType::Utf8, true),
        Field::new("error", DataType::Utf8, false),
        Field::new("at", time::timestamptz(), false),
    ]))
}

/// `origin` (an operator), `actor`, `epoch`, `number` (in the epoch), `row` (JSON), `weight`, `watermark`, `at`; the first
/// four are the key.
pub fn late_rows_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("origin", DataType::Utf8, false),
        Field::new("actor", DataType::Int64, false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("number", DataType::Int64, false),
        Field::new("row", DataType::Utf8, false),
        Field::new("weight", DataType::Int64, false),
        Field::new("watermark", time::timestamptz(), true),
        Field::new("at", time::timestamptz(), false),
    ]))
}

/// Where the letters of one actor go.
pub struct Letters {
    actor: usize,
    dead: StateWriter,
    late: StateWriter,
    policy: Policy,
    clock: Clock,
    /// Rows of the open epoch, to number them.
    late_count: i64,
    late_pending: Vec<(String, LateRows)>,
}

impl Letters {
    pub fn new(actor: usize, dead: StateWriter, late: StateWriter, policy: Policy, clock: Clock) -> Self {
        Self { actor, dead, late, policy, clock, late_count: 0, late_pending: Vec::new() }
    }

    /// Takes what operator `id` has put aside.
    ///
    /// # Errors
    /// A row's own error, where the policy is that one stops the job.
    pub fn take(&mut self, id: OperatorId, out: &mut Output) -> Result<()> {
        if let Some(letter) = out.dead_letters.first().filter(|_| self.policy.fail_on_error) {
            let at = letter.expression.as_ref().unwrap_or(&letter.operator);
            return Err(letter.error.clone().context(at).with_detail(format!("row: {}", letter.row)).lasting());
        }
        if !out.dead_letters.is_empty() {
            let letters = std::mem::take(&mut out.dead_letters);
            let letters = letters.into_iter().map(|l| {
                let dead = DeadLetter {
                    split: l.operator.into(),
                    offset: l.number,
                    raw: l.row.into_bytes(),
                    error: l.error.to_string(),
                };
                (dead, l.expression)
            });
            self.write(&origin(id), &letters.collect::<Vec<_>>())?;
        }
        for late in std::mem::take(&mut out.late_rows) {
            self.late_pending.push((origin(id), late));
        }
        Ok(())
    }

    /// Records that `origin`, a source, could not read.
    pub fn dead_letters(&mut self, origin: &str, letters: &[DeadLetter]) -> Result<()> {
        let letters: Vec<_> = letters.iter().map(|l| (l.clone(), None)).collect();
        self.write(origin, &letters)
    }

    fn write(&mut self, origin: &str, letters: &[(DeadLetter, Option<String>)]) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let rows = letters.len();
        let now = self.clock.now_micros();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![origin; rows])),
            Arc::new(StringArray::from_iter_values(letters.iter().map(|(l, _)| &*l.split))),
            Arc::new(Int64Array::from_iter_values(letters.iter().map(|(l, _)| l.offset as i64))),
            Arc::new(BinaryArray::from_iter_values(letters.iter().map(|(l, _)| &l.raw))),
            Arc::new(StringArray::from_iter(letters.iter().map(|(_, expression)| expression.as_ref()))),
            Arc::new(StringArray::from_iter_values(letters.iter().map(|(l, _)| &l.error))),
            Arc::new(TimestampMicrosecondArray::from(vec![now; rows]).with_timezone("UTC")),
        ];
        let keys = key::encode(&columns[..3], rows)?;
        self.dead.write(keys, RecordBatch::try_new(dead_letters_schema(), columns)?, None)
    }

    /// Writes the epoch's late rows and seals both tables.
    pub fn seal(&mut self, epoch: Epoch) -> Result<()> {
        for (origin, late) in std::mem::take(&mut self.late_pending) {
            self.late_rows(&origin, &late, epoch)?;
        }
        self.late_count = 0;
        self.dead.seal(epoch);
        self.late.seal(epoch);
        Ok(())
    }

    fn late_rows(&mut self, origin: &str, late: &LateRows, epoch: Epoch) -> Result<()> {
        let rows = late.rows.num_rows();
        let json = json_lines(late.rows.batch())?;
        let first = self.late_count;
        self.late_count += rows as i64;
        if self.policy.late_are_dead {
            let number = |row: i64| fnv1a(format!("{} {} {row}", self.actor, epoch.0).as_bytes());
            let letters = json.iter().zip(first..).filter(|(_, row)| late.rows.weight((row - first) as usize) > 0);
            let letters = letters.map(|(text, row)| {
                let dead = DeadLetter {
                    split: "late".into(),
                    offset: number(row),
                    raw: text.clone().into_bytes(),
                    error: "the row came after its window had closed".into(),
                };
                (dead, None)
            });
            let letters: Vec<_> = letters.collect();
            self.write(origin, &letters)?;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![origin; rows])),
            Arc::new(Int64Array::from(vec![self.actor as i64; rows])),
            Arc::new(Int64Array::from(vec![epoch.0 as i64; rows])),
            Arc::new(Int64Array::from_iter_values(first..self.late_count)),
            Arc::new(StringArray::from(json)),
            Arc::new(Int64Array::from_iter_values((0..rows).map(|r| late.rows.weight(r)))),
            Arc::new(TimestampMicrosecondArray::from(vec![late.watermark; rows]).with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from(vec![self.clock.now_micros(); rows]).with_timezone("UTC")),
        ];
        let keys = key::encode(&columns[..4], rows)?;
        self.late.write(keys, RecordBatch::try_new(late_rows_schema(), columns)?, None)
    }
}

/// How an operator is named where its letters lie.
fn origin(id: OperatorId) -> String {
    format!("operator {id}")
}

/// Each row of a batch as a JSON object.
fn json_lines(batch: &RecordBatch) -> Result<Vec<String>> {
    let mut buffer = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut buffer);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    let text = String::from_utf8(buffer).map_err(|e| Error::internal(e.to_string()))?;
    Ok(text.lines().map(str::to_string).collect())
}
