//! `GAP_FILL`: rows for the times that a series leaves out, as plain SQL over two functions of `expr`.
//!
//! ```text
//! FROM GAP_FILL(t, ts, INTERVAL '1 minute', LOCF(a), INTERPOLATE(b), PARTITION BY k)
//!
//! FROM (SELECT k, __gap_at AS ts, a, gap_value(b, __gap_next_b, ts, __gap_at, __gap_next) AS b,
//!              CASE WHEN __gap_at = ts THEN c END AS c
//!       FROM (SELECT *, unnest(gap_times(ts, __gap_next, 60000000)) AS __gap_at
//!             FROM (SELECT *, lead(ts) OVER w AS __gap_next, lead(b) OVER w AS __gap_next_b
//!                   FROM t WINDOW w AS (PARTITION BY k ORDER BY ts, a, b)))) AS t
//! ```
//! The columns by which equal times are ordered are those that fill: what fills then depends on the rows alone.

use std::ops::ControlFlow;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query,
    TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use super::columns::{ColumnsOf, Scope};
use super::{interval, name, parse_query};
use crate::common::{Error, ErrorKind, Result};

const NAME: &str = "gap_fill";
const AT: &str = "__gap_at";
const NEXT: &str = "__gap_next";

/// Rewrites every GAP_FILL of the query, whose columns have names.
///
/// # Errors
/// `Syntax`, `InvalidParameterValue` and `UndefinedColumn` for a wrong use; each says what to write.
pub fn rewrite(query: &mut Query, columns_of: ColumnsOf<'_>) -> Result<()> {
    if Visit::visit(&*query, &mut Finder).is_continue() {
        return Ok(());
    }
    let scope = Scope::new(query, columns_of);
    match VisitMut::visit(query, &mut Rewriter { scope }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether this function fills gaps.
pub(super) fn is_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Whether there is any.
struct Finder;

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if arguments(factor).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn arguments(factor: &TableFactor) -> Option<&[FunctionArg]> {
    match factor {
        TableFactor::Table { name, args: Some(args), .. } if is_call(name) => Some(&args.args),
        TableFactor::Function { name, args, .. } if is_call(name) => Some(args),
        TableFactor::TableFunction {
            expr: Expr::Function(Function { name, args: FunctionArguments::List(list), .. }),
            ..
        } if is_call(name) => Some(&list.args),
        _ => None,
    }
}

fn is_call(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if is_name(&ident.value))
}

struct Rewriter<'a> {
    scope: Scope<'a>,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some(args) = arguments(factor) else { return ControlFlow::Continue(()) };
        let alias = match &*factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. } => alias.clone(),
            _ => None,
        };
        match Series::read(args, &self.scope).and_then(|series| series.derived(alias)) {
            Ok(derived) => {
                *factor = derived;
                ControlFlow::Continue(())
            }
            Err(e) => ControlFlow::Break(e),
        }
    }
}

/// What is filled, and how. Columns are folded names.
struct Series {
    /// As FROM writes it.
    input: String,
    /// What columns can be qualified with when no alias is given.
    name: Ident,
    columns: Vec<String>,
    time: String,
    micros: i64,
    partition: Vec<String>,
    /// A gap repeats the last row's.
    repeated: Vec<String>,
    interpolated: Vec<String>,
}

