//! A fragment graph to actors: channels for its edges, a pipeline for each fragment and actor, readers for its sources.
//!
//! ```text
//! fragment 1, P actors          fragment 2, P actors
//!  [Source > HashAgg] --edge--> [Exchange < HashAgg < Materialize] --outlets of other jobs
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;

use crate::checkpoint::StartActor;
use crate::common::clock::Clock;
use crate::common::{Error, Result};
use crate::connector::{self, Context, Sink, Source, table_log};
use crate::plan::{Distribution, Fragment, FragmentGraph, Node, Operator, SourceRead, TableRead, Values};
use crate::state::{KeyRange, StateStore, StateWriter, Table};
use crate::stream::ActorEvent;
use crate::stream::actor::{Actor, Leaf, LeafKind, SourceLeaf, offsets_schema};
use crate::stream::align::WatermarkMerge;
use crate::stream::backfill::{Backfill, BackfillStats, progress_schema};
use crate::stream::dispatch::{Dispatcher, Outlet, vnodes_of};
use crate::stream::exchange::{EdgeReceiver, EdgeSender, edge};
use crate::stream::letters::{Letters, dead_letters_schema, late_rows_schema};
use crate::stream::operator::build::build as build_operator;
use crate::stream::operator::sink::SinkOperator;
use crate::stream::operator::{BuildContext, SourceWatermarks, StreamOperator};
use crate::stream::pipeline::{Entry, Loop, OperatorStats, Pipeline, Stage};
use crate::stream::pulse::Pulse;
use crate::stream::source::SharedSource;
use crate::stream::values::{ValuesLeaf, sent_schema};
use crate::types::{ActorId, FragmentId, JobId, OperatorId, TableId};

/// What every job is built from.
#[derive(Clone)]
pub struct JobEnv {
    pub store: Arc<StateStore>,
    pub clock: Clock,
    pub pulse: Pulse,
    pub parallelism: usize,
    pub connectors: Context,
    pub events: mpsc::UnboundedSender<ActorEvent>,
    pub next_actor: Arc<AtomicU32>,
}

/// A job ready to start, with the handles by which it is watched.
#[derive(Default)]
pub struct Built {
    pub start: Vec<StartActor>,
    /// Readers of other jobs' tables, by upstream job and its materializing actor.
    pub attach: HashMap<(JobId, usize), Vec<Outlet>>,
    pub sinks: Vec<(JobId, Arc<dyn Sink>)>,
    pub handles: Handles,
}

/// How a running job is watched.
#[derive(Default, Clone)]
pub struct Handles {
    pub sources: Vec<SourceHandle>,
    pub operators: Vec<OperatorHandle>,
    pub backfill: Arc<BackfillStats>,
    /// What a backfill reads.
    pub scanned: Vec<Arc<Table>>,
}

impl Handles {
    /// Rows on disk that a backfill has to read, all in all.
    pub fn backfill_total(&self) -> u64 {
        self.scanned.iter().map(|t| t.stats().rows).sum()
    }
}

#[derive(Clone)]
pub struct SourceHandle {
    /// The catalog object that is read, and its name.
    pub source: JobId,
    pub name: String,
    pub reader: Arc<SharedSource>,
}

#[derive(Clone)]
pub struct OperatorHandle {
    pub fragment: FragmentId,
    pub id: OperatorId,
    pub name: &'static str,
    pub actors: usize,
    pub state: Vec<crate::types::TableId>,
    pub schema: SchemaRef,
    pub stats: Arc<OperatorStats>,
}

impl JobEnv {
    /// The actors of a fragment of `graph`.
    pub fn actors_of(&self, graph: &FragmentGraph, fragment: &Fragment) -> usize {
        if fragment.single { 1 } else { graph.parallelism.unwrap_or(self.parallelism) }
    }

    /// Builds a job. `upstreams` says how many actors materialize each job that is read.
    pub fn build(&self, job: JobId, graph: &FragmentGraph, upstreams: &HashMap<JobId, usize>) -> Result<Built> {
        Builder {
            env: self,
            job,
            graph,
            upstreams,
            built: Built::default(),
            watermarks: Arc::default(),
            wires: HashMap::new(),
        }
        .build()
    }

    /// Opens what a source or a table reads.
    pub fn open_source(&self, read: &SourceRead) -> Result<Arc<dyn Source>> {
        if read.options.contains_key("connector") {
            connector::source(read.source, &read.name, &read.options, &self.connectors)
        } else {
            Ok(table_log::source((self.connectors.logs)(read.source)?))
        }
    }
}

/// The channels of one edge: `receivers[to][from]`.
struct Wires {
    receivers: Vec<Vec<EdgeReceiver>>,
}

