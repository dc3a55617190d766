//! Joins with the row of a moment: rows of one key meet, and each left row has at most one right row.

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::Expr as LogicalExpr;

use super::super::time_join::TimeJoin;
use super::join::{Input, check_keys};
use super::{Lowered, Lowerer, plain, schema_of};
use crate::common::{Error, Result};
use crate::expr::time_join::{Matching, Moment};
use crate::plan::{AsofJoin, Distribution, Operator, Properties, RowOrder, SortColumn};

impl Lowerer<'_> {
    pub(super) fn time_join(&mut self, join: &TimeJoin) -> Result<Lowered> {
        let matching = Matching::of(&join.condition, join.left.schema(), join.right.schema())?;
        match join.moment {
            Moment::Nearest => self.asof_join(join, &matching),
            Moment::Now => self.temporal_join(join, &matching),
        }
    }

    fn asof_join(&mut self, join: &TimeJoin, matching: &Matching) -> Result<Lowered> {
        let nearest = matching.nearest()?;
        let keys = |side: fn(&(LogicalExpr, LogicalExpr)) -> &LogicalExpr| matching.on.iter().map(side);
        let left_on: Vec<&LogicalExpr> = keys(|pair| &pair.0).chain([&nearest.left]).collect();
        let right_on: Vec<&LogicalExpr> = keys(|pair| &pair.1).chain([&nearest.right]).collect();
        let input = self.lower(&join.left)?;
        let left = self.keyed(input, &left_on, join.left.schema())?;
        let input = self.lower(&join.right)?;
        let right = self.keyed(input, &right_on, join.right.schema())?;
        check_keys(&left, &right)?;
        let ((left, left_order), (right, right_order)) = (ordered(left)?, ordered(right)?);
        let one_actor = matching.on.is_empty();
        let (left, right) = (self.meet(left, one_actor), self.meet(right, one_actor));

        let side = |input: &Input, column: usize, descending: bool| RowOrder {
            partition: input.on.clone(),
            order: vec![SortColumn { column, descending, nulls_first: false }],
            key: input.lowered.properties().stream_key.clone(),
            window: None,
            frees: false,
        };
        let backward = nearest.is_backward();
        let mut output = Output::new(join, &left.lowered);
        let operator = AsofJoin {
            outer: join.outer,
            left: side(&left, left_order, !backward),
            right: side(&right, right_order, backward),
            strict: nearest.is_strict(),
            left_state: self.table_id(),
            right_state: self.table_id(),
            output: Vec::new(),
        };
        let stream_key = output.positions(operator.left.key.iter().chain(&operator.left.partition), &left.lowered);
        let placed = output.positions(&left.on, &left.lowered);
        let properties = Properties {
            stream_key,
            distribution: if one_actor { Distribution::Single } else { Distribution::Hash(placed) },
            append_only: false,
            watermark_columns: Vec::new(),
        };
        let visible = output.visible;
        let operator = AsofJoin { output: output.columns, ..operator };
        let inputs = vec![left.lowered.node, right.lowered.node];
        let node = self.node(Operator::AsofJoin(operator), inputs, schema_of(output.fields), properties);
        Ok(Lowered { node, visible })
    }
}

/// The key columns, and the last one, by which rows are ordered.
fn ordered(mut input: Input) -> Result<(Input, usize)> {
    let order = input.on.pop().ok_or_else(|| Error::internal("an ASOF join without an order"))?;
    Ok((input, order))
}

/// The columns that come out, as they are put together: the visible ones of both sides, and what the key needs.
pub(super) struct Output {
    /// Of the left side's columns followed by the right's.
    pub columns: Vec<usize>,
    pub fields: Vec<FieldRef>,
    pub visible: usize,
}

impl Output {
    pub fn new(join: &TimeJoin, left: &Lowered) -> Self {
        let width = left.schema().fields().len();
        let visible = join.schema.fields().len();
        let mut output = Self {
            columns: (0..left.visible).chain((width..).take(visible - left.visible)).collect(),
            fields: Vec::new(),
            visible,
        };
        join.schema.fields().iter().for_each(|field| output.push(plain(field)));
        output
    }

    fn push(&mut self, field: FieldRef) {
        let mut name = field.name().clone();
        while self.fields.iter().any(|f| *f.name() == name) {
            name.insert(0, '_');
        }
        self.fields.push(field.as_ref().clone().with_name(name).into());
    }

    /// Where a left column comes out; it is added where it does not yet.
    fn position(&mut self, column: usize, left: &Lowered) -> usize {
        if let Some(at) = self.columns.iter().position(|c| *c == column) {
            return at;
        }
        self.push(plain(left.schema().field(column)));
        self.columns.push(column);
        self.columns.len() - 1
    }

    /// Where the right column number `column`, behind the left ones, comes out; it is added where it does not yet.
    pub fn right_position(&mut self, column: usize, field: FieldRef) -> usize {
        if let Some(at) = self.columns.iter().position(|c| *c == column) {
            return at;
        }
        self.push(field.as_ref().clone().with_nullable(true).into());
        self.columns.push(column);
        self.columns.len() - 1
    }

    /// Where each of these left columns comes out, each once.
    pub fn positions<'c>(&mut self, columns: impl IntoIterator<Item = &'c usize>, left: &Lowered) -> Vec<usize> {
        let mut positions = Vec::new();
        for column in columns {
            let at = self.position(*column, left);
            if !positions.contains(&at) {
                positions.push(at);
            }
        }
        positions
    }
}
