//! The changelog of a table, a view or a source: it is of all columns, whichever the query reads, since a change of any
//! is one.

use std::sync::Arc;

use arrow::datatypes::Field;

use super::project::Columns;
use super::{Lowered, Lowerer, schema_of};
use crate::common::Result;
use crate::plan::{Changelog, Distribution, Operator, Properties};

impl Lowerer<'_> {
    /// `projection` is of the visible columns and those of [`Changelog`] behind them; all of them where it is none.
    pub(super) fn changelog(&mut self, input: Lowered, projection: Option<&[usize]>) -> Result<Lowered> {
        let Lowered { node: input, visible } = input;
        let own = Changelog::COLUMNS.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
        let schema = schema_of(input.schema.fields().iter().take(visible).cloned().chain(own));
        let append_only = input.properties.append_only;
        let watermarks = input.properties.watermark_columns.iter().copied();
        let properties = Properties {
            stream_key: vec![visible + 1],
            distribution: Distribution::Any,
            append_only: true,
            watermark_columns: watermarks.filter(|column| append_only && *column < visible).collect(),
        };
        let key = input.properties.stream_key.clone();
        let operator = Operator::Changelog(Changelog { visible, key, append_only, state: self.table_id() });
        let changes = Lowered { node: self.node(operator, vec![input], schema, properties), visible: visible + 2 };
        let Some(projection) = projection else { return Ok(changes) };
        let mut columns = Columns::new();
        for column in projection {
            columns.push_same(&changes, *column);
        }
        let width = columns.len();
        columns.keep_key(&changes);
        Ok(self.project(changes, columns, width))
    }
}
