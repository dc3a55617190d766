//! What state each operator keeps, what frees it, and which of it can only grow.

use arrow::datatypes::Schema;

use super::columns;
use crate::plan::{
    AggMethod, AggPhase, FragmentGraph, HashAgg, HashJoin, JoinSide, Node, Operator, OverWindow, RowOrder,
    SessionWindow, SourceRead, TopN,
};
use crate::sql;
use crate::types::OptionValue;

/// One kind of rows in state.
pub(super) struct State {
    keeps: String,
    freed: Freed,
}

enum Freed {
    /// It does not grow.
    Bounded,
    By(String),
    /// By nothing: it grows with what it holds one row of.
    Never,
}

impl State {
    fn new(keeps: impl Into<String>, freed: Freed) -> Self {
        Self { keeps: keeps.into(), freed }
    }

    /// As EXPLAIN has it.
    pub fn text(&self) -> String {
        match &self.freed {
            Freed::Bounded => self.keeps.clone(),
            Freed::By(what) => format!("{} freed by {what}", self.keeps),
            Freed::Never => format!("{} freed by nothing", self.keeps),
        }
    }
}

fn retraction() -> Freed {
    Freed::By("retraction".into())
}

/// By retraction, where the input retracts.
fn with_input(append_only: bool) -> Freed {
    if append_only { Freed::Never } else { retraction() }
}

/// What the operator keeps.
pub(super) fn of(n: &Node) -> Vec<State> {
    match &n.operator {
        Operator::Source(_) => vec![State::new("the position", Freed::Bounded)],
        Operator::Values(_) => vec![State::new("that the rows were sent", Freed::Bounded)],
        Operator::TableScan(_) => vec![State::new("how much was read of the past", Freed::Bounded)],
        Operator::Watermark { .. } => vec![State::new("the watermark", Freed::Bounded)],
        Operator::HashAgg(agg) if agg.phase != AggPhase::Partial => hash_agg(agg),
        Operator::HashJoin(join) => hash_join(join, n),
        Operator::AsofJoin(_) => {
            let side = |at: usize| with_input(n.inputs.get(at).is_some_and(|i| i.properties.append_only));
            vec![State::new("left rows", side(0)), State::new("right rows", side(1))]
        }
        Operator::TemporalJoin(join) if join.sent.is_some() => vec![State::new("what came out", retraction())],
        Operator::SessionWindow(session) => session_window(session, n),
        Operator::TopN(top) if top.state.is_some() => vec![top_n(top, &n.schema)],
        Operator::OverWindow(over) => vec![over_window(over, &n.schema)],
        Operator::TemporalFilter(_) => {
            vec![State::new("rows whose time is yet to come", Freed::By("now()".into()))]
        }
        Operator::RowId(_) | Operator::Changelog(_) => vec![State::new("the next number", Freed::Bounded)],
        Operator::Recursive(_) => vec![State::new("a row for each different row", retraction())],
        Operator::Materialize(m) if m.key.is_empty() => vec![State::new("one row", Freed::Bounded)],
        Operator::Materialize(_) => vec![State::new("the result", with_input(n.properties.append_only))],
        _ => Vec::new(),
    }
}

fn hash_agg(agg: &HashAgg) -> Vec<State> {
    let closes = || agg.window.filter(|_| agg.emit_on_close).and_then(|w| agg.group.get(w));
    let freed = || match closes() {
        Some(window) => {
            let late = match agg.lateness_micros {
                0 => String::new(),
                late => format!(" less {}", sql::interval::sql(late)),
            };
            Freed::By(format!("the watermark of {}{late}", columns(&[*window], &agg.rows)))
        }
        None => match agg.window.filter(|_| agg.frees).and_then(|w| agg.group.get(w)) {
            Some(window) => Freed::By(format!("the watermark of {}", columns(&[*window], &agg.rows))),
            None => with_input(agg.append_only),
        },
    };
    let groups = match agg.group.is_empty() {
        true => State::new("one row", Freed::Bounded),
        false => State::new("a row a group", freed()),
    };
    let kept = agg.aggs.iter().filter(|call| call.distinct || call.method == AggMethod::Values);
    let kept: Vec<&str> = kept.map(|call| call.function.as_str()).collect();
    let values = (!kept.is_empty()).then(|| State::new(format!("the values of {}", kept.join(", ")), freed()));
    [groups].into_iter().chain(values).collect()
}

fn hash_join(join: &HashJoin, n: &Node) -> Vec<State> {
    let freed = |other: usize, side: &JoinSide| match side.expiry.zip(n.inputs.get(other)) {
        Some((expiry, other)) => Freed::By(format!("the watermark of {}", columns(&[expiry.watermark], &other.schema))),
        None => with_input(side.append_only),
    };
    vec![State::new("left rows", freed(1, &join.left)), State::new("right rows", freed(0, &join.right))]
}

fn session_window(session: &SessionWindow, n: &Node) -> Vec<State> {
    let input = n.inputs.first();
    let freed = match session.emit_on_close {
        true => {
            let late = match session.lateness_micros {
                0 => String::new(),
                late => format!(" less {}", sql::interval::sql(late)),
            };
            Freed::By(format!("the watermark of {}{late}", columns(&[session.time], &n.schema)))
        }
        false => with_input(input.is_some_and(|i| i.properties.append_only)),
    };
    vec![State::new("the rows of sessions", freed)]
}

fn top_n(top: &TopN, schema: &Schema) -> State {
    let rows = &top.rows;
    match (top.append_only, rows.partition.is_empty()) {
        (true, true) => State::new("the first rows", Freed::Bounded),
        (true, false) => State::new("the first rows of each partition", ordered(rows, true, schema)),
        (false, _) => State::new("all rows", ordered(rows, false, schema)),
    }
}

fn over_window(over: &OverWindow, schema: &Schema) -> State {
    State::new("all rows", ordered(&over.rows, over.append_only, schema))
}

fn ordered(rows: &RowOrder, append_only: bool, schema: &Schema) -> Freed {
    match rows.window.filter(|_| rows.frees).and_then(|w| rows.partition.get(w)) {
        Some(window) => Freed::By(format!("the watermark of {}", columns(&[*window], schema))),
        None => with_input(append_only),
    }
}

/// A NOTICE where some of the graph's state can only grow, while its input does.
pub fn growth(graph: &FragmentGraph) -> Option<String> {
    let mut bounded = true;
    let mut growing = Vec::new();
    for fragment in graph.fragments.iter().rev() {
        fragment.root.visit(&mut |n| {
            bounded &= match &n.operator {
                Operator::Source(read) => ends(read),
                Operator::TableScan(_) => false,
                _ => true,
            };
            let never = of(n).into_iter().filter(|state| matches!(state.freed, Freed::Never));
            growing.extend(never.map(|state| format!("{} ({})", state.keeps, n.operator.name())));
        });
    }
    (!bounded && !growing.is_empty()).then(|| {
        format!(
            "the state of this view can only grow: nothing frees {}. What may free it: EMIT ON WINDOW CLOSE, a join over \
             windows or a range of event times, a condition such as ts > now() - INTERVAL '1 day'",
            growing.join(", ")
        )
    })
}

/// Whether the source is known to come to an end.
fn ends(read: &SourceRead) -> bool {
    let option = |name: &str| read.options.get(name).and_then(OptionValue::text);
    match option("connector") {
        Some("file") => option("follow").is_none_or(|follow| matches!(follow, "false" | "f" | "off" | "no" | "0")),
        Some("nexmark") => option("nexmark.event.num").or(option("events")).is_some(),
        Some("datagen") => option("rows").is_some(),
        _ => false,
    }
}
