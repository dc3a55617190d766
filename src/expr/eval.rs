//! Expressions over a chunk of changes, so that a row that cannot be evaluated harms only itself.
//!
//! A batch is evaluated as a whole. Only when that fails is it halved until the failing rows stand alone: they are
//! taken out and returned with their errors, the others go on. An insertion and its later retraction hold the same
//! values, fail alike and are taken out alike, so nothing downstream is retracted that was never inserted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::concat;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

use crate::common::{Error, Result};
use crate::types::StreamChunk;

/// Columns over the rows that could be evaluated.
#[derive(Debug)]
pub struct Evaluated {
    /// One an expression, each as long as `rows`.
    pub columns: Vec<ArrayRef>,
    /// The input rows that could be evaluated, with their weights.
    pub rows: StreamChunk,
    /// The others; as a rule empty.
    pub failed: Vec<FailedRow>,
}

/// One row that could not be evaluated.
#[derive(Debug)]
pub struct FailedRow {
    /// The row by itself, as it came in.
    pub row: StreamChunk,
    /// What failed, as SQL has it.
    pub expression: Option<String>,
    pub error: Error,
}

/// Evaluates every expression on every row.
///
/// # Errors
/// Only for what is no row's fault, such as results that cannot be put together.
pub fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], chunk: StreamChunk) -> Result<Evaluated> {
    let whole_error = match evaluate_whole(exprs, &chunk) {
        Ok(columns) => return Ok(Evaluated { columns, rows: chunk, failed: Vec::new() }),
        Err(e) => e,
    };
    let mut search = Search { exprs, chunk: &chunk, pieces: Vec::new(), good: Vec::new(), failed: Vec::new() };
    search.split(0, chunk.num_rows(), whole_error);
    let Search { pieces, good, failed, .. } = search;
    let rows = chunk.take(&UInt64Array::from(good))?;
    let columns = match pieces.is_empty() {
        // Every row failed: empty columns of the right types.
        true => evaluate_whole(exprs, &rows)?,
        false => (0..exprs.len())
            .map(|column| {
                let parts: Vec<&dyn Array> = pieces.iter().filter_map(|p| p.get(column).map(|a| a.as_ref())).collect();
                Ok(concat(&parts)?)
            })
            .collect::<Result<_>>()?,
    };
    Ok(Evaluated { columns, rows, failed })
}

/// Keeps the rows for which `predicate` is true.
pub fn filter(predicate: &Arc<dyn PhysicalExpr>, chunk: StreamChunk) -> Result<(StreamChunk, Vec<FailedRow>)> {
    let evaluated = evaluate(std::slice::from_ref(predicate), chunk)?;
    let mask = match evaluated.columns.first() {
        Some(column) => boolean(column)?,
        None => return Err(Error::internal("a predicate gave no column")),
    };
    let kept =
        if mask.null_count() == 0 && !mask.has_false() { evaluated.rows } else { evaluated.rows.filter(mask)? };
    Ok((kept, evaluated.failed))
}

/// The column as booleans.
///
/// # Errors
/// `Internal`: the planner lets only boolean predicates through.
pub fn boolean(column: &ArrayRef) -> Result<&BooleanArray> {
    column.as_boolean_opt().ok_or_else(|| Error::internal(format!("a predicate of type {}", column.data_type())))
}

fn evaluate_whole(exprs: &[Arc<dyn PhysicalExpr>], chunk: &StreamChunk) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|e| Ok(e.evaluate(chunk.batch())?.into_array(chunk.num_rows())?)).collect()
}

struct Search<'a> {
    exprs: &'a [Arc<dyn PhysicalExpr>],
    chunk: &'a StreamChunk,
    /// The columns of runs of good rows, in row order.
    pieces: Vec<Vec<ArrayRef>>,
    good: Vec<u64>,
    failed: Vec<FailedRow>,
}

