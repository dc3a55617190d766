//! COPY FROM STDIN: bytes of the client to rows in the table's log, read on a thread of its own, piece by piece.
//!
//! ```text
//! wire --few messages--> thread: CopyReader --pieces--> EntryWriter --fsync--> one entry of the log --> acknowledged
//! ```
//! A COPY of one piece is one entry, like an INSERT. Nothing of a COPY that fails is in the log. What is held is a few
//! messages and a piece; other writers are not kept waiting.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema};
use bytes::Bytes;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::projection::ProjectionExec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::SessionClient;
use super::dml::{self, Written};
use super::entry::{Entry, EntryWriter};
use super::services::Services;
use crate::batch::{Client, Purpose};
use crate::catalog::{Column, Privilege, Table};
use crate::common::{Error, ErrorKind, Result};
use crate::connector::format::copy::{CopyReader, Piece};
use crate::connector::table_log;
use crate::sql;
use crate::types::JobId;
use crate::types::copy::CopyOptions;

/// Messages of the client that may wait for the thread.
const MESSAGES_AHEAD: usize = 16;

/// A COPY that takes data.
pub struct CopyIn {
    /// Of a line.
    pub columns: Vec<FieldRef>,
    table: JobId,
    data: mpsc::Sender<Message>,
    thread: JoinHandle<Result<Loaded>>,
}

enum Message {
    Data(Bytes),
    /// Without it what was sent is forgotten.
    Done,
}

/// What a COPY did.
pub struct Copied {
    pub rows: u64,
    /// Lines that were left out.
    pub ignored: u64,
    /// `None` when there was nothing.
    pub written: Option<Written>,
}

/// Rows that are ready to be made visible.
struct Loaded {
    rows: u64,
    ignored: u64,
    entry: Entry,
}

/// Checks the table, its columns and the options, and waits for data.
pub async fn start(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    name: &str,
    columns: &[String],
    options: &CopyOptions,
) -> Result<CopyIn> {
    let snapshot = services.snapshot(client);
    let object = snapshot.find(name)?.clone();
    snapshot.check(&client.user(), Privilege::Insert, &object)?;
    let table = dml::writable(&object)?;
    let listed = listed(table, name, columns)?;
    let field = |index: usize| {
        let column = &table.columns[index];
        let nullable = column.nullable && !table.primary_key.contains(&index);
        Arc::new(column.field().with_nullable(nullable))
    };
    let fields: Vec<FieldRef> = listed.iter().map(|index| field(*index)).collect();
    let zone = client.setting("timezone").unwrap_or_else(|| "UTC".into());
    let reader = CopyReader::new(name, fields.clone(), options, &zone, client.styles())?;
    let others = defaults(services, client, table, name, &listed).await?;
    let log = services.logs.get(object.id)?;
    let (data, messages) = mpsc::channel(MESSAGES_AHEAD);
    let columns = table.columns.clone();
    let loader = Loader { reader, others, columns, entry: EntryWriter::new(log), rows: 0, ignored: 0 };
    let thread = tokio::task::spawn_blocking(move || loader.run(messages));
    Ok(CopyIn { columns: fields, table: object.id, data, thread })
}

/// The columns of the lines, as indices.
fn listed(table: &Table, name: &str, columns: &[String]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..table.columns.len()).filter(|i| !table.columns[*i].hidden).collect());
    }
    let mut listed = Vec::with_capacity(columns.len());
    for column in columns {
        let found = table.columns.iter().position(|c| c.name == *column && !c.hidden).ok_or_else(|| {
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedColumn, message)
        })?;
        if listed.contains(&found) {
            let message = format!("column \"{column}\" specified more than once");
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
        listed.push(found);
    }
    Ok(listed)
}

/// What gives the values of the columns that the lines have not and that have a default.
async fn defaults(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    table: &Table,
    name: &str,
    listed: &[usize],
) -> Result<Vec<(Arc<Field>, Arc<dyn PhysicalExpr>)>> {
    let mut values = Vec::new();
    for (index, column) in table.columns.iter().enumerate() {
        if column.hidden || listed.contains(&index) {
            continue;
        }
        let Some(default) = &column.default else {
            if !column.nullable || table.primary_key.contains(&index) {
                let column = &column.name;
                let message =
                    format!("null value in column \"{column}\" of relation \"{name}\" violates not-null constraint");
                return Err(Error::new(ErrorKind::NotNullViolation, message).with_hint("name the column in COPY"));
            }
            continue;
        };
        let field = Arc::new(column.field().with_nullable(true));
        values.push((field, default_expression(services, client, default).await?));
    }
    Ok(values)
}

