//! DataFusion's and Arrow's errors as PostgreSQL words them.
//!
//! Most come as plain text: what is known of it is taken apart here, and only here; the rest passes as it is.

use std::io;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;
use datafusion::error::DataFusionError;

use super::{Error, ErrorKind};

const CASTS: &str = "No function matches the given name and argument types. You might need to add explicit type casts.";

pub(super) fn datafusion(e: &DataFusionError) -> Error {
    match e {
        DataFusionError::ArrowError(e, _) => arrow(e),
        DataFusionError::IoError(e) => io_error(e),
        DataFusionError::SQL(e, _) => Error::new(ErrorKind::Syntax, e.to_string()),
        DataFusionError::NotImplemented(m) => not_implemented(m),
        DataFusionError::ResourcesExhausted(m) => {
            Error::new(ErrorKind::OutOfMemory, m).with_hint("raise --memory-limit, or narrow the query")
        }
        DataFusionError::Context(_, e) | DataFusionError::Diagnostic(_, e) => datafusion(e),
        DataFusionError::Shared(e) => datafusion(e),
        DataFusionError::Collection(es) if !es.is_empty() => datafusion(&es[0]),
        DataFusionError::External(e) => external(e.as_ref()),
        DataFusionError::SchemaError(e, _) => schema(e),
        DataFusionError::Plan(m) => plan(m),
        DataFusionError::Execution(m) => execution(m),
        e => internal(&e.strip_backtrace()),
    }
}

pub(super) fn arrow(e: &ArrowError) -> Error {
    match e {
        ArrowError::DivideByZero => Error::new(ErrorKind::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(m) => {
            Error::new(ErrorKind::NumericValueOutOfRange, "value out of range").with_detail(m)
        }
        ArrowError::CastError(m) | ArrowError::ParseError(m) => cast(m),
        ArrowError::NotYetImplemented(m) => Error::not_supported(m),
        ArrowError::ExternalError(e) => external(e.as_ref()),
        ArrowError::IoError(m, e) => io_error(e).context(m),
        ArrowError::ComputeError(m) => execution(m),
        ArrowError::InvalidArgumentError(m) if m.contains(" to store in a Decimal") => {
            Error::new(ErrorKind::NumericValueOutOfRange, "numeric field overflow").with_detail(m)
        }
        e => Error::new(ErrorKind::DataException, e.to_string()),
    }
}

fn io_error(e: &io::Error) -> Error {
    Error::from(io::Error::new(e.kind(), e.to_string()))
}

fn external(e: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(e) = e.downcast_ref::<Error>() {
        return e.clone();
    }
    if let Some(e) = e.downcast_ref::<DataFusionError>() {
        return datafusion(e);
    }
    if let Some(e) = e.downcast_ref::<ArrowError>() {
        return arrow(e);
    }
    let text = e.to_string();
    match text.strip_prefix("regex parse error:") {
        // The last line says what is wrong.
        Some(rest) => {
            let what = rest.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Error::new(ErrorKind::InvalidRegularExpression, format!("invalid regular expression: {what}"))
        }
        None => internal(&text),
    }
}

fn schema(e: &SchemaError) -> Error {
    match e {
        SchemaError::AmbiguousReference { field } => {
            Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name()))
                .with_hint(format!("write the table before it: t.{}", field.name()))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
                .with_hint("give one of them another name with AS")
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let missing_table =
                field.relation.as_ref().filter(|r| !valid_fields.iter().any(|f| f.relation.as_ref() == Some(r)));
            if let (Some(table), false) = (missing_table, valid_fields.is_empty()) {
                let message = format!("missing FROM-clause entry for table \"{}\"", table.table());
                return Error::new(ErrorKind::UndefinedTable, message);
            }
            let name = match &field.relation {
                Some(table) => format!("{}.{}", table.table(), field.name()),
                None => format!("\"{}\"", field.name()),
            };
            let error = Error::new(ErrorKind::UndefinedColumn, format!("column {name} does not exist"));
            match quoted_after(&e.to_string(), "Did you mean ") {
                Some(near) => error.with_hint(format!("Perhaps you meant to reference the column \"{near}\".")),
                None => error,
            }
        }
    }
}

