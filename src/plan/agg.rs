//! What an aggregation's columns are: the contract between the planner, the partial phase and the final one.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::lit;

use super::expr::Expr;
use super::node::{AggCall, AggMethod, HashAgg};
use crate::common::Result;
use crate::expr::aggregate::{Call, partial_fields, result_field};

/// How many rows a group has, by weight: kept where input retracts, so that an empty group disappears.
pub const ROWS: &str = "_rows";

impl AggCall {
    /// Whether one set of values can be kept for both: they differ in what they do with them, and in their filters.
    pub fn shares_values(&self, other: &AggCall) -> bool {
        let runs = |call: &AggCall| call.distinct && call.method != AggMethod::Values && call.order_by.is_empty();
        let args = self.args.iter().map(Expr::physical).eq(other.args.iter().map(Expr::physical));
        runs(self) && runs(other) && args
    }

    /// The call over rows of the schema `rows`, as expressions know it.
    pub fn call(&self, rows: &SchemaRef) -> Call {
        Call {
            function: self.function.clone(),
            args: self.args.iter().map(|a| Arc::clone(a.physical())).collect(),
            rows: Arc::clone(rows),
            distinct: self.distinct,
            ignore_nulls: self.ignore_nulls,
            order_by: self
                .order_by
                .iter()
                .map(|(expr, descending, nulls_first)| PhysicalSortExpr {
                    expr: Arc::clone(expr.physical()),
                    options: arrow::compute::SortOptions { descending: *descending, nulls_first: *nulls_first },
                })
                .collect(),
            method: self.method,
            name: self.name.clone(),
        }
    }
}

impl HashAgg {
    /// The calls that run: the query's, after the count of rows where input retracts.
    pub fn calls(&self) -> Vec<Call> {
        let rows = Call {
            function: "count".into(),
            args: vec![lit(1i64)],
            rows: Arc::clone(&self.rows),
            distinct: false,
            ignore_nulls: false,
            order_by: Vec::new(),
            method: AggMethod::Linear,
            name: ROWS.into(),
        };
        let counted = (!self.append_only).then_some(rows);
        counted.into_iter().chain(self.aggs.iter().map(|a| a.call(&self.rows))).collect()
    }

    /// What the partial phase sends to the final one: group columns, then the state columns of [`Self::calls`].
    pub fn partial_schema(&self) -> Result<SchemaRef> {
        let mut fields = self.group_fields();
        for call in self.calls() {
            fields.extend(partial_fields(&call)?);
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The rows of the state table: as [`Self::partial_schema`], and the last result of each call that keeps its values.
    pub fn state_schema(&self) -> Result<SchemaRef> {
        let mut fields = self.group_fields();
        for call in self.calls() {
            match call.method {
                AggMethod::Values => {
                    fields.push(Arc::new(result_field(&call)?.as_ref().clone().with_nullable(true)));
                }
                AggMethod::Merge | AggMethod::Linear => fields.extend(partial_fields(&call)?),
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// What comes out of the final phase: group columns, then results.
    pub fn result_schema(&self) -> Result<SchemaRef> {
        let mut fields = self.group_fields();
        for call in &self.aggs {
            fields.push(result_field(&call.call(&self.rows))?);
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The group columns, as they stand in `rows`.
    pub fn group_fields(&self) -> Vec<FieldRef> {
        self.group.iter().map(|i| Arc::clone(&self.rows.fields()[*i])).collect()
    }

    /// The type of the column that carries the watermark.
    pub fn window_type(&self) -> Option<DataType> {
        self.window.and_then(|w| self.group.get(w)).map(|i| Field::data_type(self.rows.field(*i)).clone())
    }
}
