//! A fragment graph as the text of EXPLAIN CREATE MATERIALIZED VIEW.
//!
//! ```text
//! Fragment 1, by auction, window_start
//!   Materialize key: window_start, auction | key: … | watermark: window_start | state: the result freed by retraction
//!     HashAgg final group: auction, window_start [window_start closes] …
//!       Exchange from fragment 0, by auction, window_start
//! ```

mod state;

pub use state::growth;

use std::fmt::Write;

use arrow::datatypes::Schema;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

use crate::plan::{
    AggCall, AggMethod, AggPhase, AsofJoin, Distribution, Expr, FragmentGraph, GroupingSet, HashAgg, HashJoin,
    JoinKind, Node, Operator, OverWindow, RowOrder, SourceRead, TableRead, TemporalJoin, TopN, UnnestColumn,
};
use crate::sql;
use crate::types::{Conflict, OptionValue, TimeWindows};

/// The plan as text, the fragment of the result first.
pub fn explain(graph: &FragmentGraph) -> String {
    let mut text = String::new();
    for fragment in graph.fragments.iter().rev() {
        let actors = if fragment.single { "one actor" } else { "parallel" };
        let _ = writeln!(text, "Fragment {}: {actors}", fragment.id);
        node(&fragment.root, graph, 1, &mut text);
    }
    text
}

fn node(n: &Node, graph: &FragmentGraph, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{}{}", operator(n, graph), properties(n));
    for input in &n.inputs {
        node(input, graph, depth + 1, text);
    }
}

