//! The oracle: random inserts, updates and deletes on tables, with the server stopped and killed between them; after each
//! step every view must hold what its query gives as a batch over the tables, both read in one statement.

mod generate;
mod moments;
mod rank;
mod recursive;
mod rows;
mod series;
mod sinks;
mod subqueries;

use rand::Rng;
use rand::rngs::StdRng;

use crate::client::{Client, Rows};
use crate::compare;
use crate::seed;
use crate::server::{Folder, Options, Server};

/// Tables: `t` changes, `a` only grows.
const TABLES: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, k VARCHAR, v INT, f DOUBLE PRECISION, d NUMERIC(10, 2), b BOOLEAN, ts TIMESTAMP)",
    "CREATE TABLE a (k VARCHAR, v INT, ts TIMESTAMP) APPEND ONLY",
    "CREATE TABLE bag (k VARCHAR, v INT)",
];

/// Name, query. A view may read those before it.
type View = (String, String);

fn views() -> Vec<View> {
    let sunk: Vec<_> = sinks::TABLES.iter().map(|(name, _, query)| (*name, *query)).collect();
    let before =
        [("sunk_n", "SELECT n, count(*) AS g FROM (SELECT k, count(*) AS n FROM t GROUP BY k) AS s GROUP BY n")];
    let views = [
        VIEWS,
        rank::VIEWS,
        recursive::VIEWS,
        rows::VIEWS,
        moments::VIEWS,
        subqueries::VIEWS,
        series::VIEWS,
        &before,
        &sunk,
        sinks::VIEWS,
    ]
    .concat();
    views.into_iter().map(|(name, query)| (name.to_string(), query.to_string())).collect()
}

