//! A row that could not be processed as a dead letter: what it held, why it failed, and a number that stays the same
//! when the row comes again after a crash.

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Output;
use crate::common::{Error, Result};
use crate::expr::eval::FailedRow;
use crate::types::StreamChunk;

/// A row that was left out.
#[derive(Debug)]
pub struct Letter {
    /// The operator's name and number.
    pub operator: String,
    /// Tells the row from others.
    pub number: u64,
    /// `a=1, b=NULL`.
    pub row: String,
    /// What failed, where it was an expression.
    pub expression: Option<String>,
    pub error: Error,
}

impl Output {
    /// Records rows that `operator` could not evaluate. A retraction leaves no letter: its insertion did.
    pub(super) fn failed(&mut self, operator: &str, rows: Vec<FailedRow>) -> Result<()> {
        for failed in rows {
            for row in 0..failed.row.num_rows() {
                let before = self.dead_letters.len();
                self.letter(operator, &failed.row, row, &failed.error)?;
                for letter in self.dead_letters.iter_mut().skip(before) {
                    letter.expression = failed.expression.clone();
                }
            }
        }
        Ok(())
    }

    /// Records row `row` of `chunk` with the reason.
    pub(super) fn letter(&mut self, operator: &str, chunk: &StreamChunk, row: usize, error: &Error) -> Result<()> {
        if chunk.weight(row) > 0 {
            let row = text(chunk, row)?;
            // The row holds its stream key, so its hash tells it from others.
            let number = fnv1a(row.as_bytes());
            let (operator, error) = (operator.into(), error.clone());
            self.dead_letters.push(Letter { operator, number, row, expression: None, error });
        }
        Ok(())
    }
}

/// `a=1, b=NULL`.
fn text(chunk: &StreamChunk, row: usize) -> Result<String> {
    let options = FormatOptions::default().with_null("NULL");
    let schema = chunk.schema();
    let cells = schema.fields().iter().zip(chunk.batch().columns()).map(|(field, column)| {
        Ok(format!("{}={}", field.name(), ArrayFormatter::try_new(column, &options)?.value(row)))
    });
    Ok(cells.collect::<Result<Vec<_>>>()?.join(", "))
}

/// Stable over releases, unlike the standard library's hashers. Fits a BIGINT.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    hash >> 1
}
