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
    /// Which columns of the stored rows: without the hidden ones, unless DML asks for them.
    pub shown: Vec<usize>,
    /// Those under their names, times in the session's zone.
    pub schema: SchemaRef,
    /// As EXPLAIN names it.
    pub name: String,
    /// Key columns of the stored rows, in key order.
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
        let known = |f: &&Expr| match self.constraints([*f]).columns().any(leads) {
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
        let reach = choose(&self.paths, &self.constraints(filters))?;
        let limit = limit.filter(|_| filters.is_empty());
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.iter().map(|column| self.stored(*column)).collect(),
            None => self.shown.clone(),
        };
        let name = |column: usize| {
            let shown = self.shown.iter().position(|c| *c == column);
            shown.map_or("_row_id", |at| self.schema.field(at).name().as_str())
        };
        let reached = format!("{}, {}", self.name, reach.describe(&self.base(), &wanted, &name));
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
    /// The stored column that a shown one is.
    fn stored(&self, column: usize) -> usize {
        self.shown.get(column).copied().unwrap_or(column)
    }

    /// What filters say of stored columns.
    fn constraints<'f>(&self, filters: impl IntoIterator<Item = &'f Expr>) -> Constraints {
        Constraints::of(filters, &self.schema).renumbered(|column| self.stored(column))
    }

    fn base(&self) -> Base<'_> {
        Base { name: &self.name, table: &self.table, key: &self.key }
    }
}
