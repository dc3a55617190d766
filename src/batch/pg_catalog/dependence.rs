//! What reads what, and what is said of it: `pg_depend`, the rules of views that it hangs on, and `pg_description`.
//!
//! ```text
//! view --(its rule, 'i')--> view        rule --('n')--> each relation that the view reads
//! index --('a')--> its table            key's index --('i')--> the key --('a')--> its table
//! ```

use super::indexes::user_indexes;
use super::live::{self, Live};
use super::oid;
use super::row::Row;
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
    rows
}

/// What `COMMENT ON` said.
pub fn descriptions(live: &Live) -> Vec<Row> {
    let comments =
        live.snapshot.objects().flat_map(|o| o.comments.iter().map(move |(column, text)| (o, *column, text)));
    comments
        .map(|(object, column, text)| -> Row {
            vec![
                ("objoid", oid::relation(object).into()),
                ("classoid", oid::known("pg_class").into()),
                ("objsubid", (column as i32).into()),
                ("description", text.as_str().into()),
            ]
        })
        .collect()
}
