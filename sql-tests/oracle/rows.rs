//! Views over functions that return rows, and over arrays and JSON.

pub const VIEWS: &[(&str, &str)] = &[
    ("series", "SELECT id, g FROM t, generate_series(1, v) g WHERE b"),
    ("series_of_time", "SELECT id, at FROM t, generate_series(ts, ts + INTERVAL '2 hours', INTERVAL '1 hour') AS at"),
    (
        "series_kept",
        "SELECT id, k, g, o FROM t LEFT JOIN LATERAL generate_series(5, v) WITH ORDINALITY AS s(g, o) ON true",
    ),
    ("series_among", "SELECT id, generate_series(1, v) AS g, unnest(string_to_array(k || ',x', ',')) AS s FROM t"),
    ("series_counted", "SELECT g, count(*) AS n, sum(v) AS s FROM t, generate_series(v, 10, 3) g GROUP BY g"),
    (
        "array_elements",
        "SELECT l.k, x.v, x.v * 2 AS twice FROM (SELECT k, array_agg(v ORDER BY v) AS vs FROM t GROUP BY k) l, unnest(l.vs) AS x(v)",
    ),
    (
        "array_pairs",
        "SELECT id, a, c FROM bag, t, LATERAL (SELECT g AS a, g + bag.v AS c FROM generate_series(1, t.v % 3) g) x",
    ),
    ("branches", "SELECT id, g FROM t, generate_series(1, 3) g WHERE g <= v"),
];
