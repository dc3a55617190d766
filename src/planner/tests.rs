//! Golden plans: `golden/*.txt` hold statements (lines with `> `) and the plan that each must give. `WEIR_BLESS=1`
//! writes what is given now.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::*;
use crate::catalog::{Catalog, Definition, MaterializedView, Object, View};
use crate::sql::Statement;

/// What the statements of the tests read.
const SETUP: &str = "
    CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP,
        extra VARCHAR, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND)
        WITH (connector = 'file', path = 'bid.csv') FORMAT PLAIN ENCODE CSV;
    CREATE SOURCE click (id INT, at TIMESTAMPTZ, tags VARCHAR[]) WITH (connector = 'tcp') FORMAT PLAIN ENCODE JSON;
    CREATE TABLE item (id BIGINT PRIMARY KEY, name VARCHAR, price NUMERIC(12, 2), weight DOUBLE PRECISION);
    CREATE TABLE event (kind VARCHAR, amount INT, at TIMESTAMP);
    CREATE TABLE reading (id INT, v DOUBLE PRECISION, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' MINUTE)
        APPEND ONLY;
    CREATE MATERIALIZED VIEW per_kind AS SELECT kind, count(*) AS n FROM event GROUP BY kind;
    CREATE MATERIALIZED VIEW closed AS SELECT auction, window_start, window_end, count(*) AS n
        FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start, window_end
        EMIT ON WINDOW CLOSE;
    CREATE VIEW cheap (item, cents) AS SELECT id, price * 100 FROM item WHERE price < 10;
";

struct World {
    catalog: Catalog,
}

impl World {
    fn new() -> Self {
        let world = Self { catalog: Catalog::default() };
        world.run(SETUP).unwrap();
        world
    }

    /// Runs statements; the last one's plan or definition comes back as text.
    fn run(&self, sql: &str) -> Result<String> {
        let mut text = String::new();
        for parsed in sql::parse(sql)? {
            text = self.statement(&parsed.statement)?;
        }
        Ok(text)
    }

    fn statement(&self, statement: &Statement) -> Result<String> {
        let snapshot = self.catalog.snapshot();
        let mut ids = || self.catalog.next_table_id();
        match statement {
            Statement::CreateSource(s) => {
                let source = define_source(s, None)?;
                self.add(&s.name, Vec::new(), Definition::Source(source))
            }
            Statement::CreateTable(t) => {
                let table = define_table(t, JobId(1000), None, &mut ids)?;
                let graph: FragmentGraph = serde_json::from_str(&table.graph).unwrap();
                self.add(&t.name, Vec::new(), Definition::Table(table))?;
                Ok(explain(&graph))
            }
            Statement::CreateMaterializedView(v) => {
                let spec = QuerySpec { query: &v.query, columns: &v.columns, emit: v.emit, options: &v.options };
                let planned = plan_materialized_view(&snapshot, spec, &mut ids)?;
                let graph = serde_json::to_string(&planned.graph).unwrap();
                check_graph(&planned.graph);
                // A job is rebuilt from its stored graph: that must be the same graph.
                let stored: FragmentGraph = serde_json::from_str(&graph).unwrap();
                let mut text = explain(&planned.graph);
                assert_eq!(explain(&stored), text);
                assert_eq!(serde_json::to_string(&stored).unwrap(), graph);
                for notice in &planned.notices {
                    let _ = writeln!(text, "NOTICE {notice}");
                }
                let definition = Definition::MaterializedView(MaterializedView {
                    columns: planned.columns,
                    key: planned.key,
                    table: planned.table,
                    append_only: planned.append_only,
                    watermark_columns: planned.watermark_columns,
                    replaces: None,
                    query: v.query.to_string(),
                    graph,
                });
                self.add(&v.name, planned.depends_on, definition)?;
                Ok(text)
            }
            Statement::CreateView(v) => {
                let planned = plan_view(&snapshot, &v.query, &v.columns)?;
                let view = View { columns: planned.columns, query: v.query.to_string() };
                self.add(&v.name, planned.depends_on, Definition::View(view))
            }
            Statement::CreateSink(s) => {
                let spec = QuerySpec { query: &s.query, columns: &[], emit: s.emit, options: &BTreeMap::new() };
                let planned = plan_sink(&snapshot, JobId(1000), &s.name, spec, &s.options, &mut ids)?;
                check_graph(&planned.graph);
                Ok(explain(&planned.graph))
            }
            other => panic!("{other:?}"),
        }
    }

    fn add(&self, name: &str, depends_on: Vec<JobId>, definition: Definition) -> Result<String> {
        let columns: Vec<String> = definition
            .columns()
            .iter()
            .map(|c| format!("{}{} {}", if c.hidden { "hidden " } else { "" }, c.name, c.data_type))
            .collect();
        let change = self.catalog.create(Object {
            id: self.catalog.next_job_id(),
            name: name.into(),
            owner: "root".into(),
            sql: String::new(),
            created_at: 0,
            depends_on,
            acl: Default::default(),
            temporary: None,
            comments: Default::default(),
            definition,
        })?;
        self.catalog.publish(change.snapshot);
        Ok(columns.join(", "))
    }
}

/// Ids are unique, every exchange has its edge, every edge leads from an earlier fragment.
fn check_graph(graph: &FragmentGraph) {
    let mut operators = Vec::new();
    let mut tables = vec![graph.dead_letters, graph.late_rows];
    let mut leaves = Vec::new();
    for fragment in &graph.fragments {
        fragment.root.visit(&mut |node| {
            operators.push(node.id);
            if let crate::plan::Operator::Exchange { .. } = node.operator {
                assert!(node.inputs.is_empty());
                leaves.push((fragment.id, node.id));
            }
            for column in node.properties.stream_key.iter().chain(&node.properties.watermark_columns) {
                assert!(*column < node.schema.fields().len(), "{:?}", node.operator);
            }
        });
        tables.extend(fragment.root.state_tables().into_iter().map(|(_, table)| table));
    }
    let count = (operators.len(), tables.len());
    operators.sort_unstable();
    operators.dedup();
    tables.sort_unstable();
    tables.dedup();
    assert_eq!((operators.len(), tables.len()), count, "ids are used twice");
    let mut edges: Vec<_> = graph.edges.iter().map(|e| (e.to, e.leaf)).collect();
    edges.sort_unstable();
    leaves.sort_unstable();
    assert_eq!(edges, leaves);
    assert!(graph.edges.iter().all(|e| e.from < e.to));
}

fn golden(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/planner/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let world = World::new();
    let mut given = String::new();
    for case in text.split("\n\n").filter(|c| !c.trim().is_empty()) {
        let statement: Vec<&str> = case.lines().filter_map(|l| l.strip_prefix("> ")).collect();
        let plan = world.run(&statement.join("\n")).unwrap_or_else(|e| format!("ERROR {} {e}\n", e.kind().sqlstate()));
        for line in &statement {
            let _ = writeln!(given, "> {line}");
        }
        let _ = writeln!(given, "{plan}");
    }
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&path, given).unwrap();
    } else {
        assert_eq!(given.trim(), text.trim(), "{name} (WEIR_BLESS=1 writes what is given now)");
    }
}

