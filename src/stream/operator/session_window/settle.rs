//! From the changes of one partition to its new sessions, and to what is sent: rows whose bounds are others than before.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::Schema;

use super::tables::{Change, Tables};
use crate::common::{Error, Result};
use crate::stream::operator::event_time;
use crate::types::StreamChunk;

/// Rows that are sent at once, about.
const EMIT_ROWS: usize = 8192;

/// `[start, end)` in microseconds: the first row's time, and the last one's with the gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub start: i64,
    pub end: i64,
}

/// A batch and a row in it.
type Place = (usize, usize);
/// The epoch's batch among the emitter's.
const EPOCH: usize = 0;

/// A row of a touched session, or one that comes or goes.
struct Entry {
    time: i64,
    before: Option<(Place, Session)>,
    after: Option<Place>,
}

/// The parts of a partition's state that its changes touch.
pub(super) struct Partition<'a> {
    pub tables: &'a mut Tables,
    /// In the order of their times.
    pub changes: &'a [Change],
    pub gap: i64,
    /// The column of the time.
    pub time: usize,
}

impl Partition<'_> {
    /// Finds the sessions anew and sends the rows whose session is another, of the sessions that end at or before `sent`.
    /// Rows are read only for those, and where some go.
    pub fn settle(self, emitter: &mut Emitter, sent: Option<i64>) -> Result<()> {
        let old = self.touched()?;
        let is_shown = |session: &Session| sent.is_some_and(|sent| session.end <= sent);
        if self.changes.iter().all(|c| c.row.is_some()) {
            let mut sessions: Vec<Session> = self.changes.iter().map(|c| self.alone(c.time)).collect();
            sessions.extend(&old);
            sessions.sort_unstable_by_key(|s| s.start);
            let new = merged(sessions);
            if !old.iter().chain(&new).any(is_shown) {
                return self.replace(&old, &new);
            }
        }
        let entries = self.entries(&old, emitter)?;
        let times = entries.iter().filter(|e| e.after.is_some()).map(|e| e.time);
        let new = merged(times.map(|time| self.alone(time)));
        let mut sessions = new.iter().copied().peekable();
        let mut come: Vec<(Place, Session)> = Vec::new();
        for entry in &entries {
            while sessions.next_if(|s| s.end <= entry.time).is_some() {}
            let after = entry.after.zip(sessions.peek().copied()).filter(|(_, session)| is_shown(session));
            let before = entry.before.filter(|(_, session)| is_shown(session));
            if before != after {
                before.into_iter().for_each(|(place, session)| emitter.push(place, Some(session), -1));
                come.extend(after);
            }
        }
        // A row that has moved to an earlier time is one row all the same: the old comes first.
        come.into_iter().for_each(|(place, session)| emitter.push(place, Some(session), 1));
        self.replace(&old, &new)
    }

    fn name(&self) -> &[u8] {
        self.changes.first().map(Change::partition).unwrap_or_default()
    }

    /// The session that a row makes alone.
    fn alone(&self, time: i64) -> Session {
        Session { start: time, end: time.saturating_add(self.gap) }
    }

    fn replace(self, old: &[Session], new: &[Session]) -> Result<()> {
        let partition = self.changes.first().map(Change::partition).unwrap_or_default();
        self.tables.replace(partition, old, new)
    }

    /// The sessions that a change lies in or meets, by time.
    fn touched(&self) -> Result<Vec<Session>> {
        let mut touched: Vec<Session> = Vec::new();
        // All sessions that begin below it were looked at.
        let mut seen = i64::MIN;
        for change in self.changes {
            let alone = self.alone(change.time);
            if alone.end <= seen {
                continue;
            }
            // Alone it is as long as a gap, and no session is shorter: it meets two at the most.
            let found = self.tables.sessions_after(self.name(), change.time, 2)?;
            seen = found.get(1).map_or(i64::MAX, |second| second.end);
            for session in found {
                if session.start >= alone.end {
                    seen = seen.min(session.start);
                } else if !touched.iter().rev().take(2).any(|t| *t == session) {
                    touched.push(session);
                }
            }
        }
        Ok(touched)
    }

    /// The rows of the old sessions with the changes, by time.
    fn entries(&self, old: &[Session], emitter: &mut Emitter) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut changes = self.changes.iter().peekable();
        let come = |change: &Change| match change.row {
            Some(row) => Ok(Entry { time: change.time, before: None, after: Some((EPOCH, row)) }),
            None => Err(Error::internal("a row was retracted that had not been inserted")),
        };
        for session in old {
            for (keys, rows) in self.tables.rows_of(self.name(), *session)? {
                let times = event_time::micros(rows.column(self.time))?;
                let source = emitter.source(rows);
                for row in 0..keys.len() {
                    let key = keys.value(row);
                    while let Some(change) = changes.next_if(|c| c.key.as_slice() < key) {
                        entries.push(come(change)?);
                    }
                    let after = match changes.next_if(|c| c.key.as_slice() == key) {
                        Some(change) => change.row.map(|row| (EPOCH, row)),
                        None => Some((source, row)),
                    };
                    let before = Some(((source, row), *session));
                    entries.push(Entry { time: times.value(row), before, after });
                }
            }
        }
        for change in changes {
            entries.push(come(change)?);
        }
        Ok(entries)
    }
}

