//! The state of sessions, and the keys under which it is found.
//!
//! ```text
//! rows      partition | time | stream key        -> the row
//! sessions  partition | end                      -> start, end
//! open      end | partition                      -> partition, start, end      only with EMIT ON WINDOW CLOSE
//!           0xff | actor                         -> -, closed, closed
//!           0xfe | actor                         -> -, sent, sent              only with a lateness
//! ```
//! `partition` is a virtual node and the partition's columns.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::settle::Session;
use crate::common::{Error, Result};
use crate::plan;
use crate::state::{KeyRange, StateWriter};
use crate::stream::operator::BuildContext;
use crate::types::time::END_OF_TIME;
use crate::types::{Epoch, Keys, key, vnode};

/// Sessions that are closed at once.
const CLOSE_SESSIONS: usize = 4096;
/// Marks, above every end.
const CLOSED: u8 = 0xff;
const SENT: u8 = 0xfe;

pub(super) struct Tables {
    rows: StateWriter,
    sessions: StateWriter,
    open: Option<StateWriter>,
    partition: Vec<usize>,
    key: Vec<usize>,
    vnodes: Range<usize>,
    actor: usize,
}

/// What happens to one row of the state.
pub(super) struct Change {
    pub key: Vec<u8>,
    partition: usize,
    pub time: i64,
    /// The row's place in the epoch's batch; `None` when it goes.
    pub row: Option<usize>,
}

/// What happens to the rows of an epoch.
#[derive(Default)]
pub(super) struct Changes {
    /// By key: partition, then time.
    pub timed: Vec<Change>,
    pub untimed: Vec<Net>,
}

/// The rows of the epoch's batch that were first taken out and last put in under one key.
pub(super) struct Net {
    pub gone: Option<usize>,
    pub come: Option<usize>,
    partition: usize,
}

impl Change {
    pub fn partition(&self) -> &[u8] {
        self.key.get(..self.partition).unwrap_or_default()
    }
}

fn session_fields() -> [Field; 2] {
    ["start", "end"].map(|name| Field::new(name, DataType::Int64, false))
}

fn open_schema() -> SchemaRef {
    let partition = Field::new("partition", DataType::Binary, false);
    Arc::new(Schema::new([partition].into_iter().chain(session_fields()).collect::<Vec<_>>()))
}

/// A time as stored keys have it.
fn instant(micros: i64) -> Result<Vec<u8>> {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![micros]));
    Ok(key::encode(&[column], 1)?.value(0).to_vec())
}

fn joined(a: &[u8], b: &[u8]) -> Vec<u8> {
    [a, b].concat()
}

impl Tables {
    pub fn new(op: &plan::SessionWindow, context: &BuildContext<'_>) -> Result<Self> {
        let fields: Vec<Field> =
            context.input.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let open = |table| Ok::<_, Error>(context.store.table(table, open_schema())?.writer());
        Ok(Self {
            rows: context.store.table(op.rows, Arc::new(Schema::new(fields)))?.writer(),
            sessions: context.store.table(op.sessions, Arc::new(Schema::new(session_fields().to_vec())))?.writer(),
            open: op.open.map(open).transpose()?,
            partition: op.partition.clone(),
            key: op.key.clone(),
            vnodes: context.vnodes.clone(),
            actor: context.actor,
        })
    }