fn plan(m: &str) -> Error {
    let error = |kind, message: String| Error::new(kind, message);
    if let Some(call) = quoted_after(m, "No function matches the given name and argument types ") {
        return error(ErrorKind::UndefinedFunction, format!("function {} does not exist", signature(call)))
            .with_hint(CASTS);
    }
    if m.starts_with("null_aware anti join only supports single column") {
        return Error::not_supported("this NOT IN, of other than the plain rows for each outer row, is not supported")
            .with_hint("compare with the value, v <> (SELECT max(v) FROM …), or write NOT EXISTS");
    }
    if let Some(name) = quoted_after(m, "Invalid function ") {
        if name == "array" {
            return Error::not_supported("this ORDER BY of ARRAY(SELECT …) is not supported").with_hint(
                "order by the one column that it selects, or write (SELECT array_agg(x ORDER BY y) FROM …)",
            );
        }
        let e = error(ErrorKind::UndefinedFunction, format!("function {name} does not exist"));
        // DataFusion names the nearest, however far it is.
        let near = quoted_after(m, "Did you mean ").filter(|near| normalized_levenshtein(name, near) > 0.6);
        return match near {
            Some(near) => e.with_hint(format!("did you mean \"{near}\"? \\df lists the functions")),
            None => e,
        };
    }
    if let Some(name) = quoted_after(m, "table function ") {
        return error(ErrorKind::UndefinedFunction, format!("function {name} does not exist"));
    }
    if m.starts_with("table ") && m.ends_with(" not found") {
        let name = quoted_after(m, "table ").unwrap_or(m);
        return error(ErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", relation(name)));
    }
    if let Some(column) = m.split_once("column \"").and_then(|(_, rest)| rest.split_once("\" must appear in the GROUP"))
    {
        let message =
            format!("column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function", column.0);
        return error(ErrorKind::Grouping, message);
    }
    if m.starts_with("Aggregate function calls cannot be nested") {
        return error(ErrorKind::Grouping, "aggregate function calls cannot be nested".into())
            .with_hint("aggregate in a subquery in FROM, and again outside");
    }
    if m.starts_with("Column count doesn't match insert query") {
        return error(ErrorKind::Syntax, "INSERT has not as many expressions as target columns".into());
    }
    if let Some(counts) = m.strip_prefix("Inconsistent data length across values list: got ") {
        return values(counts);
    }
    if m.starts_with("Aggregate functions are not allowed in the WHERE") {
        return error(ErrorKind::Grouping, "aggregate functions are not allowed in WHERE".into())
            .with_hint("write the condition in HAVING");
    }
    let operands =
        m.strip_prefix("Cannot coerce arithmetic expression ").and_then(|r| r.strip_suffix(" to valid types"));
    let compared = m
        .strip_prefix("Cannot infer common argument type for comparison operation ")
        .or_else(|| m.strip_prefix("Cannot infer common argument type for logical boolean operation "));
    if let Some(operands) = operands.or(compared) {
        return error(ErrorKind::UndefinedFunction, format!("operator does not exist: {}", operation(operands)))
            .with_hint(CASTS.replace("function", "operator"));
    }
    if let Some((_, returned)) = m.split_once("non-boolean predicate ").and_then(|(_, r)| r.rsplit_once(" returning "))
    {
        let message = format!("argument of WHERE must be type boolean, not type {}", type_name(returned));
        return error(ErrorKind::DatatypeMismatch, message);
    }
    if let Some(set) = m.strip_suffix(" queries have different number of columns") {
        return error(ErrorKind::Syntax, format!("each {set} query must have the same number of columns"));
    }
    let kind = if m.contains("unique expression names") {
        ErrorKind::DuplicateColumn
    } else if m.contains("GROUP BY") {
        ErrorKind::Grouping
    } else if m.contains("does not support") {
        ErrorKind::UndefinedFunction
    } else {
        ErrorKind::DatatypeMismatch
    };
    error(kind, without_report(m))
}

/// `3 values in row 0 but expected 2`: where the first row differs, INSERT's columns were expected.
fn values(counts: &str) -> Error {
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<usize>().ok());
    let words: Vec<_> = counts.split(' ').collect();
    let (got, row, expected) =
        (number(words.first().copied()), number(words.get(4).copied()), number(words.last().copied()));
    let message = match (got.cmp(&expected), row) {
        (std::cmp::Ordering::Greater, Some(0)) => "INSERT has more expressions than target columns",
        (_, Some(0)) => "INSERT has more target columns than expressions",
        _ => "VALUES lists must all be the same length",
    };
    Error::new(ErrorKind::Syntax, message).with_hint("name the columns that are given: INSERT INTO t (a, b) VALUES (…)")
}