#[test]
fn golden_plans() {
    for name in
        ["agg.txt", "join.txt", "linear.txt", "rank.txt", "table.txt", "temporal.txt", "window.txt", "windows.txt"]
    {
        golden(name);
    }
}

/// The operators of a plan, without the names of columns.
fn shape(sql: &str) -> String {
    let plan = World::new().run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let line = |l: &str| {
        let indent = l.len() - l.trim_start().len();
        let words: Vec<&str> = l.split_whitespace().take(2).collect();
        let keep = if words.first() == Some(&"HashAgg") { 2 } else { 1 };
        format!("{:indent$}{}", "", words[..keep].join(" "))
    };
    plan.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_tumble_dialect_gives_the_same_plan() {
    let dialects = [
        "SELECT auction, window_start, count(*) AS n FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
         GROUP BY auction, window_start",
        "SELECT auction, window_start, count(*) AS n FROM TUMBLE(bid, date_time, INTERVAL '10 seconds', INTERVAL '0 s') x
         GROUP BY auction, window_start",
        "SELECT auction, window_start, count(*) AS n
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECONDS)) GROUP BY auction, window_start",
        "SELECT auction, window_start, count(*) AS n FROM TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND)
         GROUP BY auction, window_start",
        "SELECT auction, window_start, count(*) AS n FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(date_time),
         SIZE => INTERVAL '10' SECOND)) GROUP BY auction, window_start",
        "SELECT auction, TUMBLE_START(date_time, INTERVAL '10' SECOND) AS window_start, count(*) AS n FROM bid
         GROUP BY auction, TUMBLE(date_time, INTERVAL '10' SECOND)",
    ];
    let view = |query: &str| format!("CREATE MATERIALIZED VIEW v AS {query} EMIT ON WINDOW CLOSE");
    let first = shape(&view(dialects[0]));
    assert!(first.contains("HashAgg final"), "{first}");
    for query in dialects {
        assert_eq!(shape(&view(query)), first, "{query}");
    }
    // Arroyo's window has its end as a column too.
    let arroyo =
        "SELECT auction, tumble(interval '10 seconds') AS window, count(*) AS n FROM bid GROUP BY auction, window";
    let tumble = "SELECT auction, window_start, window_end, count(*) AS n
                  FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) GROUP BY auction, window_start, window_end";
    assert_eq!(shape(&view(arroyo)), shape(&view(tumble)));
}