struct Builder<'a> {
    env: &'a JobEnv,
    job: JobId,
    graph: &'a FragmentGraph,
    upstreams: &'a HashMap<JobId, usize>,
    built: Built,
    watermarks: Arc<SourceWatermarks>,
    /// By receiving fragment and leaf.
    wires: HashMap<(FragmentId, OperatorId), Wires>,
}

/// What the actors of one fragment share.
#[derive(Default)]
struct Shared {
    sources: HashMap<OperatorId, (Arc<dyn Source>, Arc<SharedSource>)>,
    sinks: HashMap<OperatorId, Arc<dyn Sink>>,
    stats: HashMap<OperatorId, Arc<OperatorStats>>,
}

/// One actor while its tree is walked.
struct Parts {
    stages: Vec<Stage>,
    leaves: Vec<(Leaf, Option<EdgeSender>)>,
    loops: Vec<Loop>,
    /// Where the rows of recursive queries go back in, by their state tables.
    work_tables: HashMap<TableId, Option<(usize, usize)>>,
    actor: usize,
    actors: usize,
    fragment: FragmentId,
}

fn matrix(from: usize, to: usize) -> (Vec<Vec<EdgeSender>>, Wires) {
    let mut senders: Vec<Vec<EdgeSender>> = (0..from).map(|_| Vec::with_capacity(to)).collect();
    let mut receivers: Vec<Vec<EdgeReceiver>> = (0..to).map(|_| Vec::with_capacity(from)).collect();
    for row in &mut senders {
        for column in &mut receivers {
            let (sender, receiver) = edge();
            row.push(sender);
            column.push(receiver);
        }
    }
    (senders, Wires { receivers })
}

