//! Tables that sinks fill: each holds what its query gives.

/// Name, the statements that make it, query.
pub const TABLES: &[(&str, &[&str], &str)] = &[
    (
        "sunk_rows",
        &[
            "CREATE TABLE sunk_rows (id INT PRIMARY KEY, k VARCHAR, twice BIGINT)",
            "CREATE SINK into_rows INTO sunk_rows AS SELECT id, k, v * 2 FROM t WHERE v > 2",
        ],
        "SELECT id, k, v * 2 AS twice FROM t WHERE v > 2",
    ),
    (
        "sunk_view",
        &[
            "CREATE TABLE sunk_view (n BIGINT PRIMARY KEY, g BIGINT)",
            "CREATE SINK into_view INTO sunk_view FROM sunk_n",
        ],
        "SELECT n, count(*) AS g FROM (SELECT k, count(*) AS n FROM t GROUP BY k) AS s GROUP BY n",
    ),
    (
        // Rows go from key to key, and meet there what others leave.
        "sunk_moves",
        &[
            "CREATE TABLE sunk_moves (v INT PRIMARY KEY, last INT)",
            "CREATE SINK into_moves INTO sunk_moves AS
             SELECT v, id FROM (SELECT v, id, row_number() OVER (PARTITION BY v ORDER BY id DESC) AS r FROM t) AS x
             WHERE r = 1 AND v IS NOT NULL",
        ],
        "SELECT v, max(id) AS last FROM t WHERE v IS NOT NULL GROUP BY v",
    ),
    (
        "sunk_two",
        &[
            "CREATE TABLE sunk_two (src VARCHAR, k VARCHAR, n BIGINT, PRIMARY KEY (src, k))",
            "CREATE SINK into_two_t INTO sunk_two AS SELECT 't', coalesce(k, '-'), count(*) FROM t GROUP BY 2",
            "CREATE SINK into_two_bag INTO sunk_two (n, k, src) AS
             SELECT sum(v), coalesce(k, '-'), 'bag' FROM bag GROUP BY 2",
        ],
        "SELECT 't' AS src, coalesce(k, '-') AS k, count(*) AS n FROM t GROUP BY 2
         UNION ALL SELECT 'bag', coalesce(k, '-'), sum(v) FROM bag GROUP BY 2",
    ),
    (
        "sunk_bag",
        &[
            "CREATE TABLE sunk_bag (k VARCHAR, v BIGINT)",
            "CREATE SINK into_bag INTO sunk_bag AS SELECT k, v FROM a",
            "CREATE SINK into_bag_again INTO sunk_bag (v) AS SELECT v + 100 FROM a WHERE v > 3",
        ],
        "SELECT k, v FROM a UNION ALL SELECT NULL, v + 100 FROM a WHERE v > 3",
    ),
];

/// Views over those tables.
pub const VIEWS: &[(&str, &str)] = &[
    ("over_sunk", "SELECT src, count(*) AS n, sum(n) AS s FROM sunk_two GROUP BY src"),
    ("over_sunk_bag", "SELECT k, count(*) AS n, sum(v) AS s FROM sunk_bag GROUP BY k"),
];
