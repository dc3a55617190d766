//! SUBSCRIBE: the rows of a table or view, then what each commit changes in it, with epoch and weight.
//!
//! ```text
//! follow --> Frozen (rows at the last commit) --> change log, piece after piece --> caught up: wait for a commit
//! ```
//!
//! Only what is on disk is shown, so that whoever goes on from an epoch that it has seen misses and doubles nothing. One
//! piece is held at a time; who is slow loses its place in the log and is told, and nobody waits for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::sync::watch;

use super::client::SessionClient;
use super::query::Limits;
use super::services::Services;
use crate::batch::Client;
use crate::batch::zone::{Zone, retype};
use crate::catalog::{Object, Privilege, Snapshot};
use crate::checkpoint::Progress;
use crate::common::{Error, ErrorKind, Result};
use crate::sql::statement::Subscribe;
use crate::state::StateStore;
use crate::state::change_log::{Frozen, Next, Position};
use crate::types::{Epoch, TableId};

/// A running subscription.
pub struct Subscription {
    store: Arc<StateStore>,
    table: TableId,
    progress: watch::Receiver<Progress>,
    schema: SchemaRef,
    /// Which columns of the stored rows are shown.
    shown: Vec<usize>,
    /// The table's own columns as the client sees them.
    rows: SchemaRef,
    /// Until its rows are read.
    snapshot: Option<Frozen>,
    position: Position,
    /// Whether and up to which epoch it was said to be complete.
    told: Option<Epoch>,
}

/// The columns of the result.
pub fn schema(catalog: &Snapshot, client: &SessionClient, subscribe: &Subscribe) -> Result<SchemaRef> {
    let (_, _, rows) = target(catalog, client, &subscribe.name)?;
    Ok(with_epoch(&rows, subscribe.progress))
}

/// Starts at the last commit, which has all that is complete now, or goes on from an epoch.
pub async fn start(services: &Services, client: &SessionClient, subscribe: &Subscribe) -> Result<Subscription> {
    let (object, shown, rows) = target(&services.snapshot(client), client, &subscribe.name)?;
    let (id, _) = object.definition.rows().ok_or_else(|| Error::internal("no rows to subscribe to"))?;
    let progress = services.driver.watch();
    if subscribe.since.is_none() {
        services.driver.commit().await?;
    }
    let store = services.store.clone();
    let (since, wanted) = (subscribe.since, subscribe.snapshot);
    let opened = tokio::task::spawn_blocking(move || {
        let table = store.table(id, object.stored_schema())?;
        store.follow(&table, since.map(Epoch))
    });
    let (frozen, position) = opened.await.map_err(ended)??;
    let told = subscribe.progress.then(|| Epoch(since.unwrap_or_default()));
    Ok(Subscription {
        store: services.store.clone(),
        table: id,
        progress,
        schema: with_epoch(&rows, subscribe.progress),
        shown,
        rows,
        snapshot: wanted.then_some(frozen),
        position,
        told,
    })
}

