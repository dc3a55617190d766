//! Projections: visible expressions, and behind them the key columns that none of them keeps.

use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr as LogicalExpr;
use std::sync::Arc;

use super::{Lowered, Lowerer, is_event_time, named, physical, schema_of, short, watermark};
use crate::common::Result;
use crate::plan::{Distribution, Expr, Operator, Properties, WatermarkStep};

/// A projection that is being put together over one input.
pub(super) struct Columns {
    exprs: Vec<Expr>,
    fields: Vec<FieldRef>,
    watermarks: Vec<WatermarkStep>,
}

impl Columns {
    pub fn new() -> Self {
        Self { exprs: Vec::new(), fields: Vec::new(), watermarks: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.exprs.len()
    }

    /// An expression that carries the watermark of the input's column `from`, if any.
    pub fn push(&mut self, expr: Expr, field: FieldRef, from: Option<usize>) {
        if let Some(input) = from {
            self.watermarks.push(WatermarkStep { input, output: self.exprs.len() });
        }
        self.exprs.push(expr);
        self.fields.push(field);
    }

    /// Column `index` of the input as it is, under a name that no other column has.
    pub fn push_column(&mut self, input: &Lowered, index: usize) -> usize {
        let field = input.schema().field(index);
        let name = self.unused(field.name());
        let watermark = input.properties().watermark_columns.contains(&index).then_some(index);
        let field = named(field, &name);
        self.push(Expr::column(index, Arc::clone(input.schema())), field, watermark);
        self.len() - 1
    }

    /// Column `index` of the input as it is, under its own name.
    pub fn push_same(&mut self, input: &Lowered, index: usize) {
        let watermark = input.properties().watermark_columns.contains(&index).then_some(index);
        let field = Arc::clone(&input.schema().fields()[index]);
        self.push(Expr::column(index, Arc::clone(input.schema())), field, watermark);
    }

    /// Whether a column has this name.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|f| f.name() == name)
    }

    /// Where the input's column `index` comes out unchanged.
    pub fn position(&self, index: usize) -> Option<usize> {
        self.exprs.iter().position(|e| e.as_column() == Some(index))
    }

    /// As [`Self::position`], but not at `besides`.
    pub fn position_besides(&self, index: usize, besides: usize) -> Option<usize> {
        (0..self.len()).find(|at| *at != besides && self.exprs.get(*at).and_then(Expr::as_column) == Some(index))
    }

    /// The name, changed where another column has it.
    pub fn unused(&self, name: &str) -> String {
        let mut name = name.to_string();
        while self.fields.iter().any(|f| *f.name() == name) {
            name.insert(0, '_');
        }
        name
    }

    /// Adds the input's key columns that are missing.
    pub fn keep_key(&mut self, input: &Lowered) {
        for key in &input.properties().stream_key {
            if self.position(*key).is_none() {
                self.push_column(input, *key);
            }
        }
    }
}

impl Lowerer<'_> {
    /// The expressions of a logical projection, and the key.
    pub(super) fn projection(
        &mut self,
        input: Lowered,
        exprs: &[LogicalExpr],
        input_schema: &DFSchema,
        output: &Schema,
    ) -> Result<Lowered> {
        let mut columns = Columns::new();
        for (expr, field) in exprs.iter().zip(output.fields()) {
            let from = watermark::carried(expr, input_schema)
                .filter(|i| is_event_time(field.data_type()) && input.properties().watermark_columns.contains(i));
            columns.push(physical(expr, input_schema, input.schema())?, short(field), from);
        }
        let visible = columns.len();
        columns.keep_key(&input);
        Ok(self.project(input, columns, visible))
    }

    /// A Project, unless it would change nothing.
    pub(super) fn project(&mut self, input: Lowered, columns: Columns, visible: usize) -> Lowered {
        let Columns { exprs, fields, watermarks } = columns;
        let unchanged = exprs.len() == input.schema().fields().len()
            && exprs.iter().enumerate().all(|(i, e)| e.as_column() == Some(i))
            && fields.iter().zip(input.schema().fields()).all(|(a, b)| a.name() == b.name());
        if unchanged {
            return Lowered { node: input.node, visible };
        }
        let moved = |columns: &[usize]| -> Option<Vec<usize>> {
            columns.iter().map(|c| exprs.iter().position(|e| e.as_column() == Some(*c))).collect()
        };
        let before = input.properties();
        let properties = Properties {
            // A projection that leaves the key out feeds an aggregation, which needs none.
            stream_key: moved(&before.stream_key).unwrap_or_default(),
            distribution: match &before.distribution {
                Distribution::Hash(columns) => moved(columns).map_or(Distribution::Any, Distribution::Hash),
                other => other.clone(),
            },
            append_only: before.append_only,
            watermark_columns: watermarks.iter().map(|w| w.output).collect(),
        };
        let operator = Operator::Project { exprs, watermarks };
        Lowered { node: self.node(operator, vec![input.node], schema_of(fields), properties), visible }
    }
}
