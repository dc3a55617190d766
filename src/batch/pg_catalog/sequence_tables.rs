//! Sequences as the catalogs tell of them: relations of kind `S`, `pg_sequence`, `pg_sequences`, and which column takes its
//! values from one.
//!
//! ```text
//! SERIAL    column --(default 'n')--> sequence --('a')--> column
//! IDENTITY  column, its attidentity 'a' or 'd'  <--('i')-- sequence
//! ```

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use super::live::{Column, Live, Relation, schema_of};
use super::oid;
use super::row::Row;
use crate::catalog::{self, Object, Sequence, Snapshot};

/// What SELECT from a sequence gives.
pub const COLUMNS: [(&str, DataType); 3] =
    [("last_value", DataType::Int64), ("log_cnt", DataType::Int64), ("is_called", DataType::Boolean)];

static BIGINT: DataType = DataType::Int64;
static BOOLEAN: DataType = DataType::Boolean;

/// Those that the session sees: not those of other sessions' temporary tables.
pub fn seen(snapshot: &Snapshot) -> impl Iterator<Item = &Sequence> {
    let sees = |s: &&Sequence| s.owned_by.as_ref().is_none_or(|by| snapshot.by_id(by.table).is_some());
    snapshot.sequences().map(AsRef::as_ref).filter(sees)
}

/// The table of a sequence, the number of the column that it belongs to, and whether that is an identity.
pub fn owner<'a>(snapshot: &'a Snapshot, sequence: &Sequence) -> Option<(&'a Object, i16, bool)> {
    let by = sequence.owned_by.as_ref()?;
    let table = snapshot.by_id(by.table)?;
    Some((table, sequence.column_of(table)? as i16 + 1, by.identity))
}

pub fn relations<'a>(live: &Live<'a>) -> Vec<Relation<'a>> {
    let relation = |sequence: &'a Sequence| {
        let column = |(number, (name, data_type)): (i16, &'a (&'static str, DataType))| Column {
            number,
            name,
            data_type: if *data_type == DataType::Boolean { &BOOLEAN } else { &BIGINT },
            mark: None,
            nullable: false,
            default: None,
            identity: "",
        };
        Relation {
            oid: oid::sequence(sequence),
            schema: schema(live.snapshot, sequence),
            name: sequence.name.clone(),
            kind: "S",
            owner: live.role(live.snapshot.sequence_owner(sequence)),
            columns: (1..).zip(&COLUMNS).map(column).collect(),
            key: Vec::new(),
            object: None,
            sequence: Some(sequence),
        }
    };
    seen(live.snapshot).map(relation).collect()
}

fn schema(snapshot: &Snapshot, sequence: &Sequence) -> i32 {
    let table = sequence.owned_by.as_ref().and_then(|by| snapshot.by_id(by.table));
    table.map_or(oid::PUBLIC, |table| schema_of(table))
}

/// By its number.
pub fn find(snapshot: &Snapshot, relation: i32) -> Option<&Sequence> {
    seen(snapshot).find(|s| oid::sequence(s) == relation)
}

fn of_column<'a>(snapshot: &'a Snapshot, table: &Object, column: &catalog::Column) -> Option<&'a Sequence> {
    let index = table.definition.columns().iter().position(|c| c.name == column.name)?;
    snapshot.sequence_of(table, index).map(AsRef::as_ref)
}

/// As in `pg_attribute.attidentity`.
pub fn identity(snapshot: &Snapshot, table: &Object, column: &catalog::Column) -> &'static str {
    match of_column(snapshot, table, column).and_then(|s| s.owned_by.as_ref()) {
        Some(by) if by.identity && by.always => "a",
        Some(by) if by.identity => "d",
        _ => "",
    }
}

/// The default as PostgreSQL tells it; an identity has none.
pub fn default(snapshot: &Snapshot, table: &Object, column: &catalog::Column) -> Option<String> {
    let text = column.default.as_ref()?;
    if !identity(snapshot, table, column).is_empty() {
        return None;
    }
    let sequence = text.strip_prefix("nextval('").and_then(|rest| rest.strip_suffix("')"));
    Some(sequence.map_or_else(|| text.clone(), |name| format!("nextval('{name}'::regclass)")))
}

/// The type that its values have.
fn type_of(sequence: &Sequence) -> (i32, &'static str, i32) {
    match sequence.range.largest {
        n if n == i64::from(i16::MAX) => (21, "smallint", 16),
        n if n == i64::from(i32::MAX) => (23, "integer", 32),
        _ => (20, "bigint", 64),
    }
}

