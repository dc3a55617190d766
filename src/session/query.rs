//! SELECT: one epoch of everything, planned here, run on the compute runtime, streamed with back-pressure.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::services::Services;
use crate::batch::Purpose;
use crate::common::{Error, ErrorKind, Result};
use crate::sql::ast;

/// Batches that may wait for a slow client.
const BATCHES_AHEAD: usize = 4;

/// Plans and starts a query. Cancelling the token ends it with 57014.
pub async fn run(
    services: &Arc<Services>,
    query: &ast::Query,
    parameters: &[ScalarValue],
    cancel: CancellationToken,
) -> Result<SendableRecordBatchStream> {
    let (snapshot, epoch, pin) = services.pin()?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read)?;
    let plan = with_parameters(context.plan(query).await?, parameters)?;
    let physical = context.physical(plan).await?;
    drop(pin);
    let schema = physical.schema();
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    services.compute.spawn(async move {
        let mut rows = match context.execute(physical) {
            Ok(rows) => rows,
            Err(e) => {
                let _ = sender.send(Err(e)).await;
                return;
            }
        };
        loop {
            let next = tokio::select! {
                // The client is gone, or has asked to stop.
                _ = sender.closed() => return,
                _ = cancel.cancelled() => Some(Err(canceled())),
                next = rows.next() => next.map(|r| r.map_err(Error::from)),
            };
            let Some(next) = next else { return };
            let last = next.is_err();
            if sender.send(next).await.is_err() || last {
                return;
            }
        }
    });
    Ok(stream_of(schema, receiver))
}

/// The text of a plan, as EXPLAIN prints it.
pub async fn explain(services: &Arc<Services>, query: &ast::Query) -> Result<Vec<String>> {
    let (snapshot, epoch, _pin) = services.pin()?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read)?;
    let plan = context.plan(query).await?;
    let physical = context.physical(plan).await?;
    let text = datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string();
    Ok(text.lines().map(str::to_string).collect())
}

pub fn with_parameters(plan: LogicalPlan, parameters: &[ScalarValue]) -> Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    Ok(plan.with_param_values(parameters.to_vec())?)
}

pub fn canceled() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
}

fn stream_of(
    schema: SchemaRef,
    receiver: mpsc::Receiver<Result<arrow::array::RecordBatch>>,
) -> SendableRecordBatchStream {
    let rows = stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next.map_err(Into::into), receiver))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
