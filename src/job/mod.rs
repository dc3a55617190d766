//! Streaming jobs: from a stored fragment graph to running actors; create, drop, recover, fail and restart.

pub mod build;
pub mod ingest;
pub mod manager;

pub use build::JobEnv;
pub use manager::{FailedDomain, JobManager, JobSpec, JobState, JobStatus, Jobs, tables_of};
