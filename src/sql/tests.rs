//! Tests of the parser.

use super::statement::*;
use super::*;
use crate::types::Conflict;

fn one(sql: &str) -> Statement {
    let mut parsed = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert_eq!(parsed.len(), 1, "{sql}");
    parsed.remove(0).statement
}

#[test]
fn statements_and_their_texts() {
    let parsed = parse(" select 1 ;; -- nothing\n  FLUSH;\nSET a = 'ö;' ; select 'x' -- end").unwrap();
    let texts: Vec<_> = parsed.iter().map(|p| p.text.as_str()).collect();
    assert_eq!(texts, ["select 1", "FLUSH", "SET a = 'ö;'", "select 'x'"]);
    assert!(parse("  -- only a comment\n;").unwrap().is_empty());
}

#[test]
fn create_source() {
    let Statement::CreateSource(s) =
        one("CREATE SOURCE IF NOT EXISTS public.Bid (auction BIGINT NOT NULL, \"Price\" INT,
         date_time TIMESTAMP, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND)
         WITH (connector = 'file', path = 'bid.csv', scan.startup.mode = 'earliest', limit = 10, follow = true)
         FORMAT PLAIN ENCODE CSV (delimiter = ';', without_header = 'true')")
    else {
        panic!()
    };
    assert_eq!((s.name.as_str(), s.if_not_exists), ("bid", true));
    let names: Vec<_> = s.columns.iter().map(|c| (c.name.as_str(), c.nullable)).collect();
    assert_eq!(names, [("auction", false), ("Price", true), ("date_time", true)]);
    assert_eq!(
        s.watermark,
        Some(WatermarkDef { column: "date_time".into(), delay_micros: 4_000_000, limits: Default::default() })
    );
    let options: Vec<_> = s.options.iter().map(|(k, v)| format!("{k}={}", v.text().unwrap_or("SECRET"))).collect();
    assert_eq!(
        options,
        [
            "connector=file",
            "delimiter=;",
            "encode=csv",
            "follow=true",
            "format=plain",
            "limit=10",
            "path=bid.csv",
            "scan.startup.mode=earliest",
            "without_header=true"
        ]
    );
}

#[test]
fn create_source_without_columns() {
    for sql in [
        "CREATE SOURCE b WITH (connector = 'nexmark')",
        "CREATE SOURCE b (*, WATERMARK FOR t AS t) WITH (connector = 'nexmark')",
    ] {
        let Statement::CreateSource(s) = one(sql) else { panic!() };
        assert!(s.columns.is_empty(), "{sql}");
    }
}

#[test]
fn create_table() {
    let cases = [
        ("CREATE TABLE t (a INT)", "[] None false"),
        ("CREATE TABLE t (a INT PRIMARY KEY)", "[\"a\"] None false"),
        (
            "CREATE TABLE t (a INT, b INT, PRIMARY KEY (b, a)) ON CONFLICT OVERWRITE",
            "[\"b\", \"a\"] Some(Overwrite) false",
        ),
        ("CREATE TABLE t (a INT PRIMARY KEY) ON CONFLICT DO NOTHING", "[\"a\"] Some(DoNothing) false"),
        ("CREATE TABLE t (a INT PRIMARY KEY) ON CONFLICT IGNORE", "[\"a\"] Some(DoNothing) false"),
        ("CREATE TABLE t (a INT PRIMARY KEY) ON CONFLICT DO UPDATE IF NOT NULL", "[\"a\"] Some(UpdateIfNotNull) false"),
        ("CREATE TABLE t (a INT DEFAULT 1 + 1) APPEND ONLY WITH (connector = 'tcp')", "[] None true"),
    ];
    for (sql, expected) in cases {
        let Statement::CreateTable(t) = one(sql) else { panic!("{sql}") };
        assert_eq!(format!("{:?} {:?} {}", t.primary_key, t.conflict, t.append_only), expected, "{sql}");
        assert!(t.columns.iter().all(|c| c.nullable != t.primary_key.contains(&c.name)), "{sql}");
    }
    let Statement::CreateTable(t) = one("CREATE TABLE t (a INT DEFAULT 1 + 1)") else { panic!() };
    assert_eq!(t.columns[0].default.as_deref(), Some("1 + 1"));
    assert_eq!(t.conflict, None::<Conflict>);
}

#[test]
fn create_materialized_view() {
    for (sql, emit, query) in [
        ("CREATE MATERIALIZED VIEW v AS SELECT a FROM t", false, "SELECT a FROM t"),
        ("CREATE MATERIALIZED VIEW v AS SELECT a FROM t EMIT ON WINDOW CLOSE", true, "SELECT a FROM t"),
        ("CREATE MATERIALIZED VIEW v EMIT ON WINDOW CLOSE AS SELECT a FROM t", true, "SELECT a FROM t"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT a FROM t GROUP BY a EMIT ON UPDATE",
            false,
            "SELECT a FROM t GROUP BY a",
        ),
        ("CREATE MATERIALIZED VIEW v AS SELECT emit FROM t emit", false, "SELECT emit FROM t emit"),
        ("CREATE MATERIALIZED VIEW v WITH (x = '1') AS WITH q AS (SELECT 1) SELECT * FROM q", false, ""),
    ] {
        let Statement::CreateMaterializedView(v) = one(sql) else { panic!("{sql}") };
        assert_eq!(v.emit != Emit::OnUpdate, emit, "{sql}");
        assert!(query.is_empty() || v.query.to_string() == query, "{sql}: {}", v.query);
    }
}

