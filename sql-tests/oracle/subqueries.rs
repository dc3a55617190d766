//! Subqueries for each outer row, IN as a value and of rows.

pub(super) const VIEWS: &[(&str, &str)] = &[
    (
        "lateral_top",
        "SELECT t.id, s.v FROM t, LATERAL (SELECT v FROM bag WHERE bag.k = t.k ORDER BY v DESC NULLS LAST LIMIT 2) AS s",
    ),
    (
        "lateral_left",
        "SELECT t.id, s.id AS other, s.v FROM t LEFT JOIN LATERAL
         (SELECT id, v FROM t u WHERE u.k = t.k AND u.b ORDER BY v, id LIMIT 1 OFFSET 1) AS s ON true",
    ),
    (
        "lateral_below",
        "SELECT t.id, s.v FROM t, LATERAL (SELECT v FROM bag WHERE bag.v < t.v ORDER BY v DESC LIMIT 1) AS s",
    ),
    ("scalar_top", "SELECT id, (SELECT v FROM bag WHERE bag.k = t.k ORDER BY v DESC NULLS LAST LIMIT 1) AS top FROM t"),
    (
        "scalar_below",
        "SELECT id, (SELECT count(*) FROM bag WHERE bag.v < t.v) AS n, (SELECT sum(v) FROM bag WHERE bag.v < t.v) AS s FROM t",
    ),
    (
        "two_levels",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM bag WHERE bag.k = t.k AND EXISTS (SELECT 1 FROM a WHERE a.v > bag.v AND a.v < t.v))",
    ),
    ("whole_rows", "SELECT id, to_jsonb(t) AS doc FROM t"),
    ("whole_joined", "SELECT t.id, row_to_json(bag)::text AS r FROM t LEFT JOIN bag ON bag.k = t.k"),
    ("array_rows", "SELECT id, ARRAY(SELECT v FROM bag WHERE bag.k = t.k ORDER BY v) AS vs FROM t"),
    ("array_top", "SELECT id, ARRAY(SELECT id FROM t u WHERE u.k = t.k ORDER BY v DESC, id LIMIT 3) AS ids FROM t"),
    ("array_all", "SELECT id, ARRAY(SELECT DISTINCT v FROM bag ORDER BY v) AS vs FROM t WHERE b"),
    ("not_in_own", "SELECT id FROM t WHERE v NOT IN (SELECT v FROM bag WHERE bag.k = t.k)"),
    ("not_in_less", "SELECT id FROM t WHERE v NOT IN (SELECT v FROM bag WHERE bag.v > t.v - 2 OR bag.k = t.k)"),
    ("not_there_own", "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM bag WHERE bag.k = t.k AND bag.v = t.v)"),
    ("row_in", "SELECT id FROM t WHERE (k, v) IN (SELECT k, v FROM bag)"),
    ("row_not_in", "SELECT id FROM t WHERE (k, v) NOT IN (SELECT k, v FROM bag)"),
    (
        "in_value",
        "SELECT id, v IN (SELECT v FROM bag) AS found, v NOT IN (SELECT v FROM bag WHERE bag.k = t.k) AS own FROM t",
    ),
    (
        "in_case",
        "SELECT id, CASE WHEN v IN (SELECT v FROM bag) THEN 'in' ELSE 'out' END AS c FROM t WHERE b OR v NOT IN (SELECT v FROM bag)",
    ),
];