/// Of `pg_sequence`.
pub fn parameters(live: &Live) -> Vec<Row> {
    let row = |s: &Sequence| -> Row {
        vec![
            ("seqrelid", oid::sequence(s).into()),
            ("seqtypid", type_of(s).0.into()),
            ("seqstart", s.range.start.into()),
            ("seqincrement", s.range.increment.into()),
            ("seqmax", s.range.max.into()),
            ("seqmin", s.range.min.into()),
            ("seqcache", 1_i64.into()),
            ("seqcycle", s.range.cycle.into()),
        ]
    };
    seen(live.snapshot).map(row).collect()
}

/// Of `pg_sequences`.
pub fn overview(live: &Live) -> Vec<Row> {
    let row = |s: &Sequence| -> Row {
        let counter = live.counters.get(s.id, &s.range).ok().filter(|counter| counter.called);
        vec![
            ("schemaname", live.schema_name(schema(live.snapshot, s)).into()),
            ("sequencename", s.name.as_str().into()),
            ("sequenceowner", live.snapshot.sequence_owner(s).into()),
            ("data_type", type_of(s).1.into()),
            ("start_value", s.range.start.into()),
            ("min_value", s.range.min.into()),
            ("max_value", s.range.max.into()),
            ("increment_by", s.range.increment.into()),
            ("cycle", s.range.cycle.into()),
            ("cache_size", 1_i64.into()),
            ("last_value", ScalarValue::Int64(counter.map(|c| c.last))),
        ]
    };
    seen(live.snapshot).map(row).collect()
}

/// Of `information_schema.sequences`, without the names: those of identity columns are none of it.
pub fn standard<'a>(live: &Live<'a>) -> impl Iterator<Item = (&'a Sequence, Row)> {
    let snapshot = live.snapshot;
    seen(snapshot).filter(|s| !s.owned_by.as_ref().is_some_and(|by| by.identity)).map(|s| {
        let (_, name, bits) = type_of(s);
        let row = vec![
            ("data_type", name.into()),
            ("numeric_precision", bits.into()),
            ("numeric_precision_radix", 2.into()),
            ("numeric_scale", 0.into()),
            ("start_value", s.range.start.to_string().into()),
            ("minimum_value", s.range.min.to_string().into()),
            ("maximum_value", s.range.max.to_string().into()),
            ("increment", s.range.increment.to_string().into()),
            ("cycle_option", if s.range.cycle { "YES" } else { "NO" }.into()),
        ];
        (s, row)
    })
}

/// Of `information_schema.columns`: what it tells of an identity.
pub fn of_identity(live: &Live, relation: i32, column: &Column) -> Row {
    let none = || vec![("is_identity", "NO".into()), ("identity_cycle", "NO".into())];
    if column.identity.is_empty() {
        return none();
    }
    let of_column = |s: &&Sequence| {
        owner(live.snapshot, s)
            .is_some_and(|(table, number, _)| (oid::relation(table), number) == (relation, column.number))
    };
    let Some(s) = seen(live.snapshot).find(of_column) else { return none() };
    vec![
        ("is_identity", "YES".into()),
        ("identity_generation", if column.identity == "a" { "ALWAYS" } else { "BY DEFAULT" }.into()),
        ("identity_start", s.range.start.to_string().into()),
        ("identity_increment", s.range.increment.to_string().into()),
        ("identity_maximum", s.range.max.to_string().into()),
        ("identity_minimum", s.range.min.to_string().into()),
        ("identity_cycle", if s.range.cycle { "YES" } else { "NO" }.into()),
    ]
}

/// A field of `pg_sequence` for the sequence with this id: what subqueries on it become.
pub fn parameter(snapshot: &Snapshot, relation: i32, field: &str) -> Option<i64> {
    let sequence = find(snapshot, relation)?;
    let range = &sequence.range;
    match field {
        "seqrelid" => Some(relation.into()),
        "seqtypid" => Some(type_of(sequence).0.into()),
        "seqstart" => Some(range.start),
        "seqincrement" => Some(range.increment),
        "seqmax" => Some(range.max),
        "seqmin" => Some(range.min),
        "seqcache" => Some(1),
        "seqcycle" => Some(range.cycle.into()),
        _ => None,
    }
}
