//! `ALTER … SET PARALLELISM`: the job stops at a barrier and starts again with as many actors from the state that it has.
//! State is by virtual node, so that its rows need not move.

use std::sync::Arc;

use super::{Altering, rebuild};
use crate::catalog::{Definition, Object, Sink};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::FragmentGraph;

impl Altering<'_> {
    pub(super) async fn set_parallelism(&mut self, object: &Arc<Object>, actors: Option<usize>) -> Result<()> {
        if let Definition::Sink(Sink { into: Some(table), .. }) = &object.definition {
            let table = self.snapshot.by_id(*table).map_or("", |t| t.name.as_str());
            let message = format!("sink \"{}\" runs as a part of table \"{table}\"", object.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message)
                .with_hint(format!("write ALTER TABLE {table} SET PARALLELISM = …")));
        }
        let mut next = object.as_ref().clone();
        let Some(stored) = next.definition.graph_mut() else {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("a {} does not run", self.kind))
                .with_hint("what runs: tables, materialized views and sinks"));
        };
        let mut graph: FragmentGraph = serde_json::from_str(stored)
            .map_err(|e| Error::corrupted(format!("the stored plan of {}: {e}", object.name)))?;
        if graph.parallelism == actors {
            return Ok(());
        }
        graph.parallelism = actors;
        *stored =
            serde_json::to_string(&graph).map_err(|e| Error::internal(format!("a plan cannot be stored: {e}")))?;
        rebuild(self.services, next, Vec::new(), Vec::new()).await
    }
}
