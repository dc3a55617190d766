//! Joins with a table as it is when the left row comes: the table is looked into, so its key must be what is joined on.

use std::sync::Arc;

use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan};

use super::super::context::Relation;
use super::super::time_join::TimeJoin;
use super::time_join::Output;
use super::{Lowered, Lowerer, plain, schema_of};
use crate::catalog::Object;
use crate::common::{Error, Result};
use crate::expr::time_join::Matching;
use crate::plan::{Distribution, Operator, Properties, RowOrder, Sent, TableRead, TemporalJoin};

impl Lowerer<'_> {
    pub(super) fn temporal_join(&mut self, join: &TimeJoin, matching: &Matching) -> Result<Lowered> {
        let (object, columns) = looked_into(&join.right)?;
        let (table, key) = object.definition.rows().ok_or_else(|| no_table(&object.name))?;
        let named = crate::catalog::def::schema(object.definition.columns());
        let full_schema = object.stored_schema();
        let name = |column: &usize| named.field(*column).name().clone();
        let misses = || {
            let key: Vec<String> = key.iter().map(name).collect();
            Error::not_supported(format!(
                "a join FOR SYSTEM_TIME AS OF PROCTIME() must be on the key of \"{}\", or its first columns: ({})",
                object.name,
                key.join(", ")
            ))
            .with_hint("compare each of them as it is, cast the left side where types differ, and write other conditions into WHERE")
        };
        let mut on: Vec<&LogicalExpr> = Vec::new();
        for column in key {
            let is_column = |right: &LogicalExpr| match right {
                LogicalExpr::Column(c) => {
                    join.right.schema().index_of_column(c).ok().and_then(|i| columns.get(i)) == Some(column)
                }
                _ => false,
            };
            match matching.on.iter().find(|(_, right)| is_column(right)) {
                Some((left, _)) => on.push(left),
                None => break,
            }
        }
        if on.is_empty() || on.len() < matching.on.len() || matching.inequality.is_some() {
            return Err(misses());
        }
        let input = self.lower(&join.left)?;
        let left = self.keyed(input, &on, join.left.schema())?;
        let (on, mut left) = (left.on, left.lowered);
        for (left_column, column) in on.iter().zip(key) {
            if left.schema().field(*left_column).data_type() != named.field(*column).data_type() {
                return Err(misses());
            }
        }
        let retracts = !left.properties().append_only;
        let by_key = Distribution::Hash(left.properties().stream_key.clone());
        if retracts && ![&Distribution::Single, &by_key].contains(&&left.properties().distribution) {
            left.node = self.exchange(left.node, by_key);
        }

        let mut output = Output::new(join, &left);
        let mut right = columns;
        let left_key = left.properties().stream_key.clone();
        let partition = output.positions(&left_key, &left);
        let mut stream_key = partition.clone();
        let one_row = on.len() == key.len();
        if !one_row {
            let width = left.schema().fields().len();
            for column in key {
                let at = right.iter().position(|c| c == column).unwrap_or_else(|| {
                    right.push(*column);
                    right.len() - 1
                });
                stream_key.push(output.right_position(width + at, plain(named.field(*column))));
            }
        }
        let watermark_columns = left.properties().watermark_columns.iter().filter(|c| **c < left.visible);
        let properties = Properties {
            distribution: match &left.properties().distribution {
                Distribution::Hash(by) => Distribution::Hash(output.positions(by, &left)),
                other => other.clone(),
            },
            append_only: !retracts,
            watermark_columns: watermark_columns.copied().collect(),
            stream_key: stream_key.clone(),
        };
        let sent = retracts.then(|| Sent {
            left_key,
            rows: RowOrder { partition, order: Vec::new(), key: stream_key, window: None, frees: false },
            state: self.table_id(),
        });
        let barriers = TableRead {
            upstream: object.id,
            name: object.name.clone(),
            table,
            full_schema: Arc::clone(&full_schema),
            projection: Vec::new(),
            key: key.to_vec(),
            progress: self.table_id(),
            barriers_only: true,
        };
        let nothing = Properties {
            stream_key: Vec::new(),
            distribution: Distribution::Any,
            append_only: true,
            watermark_columns: Vec::new(),
        };
        let barriers = self.node(Operator::TableScan(barriers), Vec::new(), schema_of([]), nothing);
        let operator = TemporalJoin {
            outer: join.outer,
            on,
            one_row,
            name: object.name.clone(),
            table,
            full_schema,
            key: key.to_vec(),
            right,
            output: output.columns,
            sent,
        };
        let inputs = vec![left.node, barriers];
        let node = self.node(Operator::TemporalJoin(operator), inputs, schema_of(output.fields), properties);
        Ok(Lowered { node, visible: output.visible })
    }
}

/// The table or view that is looked into, and which of its columns the plan's are.
fn looked_into(plan: &LogicalPlan) -> Result<(Arc<Object>, Vec<usize>)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => looked_into(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (object, below) = looked_into(&projection.input)?;
            let column = |e: &LogicalExpr| match e.clone().unalias() {
                LogicalExpr::Column(c) => projection.input.schema().index_of_column(&c).ok(),
                _ => None,
            };
            let columns = projection.expr.iter().map(|e| column(e).and_then(|i| below.get(i).copied()));
            let columns: Option<Vec<usize>> = columns.collect();
            Ok((Arc::clone(&object), columns.ok_or_else(|| no_table(&object.name))?))
        }
        LogicalPlan::TableScan(scan) => {
            let relation: &Relation =
                scan.source.downcast_ref().ok_or_else(|| Error::internal(format!("{}", scan.table_name)))?;
            let shown = relation.object.definition.columns().iter().enumerate().filter(|(_, c)| !c.hidden);
            let shown: Vec<usize> = shown.map(|(i, _)| i).collect();
            let columns = match &scan.projection {
                Some(projection) => projection.iter().filter_map(|i| shown.get(*i).copied()).collect(),
                None => shown,
            };
            Ok((Arc::clone(&relation.object), columns))
        }
        _ => Err(no_table("the right side")),
    }
}

fn no_table(name: &str) -> Error {
    Error::not_supported(format!("{name} cannot be read FOR SYSTEM_TIME AS OF PROCTIME()"))
        .with_hint("the right side must be a table or a materialized view itself: make a view of a query first")
}
