//! Names to ids and definitions: immutable snapshots, persisted through the state store's commit.

pub mod def;

pub use def::{Column, Definition, MaterializedView, Object, Sink, Source, Table, View, Watermark};