#[test]
fn create_sink_into() {
    for (sql, table, columns, query) in [
        ("CREATE SINK s INTO t FROM v", "t", vec![], "SELECT * FROM v"),
        (
            "CREATE SINK s INTO public.t (a, \"B\") FROM v WITH (type = 'upsert')",
            "t",
            vec!["a", "B"],
            "SELECT * FROM v",
        ),
        ("CREATE SINK IF NOT EXISTS s INTO t(a) AS SELECT 1 FROM v", "t", vec!["a"], "SELECT 1 FROM v"),
    ] {
        let Statement::CreateSink(s) = one(sql) else { panic!("{sql}") };
        let into = s.into.unwrap();
        assert_eq!(
            (into.table.as_str(), into.columns, s.query.to_string().as_str()),
            (table, columns.iter().map(ToString::to_string).collect(), query),
            "{sql}"
        );
    }
}

#[test]
fn create_sink() {
    for (sql, query) in [
        ("CREATE SINK s FROM v WITH (connector = 'file', path = 'x')", "SELECT * FROM v"),
        (
            "CREATE SINK s AS SELECT a FROM v WITH (connector = 'file', path = 'x') FORMAT PLAIN ENCODE JSON",
            "SELECT a FROM v",
        ),
        ("CREATE SINK s AS WITH q AS (SELECT 1) SELECT * FROM q WITH (connector = 'blackhole')", ""),
    ] {
        let Statement::CreateSink(s) = one(sql) else { panic!("{sql}") };
        assert!(s.options.contains_key("connector"), "{sql}");
        assert!(query.is_empty() || s.query.to_string() == query, "{sql}: {}", s.query);
    }
}

#[test]
fn the_small_statements() {
    let set = |name: &str, value: Option<&str>, local| Statement::SetVariable {
        name: name.into(),
        value: value.map(Into::into),
        local,
    };
    let list = |kind| Statement::Show { kind, like: None };
    let cases = [
        ("FLUSH", Statement::Flush),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY public.v", Statement::Refresh { name: "v".into() }),
        ("WAIT", Statement::Wait),
        ("BEGIN", Statement::Begin),
        ("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY", Statement::Begin),
        ("START TRANSACTION READ WRITE", Statement::Begin),
        ("COMMIT", Statement::Commit),
        ("END TRANSACTION", Statement::Commit),
        ("COMMIT AND NO CHAIN", Statement::Commit),
        ("ROLLBACK", Statement::Rollback),
        ("ABORT", Statement::Rollback),
        ("SAVEPOINT a", Statement::Savepoint { name: "a".into() }),
        ("ROLLBACK TO SAVEPOINT a", Statement::RollbackToSavepoint { name: "a".into() }),
        ("RELEASE a", Statement::ReleaseSavepoint { name: "a".into() }),
        ("DISCARD ALL", Statement::Discard { what: "ALL".into() }),
        ("DEALLOCATE ALL", Statement::Deallocate { name: None }),
        ("DEALLOCATE PREPARE p", Statement::Deallocate { name: Some("p".into()) }),
        ("CLOSE ALL", Statement::CloseCursor { name: None }),
        ("SET search_path TO a, \"B\"", set("search_path", Some("a, B"), false)),
        ("SET SESSION x.y = -1", set("x.y", Some("-1"), false)),
        ("SET LOCAL timezone = DEFAULT", set("timezone", None, true)),
        ("SET TIME ZONE 'UTC'", set("timezone", Some("UTC"), false)),
        ("SET implicit_flush = off", set("implicit_flush", Some("off"), false)),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            set("default_transaction_isolation", Some("read only"), false),
        ),
        ("SHOW server_version", Statement::ShowVariable { name: "server_version".into() }),
        ("SHOW TRANSACTION ISOLATION LEVEL", Statement::ShowVariable { name: "transaction_isolation".into() }),
        ("SHOW TABLES", list(Show::Tables)),
        ("SHOW SOURCES", list(Show::Sources)),
        ("SHOW MATERIALIZED VIEWS FROM public", list(Show::MaterializedViews)),
        ("SHOW JOBS", list(Show::Jobs)),
        ("SHOW ALL", list(Show::AllVariables)),
        ("SHOW COLUMNS FROM T", list(Show::Columns("t".into()))),
        ("SHOW VIEWS LIKE 'a%'", Statement::Show { kind: Show::Views, like: Some("a%".into()) }),
        (
            "SHOW CREATE MATERIALIZED VIEW v",
            Statement::ShowCreate { kind: ObjectKind::MaterializedView, name: "v".into() },
        ),
        ("DESCRIBE public.t", Statement::Describe { name: "t".into() }),
        ("RESET ALL", Statement::ResetVariable { name: None }),
        ("RESET x", Statement::ResetVariable { name: Some("x".into()) }),
        ("ALTER SYSTEM SET a.b = 5", Statement::AlterSystemSet { name: "a.b".into(), value: Some("5".into()) }),
        ("ALTER SYSTEM RESET a", Statement::AlterSystemSet { name: "a".into(), value: None }),
        (
            "DROP MATERIALIZED VIEW IF EXISTS a, public.b CASCADE",
            Statement::Drop(Drop {
                kind: ObjectKind::MaterializedView,
                if_exists: true,
                names: vec!["a".into(), "b".into()],
                cascade: true,
            }),
        ),
        (
            "DROP TABLE t RESTRICT",
            Statement::Drop(Drop {
                kind: ObjectKind::Table,
                if_exists: false,
                names: vec!["t".into()],
                cascade: false,
            }),
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(one(sql), expected, "{sql}");
    }
}

