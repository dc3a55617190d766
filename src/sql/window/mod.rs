//! TUMBLE in every dialect, rewritten to plain SQL over the scalar function `tumble_start(ts, size[, offset])`.
//!
//! ```text
//! FROM TUMBLE(t, ts, size)                                   RisingWave       \
//! FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size))          Flink            | table.rs
//! FROM TUMBLE(DATA => TABLE t, TIMECOL => …, SIZE => …)      Flink, named     /
//! GROUP BY TUMBLE(ts, size), SELECT TUMBLE_START(ts, size)   Flink, legacy    \ group.rs
//! GROUP BY tumble(size)                                      Arroyo           /
//! ```
//!
//! The two columns are `window_start` and `window_end`; Flink's table forms add `window_time`, the window's last
//! millisecond. What the time column is of is unknown here: the planner checks its type.

mod group;
mod table;

use std::ops::ControlFlow;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart, Query, Select,
    TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use super::{interval, name, parse_expr};
use crate::common::{Error, ErrorKind, Result};

/// The watermark column of a source or table, for the dialect that does not name it.
pub type WatermarkOf<'a> = &'a dyn Fn(&ObjectName) -> Option<String>;

const HINT: &str = "write FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) and GROUP BY window_start, window_end";

/// Rewrites every window of the query.
///
/// # Errors
/// `Syntax` and `InvalidParameterValue` for a wrong use, `NotSupported` for the windows that are not there yet; each
/// says what to write instead.
pub fn rewrite(query: &mut Query, watermark_of: WatermarkOf<'_>) -> Result<()> {
    let mut rewriter = Rewriter { watermark_of, window_struct: false };
    broken(VisitMut::visit(query, &mut rewriter))?;
    if rewriter.window_struct {
        broken(VisitMut::visit(query, &mut WindowFields))?;
    }
    broken(Visit::visit(&*query, &mut Leftovers))
}

fn broken(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => ControlFlow::Break(e),
    }
}

/// Whether a function of this name takes a table and makes windows.
pub(super) fn is_window_name(name: &str) -> bool {
    ["tumble", "hop", "cumulate", "session"].iter().any(|w| name.eq_ignore_ascii_case(w))
}

/// A tumbling window over a time expression; lengths in microseconds.
#[derive(Debug, Clone, PartialEq)]
struct Tumble {
    ts: String,
    size: i64,
    offset: i64,
}

impl Tumble {
    fn new(ts: &Expr, size: &Expr, offset: Option<&Expr>) -> Result<Self> {
        if let Some(columns) = names_no_column(ts) {
            return Err(
                Error::new(ErrorKind::Syntax, format!("TUMBLE needs a time column, not {columns}")).with_hint(HINT)
            );
        }
        let micros = interval::fixed_micros(size).map_err(|e| e.context("the window's length"))?;
        if micros <= 0 {
            return Err(Error::new(ErrorKind::InvalidParameterValue, "a window's length must be above zero")
                .with_hint("write a fixed length such as INTERVAL '10' SECOND"));
        }
        let offset = match offset {
            Some(offset) => interval::fixed_micros(offset).map_err(|e| e.context("the window's offset"))?,
            None => 0,
        };
        // Offsets a whole window apart are the same windows.
        Ok(Self { ts: ts.to_string(), size: micros, offset: offset.rem_euclid(micros) })
    }

    fn start(&self) -> String {
        let Self { ts, size, offset } = self;
        match offset {
            0 => format!("tumble_start({ts}, {})", interval::sql(*size)),
            _ => format!("tumble_start({ts}, {}, {})", interval::sql(*size), interval::sql(*offset)),
        }
    }

    fn end(&self) -> String {
        format!("({} + {})", self.start(), interval::sql(self.size))
    }

    /// The window's last millisecond, as Flink has it.
    fn time(&self) -> String {
        format!("({} + {})", self.start(), interval::sql(self.size - 1000))
    }
}

/// The text of a time argument that can be none: a literal.
fn names_no_column(ts: &Expr) -> Option<String> {
    match ts {
        Expr::Value(_) | Expr::Interval(_) | Expr::Subquery(_) => Some(ts.to_string()),
        _ => None,
    }
}

/// A call of an unqualified function: its name in lower case and its arguments.
fn call(expr: &Expr) -> Option<(String, &[FunctionArg])> {
    match expr {
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
            Some((function_name(name)?, &list.args))
        }
        _ => None,
    }
}

fn function_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(name::fold(ident).to_lowercase()),
        _ => None,
    }
}

/// The expressions of arguments without names.
fn unnamed(args: &[FunctionArg]) -> Option<Vec<&Expr>> {
    args.iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
            _ => None,
        })
        .collect()
}

fn not_yet(window: &str) -> Error {
    Error::not_supported(format!("{} windows are not supported yet", window.to_uppercase()))
        .with_hint(format!("only TUMBLE windows are: {HINT}"))
}

struct Rewriter<'a> {
    watermark_of: WatermarkOf<'a>,
    /// An Arroyo window was rewritten.
    window_struct: bool,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        flow(table::rewrite(factor))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match group::rewrite(select, self.watermark_of) {
            Ok(arroyo) => self.window_struct |= arroyo,
            Err(e) => return ControlFlow::Break(e),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        flow(group::rewrite_expr(expr))
    }
}

/// Arroyo's window is a struct; here its fields are columns: `window.start` is `window_start`.
struct WindowFields;

impl VisitorMut for WindowFields {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [window, field] = parts.as_slice()
            && window.value.eq_ignore_ascii_case("window")
            && ["start", "end"].iter().any(|f| field.value.eq_ignore_ascii_case(f))
        {
            *expr = Expr::Identifier(format!("window_{}", field.value.to_lowercase()).as_str().into());
        }
        ControlFlow::Continue(())
    }
}

/// Finds windows where no rewrite expects them.
struct Leftovers;

impl Visitor for Leftovers {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match call(expr) {
            Some((name, _)) if name == "tumble" => ControlFlow::Break(
                Error::new(ErrorKind::Syntax, "TUMBLE stands in FROM or in GROUP BY only").with_hint(HINT),
            ),
            Some((name, _)) if name == "descriptor" => {
                ControlFlow::Break(Error::new(ErrorKind::Syntax, "DESCRIPTOR stands in TUMBLE only").with_hint(HINT))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn expr(sql: &str) -> Result<Expr> {
    parse_expr(sql).map_err(|e| Error::internal(format!("a window's rewrite {sql:?}: {e}")))
}
