//! Joins: where the rows meet, what is kept of them, what identifies a row of the result.
//!
//! ```text
//! equal keys:          left --exchange by key--> HashJoin <--exchange by key-- right
//! none, or NOT IN:     left --exchange to one--> HashJoin <--exchange to one-- right
//! ```
//! IN, EXISTS, scalar subqueries, INTERSECT and EXCEPT come here as joins already.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::{Expr as LogicalExpr, Join, LogicalPlan};
use datafusion::scalar::ScalarValue;

use super::join_time::TimeRange;
use super::project::Columns;
use super::{Lowered, Lowerer, is_event_time, lateness, physical, physical_at, plain, schema_of, watermark};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Expr, HashJoin, JoinKind, JoinSide, Operator, Properties};
use crate::types::key;

/// The hidden column of a full join that tells whose row it is.
const SIDE: &str = "_side";

/// A join with the side first whose rows come out when only one side's do.
struct Oriented<'p> {
    kind: JoinKind,
    left: &'p LogicalPlan,
    right: &'p LogicalPlan,
    on: Vec<(&'p LogicalExpr, &'p LogicalExpr)>,
}

/// An input with its keys as columns.
pub(super) struct Input {
    pub lowered: Lowered,
    pub on: Vec<usize>,
}

impl Lowerer<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Lowered> {
        let Oriented { kind, left, right, on } = oriented(join)?;
        let (left_on, right_on): (Vec<_>, Vec<_>) = on.into_iter().unzip();
        let lowered = self.lower(left)?;
        let left_input = self.keyed(lowered, &left_on, left.schema())?;
        let lowered = self.lower(right)?;
        let right_input = self.keyed(lowered, &right_on, right.schema())?;
        check_keys(&left_input, &right_input)?;

        let single = |input: &Input| input.lowered.properties().distribution == Distribution::Single;
        let one_actor = left_on.is_empty() || kind == JoinKind::NotIn || (single(&left_input) && single(&right_input));
        let left_input = self.meet(left_input, one_actor);
        let right_input = self.meet(right_input, one_actor);

