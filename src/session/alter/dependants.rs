//! Who reads what is altered: their texts in other words, and the proof that the words mean the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Definition, Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::FragmentGraph;
use crate::planner;
use crate::sql::relation::{self, Place};
use crate::types::JobId;

/// The objects of a snapshot that one statement changes.
pub struct Rewording {
    before: Arc<Snapshot>,
    changed: BTreeMap<JobId, Object>,
    dropped: Vec<JobId>,
}

impl Rewording {
    pub fn new(before: &Arc<Snapshot>) -> Self {
        Self { before: before.clone(), changed: BTreeMap::new(), dropped: Vec::new() }
    }

    pub fn put(&mut self, object: Object) {
        self.changed.insert(object.id, object);
    }

    /// These are dropped with the change.
    pub fn without(&mut self, dropped: &[JobId]) {
        self.changed.retain(|id, _| !dropped.contains(id));
        self.dropped.extend_from_slice(dropped);
    }

    /// Puts relations into other places in the texts of all that read one of `ids`.
    pub fn reword(&mut self, ids: &[JobId], places: &BTreeMap<String, Place>) -> Result<()> {
        for id in self.readers(ids) {
            let Some(object) = self.now(id) else { continue };
            let reworded = reworded(object, places)?;
            self.changed.extend(reworded.map(|o| (id, o)));
        }
        Ok(())
    }

    /// The same where the text would mean something else by now: it has a `*`, or a name that is another column's.
    pub fn pin(&mut self, ids: &[JobId], places: &BTreeMap<String, Place>) -> Result<()> {
        for id in self.readers(ids) {
            let Some(object) = self.now(id) else { continue };
            let Some(query) = relation::query(&object.sql)? else { continue };
            let meant = planner::meaning(&self.before, &query)?;
            if planner::meaning(&self.after()?, &query).is_ok_and(|means| means == meant) {
                continue;
            }
            let reworded = reworded(object, places)?;
            self.changed.extend(reworded.map(|o| (id, o)));
        }
        Ok(())
    }

    fn now(&self, id: JobId) -> Option<&Object> {
        self.changed.get(&id).or_else(|| self.before.by_id(id).map(|o| o.as_ref()))
    }

    fn after(&self) -> Result<Snapshot> {
        self.before.replacing(self.changed.values().cloned().collect())
    }

    /// Puts another name on what the plans of its readers read.
    pub fn relabel(&mut self, id: JobId, name: &str) -> Result<()> {
        for reader in self.readers(&[id]) {
            let Some(mut object) = self.now(reader).cloned() else { continue };
            relabel(&mut object, id, name)?;
            self.put(object);
        }
        Ok(())
    }

    fn readers(&self, ids: &[JobId]) -> Vec<JobId> {
        let mut readers: Vec<JobId> = ids.iter().flat_map(|id| self.before.dependants_of(*id)).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// All that is changed, when every query that reads some of it still reads the same and gives the same columns.
    ///
    /// # Errors
    /// `DependentObjects` names the first that does not.
    pub fn checked(self) -> Result<Vec<Object>> {
        match self.refusals()?.into_iter().next() {
            Some((_, refused)) => Err(refused),
            None => Ok(self.changed.into_values().collect()),
        }
    }

    /// Whose query would not read the same, and why; those that others read come first.
    pub fn refusals(&self) -> Result<Vec<(JobId, Error)>> {
        let mut refusals = Vec::new();
        let after = self.after()?;
        let ids: Vec<JobId> = self.changed.keys().copied().collect();
        for id in self.before.with_dependants(&ids).into_iter().rev() {
            if self.dropped.contains(&id) {
                continue;
            }
            let (Some(old), Some(new)) = (self.before.by_id(id), after.by_id(id)) else { continue };
            let (Some(old_query), Some(new_query)) = (relation::query(&old.sql)?, relation::query(&new.sql)?) else {
                continue;
            };
            let old_plan = planner::plan_view(&self.before, &old_query, &[])?;
            let new_plan = planner::plan_view(&after, &new_query, &[]);
            let same =
                |new: &planner::PlannedQuery| new.depends_on == old_plan.depends_on && new.columns == old_plan.columns;
            match new_plan {
                Ok(new) if same(&new) => {}
                Ok(_) => refusals.push((id, refused(old, "it would read other columns"))),
                Err(e) => refusals.push((id, refused(old, e.message()))),
            }
        }
        Ok(refusals)
    }
}

/// The object with relations in other places of its text; `None` when it names none of them.
fn reworded(object: &Object, places: &BTreeMap<String, Place>) -> Result<Option<Object>> {
    let sql = relation::replace(&object.sql, places)?;
    if sql == object.sql {
        return Ok(None);
    }
    let mut object = object.clone();
    if let (Some(query), Some(text)) = (relation::query(&sql)?, object.definition.query_mut()) {
        *text = query.to_string();
    }
    object.sql = sql;
    Ok(Some(object))
}

fn refused(object: &Object, why: &str) -> Error {
    let what = format!("{} \"{}\"", object.definition.kind(), object.name);
    Error::new(ErrorKind::DependentObjects, format!("the query of {what} cannot follow the change"))
        .with_detail(why)
        .with_hint("drop it, change this, and create it again")
}

/// Puts another name on what the plan of `object` reads of `id`.
pub fn relabel(object: &mut Object, id: JobId, name: &str) -> Result<()> {
    let what = format!("the stored plan of {}", object.name);
    let unreadable = |e| Error::corrupted(format!("{what}: {e}"));
    if let Definition::Sink(_) | Definition::Table(_) | Definition::MaterializedView(_) = &object.definition
        && let Some(stored) = object.definition.graph_mut()
    {
        let mut graph: FragmentGraph = serde_json::from_str(stored).map_err(unreadable)?;
        graph.relabel(id, name);
        *stored = serde_json::to_string(&graph).map_err(unreadable)?;
    }
    Ok(())
}