#[test]
fn queries_dml_and_explain() {
    for sql in ["SELECT 1", "(SELECT 1)", "VALUES (1)", "TABLE t", "WITH a AS (SELECT 1) SELECT * FROM a"] {
        assert!(matches!(one(sql), Statement::Query(_)), "{sql}");
    }
    assert!(matches!(one("INSERT INTO t VALUES (1)"), Statement::Insert(_)));
    assert!(matches!(one("UPDATE t SET a = 1 WHERE b = 2"), Statement::Update(_)));
    assert!(matches!(one("DELETE FROM t WHERE b = 2"), Statement::Delete(_)));
    for (sql, analyzed) in [
        ("EXPLAIN SELECT 1", false),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", true),
        ("EXPLAIN (ANALYZE, FORMAT TEXT) SELECT 1", true),
        ("EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1", false),
    ] {
        let Statement::Explain { analyze, .. } = one(sql) else { panic!("{sql}") };
        assert_eq!(analyze, analyzed, "{sql}");
    }
}

#[test]
fn what_psql_asks() {
    for sql in [
        "SELECT n.nspname as \"Schema\", c.relname as \"Name\" FROM pg_catalog.pg_class c
           LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r','p','') AND n.nspname !~ '^pg_toast'
           AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
           LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default
           AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3",
        "SELECT c.relchecks, c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE
           c.reloftype::pg_catalog.regtype::pg_catalog.text END, '16384'::pg_catalog.regclass FROM pg_catalog.pg_class c",
        "SELECT d.datname, pg_catalog.array_to_string(d.datacl, E'\\n') FROM pg_catalog.pg_database d ORDER BY 1",
    ] {
        assert!(matches!(one(sql), Statement::Query(_)), "{sql}");
    }
}

