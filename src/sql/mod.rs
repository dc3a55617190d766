//! SQL text to AST: sqlparser's PostgreSQL dialect plus the statements and window dialects of streaming databases.
//!
//! ```text
//! text --tokens--> one list a statement --Cursor--> Statement --window::rewrite--> plain SQL over tumble_start
//! ```
//!
//! Knows no catalog and plans nothing: names are only folded and checked for their schema.

pub mod changelog;
pub mod columns;
pub mod fetch;
pub mod function;
pub mod gap_fill;
pub mod interval;
pub mod json;
pub mod name;
pub mod names;
pub mod parameters;
pub mod pg;
pub mod relation;
pub mod set_returning;
pub mod statement;
pub mod time_join;
pub mod types;
pub mod whole_row;
pub mod window;
mod alter;
mod array_query;
mod copy;
mod create;
mod cursor;
mod cursors;
mod dialect;
mod error;
mod grouping;
mod index;
mod membership;
mod options;
mod own_level;
mod parse;
mod role;
mod secret;
mod sequence;
mod unsupported;
mod utility;
#[cfg(test)]
mod tests;

pub use parse::{Parsed, parse, parse_expr, parse_query};
pub use statement::Statement;

/// sqlparser's own AST, in the version that DataFusion plans from.
pub use datafusion::sql::sqlparser::ast;