/// Sessions in the order of their starts, those that overlap made one.
fn merged(sessions: impl IntoIterator<Item = Session>) -> Vec<Session> {
    let mut merged: Vec<Session> = Vec::new();
    for session in sessions {
        match merged.last_mut().filter(|last| session.start < last.end) {
            Some(last) => last.end = last.end.max(session.end),
            None => merged.push(session),
        }
    }
    merged
}

/// Rows on their way out, with their sessions.
pub(super) struct Emitter {
    /// The epoch's rows first, then what was read of the state.
    sources: Vec<RecordBatch>,
    places: Vec<Place>,
    bounds: Bounds,
    weights: Vec<i64>,
}

#[derive(Default)]
pub(super) struct Bounds {
    pub starts: Vec<Option<i64>>,
    pub ends: Vec<Option<i64>>,
}

impl Emitter {
    pub fn new(epoch: RecordBatch) -> Self {
        Self { sources: vec![epoch], places: Vec::new(), bounds: Bounds::default(), weights: Vec::new() }
    }

    fn source(&mut self, rows: RecordBatch) -> usize {
        self.sources.push(rows);
        self.sources.len() - 1
    }

    /// A row of the epoch that is in no session.
    pub fn untimed(&mut self, row: usize, weight: i64) {
        self.push((EPOCH, row), None, weight);
    }

    fn push(&mut self, place: Place, session: Option<Session>, weight: i64) {
        self.places.push(place);
        self.bounds.starts.push(session.map(|s| s.start));
        self.bounds.ends.push(session.map(|s| s.end));
        self.weights.push(weight);
    }

    pub fn is_full(&self) -> bool {
        self.places.len() >= EMIT_ROWS
    }

    /// The rows so far with their bounds, if there are any. What was read of the state is let go.
    pub fn take(&mut self) -> Result<Option<(StreamChunk, Bounds)>> {
        let places = std::mem::take(&mut self.places);
        let epoch = self.sources.first().map(|e| e.slice(0, e.num_rows()));
        let sources = std::mem::replace(&mut self.sources, epoch.into_iter().collect());
        let Some(first) = sources.first().filter(|_| !places.is_empty()) else { return Ok(None) };
        let columns = (0..first.num_columns()).map(|column| {
            let parts: Vec<&dyn Array> = sources.iter().map(|s| s.column(column).as_ref()).collect();
            Ok(interleave(&parts, &places)?)
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        // What was read back may have nulls by its schema.
        let fields = first.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let weights = std::mem::take(&mut self.weights);
        let weights = weights.iter().any(|w| *w != 1).then(|| Int64Array::from(weights));
        Ok(Some((StreamChunk::new(batch, weights), std::mem::take(&mut self.bounds))))
    }
}