#[test]
fn subscriptions_and_cursors() {
    let subscribe = |since, snapshot, progress| Subscribe { name: "v".into(), since, snapshot, progress };
    for (sql, expected) in [
        ("SUBSCRIBE TO v", subscribe(None, true, false)),
        ("SUBSCRIBE public.V", subscribe(None, true, false)),
        ("SUBSCRIBE TO v WITH (snapshot = false, progress = 'on')", subscribe(None, false, true)),
        ("SUBSCRIBE TO v SINCE 17", subscribe(Some(17), false, false)),
        ("SUBSCRIBE TO v SINCE EPOCH 17 WITH (progress = true, snapshot = false)", subscribe(Some(17), false, true)),
        ("SUBSCRIBE TO v AS OF 3", subscribe(Some(3), false, false)),
    ] {
        assert_eq!(one(sql), Statement::Subscribe(expected.clone()), "{sql}");
        let inner = Box::new(Statement::Subscribe(expected));
        let declared = Statement::DeclareCursor { name: "c".into(), hold: false, scroll: false, inner };
        assert_eq!(one(&format!("DECLARE c CURSOR FOR {sql}")), declared, "{sql}");
    }
    use Direction::{Absolute, Backward, Forward, Relative};
    let to = |direction| Statement::FetchCursor { name: "c".into(), direction, timeout: None };
    let fetch = |rows, timeout: Option<&str>| Statement::FetchCursor {
        name: "c".into(),
        direction: Forward(rows),
        timeout: timeout.map(str::to_string),
    };
    for (sql, expected) in [
        ("FETCH c", fetch(Some(1), None)),
        ("FETCH FROM c", fetch(Some(1), None)),
        ("FETCH NEXT FROM c", fetch(Some(1), None)),
        ("FETCH NEXT c", fetch(Some(1), None)),
        ("FETCH 0 c", fetch(Some(0), None)),
        ("FETCH 5 IN \"c\"", fetch(Some(5), None)),
        ("FETCH FORWARD c", fetch(Some(1), None)),
        ("FETCH FORWARD 5 FROM c", fetch(Some(5), None)),
        ("FETCH FORWARD ALL FROM c", fetch(None, None)),
        ("FETCH ALL c", fetch(None, None)),
        ("FETCH c WITH (timeout = '1s')", fetch(Some(1), Some("1s"))),
        ("FETCH ALL FROM c WITH (timeout = '1s')", fetch(None, Some("1s"))),
        ("MOVE FORWARD 3 IN c", Statement::MoveCursor { name: "c".into(), direction: Forward(Some(3)) }),
        ("FETCH PRIOR FROM c", to(Backward(Some(1)))),
        ("FETCH FIRST c", to(Absolute(1))),
        ("FETCH LAST IN c", to(Absolute(-1))),
        ("FETCH ABSOLUTE -3 FROM c", to(Absolute(-3))),
        ("FETCH RELATIVE 0 FROM c", to(Relative(0))),
        ("FETCH -2 FROM c", to(Backward(Some(2)))),
        ("FETCH BACKWARD c", to(Backward(Some(1)))),
        ("FETCH BACKWARD -2 c", to(Forward(Some(2)))),
        ("FETCH BACKWARD ALL FROM c", to(Backward(None))),
        ("FETCH prior", Statement::FetchCursor { name: "prior".into(), direction: Forward(Some(1)), timeout: None }),
        ("MOVE ALL c", Statement::MoveCursor { name: "c".into(), direction: Forward(None) }),
        ("CLOSE c", Statement::CloseCursor { name: Some("c".into()) }),
    ] {
        assert_eq!(one(sql), expected, "{sql}");
    }
    for (sql, hold) in [
        ("DECLARE c CURSOR FOR SELECT 1", false),
        ("DECLARE c INSENSITIVE NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1", false),
        ("DECLARE c ASENSITIVE CURSOR WITH HOLD FOR WITH a AS (SELECT 1) SELECT * FROM a", true),
        ("DECLARE c CURSOR WITH HOLD FOR VALUES (1)", true),
        ("DECLARE c SCROLL CURSOR FOR SELECT 1", false),
    ] {
        let Statement::DeclareCursor { name, hold: held, scroll, inner } = one(sql) else { panic!("{sql}") };
        assert_eq!((name.as_str(), held, scroll), ("c", hold, sql.starts_with("DECLARE c SCROLL")), "{sql}");
        assert!(matches!(*inner, Statement::Query(_)), "{sql}");
    }
    for (sql, state, part) in [
        ("SUBSCRIBE", "42601", "end of input"),
        ("SUBSCRIBE TO (SELECT 1)", "0A000", "not a query"),
        ("SUBSCRIBE TO v SINCE yesterday", "42601", "an epoch is a whole number"),
        ("SUBSCRIBE TO v SINCE -1", "42601", "an epoch is a whole number"),
        ("SUBSCRIBE TO v SINCE 99999999999999999999", "42601", "an epoch is a whole number"),
        ("SUBSCRIBE TO v SINCE 1 WITH (snapshot = true)", "22023", "has no snapshot"),
        ("SUBSCRIBE TO v WITH (snapshot = perhaps)", "22023", "snapshot must be true or false"),
        ("SUBSCRIBE TO v WITH (shape = 1)", "22023", "no option \"shape\""),
        ("DECLARE c SCROLL CURSOR FOR SUBSCRIBE TO v", "0A000", "forward only"),
        ("DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT 1", "42P17", "both SCROLL and NO SCROLL"),
        ("DECLARE c CURSOR FOR DELETE FROM t", "42601", "DELETE"),
        ("FETCH ABSOLUTE FROM c", "42601", "\"FROM\""),
        ("FETCH - FROM c", "42601", "\"FROM\""),
        ("FETCH c WITH (patience = '1s')", "22023", "no option \"patience\""),
        ("FETCH", "42601", "end of input"),
    ] {
        let e = parse(sql).map(|p| format!("{p:?}")).unwrap_err();
        assert!(e.message().contains(part), "{sql}: {e}");
        assert_eq!(e.kind().sqlstate(), state, "{sql}: {e}");
    }
}

