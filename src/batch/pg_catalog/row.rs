//! Rows of a catalog table by column name, and the shape that such a table has.
//!
//! The crate's tables lack some of PostgreSQL's columns and have text where PostgreSQL has arrays; both are put right
//! here, for every table alike.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::scalar::ScalarValue;

use super::backends;

/// The columns that matter; the others are null, or their type's zero where null is not allowed.
pub type Row = Vec<(&'static str, ScalarValue)>;

/// The table that a row is in: a system column, that `\d` does not show.
pub const TABLEOID: &str = "tableoid";
/// The transaction that wrote a row: a system column too. Here all are as old as the oldest.
pub const XMIN: &str = "xmin";
const FROZEN: i32 = 2;

/// Columns of PostgreSQL 15 that clients ask for and the crate has not.
const ADDED: &[(&str, &str, DataType)] = &[
    ("pg_class", "relacl", DataType::Utf8),
    ("pg_class", "reloptions", DataType::Utf8),
    ("pg_collation", "colliculocale", DataType::Utf8),
    ("pg_db_role_setting", "setconfig", DataType::Utf8),
    ("pg_settings", "boot_val", DataType::Utf8),
];

/// Tables that the crate has not at all. The server has no more to say of them than their columns, or says it in
/// [`super::live`].
const TABLES: &[(&str, &[(&str, DataType)])] = &[
    (
        "pg_indexes",
        &[
            ("schemaname", DataType::Utf8),
            ("tablename", DataType::Utf8),
            ("indexname", DataType::Utf8),
            ("tablespace", DataType::Utf8),
            ("indexdef", DataType::Utf8),
        ],
    ),
    (
        "pg_sequences",
        &[
            ("schemaname", DataType::Utf8),
            ("sequencename", DataType::Utf8),
            ("sequenceowner", DataType::Utf8),
            ("data_type", DataType::Utf8),
            ("start_value", DataType::Int64),
            ("min_value", DataType::Int64),
            ("max_value", DataType::Int64),
            ("increment_by", DataType::Int64),
            ("cycle", DataType::Boolean),
            ("cache_size", DataType::Int64),
            ("last_value", DataType::Int64),
        ],
    ),
    ("pg_parameter_acl", &[("oid", DataType::Int32), ("parname", DataType::Utf8), ("paracl", DataType::Utf8)]),
    (
        "pg_user",
        &[
            ("usename", DataType::Utf8),
            ("usesysid", DataType::Int32),
            ("usecreatedb", DataType::Boolean),
            ("usesuper", DataType::Boolean),
            ("userepl", DataType::Boolean),
            ("usebypassrls", DataType::Boolean),
            ("passwd", DataType::Utf8),
            ("useconfig", DataType::Utf8),
        ],
    ),
    (
        "pg_user_mappings",
        &[
            ("umid", DataType::Int32),
            ("srvid", DataType::Int32),
            ("srvname", DataType::Utf8),
            ("umuser", DataType::Int32),
            ("usename", DataType::Utf8),
            ("umoptions", DataType::Utf8),
        ],
    ),
];

/// Arrays of text that the crate keeps as text, beside all whose name ends in `acl`. None of them has a value here.
const TEXT_ARRAYS: &[&str] = &[
    "reloptions",
    "attoptions",
    "attfdwoptions",
    "fdwoptions",
    "srvoptions",
    "ftoptions",
    "umoptions",
    "spcoptions",
    "extcondition",
    "setconfig",
    "useconfig",
    "proconfig",
    "proargnames",
    "evttags",
    "polroles",
    "stxkind",
    "subpublications",
];

/// Arrays of column numbers.
const NUMBER_ARRAYS: &[&str] = &["conkey", "confkey"];

/// Arrays of ids. None of them has a value here.
const ID_ARRAYS: &[&str] = &["extconfig"];

/// Names and columns of the tables that the crate has not.
pub fn own_tables() -> impl Iterator<Item = (&'static str, SchemaRef)> {
    let tables = TABLES.iter().map(|(name, columns)| {
        let fields: Vec<_> = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
        (*name, Schema::new(fields))
    });
    let tables = tables.chain([("pg_stat_activity", backends::activity())]);
    tables.map(|(name, columns)| (name, shape(name, &columns)))
}

/// A table's columns as PostgreSQL has them: `tableoid` and what is missing last.
pub fn shape(table: &str, schema: &Schema) -> SchemaRef {
    let mut fields: Vec<FieldRef> = schema.fields().iter().map(array_field).collect();
    for (_, name, data_type) in ADDED.iter().filter(|(of, ..)| *of == table) {
        if schema.index_of(name).is_err() {
            fields.push(array_field(&Arc::new(Field::new(*name, data_type.clone(), true))));
        }
    }
    fields.extend([TABLEOID, XMIN].map(|name| Arc::new(Field::new(name, DataType::Int32, false))));
    Arc::new(Schema::new(fields))
}

fn array_field(field: &FieldRef) -> FieldRef {
    let name = field.name().as_str();
    let item = if name.ends_with("acl") || TEXT_ARRAYS.contains(&name) {
        DataType::Utf8
    } else if NUMBER_ARRAYS.contains(&name) {
        DataType::Int16
    } else if ID_ARRAYS.contains(&name) {
        DataType::Int32
    } else {
        return field.clone();
    };
    Arc::new(Field::new(name, DataType::List(Arc::new(Field::new("item", item, true))), true))
}

/// The crate's own rows under the table's shape.
pub fn reshape(batch: &RecordBatch, shape: &SchemaRef, tableoid: i32) -> DfResult<RecordBatch> {
    let rows = batch.num_rows();
    let column = |field: &FieldRef| -> DfResult<ArrayRef> {
        match batch.column_by_name(field.name()) {
            _ if field.name() == TABLEOID => ScalarValue::Int32(Some(tableoid)).to_array_of_size(rows),
            _ if field.name() == XMIN => ScalarValue::Int32(Some(FROZEN)).to_array_of_size(rows),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            _ => Ok(new_null_array(field.data_type(), rows)),
        }
    };
    let columns = shape.fields().iter().map(column).collect::<DfResult<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(shape.clone(), columns, &options)?)
}

