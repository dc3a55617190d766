//! Binds, rewrites and lowers queries to stream plans. Pure: reads a catalog snapshot, writes plain data.