#[test]
fn definitions() {
    let world = World::new();
    for (sql, expected) in [
        ("CREATE SOURCE s (a INT NOT NULL, t TIMESTAMPTZ, WATERMARK FOR t AS t) WITH (connector = 'x')", "a Int32, t"),
        ("CREATE SOURCE s2 WITH (connector = 'x')", "42P17 no columns are given"),
        ("CREATE SOURCE s3 (a INT, WATERMARK FOR a AS a) WITH (connector = 'x')", "42804 WATERMARK FOR \"a\" needs"),
        ("CREATE SOURCE s3 (a INT, WATERMARK FOR b AS b) WITH (connector = 'x')", "42703 column \"b\" of WATERMARK"),
        ("CREATE TABLE t1 (a INT, _row_id INT)", "42P17 the column name _row_id"),
        ("CREATE TABLE t1 (a INT, PRIMARY KEY (b))", "42703 column \"b\" of the primary key"),
        ("CREATE TABLE t1 (a INT, PRIMARY KEY (a, a))", "42701 column \"a\" is twice"),
        ("CREATE TABLE t2 (a INT[] PRIMARY KEY)", "Materialize by a"),
        ("CREATE TABLE t1 (t TIMESTAMP, WATERMARK FOR t AS t)", "42P17 a table with a WATERMARK must be APPEND ONLY"),
        ("CREATE TABLE item (a INT)", "42P07 table \"item\" already exists"),
    ] {
        let given = world.run(sql).unwrap_or_else(|e| format!("{} {}", e.kind().sqlstate(), e.message()));
        assert!(given.contains(expected), "{sql}: {given}");
    }
}

#[test]
fn what_a_view_stores() {
    let world = World::new();
    for (query, columns) in [
        ("SELECT price FROM bid", "price Int64, hidden _row_id Int64"),
        ("SELECT id, name FROM item", "id Int64, name Utf8"),
        ("SELECT name FROM item", "name Utf8, hidden id Int64"),
        ("SELECT name AS id FROM item", "id Utf8, hidden _id Int64"),
        ("SELECT count(*) AS n FROM event GROUP BY kind", "n Int64, hidden kind Utf8"),
        ("SELECT sum(amount) AS s, avg(amount) AS a FROM event", "s Int64, a Float64"),
        ("SELECT sum(price) AS s, avg(price) AS a FROM item", "s Decimal128(22, 2), a Decimal128(16, 6)"),
        (
            "SELECT id FROM item UNION ALL SELECT auction FROM bid",
            "id Int64, hidden _branch Int64, hidden _branch_key_0 Int64",
        ),
        ("SELECT DISTINCT kind FROM event", "kind Utf8"),
        (
            "SELECT TIMESTAMP '2024-01-01 00:00:00' AS t, at::timestamptz AS z FROM event",
            "t Timestamp(µs), z Timestamp(µs, \"UTC\"), hidden _row_id Int64",
        ),
        ("SELECT * FROM cheap", "item Int64, cents Decimal128(33, 2)"),
    ] {
        let sql = format!("CREATE MATERIALIZED VIEW stored AS {query}");
        world.run(&sql).unwrap_or_else(|e| panic!("{query}: {e}"));
        let snapshot = world.catalog.snapshot();
        let object = snapshot.get("stored").unwrap();
        let given: Vec<String> = object
            .definition
            .columns()
            .iter()
            .map(|c| format!("{}{} {}", if c.hidden { "hidden " } else { "" }, c.name, c.data_type))
            .collect();
        assert_eq!(given.join(", "), columns, "{query}");
        world.catalog.publish(world.catalog.drop(&[object.id]).unwrap().snapshot);
    }
}

