//! The session's time zone. Instants are kept in UTC; a session in another zone reads every TIMESTAMPTZ with that zone in
//! its type, so that literals, casts, date functions and output follow it as they do in PostgreSQL.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::functions::datetime::to_local_time;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::expr::rules;

const UTC: &str = "UTC";

/// A TIMESTAMPTZ cast to TIMESTAMP is what the clock on the session's wall shows; Arrow would show UTC's.
#[derive(Debug)]
pub struct WallClock;

impl AnalyzerRule for WallClock {
    fn name(&self) -> &str {
        "wall_clock"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let concerns =
            |e: &Expr| matches!(e, Expr::Cast(c) if matches!(c.field.data_type(), DataType::Timestamp(_, None)));
        rules::rewrite(plan, concerns, wall_clock)
    }
}

fn wall_clock(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) if matches!(field.data_type(), DataType::Timestamp(_, None)) => {
            match expr.get_type(schema) {
                Ok(DataType::Timestamp(_, Some(_))) => {
                    let local = to_local_time().call(vec![*expr]);
                    Transformed::yes(Expr::Cast(Cast { expr: Box::new(local), field }))
                }
                _ => Transformed::no(Expr::Cast(Cast { expr, field })),
            }
        }
        other => Transformed::no(other),
    }
}

/// `None` is UTC: types are then as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone(Option<Arc<str>>);

impl Zone {
    /// `name` is one that the session's variables let through.
    pub fn new(name: Option<String>) -> Self {
        Self(name.filter(|name| name != UTC).map(Arc::from))
    }

    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The type as the session sees it.
    pub fn data_type(&self, data_type: DataType) -> DataType {
        match (&self.0, data_type) {
            (Some(zone), DataType::Timestamp(unit, Some(_))) => DataType::Timestamp(unit, Some(zone.clone())),
            (_, other) => other,
        }
    }

    pub fn field(&self, field: &FieldRef) -> FieldRef {
        let data_type = self.data_type(field.data_type().clone());
        match data_type == *field.data_type() {
            true => field.clone(),
            false => Arc::new(Field::clone(field).with_data_type(data_type)),
        }
    }

    pub fn schema(&self, schema: &SchemaRef) -> SchemaRef {
        match &self.0 {
            None => schema.clone(),
            Some(_) => Arc::new(Schema::new(schema.fields().iter().map(|f| self.field(f)).collect::<Vec<_>>())),
        }
    }
}

/// The first columns of `batch` under the types of `schema`, which are its own up to their zones.
pub fn retype(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if column.data_type() == field.data_type() { Ok(column.clone()) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
}
