//! Until the formats are here.
use arrow::datatypes::SchemaRef;

use super::{Decoder, Options};
use crate::common::{Error, Result};

pub fn line_decoder(_options: &Options, _schema: SchemaRef, _projection: Vec<usize>) -> Result<Box<dyn Decoder>> {
    Err(Error::not_supported("formats"))
}