#[test]
fn dependencies_go_through_views() {
    let world = World::new();
    world.run("CREATE MATERIALIZED VIEW v AS SELECT item FROM cheap").unwrap();
    let snapshot = world.catalog.snapshot();
    let names =
        |ids: &[JobId]| -> Vec<String> { ids.iter().map(|i| snapshot.by_id(*i).unwrap().name.clone()).collect() };
    let view = snapshot.get("v").unwrap();
    assert_eq!(names(&view.depends_on), ["item", "cheap"]);
    let graph: FragmentGraph = serde_json::from_str(view.definition.graph().unwrap()).unwrap();
    assert_eq!(names(&graph.upstreams), ["item"]);
    assert_eq!(names(&snapshot.with_dependants(&[view.depends_on[0]])), ["v", "cheap", "item"]);
}

#[test]
fn errors_say_what_to_write() {
    let world = World::new();
    for (query, state, part) in [
        ("SELECT * FROM nope", "42P01", "relation \"nope\" does not exist"),
        ("SELECT * FROM bids", "42P01", "did you mean \"bid\"?"),
        ("SELECT * FROM weir.jobs", "0A000", "system table"),
        ("SELECT * FROM other.bid", "3F000", "schema \"other\""),
        ("SELECT nope FROM bid", "42703", "nope"),
        ("SELECT auction, count(*) FROM bid", "42803", "GROUP BY"),
        ("SELECT nope(auction) FROM bid", "42883", "nope"),
        ("SELECT auction + channel FROM bid WHERE url + 1 > date_time", "42883", ""),
        (
            "SELECT c.m FROM (SELECT map(make_array('a'), make_array(price)) AS m FROM bid) c
             JOIN (SELECT map(make_array('a'), make_array(price)) AS m FROM bid) d ON c.m = d.m",
            "0A000",
            "a join on \"m\" of type Map",
        ),
        ("SELECT auction FROM bid LIMIT -1", "22023", "LIMIT must be >= 0"),
        (
            "SELECT auction FROM bid FETCH FIRST ROW WITH TIES",
            "42601",
            "WITH TIES cannot be specified without ORDER BY",
        ),
        ("SELECT auction FROM bid LIMIT 1 FETCH FIRST ROW ONLY", "42601", "multiple LIMIT"),
        (
            "SELECT map(make_array('a'), make_array(price)) AS p FROM bid ORDER BY 1 LIMIT 3",
            "0A000",
            "rows cannot be kept in order of",
        ),
        (
            "SELECT approx_median(price) OVER (ORDER BY price ROWS 1 PRECEDING) FROM bid",
            "0A000",
            "approx_median() over",
        ),
        ("SELECT now() AS at", "0A000", "now() can only be compared"),
        ("VALUES (1), (random())", "0A000", "random()"),
        ("SELECT auction FROM bid WHERE price > (SELECT price FROM bid)", "0A000", "known to give one row"),
        (
            "SELECT auction FROM bid b WHERE price NOT IN (SELECT max(bidder) FROM bid c WHERE c.price < b.bidder)",
            "0A000",
            "cannot be made a join",
        ),
        ("SELECT auction, now() FROM bid", "0A000", "now() can only be compared"),
        ("SELECT random() FROM bid", "0A000", "random()"),
        ("SELECT max(current_date) FROM bid", "0A000", "now() can only be compared"),
        ("SELECT auction FROM bid WHERE date_time > now() OR price > 5", "0A000", "now() can only be compared"),
        ("SELECT auction FROM bid WHERE date_time <> now()", "0A000", "now() can only be compared"),
        ("SELECT auction FROM bid WHERE now() > now()", "0A000", "now() can only be compared"),
        ("SELECT auction FROM bid WHERE date_time > now() - INTERVAL '1' MONTH", "0A000", "may fall as time passes"),
        ("SELECT auction FROM bid WHERE date_time > now() + (date_time - date_time)", "0A000", "may fall"),
        ("SELECT auction FROM bid WHERE extract(year FROM now()) > price", "0A000", "may fall"),
        (
            "SELECT auction, window_start FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND) WHERE date_time > now()
             GROUP BY auction, window_start EMIT ON WINDOW CLOSE",
            "0A000",
            "that EMIT ON WINDOW CLOSE has shown",
        ),
        (
            "SELECT b.auction, i.name FROM bid b LEFT JOIN item i ON b.auction = i.id AND b.date_time > now()",
            "0A000",
            "now() can only be compared",
        ),
        (
            "SELECT map(make_array('a'), make_array(price)) AS m, count(*) AS n FROM bid GROUP BY 1",
            "0A000",
            "of type Map",
        ),
        ("SELECT $1 FROM bid", "42P02", "$1"),
        ("SELECT count(*) FROM TUMBLE(bid, nope, INTERVAL '1' SECOND) GROUP BY window_start", "42703", "nope"),
        (
            "SELECT count(*) FROM TUMBLE(bid, price, INTERVAL '1' SECOND) GROUP BY window_start",
            "42804",
            "must be a timestamp",
        ),
        ("SELECT count(*) FROM TUMBLE(nope, t, INTERVAL '1' SECOND) GROUP BY window_start", "42P01", "nope"),
        ("SELECT count(*) FROM click GROUP BY tumble(interval '1 s')", "42P17", "needs a watermark on click"),
        ("SELECT count(*) AS n FROM bid EMIT ON WINDOW CLOSE", "42P17", "needs GROUP BY a column with a watermark"),
        ("SELECT auction, count(*) AS n FROM bid GROUP BY auction EMIT ON WINDOW CLOSE", "42P17", "with a watermark"),
        ("SELECT kind, count(*) AS n FROM event GROUP BY kind EMIT ON WINDOW CLOSE", "42P17", "needs a watermark"),
        ("SELECT auction FROM bid EMIT ON WINDOW CLOSE", "42P17", "needs GROUP BY a window"),
        ("SELECT auction, auction FROM bid", "42701", "auction"),
        ("SELECT a.auction, b.auction FROM bid a, bid b", "42701", "auction"),
    ] {
        let sql = format!("CREATE MATERIALIZED VIEW v AS {query}");
        let e = match world.run(&sql) {
            Ok(plan) => panic!("{query}:\n{plan}"),
            Err(e) => e,
        };
        assert!(e.to_string().contains(part), "{query}: {} {e}", e.kind().sqlstate());
        assert_eq!(e.kind().sqlstate(), state, "{query}: {e}");
    }
    for (sql, part) in [
        ("CREATE MATERIALIZED VIEW v (a, b) AS SELECT auction FROM bid", "2 column names are given for 1 columns"),
        ("CREATE MATERIALIZED VIEW v (a, a) AS SELECT auction, price FROM bid", "\"a\""),
    ] {
        let e = world.run(sql).unwrap_err();
        assert!(e.message().contains(part), "{sql}: {e}");
    }
}

#[test]
fn options_reach_the_plan() {
    let world = World::new();
    world.run("CREATE MATERIALIZED VIEW v AS SELECT price FROM bid").unwrap();
    let snapshot = world.catalog.snapshot();
    let graph: FragmentGraph = serde_json::from_str(snapshot.get("v").unwrap().definition.graph().unwrap()).unwrap();
    let mut options = BTreeMap::new();
    graph.fragments[0].root.visit(&mut |n| {
        if let crate::plan::Operator::Source(read) = &n.operator {
            options = read.options.clone();
        }
    });
    assert_eq!(options.get("encode").map(|v| v.text().unwrap_or_default()), Some("csv"));
}
