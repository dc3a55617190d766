//! Reads: DataFusion over one completed epoch of every table and view, and over the `weir.*` system tables.
//!
//! ```text
//! SELECT --> BatchContext (catalog snapshot, pinned epoch) --> DataFusion plan --> scans read state --> pin released --> rows
//! ```

pub mod access;
pub mod changed;
pub mod client;
pub mod context;
pub mod lookup;
pub mod pg_catalog;
pub mod system;
mod styles;
pub mod table;
pub mod zone;

pub use client::{Backend, Client, Signal, Taken};
pub use context::{BatchContext, BatchEnv, PlanningCache, Purpose};
pub use lookup::{LookupCache, Sought};
pub use system::{SystemTable, SystemTables};