/// A default's text as what computes it, with the times that it asks for as they are now.
async fn default_expression(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    text: &str,
) -> Result<Arc<dyn PhysicalExpr>> {
    let (snapshot, epoch, _pin) = services.pin(client)?;
    let context = services.batch.context(snapshot, epoch, Purpose::Read, client.clone())?;
    let physical = context.physical(context.plan(&*sql::parse_query(&format!("SELECT {text}"))?).await?).await?;
    let projection = physical.downcast_ref::<ProjectionExec>().and_then(|p| p.expr().first());
    projection.map(|computed| computed.expr.clone()).ok_or_else(|| {
        Error::not_supported(format!("COPY cannot compute the default {text}")).with_hint("name the column in COPY")
    })
}

/// As many values of a default, of the field's type.
fn defaulted(expression: &dyn PhysicalExpr, field: &Field, rows: usize) -> Result<ArrayRef> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    dml::cast_to(&expression.evaluate(&nothing)?.into_array(rows)?, field)
}

/// The one value of a default's text, as it is now.
///
/// # Errors
/// `NotSupported` for one that each row has another of.
pub async fn default_value(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    text: &str,
    field: &Field,
) -> Result<ArrayRef> {
    let expression = default_expression(services, client, text).await?;
    if is_volatile(&expression) {
        let message = format!("the rows that are there cannot each take a value of {text}");
        return Err(Error::not_supported(message).with_hint("add the column without it, then UPDATE the rows"));
    }
    defaulted(expression.as_ref(), field, 1)
}

/// Whether INSERT can take it: a value of the column's type, or one that each row has another of.
///
/// # Errors
/// Of the expression.
pub async fn check_default(
    services: &Arc<Services>,
    client: &Arc<SessionClient>,
    text: &str,
    field: &Field,
) -> Result<()> {
    let expression = default_expression(services, client, text).await?;
    if is_volatile(&expression) { Ok(()) } else { defaulted(expression.as_ref(), field, 1).map(|_| ()) }
}

impl CopyIn {
    /// Hands bytes on; waits while the thread is behind.
    ///
    /// # Errors
    /// Of a bad line that was sent before.
    pub async fn data(&mut self, bytes: Bytes) -> Result<()> {
        match self.data.send(Message::Data(bytes)).await {
            Ok(()) => Ok(()),
            // The thread has ended, so it says why.
            Err(_) => {
                joined((&mut self.thread).await)?;
                Err(Error::internal("a COPY ended before its data"))
            }
        }
    }

    /// All data was sent: makes the rows durable.
    pub async fn finish(self, services: &Arc<Services>) -> Result<Copied> {
        // If the thread has ended, its error tells.
        let _ = self.data.send(Message::Done).await;
        let Loaded { rows, ignored, entry } = joined(self.thread.await)?;
        let shared = services.table_lock(self.table).read_owned().await;
        let written = entry.append(services, self.table, shared).await?;
        Ok(Copied { rows, ignored, written })
    }
}

fn joined<T>(joined: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    joined.map_err(|e| Error::internal(format!("a COPY was lost: {e}")))?
}

/// The thread's half.
struct Loader {
    reader: CopyReader,
    /// Values of the columns that the lines have not.
    others: Vec<(Arc<Field>, Arc<dyn PhysicalExpr>)>,
    /// The table's.
    columns: Vec<Column>,
    entry: EntryWriter,
    rows: u64,
    ignored: u64,
}

impl Loader {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<Loaded> {
        loop {
            match messages.blocking_recv() {
                Some(Message::Data(bytes)) => {
                    if let Some(piece) = self.reader.push(&bytes)? {
                        self.take(piece)?;
                    }
                }
                Some(Message::Done) => break,
                None => return Err(Error::new(ErrorKind::QueryCanceled, "COPY from stdin was given up")),
            }
        }
        let piece = self.reader.finish()?;
        self.take(piece)?;
        Ok(Loaded { rows: self.rows, ignored: self.ignored, entry: self.entry.finish()? })
    }

    fn take(&mut self, piece: Piece) -> Result<()> {
        let rows = self.complete(piece.rows)?;
        let (count, ignored) = (rows.num_rows(), piece.bad.len());
        if count + ignored == 0 {
            return Ok(());
        }
        let mut payload = Vec::new();
        if count > 0 {
            payload.push(table_log::encode(&dml::as_stored(&rows, &self.columns)?, None)?);
        }
        if ignored > 0 {
            payload.push(table_log::encode_letters(&piece.bad)?);
        }
        let payload = match payload.len() {
            1 => payload.swap_remove(0),
            _ => payload.concat().into(),
        };
        self.rows += count as u64;
        self.ignored += ignored as u64;
        self.entry.push((count + ignored) as u32, payload)
    }

    /// The lines' columns and those that have defaults.
    fn complete(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.others.is_empty() {
            return Ok(rows);
        }
        let mut fields = rows.schema().fields().to_vec();
        let mut columns = rows.columns().to_vec();
        for (field, expression) in &self.others {
            fields.push(field.clone());
            columns.push(defaulted(expression.as_ref(), field, rows.num_rows())?);
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
