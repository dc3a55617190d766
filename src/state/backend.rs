//! What a store asks of the thing that keeps its bytes. A backend knows names and bytes, no tables and no rows.

use bytes::Bytes;

use crate::common::Result;

/// A change of one entry: the new value, or `None` to remove it.
pub(super) type Change = (Vec<u8>, Option<Bytes>);

/// An ordered map of small names to values, with one writer at a time and any number of readers.
pub(super) trait Backend: Send + Sync {
    fn get(&self, name: &[u8]) -> Result<Option<Bytes>>;

    /// The entries whose name starts with `prefix`, in order of name.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>>;

    /// Applies all changes or none; after `Ok` reads see them, after [`Backend::flush`] the disk has them. A kill
    /// between the two leaves all or none.
    fn apply(&self, changes: Vec<Change>) -> Result<()>;

    /// Makes everything applied durable. After an error it may be called again.
    fn flush(&self) -> Result<()>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// Whether values should come compressed.
    fn wants_compressed(&self) -> bool;
}
