//! `information_schema`: the SQL standard's tables on what exists, filled as PostgreSQL fills them. Beside tables, views
//! and foreign tables it lists materialized views, as views: tools that look here would not find them otherwise.

mod more;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::scalar::ScalarValue;

use super::functions::Scope;
use super::live::{Column, Live, Relation, view_definition};
use super::row::{self, Row};
use super::types::{PgType, TypeNames};
use super::{oid, sequence_tables};
use crate::batch::context::DATABASE;
use crate::catalog::{Definition, Object};

/// The name of a table, its columns of text, its columns of numbers, and who makes its rows.
type Table = (&'static str, &'static [&'static str], &'static [&'static str], fn(&Scope) -> Vec<Row>);

const TABLES: &[Table] = &[
    (
        "columns",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "column_default",
            "is_nullable",
            "data_type",
            "interval_type",
            "character_set_catalog",
            "character_set_schema",
            "character_set_name",
            "collation_catalog",
            "collation_schema",
            "collation_name",
            "domain_catalog",
            "domain_schema",
            "domain_name",
            "udt_catalog",
            "udt_schema",
            "udt_name",
            "dtd_identifier",
            "is_self_referencing",
            "is_identity",
            "identity_generation",
            "identity_start",
            "identity_increment",
            "identity_maximum",
            "identity_minimum",
            "identity_cycle",
            "is_generated",
            "generation_expression",
            "is_updatable",
        ],
        &[
            "ordinal_position",
            "character_maximum_length",
            "character_octet_length",
            "numeric_precision",
            "numeric_precision_radix",
            "numeric_scale",
            "datetime_precision",
            "interval_precision",
            "maximum_cardinality",
        ],
        columns,
    ),
    (
        "key_column_usage",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
        ],
        &["ordinal_position", "position_in_unique_constraint"],
        key_columns,
    ),
    (
        "schemata",
        &[
            "catalog_name",
            "schema_name",
            "schema_owner",
            "default_character_set_catalog",
            "default_character_set_schema",
            "default_character_set_name",
            "sql_path",
        ],
        &[],
        schemata,
    ),
    (
        "table_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
        ],
        &[],
        constraints,
    ),
    (
        "tables",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "table_type",
            "self_referencing_column_name",
            "reference_generation",
            "user_defined_type_catalog",
            "user_defined_type_schema",
            "user_defined_type_name",
            "is_insertable_into",
            "is_typed",
            "commit_action",
        ],
        &[],
        tables,
    ),
    (
        "views",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "view_definition",
            "check_option",
            "is_updatable",
            "is_insertable_into",
            "is_trigger_updatable",
            "is_trigger_deletable",
            "is_trigger_insertable_into",
        ],
        &[],
        views,
    ),
];

fn all() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(more::TABLES)
}

fn yes_no(yes: bool) -> ScalarValue {
    if yes { "YES" } else { "NO" }.into()
}

/// Database, schema and name of a relation, under the names that most tables give them.
fn named(live: &Live, relation: &Relation) -> Row {
    vec![
        ("table_catalog", DATABASE.into()),
        ("table_schema", live.schema_name(relation.schema).unwrap_or_default().into()),
        ("table_name", relation.name.as_str().into()),
    ]
}

fn columns(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let mut rows = Vec::new();
    for relation in live.relations().into_iter().filter(|r| r.kind != "S") {
        let writable = takes_dml(live, &relation);
        for column in &relation.columns {
            let mut row = named(live, &relation);
            row.extend(of_type(column, &scope.types));
            row.extend([
                ("column_name", column.name.into()),
                ("ordinal_position", i32::from(column.number).into()),
                ("column_default", ScalarValue::Utf8(column.default.clone())),
                ("is_nullable", yes_no(column.nullable)),
                ("udt_catalog", DATABASE.into()),
                ("udt_schema", "pg_catalog".into()),
                ("dtd_identifier", column.number.to_string().into()),
                ("is_self_referencing", "NO".into()),
                ("is_generated", "NEVER".into()),
                ("is_updatable", yes_no(writable)),
            ]);
            row.extend(sequence_tables::of_identity(live, relation.oid, column));
            rows.push(row);
        }
    }
    rows
}

/// What a column's type is called, and how much it holds.
fn of_type(column: &Column, types: &TypeNames) -> Row {
    let pg = PgType::marked(column.data_type, column.mark);
    let data_type = match column.data_type {
        DataType::List(_) | DataType::LargeList(_) => "ARRAY".to_string(),
        _ => types.format(pg.oid, -1),
    };
    // Precision and its base, then the scale.
    let numeric = match (data_type.as_str(), column.data_type) {
        ("smallint", _) => Some((16, 2, Some(0))),
        ("integer", _) => Some((32, 2, Some(0))),
        ("bigint", _) => Some((64, 2, Some(0))),
        ("real", _) => Some((24, 2, None)),
        ("double precision", _) => Some((53, 2, None)),
        ("numeric", DataType::Decimal128(precision, scale)) => {
            Some((i32::from(*precision), 10, Some(i32::from(*scale))))
        }
        _ => None,
    };
    let timely = data_type.starts_with("time") || data_type == "interval";
    let mut row: Row = vec![("udt_name", types.raw(pg.oid).unwrap_or_default().into())];
    if let Some((precision, radix, scale)) = numeric {
        row.push(("numeric_precision", precision.into()));
        row.push(("numeric_precision_radix", radix.into()));
        row.push(("numeric_scale", ScalarValue::Int32(scale)));
    }
    if timely || data_type == "date" {
        let digits = if pg.modifier >= 0 { pg.modifier } else { 6 };
        row.push(("datetime_precision", if timely { digits } else { 0 }.into()));
    }
    if matches!(data_type.as_str(), "character" | "character varying") && pg.modifier > 4 {
        // The modifier counts itself.
        let length = pg.modifier - 4;
        row.push(("character_maximum_length", length.into()));
        row.push(("character_octet_length", length.saturating_mul(4).into()));
    } else if matches!(data_type.as_str(), "text" | "character varying") {
        // A GiB, as PostgreSQL tells of text without a limit.
        row.push(("character_octet_length", 1_073_741_824.into()));
    }
    row.push(("data_type", data_type.into()));
    row
}

