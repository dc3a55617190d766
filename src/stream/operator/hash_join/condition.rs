//! The condition beside the equal keys, evaluated on many pairs at a time over the columns that it reads.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

use super::rows::Rows;
use super::side::with_schema;
use crate::common::{Error, Result};
use crate::expr::eval::{self, FailedRow};
use crate::plan::Expr;
use crate::stream::operator::Output;
use crate::types::StreamChunk;

/// Pairs that are looked at together.
const PAIRS: usize = 8192;

pub(super) struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    /// As SQL has it.
    text: String,
    /// The columns of both sides that it reads, then the number of the pair.
    schema: SchemaRef,
    /// Side and column of each.
    columns: Vec<(usize, usize)>,
    /// How many columns the left side has.
    left_width: usize,
}

/// Pairs that meet the condition: those of row *i* of the chunk are `others[ends[i - 1]..ends[i]]`.
#[derive(Default)]
pub(super) struct Pairs {
    others: Vec<u32>,
    ends: Vec<usize>,
}

impl Pairs {
    pub(super) fn of(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.others[start..self.ends[row]]
    }
}

/// A chunk whose rows look for others.
pub(super) struct Search<'a> {
    pub operator: &'a str,
    pub own: usize,
    pub batch: &'a RecordBatch,
    pub chunk: &'a StreamChunk,
    pub others: &'a Rows,
}

impl Condition {
    pub(super) fn new(condition: &Expr, left_width: usize) -> Result<Self> {
        let mut used: Vec<usize> = collect_columns(condition.physical()).iter().map(Column::index).collect();
        used.sort_unstable();
        used.dedup();
        let expr = Arc::clone(condition.physical()).transform(|e| {
            let at = e.downcast_ref::<Column>().and_then(|c| used.iter().position(|u| *u == c.index()));
            Ok(match at {
                Some(at) => Transformed::yes(Arc::new(Column::new("", at)) as _),
                None => Transformed::no(e),
            })
        })?;
        let mut fields: Vec<Field> =
            used.iter().map(|c| condition.input().field(*c).clone().with_name("").with_nullable(true)).collect();
        fields.push(Field::new("", DataType::UInt32, false));
        Ok(Self {
            expr: expr.data,
            text: fmt_sql(condition.physical().as_ref()).to_string(),
            schema: Arc::new(Schema::new(fields)),
            columns: used.iter().map(|c| if *c < left_width { (0, *c) } else { (1, *c - left_width) }).collect(),
            left_width,
        })
    }

    /// The pairs among the candidates that `candidates(row, &mut ids)` names for each row. One that cannot be evaluated is
    /// none; it becomes a dead letter.
    pub(super) fn pairs(
        &self,
        search: &Search<'_>,
        mut candidates: impl FnMut(usize, &mut Vec<u32>),
        out: &mut Output,
    ) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        let (mut rows, mut ids): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        // Counted first, then summed up.
        pairs.ends = vec![0; search.batch.num_rows()];
        for row in 0..search.batch.num_rows() {
            candidates(row, &mut ids);
            rows.resize(ids.len(), row as u32);
            let whole = ids.len() / PAIRS * PAIRS;
            for from in (0..whole).step_by(PAIRS) {
                self.evaluate(search, &rows[from..from + PAIRS], &ids[from..from + PAIRS], &mut pairs, out)?;
            }
            rows.drain(..whole);
            ids.drain(..whole);
        }
        if !ids.is_empty() {
            self.evaluate(search, &rows, &ids, &mut pairs, out)?;
        }
        let mut sum = 0;
        for end in &mut pairs.ends {
            sum += *end;
            *end = sum;
        }
        Ok(pairs)
    }

    fn evaluate(
        &self,
        search: &Search<'_>,
        rows: &[u32],
        ids: &[u32],
        pairs: &mut Pairs,
        out: &mut Output,
    ) -> Result<()> {
        let at = UInt32Array::from(rows.to_vec());
        let places = search.others.places(ids);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 1);
        for (side, column) in &self.columns {
            columns.push(match *side == search.own {
                true => take(search.batch.column(*column), &at, None)?,
                false => search.others.gather(*column, &places)?,
            });
        }
        columns.push(Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32)));
        let candidates = StreamChunk::inserts(with_schema(&self.schema, columns, rows.len())?);
        let evaluated = eval::evaluate(std::slice::from_ref(&self.expr), candidates)?;
        let numbers = |chunk: &StreamChunk| chunk.column(self.columns.len()).as_primitive::<UInt32Type>().clone();
        let mask = evaluated.columns.first().map(eval::boolean).transpose()?;
        let mask = mask.ok_or_else(|| Error::internal("a condition gave no column"))?;
        for (met, pair) in mask.iter().zip(numbers(&evaluated.rows).values()) {
            if met == Some(true) {
                pairs.ends[rows[*pair as usize] as usize] += 1;
                pairs.others.push(ids[*pair as usize]);
            }
        }
        for failed in evaluated.failed {
            for pair in numbers(&failed.row).values() {
                let (row, id) = (rows[*pair as usize], ids[*pair as usize]);
                let pair = self.whole_pair(search, row, id)?;
                let (expression, error) = (Some(self.text.clone()), failed.error.clone());
                out.failed(search.operator, vec![FailedRow { row: pair, expression, error }])?;
            }
        }
        Ok(())
    }

    /// All columns of a pair: its letter must tell it from others.
    fn whole_pair(&self, search: &Search<'_>, row: u32, id: u32) -> Result<StreamChunk> {
        let own = search.batch.slice(row as usize, 1);
        let other = search.others.gather_rows(&search.others.places(&[id]))?;
        let (left, right) = if search.own == 0 { (own, other) } else { (other, own) };
        debug_assert_eq!(left.num_columns(), self.left_width);
        let schema =
            Schema::new(left.schema().fields().iter().chain(right.schema().fields()).cloned().collect::<Vec<_>>());
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
        let weights = (search.chunk.weight(row as usize) < 0).then(|| vec![-1].into());
        Ok(StreamChunk::new(batch, weights))
    }
}
