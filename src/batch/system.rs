//! The `weir` schema: what the database knows of itself, read when it is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::context::Moment;
use super::zone::{Zone, retype};
use crate::common::Result;
use crate::types::Epoch;

/// Makes a system table's rows as of an epoch (most are as of now).
pub type Rows = Arc<dyn Fn(Epoch) -> Result<Vec<RecordBatch>> + Send + Sync>;

/// A system table: its columns and how its rows are made.
#[derive(Clone)]
pub struct SystemTable {
    pub schema: SchemaRef,
    pub rows: Rows,
}

/// All of them, by name.
#[derive(Clone, Default)]
pub struct SystemTables(pub Arc<BTreeMap<&'static str, SystemTable>>);

impl fmt::Debug for SystemTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The schema as of the moment.
#[derive(Debug)]
pub(super) struct SystemSchema {
    pub tables: SystemTables,
    pub(super) moment: Arc<Mutex<Moment>>,
    pub zone: Zone,
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.0.keys().map(ToString::to_string).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(table) = self.tables.0.get(name).cloned() else { return Ok(None) };
        let schema = self.zone.schema(&table.schema);
        Ok(Some(Arc::new(Provider { schema, rows: table.rows, epoch: self.moment.lock().epoch })))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.0.contains_key(name)
    }
}

struct Provider {
    schema: SchemaRef,
    rows: Rows,
    epoch: Epoch,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemTable")
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (rows, epoch) = (self.rows.clone(), self.epoch);
        let batches = tokio::task::spawn_blocking(move || rows(epoch))
            .await
            .map_err(|e| DataFusionError::Execution(e.to_string()))??;
        let batches = batches.iter().map(|b| retype(b, &self.schema)).collect::<Result<Vec<_>, _>>()?;
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema.clone(), projection.cloned())?)
    }
}