fn operator(n: &Node, graph: &FragmentGraph) -> String {
    let name = n.operator.name();
    match &n.operator {
        Operator::Source(read) => format!("{name} {}", source(read)),
        Operator::TableScan(read) => format!("{name} {}", table(read)),
        Operator::Values(values) => format!("{name} {} rows", values.rows.len()),
        Operator::Filter { predicate } => format!("{name} {}", text_of(predicate)),
        Operator::Project { exprs, .. } => {
            let list: Vec<String> = exprs
                .iter()
                .zip(n.schema.fields())
                .map(|(expr, field)| match expr.as_column() {
                    Some(i) if expr.input().field(i).name() == field.name() => field.name().clone(),
                    Some(i) => format!("{} AS {}", expr.input().field(i).name(), field.name()),
                    None => format!("{} AS {}", text_of(expr), field.name()),
                })
                .collect();
            format!("{name} {}", list.join(", "))
        }
        Operator::Watermark { column, delay_micros, limits, .. } => {
            let mut text = format!("{name} {} - {} ms", n.schema.field(*column).name(), *delay_micros as f64 / 1000.0);
            for (what, length) in
                [("idle after", limits.idle_timeout), ("no further ahead than", limits.max_future_skew)]
            {
                let _ = length.map(|length| write!(text, ", {what} {}", sql::interval::sql(length)));
            }
            text
        }
        Operator::HashAgg(agg) => format!("{name} {}", hash_agg(agg)),
        Operator::HashJoin(join) => format!("{name} {}", hash_join(join, n)),
        Operator::AsofJoin(join) => format!("{name} {}", asof_join(join, n)),
        Operator::TemporalJoin(join) => format!("{name} {}", temporal_join(join, n)),
        Operator::TimeWindows { column, windows } => format!("{name} {}", time_windows(*windows, *column, &n.schema)),
        Operator::SessionWindow(s) => {
            let by = match s.partition.as_slice() {
                [] => String::new(),
                by => format!(" by {}", columns(by, &n.schema)),
            };
            let mut close = String::from(if s.emit_on_close { ", emit on window close" } else { "" });
            if s.lateness_micros > 0 {
                let _ = write!(close, ", late rows update for {}", sql::interval::sql(s.lateness_micros));
            }
            let gap = sql::interval::sql(s.gap_micros);
            format!("{name} on {}{by}, gap {gap}{close}", columns(&[s.time], &n.schema))
        }
        Operator::GroupingSets { sets } => {
            let groups = sets.iter().flat_map(|s| s.nulls.iter().copied()).max().map_or(0, |last| last + 1);
            let of = |s: &GroupingSet| {
                let kept: Vec<usize> = (0..groups).filter(|c| !s.nulls.contains(c)).collect();
                format!("({})", columns(&kept, &n.schema))
            };
            format!("{name} {}", sets.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        Operator::TopN(top) => format!("{name} {}", top_n(top, &n.schema)),
        Operator::OverWindow(over) => format!("{name} {}", over_window(over, &n.schema)),
        Operator::TemporalFilter(filter) => {
            let op = match (filter.leaves, filter.reached) {
                (true, true) => ">",
                (true, false) => ">=",
                (false, true) => "<=",
                (false, false) => "<",
            };
            format!("{name} {} {op} {}", text_of(&filter.value), text_of(&filter.now))
        }
        Operator::Union => name.to_string(),
        Operator::Unnest { columns: made, keep_empty } => {
            let lists: Vec<&str> = made
                .iter()
                .zip(n.schema.fields())
                .filter(|(c, _)| matches!(c, UnnestColumn::Element(_)))
                .map(|(_, field)| field.name().as_str())
                .collect();
            format!("{name} {}{}", lists.join(", "), if *keep_empty { ", keeps empty lists" } else { "" })
        }
        Operator::Exchange { distribution } => {
            let from: Vec<String> = graph.edges.iter().filter(|e| e.leaf == n.id).map(|e| e.from.to_string()).collect();
            format!("{name} from fragment {}, {}", from.join(", "), placed(distribution, &n.schema))
        }
        Operator::Materialize(m) => {
            let conflict = match m.conflict {
                Conflict::Unchecked => "",
                Conflict::Overwrite => ", on conflict overwrite",
                Conflict::DoNothing => ", on conflict do nothing",
                Conflict::UpdateIfNotNull => ", on conflict update if not null",
            };
            match m.key.as_slice() {
                [] => format!("{name} one row"),
                key => format!("{name} by {}{conflict}", columns(key, &n.schema)),
            }
        }
        Operator::NetChanges(net) => format!("{name} of an epoch, by {}", columns(&net.key, &n.schema)),
        Operator::Recursive(r) => format!("{name} {}", if r.distinct { "union" } else { "union all" }),
        Operator::RowId(_) | Operator::Changelog(_) | Operator::WorkTable { .. } => name.to_string(),
        Operator::Sink(s) => format!("{name} {} ({})", s.name, columns(&s.columns, &n.schema)),
    }
}

fn time_windows(windows: TimeWindows, column: usize, schema: &Schema) -> String {
    let (what, step, size, offset) = match windows {
        TimeWindows::Hop { slide, size, offset } => ("hop", slide, size, offset),
        TimeWindows::Cumulate { step, size, offset } => ("cumulate", step, size, offset),
    };
    let lengths = [step, size].into_iter().chain(Some(offset).filter(|o| *o != 0)).map(sql::interval::sql);
    format!("{} by {what}, {}", columns(&[column], schema), lengths.collect::<Vec<_>>().join(", "))
}

fn properties(n: &Node) -> String {
    let p = &n.properties;
    let mut parts = Vec::new();
    if !p.stream_key.is_empty() {
        parts.push(format!("key: {}", columns(&p.stream_key, &n.schema)));
    }
    if !matches!(n.operator, Operator::Exchange { .. }) && p.distribution != Distribution::Any {
        parts.push(placed(&p.distribution, &n.schema));
    }
    if p.append_only {
        parts.push("append-only".into());
    }
    if !p.watermark_columns.is_empty() {
        parts.push(format!("watermark: {}", columns(&p.watermark_columns, &n.schema)));
    }
    let state: Vec<String> = state::of(n).iter().map(state::State::text).collect();
    if !state.is_empty() {
        parts.push(format!("state: {}", state.join(", ")));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!(" [{}]", parts.join("; ")),
    }
}

fn source(read: &SourceRead) -> String {
    let connector = read.options.get("connector").and_then(OptionValue::text).unwrap_or("log");
    format!("{} ({}) from {connector}", read.name, columns(&read.projection, &read.full_schema))
}

fn table(read: &TableRead) -> String {
    format!("{} ({})", read.name, columns(&read.projection, &read.full_schema))
}

fn hash_agg(agg: &HashAgg) -> String {
    let phase = match agg.phase {
        AggPhase::Partial => "partial",
        AggPhase::Final => "final",
        AggPhase::Single => "single",
    };
    let mut text = phase.to_string();
    if !agg.group.is_empty() {
        let _ = write!(text, ", group by {}", columns(&agg.group, &agg.rows));
    }
    let calls: Vec<String> = agg.aggs.iter().map(call).collect();
    if !calls.is_empty() {
        let _ = write!(text, ": {}", calls.join(", "));
    }
    if agg.emit_on_close {
        text.push_str(", emit on window close");
        if agg.lateness_micros > 0 {
            let _ = write!(text, ", late rows update for {}", sql::interval::sql(agg.lateness_micros));
        }
        if let Some(timeout) = agg.close_timeout {
            let _ = write!(text, " or when nothing comes for {}", sql::interval::sql(timeout));
        }
    }
    text
}

fn hash_join(join: &HashJoin, n: &Node) -> String {
    let kind = match join.kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
        JoinKind::NotIn => "not in",
        JoinKind::Mark => "mark",
    };
    let name = |side: usize, column: &usize| n.inputs[side].schema.field(*column).name().clone();
    let equal = if join.null_equal { "IS NOT DISTINCT FROM" } else { "=" };
    let pairs = join.left.on.iter().zip(&join.right.on);
    let mut on: Vec<String> = pairs.map(|(l, r)| format!("{} {equal} {}", name(0, l), name(1, r))).collect();
    on.extend(join.condition.as_ref().map(text_of));
    let on = match on.is_empty() {
        true => ", every pair".into(),
        false => format!(" on {}", on.join(" AND ")),
    };
    format!("{kind}{on}")
}

fn asof_join(join: &AsofJoin, n: &Node) -> String {
    let name = |side: usize, column: usize| n.inputs[side].schema.field(column).name().clone();
    let pairs = join.left.partition.iter().zip(&join.right.partition);
    let mut on: Vec<String> = pairs.map(|(l, r)| format!("{} = {}", name(0, *l), name(1, *r))).collect();
    for (l, r) in join.left.order.iter().zip(&join.right.order) {
        let op = match (r.descending, join.strict) {
            (true, false) => ">=",
            (true, true) => ">",
            (false, false) => "<=",
            (false, true) => "<",
        };
        on.push(format!("{} {op} {}", name(0, l.column), name(1, r.column)));
    }
    format!("{} on {}", if join.outer { "left" } else { "inner" }, on.join(" AND "))
}

fn temporal_join(join: &TemporalJoin, n: &Node) -> String {
    let pairs = join.on.iter().zip(&join.key);
    let on = pairs.map(|(l, r)| {
        format!("{} = {}.{}", columns(&[*l], &n.inputs[0].schema), join.name, columns(&[*r], &join.full_schema))
    });
    format!("{} on {}", if join.outer { "left" } else { "inner" }, on.collect::<Vec<_>>().join(" AND "))
}

fn top_n(top: &TopN, schema: &Schema) -> String {
    let bounds = match top.offset {
        0 => format!("{} <= {}", top.rank, top.last),
        offset => format!("{offset} < {} <= {}", top.rank, top.last),
    };
    let kept = match (top.keeps_one(), top.append_only) {
        _ if top.state.is_none() => ", sifts",
        (true, _) => ", keeps one row a partition",
        (false, true) => ", keeps only these rows",
        (false, false) => ", keeps all rows",
    };
    let shown: Vec<String> = top.shown.iter().map(|r| r.to_string()).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(", shows {}", shown.join(", ")) };
    format!("{bounds}{}{shown}{kept}", row_order(&top.rows, schema))
}

