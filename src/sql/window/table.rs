//! Windows as table functions: `FROM TUMBLE(…)`, `FROM TABLE(TUMBLE(…))`, positional and named.

use super::super::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor};
use super::super::{name, parse_query};
use super::kind::{Kind, Window};
use super::{END, START, call, function_name};
use crate::common::{Error, Result};

/// Replaces a window table function by a subquery; leaves every other factor alone.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    let (function, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (function_name(name), args.args.as_slice(), alias),
        TableFactor::Function { name, args, alias, .. } => (function_name(name), args.as_slice(), alias),
        TableFactor::TableFunction { expr, alias } => match call(expr) {
            Some((function, args)) => (Some(function), args, alias),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let Some(kind) = function.and_then(|f| Kind::of(&f)) else { return Ok(()) };
    let alias = alias.take();
    *factor = Arguments::read(kind, args)?.derived(alias)?;
    Ok(())
}

struct Arguments {
    /// What to read, as FROM writes it.
    input: String,
    /// The name that columns can be qualified with when no alias is given.
    name: Ident,
    window: Window,
    partition: Vec<String>,
    /// Flink's form, with `window_time`.
    flink: bool,
}

impl Arguments {
    fn read(kind: Kind, args: &[FunctionArg]) -> Result<Self> {
        let slots = Slots::read(kind, args)?;
        let lengths: Option<Vec<&Expr>> = slots.lengths.into_iter().collect();
        let (Some(data), Some(time), Some(lengths)) = (slots.data, slots.time, lengths) else {
            return Err(kind.wrong(format!("{kind} takes a table, its time column and {}", kind.takes())));
        };
        let (input, name) = match data {
            Expr::Identifier(ident) => (data.to_string(), ident.clone()),
            Expr::CompoundIdentifier(idents) => match idents.last() {
                Some(ident) => (data.to_string(), ident.clone()),
                None => return Err(kind.wrong(format!("{kind} needs a table first"))),
            },
            Expr::Subquery(query) => {
                let name = kind.to_string().to_lowercase();
                (format!("({query}) AS {name}"), Ident::new(name))
            }
            other => return Err(kind.wrong(format!("{kind} needs a table first, not {other}"))),
        };
        let (time, flink) = match call(time) {
            Some((f, args)) if f == "descriptor" => match super::unnamed(args).as_deref() {
                Some([column]) => ((*column).clone(), true),
                _ => return Err(kind.wrong("DESCRIPTOR takes one time column")),
            },
            _ => (time.clone(), false),
        };
        if !matches!(time, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            return Err(kind.wrong(format!("{kind} needs a time column second, not {time}")));
        }
        let partition = slots.partition.iter().flat_map(|e| match e {
            Expr::Tuple(exprs) => exprs.as_slice(),
            e => std::slice::from_ref(*e),
        });
        Ok(Self {
            input,
            name,
            window: Window::new(kind, &time, &lengths, slots.offset)?,
            partition: partition.map(Expr::to_string).collect(),
            flink,
        })
    }

    fn derived(&self, alias: Option<TableAlias>) -> Result<TableFactor> {
        let columns = self.window.columns(&self.partition);
        let mut list = format!("*, {} AS {START}, {} AS {END}", columns.start, columns.end);
        if self.flink {
            list.push_str(&format!(", {} AS window_time", columns.time));
        }
        let name = || TableAlias { explicit: true, name: self.name.clone(), columns: Vec::new(), at: None };
        derived(&format!("SELECT {list} FROM {}", self.input), alias.unwrap_or_else(name))
    }
}

/// A rewritten query in FROM.
pub(super) fn derived(sql: &str, alias: TableAlias) -> Result<TableFactor> {
    let subquery = parse_query(sql).map_err(|e| Error::internal(format!("a window's rewrite {sql:?}: {e}")))?;
    Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
}

/// The arguments by what they are for.
struct Slots<'a> {
    data: Option<&'a Expr>,
    time: Option<&'a Expr>,
    lengths: Vec<Option<&'a Expr>>,
    offset: Option<&'a Expr>,
    partition: Vec<&'a Expr>,
}

impl<'a> Slots<'a> {
    /// By position or by name. `SESSION(t PARTITION BY a, b, ts, gap)` comes as `(t, PARTITION => a, b, ts, gap)`.
    fn read(kind: Kind, args: &'a [FunctionArg]) -> Result<Self> {
        let offset = kind.takes_offset().then_some("offset");
        let names: Vec<&str> =
            ["data", "timecol"].into_iter().chain(kind.lengths().iter().copied()).chain(offset).collect();
        let mut places: Vec<Option<&Expr>> = vec![None; names.len()];
        let mut partition: Vec<&Expr> = Vec::new();
        let mut partitioned = false;
        for (position, arg) in args.iter().enumerate() {
            let (name, arg) = match arg {
                FunctionArg::Unnamed(arg) => (None, arg),
                FunctionArg::Named { name, arg, .. }
                | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                    (Some(name.value.to_lowercase()), arg)
                }
                FunctionArg::ExprNamed { name, arg, .. } => (Some(name.to_string()), arg),
            };
            let FunctionArgExpr::Expr(arg) = arg else {
                return Err(kind.wrong(format!("{kind} takes no * argument")));
            };
            let place = match name.as_deref() {
                Some("partition") if kind == Kind::Session => {
                    partitioned = true;
                    partition.push(arg);
                    continue;
                }
                Some("partition") => return Err(Kind::Session.wrong(format!("{kind} takes no PARTITION BY"))),
                None if partitioned => {
                    partition.push(arg);
                    continue;
                }
                Some(name) => names.iter().position(|n| *n == name),
                None => Some(position),
            };
            match place.and_then(|place| places.get_mut(place)) {
                Some(place) if place.is_none() => *place = Some(arg),
                Some(_) => return Err(kind.wrong(format!("an argument of {kind} is given twice"))),
                None => {
                    let names = names.iter().map(|n| n.to_uppercase()).collect::<Vec<_>>().join(", ");
                    return Err(kind.wrong(format!("{kind} takes {names}, and no more")));
                }
            }
        }
        // What follows the partition's columns by position.
        for place in places.iter_mut().skip(1).rev().filter(|p| p.is_none()) {
            if partition.len() > 1 {
                *place = partition.pop();
            }
        }
        let mut places = places.into_iter();
        Ok(Self {
            data: places.next().flatten(),
            time: places.next().flatten(),
            lengths: places.by_ref().take(kind.lengths().len()).collect(),
            offset: places.next().flatten(),
            partition,
        })
    }
}

/// The name and alias of a plain table: what Arroyo's windows look up.
pub(in crate::sql) fn plain(factor: &TableFactor) -> Option<(&ObjectName, String)> {
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
