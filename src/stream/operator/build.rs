//! stub
use super::{BuildContext, StreamOperator};
use crate::common::Result;
use crate::plan::Node;
pub fn build(_node: &Node, _c: &BuildContext<'_>) -> Result<Box<dyn StreamOperator>> {
    todo!()
}
