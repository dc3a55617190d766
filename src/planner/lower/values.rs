//! Constant rows: VALUES, a SELECT without FROM, and what the optimizer knows to be empty.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, Values};

use super::{Lowered, Lowerer, physical, plain, schema_of};
use crate::catalog::{Column, def};
use crate::common::Result;
use crate::plan::{self, Distribution, Expr, Operator, Properties};

impl Lowerer<'_> {
    pub(super) fn values(&mut self, values: &Values) -> Result<Lowered> {
        let (nothing, no_columns) = (DFSchema::empty(), Arc::new(Schema::empty()));
        let row = |row: &Vec<_>| row.iter().map(|expr| physical(expr, &nothing, &no_columns)).collect();
        let rows = values.values.iter().map(row).collect::<Result<_>>()?;
        Ok(self.constant(rows, &values.schema))
    }

    /// No row, or one without columns.
    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Lowered {
        let rows = if empty.produce_one_row { vec![Vec::new()] } else { Vec::new() };
        self.constant(rows, &empty.schema)
    }

    fn constant(&mut self, rows: Vec<Vec<Expr>>, schema: &DFSchema) -> Lowered {
        let visible = schema.fields().len();
        let row_id = def::schema(&[Column::row_id()]);
        let fields = schema.fields().iter().map(|f| plain(&f.as_ref().clone().with_nullable(true)));
        let fields = schema_of(fields.chain(row_id.fields().iter().cloned()));
        let properties = Properties {
            stream_key: vec![visible],
            distribution: Distribution::Single,
            append_only: true,
            watermark_columns: Vec::new(),
        };
        let sent = self.table_id();
        let operator = Operator::Values(plan::Values { rows, sent });
        Lowered { node: self.node(operator, Vec::new(), fields, properties), visible }
    }
}
