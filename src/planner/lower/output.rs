//! The roots: what a view or a table materializes, what a sink writes.

use std::sync::Arc;

use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::project::Columns;
use super::{Lowered, Lowerer};
use crate::catalog::def::{self, Column, Watermark};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Expr, Materialize, NetChanges, Node, Operator, Properties, RowId, SinkOp, SourceRead};
use crate::types::{Conflict, JobId, ROW_ID, TableId, WithOptions, key};

/// A table's job.
pub(crate) struct TablePlan {
    pub root: Node,
    pub table: TableId,
}

/// What is known of a table before its job is planned.
pub(crate) struct TableSpec<'t> {
    pub id: JobId,
    pub name: &'t str,
    /// With the hidden `_row_id` when the table has no key.
    pub columns: &'t [Column],
    pub primary_key: &'t [usize],
    pub conflict: Conflict,
    pub watermark: Option<&'t Watermark>,
    /// Empty for a table that only takes DML: it reads its log.
    pub options: &'t WithOptions,
    pub append_only: bool,
}

/// A table that a query fills.
pub(crate) struct IntoTable<'t> {
    pub columns: &'t [Column],
    pub primary_key: &'t [usize],
    /// The sink's number among the table's.
    pub sink: u32,
}

impl Lowerer<'_> {
    /// The visible columns and the key, kept by key.
    pub fn materialize(&mut self, input: Lowered) -> Result<(Lowered, TableId)> {
        let input = self.trimmed(input);
        let Properties { stream_key, watermark_columns, .. } = input.properties();
        // Time first: live windows then share few pages, and a closed one leaves whole pages behind.
        let (mut sorted, rest): (Vec<usize>, Vec<usize>) =
            stream_key.iter().partition(|column| watermark_columns.contains(column));
        sorted.extend(rest);
        check_key(&input, &sorted)?;
        let table = self.table_id();
        let operator = Operator::Materialize(Materialize {
            table,
            key: sorted,
            directions: Vec::new(),
            conflict: Conflict::Unchecked,
        });
        let (schema, properties) = (Arc::clone(input.schema()), input.properties().clone());
        let Lowered { node: input, visible } = input;
        Ok((Lowered { node: self.node(operator, vec![input], schema, properties), visible }, table))
    }

    pub fn sink(&mut self, input: Lowered, id: JobId, name: &str, options: &WithOptions) -> Lowered {
        let Lowered { node: input, visible } = input;
        let columns = (0..visible).collect();
        let operator = Operator::Sink(SinkOp { sink: id, name: name.into(), options: options.clone(), columns });
        let (schema, properties) = (Arc::clone(&input.schema), input.properties.clone());
        Lowered { node: self.node(operator, vec![input], schema, properties), visible }
    }

    /// The rows of a query, whose visible columns are the table's, placed by the table's key.
    pub fn sink_into(&mut self, input: Lowered, into: &IntoTable) -> Node {
        let schema = Arc::clone(input.schema());
        let mut columns = Columns::new();
        let (mut next, mut row_id) = (0, None);
        for (at, column) in into.columns.iter().enumerate() {
            let field = Arc::new(column.stored_field().with_nullable(true));
            if is_row_id(column) {
                row_id = Some(at);
            } else if column.hidden {
                let null = ScalarValue::try_new_null(&column.data_type).unwrap_or(ScalarValue::Null);
                columns.push(Expr::new(Arc::new(Literal::new(null)), Arc::clone(&schema)), field, None);
            } else {
                columns.push(Expr::column(next, Arc::clone(&schema)), field, None);
                next += 1;
            }
        }
        let width = columns.len();
        let mut node = self.project(input, columns, width).node;
        if let Some(at) = row_id {
            let properties = Properties { stream_key: vec![at], ..node.properties.clone() };
            let operator = Operator::RowId(RowId { at, sink: into.sink, state: self.table_id() });
            node = self.node(operator, vec![node], def::stored_schema(into.columns), properties);
        }
        let key = into.primary_key.to_vec();
        let mut placed = self.exchange(node, Distribution::Hash(key.clone()));
        placed.properties.stream_key.clone_from(&key);
        placed.properties.watermark_columns.clear();
        if placed.properties.append_only {
            return placed;
        }
        let (schema, properties) = (Arc::clone(&placed.schema), placed.properties.clone());
        self.node(Operator::NetChanges(NetChanges { key }), vec![placed], schema, properties)
    }

    /// The table's log or connector, placed by key, materialized.
    pub fn table_job(&mut self, spec: &TableSpec) -> TablePlan {
        // What records have, dropped columns too: those are null.
        let read: Vec<Column> = spec.columns.iter().filter(|c| !is_row_id(c)).cloned().collect();
        let row_id = spec.columns.iter().position(is_row_id);
        let offsets = self.table_id();
        let changes = spec.options.is_empty();
        let keyed = row_id.is_none();
        let width = read.len();
        let read = SourceRead {
            source: spec.id,
            name: spec.name.into(),
            options: spec.options.clone(),
            full_schema: def::stored_schema(&read),
            projection: (0..width).collect(),
            changes,
            offsets,
        };
        // Where a later row replaces an earlier one, their order counts: one reader.
        let distribution = if changes || keyed { Distribution::Single } else { Distribution::Any };
        let append_only = !changes || spec.append_only;
        let source = self.source_node(read, distribution, append_only);
        // The source gives the row id last; in the table it stands where it was when that was made.
        let place = |column: usize| match row_id {
            Some(at) if column == at => width,
            Some(at) if column > at => column - 1,
            _ => column,
        };
        let mut input = match spec.watermark {
            Some(w) => self.watermark(source, place(w.column), w),
            None => source,
        };
        if row_id != Some(width) {
            let lowered = Lowered { node: input, visible: width };
            let mut columns = Columns::new();
            for column in 0..spec.columns.len() {
                columns.push_column(&lowered, place(column));
            }
            input = self.project(lowered, columns, width).node;
        }
        let key = spec.primary_key.to_vec();
        let mut placed = self.exchange(input, Distribution::Hash(key.clone()));
        placed.properties.stream_key = key.clone();
        let table = self.table_id();
        let properties = Properties { append_only: spec.append_only, ..placed.properties.clone() };
        let schema = def::stored_schema(spec.columns);
        let operator =
            Operator::Materialize(Materialize { table, key, directions: Vec::new(), conflict: spec.conflict });
        TablePlan { root: self.node(operator, vec![placed], schema, properties), table }
    }

    /// Leaves out hidden columns that the key does not need.
    fn trimmed(&mut self, input: Lowered) -> Lowered {
        let needed = |c: &usize| *c < input.visible || input.properties().stream_key.contains(c);
        let kept: Vec<usize> = (0..input.schema().fields().len()).filter(needed).collect();
        let visible = input.visible;
        let mut columns = Columns::new();
        for column in kept {
            columns.push_column(&input, column);
        }
        self.project(input, columns, visible)
    }
}

fn is_row_id(column: &Column) -> bool {
    column.hidden && column.name == ROW_ID
}

fn check_key(input: &Lowered, key_columns: &[usize]) -> Result<()> {
    for column in key_columns {
        let field = input.schema().field(*column);
        if !key::is_encodable(field.data_type()) {
            return Err(Error::not_supported(format!(
                "column \"{}\" of type {} cannot be part of the view's key",
                field.name(),
                field.data_type()
            ))
            .with_hint("cast it to VARCHAR"));
        }
    }
    Ok(())
}
