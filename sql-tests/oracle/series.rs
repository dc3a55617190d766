//! Views of series in time.

pub(super) const VIEWS: &[(&str, &str)] = &[
    (
        "gaps",
        "SELECT id, k, v, ts FROM GAP_FILL((SELECT id, k, v, ts FROM t WHERE b), ts, INTERVAL '9 seconds', LOCF(v), INTERPOLATE(id))",
    ),
    (
        "gaps_of_kinds",
        "SELECT k, ts, v, f, d, b FROM GAP_FILL(t, ts, INTERVAL '20 seconds', INTERPOLATE(v), INTERPOLATE(f), INTERPOLATE(d), PARTITION BY k)",
    ),
    (
        "gaps_of_windows",
        "WITH w AS (SELECT k, window_start, sum(v) AS s FROM TUMBLE(a, ts, INTERVAL '10' SECOND) GROUP BY k, window_start)
         SELECT * FROM GAP_FILL(w, window_start, INTERVAL '10' SECOND, LOCF(s), PARTITION BY k)",
    ),
    ("gap_sums", "SELECT k, count(*) AS n, sum(v) AS s FROM gaps_of_kinds GROUP BY k"),
];
