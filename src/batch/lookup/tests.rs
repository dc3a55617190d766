//! Which statements are lookups.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::recognise::{Operand, recognise};
use crate::catalog::{Catalog, Column, Definition, MaterializedView, Object, Snapshot, View};
use crate::sql::parse_query;
use crate::types::TableId;

fn snapshot() -> Arc<Snapshot> {
    let catalog = Catalog::default();
    let column = |name: &str, data_type| Column::new(name, data_type, true);
    let columns = vec![
        column("id", DataType::Int32),
        column("Name", DataType::Utf8),
        column("big", DataType::Int64),
        column("real", DataType::Float64),
        Column { hidden: true, ..column("_row_id", DataType::Int64) },
    ];
    let view = MaterializedView {
        columns: columns.clone(),
        key: vec![0],
        table: TableId(9),
        append_only: false,
        watermark_columns: vec![],
        replaces: None,
        query: String::new(),
        graph: String::new(),
    };
    let plain = View { columns, query: "SELECT 1".into() };
    for (name, definition) in [("t", Definition::MaterializedView(view)), ("plain", Definition::View(plain))] {
        let object = Object {
            id: catalog.next_job_id(),
            name: name.into(),
            owner: "root".into(),
            sql: String::new(),
            created_at: 0,
            depends_on: vec![],
            acl: Default::default(),
            temporary: None,
            comments: BTreeMap::new(),
            definition,
        };
        let change = catalog.create(object).unwrap();
        catalog.publish(change.snapshot);
    }
    catalog.snapshot()
}

/// The columns and operands of a lookup, as `id,Name: 0=Int32(5)`; `-` for what is none.
fn known(sql: &str) -> String {
    let snapshot = snapshot();
    let query = parse_query(sql).unwrap();
    let Some(asked) = recognise(&query, &snapshot) else { return "-".into() };
    let columns: Vec<_> = asked.columns.iter().map(|(_, name)| name.as_str()).collect();
    let equal = asked.equal.iter().map(|(column, operand)| match operand {
        Operand::Constant(value) => format!("{column}={value:?}"),
        Operand::Parameter(number) => format!("{column}=${number}"),
    });
    format!("{}: {}", columns.join(","), equal.collect::<Vec<_>>().join(" "))
}

#[test]
fn lookups_are_known_by_their_syntax() {
    let cases = [
        ("SELECT * FROM t WHERE id = 5", "id,Name,big,real: 0=Int32(5)"),
        ("SELECT \"Name\", big AS b FROM public.t WHERE (id = -5)", "Name,b: 0=Int32(-5)"),
        ("SELECT x.big FROM t x WHERE $2 = x.id AND x.\"Name\" = 'it''s'", "big: 0=$1 1=Utf8(\"it's\")"),
        ("SELECT big FROM t WHERE id = '5'", "big: 0=Int32(5)"),
        ("SELECT big FROM t WHERE big = 3000000000", "big: 2=Int64(3000000000)"),
        // What the planner must decide or refuse.
        ("SELECT big FROM t WHERE id = 3000000000", "-"),
        ("SELECT big FROM t WHERE id = 5.0", "-"),
        ("SELECT big FROM t WHERE id = '5x'", "-"),
        ("SELECT big FROM t WHERE id = ' 5'", "-"),
        ("SELECT big FROM t WHERE \"Name\" = 5", "-"),
        ("SELECT big FROM t WHERE real = 5", "-"),
        ("SELECT big FROM t WHERE id = big", "-"),
        ("SELECT big FROM t WHERE id = NULL", "-"),
        ("SELECT big FROM t WHERE id = 5 AND id = 6", "-"),
        ("SELECT big FROM t WHERE id = 5 OR id = 6", "-"),
        ("SELECT big FROM t WHERE id = 5 AND big > 6", "-"),
        ("SELECT big FROM t WHERE nothing = 5", "-"),
        ("SELECT nothing FROM t WHERE id = 5", "-"),
        ("SELECT _row_id FROM t WHERE id = 5", "-"),
        ("SELECT t.big FROM t x WHERE id = 5", "-"),
        ("SELECT big, big FROM t WHERE id = 5", "-"),
        ("SELECT *, big FROM t WHERE id = 5", "-"),
        ("SELECT big + 1 FROM t WHERE id = 5", "-"),
        ("SELECT count(*) FROM t WHERE id = 5", "-"),
        ("SELECT DISTINCT big FROM t WHERE id = 5", "-"),
        ("SELECT big FROM t WHERE id = 5 GROUP BY big", "-"),
        ("SELECT big FROM t WHERE id = 5 ORDER BY big", "-"),
        ("SELECT big FROM t WHERE id = 5 LIMIT 0", "-"),
        ("SELECT big FROM t", "-"),
        ("SELECT big FROM t, t u WHERE id = 5", "-"),
        ("SELECT big FROM t JOIN t u USING (id) WHERE id = 5", "-"),
        ("SELECT big FROM plain WHERE id = 5", "-"),
        ("SELECT big FROM weir.t WHERE id = 5", "-"),
        ("SELECT big FROM none WHERE id = 5", "-"),
        ("SELECT big FROM t AS x(a, b) WHERE id = 5", "-"),
        ("WITH t AS (SELECT 1 AS id) SELECT id FROM t WHERE id = 5", "-"),
        ("VALUES (1)", "-"),
    ];
    for (sql, expected) in cases {
        assert_eq!(known(sql), expected, "{sql}");
    }
}