fn not_implemented(m: &str) -> Error {
    match m.strip_prefix("Unsupported SQL type ") {
        Some(name) => Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist")),
        None if m.contains("logical expression Exists") || m.contains("logical expression InSubquery") => {
            Error::not_supported("a subquery cannot stand in this place")
                .with_hint("move EXISTS or IN to WHERE, or join the inner query")
        }
        None => Error::not_supported(m),
    }
}

fn execution(m: &str) -> Error {
    let m = m.trim_start_matches("Compute error: ").trim_start_matches("Execution error: ");
    if m.contains("Scalar subquery returned more than one row") {
        let message = "more than one row returned by a subquery used as an expression";
        return Error::new(ErrorKind::CardinalityViolation, message);
    }
    match quoted_after(m, "Placeholder ") {
        Some(parameter) => Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter {parameter}")),
        None => Error::new(ErrorKind::DataException, m),
    }
}

fn internal(m: &str) -> Error {
    if m.contains("Scalar subquery returned more than one row") {
        return execution(m);
    }
    Error::internal(without_report(m))
}

/// DataFusion asks to report its internal errors to it; what the reader has is Weir.
fn without_report(m: &str) -> String {
    m.split("\nThis issue was likely caused by a bug").next().unwrap_or(m).to_string()
}

/// `Cannot cast string 'x' to value of Int32 type` and its kin.
fn cast(m: &str) -> Error {
    let value = quoted_after(m, "string ").or_else(|| quoted_after(m, "value "));
    let target = m.split_once(" to value of ").and_then(|(_, rest)| rest.strip_suffix(" type"));
    if let (Some(value), Some(target)) = (value, target) {
        return bad_input(value, type_name(target));
    }
    if let Some(value) = quoted_after(m, "Error parsing timestamp from ") {
        return bad_input(value, "timestamp");
    }
    if let Some((_, target)) = m.strip_prefix("Can't cast value ").and_then(|rest| rest.rsplit_once(" to type ")) {
        let message = format!("{} out of range", type_name(target.trim()));
        return Error::new(ErrorKind::NumericValueOutOfRange, message);
    }
    match m.strip_prefix("Invalid input syntax") {
        Some(rest) => Error::new(ErrorKind::InvalidTextRepresentation, format!("invalid input syntax{rest}")),
        None => Error::new(ErrorKind::InvalidTextRepresentation, m),
    }
}