#[test]
fn errors_say_where() {
    for (sql, state, position, part) in [
        ("SELEC 1", "42601", 1, "at or near \"SELEC\""),
        ("SELECT 1;\n  FROB", "42601", 13, "at or near \"FROB\""),
        ("SELECT 'ö' FROM", "42601", 16, "at end of input"),
        ("CREATE SOURCE s (a INT WITH (x = 1)", "42601", 24, "at or near \"WITH\""),
        ("SELECT 'open", "42601", 8, "Unterminated"),
        ("CREATE UNIQUE INDEX i ON t (a)", "0A000", 8, "nique"),
        ("CREATE TABLE t (a NOPE)", "42704", 17, "type \"nope\" does not exist"),
        ("CREATE TABLE t (a INT, A INT)", "42701", 24, "specified more than once"),
        ("CREATE TABLE other.t (a INT)", "3F000", 14, "schema \"other\" does not exist"),
        ("CREATE TABLE x.public.t (a INT)", "0A000", 14, "cross-database"),
        ("CREATE TABLE t (a INT UNIQUE)", "0A000", 17, "UNIQUE on a column"),
        ("CREATE TABLE t (a INT, CHECK (a > 0))", "0A000", 24, "CHECK constraint"),
        ("CREATE TABLE t AS SELECT 1 WITH DATA 2", "42601", 38, "at or near"),
        ("CREATE SOURCE s (t TIMESTAMP, WATERMARK FOR t AS t + INTERVAL '1 s')", "0A000", 50, "WATERMARK FOR t AS"),
        ("CREATE SOURCE s (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '1 month')", "22023", 50, "months"),
        ("SELECT 1 SELECT 2", "42601", 10, "at or near"),
        ("DROP FROB i", "42601", 6, "at or near \"FROB\""),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1 FROM t EMIT ON WINDOW", "42601", 47, "EMIT must be"),
        ("SET x", "42601", 6, "end of input"),
        (
            "SELECT 1 FROM a JOIN b FOR SYSTEM_TIME AS OF 1 ON true",
            "42601",
            24,
            "FOR SYSTEM_TIME AS OF takes PROCTIME()",
        ),
        ("SELECT 1 FROM a ASOF JOIN b WHERE a.t > b.t", "42601", 17, "this join needs a condition"),
    ] {
        let e = parse(sql).map(|p| format!("{p:?}")).unwrap_err();
        assert!(e.message().contains(part), "{sql}: {e}");
        assert_eq!((e.kind().sqlstate(), e.position()), (state, Some(position)), "{sql}: {e}");
    }
    for (sql, part) in [
        ("CREATE TABLE t (a INT) ON CONFLICT DO NOTHING", "needs a primary key"),
        ("CREATE SINK s FROM v", "needs to know where"),
        ("CREATE SOURCE s (a INT PRIMARY KEY) WITH (connector = 'tcp')", "no primary key"),
        ("CREATE SOURCE s WITH (a = 1, A = 2)", "given twice"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "WITH before INSERT"),
    ] {
        let e = parse(sql).map(|p| format!("{p:?}")).unwrap_err();
        assert!(e.message().contains(part), "{sql}: {e}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let sql = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(parse(&sql).unwrap_err().kind().sqlstate(), "42601");
}

fn rewritten(sql: &str) -> crate::common::Result<String> {
    let mut query = match parse(sql)?.remove(0).statement {
        Statement::Query(query) => query,
        other => panic!("{other:?}"),
    };
    window::rewrite(&mut query, &|table| (table.to_string() == "bid").then(|| "ts".to_string()))?;
    Ok(query.to_string())
}

#[test]
fn table_stands_for_select() {
    for (sql, expected) in [
        ("TABLE t", "SELECT * FROM t"),
        (
            "(TABLE public.t) UNION ALL TABLE u ORDER BY 1",
            "(SELECT * FROM public.t) UNION ALL SELECT * FROM u ORDER BY 1",
        ),
        ("WITH a AS (TABLE t) TABLE a LIMIT 1", "WITH a AS (SELECT * FROM t) SELECT * FROM a LIMIT 1"),
        ("SELECT (SELECT count(*) FROM (TABLE t) AS x)", "SELECT (SELECT count(*) FROM (SELECT * FROM t) AS x)"),
    ] {
        assert_eq!(rewritten(sql).unwrap(), expected, "{sql}");
    }
    assert!(matches!(parse("CREATE TABLE c AS TABLE t").unwrap()[0].statement, Statement::CreateTableAs(_)));
}

#[test]
fn every_tumble_dialect() {
    let start = "tumble_start(ts, INTERVAL '10 seconds')";
    let end = format!("({start} + INTERVAL '10 seconds')");
    let time = format!("({start} + INTERVAL '9999000 microseconds')");
    let table = format!("(SELECT *, {start} AS window_start, {end} AS window_end FROM bid)");
    let flink = format!("(SELECT *, {start} AS window_start, {end} AS window_end, {time} AS window_time FROM bid)");
    let q = "tumble_start(bid.ts, INTERVAL '10 seconds')";
    let both = format!("{q}, ({q} + INTERVAL '10 seconds')");
    let listed = format!("{q} AS window_start, ({q} + INTERVAL '10 seconds') AS window_end");
    let cases = [
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '10' SECOND)", format!("SELECT * FROM {table} AS bid")),
        ("SELECT * FROM tumble(bid, ts, INTERVAL '10 s') AS x", format!("SELECT * FROM {table} AS x")),
        (
            "SELECT * FROM TUMBLE(bid, ts, INTERVAL '10' SECOND, INTERVAL '13' SECOND)",
            format!("SELECT * FROM {table} AS bid")
                .replace("ts, INTERVAL '10 seconds'", "ts, INTERVAL '10 seconds', INTERVAL '3 seconds'"),
        ),
        (
            "SELECT * FROM TUMBLE((SELECT * FROM bid WHERE a > 1), ts, INTERVAL '10' SECOND) x",
            format!("SELECT * FROM {} x", table.replace("FROM bid", "FROM (SELECT * FROM bid WHERE a > 1) AS tumble")),
        ),
        (
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECONDS))",
            format!("SELECT * FROM {flink} AS bid"),
        ),
        ("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND) b", format!("SELECT * FROM {flink} b")),
        (
            "SELECT * FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND,
             OFFSET => INTERVAL '0' SECOND))",
            format!("SELECT * FROM {flink} AS bid"),
        ),
        (
            "SELECT * FROM TUMBLE(SIZE => INTERVAL '10' SECOND, DATA => bid, TIMECOL => ts)",
            format!("SELECT * FROM {table} AS bid"),
        ),
        (
            "SELECT TUMBLE_START(ts, INTERVAL '10' SECOND), TUMBLE_END(ts, INTERVAL '10' SECOND) AS e, count(*) FROM bid
             GROUP BY TUMBLE(ts, INTERVAL '10' SECOND) HAVING TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND) > x
             ORDER BY TUMBLE_START(ts, INTERVAL '10' SECOND)",
            format!(
                "SELECT {start} AS window_start, {end} AS e, count(*) FROM bid GROUP BY {start} HAVING {time} > x \
                 ORDER BY {start}"
            ),
        ),
        (
            "SELECT tumble(interval '10 seconds') AS window, count(*) FROM bid GROUP BY window",
            format!("SELECT {listed}, count(*) FROM bid GROUP BY {both}"),
        ),
        (
            "SELECT auction, tumble(interval '10 seconds') FROM bid GROUP BY 1, 2",
            format!("SELECT auction, {listed} FROM bid GROUP BY auction, {both}"),
        ),
        (
            "SELECT window.end FROM (SELECT tumble(interval '10 seconds') AS window FROM bid b
             GROUP BY tumble(interval '10 seconds')) AS x",
            format!("SELECT window_end FROM (SELECT {listed} FROM bid b GROUP BY {both}) AS x").replace("bid.ts", "b.ts"),
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rewritten(sql).unwrap_or_else(|e| panic!("{sql}: {e}")), expected, "{sql}");
    }
}