const VIEWS: &[(&str, &str)] = &[
    ("filtered", "SELECT id, v * 2 AS twice, upper(k) AS u FROM t WHERE v > 3 OR k IS NULL"),
    ("all_rows", "SELECT * FROM t"),
    (
        "sums",
        "SELECT k, count(*) AS n, count(v) AS nv, sum(v) AS s, avg(v) AS a, sum(d) AS sd, avg(d) AS ad FROM t GROUP BY k",
    ),
    ("extremes", "SELECT k, min(v) AS lo, max(v) AS hi, min(ts) AS first, max(d) AS top, max(k) AS mk FROM t GROUP BY k"),
    (
        "ordered_sets",
        "SELECT k, approx_percentile(0.5) WITHIN GROUP (ORDER BY f) AS a, approx_percentile(0.9, 0.1) WITHIN GROUP (ORDER BY v DESC) AS b,
                percentile_disc(0.5) WITHIN GROUP (ORDER BY v) AS d, mode() WITHIN GROUP (ORDER BY v) AS m FROM t GROUP BY k",
    ),
    ("floats", "SELECT k, sum(f) AS s, avg(f) AS a, stddev(f) AS sd, var_pop(f) AS vp FROM t GROUP BY k"),
    (
        "logic",
        "SELECT k, bool_and(b) AS e, bool_or(b) AS s, bit_and(v) AS ba, bit_or(v) AS bo, bit_xor(v) AS bx FROM t GROUP BY k",
    ),
    (
        "distincts",
        "SELECT k, count(DISTINCT v) AS dv, sum(DISTINCT v) AS sv, count(DISTINCT b) AS db,
         count(*) FILTER (WHERE v > 5) AS big, sum(v) FILTER (WHERE b) AS sb FROM t GROUP BY k",
    ),
    (
        "lists",
        "SELECT k, array_agg(v ORDER BY id) AS vs, string_agg(k, '' ORDER BY id) AS ks, first_value(v ORDER BY id) AS f,
         last_value(v ORDER BY id) AS l, median(v) AS m FROM t GROUP BY k",
    ),
    ("global", "SELECT count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi, count(DISTINCT k) AS ks FROM t"),
    ("kinds", "SELECT DISTINCT k, b FROM t"),
    ("busy", "SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) > 2"),
    (
        "windows",
        "SELECT k, window_start, count(*) AS n, sum(v) AS s, max(f) AS m FROM TUMBLE(t, ts, INTERVAL '10' SECOND)
         GROUP BY k, window_start",
    ),
    (
        "growing",
        "SELECT window_start, window_end, count(*) AS n, sum(v) AS s, min(k) AS lo, count(DISTINCT k) AS dk
         FROM TUMBLE(a, ts, INTERVAL '1' MINUTE, INTERVAL '7' SECOND) GROUP BY window_start, window_end",
    ),
    ("united", "SELECT k, v FROM t WHERE b UNION ALL SELECT k, v FROM a UNION ALL SELECT k, v FROM bag"),
    ("of_view", "SELECT n, count(*) AS groups, sum(s) AS total FROM sums GROUP BY n"),
    ("of_views", "SELECT k, sum(v) AS s, count(*) AS n FROM united GROUP BY k"),
    ("of_of_view", "SELECT max(groups) AS most, count(*) AS n FROM of_view"),
    ("in_bag", "SELECT k, v, count(*) AS n FROM bag GROUP BY k, v"),
    ("joined", "SELECT t.id, t.v, bag.k, bag.v AS bv FROM t JOIN bag ON t.k = bag.k"),
    ("joined_two", "SELECT t.id, bag.k FROM t JOIN bag ON t.k = bag.k AND t.v = bag.v"),
    ("joined_left", "SELECT t.id, t.k, bag.v AS bv FROM t LEFT JOIN bag ON t.k = bag.k AND t.v < bag.v"),
    ("joined_right", "SELECT t.id, bag.k, bag.v AS bv FROM t RIGHT JOIN bag ON t.v = bag.v"),
    ("joined_full", "SELECT t.id, t.k, bag.k AS bk, bag.v AS bv FROM t FULL JOIN bag ON t.k = bag.k AND t.v > bag.v"),
    ("joined_self", "SELECT a.id AS x, b.id AS y FROM t a JOIN t b ON a.v = b.v AND a.id < b.id"),
    ("joined_using", "SELECT k, v, id, a.ts FROM t JOIN a USING (k, v)"),
    ("joined_three", "SELECT t.id, a.v AS av, bag.v AS bv FROM t, a, bag WHERE t.k = a.k AND a.k = bag.k AND a.v = t.v"),
    ("joined_cast", "SELECT t.id, bag.v FROM t JOIN bag ON t.v + 1 = bag.v * 2"),
    ("joined_less", "SELECT t.id, bag.v FROM t JOIN bag ON t.v < bag.v WHERE t.b"),
    ("joined_null", "SELECT t.id, bag.v FROM t JOIN bag ON t.k IS NOT DISTINCT FROM bag.k"),
    ("joined_grown", "SELECT x.k, x.v, y.ts FROM a x JOIN a y ON x.ts = y.ts"),
    ("joined_groups", "SELECT s.k, s.n, l.lo, e.n AS busy FROM sums s FULL JOIN extremes l ON s.n = l.hi
        LEFT JOIN busy e ON e.k = s.k"),
    ("joined_sums", "SELECT bag.k, count(*) AS n, sum(t.v) AS s, max(bag.v) AS m FROM t JOIN bag ON t.k = bag.k GROUP BY bag.k"),
    ("joined_kinds", "SELECT DISTINCT t.k, bag.v FROM t JOIN bag ON t.k = bag.k"),
    ("crossed", "SELECT t.id, g.s FROM t CROSS JOIN global g WHERE t.v > 8"),
    ("natural", "SELECT * FROM (SELECT k, v, id FROM t) x NATURAL JOIN bag"),
    ("is_in", "SELECT id, k FROM t WHERE k IN (SELECT k FROM bag WHERE v > 3)"),
    ("not_in", "SELECT id, v FROM t WHERE v NOT IN (SELECT v FROM bag WHERE v > 8 OR v IS NULL AND k = 'a')"),
    ("there", "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM bag WHERE bag.k = t.k AND bag.v < t.v)"),
    ("not_there", "SELECT id, k FROM t WHERE NOT EXISTS (SELECT 1 FROM bag WHERE bag.k = t.k AND bag.v < t.v)"),
    ("there_or", "SELECT id, k FROM t WHERE b OR EXISTS (SELECT 1 FROM bag WHERE bag.k = t.k) OR v IN (SELECT v FROM a)"),
    ("above", "SELECT id, v FROM t WHERE v > (SELECT avg(v) FROM bag)"),
    ("above_own", "SELECT id, v FROM t WHERE v >= (SELECT max(v) FROM bag WHERE bag.k = t.k)"),
    ("counted", "SELECT id, (SELECT count(*) FROM bag WHERE bag.k = t.k) AS n, (SELECT max(v) FROM bag) AS m FROM t"),
    ("common", "SELECT k, v FROM t INTERSECT SELECT k, v FROM bag"),
    ("lacking", "SELECT k, v FROM bag EXCEPT SELECT k, v FROM t"),
    (
        "hops",
        "SELECT k, window_start, window_end, count(*) AS n, sum(v) AS s, max(f) AS m
         FROM HOP(t, ts, INTERVAL '4' SECOND, INTERVAL '10' SECOND, INTERVAL '3' SECOND) GROUP BY k, window_start, window_end",
    ),
    (
        "hop_values",
        "SELECT window_end, array_agg(v ORDER BY id) AS vs, count(DISTINCT k) AS ks
         FROM HOP(t, ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE) GROUP BY window_end",
    ),
    ("hop_rows", "SELECT id, k, window_end FROM HOP(t, ts, INTERVAL '20' SECOND, INTERVAL '30' SECOND) WHERE b"),
    (
        "growing_hops",
        "SELECT window_start, min(k) AS lo, avg(v) AS a, count(*) FILTER (WHERE v > 3) AS big
         FROM HOP(a, ts, INTERVAL '7' SECOND, INTERVAL '14' SECOND) GROUP BY window_start",
    ),
    (
        "sparse_hops",
        "SELECT window_start, k, count(*) AS n FROM HOP(t, ts, INTERVAL '10' SECOND, INTERVAL '4' SECOND)
         GROUP BY window_start, k HAVING count(*) > 1",
    ),
    (
        "cumulated",
        "SELECT k, window_start, window_end, sum(v) AS s, stddev(f) AS sd
         FROM CUMULATE(t, ts, INTERVAL '10' SECOND, INTERVAL '30' SECOND, INTERVAL '-4' SECOND)
         GROUP BY k, window_start, window_end",
    ),
    ("cumulated_rows", "SELECT k, v, window_end FROM CUMULATE(a, ts, INTERVAL '30' SECOND, INTERVAL '1' MINUTE)"),
    ("in_session", "SELECT id, k, v, window_start, window_end FROM SESSION(t PARTITION BY k, ts, INTERVAL '6' SECOND)"),
    (
        "sessions",
        "SELECT k, b, window_start, window_end, count(*) AS n, sum(v) AS s, min(f) AS lo
         FROM SESSION(t PARTITION BY k, b, ts, INTERVAL '20' SECOND) GROUP BY k, b, window_start, window_end",
    ),
    (
        "all_sessions",
        "SELECT window_start, window_end, count(*) AS n FROM SESSION(a, ts, INTERVAL '2' SECOND)
         GROUP BY window_start, window_end",
    ),
    (
        "legacy_sessions",
        "SELECT upper(k) AS u, SESSION_START(ts, INTERVAL '5' SECOND) AS s, max(v) AS m FROM t WHERE v > 0
         GROUP BY u, SESSION(ts, INTERVAL '5' SECOND)",
    ),
    ("sets", "SELECT k, b, grouping(k) AS g, count(*) AS n, sum(v) AS s, max(d) AS top FROM t GROUP BY GROUPING SETS ((k), (b), ())"),
    ("rolled", "SELECT k, b, v % 3 AS r, avg(f) AS a, count(DISTINCT v) AS dv, min(k) AS mk FROM t GROUP BY ROLLUP(k, b, v % 3)"),
    ("cubed", "SELECT k, v, count(*) AS n, grouping(k, v) AS g FROM a GROUP BY CUBE(k, v)"),
    (
        "rolled_hops",
        "SELECT window_end, k, count(*) AS n, sum(v) AS s FROM HOP(t, ts, INTERVAL '15' SECOND, INTERVAL '30' SECOND)
         GROUP BY window_end, ROLLUP(k)",
    ),
    (
        "session_hops",
        "SELECT window_end, max(n) AS longest FROM HOP((SELECT window_end AS closes, n FROM sessions), closes,
         INTERVAL '30' SECOND, INTERVAL '1' MINUTE) GROUP BY window_end",
    ),
];

