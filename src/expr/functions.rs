//! The functions that a query can name: DataFusion's and Weir's own, in one registry.