impl Search<'_> {
    /// Rows `start..end` failed together with `error`.
    fn split(&mut self, start: usize, end: usize, error: Error) {
        if end - start <= 1 {
            let row = self.chunk.slice(start, end - start);
            let fails = |e: &&Arc<dyn PhysicalExpr>| evaluate_whole(std::slice::from_ref(*e), &row).is_err();
            let expression = self.exprs.iter().find(fails).map(|e| fmt_sql(e.as_ref()).to_string());
            self.failed.push(FailedRow { row, expression, error });
            return;
        }
        let middle = start + (end - start) / 2;
        for (start, end) in [(start, middle), (middle, end)] {
            match evaluate_whole(self.exprs, &self.chunk.slice(start, end - start)) {
                Ok(columns) => {
                    self.pieces.push(columns);
                    self.good.extend(start as u64..end as u64);
                }
                Err(e) => self.split(start, end, e),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::datatypes::SchemaRef;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::expr::functions::registry;
    use crate::types::pretty;

    /// A DataFusion session that knows Weir's functions and takes strings as VARCHAR.
    pub(crate) fn session() -> SessionContext {
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
        let context = SessionContext::new_with_config(config);
        for function in registry().scalars() {
            context.register_udf(function.as_ref().clone());
        }
        for function in registry().aggregates() {
            context.register_udaf(function.as_ref().clone());
        }
        context
    }

    pub(crate) fn try_physical(sql: &str, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let context = session();
        let schema = Arc::new(DFSchema::try_from(Arc::clone(schema))?);
        let logical = context.parse_sql_expr(sql, &schema)?;
        // Some functions exist only until they are simplified away, as the planner does.
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
        let logical = simplifier.simplify(simplifier.coerce(logical, &schema)?)?;
        Ok(context.create_physical_expr(logical, &schema)?)
    }

    /// SQL text as a physical expression over `schema`.
    pub(crate) fn physical(sql: &str, schema: &SchemaRef) -> Arc<dyn PhysicalExpr> {
        try_physical(sql, schema).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The value of a constant expression as text.
    pub(crate) fn eval_one(sql: &str) -> Result<String> {
        let chunk = pretty::chunk("dummy:int\n+ 1")?;
        let array = try_physical(sql, &chunk.schema())?.evaluate(chunk.batch())?.into_array(1)?;
        let options = FormatOptions::default().with_null(".");
        Ok(ArrayFormatter::try_new(&array, &options)?.value(0).to_string())
    }

    fn check(exprs: &[&str], text: &str, good: &[&str], failed: &[(&str, &str)]) {
        let chunk = pretty::chunk(text).unwrap();
        let exprs: Vec<_> = exprs.iter().map(|e| physical(e, &chunk.schema())).collect();
        let got = evaluate(&exprs, chunk).unwrap();
        assert_eq!(pretty::rows(&got.rows).unwrap(), good);
        assert!(got.columns.iter().all(|c| c.len() == good.len()));
        let got: Vec<_> =
            got.failed.iter().map(|f| (pretty::rows(&f.row).unwrap().remove(0), f.error.to_string())).collect();
        assert_eq!(got.len(), failed.len(), "{got:?}");
        for ((row, error), (expected, message)) in got.iter().zip(failed) {
            assert_eq!(row, expected);
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn only_the_failing_rows_are_taken_out() {
        check(&["10 / a"], "a:bigint\n+ 1\n+ 2\n- 5", &["+ 1", "+ 2", "- 5"], &[]);
        check(
            &["10 / a", "a"],
            "a:bigint\n+ 1\n+ 0\n+ 2\n- 0\n+ .",
            &["+ 1", "+ 2", "+ ."],
            &[("+ 0", "zero"), ("- 0", "zero")],
        );
        check(&["10 / a"], "a:bigint\n+ 0\n+3 0", &[], &[("+ 0", "zero"), ("+3 0", "zero")]);
        check(&["CAST(s AS BIGINT)"], "s:varchar\n+ 1\n+ x", &["+ 1"], &[("+ x", "x")]);
        check(&["10 / a"], "a:bigint", &[], &[]);
    }

    #[test]
    fn a_filter_drops_false_and_null() {
        let chunk = pretty::chunk("a:bigint\n+ 1\n+ .\n- 7\n+ 0").unwrap();
        let predicate = physical("10 / a > 5", &chunk.schema());
        let (kept, failed) = filter(&predicate, chunk).unwrap();
        assert_eq!(pretty::rows(&kept).unwrap(), ["+ 1"]);
        assert_eq!(failed.len(), 1);
    }
}
