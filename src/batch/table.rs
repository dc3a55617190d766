//! A table or view as DataFusion reads it: its rows at one epoch, by key where the query names it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;

use super::zone::retype;
use crate::common::Result;
use crate::state::{KeyRange, Table};
use crate::types::{Epoch, key};

/// One epoch of a state table.
#[derive(Clone)]
pub struct EpochTable {
    pub table: Arc<Table>,
    pub epoch: Epoch,
    /// Which columns of the stored rows: without the hidden ones, unless DML asks for them.
    pub shown: Vec<usize>,
    /// Those under their names, times in the session's zone.
    pub schema: SchemaRef,
    /// Key columns of the stored rows, in key order.
    pub key: Vec<usize>,
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
        let known = |f: &&Expr| match equality(f) {
            Some((name, _)) if self.key_fields().any(|f| f.name() == name) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
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
        let range = self.range(filters)?;
        let limit = limit.filter(|_| filters.is_empty());
        let (table, epoch) = (self.table.clone(), self.epoch);
        let batches = tokio::task::spawn_blocking(move || table.scan(epoch, &range, limit))
            .await
            .map_err(|e| DataFusionError::Execution(e.to_string()))??;
        let mut partitions = vec![Vec::new(); state.config().target_partitions().max(1)];
        let count = partitions.len();
        for (index, (_, batch)) in batches.into_iter().enumerate() {
            partitions[index % count].push(retype(&batch.project(&self.shown)?, &self.schema)?);
        }
        partitions.retain(|p| !p.is_empty());
        if partitions.is_empty() {
            partitions.push(Vec::new());
        }
        Ok(MemorySourceConfig::try_new_exec(&partitions, self.schema.clone(), projection.cloned())?)
    }
}

impl EpochTable {
    /// The key's fields up to the first hidden one.
    fn key_fields(&self) -> impl Iterator<Item = &FieldRef> {
        let shown = |column: &usize| self.shown.iter().position(|c| c == column);
        self.key.iter().map_while(move |column| self.schema.fields().get(shown(column)?))
    }

    /// The key range that equalities on a prefix of the key leave.
    fn range(&self, filters: &[Expr]) -> Result<KeyRange> {
        let equalities: Vec<_> = filters.iter().filter_map(equality).collect();
        let mut prefix: Vec<ArrayRef> = Vec::new();
        for field in self.key_fields() {
            let Some((_, value)) = equalities.iter().find(|(name, _)| name == field.name()) else { break };
            let value = cast(&value.to_array()?, field.data_type())?;
            if value.is_null(0) {
                break;
            }
            prefix.push(value);
        }
        if prefix.is_empty() {
            return Ok(KeyRange::all());
        }
        let keys = key::encode(&prefix, 1)?;
        Ok(KeyRange::prefix(keys.value(0)))
    }
}

/// `column = literal`, either way round.
fn equality(filter: &Expr) -> Option<(&str, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(c), Expr::Literal(v, _)) | (Expr::Literal(v, _), Expr::Column(c)) => Some((c.name(), v)),
        _ => None,
    }
}