#[tokio::test]
async fn views_equal_their_queries() {
    let seed = seed::seed("oracle");
    for (round, backend) in ["sled", "memory"].into_iter().enumerate() {
        run(seed + round as u64, backend, 40, views()).await;
    }
}

/// `WEIR_RUNS` rounds of new queries.
#[tokio::test]
async fn generated_views_equal_their_queries() {
    let seed = seed::seed("generated");
    for round in 0..seed::number("WEIR_RUNS", 2) {
        let seed = seed + round as u64;
        let queries = generated(seed).await;
        let backend = if round % 4 == 3 { "memory" } else { "sled" };
        run(seed, backend, 16, queries).await;
    }
}

const QUERIES: usize = 30;

/// Random queries that the batch can run: without it there is nothing to compare with.
async fn generated(seed: u64) -> Vec<View> {
    let mut random = seed::rng(seed);
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options::default()).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    for table in TABLES {
        client.execute(table).await;
    }
    let mut views = Vec::new();
    for i in 0..QUERIES {
        let query = generate::query(&mut random);
        match client.run(&query).await {
            Ok(_) => views.push((format!("g{i}"), query)),
            Err(e) => println!("WEIR_SEED={seed}: the batch refuses\n{query}\n{e}"),
        }
    }
    assert!(views.len() * 10 >= QUERIES * 9, "WEIR_SEED={seed}: only {} of {QUERIES} queries run", views.len());
    views
}

