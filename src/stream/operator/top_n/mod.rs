//! TopN: the first rows of each partition, an epoch at a time.
//!
//! ```text
//!                        Leading, a partition: the first keys, in memory
//! rows --keys--> which of them come in among the first? --barrier--> first before, first now --> -old, +new
//!                        |                                                ^
//!                        +--- state: partition | order | stream key -> row +  (what follows the first is found by a scan)
//! ```
//! Over input that retracts the state holds every row, so that the next one moves up when one of the first goes. Over
//! input that only grows it holds the first rows alone, and what cannot come in among them is dropped at once.
//! Deduplication of such input ([`dedup`]) keeps one row a partition, found by its key.
//!
//! **Watermarks** go on for partition columns only: of another column an older row may move up at any time. They do not
//! overtake rows.

mod changes;
mod dedup;
mod leading;
mod ranked;
#[cfg(test)]
mod tests;

use super::{BuildContext, StreamOperator};
use crate::common::Result;
use crate::plan::{self, Node};

pub(super) fn new(
    name: String,
    plan: &plan::TopN,
    node: &Node,
    context: &BuildContext<'_>,
) -> Result<Box<dyn StreamOperator>> {
    Ok(match plan.keeps_one() {
        true => Box::new(dedup::Dedup::new(plan, node, context)?),
        false => Box::new(ranked::Ranked::new(name, plan, node, context)?),
    })
}
