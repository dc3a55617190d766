//! Weir: a SQL streaming database in one binary.

pub mod server;
pub mod database;
pub mod session;
pub mod batch;
pub mod job;
pub mod checkpoint;
pub mod stream;
pub mod planner;
pub mod sql;
pub mod catalog;
pub mod plan;
pub mod connector;
pub mod expr;
pub mod state;
pub mod log;
pub mod types;
pub mod common;