/// The SQL that a window's columns are made by.
fn with_columns([start, end]: [&str; 2], from: &str) -> String {
    format!("(SELECT *, {start} AS window_start, {end} AS window_end FROM {from})")
}

#[test]
fn every_dialect_of_the_other_windows() {
    let end = "unnest(hop_ends(ts, INTERVAL '2 seconds', INTERVAL '10 seconds'))";
    let hop = [&*format!("({end} - INTERVAL '10 seconds')"), end];
    let time = format!("({end} - INTERVAL '1000 microseconds') AS window_time");
    let flink = with_columns(hop, "bid").replace("window_end FROM", &format!("window_end, {time} FROM"));
    let legacy = hop.map(|c| c.replace("(ts", "(b.ts"));
    let end = "unnest(cumulate_ends(ts, INTERVAL '60 seconds', INTERVAL '3600 seconds', INTERVAL '5 seconds'))";
    let start = format!(
        "cumulate_window_start(({end} - INTERVAL '1 microseconds'), INTERVAL '3600 seconds', INTERVAL '5 seconds')"
    );
    let session = |by: &str| {
        ["start", "end"].map(|bound| format!("session_window_{bound}(ts, INTERVAL '5 seconds') OVER ({by})"))
    };
    let sessions = |by: &str, from: &str| {
        let [start, end] = session(by);
        with_columns([&start, &end], from)
    };
    let cases = [
        (
            "SELECT * FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND)",
            format!("SELECT * FROM {} AS bid", with_columns(hop, "bid")),
        ),
        (
            "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) x",
            format!("SELECT * FROM {flink} x"),
        ),
        (
            "SELECT * FROM HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND,
             SLIDE => INTERVAL '2' SECOND, OFFSET => INTERVAL '-4' SECOND)",
            format!("SELECT * FROM {flink} AS bid"),
        ),
        (
            "SELECT a, HOP_END(b.ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND), count(*) FROM bid AS b WHERE a > 1
             GROUP BY a, HOP(b.ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
             ORDER BY HOP_START(b.ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND)",
            format!(
                "SELECT a, window_end AS window_end, count(*) FROM {} AS b WHERE a > 1 \
                 GROUP BY a, window_start, window_end ORDER BY window_start",
                with_columns([&legacy[0], &legacy[1]], "bid AS b")
            ),
        ),
        (
            "SELECT hop(interval '2 seconds', interval '10 seconds') AS w, count(*) FROM bid b GROUP BY w",
            format!(
                "SELECT window_start AS window_start, window_end AS window_end, count(*) FROM {} AS b \
                 GROUP BY window_start, window_end",
                with_columns([&legacy[0], &legacy[1]], "bid b")
            ),
        ),
        (
            "SELECT * FROM CUMULATE(bid, ts, INTERVAL '1' MINUTE, INTERVAL '1' HOUR, INTERVAL '5' SECOND) c",
            format!("SELECT * FROM {} c", with_columns([&start, end], "bid")),
        ),
        (
            "SELECT * FROM SESSION(bid, ts, INTERVAL '5' SECOND)",
            format!("SELECT * FROM {} AS bid", sessions("", "bid")),
        ),
        (
            "SELECT * FROM SESSION(bid PARTITION BY a, b, ts, INTERVAL '5' SECOND)",
            format!("SELECT * FROM {} AS bid", sessions("PARTITION BY a, b", "bid")),
        ),
        (
            "SELECT * FROM SESSION((SELECT * FROM bid) PARTITION BY (a, b), ts, GAP => INTERVAL '5' SECOND) s",
            format!("SELECT * FROM {} s", sessions("PARTITION BY a, b", "(SELECT * FROM bid) AS session")),
        ),
        (
            "SELECT a AS k, SESSION_START(ts, INTERVAL '5' SECOND) AS s FROM bid WHERE b > 1
             GROUP BY k, SESSION(ts, INTERVAL '5' SECOND)",
            format!(
                "SELECT a AS k, window_start AS s FROM {} AS bid GROUP BY k, window_start, window_end",
                sessions("PARTITION BY a", "bid WHERE b > 1")
            ),
        ),
        (
            "SELECT a, session(interval '5 seconds') FROM bid GROUP BY 1, 2",
            format!(
                "SELECT a, window_start AS window_start, window_end AS window_end FROM {} AS bid \
                 GROUP BY a, window_start, window_end",
                sessions("PARTITION BY a", "bid").replace("(ts", "(bid.ts")
            ),
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rewritten(sql).unwrap_or_else(|e| panic!("{sql}: {e}")), expected, "{sql}");
        // A view is kept as it was written, and read again.
        let kept = parse_query(sql).unwrap().to_string();
        assert_eq!(rewritten(&kept).unwrap_or_else(|e| panic!("{kept}: {e}")), expected, "{kept}");
    }
    let partitioned = rewritten(
        "SELECT * FROM TABLE(SESSION(DATA => TABLE bid PARTITION BY a, b, TIMECOL => DESCRIPTOR(ts),
         GAP => INTERVAL '5' SECOND))",
    );
    assert!(partitioned.unwrap().contains("OVER (PARTITION BY a, b) AS window_end, (session_window_end(ts"));
}

