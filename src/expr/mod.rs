//! Expressions and aggregates on chunks, through DataFusion.

pub mod functions;
pub mod proto;
