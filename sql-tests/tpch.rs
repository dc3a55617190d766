//! TPC-H: its 22 queries as views over tables at scale 0.01, which then take the specification's refresh functions (new
//! orders with their lines, old ones deleted). After each step every view must hold what its query gives as a batch.
//!
//! Rows and the queries' texts are those of the `tpchgen` package; parameters are the specification's validation values,
//! others where those leave no row at this scale.

use std::fmt::Display;

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen::q_and_a::queries;

use crate::client::Client;
use crate::compare;
use crate::server::{Folder, Options, Server};

const SCALE: f64 = 0.01;
/// Rows of an INSERT.
const INSERT_ROWS: usize = 2000;
/// Every so manieth order comes with a refresh instead of at first; as many are deleted.
const REFRESHED: i64 = 500;
const REFRESHES: i64 = 1;

const TABLES: [&str; 8] = [
    "region (r_regionkey BIGINT PRIMARY KEY, r_name VARCHAR, r_comment VARCHAR)",
    "nation (n_nationkey BIGINT PRIMARY KEY, n_name VARCHAR, n_regionkey BIGINT, n_comment VARCHAR)",
    "part (p_partkey BIGINT PRIMARY KEY, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INT,
        p_container VARCHAR, p_retailprice DECIMAL(15, 2), p_comment VARCHAR)",
    "supplier (s_suppkey BIGINT PRIMARY KEY, s_name VARCHAR, s_address VARCHAR, s_nationkey BIGINT, s_phone VARCHAR,
        s_acctbal DECIMAL(15, 2), s_comment VARCHAR)",
    "partsupp (ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INT, ps_supplycost DECIMAL(15, 2), ps_comment VARCHAR,
        PRIMARY KEY (ps_partkey, ps_suppkey))",
    "customer (c_custkey BIGINT PRIMARY KEY, c_name VARCHAR, c_address VARCHAR, c_nationkey BIGINT, c_phone VARCHAR,
        c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR, c_comment VARCHAR)",
    "orders (o_orderkey BIGINT PRIMARY KEY, o_custkey BIGINT, o_orderstatus VARCHAR, o_totalprice DECIMAL(15, 2),
        o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INT, o_comment VARCHAR)",
    "lineitem (l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INT, l_quantity DECIMAL(15, 2),
        l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag VARCHAR,
        l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR,
        l_shipmode VARCHAR, l_comment VARCHAR, PRIMARY KEY (l_orderkey, l_linenumber))",
];

/// What stands for `:1`, `:2` and so on.
const PARAMETERS: [&[&str]; 22] = [
    &["90"],
    &["15", "BRASS", "EUROPE"],
    &["BUILDING", "1995-03-15"],
    &["1993-07-01"],
    &["ASIA", "1994-01-01"],
    &["1994-01-01", "0.06", "24"],
    &["FRANCE", "GERMANY"],
    &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
    &["green"],
    &["1993-10-01"],
    &["GERMANY", "0.01"],
    &["MAIL", "SHIP", "1994-01-01"],
    &["special", "requests"],
    &["1995-09-01"],
    &["1996-01-01"],
    &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "36", "3", "9"],
    &["Brand#23", "MED BOX"],
    &["250"],
    &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
    &["forest", "1994-01-01", "CANADA"],
    &["SAUDI ARABIA"],
    &["13", "31", "23", "29", "30", "18", "17"],
];

/// The statements before a query, and the query.
fn query(number: usize) -> (Option<String>, String) {
    let text = queries::query(number as i32).unwrap();
    // The last first: `:1` begins `:10`.
    let given = PARAMETERS[number - 1].iter().enumerate().rev();
    let text = given.fold(text.to_string(), |text, (at, value)| text.replace(&format!(":{}", at + 1), value));
    // A stream's number, and a precision of the interval that changes nothing.
    let text = text.replace(":s", "_0").replace(" day (3)", " day");
    let mut statements: Vec<String> = text.split(';').map(|s| s.trim().to_string()).filter(|s| !s.is_empty()).collect();
    statements.retain(|s| !s.starts_with("drop"));
    let query = statements.pop().unwrap();
    (statements.pop(), query)
}

