//! A table or view as DataFusion reads it: its rows at one epoch, by key where the query names it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::access::{Base, Constraints, Path, choose, exec};
use super::zone::retype;
use crate::state::Table;
use crate::types::Epoch;

/// One epoch of a state table.
#[derive(Clone)]
pub struct EpochTable {
    pub table: Arc<Table>,
    pub epoch: Epoch,
    /// The first columns of the table, times in the session's zone: without the hidden ones at its end, unless DML asks
    /// for them.
    pub schema: SchemaRef,
    /// As EXPLAIN names it.
    pub name: String,
    /// Key columns, in key order.
    pub key: Vec<usize>,
    /// The orders that its rows can be read in: its own key, then its indexes.
    pub paths: Vec<Path>,
    pub kind: TableType,
    /// What INSERT takes for columns that it does not name.
    pub defaults: HashMap<String, Expr>,
}

impl std::fmt::Debug for EpochTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochTable({} at {})", self.table.id(), self.epoch)
    }
}

#[async_trait]
impl TableProvider for EpochTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        self.kind
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let leads = |column: usize| self.paths.iter().any(|p| p.key.iter().any(|k| k.column == column));
        let known = |f: &&Expr| match Constraints::of([*f], &self.schema).columns().any(leads) {
            // It is applied again above.
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(known).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let reach = choose(&self.paths, &Constraints::of(filters, &self.schema))?;
        let limit = limit.filter(|_| filters.is_empty());
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            // Hidden columns come last.
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&wanted)?);
        let reached = format!("{}, {}", self.name, reach.describe(&self.base(), &self.schema, &wanted));
        let this = self.clone();
        let read = move || reach.read(&this.base(), this.epoch, &wanted, limit);
        let batches =
            tokio::task::spawn_blocking(read).await.map_err(|e| DataFusionError::Execution(e.to_string()))??;
        let mut partitions = vec![Vec::new(); state.config().target_partitions().max(1)];
        let count = partitions.len();
        for (index, batch) in batches.into_iter().enumerate() {
            partitions[index % count].push(retype(&batch, &schema)?);
        }
        partitions.retain(|p| !p.is_empty());
        if partitions.is_empty() {
            partitions.push(Vec::new());
        }
        exec(&partitions, schema, reached)
    }
}

impl EpochTable {
    fn base(&self) -> Base<'_> {
        Base { name: &self.name, table: &self.table, key: &self.key }
    }
}
