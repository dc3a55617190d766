//! Windows as table functions: `FROM TUMBLE(…)`, `FROM TABLE(TUMBLE(…))`, positional and named.

use super::super::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor};
use super::super::{name, parse_query};
use super::{HINT, Tumble, call, function_name, is_window_name, not_yet};
use crate::common::{Error, ErrorKind, Result};

/// Replaces a window table function by a subquery; leaves every other factor alone.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    let (window, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => match function_name(name) {
            Some(window) => (window, args.args.as_slice(), alias.take()),
            None => return Ok(()),
        },
        TableFactor::Function { name, args, alias, .. } => match function_name(name) {
            Some(window) => (window, args.as_slice(), alias.take()),
            None => return Ok(()),
        },
        TableFactor::TableFunction { expr, alias } => match call(expr) {
            Some((window, args)) => (window, args, alias.take()),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    if window != "tumble" {
        if is_window_name(&window) {
            return Err(not_yet(&window));
        }
        restore_alias(factor, alias);
        return Ok(());
    }
    *factor = derived(&Arguments::read(args)?, alias)?;
    Ok(())
}

fn restore_alias(factor: &mut TableFactor, taken: Option<TableAlias>) {
    if let TableFactor::Table { alias, .. }
    | TableFactor::Function { alias, .. }
    | TableFactor::TableFunction { alias, .. } = factor
    {
        *alias = taken;
    }
}

struct Arguments {
    /// What to read, as FROM writes it.
    input: String,
    /// The name that columns can be qualified with when no alias is given.
    name: Ident,
    tumble: Tumble,
    /// Flink's form, with `window_time`.
    flink: bool,
}

impl Arguments {
    fn read(args: &[FunctionArg]) -> Result<Self> {
        let [data, time, size, offset] = slots(args)?;
        let (Some(data), Some(time), Some(size)) = (data, time, size) else {
            return Err(wrong("TUMBLE takes a table, its time column and a window length"));
        };
        let (input, name) = match data {
            Expr::Identifier(ident) => (data.to_string(), ident.clone()),
            Expr::CompoundIdentifier(idents) => match idents.last() {
                Some(ident) => (data.to_string(), ident.clone()),
                None => return Err(wrong("TUMBLE needs a table first")),
            },
            Expr::Subquery(query) => (format!("({query}) AS tumble"), Ident::new("tumble")),
            other => return Err(wrong(&format!("TUMBLE needs a table first, not {other}"))),
        };
        let (time, flink) = match call(time) {
            Some((f, args)) if f == "descriptor" => match super::unnamed(args).as_deref() {
                Some([column]) => ((*column).clone(), true),
                _ => return Err(wrong("DESCRIPTOR takes one time column")),
            },
            _ => (time.clone(), false),
        };
        if !matches!(time, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            return Err(wrong(&format!("TUMBLE needs a time column second, not {time}")));
        }
        Ok(Self { input, name, tumble: Tumble::new(&time, size, offset)?, flink })
    }
}

/// DATA, TIMECOL, SIZE, OFFSET by position or by name.
fn slots(args: &[FunctionArg]) -> Result<[Option<&Expr>; 4]> {
    const NAMES: [&str; 4] = ["data", "timecol", "size", "offset"];
    let mut slots = [None; 4];
    for (i, arg) in args.iter().enumerate() {
        let (slot, arg) = match arg {
            FunctionArg::Unnamed(arg) => (Some(i), arg),
            FunctionArg::Named { name, arg, .. } => (position(&NAMES, name), arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (position(&NAMES, name), arg),
            FunctionArg::ExprNamed { arg, .. } => (None, arg),
        };
        let FunctionArgExpr::Expr(arg) = arg else {
            return Err(wrong("TUMBLE takes no * argument"));
        };
        match slot.and_then(|i| slots.get_mut(i)) {
            Some(slot) if slot.is_none() => *slot = Some(arg),
            Some(_) => return Err(wrong("an argument of TUMBLE is given twice")),
            None => {
                return Err(wrong("TUMBLE takes DATA, TIMECOL, SIZE and OFFSET, and no more"));
            }
        }
    }
    Ok(slots)
}

fn position(names: &[&str], name: &Ident) -> Option<usize> {
    names.iter().position(|n| name.value.eq_ignore_ascii_case(n))
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Syntax, message).with_hint(HINT)
}

fn derived(args: &Arguments, alias: Option<TableAlias>) -> Result<TableFactor> {
    let Arguments { input, tumble, flink, .. } = args;
    let time = if *flink { format!(", {} AS window_time", tumble.time()) } else { String::new() };
    let sql =
        format!("SELECT *, {} AS window_start, {} AS window_end{time} FROM {input}", tumble.start(), tumble.end(),);
    let subquery = parse_query(&sql).map_err(|e| Error::internal(format!("a window's rewrite {sql:?}: {e}")))?;
    let alias =
        alias.unwrap_or_else(|| TableAlias { explicit: true, name: args.name.clone(), columns: Vec::new(), at: None });
    Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// The name and alias of a plain table: what Arroyo's windows look up.
pub(super) fn plain(factor: &TableFactor) -> Option<(&ObjectName, String)> {
    match factor {
        TableFactor::Table { name: object, alias, args: None, .. } => {
            let qualifier = match alias {
                Some(alias) => alias.name.to_string(),
                None => name::quote(&name::parts(object).ok()?.pop()?),
            };
            Some((object, qualifier))
        }
        _ => None,
    }
}