/// `rows` as a batch of the table's shape.
pub fn batch(shape: &SchemaRef, rows: &[Row], tableoid: i32) -> DfResult<RecordBatch> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(shape.clone()));
    }
    let column = |field: &FieldRef| -> DfResult<ArrayRef> {
        let otherwise = match field.name().as_str() {
            TABLEOID => ScalarValue::Int32(Some(tableoid)),
            XMIN => ScalarValue::Int32(Some(FROZEN)),
            _ if field.is_nullable() => ScalarValue::try_from(field.data_type())?,
            _ => ScalarValue::new_default(field.data_type())?,
        };
        let values = rows.iter().map(|row| match row.iter().find(|(name, _)| name == field.name()) {
            Some((_, value)) => value.cast_to(field.data_type()),
            None => Ok(otherwise.clone()),
        });
        ScalarValue::iter_to_array(values.collect::<DfResult<Vec<_>>>()?)
    };
    let columns = shape.fields().iter().map(column).collect::<DfResult<Vec<_>>>()?;
    Ok(RecordBatch::try_new(shape.clone(), columns)?)
}

/// An array of texts.
pub fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ScalarValue {
    let values: Vec<_> = values.map(ScalarValue::from).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

/// An array of column numbers.
pub fn numbers(values: impl Iterator<Item = i16>) -> ScalarValue {
    let values: Vec<_> = values.map(ScalarValue::from).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Int16))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray};

    use super::*;

    #[test]
    fn a_row_names_only_what_matters() {
        let shape = shape(
            "pg_class",
            &Schema::new(vec![
                Field::new("oid", DataType::Int32, false),
                Field::new("relname", DataType::Utf8, false),
                Field::new("relpartbound", DataType::Utf8, true),
            ]),
        );
        let names: Vec<_> = shape.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["oid", "relname", "relpartbound", "relacl", "reloptions", "tableoid", "xmin"]);
        let got = batch(&shape, &[vec![("oid", 7.into())], vec![("relname", "t".into())]], 1259).unwrap();
        assert_eq!(got.column(0).as_primitive::<arrow::datatypes::Int32Type>().values(), &[7, 0]);
        assert_eq!(got.column(1).as_string::<i32>().value(0), "");
        assert_eq!((got.column(2).null_count(), got.column(3).null_count()), (2, 2));
        assert_eq!(got.column(5).as_primitive::<arrow::datatypes::Int32Type>().value(1), 1259);
        assert_eq!(batch(&shape, &[], 1).unwrap().num_rows(), 0);
    }

    #[test]
    fn text_that_stands_for_an_array_becomes_one() {
        let schema = Arc::new(Schema::new(vec![Field::new("nspacl", DataType::Utf8, false)]));
        let text = RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec!["{=U/x}"]))]).unwrap();
        let shape = shape("pg_namespace", &schema);
        let got = reshape(&text, &shape, 5).unwrap();
        assert!(matches!(got.column(0).data_type(), DataType::List(_)));
        assert_eq!(got.column(0).null_count(), 1);
    }
}
