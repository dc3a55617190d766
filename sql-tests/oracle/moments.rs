//! Views that join with the row of a moment. No two rows of a right side have the same key and time: among such the
//! answer is not determined.

pub const VIEWS: &[(&str, &str)] = &[
    (
        "asof",
        "SELECT t.id, t.v, r.v AS rv, r.n FROM t ASOF JOIN (SELECT k, v, count(*) AS n FROM bag GROUP BY k, v) r
         ON t.k = r.k AND t.v >= r.v",
    ),
    (
        "asof_left",
        "SELECT t.id, t.k, r.ts, r.lo FROM t ASOF LEFT JOIN (SELECT k, ts, min(v) AS lo FROM a GROUP BY k, ts) r
         ON t.k = r.k AND t.ts > r.ts",
    ),
    ("asof_next", "SELECT x.id, y.id AS next FROM t x ASOF LEFT JOIN t y ON x.k = y.k AND x.id < y.id"),
    ("asof_before", "SELECT bag.k, bag.v, t.id FROM bag ASOF JOIN t ON bag.v + 3 > t.id WHERE t.b"),
    (
        "asof_match",
        "SELECT a.k, a.v, r.hi FROM a ASOF JOIN (SELECT b, ts, max(v) AS hi FROM t GROUP BY b, ts) r
         MATCH_CONDITION (a.ts <= r.ts) ON (a.v > 4) = r.b",
    ),
    ("asof_sums", "SELECT n, count(*) AS rows, sum(rv) AS s FROM asof GROUP BY n"),
];