fn over_window(over: &OverWindow, schema: &Schema) -> String {
    let calls: Vec<String> = over
        .calls
        .iter()
        .map(|c| {
            let args: Vec<String> = c.args.iter().map(text_of).collect();
            format!("{}({}{})", c.function, if c.distinct { "DISTINCT " } else { "" }, args.join(", "))
        })
        .collect();
    let anew = match over.reach() {
        Some((before, after)) => format!(", anew {before} rows before to {after} after a change"),
        None => ", anew by partition".into(),
    };
    format!("{}{}{anew}", calls.join(", "), row_order(&over.rows, schema))
}

fn row_order(rows: &RowOrder, schema: &Schema) -> String {
    let mut text = String::new();
    if !rows.partition.is_empty() {
        let _ = write!(text, ", partition by {}", columns(&rows.partition, schema));
    }
    let order: Vec<String> = rows
        .order
        .iter()
        .map(|o| {
            let direction = if o.descending { " DESC" } else { "" };
            let nulls = match o.nulls_first {
                first if first == o.descending => "",
                true => " NULLS FIRST",
                false => " NULLS LAST",
            };
            format!("{}{direction}{nulls}", columns(&[o.column], schema))
        })
        .collect();
    if !order.is_empty() {
        let _ = write!(text, ", order by {}", order.join(", "));
    }
    if rows.frees {
        text.push_str(", frees closed windows");
    }
    text
}

