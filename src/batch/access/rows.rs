//! Rows that are read, as a leaf of a physical plan: DataFusion's rows in memory under the name of how they were reached.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

/// A plan that gives `partitions`; `reached` is what EXPLAIN says of them.
pub fn exec(partitions: &[Vec<RecordBatch>], schema: SchemaRef, reached: String) -> DfResult<Arc<dyn ExecutionPlan>> {
    let memory = Arc::new(MemorySourceConfig::try_new(partitions, schema, None)?);
    Ok(DataSourceExec::from_data_source(Reached { memory, reached: reached.into() }))
}

#[derive(Debug, Clone)]
struct Reached {
    memory: Arc<dyn DataSource>,
    reached: Arc<str>,
}

impl Reached {
    fn over(&self, memory: Arc<dyn DataSource>) -> Arc<dyn DataSource> {
        Arc::new(Self { memory, reached: self.reached.clone() })
    }
}

impl DataSource for Reached {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.memory.open(partition, context)
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reached)?;
        match self.fetch() {
            Some(fetch) => write!(f, ", fetch={fetch}"),
            None => Ok(()),
        }
    }

    fn repartitioned(
        &self,
        partitions: usize,
        min_size: usize,
        ordering: Option<LexOrdering>,
    ) -> DfResult<Option<Arc<dyn DataSource>>> {
        Ok(self.memory.repartitioned(partitions, min_size, ordering)?.map(|memory| self.over(memory)))
    }

    fn output_partitioning(&self) -> Partitioning {
        self.memory.output_partitioning()
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.memory.eq_properties()
    }

    fn scheduling_type(&self) -> SchedulingType {
        self.memory.scheduling_type()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        self.memory.partition_statistics(partition)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(self.over(self.memory.with_fetch(limit)?))
    }

    fn fetch(&self) -> Option<usize> {
        self.memory.fetch()
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Arc<dyn DataSource>>> {
        Ok(self.memory.try_swapping_with_projection(projection)?.map(|memory| self.over(memory)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.memory.apply_expressions(f)
    }
}
