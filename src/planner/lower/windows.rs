//! HOP, CUMULATE and SESSION as rows: what the windows' functions become.
//!
//! ```text
//! Unnest over hop_ends(ts, …)             Project --> TimeWindows
//! session_window_end(ts, …) OVER (…)      Project --exchange by partition--> SessionWindow --> Project
//! ```

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr as LogicalExpr, LogicalPlan, Unnest, Window, WindowFunctionDefinition};

use super::agg::no_window;
use super::project::Columns;
use super::{Lowered, Lowerer, is_event_time, physical, plain, schema_of, watermark};
use crate::common::{Error, ErrorKind, Result};
use crate::expr::session::{Bound, gap_micros};
use crate::expr::time_windows::time_windows;
use crate::plan::{Distribution, Operator, Properties, SessionWindow};
use crate::types::{TimeWindows, key};

/// An Unnest that makes a row for each window.
pub(super) struct Windowed<'p> {
    /// What has the time, and the expressions over it; that of `column` is the list of ends.
    pub below: &'p Arc<LogicalPlan>,
    pub exprs: &'p [LogicalExpr],
    pub column: usize,
    pub ts: &'p LogicalExpr,
    pub windows: TimeWindows,
}

impl<'p> Windowed<'p> {
    /// `None` for an Unnest of something else.
    pub fn of(unnest: &'p Unnest) -> Result<Option<Self>> {
        let LogicalPlan::Projection(projection) = unnest.input.as_ref() else { return Ok(None) };
        let [(column, list)] = unnest.list_type_columns.as_slice() else { return Ok(None) };
        let (column, exprs) = (*column, projection.expr.as_slice());
        let same_columns = unnest.schema.fields().len() == exprs.len() && unnest.struct_type_columns.is_empty();
        let Some(LogicalExpr::ScalarFunction(call)) = exprs.get(column).map(unaliased) else { return Ok(None) };
        let [ts, lengths @ ..] = call.args.as_slice() else { return Ok(None) };
        let lengths: Option<Vec<_>> = lengths.iter().map(|l| l.as_literal().cloned()).collect();
        let (Some(lengths), true, 1) = (lengths, same_columns, list.depth) else { return Ok(None) };
        let windows = time_windows(call.func.name(), &lengths)?;
        Ok(windows.map(|windows| Self { below: &projection.input, exprs, column, ts, windows }))
    }
}

pub(super) fn unaliased(mut expr: &LogicalExpr) -> &LogicalExpr {
    while let LogicalExpr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}

