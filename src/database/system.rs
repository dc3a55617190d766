//! The rows of `weir.*`, gathered from the running parts when they are asked for.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};

use super::watermarks::{self, WatermarkRow};
use crate::batch::system::Rows;
use crate::batch::{SystemTable, SystemTables};
use crate::catalog::{Definition, Secret};
use crate::common::{Error, ErrorKind, Result};
use crate::job::JobStatus;
use crate::session::services::Services;
use crate::state::KeyRange;
use crate::stream::letters::{dead_letters_schema, late_rows_schema};
use crate::types::{Epoch, TableId, time};

/// Filled once the database stands.
pub type About = Arc<OnceLock<Weak<Services>>>;

type Make = fn(&Services, Epoch) -> Result<RecordBatch>;

/// Every table with its columns; see each function below for what they hold.
pub fn tables(about: &About) -> Result<SystemTables> {
    let all: [(&'static str, SchemaRef, Make); 10] = [
        ("checkpoints", schema_of(checkpoint_rows(Vec::new()))?, checkpoints),
        ("dead_letters", schema_of(dead_letter_rows(Vec::new()))?, dead_letters),
        ("jobs", schema_of(job_rows(&[]))?, jobs),
        ("late_rows", schema_of(late_row_rows(Vec::new()))?, late_rows),
        ("operators", schema_of(operator_rows(Vec::new()))?, operators),
        ("secrets", schema_of(secret_rows(Vec::new()))?, secrets),
        ("settings", schema_of(setting_rows(Vec::new()))?, settings),
        ("sources", schema_of(source_rows(Vec::new()))?, sources),
        ("status", schema_of(status_rows(Vec::new()))?, status),
        ("watermarks", schema_of(watermark_rows(Vec::new()))?, watermarks),
    ];
    let tables = all.into_iter().map(|(name, schema, make)| {
        let about = about.clone();
        let rows: Rows = Arc::new(move |epoch| {
            let services = about.get().and_then(Weak::upgrade);
            let gone = || Error::new(ErrorKind::CannotConnectNow, "the database is starting or stopping");
            let services = services.ok_or_else(gone)?;
            Ok(vec![make(&services, epoch)?])
        });
        (name, SystemTable { schema, rows })
    });
    Ok(SystemTables(Arc::new(tables.collect::<BTreeMap<_, _>>())))
}

fn schema_of(empty: Result<RecordBatch>) -> Result<SchemaRef> {
    Ok(empty?.schema())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))?)
}

