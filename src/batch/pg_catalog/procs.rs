//! The functions that a query can call, as rows of `pg_proc`.
//!
//! Those that PostgreSQL has too are in schema `pg_catalog`; what there is beyond them is in `public`, so that `\df`
//! lists it.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Documentation, Signature, Volatility};

use super::live::Live;
use super::oid;
use super::row::{Row, texts};
use super::types::{PgType, TypeNames};
use crate::catalog::{self, Snapshot};
use crate::sql::ast::Expr;
use crate::sql::{parse_expr, types};
use crate::types::sql_function::SqlFunction;

/// One function; overloads are one row.
pub struct Function {
    pub oid: i32,
    pub name: String,
    /// As in `pg_proc.prokind`.
    pub kind: &'static str,
    /// As in `pg_proc.provolatile`.
    pub volatility: &'static str,
    pub schema: i32,
    pub result_type: i32,
    /// Names of the arguments, or their types.
    pub arguments: String,
    /// The type of the result; empty when it depends on the arguments in a way that cannot be told.
    pub result: String,
    /// Of one that a user wrote in SQL.
    pub written: Option<Written>,
}

pub struct Written {
    owner: String,
    pub body: String,
    strict: bool,
    /// Names of the parameters, empty for those without one, and their types.
    pub names: Vec<String>,
    pub types: Vec<i32>,
}

/// Those that users wrote, in the order of their names.
pub fn written(snapshot: &Snapshot, names: &TypeNames) -> Vec<Function> {
    let type_of = |name: &str| sql_type(name).map_or(0, |t| t.oid);
    let function = |(index, f): (usize, &catalog::Function)| {
        let SqlFunction { name, parameters, returns, strict, body } = &f.function;
        let result_type = type_of(returns);
        Function {
            oid: oid::user_function(index),
            name: name.clone(),
            kind: "f",
            volatility: "s",
            schema: oid::PUBLIC,
            result_type,
            arguments: f.function.arguments(),
            result: names.format(result_type, -1),
            written: Some(Written {
                owner: f.owner.clone(),
                body: format!("SELECT {body}"),
                strict: *strict,
                names: parameters.iter().map(|p| p.name.clone().unwrap_or_default()).collect(),
                types: parameters.iter().map(|p| type_of(&p.data_type)).collect(),
            }),
        }
    };
    snapshot.functions().enumerate().map(function).collect()
}

/// The statement that makes a function that a user wrote.
pub fn definition(snapshot: &Snapshot, oid: i32) -> Option<String> {
    snapshot.functions().enumerate().find(|(index, _)| oid::user_function(*index) == oid).map(|(_, f)| f.sql.clone())
}

/// A type by its name in SQL.
fn sql_type(name: &str) -> Option<PgType> {
    match parse_expr(&format!("CAST(NULL AS {name})")).ok()? {
        Expr::Cast { data_type, .. } => Some(PgType::marked(&types::arrow(&data_type).ok()?, types::mark(&data_type))),
        _ => None,
    }
}

/// Every function of `state`; `is_standard` tells those that PostgreSQL has.
pub fn list(state: &SessionState, types: &TypeNames, is_standard: &dyn Fn(&str) -> bool) -> Vec<Function> {
    let mut found: BTreeMap<&String, Found> = BTreeMap::new();
    for (name, f) in state.scalar_functions() {
        let result = result(f.signature(), |args| f.return_type(args).ok());
        let (signature, documentation) = (f.signature(), f.documentation());
        found.insert(name, Found { kind: "f", signature, documentation, result });
    }
    for (name, f) in state.aggregate_functions() {
        let result = result(f.signature(), |args| f.return_type(args).ok());
        let (signature, documentation) = (f.signature(), f.documentation());
        found.insert(name, Found { kind: "a", signature, documentation, result });
    }
    for (name, f) in state.window_functions() {
        let (signature, documentation) = (f.signature(), f.documentation());
        // The result is typed by more than the arguments.
        found.entry(name).or_insert(Found { kind: "w", signature, documentation, result: None });
    }
    let function = |(index, (name, f)): (usize, (&String, Found))| Function {
        oid: oid::function(index),
        kind: f.kind,
        volatility: match f.signature.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        },
        schema: if is_standard(name) { oid::PG_CATALOG } else { oid::PUBLIC },
        result_type: f.result.map_or(0, |t| t.oid),
        arguments: arguments(f.documentation),
        result: f.result.map(|t| types.format(t.oid, -1)).unwrap_or_default(),
        name: name.clone(),
        written: None,
    };
    found.into_iter().enumerate().map(function).collect()
}

/// What DataFusion tells of a function.
struct Found<'a> {
    kind: &'static str,
    signature: &'a Signature,
    documentation: Option<&'a Documentation>,
    result: Option<PgType>,
}

/// The result for the first arguments that the signature gives as an example.
fn result(signature: &Signature, of: impl Fn(&[DataType]) -> Option<DataType>) -> Option<PgType> {
    let examples = signature.type_signature.get_example_types();
    examples.iter().find_map(|args| of(args)).filter(|t| *t != DataType::Null).map(|t| PgType::of(&t))
}

/// What stands between the parentheses of `lower(str)`; of several forms, in the first.
fn arguments(documentation: Option<&Documentation>) -> String {
    let syntax = documentation.map(|d| d.syntax_example.as_str()).unwrap_or_default();
    let inner = syntax.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inner.map(|(inner, _)| inner.trim().to_string()).unwrap_or_default()
}

pub fn row(f: &Function, live: &Live) -> Row {
    let count = f.arguments.split(',').filter(|a| !a.trim().is_empty()).count();
    if let Some(written) = &f.written {
        return vec![
            ("oid", f.oid.into()),
            ("proname", f.name.as_str().into()),
            ("pronamespace", f.schema.into()),
            ("proowner", live.role(&written.owner).into()),
            ("prolang", oid::SQL.into()),
            ("prokind", f.kind.into()),
            ("provolatile", f.volatility.into()),
            ("proparallel", "s".into()),
            ("proisstrict", written.strict.into()),
            ("pronargs", (written.types.len() as i16).into()),
            ("prorettype", f.result_type.into()),
            ("proargtypes", written.types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").into()),
            ("proargnames", texts(written.names.iter().map(String::as_str))),
            ("prosrc", written.body.as_str().into()),
        ];
    }
    vec![
        ("oid", f.oid.into()),
        ("proname", f.name.as_str().into()),
        ("pronamespace", f.schema.into()),
        ("proowner", oid::ROOT.into()),
        ("prolang", oid::INTERNAL.into()),
        ("prokind", f.kind.into()),
        ("provolatile", f.volatility.into()),
        ("proparallel", "s".into()),
        ("pronargs", (count as i16).into()),
        ("prorettype", f.result_type.into()),
        ("prosrc", f.name.as_str().into()),
    ]
}
