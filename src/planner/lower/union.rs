//! UNION ALL: branches brought to one schema, their keys told apart by the branch's number.
//!
//! The hidden columns are slots of the types that the branches' keys need: a branch fills its own and leaves the
//! others null.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::Union;
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::project::Columns;
use super::{Lowered, Lowerer, plain};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Expr, Node, Operator, Properties};

/// The hidden column that numbers the branches of a union.
const BRANCH: &str = "_branch";

impl Lowerer<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Result<Lowered> {
        let inputs = union.inputs.iter().map(|input| self.lower(input)).collect::<Result<Vec<_>>>()?;
        let slots = slots(&inputs);
        let visible = union.schema.fields().len();
        let mut branches = Vec::with_capacity(inputs.len());
        for (number, input) in inputs.into_iter().enumerate() {
            branches.push(self.branch(input, number, &union.schema.as_arrow().fields, &slots)?);
        }
        let branches = self.side_by_side(branches);
        let Some(first) = branches.first() else { return Err(Error::internal("a union without inputs")) };
        let everywhere = |c: &usize| branches.iter().all(|b| b.properties.watermark_columns.contains(c));
        let properties = Properties {
            stream_key: (visible..=visible + slots.len()).collect(),
            distribution: match first.properties.distribution {
                Distribution::Single => Distribution::Single,
                _ => Distribution::Any,
            },
            append_only: branches.iter().all(|b| b.properties.append_only),
            watermark_columns: first.properties.watermark_columns.iter().copied().filter(everywhere).collect(),
        };
        let schema = Arc::clone(&first.schema);
        Ok(Lowered { node: self.node(Operator::Union, branches, schema, properties), visible })
    }

    /// Projects a branch to the union's columns, its number, and the slots.
    fn branch(&mut self, input: Lowered, number: usize, fields: &[Arc<Field>], slots: &[DataType]) -> Result<Node> {
        let schema = Arc::clone(input.schema());
        let literal = |value: ScalarValue| Expr::new(Arc::new(Literal::new(value)), Arc::clone(&schema));
        let mut columns = Columns::new();
        for (i, field) in fields.iter().enumerate() {
            let watermark = input.properties().watermark_columns.contains(&i).then_some(i);
            columns.push(Expr::column(i, Arc::clone(&schema)), plain(field), watermark);
        }
        let hidden =
            |name: String, data_type: &DataType, nullable| Arc::new(Field::new(name, data_type.clone(), nullable));
        let id = ScalarValue::Int64(Some(number as i64));
        columns.push(literal(id), hidden(BRANCH.into(), &DataType::Int64, false), None);
        let mut keys: Vec<usize> = input.properties().stream_key.clone();
        for (i, slot) in slots.iter().enumerate() {
            let field = hidden(format!("{BRANCH}_key_{i}"), slot, true);
            match keys.iter().position(|k| schema.field(*k).data_type() == slot) {
                Some(at) => columns.push(Expr::column(keys.remove(at), Arc::clone(&schema)), field, None),
                None => columns.push(literal(ScalarValue::try_from(slot)?), field, None),
            }
        }
        let visible = fields.len();
        let mut lowered = self.project(input, columns, visible);
        lowered.node.properties.stream_key = (visible..=visible + slots.len()).collect();
        Ok(lowered.node)
    }

    /// Branches of one fragment: all of one actor, or all of many. A single one among many is spread by its key.
    fn side_by_side(&mut self, branches: Vec<Node>) -> Vec<Node> {
        let single = |b: &Node| b.properties.distribution == Distribution::Single;
        if branches.iter().all(single) {
            return branches;
        }
        let spread = |b: Node| match single(&b) {
            true => {
                let key = Distribution::Hash(b.properties.stream_key.clone());
                self.exchange(b, key)
            }
            false => b,
        };
        branches.into_iter().map(spread).collect()
    }
}

/// The types that hold any branch's key: of each type as many as the branch that needs most.
fn slots(inputs: &[Lowered]) -> Vec<DataType> {
    let mut slots: Vec<DataType> = Vec::new();
    for input in inputs {
        let mut free: Vec<DataType> = slots.clone();
        for key in &input.properties().stream_key {
            let needed = input.schema().field(*key).data_type();
            match free.iter().position(|t| t == needed) {
                Some(at) => drop(free.swap_remove(at)),
                None => slots.push(needed.clone()),
            }
        }
    }
    slots
}
