//! Unnest: lists in columns become rows, told apart by their place in the list.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::NullHandling;
use datafusion::logical_expr;

use super::{Lowered, Lowerer, plain, schema_of};
use crate::common::{Error, Result};
use crate::plan::{Distribution, Operator, Properties, UnnestColumn};

/// The hidden column that numbers the rows of one list.
const ORDINAL: &str = "_ordinal";

impl Lowerer<'_> {
    pub(super) fn unnest(&mut self, unnest: &logical_expr::Unnest) -> Result<Lowered> {
        let input = self.lower(&unnest.input)?;
        let mut columns = made(unnest)?;
        let visible = columns.len();
        let mut fields: Vec<_> =
            unnest.schema.fields().iter().map(|f| plain(&f.as_ref().clone().with_nullable(true))).collect();
        for (field, column) in fields.iter_mut().zip(&columns) {
            if let UnnestColumn::Same(at) = column {
                *field = Arc::new(field.as_ref().clone().with_nullable(input.schema().field(*at).is_nullable()));
            }
        }
        for key in &input.properties().stream_key {
            if !columns.contains(&UnnestColumn::Same(*key)) {
                let field = input.schema().field(*key);
                let mut name = field.name().clone();
                while fields.iter().any(|f| *f.name() == name) {
                    name.insert(0, '_');
                }
                fields.push(plain(&field.clone().with_name(name)));
                columns.push(UnnestColumn::Same(*key));
            }
        }
        let position = |column: &usize| columns.iter().position(|c| *c == UnnestColumn::Same(*column));
        let before = input.properties();
        let ordinal = columns.len();
        let mut name = ORDINAL.to_string();
        while fields.iter().any(|f| *f.name() == name) {
            name.insert(0, '_');
        }
        fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
        let properties = Properties {
            stream_key: before.stream_key.iter().filter_map(position).chain([ordinal]).collect(),
            distribution: match &before.distribution {
                Distribution::Hash(by) => {
                    by.iter().map(position).collect::<Option<_>>().map_or(Distribution::Any, Distribution::Hash)
                }
                other => other.clone(),
            },
            append_only: before.append_only,
            watermark_columns: before.watermark_columns.iter().filter_map(position).collect(),
        };
        let keep_empty = unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty;
        let operator = Operator::Unnest { columns, keep_empty };
        Ok(Lowered { node: self.node(operator, vec![input.node], schema_of(fields), properties), visible })
    }
}

/// What each output column is made of.
fn made(unnest: &logical_expr::Unnest) -> Result<Vec<UnnestColumn>> {
    let too_deep = || {
        Error::not_supported("an array of arrays cannot be unnested at once in a streaming job")
            .with_hint("unnest it in a subquery, and the arrays that come out around it")
    };
    let mut columns: Vec<UnnestColumn> = Vec::with_capacity(unnest.dependency_indices.len());
    let mut last = None;
    let mut field = 0;
    for at in &unnest.dependency_indices {
        field = if last == Some(*at) { field + 1 } else { 0 };
        last = Some(*at);
        let mut lists = unnest.list_type_columns.iter().filter(|(list, _)| list == at);
        columns.push(match lists.next() {
            Some((_, list)) if list.depth == 1 && lists.next().is_none() => UnnestColumn::Element(*at),
            Some(_) => return Err(too_deep()),
            None if unnest.struct_type_columns.contains(at) => UnnestColumn::Field(*at, field),
            None => UnnestColumn::Same(*at),
        });
    }
    Ok(columns)
}