fn text<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn int(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

fn real(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn flag(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(values.into_iter().map(Some)))
}

fn at(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

/// One row a job: `id`, `name`, `type`, `state` (running, restarting, failed), `failures` in a row, `error` (the last one),
/// `backfilling` (actors that still read the past), `backfilled_rows` since the job's last start, `backfill_total`: the rows
/// on disk that there are to read.
fn jobs(services: &Services, _: Epoch) -> Result<RecordBatch> {
    job_rows(&services.jobs.status())
}

fn job_rows(jobs: &[JobStatus]) -> Result<RecordBatch> {
    batch(vec![
        ("id", int(jobs.iter().map(|j| Some(i64::from(j.spec.id.0))))),
        ("name", text(jobs.iter().map(|j| Some(&j.spec.name)))),
        ("type", text(jobs.iter().map(|j| Some(j.spec.kind)))),
        ("state", text(jobs.iter().map(|j| Some(j.state.name())))),
        ("failures", int(jobs.iter().map(|j| Some(i64::from(j.failures))))),
        ("error", text(jobs.iter().map(|j| j.last_error.as_ref().map(ToString::to_string)))),
        ("backfilling", int(jobs.iter().map(|j| Some(j.handles.backfill.running.load(Ordering::Relaxed) as i64)))),
        ("backfilled_rows", int(jobs.iter().map(|j| Some(j.handles.backfill.rows.load(Ordering::Relaxed) as i64)))),
        ("backfill_total", int(jobs.iter().map(|j| Some(j.handles.backfill_total() as i64)))),
    ])
}

struct SourceRow {
    source: String,
    job: Option<String>,
    split: Option<String>,
    offset: Option<i64>,
    end: Option<i64>,
    rows: i64,
    dead_letters: i64,
    finished: bool,
    error: Option<String>,
}

/// One row a source, reading job and split: `offset` and `end` as the split counts (bytes, entries, events), `lag` between
/// them, `rows` and `dead_letters` since the start, `finished`; a source that no job reads has one row without a job.
fn sources(services: &Services, _: Epoch) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    let mut read = HashSet::new();
    for job in services.jobs.status() {
        for source in &job.handles.sources {
            read.insert(source.source);
            let status = source.reader.status();
            for split in status.splits {
                rows.push(SourceRow {
                    source: source.name.clone(),
                    job: Some(job.spec.name.clone()),
                    split: Some(split.split),
                    offset: Some(split.offset as i64),
                    end: split.end.map(|e| e as i64),
                    rows: status.rows as i64,
                    dead_letters: status.dead_letters as i64,
                    finished: split.finished,
                    error: services.ingests.error(source.source).map(|e| e.to_string()),
                });
            }
        }
    }
    for object in services.catalog.snapshot().objects() {
        if matches!(object.definition, Definition::Source(_)) && !read.contains(&object.id) {
            let error = services.ingests.error(object.id).map(|e| e.to_string());
            let source = object.name.clone();
            let nothing = (None, None, None);
            let (split, offset, end) = nothing;
            rows.push(SourceRow {
                source,
                job: None,
                split,
                offset,
                end,
                rows: 0,
                dead_letters: 0,
                finished: false,
                error,
            });
        }
    }
    source_rows(rows)
}

fn source_rows(rows: Vec<SourceRow>) -> Result<RecordBatch> {
    batch(vec![
        ("source", text(rows.iter().map(|r| Some(&r.source)))),
        ("job", text(rows.iter().map(|r| r.job.as_ref()))),
        ("split", text(rows.iter().map(|r| r.split.as_ref()))),
        ("offset", int(rows.iter().map(|r| r.offset))),
        ("end", int(rows.iter().map(|r| r.end))),
        ("lag", int(rows.iter().map(|r| Some((r.end? - r.offset?).max(0))))),
        ("rows", int(rows.iter().map(|r| Some(r.rows)))),
        ("dead_letters", int(rows.iter().map(|r| Some(r.dead_letters)))),
        ("finished", flag(rows.iter().map(|r| r.finished))),
        ("error", text(rows.iter().map(|r| r.error.as_ref()))),
    ])
}

/// One row a job, operator and time column: the lowest `watermark` of its actors (null before there is one), whether the
/// stream has `ended`, and what holds it back: the input whose watermark is the lowest, or that has none (`held_by`).
fn watermarks(services: &Services, _: Epoch) -> Result<RecordBatch> {
    watermark_rows(watermarks::rows(&services.jobs.status()))
}

fn watermark_rows(rows: Vec<WatermarkRow>) -> Result<RecordBatch> {
    batch(vec![
        ("job", text(rows.iter().map(|r| Some(&r.job)))),
        ("fragment", int(rows.iter().map(|r| Some(r.fragment)))),
        ("operator", text(rows.iter().map(|r| Some(&r.operator)))),
        ("column", text(rows.iter().map(|r| Some(&r.column)))),
        ("watermark", at(rows.iter().map(|r| r.watermark.filter(|w| *w != time::END_OF_TIME)))),
        ("ended", flag(rows.iter().map(|r| r.watermark == Some(time::END_OF_TIME)))),
        ("held_by", text(rows.iter().map(|r| r.held_by.as_ref()))),
    ])
}

struct OperatorRow {
    job: String,
    fragment: i64,
    operator: i64,
    name: &'static str,
    actors: i64,
    counters: [i64; 3],
    busy_ms: f64,
    state: [i64; 2],
}

/// One row an operator: `rows_in`, `rows_out`, `busy_ms` of all its actors since the start, `memory_bytes`, and the
/// `state_rows` and `state_bytes` of its tables at the last checkpoint.
fn operators(services: &Services, _: Epoch) -> Result<RecordBatch> {
    let sizes = services.store.stats();
    let mut rows = Vec::new();
    for job in services.jobs.status() {
        for operator in &job.handles.operators {
            let stats = &operator.stats;
            let mut state = [0, 0];
            for table in &operator.state {
                let stats = sizes.get(table).copied().unwrap_or_default();
                state[0] += stats.rows as i64;
                state[1] += stats.bytes as i64;
            }
            rows.push(OperatorRow {
                job: job.spec.name.clone(),
                fragment: i64::from(operator.fragment.0),
                operator: i64::from(operator.id.0),
                name: operator.name,
                actors: operator.actors as i64,
                counters: [&stats.rows_in, &stats.rows_out, &stats.memory_bytes]
                    .map(|c| c.load(Ordering::Relaxed) as i64),
                busy_ms: stats.busy_nanos.load(Ordering::Relaxed) as f64 / 1e6,
                state,
            });
        }
    }
    operator_rows(rows)
}

fn operator_rows(rows: Vec<OperatorRow>) -> Result<RecordBatch> {
    batch(vec![
        ("job", text(rows.iter().map(|r| Some(&r.job)))),
        ("fragment", int(rows.iter().map(|r| Some(r.fragment)))),
        ("operator", int(rows.iter().map(|r| Some(r.operator)))),
        ("name", text(rows.iter().map(|r| Some(r.name)))),
        ("actors", int(rows.iter().map(|r| Some(r.actors)))),
        ("rows_in", int(rows.iter().map(|r| Some(r.counters[0])))),
        ("rows_out", int(rows.iter().map(|r| Some(r.counters[1])))),
        ("busy_ms", real(rows.iter().map(|r| r.busy_ms))),
        ("memory_bytes", int(rows.iter().map(|r| Some(r.counters[2])))),
        ("state_rows", int(rows.iter().map(|r| Some(r.state[0])))),
        ("state_bytes", int(rows.iter().map(|r| Some(r.state[1])))),
    ])
}

/// One row a commit, the last thousand: `epoch`, `trigger` (interval, request, memory), `started_at`, `alignment_ms` (barrier sent to
/// last ack), `commit_ms`, `rows`, `pages` and `bytes` written, `rows_per_second`, `status`, `error`.
fn checkpoints(services: &Services, _: Epoch) -> Result<RecordBatch> {
    checkpoint_rows(services.driver.history.recent())
}

fn checkpoint_rows(rows: Vec<crate::checkpoint::Checkpoint>) -> Result<RecordBatch> {
    let ms = |micros: i64| micros as f64 / 1e3;
    batch(vec![
        ("epoch", int(rows.iter().map(|r| Some(r.epoch.0 as i64)))),
        ("trigger", text(rows.iter().map(|r| Some(r.trigger)))),
        ("started_at", at(rows.iter().map(|r| Some(r.started_at)))),
        ("alignment_ms", real(rows.iter().map(|r| ms(r.alignment_micros)))),
        ("commit_ms", real(rows.iter().map(|r| ms(r.commit_micros)))),
        ("rows", int(rows.iter().map(|r| Some(r.rows as i64)))),
        ("pages", int(rows.iter().map(|r| Some(r.pages as i64)))),
        ("bytes", int(rows.iter().map(|r| Some(r.bytes as i64)))),
        ("rows_per_second", real(rows.iter().map(|r| r.rows as f64 * 1e6 / r.commit_micros.max(1) as f64))),
        ("status", text(rows.iter().map(|r| Some(if r.error.is_none() { "succeeded" } else { "failed" })))),
        ("error", text(rows.iter().map(|r| r.error.as_ref()))),
    ])
}

/// Names and values of the whole: epochs, checkpoint counts, bytes on disk.
fn status(services: &Services, _: Epoch) -> Result<RecordBatch> {
    let progress = services.driver.progress();
    let (succeeded, failed) = services.driver.history.counts();
    status_rows(vec![
        ("complete_epoch", progress.complete.0),
        ("committed_epoch", progress.committed.0),
        ("checkpoints_succeeded", succeeded),
        ("checkpoints_failed", failed),
        ("state_disk_bytes", services.store.disk_bytes()),
    ])
}

fn status_rows(rows: Vec<(&'static str, u64)>) -> Result<RecordBatch> {
    batch(vec![
        ("name", text(rows.iter().map(|(name, _)| Some(*name)))),
        ("value", int(rows.iter().map(|(_, value)| Some(*value as i64)))),
    ])
}

/// One row a secret: `name`, `owner`, `comment`; never its value.
fn secrets(services: &Services, _: Epoch) -> Result<RecordBatch> {
    secret_rows(services.catalog.snapshot().secrets().cloned().collect())
}

fn secret_rows(rows: Vec<Arc<Secret>>) -> Result<RecordBatch> {
    batch(vec![
        ("name", text(rows.iter().map(|s| Some(&s.name)))),
        ("owner", text(rows.iter().map(|s| Some(&s.owner)))),
        ("comment", text(rows.iter().map(|s| s.comment.as_ref()))),
    ])
}

/// The server's settings: `name`, `value`, `changeable` by ALTER SYSTEM SET, `description`.
fn settings(services: &Services, _: Epoch) -> Result<RecordBatch> {
    setting_rows(services.settings.all())
}

fn setting_rows(rows: Vec<crate::session::settings::Setting>) -> Result<RecordBatch> {
    batch(vec![
        ("name", text(rows.iter().map(|r| Some(r.name)))),
        ("value", text(rows.iter().map(|r| Some(&r.value)))),
        ("changeable", flag(rows.iter().map(|r| r.changeable))),
        ("description", text(rows.iter().map(|r| Some(r.description)))),
    ])
}

/// Records that could not be read and rows that could not be evaluated: `job`, `source` (or operator), `split`, `offset`,
/// `raw`, `expression` that failed, `error`, `at`. A record that several jobs read is listed once, with the first of them.
fn dead_letters(services: &Services, epoch: Epoch) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for job in services.jobs.status() {
        let letters = scan(services, job.spec.graph.dead_letters, dead_letters_schema(), epoch)?;
        let (origin, split) = (letters.column(0).as_string::<i32>(), letters.column(1).as_string::<i32>());
        let offset = letters.column(2).as_primitive::<Int64Type>();
        let keep = BooleanArray::from_iter((0..letters.num_rows()).map(|row| {
            let of_operator = origin.value(row).starts_with("operator ").then_some(job.spec.id);
            let letter = (of_operator, origin.value(row).to_string(), split.value(row).to_string(), offset.value(row));
            Some(seen.insert(letter))
        }));
        rows.push((job.spec.name.clone(), filter_record_batch(&letters, &keep)?));
    }
    dead_letter_rows(rows)
}

fn dead_letter_rows(rows: Vec<(String, RecordBatch)>) -> Result<RecordBatch> {
    let letters = named(rows, dead_letters_schema())?;
    rename(letters, &["job", "source", "split", "offset", "raw", "expression", "error", "at"])
}

/// Rows that came after their window had closed: `job`, `operator`, `actor`, `epoch`, `number`, `row` (JSON), `weight`,
/// `watermark` that had passed, `at`.
fn late_rows(services: &Services, epoch: Epoch) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for job in services.jobs.status() {
        let late = scan(services, job.spec.graph.late_rows, late_rows_schema(), epoch)?;
        rows.push((job.spec.name.clone(), late));
    }
    late_row_rows(rows)
}

