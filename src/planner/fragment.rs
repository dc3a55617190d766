//! Cuts a stream plan at its exchanges.

use std::collections::BTreeSet;

use crate::plan::{Distribution, Edge, Fragment, FragmentGraph, Node, Operator, Policy};
use crate::types::{FragmentId, JobId, TableId};

/// The graph of the plan under `root`; upstream fragments come first.
pub(super) fn cut(root: Node, policy: Policy, table_ids: &mut dyn FnMut() -> TableId) -> FragmentGraph {
    let mut upstreams: BTreeSet<JobId> = BTreeSet::new();
    root.visit(&mut |node| {
        if let Operator::TableScan(scan) = &node.operator {
            upstreams.insert(scan.upstream);
        }
    });
    let mut cutter = Cutter::default();
    cutter.fragment(root);
    FragmentGraph {
        fragments: cutter.fragments,
        edges: cutter.edges,
        upstreams: upstreams.into_iter().collect(),
        dead_letters: table_ids(),
        late_rows: table_ids(),
        policy,
        parallelism: None,
    }
}

#[derive(Default)]
struct Cutter {
    fragments: Vec<Fragment>,
    edges: Vec<Edge>,
}

impl Cutter {
    /// Adds the fragment of `root`, its upstream ones before it.
    fn fragment(&mut self, mut root: Node) -> FragmentId {
        let first_edge = self.edges.len();
        self.detach(&mut root);
        let id = FragmentId(self.fragments.len() as u32);
        // Edges made while detaching lead here, or to fragments that have their number already.
        for edge in self.edges.iter_mut().skip(first_edge).filter(|e| e.to == UNKNOWN) {
            edge.to = id;
        }
        let mut single = false;
        root.visit(&mut |node| single |= node.properties.distribution == Distribution::Single);
        self.fragments.push(Fragment { id, root, single });
        id
    }

    fn detach(&mut self, node: &mut Node) {
        if let Operator::Exchange { distribution } = &node.operator {
            let (leaf, distribution) = (node.id, distribution.clone());
            for input in std::mem::take(&mut node.inputs) {
                let from = self.fragment(input);
                self.edges.push(Edge { from, to: UNKNOWN, leaf, distribution: distribution.clone() });
            }
            return;
        }
        for input in &mut node.inputs {
            self.detach(input);
        }
    }
}

/// Stands in an edge until the fragment that it leads to is numbered.
const UNKNOWN: FragmentId = FragmentId(u32::MAX);
