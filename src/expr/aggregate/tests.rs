//! Each function against DataFusion's own answer, and sums at the edges of their types.