impl Builder<'_> {
    fn build(mut self) -> Result<Built> {
        let counts: HashMap<FragmentId, usize> =
            self.graph.fragments.iter().map(|f| (f.id, self.env.actors_of(self.graph, f))).collect();
        let count = |id: FragmentId| {
            counts.get(&id).copied().ok_or_else(|| Error::corrupted(format!("an edge names fragment {id}")))
        };
        // By sending fragment: for each of its actors the outlets.
        let mut outlets: HashMap<FragmentId, Vec<Vec<Outlet>>> = HashMap::new();
        for graph_edge in &self.graph.edges {
            let (from, to) = (count(graph_edge.from)?, count(graph_edge.to)?);
            let (senders, wires) = matrix(from, to);
            self.wires.insert((graph_edge.to, graph_edge.leaf), wires);
            let by_actor = outlets.entry(graph_edge.from).or_insert_with(|| vec![Vec::new(); from]);
            for (peer, (senders, outlets)) in senders.into_iter().zip(by_actor).enumerate() {
                outlets.push(Outlet { job: self.job, distribution: graph_edge.distribution.clone(), senders, peer });
            }
        }
        let graph = self.graph;
        for fragment in &graph.fragments {
            let actors = self.env.actors_of(self.graph, fragment);
            let mut outlets = outlets.remove(&fragment.id).unwrap_or_else(|| vec![Vec::new(); actors]);
            self.wire_scans(fragment.id, &fragment.root, actors)?;
            let shared = self.share(fragment)?;
            for actor in 0..actors {
                let outlets = std::mem::take(&mut outlets[actor]);
                self.actor(fragment, actor, actors, outlets, &shared)?;
            }
        }
        Ok(self.built)
    }

    /// Edges from the jobs whose tables the fragment scans.
    fn wire_scans(&mut self, fragment: FragmentId, node: &Node, actors: usize) -> Result<()> {
        for input in &node.inputs {
            self.wire_scans(fragment, input, actors)?;
        }
        let Operator::TableScan(read) = &node.operator else { return Ok(()) };
        let upstream = self.upstreams.get(&read.upstream).copied();
        let from = upstream.ok_or_else(|| Error::internal(format!("job {} is not running", read.name)))?;
        let (senders, wires) = matrix(from, actors);
        self.wires.insert((fragment, node.id), wires);
        for (peer, senders) in senders.into_iter().enumerate() {
            let distribution = Distribution::Hash(read.key.clone());
            let outlet = Outlet { job: self.job, distribution, senders, peer };
            self.built.attach.entry((read.upstream, peer)).or_default().push(outlet);
        }
        Ok(())
    }

    /// Opens what the fragment's actors share.
    fn share(&mut self, fragment: &Fragment) -> Result<Shared> {
        let mut nodes = Vec::new();
        collect(&fragment.root, &mut nodes);
        let mut shared = Shared::default();
        for node in nodes {
            let stats = Arc::new(OperatorStats::default());
            shared.stats.insert(node.id, stats.clone());
            let single = Node { inputs: Vec::new(), ..node.clone() };
            self.built.handles.operators.push(OperatorHandle {
                fragment: fragment.id,
                id: node.id,
                name: node.operator.name(),
                actors: self.env.actors_of(self.graph, fragment),
                state: single.state_tables().into_iter().map(|(_, table)| table).collect(),
                schema: node.schema.clone(),
                stats,
            });
            match &node.operator {
                Operator::Source(read) => {
                    let source = self.env.open_source(read)?;
                    let position = self.stored_position(read)?;
                    let reader = SharedSource::new(source.reader(position.as_deref())?);
                    let handle = SourceHandle { source: read.source, name: read.name.clone(), reader: reader.clone() };
                    self.built.handles.sources.push(handle);
                    shared.sources.insert(node.id, (source, reader));
                }
                Operator::Sink(sink) => {
                    let opened = connector::sink(sink.sink, &sink.name, &sink.options, &self.env.connectors)?;
                    opened.recover(self.env.store.committed_epoch())?;
                    self.built.sinks.push((self.job, opened.clone()));
                    shared.sinks.insert(node.id, opened);
                }
                _ => {}
            }
        }
        Ok(shared)
    }

    fn stored_position(&self, read: &SourceRead) -> Result<Option<String>> {
        let table = self.env.store.table(read.offsets, offsets_schema())?;
        let rows = table.writer().scan(&KeyRange::all(), Some(1))?;
        Ok(rows.first().filter(|(_, r)| r.num_rows() > 0).map(|(_, r)| r.column(0).as_string::<i32>().value(0).into()))
    }

    fn actor(
        &mut self,
        fragment: &Fragment,
        actor: usize,
        actors: usize,
        outlets: Vec<Outlet>,
        shared: &Shared,
    ) -> Result<()> {
        let mut parts = Parts {
            stages: Vec::new(),
            leaves: Vec::new(),
            loops: Vec::new(),
            work_tables: HashMap::new(),
            actor,
            actors,
            fragment: fragment.id,
        };
        self.node(&fragment.root, None, &mut parts, shared)?;
        // Stages were pushed parents first; the pipeline wants inputs first.
        parts.stages.reverse();
        let last = parts.stages.len();
        let flip = |place: Option<(usize, usize)>| place.map(|(stage, port)| (last - 1 - stage, port));
        for stage in &mut parts.stages {
            stage.parent = flip(stage.parent);
        }
        let loops = parts.loops.iter().map(|l| Loop {
            stage: last - 1 - l.stage,
            body: last - l.body.end..last - l.body.start,
            entry: Entry(flip(l.entry.0)),
        });
        let loops = loops.collect();
        let mut barriers = Vec::new();
        let mut leaves = Vec::new();
        for (mut leaf, barrier) in parts.leaves {
            leaf.entry = Entry(flip(leaf.entry.0));
            leaves.push(leaf);
            barriers.extend(barrier);
        }
        let letters = Letters::new(
            // Numbers its actors over all fragments: the letters' keys must differ.
            fragment.id.0 as usize * 1000 + actor,
            self.writer(self.graph.dead_letters, dead_letters_schema())?,
            self.writer(self.graph.late_rows, late_rows_schema())?,
            self.graph.policy,
            self.env.clock.clone(),
        );
        let actor = Actor {
            id: ActorId(self.env.next_actor.fetch_add(1, Ordering::SeqCst)),
            job: self.job,
            leaves,
            pipeline: Pipeline::new(actor, parts.stages, loops, letters),
            dispatcher: Dispatcher::new(self.job, actor, outlets),
            materializes: matches!(fragment.root.operator, Operator::Materialize(_)),
            events: self.env.events.clone(),
            pulse: self.env.pulse.clone(),
            uncommitted: self.env.store.uncommitted().clone(),
            waiting_for_room: None,
        };
        self.built.start.push(StartActor { actor, barriers });
        Ok(())
    }

    fn writer(&self, table: crate::types::TableId, schema: SchemaRef) -> Result<StateWriter> {
        Ok(self.env.store.table(table, schema)?.writer())
    }

    /// Adds the tree under `node`, whose output goes to `parent`.
    fn node(&mut self, node: &Node, parent: Option<(usize, usize)>, parts: &mut Parts, shared: &Shared) -> Result<()> {
        match &node.operator {
            Operator::Exchange { .. } => {
                let channels = self.receive(node.id, parts)?;
                parts.leaf(node, parent, channels, LeafKind::Exchange, None);
                return Ok(());
            }
            Operator::Source(read) => return self.source(node, read, parent, parts, shared),
            Operator::TableScan(read) => return self.scan(node, read, parent, parts),
            Operator::Values(values) => return self.values(node, values, parent, parts),
            Operator::WorkTable { of } => {
                parts.work_tables.insert(*of, parent);
                return Ok(());
            }
            _ => {}
        }
        let operator: Box<dyn StreamOperator> = match &node.operator {
            Operator::Sink(sink) => {
                let columns = sink.columns.iter().map(|c| node.inputs[0].schema.field(*c).clone()).collect::<Vec<_>>();
                let schema = Arc::new(arrow::datatypes::Schema::new(columns));
                let writer = shared.sinks[&node.id].writer(parts.actor, schema.clone())?;
                Box::new(SinkOperator::new(writer, schema, sink.columns.clone()))
            }
            _ => {
                let context = BuildContext {
                    store: &self.env.store,
                    input: node.inputs.first().map_or_else(|| node.schema.clone(), |i| i.schema.clone()),
                    vnodes: vnodes_of(parts.actor, parts.actors),
                    actor: parts.actor,
                    actors: parts.actors,
                    clock: &self.env.clock,
                    sources: &self.watermarks,
                };
                build_operator(node, &context)?
            }
        };
        let stage = parts.stages.len();
        parts.stages.push(Stage { id: node.id, operator, parent, stats: shared.stats[&node.id].clone() });
        for (port, input) in node.inputs.iter().enumerate() {
            let first = parts.stages.len();
            self.node(input, Some((stage, port)), parts, shared)?;
            if let Operator::Recursive(recursive) = &node.operator
                && let Some(entry) = parts.work_tables.remove(&recursive.state)
            {
                parts.loops.push(Loop { stage, body: first..parts.stages.len(), entry: Entry(entry) });
            }
        }
        Ok(())
    }

    fn receive(&mut self, leaf: OperatorId, parts: &Parts) -> Result<Vec<EdgeReceiver>> {
        self.wires
            .get_mut(&(parts.fragment, leaf))
            .and_then(|w| w.receivers.get_mut(parts.actor))
            .map(std::mem::take)
            .ok_or_else(|| Error::corrupted(format!("leaf {leaf} of fragment {} has no edge", parts.fragment)))
    }

    fn source(
        &mut self,
        node: &Node,
        read: &SourceRead,
        parent: Option<(usize, usize)>,
        parts: &mut Parts,
        shared: &Shared,
    ) -> Result<()> {
        let (source, reader) = &shared.sources[&node.id];
        let decoder = source.decoder(read.full_schema.clone(), read.projection.clone())?;
        let offsets = if parts.actor == 0 { Some(self.writer(read.offsets, offsets_schema())?) } else { None };
        let leaf = SourceLeaf::new(read.name.clone(), reader.clone(), decoder, offsets, shared.stats[&node.id].clone());
        let (barriers, channel) = edge();
        parts.leaf(node, parent, vec![channel], LeafKind::Source(Box::new(leaf)), Some(barriers));
        Ok(())
    }

    fn values(
        &mut self,
        node: &Node,
        values: &Values,
        parent: Option<(usize, usize)>,
        parts: &mut Parts,
    ) -> Result<()> {
        let sent = self.writer(values.sent, sent_schema())?;
        let leaf = ValuesLeaf::new(values, node.schema.clone(), sent, self.built.handles.backfill.clone())?;
        let (barriers, channel) = edge();
        parts.leaf(node, parent, vec![channel], LeafKind::Values(Box::new(leaf)), Some(barriers));
        Ok(())
    }

    fn scan(&mut self, node: &Node, read: &TableRead, parent: Option<(usize, usize)>, parts: &mut Parts) -> Result<()> {
        let channels = self.receive(node.id, parts)?;
        if parts.actor == 0 {
            self.built.handles.scanned.push(self.env.store.table(read.table, read.full_schema.clone())?);
        }
        let backfill = Backfill::new(
            read.clone(),
            node.schema.clone(),
            self.env.store.table(read.table, read.full_schema.clone())?,
            self.writer(read.progress, progress_schema())?,
            vnodes_of(parts.actor, parts.actors),
            self.built.handles.backfill.clone(),
        )?;
        parts.leaf(node, parent, channels, LeafKind::Scan(Box::new(backfill)), None);
        Ok(())
    }
}

impl Parts {
    fn leaf(
        &mut self,
        node: &Node,
        parent: Option<(usize, usize)>,
        channels: Vec<EdgeReceiver>,
        kind: LeafKind,
        barriers: Option<EdgeSender>,
    ) {
        let merge = WatermarkMerge::new(channels.len());
        let leaf = Leaf { entry: Entry(parent), channels, merge, kind, schema: node.schema.clone() };
        self.leaves.push((leaf, barriers));
    }
}

fn collect<'a>(node: &'a Node, nodes: &mut Vec<&'a Node>) {
    nodes.push(node);
    for input in &node.inputs {
        collect(input, nodes);
    }
}