/// The rows of a generator, as lists of literals.
fn rows<R: Display>(generator: impl Iterator<Item = R>) -> Vec<String> {
    let row = |row: R| {
        let text = row.to_string();
        let cells = text.trim_end_matches('|').split('|').map(|cell| format!("'{}'", cell.replace('\'', "''")));
        format!("({})", cells.collect::<Vec<_>>().join(","))
    };
    generator.map(row).collect()
}

async fn insert(client: &Client, table: &str, rows: &[String]) {
    for rows in rows.chunks(INSERT_ROWS) {
        client.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(","))).await;
    }
}

/// The refresh that an order comes with.
fn comes_with(order: i64) -> Option<i64> {
    Some(order % REFRESHED).filter(|refresh| *refresh < REFRESHES)
}

fn orders(which: impl Fn(i64) -> bool) -> (Vec<String>, Vec<String>) {
    let orders = OrderGenerator::new(SCALE, 1, 1).into_iter().filter(|o| which(o.o_orderkey));
    let lines = LineItemGenerator::new(SCALE, 1, 1).into_iter().filter(|l| which(l.l_orderkey));
    (rows(orders), rows(lines))
}

async fn check(client: &Client, when: &str) {
    for number in 1..=22 {
        let view = client.query(&format!("SELECT * FROM q{number}")).await;
        let batch = client.query(&query(number).1).await;
        println!("{when}, q{number}: {} rows", batch.len());
        assert!(!batch.is_empty(), "{when}: q{number} has no row to compare");
        if let Some(difference) = compare::difference(view, batch) {
            panic!("{when}: q{number}\n{difference}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_follows_the_refreshes() {
    let folder = Folder::new();
    let server = Server::start(folder.path(), &Options { memory: "1GiB", ..Options::default() }).unwrap();
    let client = Client::connect(server.port()).await.unwrap();
    for table in TABLES {
        client.execute(&format!("CREATE TABLE {table}")).await;
    }
    let first = |order| comes_with(order).is_none();
    let (order_rows, lines) = orders(first);
    for (table, rows) in [
        ("region", rows(RegionGenerator::new(SCALE, 1, 1).into_iter())),
        ("nation", rows(NationGenerator::new(SCALE, 1, 1).into_iter())),
        ("part", rows(PartGenerator::new(SCALE, 1, 1).into_iter())),
        ("supplier", rows(SupplierGenerator::new(SCALE, 1, 1).into_iter())),
        ("partsupp", rows(PartSuppGenerator::new(SCALE, 1, 1).into_iter())),
        ("customer", rows(CustomerGenerator::new(SCALE, 1, 1).into_iter())),
        ("orders", order_rows),
        ("lineitem", lines),
    ] {
        insert(&client, table, &rows).await;
    }
    for number in 1..=22 {
        let (before, query) = query(number);
        if let Some(before) = before {
            client.execute(&before).await;
        }
        client.execute(&format!("CREATE MATERIALIZED VIEW q{number} AS {query}")).await;
    }
    check(&client, "at first").await;
    for refresh in 0..REFRESHES {
        let (order_rows, lines) = orders(|order| comes_with(order) == Some(refresh));
        insert(&client, "orders", &order_rows).await;
        insert(&client, "lineitem", &lines).await;
        check(&client, &format!("after insert {refresh}")).await;
        let gone = format!("% {REFRESHED} = {}", REFRESHES + refresh);
        client.execute(&format!("DELETE FROM orders WHERE o_orderkey {gone}")).await;
        client.execute(&format!("DELETE FROM lineitem WHERE l_orderkey {gone}")).await;
        check(&client, &format!("after delete {refresh}")).await;
    }
}
