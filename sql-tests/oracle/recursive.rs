//! WITH RECURSIVE over graphs of the tables' numbers, with cycles and without.

pub(super) const VIEWS: &[(&str, &str)] = &[
    (
        "reached",
        "WITH RECURSIVE r (n) AS (SELECT v FROM bag WHERE k = 'a' UNION SELECT t.v FROM r JOIN t ON t.id % 12 = r.n) SELECT n FROM r",
    ),
    (
        "reached_pairs",
        "WITH RECURSIVE r (x, y) AS (SELECT k, v FROM bag UNION SELECT r.x, t.v FROM r JOIN t ON t.id % 12 = r.y AND t.b)
         SELECT x, count(*) AS n, min(y) AS lo FROM r GROUP BY x",
    ),
    (
        "paths",
        "WITH RECURSIVE p (n, depth) AS (SELECT v, 0 FROM bag WHERE k = 'a'
            UNION ALL SELECT t.v, depth + 1 FROM p JOIN t ON t.id % 5 = p.n WHERE depth < 3)
         SELECT n, depth FROM p",
    ),
    (
        "falling",
        "WITH RECURSIVE p (n, path) AS (SELECT id, ARRAY[id] FROM t
            UNION ALL SELECT t.v, array_append(p.path, t.v) FROM p JOIN t ON t.id = p.n AND t.v < t.id)
         SELECT n, count(*) AS ways, max(path) AS longest FROM p GROUP BY n",
    ),
    (
        "outer_steps",
        "WITH RECURSIVE r (n) AS (SELECT v FROM bag UNION SELECT coalesce(t.v, -1) FROM r LEFT JOIN t ON t.id = r.n) SELECT n FROM r",
    ),
    (
        "steps_without",
        "WITH RECURSIVE r (n) AS (SELECT v::bigint FROM t WHERE b UNION
            SELECT (r.n + 1) % 12 FROM r WHERE NOT EXISTS (SELECT 1 FROM bag WHERE bag.v = r.n))
         SELECT n FROM r",
    ),
    (
        "of_recursive",
        "WITH RECURSIVE r (n) AS (SELECT n FROM reached UNION SELECT a.v FROM r JOIN a ON a.v % 7 = r.n), s AS (SELECT n + 1 AS m FROM r)
         SELECT m, count(t.id) AS n FROM s LEFT JOIN t ON t.v = s.m GROUP BY m",
    ),
];