/// A text that is no value of a type: a number or a date of the right form is out of range.
fn bad_input(value: &str, target: &str) -> Error {
    let is_time = target.starts_with("timestamp") || matches!(target, "date" | "time");
    let looks_timely = value.starts_with(|c: char| c.is_ascii_digit())
        && value.len() >= 8
        && value.chars().all(|c| c.is_ascii_digit() || "-:. TZ+".contains(c));
    if is_time && looks_timely {
        let message = format!("date/time field value out of range: \"{value}\"");
        return Error::new(ErrorKind::DatetimeOverflow, message);
    }
    if matches!(target, "smallint" | "integer" | "bigint") && value.trim().parse::<i128>().is_ok() {
        let message = format!("value \"{value}\" is out of range for type {target}");
        return Error::new(ErrorKind::NumericValueOutOfRange, message);
    }
    let message = format!("invalid input syntax for type {target}: \"{value}\"");
    Error::new(ErrorKind::InvalidTextRepresentation, message)
}

/// The text in single quotes that follows `before`; its own quotes are kept up to the last one that ends a word.
fn quoted_after<'m>(m: &'m str, before: &str) -> Option<&'m str> {
    let (_, rest) = m.split_once(&format!("{before}'"))?;
    let ends = ["' to value of ", "': ", "' not found", "' was not", "'.", "'?", "'\n"];
    let end = ends.iter().filter_map(|end| rest.find(end)).min();
    rest.get(..end.or_else(|| rest.rfind('\''))?)
}

/// `dev.public.t` as a user writes it.
fn relation(name: &str) -> &str {
    let name = name.strip_prefix("dev.").unwrap_or(name);
    name.strip_prefix("public.").unwrap_or(name)
}

/// `lower(Int64, Decimal128(38, 10))` with SQL's types.
fn signature(call: &str) -> String {
    let Some((name, arguments)) = call.split_once('(') else { return call.to_string() };
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let mut depth = 0;
    let split = arguments.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let types: Vec<_> = split.map(|t| type_name(t.trim())).collect();
    format!("{name}({})", types.join(", "))
}

/// `Int64 + Utf8` with SQL's types.
fn operation(operands: &str) -> String {
    let parts: Vec<_> = operands.splitn(3, ' ').collect();
    match parts.as_slice() {
        [left, operator, right] => format!("{} {operator} {}", type_name(left), type_name(right)),
        _ => operands.to_string(),
    }
}

