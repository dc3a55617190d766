//! Views of first rows and of functions over windows. Every order is total: among ties the answer is not determined.

pub const VIEWS: &[(&str, &str)] = &[
    ("top", "SELECT id, k, v FROM t ORDER BY v DESC, id LIMIT 5"),
    ("top_offset", "SELECT id, v FROM t ORDER BY v NULLS FIRST, id DESC LIMIT 4 OFFSET 3"),
    // Not OFFSET alone: in a branch of UNION the batch then forgets the order.
    ("top_skips", "SELECT id FROM t ORDER BY f, id LIMIT 1000 OFFSET 6"),
    ("top_ties", "SELECT id, v FROM t ORDER BY v DESC NULLS LAST FETCH FIRST 3 ROWS WITH TIES"),
    ("top_of_many", "SELECT v, k FROM bag ORDER BY v, k LIMIT 20"),
    ("top_any", "SELECT count(*) AS n FROM (SELECT k FROM bag LIMIT 5) AS x"),
    (
        "top_by_kind",
        "SELECT id, k, v FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS r FROM t) AS x
         WHERE r <= 3",
    ),
    (
        "top_between",
        "SELECT id, k, r FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY f, id) AS r FROM t) AS x
         WHERE r BETWEEN 2 AND 4 AND v > 0",
    ),
    (
        "top_ranked",
        "SELECT id, k, v, r, dr FROM (SELECT *, rank() OVER (PARTITION BY k ORDER BY v) AS r,
         dense_rank() OVER (PARTITION BY k ORDER BY v) AS dr FROM t) AS x WHERE r < 4",
    ),
    (
        "top_dense",
        "SELECT id, k, v FROM (SELECT *, dense_rank() OVER (PARTITION BY b ORDER BY v DESC) AS r FROM t) AS x WHERE r = 2",
    ),
    ("top_qualify", "SELECT id, upper(k) AS u FROM t QUALIFY row_number() OVER (PARTITION BY upper(k) ORDER BY -v, id) <= 2"),
    ("newest", "SELECT DISTINCT ON (k) k, id, ts FROM t ORDER BY k, ts DESC NULLS LAST, id"),
    ("newest_big", "SELECT * FROM (SELECT DISTINCT ON (k) k, v, id FROM t ORDER BY k, id DESC) AS x WHERE v > 2"),
    (
        "last_of_growing",
        "SELECT k, v, ts FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY ts DESC, v) AS r FROM a) AS x
         WHERE r = 1",
    ),
    (
        "top_of_growing",
        "SELECT k, v, ts, r FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC, ts) AS r FROM a) AS x
         WHERE r <= 3",
    ),
    (
        "ties_of_growing",
        "SELECT k, v, ts FROM (SELECT *, rank() OVER (PARTITION BY k ORDER BY v) AS r FROM a) AS x WHERE r <= 2",
    ),
    ("first_of_growing", "SELECT k, v, ts FROM a ORDER BY v, k, ts LIMIT 7"),
    ("top_sums", "SELECT k, n, s FROM sums ORDER BY n DESC, k LIMIT 3"),
    ("of_top", "SELECT count(*) AS n, sum(v) AS s, min(k) AS lo FROM (SELECT v, k FROM t ORDER BY v DESC, id LIMIT 6) AS x"),
    ("of_top_view", "SELECT k, count(*) AS n FROM top_by_kind GROUP BY k"),
    ("top_of_top", "SELECT id, v FROM top_by_kind ORDER BY v, id LIMIT 4"),
    (
        "over_rows",
        "SELECT id, lag(v) OVER w AS before, lead(v, 2, -1) OVER w AS after,
         sum(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS s,
         first_value(v) OVER w AS f, nth_value(v, 2) OVER w AS second
         FROM t WINDOW w AS (PARTITION BY k ORDER BY id)",
    ),
    (
        "over_range",
        "SELECT id, count(*) OVER (PARTITION BY b ORDER BY v RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS n,
         max(v) OVER (PARTITION BY b ORDER BY v DESC) AS m FROM t",
    ),
    (
        "over_groups",
        "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY v GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s,
         min(v) OVER (PARTITION BY k ORDER BY v GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m FROM t",
    ),
    (
        "over_numbers",
        "SELECT id, row_number() OVER w AS r, ntile(3) OVER w AS n, percent_rank() OVER w AS p, cume_dist() OVER w AS c,
         rank() OVER (PARTITION BY k ORDER BY v) AS ra, dense_rank() OVER (PARTITION BY k ORDER BY v) AS d
         FROM t WINDOW w AS (PARTITION BY k ORDER BY v, id)",
    ),
    (
        "over_several",
        "SELECT id, sum(v) OVER (ORDER BY id) AS running, count(*) OVER (PARTITION BY k) AS n, avg(f) OVER () AS a,
         max(d) OVER (PARTITION BY b ORDER BY d, id ROWS UNBOUNDED PRECEDING) AS m,
         sum(v) FILTER (WHERE b) OVER (PARTITION BY k ORDER BY id) AS sb FROM t",
    ),
    (
        "over_ends",
        "SELECT id, last_value(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS l,
         sum(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS s,
         lag(v, 1) IGNORE NULLS OVER (PARTITION BY k ORDER BY id) AS known FROM t",
    ),
    (
        "over_growing",
        "SELECT k, v, ts, count(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '30 seconds' PRECEDING AND
         CURRENT ROW) AS n, sum(v) OVER (PARTITION BY k ORDER BY ts, v) AS s FROM a WHERE ts IS NOT NULL",
    ),
    ("over_sums", "SELECT k, n, rank() OVER (ORDER BY n DESC) AS r, sum(n) OVER (ORDER BY n, k) AS upto FROM sums"),
    ("of_over", "SELECT r, count(*) AS n FROM over_sums GROUP BY r"),
    (
        "shares",
        "SELECT k, n, n * 100 / sum(n) OVER () AS share FROM (SELECT k, count(*) AS n FROM t GROUP BY k) AS x",
    ),
    (
        "late_ranks",
        "SELECT id, r FROM (SELECT id, v, row_number() OVER (PARTITION BY k ORDER BY id) AS r FROM t) AS x WHERE r > 2",
    ),
];
