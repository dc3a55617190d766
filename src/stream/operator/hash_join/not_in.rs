//! The rule of NOT IN: against no rows everything passes; otherwise a null on either side is equal to nothing and
//! different from nothing, so that it passes nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::HashJoin;
use super::changes::Changes;
use super::groups::NONE;
use crate::common::{Error, Result};
use crate::plan;
use crate::state::{KeyRange, StateWriter};
use crate::stream::operator::BuildContext;
use crate::types::{Epoch, TableId, key};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What is known of the right side as a whole. There is one actor.
pub(super) struct NotIn {
    rows: i64,
    nulls: i64,
    state: StateWriter,
    written: (i64, i64),
}

/// Which left rows pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All: there is no right row.
    All,
    /// Those with a key that no right row has.
    Unequal,
    /// None: some right row is null.
    None,
}

impl NotIn {
    pub(super) fn new(table: TableId, context: &BuildContext<'_>) -> Result<Self> {
        let state = context.store.table(table, plan::HashJoin::counts_schema())?.writer();
        let mut not_in = Self { rows: 0, nulls: 0, state, written: (0, 0) };
        for (_, stored) in not_in.state.scan(&KeyRange::all(), Some(1))? {
            let value = |column: usize| stored.column(column).as_primitive_opt::<Int64Type>().map(|c| c.value(0));
            let (Some(rows), Some(nulls)) = (value(0), value(1)) else {
                return Err(Error::corrupted("the counts of a join"));
            };
            (not_in.rows, not_in.nulls) = (rows, nulls);
        }
        not_in.written = (not_in.rows, not_in.nulls);
        Ok(not_in)
    }

    fn rule(&self) -> Rule {
        match (self.rows, self.nulls) {
            (0, _) => Rule::All,
            (_, 0) => Rule::Unequal,
            _ => Rule::None,
        }
    }

    pub(super) fn write(&mut self) -> Result<()> {
        if self.written == (self.rows, self.nulls) {
            return Ok(());
        }
        self.written = (self.rows, self.nulls);
        let zero: ArrayRef = Arc::new(Int64Array::from(vec![0]));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![self.rows])), Arc::new(Int64Array::from(vec![self.nulls]))];
        let row = RecordBatch::try_new(plan::HashJoin::counts_schema(), columns)?;
        self.state.write(key::encode(&[zero], 1)?, row, None)
    }

    pub(super) fn seal(&mut self, epoch: Epoch) {
        self.state.seal(epoch);
    }
}

impl HashJoin {
    /// What row `row` of the chunk changes, which is not yet applied.
    pub(super) fn not_in(&mut self, own: usize, group: u32, row: u32, sign: i64, changes: &mut Changes) -> Result<()> {
        let Some(not_in) = &mut self.not_in else { return Err(Error::internal("NOT IN without its counts")) };
        let before = not_in.rule();
        if own == LEFT {
            if self.passes(before, group, self.groups.list(group, RIGHT).len) {
                changes.push(row, NONE, sign);
            }
            return Ok(());
        }
        not_in.rows += sign;
        if is_null(self.groups.key(group)) {
            not_in.nulls += sign;
        }
        let after = not_in.rule();
        let equal = self.groups.list(group, RIGHT).len;
        let equal_after = if sign > 0 { equal + 1 } else { equal.saturating_sub(1) };
        if before != after {
            self.load_left()?;
        }
        let ids: Vec<u32> = match before == after {
            true => {
                let mut ids = Vec::new();
                super::list(&self.groups, &self.sides[LEFT].rows, group, LEFT, &mut ids);
                ids
            }
            false => self.sides[LEFT].rows.all().collect(),
        };
        for id in ids {
            let of = self.sides[LEFT].rows.group(id);
            let (was, is) = match of == group {
                true => (equal, equal_after),
                false => (self.groups.list(of, RIGHT).len, self.groups.list(of, RIGHT).len),
            };
            match (self.passes(before, of, was), self.passes(after, of, is)) {
                (true, false) => changes.push(NONE, id, -1),
                (false, true) => changes.push(NONE, id, 1),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a left row of `group`, whose key `equal` right rows have, passes.
    fn passes(&self, rule: Rule, group: u32, equal: u32) -> bool {
        match rule {
            Rule::All => true,
            Rule::Unequal => equal == 0 && !is_null(self.groups.key(group)),
            Rule::None => false,
        }
    }
}

/// Whether an encoded key of one column is null.
fn is_null(key: &[u8]) -> bool {
    key.len() == 1
}
