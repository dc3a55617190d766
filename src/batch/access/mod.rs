//! How a query reaches the rows of a table without reading all of them: what its filters say of columns is laid over the
//! orders in which rows are stored, the table's own key and its indexes.
//!
//! ```text
//! filters --constraint--> what is known of columns --range--> encoded keys and ranges --read--> rows
//!                              \--path: the order that leaves the fewest rows
//! ```
//!
//! What is read may be more than the filters let through, never less: they are applied again above. Knows no jobs.

mod constraint;
mod indexes;
mod path;
mod range;
mod rows;
#[cfg(test)]
mod tests;

pub use constraint::{Constraints, exact};
pub use indexes::{Failed, Indexes};
pub use path::{Base, IndexRows, Path, Reach, choose, follow};
pub use range::KeyColumn;
pub use rows::exec;