fn late_row_rows(rows: Vec<(String, RecordBatch)>) -> Result<RecordBatch> {
    let late = named(rows, late_rows_schema())?;
    rename(late, &["job", "operator", "actor", "epoch", "number", "row", "weight", "watermark", "at"])
}

fn scan(services: &Services, table: TableId, schema: SchemaRef, epoch: Epoch) -> Result<RecordBatch> {
    let table = services.store.table(table, schema.clone())?;
    let batches: Vec<_> = table.scan(epoch, &KeyRange::all(), None)?.into_iter().map(|(_, rows)| rows).collect();
    Ok(concat_batches(&schema, &batches)?)
}

/// All batches below each other, the job's name before each row.
fn named(rows: Vec<(String, RecordBatch)>, schema: SchemaRef) -> Result<RecordBatch> {
    let job = text(rows.iter().flat_map(|(job, batch)| std::iter::repeat_n(Some(job), batch.num_rows())));
    let all = concat_batches(&schema, rows.iter().map(|(_, batch)| batch))?;
    let mut columns = vec![("job", job)];
    columns.extend(schema.fields().iter().zip(all.columns()).map(|(f, c)| (f.name().as_str(), c.clone())));
    batch(columns)
}

fn rename(batch: RecordBatch, names: &[&str]) -> Result<RecordBatch> {
    let fields = batch.schema();
    let fields = fields.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(*name));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), batch.columns().to_vec())?)
}
