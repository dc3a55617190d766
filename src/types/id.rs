//! Identifiers. All are small integers that are never reused within a data folder.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($repr:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

ids! {
    /// The interval between two barriers; `Epoch(n)` ends with barrier *n*. Rises by one, is persisted.
    Epoch(u64);
    /// A state table: the rows of a table or view, or an operator's own state.
    TableId(u32);
    /// A streaming job, and the catalog object that it maintains: the same number for both.
    JobId(u32);
    /// A plan part between exchanges; unique within its job.
    FragmentId(u32);
    /// An operator of a fragment; unique within its job.
    OperatorId(u32);
    /// One parallel instance of a fragment in the running process; not persisted.
    ActorId(u32);
    /// A client connection; the process id that the wire shows.
    SessionId(i32);
}

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