/// An Arrow type's SQL name, from how it is printed.
fn type_name(arrow: &str) -> &str {
    match arrow.split(['(', '<']).next().unwrap_or(arrow).trim() {
        "Boolean" => "boolean",
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float16" | "Float32" => "real",
        "Float64" => "double precision",
        "UInt64" | "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "LargeBinary" | "BinaryView" => "bytea",
        "Date32" | "Date64" => "date",
        "Time32" | "Time64" => "time",
        "Timestamp" if arrow.contains('"') || arrow.contains("Some") => "timestamp with time zone",
        "Timestamp" => "timestamp",
        "Interval" | "Duration" => "interval",
        "FixedSizeBinary" => "time with time zone",
        "Null" => "unknown",
        _ => arrow,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::Column;

    use super::*;

    #[test]
    fn plans() {
        for (text, state, message) in [
            ("Invalid function 'nofunc'.\nDid you mean 'round'?", "42883", "function nofunc does not exist"),
            (
                "Function 'lower' expects 1 arguments but received 2. No function matches the given name and argument \
                 types 'lower(Int64, Decimal128(38, 10))'. You might need to add explicit type casts.\n\tCandidate",
                "42883",
                "function lower(bigint, numeric) does not exist",
            ),
            ("table 'dev.public.x' not found", "42P01", "relation \"x\" does not exist"),
            ("table 'dev.weir.x' not found", "42P01", "relation \"weir.x\" does not exist"),
            ("table function 'f' not found", "42883", "function f does not exist"),
            (
                "Cannot coerce arithmetic expression Int64 + Utf8 to valid types",
                "42883",
                "operator does not exist: bigint + text",
            ),
            (
                "Cannot create filter with non-boolean predicate 't.s' returning Utf8",
                "42804",
                "argument of WHERE must be type boolean, not type text",
            ),
            (
                "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.v\" \
                 must appear in the GROUP BY clause or must be part of an aggregate function, currently only",
                "42803",
                "column \"t.v\" must appear in the GROUP BY clause or be used in an aggregate function",
            ),
            (
                "Aggregate function calls cannot be nested: 'sum(t.a)' is nested inside 'max(sum(t.a))'",
                "42803",
                "aggregate function calls cannot be nested",
            ),
            (
                "Inconsistent data length across values list: got 3 values in row 0 but expected 2",
                "42601",
                "INSERT has more expressions than target columns",
            ),
            (
                "Inconsistent data length across values list: got 1 values in row 0 but expected 2",
                "42601",
                "INSERT has more target columns than expressions",
            ),
            (
                "Inconsistent data length across values list: got 1 values in row 1 but expected 2",
                "42601",
                "VALUES lists must all be the same length",
            ),
            (
                "UNION queries have different number of columns",
                "42601",
                "each UNION query must have the same number of columns",
            ),
        ] {
            let e = datafusion(&DataFusionError::Plan(text.into()));
            assert_eq!((e.kind().sqlstate(), e.message()), (state, message));
        }
    }

    #[test]
    fn casts() {
        for (text, state, message) in [
            (
                "Cannot cast string 'abc' to value of Int32 type",
                "22P02",
                "invalid input syntax for type integer: \"abc\"",
            ),
            (
                "Cannot cast string 'it's' to value of Int64 type",
                "22P02",
                "invalid input syntax for type bigint: \"it's\"",
            ),
            (
                "Cannot cast string '' to value of Float64 type",
                "22P02",
                "invalid input syntax for type double precision: \"\"",
            ),
            (
                "Cannot cast string '99999999999' to value of Int32 type",
                "22003",
                "value \"99999999999\" is out of range for type integer",
            ),
            ("Cannot cast value 'x' to value of Boolean type", "22P02", "invalid input syntax for type boolean: \"x\""),
            ("Can't cast value 3000000000 to type Int32", "22003", "integer out of range"),
            (
                "Error parsing timestamp from 'soon': timestamp must contain at least 10 characters",
                "22P02",
                "invalid input syntax for type timestamp: \"soon\"",
            ),
            (
                "Error parsing timestamp from '2020-13-45': error parsing date",
                "22008",
                "date/time field value out of range: \"2020-13-45\"",
            ),
            ("something else", "22P02", "something else"),
        ] {
            let e = arrow(&ArrowError::CastError(text.into()));
            assert_eq!((e.kind().sqlstate(), e.message()), (state, message));
        }
    }

    #[test]
    fn columns() {
        let missing = |table: Option<&str>, name: &str| {
            let field = Box::new(Column::new(table.map(str::to_string), name));
            schema(&SchemaError::FieldNotFound { field, valid_fields: vec![Column::new(Some("t"), "price")] })
        };
        let e = missing(None, "pricee");
        assert_eq!((e.kind().sqlstate(), e.message()), ("42703", "column \"pricee\" does not exist"));
        assert!(e.hint().unwrap_or_default().contains("price"), "{e}");
        assert_eq!(missing(Some("t"), "x").message(), "column t.x does not exist");
        let e = missing(Some("u"), "x");
        assert_eq!((e.kind().sqlstate(), e.message()), ("42P01", "missing FROM-clause entry for table \"u\""));
    }

    #[test]
    fn an_error_that_is_shared_or_nested_keeps_its_kind() {
        let ours = Error::new(ErrorKind::DiskFull, "full");
        let shared = DataFusionError::Shared(std::sync::Arc::new(DataFusionError::from(ours)));
        let nested = DataFusionError::External(Box::new(ArrowError::ExternalError(Box::new(shared))));
        assert_eq!(datafusion(&nested).kind(), ErrorKind::DiskFull);
    }
}