impl Lowerer<'_> {
    /// A row for each window that holds a row's time.
    pub(super) fn time_windows(&mut self, unnest: &Unnest, windowed: &Windowed<'_>) -> Result<Lowered> {
        let Windowed { below, exprs, column, ts, windows } = *windowed;
        let input = self.lower(below)?;
        let mut columns = Columns::new();
        for (i, (expr, field)) in exprs.iter().zip(unnest.schema.fields()).enumerate() {
            let (expr, field) = match i == column {
                true => (ts, Arc::new(field.as_ref().clone().with_name(unused("window_end", unnest)))),
                false => (expr, plain(field)),
            };
            let from = watermark::carried(expr, below.schema())
                .filter(|i| is_event_time(field.data_type()) && input.properties().watermark_columns.contains(i));
            columns.push(physical(expr, below.schema(), input.schema())?, field, from);
        }
        let visible = columns.len();
        for key in &input.properties().stream_key {
            // The time's own column makes room for the window's end.
            if columns.position_besides(*key, column).is_none() {
                columns.push_column(&input, *key);
            }
        }
        let moved = |before: &[usize]| -> Option<Vec<usize>> {
            before.iter().map(|c| columns.position_besides(*c, column)).collect()
        };
        let before = input.properties();
        let stream_key = moved(&before.stream_key).unwrap_or_default().into_iter().chain([column]).collect();
        let distribution = match &before.distribution {
            Distribution::Hash(by) => moved(by).map_or(Distribution::Any, Distribution::Hash),
            other => other.clone(),
        };
        let Lowered { node: input, visible } = self.project(input, columns, visible);
        let properties = Properties { stream_key, distribution, ..input.properties.clone() };
        let schema = Arc::clone(&input.schema);
        let node = self.node(Operator::TimeWindows { column, windows }, vec![input], schema, properties);
        Ok(Lowered { node, visible })
    }

    /// The bounds of each row's session.
    pub(super) fn session_window(&mut self, window: &Window, session: &Session<'_>) -> Result<Lowered> {
        let schema = window.input.schema();
        let input = self.lower(&window.input)?;
        let mut columns = Columns::new();
        let inputs = input.visible;
        for column in 0..inputs {
            columns.push_column(&input, column);
        }
        columns.keep_key(&input);
        let mut column = |expr: &LogicalExpr, name: &str| -> Result<usize> {
            if let LogicalExpr::Column(c) = expr {
                return Ok(schema.index_of_column(c)?);
            }
            let from = watermark::carried(expr, schema).filter(|i| input.properties().watermark_columns.contains(i));
            let expr = physical(expr, schema, input.schema())?;
            let field = Field::new(columns.unused(name), expr.data_type()?, expr.nullable()?);
            let from = from.filter(|_| is_event_time(field.data_type()));
            columns.push(expr, Arc::new(field), from);
            Ok(columns.len() - 1)
        };
        let time = column(session.ts, "_time")?;
        let partition = session.partition.iter().map(|e| column(e, "_partition")).collect::<Result<Vec<_>>>()?;
        let input = self.project(input, columns, inputs);
        let key_types = partition.iter().chain(&input.properties().stream_key);
        for field in key_types.map(|c| input.schema().field(*c)) {
            if !key::is_encodable(field.data_type()) {
                return Err(Error::not_supported(format!(
                    "sessions by \"{}\" of type {} are not supported",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("cast it to VARCHAR"));
            }
        }
        let has_watermark = input.properties().watermark_columns.contains(&time);
        if self.close_timeout.is_some() {
            return Err(Error::not_supported("EMIT ON WINDOW CLOSE WITH TIMEOUT is not supported for SESSION yet")
                .with_hint("leave it out, or give the source an idle_timeout"));
        }
        if self.emit_on_window_close {
            if !has_watermark {
                return Err(no_window(input.properties().watermark_columns.is_empty()));
            }
            self.closes_windows = true;
        }
        let by = match partition.is_empty() {
            true => Distribution::Single,
            false => Distribution::Hash(partition.clone()),
        };
        let input = match input.properties().distribution {
            Distribution::Single => input.node,
            ref distribution if *distribution == by => input.node,
            _ => self.exchange(input.node, by),
        };
        let made = input.schema.fields().len();
        let bound = |name: &str| Arc::new(Field::new(name, input.schema.field(time).data_type().clone(), true));
        let schema = schema_of(input.schema.fields().iter().cloned().chain(["window_start", "window_end"].map(bound)));
        // Changes of one row come by way of its partition's actor: where a row changes partition, in no order.
        let mut stream_key = partition.clone();
        stream_key.extend(input.properties.stream_key.iter().filter(|c| !partition.contains(c)));
        let properties = Properties {
            stream_key,
            append_only: self.emit_on_window_close && self.lateness.is_none() && input.properties.append_only,
            watermark_columns: if has_watermark { vec![made + 1] } else { Vec::new() },
            ..input.properties.clone()
        };
        let operator = Operator::SessionWindow(SessionWindow {
            time,
            partition,
            gap_micros: session.gap,
            key: input.properties.stream_key.clone(),
            emit_on_close: self.emit_on_window_close,
            lateness_micros: self.lateness.unwrap_or(0),
            rows: self.table_id(),
            sessions: self.table_id(),
            open: self.emit_on_window_close.then(|| self.table_id()),
        });
        let node = self.node(operator, vec![input], schema, properties);
        let lowered = Lowered { node, visible: inputs };
        let mut columns = Columns::new();
        for column in 0..inputs {
            columns.push_column(&lowered, column);
        }
        for bound in &session.bounds {
            columns.push_column(&lowered, made + usize::from(*bound == Bound::End));
        }
        let visible = columns.len();
        columns.keep_key(&lowered);
        Ok(self.project(lowered, columns, visible))
    }
}

/// What the functions of one Window node ask for.
pub(super) struct Session<'p> {
    ts: &'p LogicalExpr,
    gap: i64,
    partition: &'p [LogicalExpr],
    bounds: Vec<Bound>,
}

impl<'p> Session<'p> {
    /// `None` for window functions of other kinds.
    pub fn of(window: &'p Window) -> Result<Option<Self>> {
        let mut session: Option<Self> = None;
        for expr in &window.window_expr {
            let LogicalExpr::WindowFunction(function) = unaliased(expr) else { return Ok(None) };
            let WindowFunction { fun: WindowFunctionDefinition::WindowUDF(udf), params } = function.as_ref() else {
                return Ok(None);
            };
            let (Some(bound), [ts, gap]) = (Bound::of(udf.name()), params.args.as_slice()) else { return Ok(None) };
            let gap = gap.as_literal().ok_or_else(|| {
                Error::new(ErrorKind::InvalidParameterValue, "the session gap must be a constant")
                    .with_hint("write an interval such as INTERVAL '10' SECOND")
            })?;
            let gap = gap_micros(gap)?;
            let partition = params.partition_by.as_slice();
            match &mut session {
                None => session = Some(Self { ts, gap, partition, bounds: vec![bound] }),
                Some(s) if s.ts == ts && s.gap == gap && s.partition == partition => s.bounds.push(bound),
                Some(_) => return Ok(None),
            }
        }
        Ok(session)
    }
}

fn unused(name: &str, unnest: &Unnest) -> String {
    let mut name = name.to_string();
    while unnest.schema.fields().iter().any(|f| *f.name() == name) {
        name.insert(0, '_');
    }
    name
}
