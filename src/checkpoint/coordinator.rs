//! The protocol's decisions: facts in, actions out. No clock, no I/O.

use std::collections::HashSet;
use std::time::Duration;

use crate::types::{ActorId, Epoch};

/// What the driver sees when it asks what to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// Data has entered since the last barrier.
    pub dirty: bool,
    /// In how long time alone changes something; zero when it has.
    pub due: Option<Duration>,
    /// Somebody waits for a barrier: a session, a change of the graph, a source that has ended.
    pub barrier_wanted: bool,
    /// Somebody waits for a commit.
    pub commit_wanted: bool,
    /// What is not committed takes much memory.
    pub pressed: bool,
    pub since_barrier: Duration,
    pub since_commit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send the barrier that ends this epoch to all sources.
    Inject(Epoch),
    /// Fold and flush everything up to this epoch.
    Commit(Epoch),
    /// Nothing now; ask again after this long at the latest.
    Wait(Option<Duration>),
}

/// One epoch is in flight at a time, one commit too; both may overlap.
#[derive(Debug)]
pub struct Coordinator {
    barrier_interval: Duration,
    checkpoint_interval: Duration,
    actors: HashSet<ActorId>,
    injected: Epoch,
    missing: Option<HashSet<ActorId>>,
    complete: Epoch,
    committing: Option<Epoch>,
    committed: Epoch,
}

impl Coordinator {
    pub fn new(committed: Epoch, barrier_interval: Duration, checkpoint_interval: Duration) -> Self {
        Self {
            barrier_interval,
            checkpoint_interval,
            actors: HashSet::new(),
            injected: committed,
            missing: None,
            complete: committed,
            committing: None,
            committed,
        }
    }

    pub fn set_intervals(&mut self, barrier: Duration, checkpoint: Duration) {
        self.barrier_interval = barrier;
        self.checkpoint_interval = checkpoint;
    }

    /// The latest complete epoch.
    pub fn complete(&self) -> Epoch {
        self.complete
    }

    pub fn committed(&self) -> Epoch {
        self.committed
    }

    /// The last epoch whose barrier was sent.
    pub fn injected(&self) -> Epoch {
        self.injected
    }

    /// No barrier is on its way: the set of actors may change.
    pub fn is_quiet(&self) -> bool {
        self.missing.is_none()
    }

    pub fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// What to do now; called until it says `Wait`.
    pub fn decide(&mut self, facts: Facts) -> Action {
        let mut wait: Option<Duration> = None;
        if self.missing.is_none() {
            // Under pressure what is complete is committed first.
            let pressed = facts.pressed && self.committing.is_none() && self.complete == self.committed;
            // Even what is due often comes no more often than the interval.
            let interval = if pressed { Duration::ZERO } else { self.barrier_interval };
            let next = if facts.dirty { Some(Duration::ZERO) } else { facts.due };
            let next = next.map(|next| next.max(interval.saturating_sub(facts.since_barrier)));
            if facts.barrier_wanted || next == Some(Duration::ZERO) {
                self.injected = self.injected.next();
                self.missing = Some(self.actors.clone());
                return Action::Inject(self.injected);
            }
            wait = next;
        }
        if self.committing.is_none() && self.complete > self.committed {
            if facts.commit_wanted || facts.pressed || facts.since_commit >= self.checkpoint_interval {
                self.committing = Some(self.complete);
                return Action::Commit(self.complete);
            }
            let due = self.checkpoint_interval - facts.since_commit;
            wait = Some(wait.map_or(due, |w| w.min(due)));
        }
        Action::Wait(wait)
    }

    /// Actors that start at the barrier that was just decided.
    pub fn join(&mut self, actors: impl IntoIterator<Item = ActorId>) {
        for actor in actors {
            self.actors.insert(actor);
            if let Some(missing) = &mut self.missing {
                missing.insert(actor);
            }
        }
    }

    /// Actors that take part from the next barrier on.
    pub fn add(&mut self, actors: impl IntoIterator<Item = ActorId>) {
        self.actors.extend(actors);
    }

    /// Actors that are gone: nobody waits for them any longer. Returns the epoch that this completes.
    pub fn remove(&mut self, actors: &HashSet<ActorId>) -> Option<Epoch> {
        self.actors.retain(|a| !actors.contains(a));
        if let Some(missing) = &mut self.missing {
            missing.retain(|a| !actors.contains(a));
        }
        self.check_complete()
    }

    /// Takes an ack. Returns the epoch that it completes. An ack of an actor that was removed is ignored.
    pub fn acked(&mut self, actor: ActorId, epoch: Epoch) -> Option<Epoch> {
        if epoch == self.injected
            && let Some(missing) = &mut self.missing
        {
            missing.remove(&actor);
        }
        self.check_complete()
    }