        let schema = left.schema().join(right.schema())?;
        let condition = match &join.filter {
            None => None,
            Some(LogicalExpr::Literal(ScalarValue::Boolean(Some(true)), _)) => None,
            Some(filter) => Some(condition(filter, &schema, &left_input.lowered, &right_input.lowered)?),
        };
        let range = match kind {
            JoinKind::NotIn => None,
            _ => {
                let on = left_input.on.iter().copied().zip(right_input.on.iter().copied());
                TimeRange::find(on, join.filter.as_ref(), &schema, &left_input.lowered, &right_input.lowered)
            }
        };
        if kind == JoinKind::NotIn && (left_on.len() != 1 || condition.is_some()) {
            return Err(Error::not_supported("NOT IN with a subquery that refers to the outer query is not supported")
                .with_hint("write NOT EXISTS (SELECT … WHERE inner = outer), which no null makes fail"));
        }
        // Late rows find what they would have met, for the windows behind to take them.
        let late = self.lateness.zip(range).map_or(0, |(lateness, range)| {
            let (left, right) = range.columns();
            let of = |input: &Input, column| lateness::rounded(lateness, &input.lowered.node, column, None);
            of(&left_input, left).max(of(&right_input, right))
        });
        let mut side = |input: &Input, expiry| JoinSide {
            on: input.on.clone(),
            key: input.lowered.properties().stream_key.clone(),
            append_only: input.lowered.properties().append_only,
            state: self.table_id(),
            expiry,
        };
        let left_side = side(&left_input, range.and_then(|r| r.left_expiry(late)));
        let right_side = side(&right_input, range.and_then(|r| r.right_expiry(late)));
        let counts = (kind == JoinKind::NotIn).then(|| self.table_id());
        let bounds = range.is_some().then(|| self.table_id());
        let operator = HashJoin {
            kind,
            left: left_side,
            right: right_side,
            null_equal: join.null_equality == NullEquality::NullEqualsNull,
            condition,
            output: Vec::new(),
            visible: 0,
            counts,
            watermarks: Vec::new(),
            bounds,
        };
        let inputs = (left_input.lowered, right_input.lowered);
        Ok(self.hash_join(operator, inputs, range, one_actor, join.schema.as_arrow().fields()))
    }

    /// The visible columns, the stream key and the join keys.
    pub(super) fn keyed(&mut self, input: Lowered, on: &[&LogicalExpr], schema: &DFSchema) -> Result<Input> {
        let mut columns = Columns::new();
        for column in 0..input.visible {
            columns.push_column(&input, column);
        }
        columns.keep_key(&input);
        let mut keys = Vec::with_capacity(on.len());
        for (i, expr) in on.iter().enumerate() {
            if let LogicalExpr::Column(column) = expr {
                keys.push(schema.index_of_column(column)?);
                continue;
            }
            let expr_at = physical(expr, schema, input.schema())?;
            let data_type = expr_at.data_type()?;
            let from = watermark::carried(expr, schema)
                .filter(|i| is_event_time(&data_type) && input.properties().watermark_columns.contains(i));
            let field = Field::new(format!("_on_{i}"), data_type, expr_at.nullable()?);
            keys.push(columns.len());
            columns.push(expr_at, Arc::new(field), from);
        }
        let visible = input.visible;
        Ok(Input { lowered: self.project(input, columns, visible), on: keys })
    }

    /// Brings the rows to where those of the other side are.
    pub(super) fn meet(&mut self, input: Input, one_actor: bool) -> Input {
        let Input { lowered: Lowered { node, visible }, on } = input;
        let wanted = if one_actor { Distribution::Single } else { Distribution::Hash(on.clone()) };
        let node = if node.properties.distribution == wanted { node } else { self.exchange(node, wanted) };
        Input { lowered: Lowered { node, visible }, on }
    }

    fn hash_join(
        &mut self,
        mut join: HashJoin,
        (left, right): (Lowered, Lowered),
        range: Option<TimeRange>,
        one_actor: bool,
        fields: &[FieldRef],
    ) -> Lowered {
        let mut output = Outputs::new(&join, &left, &right, fields);
        join.visible = join.kind.inputs(&left, &right);
        let stream_key = output.stream_key(&join);
        let placed = match join.kind {
            JoinKind::Right => Some((1, &join.right.on)),
            JoinKind::Full => None,
            _ => Some((0, &join.left.on)),
        };
        let distribution = match placed {
            _ if one_actor => Distribution::Single,
            Some((side, on)) => Distribution::Hash(on.iter().map(|c| output.position(side, *c)).collect()),
            None => Distribution::Any,
        };
        if let Some(range) = range {
            let (left_time, right_time) = range.columns();
            let at = |side, column| output.find(side, column);
            join.watermarks.extend(at(0, left_time).and_then(|at| range.left_watermark(at)));
            join.watermarks.extend(at(1, right_time).and_then(|at| range.right_watermark(at)));
        }
        let Outputs { columns, fields, visible, .. } = output;
        join.output = columns;
        let properties = Properties {
            stream_key,
            distribution,
            append_only: matches!(join.kind, JoinKind::Inner | JoinKind::Semi)
                && join.left.append_only
                && join.right.append_only,
            watermark_columns: join.watermarks.iter().map(|w| w.output).collect(),
        };
        let inputs = vec![left.node, right.node];
        Lowered { node: self.node(Operator::HashJoin(join), inputs, schema_of(fields), properties), visible }
    }
}

impl JoinKind {
    /// How many columns of the inputs a query sees.
    fn inputs(self, left: &Lowered, right: &Lowered) -> usize {
        if self.emits_pairs() { left.visible + right.visible } else { left.visible }
    }
}

/// The columns that come out, as they are put together.
struct Outputs {
    /// Of the left side's columns followed by the right's.
    columns: Vec<usize>,
    fields: Vec<FieldRef>,
    /// Where the column stands that the join adds, if it does.
    added: Option<usize>,
    visible: usize,
    schemas: [SchemaRef; 2],
    /// Rows of a side may be missing, their columns null.
    padded: [bool; 2],
}

impl Outputs {
    fn new(join: &HashJoin, left: &Lowered, right: &Lowered, fields: &[FieldRef]) -> Self {
        let width = left.schema().fields().len();
        let visible = join.kind.inputs(left, right);
        let columns = (0..left.visible).chain(width..width + right.visible).take(visible).collect();
        let mut outputs = Self {
            columns,
            fields: Vec::new(),
            added: matches!(join.kind, JoinKind::Mark | JoinKind::Full).then_some(visible),
            visible: fields.len(),
            schemas: [Arc::clone(left.schema()), Arc::clone(right.schema())],
            padded: [
                matches!(join.kind, JoinKind::Right | JoinKind::Full),
                matches!(join.kind, JoinKind::Left | JoinKind::Full),
            ],
        };
        for field in fields {
            outputs.push_field(plain(field));
        }
        if join.kind == JoinKind::Full {
            outputs.push_field(Arc::new(Field::new(SIDE, DataType::Int16, false)));
        }
        outputs
    }

    fn push_field(&mut self, field: FieldRef) {
        let mut name = field.name().clone();
        while self.fields.iter().any(|f| *f.name() == name) {
            name.insert(0, '_');
        }
        self.fields.push(Arc::new(field.as_ref().clone().with_name(name)));
    }

