//! What reads what, and what is said of it: `pg_depend`, the rules of views that it hangs on, and `pg_description`.
//!
//! ```text
//! view --(its rule, 'i')--> view        rule --('n')--> each relation that the view reads
//! sequence --('a', 'i' of an identity)--> its column
//! index --('a')--> its table            key's index --('i')--> the key --('a')--> its table
//! ```

use super::indexes::user_indexes;
use super::live::{self, Live};
use super::row::Row;
use super::{oid, sequence_tables};
use crate::catalog::{Definition, Object};

/// Of `pg_rewrite`: a row a view.
pub fn rules(live: &Live) -> Vec<Row> {
    views(live)
        .map(|view| -> Row {
            let relation = oid::relation(view);
            vec![
                ("oid", oid::rule(relation).into()),
                ("rulename", "_RETURN".into()),
                ("ev_class", relation.into()),
                ("ev_type", "1".into()),
                ("ev_enabled", "O".into()),
                ("is_instead", true.into()),
            ]
        })
        .collect()
}

fn views<'a>(live: &Live<'a>) -> impl Iterator<Item = &'a Object> {
    let views = live.snapshot.objects().map(AsRef::as_ref);
    views.filter(|o| matches!(o.definition, Definition::View(_) | Definition::MaterializedView(_)))
}

/// One side depends on the other: class and id of each.
fn depends_on((class, id): (&str, i32), (on_class, on): (&str, i32), kind: &str) -> Row {
    vec![
        ("classid", oid::known(class).into()),
        ("objid", id.into()),
        ("objsubid", 0.into()),
        ("refclassid", oid::known(on_class).into()),
        ("refobjid", on.into()),
        ("refobjsubid", 0.into()),
        ("deptype", kind.into()),
    ]
}

/// The same, on a column.
fn depends_on_column(on: (&str, i32), relation: i32, column: i16, kind: &str) -> Row {
    let mut row = depends_on(on, ("pg_class", relation), kind);
    row.retain(|(name, _)| *name != "refobjsubid");
    row.push(("refobjsubid", i32::from(column).into()));
    row
}

pub fn depends(live: &Live) -> Vec<Row> {
    const CLASS: &str = "pg_class";
    let mut rows = Vec::new();
    for view in views(live) {
        let relation = oid::relation(view);
        let rule = ("pg_rewrite", oid::rule(relation));
        rows.push(depends_on(rule, (CLASS, relation), "i"));
        let read = view.depends_on.iter().filter_map(|id| live.snapshot.by_id(*id));
        rows.extend(read.map(|o| depends_on(rule, (CLASS, oid::relation(o)), "n")));
    }
    for index in user_indexes(live.snapshot) {
        rows.push(depends_on((CLASS, index.oid()), (CLASS, oid::relation(index.base)), "a"));
    }
    for object in live.snapshot.objects().filter(|o| !live::key(&o.definition).is_empty()) {
        let relation = oid::relation(object);
        let key = ("pg_constraint", oid::key_constraint(relation));
        rows.push(depends_on(key, (CLASS, relation), "a"));
        rows.push(depends_on((CLASS, oid::key_index(relation)), key, "i"));
    }
    for sequence in sequence_tables::seen(live.snapshot) {
        let own = (CLASS, oid::sequence(sequence));
        rows.push(depends_on(own, ("pg_namespace", oid::PUBLIC), "n"));
        let Some((table, column, identity)) = sequence_tables::owner(live.snapshot, sequence) else { continue };
        let table = oid::relation(table);
        rows.push(depends_on_column(own, table, column, if identity { "i" } else { "a" }));
        if !identity {
            let default = ("pg_attrdef", oid::default(table, column));
            rows.push(depends_on(default, own, "n"));
            rows.push(depends_on_column(default, table, column, "a"));
        }
    }
    rows
}

/// What `COMMENT ON` said.
pub fn descriptions(live: &Live) -> Vec<Row> {
    let comments =
        live.snapshot.objects().flat_map(|o| o.comments.iter().map(move |(column, text)| (o, *column, text)));
    let of_sequences = sequence_tables::seen(live.snapshot).filter_map(|s| {
        let row: Row = vec![
            ("objoid", oid::sequence(s).into()),
            ("classoid", oid::known("pg_class").into()),
            ("objsubid", 0.into()),
            ("description", s.comment.as_deref()?.into()),
        ];
        Some(row)
    });
    comments
        .map(|(object, column, text)| -> Row {
            vec![
                ("objoid", oid::relation(object).into()),
                ("classoid", oid::known("pg_class").into()),
                ("objsubid", (column as i32).into()),
                ("description", text.as_str().into()),
            ]
        })
        .chain(of_sequences)
        .collect()
}
