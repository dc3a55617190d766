//! An expression over the columns of one input, by position: DataFusion's physical expression, made serialisable.
//!
//! Stored through datafusion-proto, functions by name, so that recovery rebuilds a job without planning again.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use serde::{Deserialize, Serialize};

use crate::common::Result;

/// A physical expression. Columns are referred to by index; their names are for EXPLAIN only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "StoredExpr", try_from = "StoredExpr")]
pub struct Expr {
    physical: Arc<dyn PhysicalExpr>,
    /// The schema over which it was planned: decoding a stored expression needs it.
    input: arrow::datatypes::SchemaRef,
}

impl Expr {
    pub fn new(physical: Arc<dyn PhysicalExpr>, input: arrow::datatypes::SchemaRef) -> Self {
        Self { physical, input }
    }

    pub fn column(index: usize, input: arrow::datatypes::SchemaRef) -> Self {
        let name = input.field(index).name().clone();
        Self { physical: Arc::new(Column::new(&name, index)), input }
    }

    pub fn physical(&self) -> &Arc<dyn PhysicalExpr> {
        &self.physical
    }

    pub fn input(&self) -> &arrow::datatypes::SchemaRef {
        &self.input
    }

    /// The column's index when the expression is nothing but a column.
    pub fn as_column(&self) -> Option<usize> {
        self.physical.downcast_ref::<Column>().map(Column::index)
    }

    pub fn data_type(&self) -> Result<arrow::datatypes::DataType> {
        Ok(self.physical.data_type(&self.input)?)
    }

    pub fn nullable(&self) -> Result<bool> {
        Ok(self.physical.nullable(&self.input)?)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.physical)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.physical)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredExpr {
    proto: String,
    input: arrow::datatypes::SchemaRef,
}

impl From<Expr> for StoredExpr {
    fn from(e: Expr) -> Self {
        // The planner has already checked that the expression can be stored: see `planner::lower`.
        let proto = crate::expr::proto::encode(&e.physical).unwrap_or_default();
        StoredExpr { proto: STANDARD.encode(proto), input: e.input }
    }
}

impl TryFrom<StoredExpr> for Expr {
    type Error = crate::common::Error;

    fn try_from(s: StoredExpr) -> Result<Self> {
        let bytes = STANDARD
            .decode(&s.proto)
            .map_err(|e| crate::common::Error::corrupted(format!("a stored expression: {e}")))?;
        Ok(Self { physical: crate::expr::proto::decode(&bytes, &s.input)?, input: s.input })
    }
}
