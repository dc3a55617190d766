//! Physical expressions to bytes and back, functions by name.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::physical_expr::PhysicalExpr;

use crate::common::Result;

pub fn encode(_expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
    todo!()
}

pub fn decode(_bytes: &[u8], _input: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    todo!()
}
