//! SELECT: one epoch of everything, planned here, run on the compute runtime, streamed with back-pressure.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::SessionClient;
use super::services::Services;
use crate::batch::zone::Zone;
use crate::batch::{Client, LookupCache, Purpose, Sought};
use crate::common::{Error, ErrorKind, Result, clock};
use crate::sql::{ast, names};

/// Batches that may wait for a slow client.
const BATCHES_AHEAD: usize = 4;

/// What ends a statement before its end, with 57014.
#[derive(Clone)]
pub struct Limits {
    pub cancel: CancellationToken,
    /// By `statement_timeout`.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Waits for the first of them, for ever if there is none.
    pub async fn reached(&self) -> Error {
        tokio::select! {
            () = self.cancel.cancelled() => {
                Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")
            }
            () = expired(self.deadline) => {
                Error::new(ErrorKind::QueryCanceled, "canceling statement due to statement timeout")
                    .with_hint("SET statement_timeout = 0 lets statements take their time")
            }
        }
    }
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Plans and starts a query, which `limits` may end early.
pub async fn run(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    query: &ast::Query,
    parameters: &[ScalarValue],
    limits: Limits,
) -> Result<SendableRecordBatchStream> {
    let (snapshot, epoch, pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let plan = with_parameters(context.plan(query).await?, parameters)?;
    let physical = context.physical(plan).await?;
    drop(pin);
    let schema = shown(&physical.schema());
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
                e = limits.reached() => Some(Err(e)),
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

/// Answers a query that reads by a key, without a plan; `None` for every other. What is in memory is read here: it takes
/// less time than to hand it over.
pub async fn look_up(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    query: &ast::Query,
    cache: &LookupCache,
    parameters: &[ScalarValue],
) -> Result<Option<SendableRecordBatchStream>> {
    let (snapshot, epoch, pin) = services.pin(client)?;
    let zone = Zone::new(client.setting("TimeZone"));
    let Some(lookup) = cache.lookup(&services.batch, query, &snapshot, client.user(), zone) else { return Ok(None) };
    let rows = match lookup.sought(parameters)? {
        None => return Ok(None),
        Some(Sought::Nothing) => Vec::new(),
        Some(Sought::At(reach)) if lookup.is_near(&reach) => lookup.read(epoch, &reach)?,
        Some(Sought::At(reach)) => {
            let lookup = lookup.clone();
            let read = tokio::task::spawn_blocking(move || {
                let rows = lookup.read(epoch, &reach);
                drop(pin);
                rows
            });
            read.await.map_err(|e| Error::internal(format!("a lookup ended: {e}")))??
        }
    };
    let rows = stream::iter(rows.into_iter().map(Ok));
    Ok(Some(Box::pin(RecordBatchStreamAdapter::new(lookup.schema().clone(), rows))))
}

/// The text of a plan, as EXPLAIN prints it; with ANALYZE, after a run of the query, with what each part did.
pub async fn explain(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    query: &ast::Query,
    analyze: bool,
) -> Result<Vec<String>> {
    let (snapshot, epoch, pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let plan = context.plan(query).await?;
    let physical = context.physical(plan).await?;
    drop(pin);
    if !analyze {
        return Ok(lines(&displayable(physical.as_ref())));
    }
    let start = clock::instant();
    let mut rows = context.execute(physical.clone())?;
    let run = async move {
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch?.num_rows();
        }
        Ok::<_, Error>(count)
    };
    // Dropped with the statement, it stops the query.
    let mut tasks = JoinSet::new();
    tasks.spawn_on(run, &services.compute);
    let joined = tasks.join_next().await.ok_or_else(|| Error::internal("the query was lost"))?;
    let count = joined.map_err(|e| Error::internal(format!("the query ended: {e}")))??;
    let mut text = lines(&DisplayableExecutionPlan::with_metrics(physical.as_ref()));
    text.push(format!("Rows: {count}"));
    text.push(format!("Execution Time: {:.3} ms", start.elapsed().as_secs_f64() * 1000.0));
    Ok(text)
}

fn lines(plan: &DisplayableExecutionPlan) -> Vec<String> {
    names::unmarked(&plan.indent(false).to_string()).lines().map(str::to_string).collect()
}

pub fn with_parameters(plan: LogicalPlan, parameters: &[ScalarValue]) -> Result<LogicalPlan> {
    if parameters.is_empty() {
        return Ok(plan);
    }
    Ok(plan.with_param_values(parameters.to_vec())?)
}

/// The columns under the names that clients see; two may have the same.
pub fn shown(schema: &Schema) -> SchemaRef {
    // DataFusion's word on nulls is not always kept.
    let field = |f: &FieldRef| f.as_ref().clone().with_name(names::shown(f.name())).with_nullable(true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

pub fn rename(batch: RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

fn stream_of(schema: SchemaRef, receiver: mpsc::Receiver<Result<RecordBatch>>) -> SendableRecordBatchStream {
    let rows = stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    });
    let named = schema.clone();
    let rows = rows.map(move |next| rename(next?, &named));
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