impl Series {
    fn read(args: &[FunctionArg], scope: &Scope<'_>) -> Result<Self> {
        let Some((FunctionArg::Unnamed(FunctionArgExpr::Expr(data)), rest)) = args.split_first() else {
            return Err(wrong("GAP_FILL needs a table first"));
        };
        let (input, name, columns) = match data {
            Expr::Identifier(ident) => (data.to_string(), ident.clone(), scope.of_table(&vec![ident.clone()].into())),
            Expr::CompoundIdentifier(idents) if !idents.is_empty() => {
                let name = idents.last().cloned().unwrap_or_else(|| NAME.into());
                (data.to_string(), name, scope.of_table(&idents.clone().into()))
            }
            Expr::Subquery(query) => (format!("({query}) AS {NAME}"), NAME.into(), scope.of_set(&query.body)),
            other => return Err(wrong(format!("GAP_FILL needs a table first, not {other}"))),
        };
        let columns = columns.ok_or_else(|| {
            Error::new(ErrorKind::UndefinedColumn, format!("GAP_FILL does not know the columns of {data}"))
                .with_hint("give it a table or a view that exists, or name the columns in the SELECT that it fills")
        })?;
        let mut series = Self {
            input,
            name,
            columns,
            time: String::new(),
            micros: 0,
            partition: Vec::new(),
            repeated: Vec::new(),
            interpolated: Vec::new(),
        };
        let mut kept = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut partitioned = false;
        for arg in rest {
            let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
            | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. }) = arg
            else {
                return Err(wrong(format!("GAP_FILL does not take {arg}")));
            };
            // `PARTITION BY` comes as an argument of this name.
            if let FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } = arg {
                if !name.value.eq_ignore_ascii_case("partition") {
                    return Err(wrong(format!("GAP_FILL takes no argument {name}")));
                }
                series.time_from(&mut names);
                partitioned = true;
            }
            match expr {
                Expr::Function(Function { name: strategy, args: FunctionArguments::List(list), .. }) => {
                    let into = match strategy.to_string().to_lowercase().as_str() {
                        "locf" => &mut series.repeated,
                        "interpolate" => &mut series.interpolated,
                        "keep" => &mut kept,
                        _ => return Err(wrong(format!("GAP_FILL fills by LOCF, INTERPOLATE or KEEP, not {strategy}"))),
                    };
                    for arg in &list.args {
                        match arg {
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => into.push(column_name(column)?),
                            other => return Err(wrong(format!("{strategy} takes columns, not {other}"))),
                        }
                    }
                }
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => names.push(column_name(expr)?),
                Expr::Tuple(columns) if partitioned => {
                    for column in columns {
                        names.push(column_name(column)?);
                    }
                }
                interval if series.micros == 0 => {
                    series.micros =
                        interval::fixed_micros(interval).map_err(|e| e.context("the interval of GAP_FILL"))?;
                    if series.micros <= 0 {
                        return Err(Error::new(
                            ErrorKind::InvalidParameterValue,
                            "the interval of GAP_FILL must be above zero",
                        ));
                    }
                    // `GAP_FILL(t PARTITION BY k, ts, INTERVAL …)`: the last is the time.
                    let last = if series.time.is_empty() { names.pop() } else { None };
                    series.time.extend(last);
                }
                other => return Err(wrong(format!("GAP_FILL does not take {other}"))),
            }
        }
        series.partition = names;
        if series.time.is_empty() || series.micros == 0 || !partitioned && !series.partition.is_empty() {
            return Err(wrong("GAP_FILL takes a table, its time column and an interval"));
        }
        series.check(&kept)?;
        Ok(series)
    }

    /// What stands before PARTITION BY is the time.
    fn time_from(&mut self, names: &mut Vec<String>) {
        if self.time.is_empty() && names.len() == 1 {
            self.time.extend(names.pop());
        }
    }

    /// Every column is there, and has one way to be filled.
    fn check(&self, kept: &[String]) -> Result<()> {
        let mut used = vec![&self.time];
        used.extend(&self.partition);
        for column in self.repeated.iter().chain(&self.interpolated).chain(kept) {
            if used.contains(&column) {
                return Err(wrong(format!("GAP_FILL is told twice how to fill column \"{column}\"")));
            }
            used.push(column);
        }
        match used.into_iter().find(|column| !self.columns.contains(column)) {
            Some(column) => Err(Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{column}\" does not exist in {}", self.name),
            )),
            None => Ok(()),
        }
    }

    fn derived(&self, alias: Option<TableAlias>) -> Result<TableFactor> {
        let time = name::quote(&self.time);
        let quoted = |columns: &[String]| columns.iter().map(|c| name::quote(c)).collect::<Vec<_>>();
        let next_of = |at: usize| format!("{NEXT}_{at}");
        let leads = self.interpolated.iter().enumerate();
        let leads: String =
            leads.map(|(at, c)| format!(", lead({}) OVER __gap AS {}", name::quote(c), next_of(at))).collect();
        let partition = match quoted(&self.partition).join(", ") {
            by if by.is_empty() => String::new(),
            by => format!("PARTITION BY {by} "),
        };
        let order: Vec<String> =
            [time.clone()].into_iter().chain(quoted(&self.repeated)).chain(quoted(&self.interpolated)).collect();
        let filled = self.columns.iter().map(|column| {
            let own = name::quote(column);
            if *column == self.time {
                return format!("{AT} AS {own}");
            }
            if self.repeated.contains(column) || self.partition.contains(column) {
                return own;
            }
            match self.interpolated.iter().position(|c| c == column) {
                Some(at) => format!("gap_value({own}, {}, {time}, {AT}, {NEXT}) AS {own}", next_of(at)),
                None => format!("CASE WHEN {AT} IS NOT DISTINCT FROM {time} THEN {own} END AS {own}"),
            }
        });
        let sql = format!(
            "SELECT {} FROM (SELECT *, unnest(gap_times({time}, {NEXT}, {})) AS {AT} FROM (SELECT *, lead({time}) OVER __gap \
             AS {NEXT}{leads} FROM {} WINDOW __gap AS ({partition}ORDER BY {})) AS __gap_rows) AS __gap_times",
            filled.collect::<Vec<_>>().join(", "),
            self.micros,
            self.input,
            order.join(", ")
        );
        let subquery = parse_query(&sql).map_err(|e| Error::internal(format!("GAP_FILL's rewrite {sql:?}: {e}")))?;
        let own = || TableAlias { explicit: true, name: self.name.clone(), columns: Vec::new(), at: None };
        Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias.unwrap_or_else(own)), sample: None })
    }
}

fn column_name(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Identifier(column) => Ok(name::fold(column)),
        Expr::CompoundIdentifier(parts) => Ok(parts.last().map(name::fold).unwrap_or_default()),
        other => Err(wrong(format!("GAP_FILL takes columns of its table, not {other}"))),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Syntax, message)
        .with_hint("write FROM GAP_FILL(t, ts, INTERVAL '1 minute', LOCF(a), INTERPOLATE(b), KEEP(c), PARTITION BY k)")
}