async fn run(seed: u64, backend: &'static str, steps: usize, views: Vec<View>) {
    let mut random = seed::rng(seed);
    let folder = Folder::new();
    let mut options = Options { backend, parallelism: random.random_range(1..=3), ..Options::default() };
    let mut server = Server::start(folder.path(), &options).unwrap();
    let mut client = Client::connect(server.port()).await.unwrap();
    for table in TABLES {
        client.execute(table).await;
    }
    // Half of the views begin empty, the others are filled from what is there.
    let late = random.random_range(1..views.len());
    for (name, query) in &views[..late] {
        create(&client, name, query, seed).await;
    }
    let mut next_id = 0;
    for step in 0..steps {
        if step == steps / 4 {
            for (name, query) in &views[late..] {
                create(&client, name, query, seed).await;
            }
        }
        for _ in 0..random.random_range(1..=4) {
            let statement = change(&mut random, &mut next_id);
            client.execute(&statement).await;
        }
        let cut = random.random_range(0..8);
        if cut < 2 {
            match cut {
                0 => server.kill(),
                _ => server.stop(),
            }
            options.parallelism = random.random_range(1..=3);
            server = Server::start(folder.path(), &options).unwrap();
            client = Client::connect(server.port()).await.unwrap();
            client.execute("FLUSH").await;
        }
        let made = if step < steps / 4 { late } else { views.len() };
        for (name, query) in &views[..made] {
            check(&client, name, query, &format!("{backend}, step {step}, WEIR_SEED={seed}")).await;
        }
    }
}

async fn create(client: &Client, name: &str, query: &str, seed: u64) {
    if let Some((_, statements, _)) = sinks::TABLES.iter().find(|(sunk, _, _)| *sunk == name) {
        for statement in *statements {
            client.run(statement).await.unwrap_or_else(|e| panic!("{name}, WEIR_SEED={seed}: {e}\n{statement}"));
        }
        return;
    }
    let created = client.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    created.unwrap_or_else(|e| panic!("{name}, WEIR_SEED={seed}: {e}\n{query}"));
}

