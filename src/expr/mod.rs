//! Expressions and aggregates on chunks, through DataFusion. Knows neither plans nor state: what it is given are
//! physical expressions and arrays.

pub mod aggregate;
pub mod array_input;
pub mod bytea;
pub mod checked;
mod correlated;
pub mod eval;
pub mod function;
pub mod functions;
mod gap_fill;
pub mod json;
mod lateral;
pub mod marked_list;
pub mod modifier;
pub mod not_in;
mod ordered_set;
mod pg;
pub mod proto;
pub mod push_down_filter;
pub mod rules;
mod series;
pub mod session;
pub mod time_join;
pub mod time_windows;
mod tumble;
pub mod uuid;

pub use pg::{text_input, text_output};
