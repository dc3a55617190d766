//! WITH RECURSIVE: a loop within one actor.
//!
//! ```text
//!              static term ------------------------------+
//!                                                        +--> Recursive --> the result
//! base tables --exchange to one--> joins of the term ----+        |
//!                                       ^                         |
//!                                   WorkTable <-- its changes ----+
//! ```
//! Only what takes each row of the work table by itself may stand between it and the result: a join with other
//! relations, a filter, a projection. Then the rows of all rounds can be one table, which is followed as any other.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{RecursiveQuery, TableScan};

use super::super::context::WorkTable;
use super::project::Columns;
use super::{Lowered, Lowerer, plain, schema_of};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{Distribution, JoinKind, Node, Operator, Properties, Recursive};
use crate::types::{TableId, key};

/// A recursive query whose term is being lowered.
pub(super) struct Open {
    name: String,
    state: TableId,
    distinct: bool,
}

impl Lowerer<'_> {
    pub(super) fn recursive(&mut self, query: &RecursiveQuery) -> Result<Lowered> {
        check_types(&query.name, &query.schema)?;
        let start = self.lower(&query.static_term)?;
        let state = self.table_id();
        self.recursions.push(Open { name: query.name.clone(), state, distinct: query.is_distinct });
        let term = self.lower(&query.recursive_term);
        self.recursions.pop();
        let term = self.within_loop(term?.node, state, &query.name)?;
        let visible = query.schema.fields().len();
        for (of_start, of_term) in start.schema().fields().iter().zip(term.schema.fields()).take(visible) {
            if of_start.data_type() != of_term.data_type() {
                return Err(Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!(
                        "recursive query \"{}\" column \"{}\" has type {} in the first term, {} in the second",
                        query.name,
                        of_start.name(),
                        of_start.data_type(),
                        of_term.data_type()
                    ),
                )
                .with_hint("cast the column of the first term to the type of the second"));
            }
        }
        let (schema, properties) = rows(&query.schema, query.is_distinct);
        let operator = Operator::Recursive(Recursive { visible, distinct: query.is_distinct, state });
        let start = self.at_one(start.node);
        Ok(Lowered { node: self.node(operator, vec![start, term], schema, properties), visible })
    }

    /// The rows of the recursive query itself, within its term.
    pub(super) fn work_table(&mut self, table: &WorkTable, scan: &TableScan) -> Result<Lowered> {
        let open = self.recursions.iter().rfind(|open| open.name == table.name);
        let within =
            || invalid(format!("recursive reference to query \"{}\" must not appear within a subquery", table.name));
        let open = open.ok_or_else(|| within().with_hint("join with it"))?;
        let (operator, distinct) = (Operator::WorkTable { of: open.state }, open.distinct);
        let whole = DFSchema::try_from(table.schema.as_ref().clone())?;
        let (schema, properties) = rows(&whole, distinct);
        let visible = whole.fields().len();
        let all = Lowered { node: self.node(operator, Vec::new(), schema, properties), visible };
        let Some(projection) = &scan.projection else { return Ok(all) };
        let mut columns = Columns::new();
        for column in projection {
            columns.push_same(&all, *column);
        }
        let width = columns.len();
        columns.keep_key(&all);
        Ok(self.project(all, columns, width))
    }

    /// The term with all of the way from the work table on in one actor, and what else it reads brought there.
    fn within_loop(&mut self, mut node: Node, work: TableId, name: &str) -> Result<Node> {
        match references(&node, work) {
            0 => return Ok(self.at_one(node)),
            1 => {}
            _ => {
                return Err(invalid(format!("recursive reference to query \"{name}\" must not appear more than once"))
                    .with_hint("follow one row at a time: join the reference with other relations alone"));
            }
        }
        if let Operator::Exchange { .. } = node.operator {
            let input = node.inputs.pop().ok_or_else(|| Error::internal("an exchange without an input"))?;
            return self.within_loop(input, work, name);
        }
        check(&node, work, name)?;
        let inputs = std::mem::take(&mut node.inputs);
        for input in inputs {
            node.inputs.push(self.within_loop(input, work, name)?);
        }
        node.properties.distribution = Distribution::Single;
        Ok(node)
    }

    /// The rows of a tree of other fragments, in one actor.
    fn at_one(&mut self, mut node: Node) -> Node {
        match &mut node.operator {
            Operator::Exchange { distribution } => {
                *distribution = Distribution::Single;
                node.properties.distribution = Distribution::Single;
                node
            }
            _ => self.exchange(node, Distribution::Single),
        }
    }
}

/// The rows that a recursive query gives, and gives back to itself.
fn rows(schema: &DFSchema, distinct: bool) -> (arrow::datatypes::SchemaRef, Properties) {
    let visible = schema.fields().len();
    let shown = schema.fields().iter().map(|f| plain(&f.as_ref().clone().with_nullable(true)));
    let (name, data_type) = Recursive::COPY;
    let copy = (!distinct).then(|| Arc::new(Field::new(name, data_type, false)));
    let properties = Properties {
        stream_key: (0..visible + usize::from(!distinct)).collect(),
        distribution: Distribution::Single,
        append_only: false,
        watermark_columns: Vec::new(),
    };
    (schema_of(shown.chain(copy)), properties)
}

fn references(node: &Node, work: TableId) -> usize {
    let mut found = 0;
    node.visit(&mut |n| found += usize::from(matches!(n.operator, Operator::WorkTable { of } if of == work)));
    found
}

/// Whether the operator takes each row of the work table by itself.
fn check(node: &Node, work: TableId, name: &str) -> Result<()> {
    let from_left = node.inputs.first().is_some_and(|left| references(left, work) > 0);
    let within = |what: &str| invalid(format!("recursive reference to query \"{name}\" must not appear within {what}"));
    match &node.operator {
        Operator::WorkTable { .. }
        | Operator::Filter { .. }
        | Operator::Project { .. }
        | Operator::Unnest { .. }
        | Operator::TimeWindows { .. }
        | Operator::Union => Ok(()),
        Operator::HashJoin(join) => match (join.kind, from_left) {
            (JoinKind::Inner, _) | (JoinKind::Right, false) => Ok(()),
            (JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark, true) => Ok(()),
            (JoinKind::Left | JoinKind::Right | JoinKind::Full, _) => {
                Err(within("an outer join").with_hint("let the reference be the side of which all rows stay"))
            }
            (JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark, false) => {
                Err(within("a subquery").with_hint("join with it"))
            }
        },
        Operator::HashAgg(_) => {
            Err(invalid("aggregate functions are not allowed in a recursive query's recursive term")
                .with_hint("aggregate in the query that reads the recursive one"))
        }
        other => Err(Error::not_supported(format!(
            "{} of a recursive query's own rows is not supported in streaming jobs",
            other.name()
        ))
        .with_hint(
            "leave joins, filters and computed columns in the recursive term, the rest in the query that reads it",
        )),
    }
}

fn check_types(name: &str, schema: &DFSchema) -> Result<()> {
    match schema.fields().iter().find(|f| !key::is_encodable(f.data_type())) {
        None => Ok(()),
        Some(field) => Err(Error::not_supported(format!(
            "column \"{}\" of recursive query \"{name}\" has the type {}, by which rows cannot be told apart",
            field.name(),
            field.data_type()
        ))
        .with_hint("cast it to VARCHAR")),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRecursion, message)
}