impl Subscription {
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows; `None` when all that is on disk was given. Not to be used again after this was dropped half way.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        // What is on disk from now on wakes `changed`.
        self.progress.borrow_and_update();
        if let Some(mut frozen) = self.snapshot.take() {
            let epoch = frozen.epoch();
            let store = self.store.clone();
            let step = tokio::task::spawn_blocking(move || store.next_rows(&mut frozen).map(|rows| (frozen, rows)));
            let (frozen, batches) = step.await.map_err(ended)??;
            if !batches.is_empty() {
                self.snapshot = Some(frozen);
                let batches = batches.iter().map(|rows| {
                    let weights = Int64Array::from(vec![1; rows.num_rows()]);
                    self.batch(epoch, Arc::new(weights), rows)
                });
                let batches = batches.collect::<Result<Vec<_>>>()?;
                return Ok(Some(arrow::compute::concat_batches(&self.schema, &batches)?));
            }
        }
        let (store, table, mut position) = (self.store.clone(), self.table, self.position.clone());
        let read = tokio::task::spawn_blocking(move || store.next_changes(table, &mut position).map(|n| (n, position)));
        let (next, position) = read.await.map_err(ended)??;
        self.position = position;
        match next {
            Next::Changes(changes) => self.batch(changes.epoch, Arc::new(changes.weights), &changes.rows).map(Some),
            Next::UpTo(epoch) if self.told.is_some_and(|told| told < epoch) => {
                self.told = Some(epoch);
                self.complete(epoch).map(Some)
            }
            Next::UpTo(_) => Ok(None),
        }
    }

    /// Waits until there may be more.
    pub async fn changed(&mut self) -> Result<()> {
        let stopped = |_| Error::new(ErrorKind::AdminShutdown, "the database is shutting down");
        self.progress.changed().await.map_err(stopped)
    }

    /// Goes on until the client goes or `limits` end it.
    pub fn stream(self, limits: Limits) -> SendableRecordBatchStream {
        let schema = self.schema();
        let rows = futures::stream::try_unfold(self, move |mut subscription| {
            let limits = limits.clone();
            async move {
                loop {
                    if let Some(batch) = subscription.next().await? {
                        return Ok(Some((batch, subscription)));
                    }
                    tokio::select! {
                        changed = subscription.changed() => changed?,
                        e = limits.reached() => return Err(DataFusionError::from(e)),
                    }
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    fn batch(&self, epoch: Epoch, weights: ArrayRef, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![epoch.0 as i64; count])), weights];
        if self.told.is_some() {
            columns.push(Arc::new(BooleanArray::from(vec![false; count])));
        }
        columns.extend(retype(&rows.project(&self.shown)?, &self.rows)?.columns().iter().cloned());
        self.made(columns, count)
    }

    /// The row that says that an epoch is complete.
    fn complete(&self, epoch: Epoch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![epoch.0 as i64])),
            Arc::new(Int64Array::new_null(1)),
            Arc::new(BooleanArray::from(vec![true])),
        ];
        columns.extend(self.rows.fields().iter().map(|f| new_null_array(f.data_type(), 1)));
        self.made(columns, 1)
    }

    fn made(&self, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn ended(e: tokio::task::JoinError) -> Error {
    Error::internal(format!("reading a subscription ended: {e}"))
}

/// What is subscribed to, and its visible columns: by index, and as they are shown.
fn target(catalog: &Snapshot, client: &SessionClient, name: &str) -> Result<(Arc<Object>, Vec<usize>, SchemaRef)> {
    let object = catalog.find(name)?;
    catalog.check(&client.user(), Privilege::Select, object)?;
    if object.definition.rows().is_none() {
        let message = format!("\"{name}\" is a {}: it keeps no rows", object.definition.kind());
        return Err(Error::new(ErrorKind::WrongObjectType, message)
            .with_hint("subscribe to a table or a materialized view; CREATE MATERIALIZED VIEW … AS SELECT * FROM it"));
    }
    let all = object.definition.columns().iter().enumerate();
    let (shown, visible): (Vec<usize>, Vec<_>) = all.filter(|(_, c)| !c.hidden).map(|(i, c)| (i, c.clone())).unzip();
    let zone = Zone::new(client.setting("TimeZone"));
    Ok((object.clone(), shown, zone.schema(&nullable(&crate::catalog::def::schema(&visible)))))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_epoch(rows: &SchemaRef, progress: bool) -> SchemaRef {
    let mut fields = vec![
        Arc::new(Field::new("weir_epoch", DataType::Int64, true)),
        Arc::new(Field::new("weir_weight", DataType::Int64, true)),
    ];
    if progress {
        fields.push(Arc::new(Field::new("weir_progressed", DataType::Boolean, true)));
    }
    fields.extend(rows.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}