/// The view and its query in one statement, so that both see one epoch.
async fn check(client: &Client, name: &str, query: &str, at: &str) {
    let both =
        format!("SELECT 'view' AS _side, * FROM {name} UNION ALL SELECT 'query' AS _side, q.* FROM ({query}) AS q");
    let (mut view, mut batch): (Rows, Rows) = (Vec::new(), Vec::new());
    let rows = client.run(&both).await.unwrap_or_else(|e| panic!("{name} ({at}): {e}\n{query}")).rows;
    for mut row in rows {
        let side = row.remove(0);
        if side.as_deref() == Some("view") { &mut view } else { &mut batch }.push(row);
    }
    if let Some(difference) = compare::difference(view, batch) {
        panic!("{name} ({at}) differs\n{query}\n{difference}");
    }
}

/// A random statement on a random table.
fn change(random: &mut StdRng, next_id: &mut usize) -> String {
    match random.random_range(0..10) {
        0..=3 => {
            let rows = random.random_range(1..=12);
            let rows: Vec<String> = (0..rows).map(|_| row(random, next_id)).collect();
            format!("INSERT INTO t VALUES {}", rows.join(", "))
        }
        4 => {
            let (k, v, b, ts) = (kind(random), small(random), boolean(random), time(random));
            format!("UPDATE t SET k = {k}, v = {v}, b = {b}, ts = {ts} WHERE id % 7 = {}", random.random_range(0..7))
        }
        5 => format!("UPDATE t SET v = v + 1, d = d * -1, f = {} WHERE k = {}", float(random), kind(random)),
        6 => format!("DELETE FROM t WHERE id % 11 = {} OR v = {}", random.random_range(0..11), small(random)),
        7 => {
            let rows: Vec<String> =
                (0..5).map(|_| format!("({}, {}, {})", kind(random), small(random), time(random))).collect();
            format!("INSERT INTO a VALUES {}", rows.join(", "))
        }
        8 => {
            let rows: Vec<String> = (0..4).map(|_| format!("({}, {})", kind(random), small(random))).collect();
            format!("INSERT INTO bag VALUES {}", rows.join(", "))
        }
        _ => format!("DELETE FROM bag WHERE v = {}", small(random)),
    }
}

/// One row of `t`; one in five takes the place of an older one.
fn row(random: &mut StdRng, next_id: &mut usize) -> String {
    let id = if *next_id > 0 && random.random_range(0..5) == 0 {
        random.random_range(0..*next_id)
    } else {
        *next_id += 1;
        *next_id - 1
    };
    let decimal = random.random_range(-9999..9999) as f64 / 100.0;
    let decimal = null_or(random, format!("{decimal:.2}"));
    let (k, v, f, b, ts) = (kind(random), small(random), float(random), boolean(random), time(random));
    format!("({id}, {k}, {v}, {f}, {decimal}, {b}, {ts})")
}

fn null_or(random: &mut StdRng, value: String) -> String {
    if random.random_range(0..8) == 0 { "NULL".to_string() } else { value }
}

fn kind(random: &mut StdRng) -> String {
    let kind = ["'a'", "'b'", "'c'", "'dd'", "''"][random.random_range(0..5)];
    null_or(random, kind.to_string())
}

fn small(random: &mut StdRng) -> String {
    let value = random.random_range(-3..12).to_string();
    null_or(random, value)
}

/// Multiples of an eighth: their sums are exact in any order.
fn float(random: &mut StdRng) -> String {
    let value = f64::from(random.random_range(-80..80)) / 8.0;
    null_or(random, value.to_string())
}

fn boolean(random: &mut StdRng) -> String {
    let value = random.random::<bool>().to_string();
    null_or(random, value)
}

/// Around the epoch, before and after.
fn time(random: &mut StdRng) -> String {
    let seconds: i64 = random.random_range(-60..240);
    let day = if seconds < 0 { "1969-12-31 23" } else { "1970-01-01 00" };
    let of_hour = seconds.rem_euclid(3600);
    let value = format!("'{day}:{:02}:{:02}.{:03}'", of_hour / 60, of_hour % 60, random.random_range(0..1000));
    null_or(random, value)
}
