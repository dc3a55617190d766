//! Windows over event time in every dialect, rewritten to plain SQL over functions of `expr`.
//!
//! ```text
//! FROM HOP(t, ts, slide, size)                               RisingWave       \
//! FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), slide, size))      Flink            | table.rs
//! FROM HOP(DATA => TABLE t, TIMECOL => …, SIZE => …)         Flink, named     /
//! GROUP BY HOP(ts, slide, size), SELECT HOP_START(ts, …)     Flink, legacy    \ group.rs
//! GROUP BY hop(slide, size)                                  Arroyo           /
//! ```
//!
//! | window | its end |
//! |---|---|
//! | TUMBLE | `tumble_start(ts, size) + size` |
//! | HOP | `unnest(hop_ends(ts, slide, size))`: a row for each window |
//! | CUMULATE | `unnest(cumulate_ends(ts, step, size))` |
//! | SESSION | `session_window_end(ts, gap) OVER (PARTITION BY …)` |
//!
//! The two columns are `window_start` and `window_end`; Flink's table forms add `window_time`, the window's last
//! millisecond. What the time column is of is unknown here: the planner checks its type.

mod group;
mod kind;
mod table;

use std::ops::ControlFlow;

use self::kind::Kind;
use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart, Query, Select,
    TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use super::{name, parse_expr};
use crate::common::{Error, ErrorKind, Result};

/// The watermark column of a source or table, for the dialect that does not name it.
pub type WatermarkOf<'a> = &'a dyn Fn(&ObjectName) -> Option<String>;

/// The columns that every window makes.
const START: &str = "window_start";
const END: &str = "window_end";

/// Rewrites every window of the query.
///
/// # Errors
/// `Syntax` and `InvalidParameterValue` for a wrong use; each says what to write instead.
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

pub(super) use self::table::plain as plain_table;

/// Whether a function of this name takes a table and makes windows.
pub(super) fn is_window_name(name: &str) -> bool {
    Kind::of(&name.to_ascii_lowercase()).is_some()
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

struct Rewriter<'a> {
    watermark_of: WatermarkOf<'a>,
    /// An Arroyo window was rewritten.
    window_struct: bool,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        flow(group::rewrite_order(query))
    }

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
        let Some((name, _)) = call(expr) else { return ControlFlow::Continue(()) };
        let wrong = |message: String, kind: Kind| {
            ControlFlow::Break(Error::new(ErrorKind::Syntax, message).with_hint(kind.hint()))
        };
        match (Kind::of(&name), group::bound(&name)) {
            (Some(kind), _) => wrong(format!("{kind} stands in FROM or in GROUP BY only"), kind),
            (_, Some((kind, _))) if kind != Kind::Tumble => wrong(
                format!("{} needs GROUP BY {kind} with the same arguments in the same SELECT", name.to_uppercase()),
                kind,
            ),
            _ if name == "descriptor" => wrong("DESCRIPTOR stands in windows only".into(), Kind::Tumble),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn expr(sql: &str) -> Result<Expr> {
    parse_expr(sql).map_err(|e| Error::internal(format!("a window's rewrite {sql:?}: {e}")))
}