    /// To be called after an injection too: with no actors at all an epoch is complete at once.
    pub fn check_complete(&mut self) -> Option<Epoch> {
        if self.missing.as_ref()?.is_empty() {
            self.missing = None;
            self.complete = self.injected;
            return Some(self.complete);
        }
        None
    }

    /// The running commit has ended.
    pub fn commit_ended(&mut self, ok: bool) {
        if let Some(epoch) = self.committing.take()
            && ok
        {
            self.committed = epoch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn coordinator(actors: u32) -> Coordinator {
        let mut c = Coordinator::new(Epoch(7), SECOND, SECOND);
        c.add((0..actors).map(ActorId));
        c
    }

    #[test]
    fn nothing_changed_nothing_sent() {
        let mut c = coordinator(1);
        let idle = Facts { since_barrier: SECOND * 100, since_commit: SECOND * 100, ..Default::default() };
        assert_eq!(c.decide(idle), Action::Wait(None));
    }

    #[test]
    fn an_epoch_is_complete_when_all_have_acked_and_committed_once() {
        let mut c = coordinator(2);
        let dirty = Facts { dirty: true, since_barrier: SECOND, since_commit: SECOND, ..Default::default() };
        assert_eq!(c.decide(dirty), Action::Inject(Epoch(8)));
        assert_eq!(c.decide(dirty), Action::Wait(None), "one epoch in flight");
        assert_eq!(c.acked(ActorId(0), Epoch(8)), None);
        assert_eq!(c.acked(ActorId(0), Epoch(8)), None, "an ack counts once");
        assert_eq!(c.acked(ActorId(1), Epoch(7)), None, "of another epoch");
        assert_eq!(c.acked(ActorId(1), Epoch(8)), Some(Epoch(8)));
        let calm = Facts { since_commit: SECOND, ..Default::default() };
        assert_eq!(c.decide(calm), Action::Commit(Epoch(8)));
        assert_eq!(c.decide(calm), Action::Wait(None), "one commit at a time");
        c.commit_ended(false);
        assert_eq!(c.decide(calm), Action::Commit(Epoch(8)), "a failed commit is tried again");
        c.commit_ended(true);
        assert_eq!((c.committed(), c.decide(calm)), (Epoch(8), Action::Wait(None)));
    }

    #[test]
    fn intervals_are_kept_unless_somebody_waits() {
        let mut c = coordinator(0);
        let early = Facts { dirty: true, since_barrier: SECOND / 4, ..Default::default() };
        assert_eq!(c.decide(early), Action::Wait(Some(SECOND * 3 / 4)));
        assert_eq!(c.decide(Facts { barrier_wanted: true, ..early }), Action::Inject(Epoch(8)));
        assert_eq!(c.check_complete(), Some(Epoch(8)), "without actors");
        let calm = Facts { since_commit: SECOND / 4, ..Default::default() };
        assert_eq!(c.decide(calm), Action::Wait(Some(SECOND * 3 / 4)));
        assert_eq!(c.decide(Facts { commit_wanted: true, ..calm }), Action::Commit(Epoch(8)));
    }

    #[test]
    fn time_alone_brings_a_barrier_when_something_is_due() {
        let mut c = coordinator(0);
        let facts = |due, since| Facts { due: Some(due), since_barrier: since, ..Default::default() };
        assert_eq!(c.decide(facts(SECOND * 100, SECOND * 9)), Action::Wait(Some(SECOND * 100)));
        assert_eq!(c.decide(facts(SECOND / 4, SECOND / 2)), Action::Wait(Some(SECOND / 2)), "not before the interval");
        assert_eq!(c.decide(facts(Duration::ZERO, SECOND / 4)), Action::Wait(Some(SECOND * 3 / 4)));
        assert_eq!(c.decide(facts(Duration::ZERO, SECOND)), Action::Inject(Epoch(8)));
    }

    #[test]
    fn pressure_commits_what_is_complete_and_then_ends_the_open_epoch() {
        let mut c = coordinator(0);
        let pressed = Facts { dirty: true, pressed: true, ..Default::default() };
        assert_eq!(c.decide(Facts { dirty: false, ..pressed }), Action::Wait(None), "nothing to commit");
        assert_eq!(c.decide(pressed), Action::Inject(Epoch(8)));
        c.check_complete();
        assert_eq!(c.decide(pressed), Action::Commit(Epoch(8)));
        assert_eq!(c.decide(pressed), Action::Wait(Some(SECOND)), "one commit at a time, and no epoch of crumbs");
        c.commit_ended(true);
        assert_eq!(c.decide(pressed), Action::Inject(Epoch(9)));
    }

    #[test]
    fn a_removed_actor_is_not_waited_for() {
        let mut c = coordinator(2);
        c.decide(Facts { barrier_wanted: true, ..Default::default() });
        c.acked(ActorId(0), Epoch(8));
        assert_eq!(c.remove(&HashSet::from([ActorId(1)])), Some(Epoch(8)));
        assert_eq!(c.acked(ActorId(1), Epoch(8)), None);
    }
}
