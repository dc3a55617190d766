//! OVER: the functions of each window, in the order of its rows.
//!
//! ```text
//! Project (partition, order, arguments as columns) --exchange by partition--> OverWindow, one for each window
//! ```

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr as LogicalExpr, Window, WindowFunctionDefinition};
use datafusion::physical_expr::expressions::Literal;

use super::{Lowered, Lowerer, physical, short};
use crate::common::{Error, Result};
use crate::plan::{Expr, Frame, Operator, OverWindow, Properties, RowOrder, WindowCall};

impl Lowerer<'_> {
    pub(super) fn window(&mut self, window: &Window) -> Result<Lowered> {
        let mut input = self.lower(&window.input)?;
        let schema = window.input.schema();
        let inputs = schema.fields().len();
        let functions = window.window_expr.iter().map(function).collect::<Result<Vec<_>>>()?;
        // Where each result comes out.
        let mut results = vec![usize::MAX; functions.len()];
        while let Some(first) = results.iter().position(|r| *r == usize::MAX) {
            let params = &functions[first].params;
            let same =
                |p: &WindowFunctionParams| p.partition_by == params.partition_by && p.order_by == params.order_by;
            let (ordered, rows) = self.ordered(input, &params.partition_by, &params.order_by, schema)?;
            input = ordered;
            let mut calls = Vec::new();
            let mut places = Vec::new();
            for (i, function) in functions.iter().enumerate().filter(|(_, f)| same(&f.params)) {
                let field = short(window.schema.field(inputs + i));
                let (with_arguments, call) = self.window_call(input, function, field, schema)?;
                input = with_arguments;
                calls.push(call);
                places.push(i);
            }
            let before = input.schema().fields().len();
            input = self.over_window(input, rows, calls)?;
            for (number, place) in places.into_iter().enumerate() {
                results[place] = before + number;
            }
        }
        Ok(self.results_behind(input, &results))
    }

    /// Arguments and filter become columns: what fails on a row fails there, for that row.
    fn window_call(
        &mut self,
        input: Lowered,
        function: &WindowFunction,
        field: FieldRef,
        schema: &DFSchema,
    ) -> Result<(Lowered, WindowCall)> {
        let params = &function.params;
        let args = params.args.iter().map(|a| physical(a, schema, input.schema())).collect::<Result<Vec<_>>>()?;
        let filter = params.filter.as_deref().map(|f| physical(f, schema, input.schema())).transpose()?;
        let is_literal = |e: &Expr| e.physical().downcast_ref::<Literal>().is_some();
        let computed: Vec<Expr> = args.iter().chain(&filter).filter(|e| !is_literal(e)).cloned().collect();
        let (input, columns) = self.with_columns(input, &computed, "_arg")?;
        let rows = Arc::clone(input.schema());
        let mut columns = columns.into_iter().map(|c| Expr::column(c, Arc::clone(&rows)));
        let mut moved = |e: Expr| match is_literal(&e) {
            true => Ok(e),
            false => columns.next().ok_or_else(|| Error::internal("an argument without a column")),
        };
        let call = WindowCall {
            function: function.fun.name().to_string(),
            aggregate: matches!(function.fun, WindowFunctionDefinition::AggregateUDF(_)),
            args: args.into_iter().map(&mut moved).collect::<Result<_>>()?,
            filter: filter.map(&mut moved).transpose()?,
            distinct: params.distinct,
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            frame: Frame::new(&params.window_frame),
            field,
        };
        Ok((input, call))
    }

    /// The node; results come out behind all columns of the input.
    pub(super) fn over_window(&mut self, input: Lowered, rows: RowOrder, calls: Vec<WindowCall>) -> Result<Lowered> {
        let input = self.together(input, &rows);
        let before = input.properties().clone();
        let operator = OverWindow { rows, calls, append_only: before.append_only, state: self.table_id() };
        check(&operator, input.schema())?;
        let rows = &operator.rows;
        let mut stream_key = rows.partition.clone();
        stream_key.extend(rows.key.iter().copied().filter(|c| !rows.partition.contains(c)));
        let properties = Properties {
            stream_key,
            distribution: before.distribution,
            append_only: false,
            watermark_columns: super::top_n::watermarks(rows, &before.watermark_columns),
        };
        let schema = operator.output(input.schema());
        let visible = input.visible;
        Ok(Lowered { node: self.node(Operator::OverWindow(operator), vec![input.node], schema, properties), visible })
    }
}

pub(super) fn unaliased(mut expr: &LogicalExpr) -> &LogicalExpr {
    while let LogicalExpr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}

fn function(expr: &LogicalExpr) -> Result<&WindowFunction> {
    match unaliased(expr) {
        LogicalExpr::WindowFunction(function) => Ok(function),
        other => Err(Error::internal(format!("{other} is no window function"))),
    }
}

/// What the functions cannot do is told now, not when rows come: a row of nulls is put through each.
fn check(operator: &OverWindow, input: &SchemaRef) -> Result<()> {
    let nullable: Vec<_> =
        input.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect::<Vec<FieldRef>>();
    let schema = super::schema_of(nullable);
    let columns = schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), 1)).collect();
    let row = arrow::array::RecordBatch::try_new(Arc::clone(&schema), columns)?;
    for (call, expression) in operator.calls.iter().zip(operator.expressions(&schema)?) {
        let result = expression.evaluate(&row).map_err(|e| {
            Error::not_supported(format!("{}() over this window: {}", call.function, Error::from(e)))
                .with_hint("let the frame begin with UNBOUNDED PRECEDING, or use another function")
        })?;
        if result.data_type() != call.field.data_type() {
            return Err(Error::internal(format!(
                "{} makes {}, planned was {}",
                call.function,
                result.data_type(),
                call.field.data_type()
            )));
        }
    }
    Ok(())
}
