//! What a sink into a table adds to that table's job: the plan of its query, as a further input of what the table keeps.
//!
//! ```text
//! Materialize < Union < Exchange < the table's log
//!                     < NetChanges < Exchange < the query of one sink
//!                     < Exchange < RowId < the query of another
//! ```
//!
//! Knows graphs alone: which sinks a table has is the catalog's.

use serde::{Deserialize, Serialize};

use super::{FragmentGraph, Node, Operator, Properties};
use crate::common::{Error, Result};
use crate::types::{FragmentId, OperatorId, TableId};

/// The changes of an epoch, netted: rows that came and went are left out, and a key that has a new row is not taken away
/// first. Then the order in which actors sent them does not count.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetChanges {
    pub key: Vec<usize>,
}

/// Gives each row an id that no other row of the table has, below those of its log, which are from 0. A row with a null
/// where none may be is a dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowId {
    /// Where the id stands among the columns that come out.
    pub at: usize,
    /// The sink's number among those that were ever made into the table, below [`RowId::SINKS`].
    pub sink: u32,
    /// One row a virtual node: the first number that is free.
    pub state: TableId,
}

impl RowId {
    /// How many sinks a table can have had.
    pub const SINKS: u32 = 1 << 15;
}

impl FragmentGraph {
    /// Makes the last fragment of `sink` a further input of what this graph materializes.
    ///
    /// # Errors
    /// `DataCorrupted` when the graph does not end in Materialize.
    pub fn take_in(&mut self, sink: &FragmentGraph) -> Result<()> {
        let mut sink = sink.clone();
        let first_fragment = self.fragments.iter().map(|f| f.id.0 + 1).max().unwrap_or_default();
        let first_operator = self.next_operator();
        for fragment in &mut sink.fragments {
            fragment.id.0 += first_fragment;
            fragment.root.visit_mut(&mut |node| node.id.0 += first_operator);
        }
        let union = OperatorId(first_operator + sink.next_operator());
        let (Some(mut root), Some(input)) = (self.fragments.pop(), sink.fragments.pop()) else {
            return Err(Error::corrupted("a plan without fragments"));
        };
        for edge in &mut sink.edges {
            let to = FragmentId(edge.to.0 + first_fragment);
            edge.to = if to == input.id { root.id } else { to };
            edge.from.0 += first_fragment;
            edge.leaf.0 += first_operator;
        }
        let (Operator::Materialize(_), Some(own)) = (&root.root.operator, root.root.inputs.pop()) else {
            return Err(Error::corrupted("a table's plan does not end in Materialize"));
        };
        root.root.inputs.push(united(own, input.root, union));
        self.fragments.extend(sink.fragments);
        self.fragments.push(root);
        self.edges.extend(sink.edges);
        self.upstreams.extend(sink.upstreams);
        self.upstreams.sort_unstable();
        self.upstreams.dedup();
        Ok(())
    }

    fn next_operator(&self) -> u32 {
        let mut next = 0;
        for fragment in &self.fragments {
            fragment.root.visit(&mut |node| next = next.max(node.id.0 + 1));
        }
        next
    }
}

fn united(own: Node, input: Node, id: OperatorId) -> Node {
    if let Operator::Union = own.operator {
        let mut union = own;
        union.properties.append_only &= input.properties.append_only;
        union.inputs.push(input);
        return union;
    }
    let properties = Properties {
        append_only: own.properties.append_only && input.properties.append_only,
        watermark_columns: Vec::new(),
        ..own.properties.clone()
    };
    let schema = own.schema.clone();
    Node { id, operator: Operator::Union, inputs: vec![own, input], schema, properties }
}
