//! Queries over rows that a statement writes, for RETURNING: they are found under a name that no catalog has.
//!
//! ```text
//! rows --retype--> a table in memory, [`CHANGED`] --plan--> physical plan of one partition: rows stay in their order
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use super::context::BatchContext;
use super::zone::retype;
use crate::catalog::{Column, Object};
use crate::common::{Error, ErrorKind, Result};
use crate::sql::ast;
use crate::state::Lookup;
use crate::types::{Keys, key};

/// What a query calls the rows.
pub const CHANGED: &str = "__changed";

impl BatchContext {
    /// Plans a query over `rows`, which have these columns in their stored types.
    pub async fn plan_changed(
        &self,
        query: &ast::Query,
        columns: &[Column],
        rows: &RecordBatch,
    ) -> Result<LogicalPlan> {
        let schema = self.zone().schema(&crate::catalog::def::schema(columns));
        let nullable = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let table = MemTable::try_new(schema.clone(), vec![vec![retype(rows, &schema)?]])?;
        self.name_changed(Some(Arc::new(table)));
        let plan = self.plan(query).await;
        self.name_changed(None);
        plan
    }

    /// As [`BatchContext::physical`], in one partition.
    pub async fn physical_in_order(&self, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let mut state = self.state().clone();
        state.config_mut().options_mut().execution.target_partitions = 1;
        Ok(state.create_physical_plan(&plan).await?)
    }

    /// The rows that the table has under the keys of `rows`, key columns in key order.
    ///
    /// # Errors
    /// What reading state fails with.
    pub async fn stored(&self, object: &Object, keys: &[ArrayRef], rows: usize) -> Result<(Keys, Lookup)> {
        let Some((table, _)) = object.definition.rows() else {
            return Err(Error::internal(format!("\"{}\" keeps no rows", object.name)));
        };
        let keys = key::encode(keys, rows)?;
        let (table, epoch, wanted) = (self.store().table(table, object.stored_schema())?, self.epoch(), keys.clone());
        let read = tokio::task::spawn_blocking(move || table.get(epoch, &wanted)).await;
        Ok((keys, read.map_err(|e| Error::internal(format!("a read ended: {e}")))??))
    }
}

/// Whether the plan of a query over changed rows names any of their columns.
///
/// # Errors
/// `Grouping` and `NotSupported` for what gives other than one row for each.
pub fn reads_changed(plan: &LogicalPlan) -> Result<bool> {
    let mut reads = false;
    let mut wrong = None;
    plan.apply(|plan| {
        match plan {
            LogicalPlan::Aggregate(_) => {
                wrong.get_or_insert((ErrorKind::Grouping, "aggregate functions are not allowed in RETURNING"));
            }
            LogicalPlan::Window(_) => {
                wrong.get_or_insert((ErrorKind::Windowing, "window functions are not allowed in RETURNING"));
            }
            LogicalPlan::Unnest(_) => {
                let message = "set-returning functions are not allowed in RETURNING";
                wrong.get_or_insert((ErrorKind::NotSupported, message));
            }
            _ => {}
        }
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                reads |= match expr {
                    Expr::Column(_) => true,
                    Expr::ScalarSubquery(inner) => !inner.outer_ref_columns.is_empty(),
                    Expr::Exists(inner) => !inner.subquery.outer_ref_columns.is_empty(),
                    Expr::InSubquery(inner) => !inner.subquery.outer_ref_columns.is_empty(),
                    _ => false,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match wrong {
        Some((kind, message)) => Err(Error::new(kind, message)),
        None => Ok(reads),
    }
}
