//! PREPARE and EXECUTE in SQL. The wire keeps the statements of its own messages itself.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::{Prepared, Response, Session, Statement};
use crate::batch::Purpose;
use crate::common::{Error, ErrorKind, Result};
use crate::sql::ast::{Expr, SelectItem};
use crate::sql::{self, parse_query};

impl Session {
    /// Keeps `inner` under `name`; `text` is the whole statement's.
    pub(super) async fn prepare_text(
        &mut self,
        name: &str,
        types: &[DataType],
        inner: &sql::Statement,
        text: &str,
    ) -> Result<Response> {
        if self.prepared.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(ErrorKind::DuplicatePreparedStatement, message)
                .with_hint(format!("DEALLOCATE {name} first, or take another name")));
        }
        let statement =
            Statement { text: text.to_string(), parsed: Some(inner.clone().into()), lookup: Default::default() };
        let declared: Vec<_> = types.iter().cloned().map(Some).collect();
        let prepared = Box::pin(self.prepare(statement, &declared)).await?;
        self.prepared.insert(name.to_string(), prepared);
        Ok(Response::Done("PREPARE".into()))
    }

    pub(super) fn prepared(&self, name: &str) -> Result<&Prepared> {
        self.prepared.get(name).ok_or_else(|| {
            let message = format!("prepared statement \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedPreparedStatement, message)
        })
    }

    /// The statement that EXECUTE names, and its arguments as the parameters' types.
    pub(super) async fn bind_text(&self, name: &str, arguments: &[Expr]) -> Result<(Statement, Vec<ScalarValue>)> {
        let prepared = self.prepared(name)?;
        let expected = prepared.parameters.len();
        if arguments.len() != expected {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(Error::new(ErrorKind::Syntax, message)
                .with_detail(format!("Expected {expected} parameters but got {}.", arguments.len())));
        }
        let values = self.evaluate(arguments).await?;
        let values = values.iter().zip(&prepared.parameters).map(|(value, to)| Ok(value.cast_to(to.data_type())?));
        Ok((prepared.statement.clone(), values.collect::<Result<_>>()?))
    }

    /// The values of expressions that read nothing.
    async fn evaluate(&self, expressions: &[Expr]) -> Result<Vec<ScalarValue>> {
        if expressions.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = parse_query("SELECT 1")?;
        if let sql::ast::SetExpr::Select(select) = query.body.as_mut() {
            select.projection = expressions.iter().cloned().map(SelectItem::UnnamedExpr).collect();
        }
        let (snapshot, epoch, pin) = self.services.pin(&self.client)?;
        let context = self.services.batch.context(snapshot, epoch, Purpose::Read, self.client.clone())?;
        let physical = context.physical(context.plan(&query).await?).await?;
        drop(pin);
        let batches: Vec<RecordBatch> = context.execute(physical)?.try_collect().await?;
        let row = batches.iter().find(|b| b.num_rows() > 0).ok_or_else(|| Error::internal("no row of arguments"))?;
        row.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
    }
}