    /// Where column `column` of a side comes out, if it does.
    fn find(&self, side: usize, column: usize) -> Option<usize> {
        let wanted = column + side * self.schemas[0].fields().len();
        let at = self.columns.iter().position(|c| *c == wanted)?;
        Some(at + usize::from(self.added.is_some_and(|added| at >= added)))
    }

    /// The same; it is added when it does not come out yet.
    fn position(&mut self, side: usize, column: usize) -> usize {
        if let Some(at) = self.find(side, column) {
            return at;
        }
        let field = self.schemas[side].field(column);
        let nullable = field.is_nullable() || self.padded[side];
        self.push_field(plain(&field.as_ref().clone().with_nullable(nullable)));
        self.columns.push(column + side * self.schemas[0].fields().len());
        self.fields.len() - 1
    }

    /// What identifies a row: the keys of its rows, and the join key, by which it is placed. The key of a side of which
    /// no row has more than one pair is not needed.
    fn stream_key(&mut self, join: &HashJoin) -> Vec<usize> {
        let once = |side: &JoinSide| !side.on.is_empty() && side.key.iter().all(|c| side.on.contains(c));
        let (left, right) = (&join.left, &join.right);
        let parts: Vec<(usize, &[usize])> = match join.kind {
            JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark => vec![(0, &left.key), (0, &left.on)],
            JoinKind::Inner | JoinKind::Left if once(right) => vec![(0, &left.key), (0, &left.on)],
            JoinKind::Inner | JoinKind::Right if once(left) => vec![(1, &right.key), (1, &right.on)],
            JoinKind::Inner | JoinKind::Left => vec![(0, &left.key), (0, &left.on), (1, &right.key)],
            JoinKind::Right => vec![(1, &right.key), (1, &right.on), (0, &left.key)],
            JoinKind::Full => vec![(0, &left.key), (0, &left.on), (1, &right.key), (1, &right.on)],
        };
        let mut key = Vec::new();
        for (side, columns) in parts {
            for column in columns {
                let at = self.position(side, *column);
                if !key.contains(&at) {
                    key.push(at);
                }
            }
        }
        // Of a full join, rows of either side may be all null.
        key.extend(self.added.filter(|_| join.kind == JoinKind::Full));
        key
    }
}

/// The join from the side whose rows come out.
fn oriented(join: &Join) -> Result<Oriented<'_>> {
    let (kind, exchanged) = match join.join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::LeftAnti if join.null_aware => (JoinKind::NotIn, false),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::LeftMark => (JoinKind::Mark, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::RightMark => (JoinKind::Mark, true),
    };
    let (left, right) = (join.left.as_ref(), join.right.as_ref());
    let on = join.on.iter();
    Ok(match exchanged {
        false => Oriented { kind, left, right, on: on.map(|(l, r)| (l, r)).collect() },
        true => Oriented { kind, left: right, right: left, on: on.map(|(l, r)| (r, l)).collect() },
    })
}

/// The condition over all columns of both inputs; `schema` has the visible ones.
fn condition(filter: &LogicalExpr, schema: &DFSchema, left: &Lowered, right: &Lowered) -> Result<Expr> {
    let fields = left.schema().fields().iter().chain(right.schema().fields());
    let input = schema_of(fields.cloned());
    let (visible, width) = (left.visible, left.schema().fields().len());
    physical_at(filter, schema, &input, |i| if i < visible { i } else { i - visible + width })
}

pub(super) fn check_keys(left: &Input, right: &Input) -> Result<()> {
    for (l, r) in left.on.iter().zip(&right.on) {
        let (l, r) = (left.lowered.schema().field(*l), right.lowered.schema().field(*r));
        if l.data_type() != r.data_type() {
            return Err(Error::internal(format!("join keys of types {} and {}", l.data_type(), r.data_type())));
        }
        if !key::is_encodable(l.data_type()) {
            return Err(Error::not_supported(format!(
                "a join on \"{}\" of type {} is not supported",
                l.name(),
                l.data_type()
            ))
            .with_hint("cast both sides to VARCHAR"));
        }
    }
    for (name, side) in [("left", left), ("right", right)] {
        for column in &side.lowered.properties().stream_key {
            let field = side.lowered.schema().field(*column);
            if !key::is_encodable(field.data_type()) {
                return Err(Error::not_supported(format!(
                    "the {name} side of a join is identified by \"{}\" of type {}, which cannot be part of a key",
                    field.name(),
                    field.data_type()
                ))
                .with_hint("cast it to VARCHAR"));
            }
        }
    }
    Ok(())
}
