//! Numbers that an actor gives out, each once, through restarts and other numbers of actors.
//!
//! An actor counts under the first virtual node that it owns, and keeps the next number there. After a restart all go on
//! from the highest: a number with its node is unique, and what an actor has taken over has higher ones than before.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::BuildContext;
use crate::common::{Error, Result};
use crate::state::{KeyRange, StateWriter};
use crate::types::{Epoch, TableId, key};

/// How many bits of an id the node takes, the lowest.
pub(super) const NODE_BITS: u32 = 8;

/// One row a virtual node: `vnode`, `next` (the first number that is free).
fn schema() -> SchemaRef {
    let column = |name| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![column("vnode"), column("next")]))
}

pub(super) struct Numbers {
    node: i64,
    next: i64,
    /// As state has it.
    stored: i64,
    state: StateWriter,
}

impl Numbers {
    pub fn new(state: TableId, context: &BuildContext<'_>) -> Result<Self> {
        let state = context.store.table(state, schema())?.writer();
        let mut next = 0;
        for (_, rows) in state.scan(&KeyRange::all(), None)? {
            let [_, numbers] = rows.columns() else { return Err(Error::corrupted("an actor's numbers")) };
            let numbers = numbers.as_primitive::<Int64Type>().values().iter().copied();
            next = numbers.fold(next, i64::max);
        }
        Ok(Self { node: context.vnodes.start as i64, next, stored: next, state })
    }

    /// The virtual node that all numbers belong to.
    pub fn node(&self) -> i64 {
        self.node
    }

    /// The number that [`Self::take`] gives next.
    pub fn peek(&self) -> i64 {
        self.next
    }

    pub fn take(&mut self) -> i64 {
        let number = self.next;
        self.next += 1;
        number
    }

    pub fn on_barrier(&mut self) -> Result<()> {
        if self.next != self.stored {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(vec![self.node])), Arc::new(Int64Array::from(vec![self.next]))];
            let keys = key::encode(&columns[..1], 1)?;
            self.state.write(keys, RecordBatch::try_new(schema(), columns)?, None)?;
            self.stored = self.next;
        }
        Ok(())
    }

    pub fn seal(&mut self, epoch: Epoch) {
        self.state.seal(epoch);
    }

    pub fn memory_bytes(&self) -> usize {
        self.state.open_bytes()
    }
}