fn call(call: &AggCall) -> String {
    let method = match call.method {
        AggMethod::Merge => "merge",
        AggMethod::Linear => "linear",
        AggMethod::Values => "values",
    };
    let args: Vec<String> = call.args.iter().map(text_of).collect();
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let mut text = format!("{}({distinct}{})", call.function, args.join(", "));
    if let Some(filter) = &call.filter {
        let _ = write!(text, " FILTER (WHERE {})", text_of(filter));
    }
    format!("{text} {{{method}}}")
}

/// An expression with names instead of positions, and intervals as SQL writes them.
fn text_of(expr: &Expr) -> String {
    let mut text = fmt_sql(expr.physical().as_ref()).to_string();
    while let Some(start) = text.find(INTERVAL)
        && let Some(length) = text.get(start..).and_then(|rest| rest.find('}'))
    {
        let parts: Vec<i64> = text
            .get(start..start + length)
            .unwrap_or_default()
            .split([' ', ','])
            .filter_map(|word| word.parse().ok())
            .collect();
        let interval = match parts.as_slice() {
            [0, 0, nanoseconds] if nanoseconds % 1000 == 0 => sql::interval::sql(nanoseconds / 1000),
            [months, days, nanoseconds] => format!("INTERVAL '{months} mons {days} days {nanoseconds} ns'"),
            _ => "INTERVAL".into(),
        };
        text.replace_range(start..=start + length, &interval);
    }
    text
}

/// How Arrow begins an interval.
const INTERVAL: &str = "IntervalMonthDayNano {";

fn placed(distribution: &Distribution, schema: &Schema) -> String {
    match distribution {
        Distribution::Single => "single".into(),
        Distribution::Hash(by) => format!("hash({})", columns(by, schema)),
        Distribution::Any => "any".into(),
    }
}

fn columns(indices: &[usize], schema: &Schema) -> String {
    let names: Vec<&str> = indices.iter().map(|i| schema.fields().get(*i).map_or("?", |f| f.name().as_str())).collect();
    names.join(", ")
}