#[test]
fn wrong_windows_say_what_to_write() {
    for (sql, state, part) in [
        ("SELECT * FROM TUMBLE(bid, ts)", "42601", "takes a table, its time column and a window length"),
        ("SELECT * FROM TUMBLE(bid, INTERVAL '1' SECOND, ts)", "42601", "time column second"),
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '0' SECOND)", "22023", "above zero"),
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '-5' SECOND)", "22023", "above zero"),
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '1' MONTH)", "22023", "months and years vary"),
        ("SELECT * FROM TUMBLE(bid, ts, 10)", "22023", "not an interval literal"),
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '1' SECOND, 5)", "22023", "offset"),
        ("SELECT * FROM TUMBLE(bid, ts, INTERVAL '1' SECOND, INTERVAL '1' SECOND, 1)", "42601", "and no more"),
        ("SELECT * FROM TUMBLE(DATA => bid, ts, WIDTH => INTERVAL '1' SECOND)", "42601", "and no more"),
        ("SELECT * FROM TUMBLE(bid, DESCRIPTOR(a, b), INTERVAL '1' SECOND)", "42601", "one time column"),
        ("SELECT * FROM HOP(bid, ts, INTERVAL '1' SECOND)", "42601", "a slide and a window length"),
        ("SELECT * FROM HOP(bid, ts, INTERVAL '0' SECOND, INTERVAL '2' SECOND)", "22023", "slide must be above zero"),
        ("SELECT * FROM HOP(bid, ts, INTERVAL '1' MICROSECOND, INTERVAL '1' DAY)", "22023", "86400000000 windows"),
        ("SELECT * FROM HOP(bid PARTITION BY a, ts, INTERVAL '1' SECOND)", "42601", "HOP takes no PARTITION BY"),
        ("SELECT * FROM CUMULATE(bid, ts, INTERVAL '2' SECOND, INTERVAL '5' SECOND)", "22023", "multiple of its step"),
        ("SELECT * FROM TABLE(SESSION(TABLE bid, DESCRIPTOR(ts)))", "42601", "its time column and a gap"),
        (
            "SELECT * FROM SESSION(bid, ts, INTERVAL '1' SECOND, INTERVAL '1' SECOND)",
            "42601",
            "TIMECOL, GAP, and no more",
        ),
        ("SELECT count(*) FROM bid GROUP BY HOP(ts)", "42601", "GROUP BY HOP takes a time column and a slide"),
        ("SELECT HOP_START(ts, INTERVAL '1' SECOND) FROM bid", "42601", "HOP_START takes"),
        (
            "SELECT HOP_END(ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND) FROM bid GROUP BY ts",
            "42601",
            "HOP_END needs GROUP BY HOP with the same arguments",
        ),
        ("SELECT SESSION_PROCTIME(ts, INTERVAL '1' SECOND) FROM bid", "0A000", "SESSION_PROCTIME"),
        (
            "SELECT 1 FROM bid, o GROUP BY HOP(ts, INTERVAL '1' SECOND, INTERVAL '2' SECOND)",
            "42601",
            "one table or subquery",
        ),
        (
            "SELECT 1 FROM bid GROUP BY SESSION(ts, INTERVAL '1' SECOND), SESSION(ts, INTERVAL '2' SECOND)",
            "42601",
            "one window",
        ),
        ("SELECT count(*) FROM other GROUP BY session(interval '1 s')", "42P17", "needs a watermark on other"),
        ("SELECT count(*) FROM other GROUP BY tumble(interval '1 s')", "42P17", "needs a watermark on other"),
        ("SELECT count(*) FROM bid, o GROUP BY tumble(interval '1 s')", "42601", "one table in FROM"),
        ("SELECT * FROM bid WHERE tumble(ts, interval '1 s') > x", "42601", "in FROM or in GROUP BY only"),
        ("SELECT TUMBLE_END(ts) FROM bid", "42601", "TUMBLE_END takes"),
    ] {
        let e = rewritten(sql).unwrap_err();
        assert!(e.message().contains(part), "{sql}: {e}");
        assert_eq!(e.kind().sqlstate(), state, "{sql}: {e}");
        assert!(e.hint().is_some(), "{sql}: {e}");
    }
}