    /// The net change of each row that the batch touches.
    pub fn changes(&self, batch: &RecordBatch, weights: &[i64], times: &Int64Array) -> Result<Changes> {
        let pick = |columns: &[usize]| -> Result<Keys> {
            let columns: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(batch.column(*c))).collect();
            key::encode(&columns, batch.num_rows())
        };
        let (partitions, keys) = (pick(&self.partition)?, pick(&self.key)?);
        let instants: ArrayRef = Arc::new(times.clone());
        let instants = key::encode(&[instants], times.len())?;
        let mut net: BTreeMap<Vec<u8>, Net> = BTreeMap::new();
        let mut key = Vec::with_capacity(64);
        for (row, weight) in weights.iter().enumerate() {
            let partition = partitions.value(row);
            key.clear();
            key.push(vnode(partition));
            key.extend_from_slice(partition);
            key.extend_from_slice(instants.value(row));
            key.extend_from_slice(keys.value(row));
            let come = (*weight > 0).then_some(row);
            match net.get_mut(key.as_slice()) {
                Some(net) => net.come = come,
                None => {
                    let gone = come.is_none().then_some(row);
                    net.insert(key.clone(), Net { gone, come, partition: 1 + partition.len() });
                }
            }
        }
        let mut changes = Changes::default();
        for (key, net) in net {
            let row = net.gone.or(net.come).unwrap_or_default();
            match times.is_valid(row) {
                // What came and went within the epoch is nothing.
                true if net.gone.is_none() && net.come.is_none() => {}
                true => {
                    changes.timed.push(Change { key, partition: net.partition, time: times.value(row), row: net.come })
                }
                false => changes.untimed.push(net),
            }
        }
        Ok(changes)
    }

    /// At most `limit` sessions of the partition that end after `time`, by time.
    pub fn sessions_after(&self, partition: &[u8], time: i64, limit: usize) -> Result<Vec<Session>> {
        let range = KeyRange {
            start: Bound::Excluded(joined(partition, &instant(time)?)),
            end: key::prefix_end(partition).map_or(Bound::Unbounded, Bound::Excluded),
        };
        let mut sessions = Vec::new();
        for (_, rows) in self.sessions.scan(&range, Some(limit))? {
            let [starts, ends] = rows.columns() else { return Err(Error::corrupted("a session's state")) };
            let (starts, ends) = (starts.as_primitive::<Int64Type>(), ends.as_primitive::<Int64Type>());
            sessions.extend(starts.values().iter().zip(ends.values()).map(|(s, e)| Session { start: *s, end: *e }));
        }
        Ok(sessions)
    }

    /// The rows of a session with their keys, by time.
    pub fn rows_of(&self, partition: &[u8], session: Session) -> Result<Vec<(Keys, RecordBatch)>> {
        let range = KeyRange {
            start: Bound::Included(joined(partition, &instant(session.start)?)),
            end: Bound::Excluded(joined(partition, &instant(session.end)?)),
        };
        Ok(self.rows.scan(&range, None)?.into_iter().collect())
    }

    /// Replaces sessions of a partition.
    pub fn replace(&mut self, partition: &[u8], old: &[Session], new: &[Session]) -> Result<()> {
        let gone: Vec<Session> = old.iter().filter(|s| !new.contains(s)).copied().collect();
        let come: Vec<Session> = new.iter().filter(|s| !old.contains(s)).copied().collect();
        let keys = |sessions: &[Session], by_end: bool| -> Result<Keys> {
            let keys = sessions.iter().map(|s| {
                let end = instant(s.end)?;
                Ok(if by_end { joined(&end, partition) } else { joined(partition, &end) })
            });
            Ok(Keys::from_iter_values(keys.collect::<Result<Vec<_>>>()?))
        };
        self.sessions.remove(keys(&gone, false)?);
        self.sessions.write(keys(&come, false)?, session_rows(&come)?, None)?;
        if let Some(open) = &mut self.open {
            open.remove(keys(&gone, true)?);
            open.write(keys(&come, true)?, open_rows(partition, &come)?, None)?;
        }
        Ok(())
    }

    /// Writes the rows themselves, out of the epoch's.
    pub fn write_rows(&mut self, changes: &[Change], rows: &RecordBatch) -> Result<()> {
        let gone = Keys::from_iter_values(changes.iter().filter(|c| c.row.is_none()).map(|c| &c.key));
        self.rows.remove(gone);
        let come = changes.iter().filter_map(|c| Some((&c.key, c.row? as u64)));
        let (keys, at): (Vec<&Vec<u8>>, Vec<u64>) = come.unzip();
        let at = UInt64Array::from(at);
        let columns = rows.columns().iter().map(|c| Ok(take(c, &at, None)?)).collect::<Result<_>>()?;
        self.rows.write(Keys::from_iter_values(keys), RecordBatch::try_new(self.rows.table().schema(), columns)?, None)
    }

    /// Hands out the rows, with start and end, of this actor's sessions that end after `from`, if there is one, and at or
    /// before `watermark`, in the order of their ends; and takes them out of the state where that is said.
    pub fn each_closed(
        &mut self,
        from: Option<i64>,
        watermark: i64,
        takes: bool,
        mut each: impl FnMut(RecordBatch, i64, i64) -> Result<()>,
    ) -> Result<()> {
        let behind = |micros: i64| Ok::<_, Error>(key::prefix_end(&instant(micros)?));
        let start = from.map(behind).transpose()?.flatten().map_or(Bound::Unbounded, Bound::Included);
        let end = match watermark {
            END_OF_TIME => Bound::Excluded(vec![SENT]),
            micros => behind(micros)?.map_or(Bound::Unbounded, Bound::Excluded),
        };
        let mut range = KeyRange { start, end };
        loop {
            let Some(open) = &self.open else { return Ok(()) };
            let batches = open.scan(&range, Some(CLOSE_SESSIONS))?;
            let mut scanned = 0;
            for (keys, rows) in batches {
                scanned += keys.len();
                if let Some(last) = keys.len().checked_sub(1) {
                    range.start = Bound::Excluded(keys.value(last).to_vec());
                }
                for (partition, session) in opened(&rows)? {
                    if partition.first().is_some_and(|vnode| self.vnodes.contains(&usize::from(*vnode))) {
                        for (keys, rows) in self.rows_of(partition, session)? {
                            if takes {
                                self.rows.remove(keys);
                            }
                            each(rows, session.start, session.end)?;
                        }
                        if takes {
                            self.replace(partition, &[session], &[])?;
                        }
                    }
                }
            }
            if scanned < CLOSE_SESSIONS {
                return Ok(());
            }
        }
    }

    /// Notes that sessions up to `watermark` are closed.
    pub fn write_closed(&mut self, watermark: i64) -> Result<()> {
        self.write_mark(CLOSED, watermark)
    }

    /// Notes that the rows of sessions up to `watermark` are sent.
    pub fn write_sent(&mut self, watermark: i64) -> Result<()> {
        self.write_mark(SENT, watermark)
    }

    /// Up to where sessions were closed, here or by an actor that ran before.
    pub fn closed(&self) -> Result<Option<i64>> {
        self.mark(CLOSED)
    }

    /// Up to where sessions that are still there were sent, here or by an actor that ran before.
    pub fn sent(&self) -> Result<Option<i64>> {
        self.mark(SENT)
    }

    fn write_mark(&mut self, mark: u8, watermark: i64) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let key = [&[mark][..], &(self.actor as u32).to_be_bytes()].concat();
        let at = Session { start: watermark, end: watermark };
        open.write(Keys::from_iter_values([key]), open_rows(&[], &[at])?, None)
    }

    fn mark(&self, mark: u8) -> Result<Option<i64>> {
        let Some(open) = &self.open else { return Ok(None) };
        let mut highest = None;
        for (_, rows) in open.scan(&KeyRange::prefix(&[mark]), None)? {
            highest = highest.max(opened(&rows)?.map(|(_, s)| s.end).max());
        }
        Ok(highest)
    }

    pub fn seal(&mut self, epoch: Epoch) {
        self.rows.seal(epoch);
        self.sessions.seal(epoch);
        if let Some(open) = &mut self.open {
            open.seal(epoch);
        }
    }

    pub fn memory_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, StateWriter::open_bytes);
        self.rows.open_bytes() + self.sessions.open_bytes() + open
    }
}

fn session_rows(sessions: &[Session]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(sessions.iter().map(|s| s.start))),
        Arc::new(Int64Array::from_iter_values(sessions.iter().map(|s| s.end))),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(session_fields().to_vec())), columns)?)
}

fn open_rows(partition: &[u8], sessions: &[Session]) -> Result<RecordBatch> {
    let partitions: ArrayRef = Arc::new(BinaryArray::from_iter_values(sessions.iter().map(|_| partition)));
    let columns = [&[partitions][..], session_rows(sessions)?.columns()].concat();
    Ok(RecordBatch::try_new(open_schema(), columns)?)
}

/// Rows of the table of open sessions.
fn opened(rows: &RecordBatch) -> Result<impl Iterator<Item = (&[u8], Session)>> {
    let [partitions, starts, ends] = rows.columns() else { return Err(Error::corrupted("an open session's state")) };
    let bounds = starts.as_primitive::<Int64Type>().values().iter().zip(ends.as_primitive::<Int64Type>().values());
    let sessions = bounds.map(|(start, end)| Session { start: *start, end: *end });
    Ok(partitions.as_binary::<i32>().iter().map(Option::unwrap_or_default).zip(sessions))
}