/// The users' object that a relation is.
fn object<'a>(live: &Live<'a>, relation: &Relation) -> Option<&'a Arc<Object>> {
    live.snapshot.objects().find(|o| oid::relation(o) == relation.oid)
}

fn takes_dml(live: &Live, relation: &Relation) -> bool {
    object(live, relation).is_some_and(|o| matches!(&o.definition, Definition::Table(t) if t.options.is_empty()))
}

fn tables(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let row = |relation: Relation| {
        let kind = match relation.kind {
            "r" if relation.schema == oid::TEMPORARY => "LOCAL TEMPORARY",
            "r" => "BASE TABLE",
            "f" => "FOREIGN",
            _ => "VIEW",
        };
        let mut row = named(live, &relation);
        row.push(("table_type", kind.into()));
        row.push(("is_insertable_into", yes_no(takes_dml(live, &relation))));
        row.push(("is_typed", "NO".into()));
        row
    };
    live.relations().into_iter().filter(|r| r.kind != "S").map(row).collect()
}

fn views(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let views = live.relations().into_iter().filter(|r| matches!(r.kind, "v" | "m"));
    views
        .map(|relation| {
            let definition = object(live, &relation).and_then(|o| view_definition(o));
            let mut row = named(live, &relation);
            row.push(("view_definition", ScalarValue::Utf8(definition)));
            row.push(("check_option", "NONE".into()));
            let no = [
                "is_updatable",
                "is_insertable_into",
                "is_trigger_updatable",
                "is_trigger_deletable",
                "is_trigger_insertable_into",
            ];
            row.extend(no.map(|column| (column, "NO".into())));
            row
        })
        .collect()
}

fn schemata(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let row = |name: &str| -> Row {
        vec![("catalog_name", DATABASE.into()), ("schema_name", name.into()), ("schema_owner", "root".into())]
    };
    live.schema_names().map(row).collect()
}

/// A key's name, beside the relation's own.
fn constraint(live: &Live, relation: &Relation) -> Row {
    let mut row = named(live, relation);
    row.push(("constraint_catalog", DATABASE.into()));
    row.push(("constraint_schema", live.schema_name(relation.schema).unwrap_or_default().into()));
    row.push(("constraint_name", relation.key_name().into()));
    row
}

fn constraints(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let keyed = live.relations().into_iter().filter(|r| !r.key.is_empty());
    keyed
        .map(|relation| {
            let mut row = constraint(live, &relation);
            row.push(("constraint_type", "PRIMARY KEY".into()));
            row.extend([("is_deferrable", "NO".into()), ("initially_deferred", "NO".into())]);
            row.push(("enforced", "YES".into()));
            row
        })
        .collect()
}

fn key_columns(scope: &Scope) -> Vec<Row> {
    let live = &scope.live();
    let mut rows = Vec::new();
    for relation in live.relations() {
        for (position, number) in (1_i32..).zip(&relation.key) {
            let Some(column) = relation.columns.iter().find(|c| c.number == *number) else { continue };
            let mut row = constraint(live, &relation);
            row.push(("column_name", column.name.into()));
            row.push(("ordinal_position", position.into()));
            rows.push(row);
        }
    }
    rows
}

/// `information_schema` for one statement.
pub struct InformationSchema {
    pub scope: Scope,
}

impl fmt::Debug for InformationSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("information_schema")
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        all().map(|(name, ..)| name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some((.., rows)) = all().find(|(table, ..)| *table == name) else { return Ok(None) };
        let Some(shape) = shape(name) else { return Ok(None) };
        let rows = rows(&self.scope);
        let batch = row::batch(&shape, &rows, 0)?;
        Ok(Some(Arc::new(MemTable::try_new(shape, vec![vec![batch]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        all().any(|(table, ..)| *table == name)
    }
}

/// The names of the tables, and the columns of each.
pub fn shapes() -> impl Iterator<Item = (&'static str, SchemaRef)> {
    all().filter_map(|(name, ..)| Some((*name, shape(name)?)))
}

fn shape(table: &str) -> Option<SchemaRef> {
    let (_, texts, numbers, _) = all().find(|(name, ..)| *name == table)?;
    let field = |data_type: DataType| move |name: &&str| Field::new(*name, data_type.clone(), true);
    let fields = texts.iter().map(field(DataType::Utf8)).chain(numbers.iter().map(field(DataType::Int32)));
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