/// Cuts and holes in good statements: errors, never a panic.
#[test]
fn torn_statements_never_panic() {
    let corpus = [
        "CREATE SOURCE IF NOT EXISTS bid (a BIGINT NOT NULL, t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '4' SECOND) \
         WITH (connector = 'file', a.b = -1) FORMAT PLAIN ENCODE CSV (delimiter = ';')",
        "CREATE TABLE t (a INT PRIMARY KEY, b NUMERIC(4, 2) DEFAULT 1) APPEND ONLY ON CONFLICT DO UPDATE IF NOT NULL",
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) FROM TABLE(TUMBLE(DATA => TABLE bid, \
         TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1:30' MINUTE TO SECOND)) GROUP BY 1 EMIT ON WINDOW CLOSE",
        "CREATE SINK s AS SELECT a FROM v WITH (connector = 'file', path = 'ö') FORMAT PLAIN ENCODE JSON",
        "SELECT tumble(interval '1 s') AS window, TUMBLE_END(ts, INTERVAL '1' DAY) FROM bid b GROUP BY window, TUMBLE(ts, \
         INTERVAL '1 mon')",
        "SELECT SESSION_END(ts, INTERVAL '1' DAY) FROM SESSION(t PARTITION BY a, ts, INTERVAL '1' DAY) GROUP BY SESSION(ts, \
         INTERVAL '1' DAY), hop(interval '1 s', interval '2 s') ORDER BY SESSION_START(ts, INTERVAL '1' DAY)",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; DROP VIEW IF EXISTS a, b CASCADE; SHOW CREATE TABLE t",
    ];
    let mut parsed = 0;
    for sql in corpus {
        let words: Vec<&str> = sql.split_inclusive([' ', '(', ')', ',', '\'']).collect();
        let prefixes = (0..=words.len()).map(|n| words[..n].concat());
        let holes = (0..words.len()).map(|n| [&words[..n], &words[n + 1..]].concat().concat());
        let doubled = (0..words.len()).map(|n| [&words[..=n], &words[n..]].concat().concat());
        for torn in prefixes.chain(holes).chain(doubled) {
            match parse(&torn) {
                Err(e) => {
                    assert!(e.position().is_none_or(|p| (1..=torn.chars().count() + 1).contains(&p)), "{torn}: {e:?}")
                }
                Ok(statements) => {
                    for statement in statements {
                        parsed += 1;
                        if let Statement::Query(mut query)
                        | Statement::CreateMaterializedView(CreateMaterializedView { mut query, .. }) =
                            statement.statement
                        {
                            // Either is right: what counts is that there is an answer.
                            let _ = window::rewrite(&mut query, &|_| Some("ts".into()));
                        }
                    }
                }
            }
        }
    }
    assert!(parsed > 100, "{parsed}");
}
