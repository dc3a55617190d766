//! The leaves: sources with their watermark, tables and views of other jobs.

use std::sync::Arc;

use datafusion::logical_expr::TableScan;

use super::super::context::{Relation, WorkTable};
use super::{Lowered, Lowerer, plain, schema_of};
use crate::catalog::def::Watermark;
use crate::catalog::{Definition, Object, Source};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Node, Operator, Properties, SourceRead, TableRead};

impl Lowerer<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Lowered> {
        if let Some(work) = scan.source.downcast_ref::<WorkTable>() {
            return self.work_table(work, scan);
        }
        let relation: &Relation = scan
            .source
            .downcast_ref()
            .ok_or_else(|| Error::internal(format!("{} is no relation of the catalog", scan.table_name)))?;
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(Error::internal(format!("the scan of {} has filters or a limit", scan.table_name)));
        }
        let object = &relation.object;
        // The relation shows the columns that are not hidden.
        let shown: Vec<usize> = visible(object);
        if relation.changelog {
            let all = self.read(object, shown)?;
            return self.changelog(all, scan.projection.as_deref());
        }
        let projection: Vec<usize> = match &scan.projection {
            Some(projection) => projection.iter().filter_map(|i| shown.get(*i).copied()).collect(),
            None => shown,
        };
        self.read(object, projection)
    }

    fn read(&mut self, object: &Object, projection: Vec<usize>) -> Result<Lowered> {
        match &object.definition {
            Definition::Source(source) => Ok(self.source(object, source, projection)),
            Definition::Table(t) => {
                let watermarks: Vec<usize> = t.watermark.iter().map(|w| w.column).collect();
                self.table(object, projection, &watermarks, t.append_only)
            }
            Definition::MaterializedView(v) => self.table(object, projection, &v.watermark_columns, v.append_only),
            Definition::View(_) | Definition::Sink(_) | Definition::Index(_) => {
                Err(Error::internal(format!("a {} cannot be scanned", object.definition.kind())))
            }
        }
    }

    /// The time column is read even where the query does not need it: a record without a time is a dead letter of
    /// every job on the source, or of none.
    fn source(&mut self, object: &Object, source: &Source, mut projection: Vec<usize>) -> Lowered {
        let visible = projection.len();
        if let Some(watermark) = &source.watermark
            && !projection.contains(&watermark.column)
        {
            projection.push(watermark.column);
        }
        let columns: Vec<_> = source.columns.iter().filter(|c| !c.hidden).cloned().collect();
        let full_schema = crate::catalog::def::schema(&columns);
        let offsets = self.table_id();
        let read = SourceRead {
            source: object.id,
            name: object.name.clone(),
            options: source.options.clone(),
            full_schema,
            projection: projection.clone(),
            changes: false,
            offsets,
        };
        let node = self.source_node(read, Distribution::Any, true);
        let node = match &source.watermark {
            Some(w) => match projection.iter().position(|c| *c == w.column) {
                Some(column) => self.watermark(node, column, w),
                None => node,
            },
            None => node,
        };
        Lowered { node, visible }
    }

    /// The read with its hidden row id.
    pub(super) fn source_node(&mut self, read: SourceRead, distribution: Distribution, append_only: bool) -> Node {
        let row_id = crate::catalog::def::schema(&[crate::catalog::Column::row_id()]);
        let fields = read.projection.iter().map(|i| plain(read.full_schema.field(*i)));
        let schema = schema_of(fields.chain(row_id.fields().iter().cloned()));
        let properties = Properties {
            stream_key: vec![read.projection.len()],
            distribution,
            append_only,
            watermark_columns: Vec::new(),
        };
        self.node(Operator::Source(read), Vec::new(), schema, properties)
    }

    pub(super) fn watermark(&mut self, input: Node, column: usize, watermark: &Watermark) -> Node {
        let Watermark { delay_micros, limits, .. } = *watermark;
        let state = self.table_id();
        let schema = Arc::clone(&input.schema);
        let properties = Properties { watermark_columns: vec![column], ..input.properties.clone() };
        self.node(Operator::Watermark { column, delay_micros, limits, state }, vec![input], schema, properties)
    }

    pub(super) fn table(
        &mut self,
        object: &Object,
        mut projection: Vec<usize>,
        watermarks: &[usize],
        append_only: bool,
    ) -> Result<Lowered> {
        let (table, key) = object.definition.rows().ok_or_else(|| {
            Error::internal(format!("{} \"{}\" keeps no rows", object.definition.kind(), object.name))
        })?;
        let visible = projection.len();
        for column in key {
            if !projection.contains(column) {
                projection.push(*column);
            }
        }
        let position = |column: &usize| projection.iter().position(|c| c == column);
        let properties = Properties {
            stream_key: key.iter().filter_map(position).collect(),
            // Whichever actor follows the upstream's: changes of one key always come by the same one.
            distribution: Distribution::Any,
            append_only,
            watermark_columns: watermarks.iter().filter_map(position).collect(),
        };
        let named = crate::catalog::def::schema(object.definition.columns());
        let schema = schema_of(projection.iter().map(|i| plain(named.field(*i))));
        let progress = self.table_id();
        let read = TableRead {
            upstream: object.id,
            name: object.name.clone(),
            table,
            full_schema: object.stored_schema(),
            projection,
            key: key.to_vec(),
            progress,
            barriers_only: false,
        };
        let node = self.node(Operator::TableScan(read), Vec::new(), schema, properties);
        Ok(Lowered { node, visible })
    }
}

fn visible(object: &Object) -> Vec<usize> {
    let columns = object.definition.columns().iter().enumerate();
    columns.filter(|(_, c)| !c.hidden).map(|(i, _)| i).collect()
}
