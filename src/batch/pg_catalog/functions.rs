//! PostgreSQL's functions on the catalogs and on the session, as clients call them.
//!
//! None is worth vectorising: catalogs are small. So all are one kind of function, that answers a row at a time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::live::{self, Live, SystemRelation};
use super::procs::{self, Function};
use super::types::TypeNames;
use super::{backends, oid, sequence_tables, sequences, type_of, vectors};
use crate::batch::client::Client;
use crate::batch::zone::Zone;
use crate::catalog::{Privilege, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::state::StateStore;
use crate::types::timetz::{TimeTz, WIDTH, timetz};
use crate::types::zone_rules::ZoneRules;

type Answer = dyn Fn(&[ScalarValue]) -> DfResult<ScalarValue> + Send + Sync;

struct RowFunction {
    name: &'static str,
    returns: DataType,
    signature: Signature,
    answer: Arc<Answer>,
}

impl fmt::Debug for RowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.answer, &other.answer)
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let scalars: Option<Vec<_>> = args
            .args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(scalars) = scalars {
            return (self.answer)(&scalars)?.cast_to(&self.returns).map(ColumnarValue::Scalar);
        }
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let answer = |row: usize| {
            let values = columns.iter().map(|c| ScalarValue::try_from_array(c, row)).collect::<DfResult<Vec<_>>>()?;
            (self.answer)(&values)?.cast_to(&self.returns)
        };
        let answers = (0..args.number_rows).map(answer).collect::<DfResult<Vec<_>>>()?;
        let column: ArrayRef = match answers.is_empty() {
            true => new_empty_array(&self.returns),
            false => ScalarValue::iter_to_array(answers)?,
        };
        Ok(ColumnarValue::Array(column))
    }
}

/// A function of any arguments that answers the same for the same ones within a statement.
pub fn function(
    name: &'static str,
    returns: DataType,
    answer: impl Fn(&[ScalarValue]) -> DfResult<ScalarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    make(name, returns, Volatility::Stable, answer)
}

pub fn make(
    name: &'static str,
    returns: DataType,
    volatility: Volatility,
    answer: impl Fn(&[ScalarValue]) -> DfResult<ScalarValue> + Send + Sync + 'static,
) -> ScalarUDF {
    let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], volatility);
    ScalarUDF::from(RowFunction { name, returns, signature, answer: Arc::new(answer) })
}

pub(super) fn text(value: Option<impl Into<String>>) -> DfResult<ScalarValue> {
    Ok(ScalarValue::Utf8(value.map(Into::into)))
}

/// A text argument; `None` for null and for one that is not there.
pub(super) fn word(args: &[ScalarValue], index: usize) -> Option<&str> {
    args.get(index)?.try_as_str().flatten()
}

/// An id that an argument names, if it can be one.
pub fn id(args: &[ScalarValue], index: usize) -> Option<i32> {
    live::number(args.get(index)).and_then(|n| i32::try_from(n).ok())
}

/// Functions with one answer, whatever their arguments.
fn constants() -> Vec<ScalarUDF> {
    let version = format!("PostgreSQL 15.0 (Weir {})", env!("CARGO_PKG_VERSION"));
    let mut all = vec![constant("version", version.as_str().into()), constant("getdatabaseencoding", "UTF8".into())];
    for name in [
        "has_function_privilege",
        "pg_collation_is_visible",
        "pg_conversion_is_visible",
        "pg_function_is_visible",
        "pg_opclass_is_visible",
        "pg_operator_is_visible",
        "pg_opfamily_is_visible",
        "pg_statistics_obj_is_visible",
        "pg_ts_config_is_visible",
        "pg_ts_dict_is_visible",
        "pg_ts_parser_is_visible",
        "pg_ts_template_is_visible",
        "pg_type_is_visible",
    ] {
        all.push(constant(name, true.into()));
    }
    // There are no such locks.
    all.push(constant("pg_advisory_unlock_all", "".into()));
    for name in ["shobj_description", "pg_get_function_sqlbody"] {
        all.push(constant(name, ScalarValue::Utf8(None)));
    }
    for name in ["pg_get_ruledef", "pg_get_triggerdef", "pg_tablespace_location"] {
        all.push(constant(name, "".into()));
    }
    for name in ["pg_is_in_recovery", "pg_is_other_temp_schema"] {
        all.push(constant(name, false.into()));
    }
    // Transactions have no numbers.
    for name in ["txid_current", "pg_stat_get_numscans"] {
        all.push(constant(name, 0_i64.into()));
    }
    all
}

fn constant(name: &'static str, answer: ScalarValue) -> ScalarUDF {
    function(name, answer.data_type(), move |_| Ok(answer.clone()))
}

/// Functions that are the same for every statement.
pub fn global(types: Arc<TypeNames>) -> Vec<ScalarUDF> {
    let mut all = constants();
    all.extend(vectors::functions());
    all.push(type_of::function(types.clone()));
    let names = types.clone();
    let formats = types.clone();
    all.push(function("regtypeout", DataType::Utf8, move |args| text(id(args, 0).map(|oid| formats.format(oid, -1)))));
    all.push(function("format_type", DataType::Utf8, move |args| {
        let modifier = id(args, 1).unwrap_or(-1);
        text(id(args, 0).map(|oid| types.format(oid, modifier)))
    }));
    let by_name = names.clone();
    all.push(function("to_regtype", DataType::Int32, move |args| {
        Ok(ScalarValue::Int32(word(args, 0).and_then(|name| by_name.find(name))))
    }));
    all.push(function("pg_size_pretty", DataType::Utf8, |args| text(live::number(args.first()).map(size_pretty))));
    all.push(function("pg_encoding_to_char", DataType::Utf8, |args| {
        text(id(args, 0).map(|encoding| if encoding == UTF8 { "UTF8" } else { "" }))
    }));
    all.push(function("pg_char_to_encoding", DataType::Int32, |args| {
        let utf8 = word(args, 0).is_some_and(|name| name.replace('-', "").eq_ignore_ascii_case("utf8"));
        Ok(if utf8 { UTF8 } else { -1 }.into())
    }));
    all.push(function("pg_table_is_visible", DataType::Boolean, |args| {
        Ok(ScalarValue::Boolean(id(args, 0).map(oid::is_visible)))
    }));
    // Expressions are kept as their text.
    all.push(function("pg_get_expr", DataType::Utf8, |args| text(word(args, 0))));
    all
}

/// PostgreSQL's number for the encoding.
const UTF8: i32 = 6;

/// What the functions of one statement look into.
#[derive(Clone)]
pub struct Scope {
    pub snapshot: Arc<Snapshot>,
    pub system: Arc<Vec<SystemRelation>>,
    pub client: Arc<dyn Client>,
    pub store: Arc<StateStore>,
    /// The server's own.
    pub functions: Arc<Vec<Function>>,
    pub types: Arc<TypeNames>,
    /// When the server started, in microseconds since 1970.
    pub started: i64,
}

impl Scope {
    pub fn live(&self) -> Live<'_> {
        Live {
            snapshot: &self.snapshot,
            system: &self.system,
            client: self.client.as_ref(),
            counters: &self.store.sequences,
        }
    }

    /// Those that users wrote.
    pub fn written(&self) -> Vec<Function> {
        procs::written(&self.snapshot, &self.types)
    }

    /// What is told of the function with this id.
    fn function<T>(&self, oid: i32, tell: impl Fn(&Function) -> T) -> Option<T> {
        let own = self.functions.iter().find(|f| f.oid == oid).map(&tell);
        own.or_else(|| self.written().iter().find(|f| f.oid == oid).map(tell))
    }

    /// The role that an argument names, by its name or its id.
    fn role(&self, arg: &ScalarValue) -> Option<String> {
        match arg.try_as_str() {
            Some(name) => name.map(str::to_string),
            None => {
                let role = live::number(Some(arg)).and_then(|n| i32::try_from(n).ok())?;
                self.live().role_name(role).map(str::to_string)
            }
        }
    }

    /// `has_…_privilege([user,] object, [column,] privileges)`: whether one of the privileges is held.
    fn has_privilege(&self, function: &str, args: &[ScalarValue]) -> DfResult<ScalarValue> {
        let width = if function == "has_column_privilege" { 3 } else { 2 };
        let (user, rest) = match args {
            [user, rest @ ..] if args.len() > width => (self.role(user), rest),
            rest => (Some(self.client.user()), rest),
        };
        let (Some(user), Some(object), Some(wanted)) = (user, rest.first(), word(rest, rest.len().saturating_sub(1)))
        else {
            return Ok(ScalarValue::Boolean(None));
        };
        self.snapshot.find_role(&user)?;
        let wanted = wanted.split(',').map(|w| w.trim().to_ascii_uppercase());
        let mut wanted = wanted.map(|w| w.strip_suffix(" WITH GRANT OPTION").unwrap_or(&w).to_string());
        let known = |word: &str, all: &[Privilege]| all.iter().copied().find(|p| p.name() == word);
        if function == "has_schema_privilege" {
            let of_schema = |word: String| known(&word, &Privilege::ON_SCHEMA);
            return Ok(wanted.any(|w| of_schema(w).is_some_and(|p| self.snapshot.may_in_schema(&user, p))).into());
        }
        let relation = self.relation_id(object)?;
        if let Some(sequence) = relation.and_then(|relation| sequence_tables::find(&self.snapshot, relation)) {
            let of_sequence = |word: String| known(&word, &Privilege::ON_SEQUENCE);
            let owns = self.snapshot.has_role(&user, self.snapshot.sequence_owner(sequence));
            let may = |p| self.snapshot.may_sequence(&user, p, sequence);
            return Ok(wanted.any(|w| owns || of_sequence(w).is_some_and(may)).into());
        }
        if function == "has_sequence_privilege" {
            let name = word(rest, 0).unwrap_or_default();
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a sequence")).into());
        }
        let object = relation.and_then(|relation| live::find(&self.snapshot, relation));
        // What is the server's own can be read, not changed.
        let may = |word: String| match (known(&word, &Privilege::ON_RELATION), object) {
            (Some(privilege), Some(object)) => self.snapshot.may(&user, privilege, object),
            (privilege, None) => privilege == Some(Privilege::Select),
            (None, Some(object)) => self.snapshot.has_role(&user, &object.owner),
        };
        Ok(wanted.any(may).into())
    }

    /// The id of the relation that an argument names, by its name or its id.
    fn relation_id(&self, arg: &ScalarValue) -> Result<Option<i32>> {
        let Some(name) = arg.try_as_str() else { return Ok(id(std::slice::from_ref(arg), 0)) };
        let Some(name) = name else { return Ok(None) };
        match self.find_relation(name) {
            Some(relation) => Ok(Some(relation)),
            None => {
                let message = format!("relation \"{name}\" does not exist");
                Err(Error::new(ErrorKind::UndefinedTable, message))
            }
        }
    }

    /// By a name as SQL writes it, or its number.
    fn find_relation(&self, name: &str) -> Option<i32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let parts = split(name);
        let live = self.live();
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            [_, schema, name] => (Some(schema.as_str()), name),
            _ => return None,
        };
        match schema {
            Some(schema) => live.find(name, &|of| live.schema_name(of) == Some(schema)),
            None => live
                .find(name, &|of| of == oid::TEMPORARY)
                .or_else(|| live.find(name, &|of| of == oid::PUBLIC || of == oid::PG_CATALOG)),
        }
    }

    /// Bytes of a relation's rows at the last checkpoint.
    fn size(&self, relation: i32) -> i64 {
        let table = live::find(&self.snapshot, relation).and_then(|o| o.definition.rows());
        let stats = table.and_then(|(table, _)| self.store.stats().get(&table).map(|stats| stats.bytes));
        stats.map_or(0, |bytes| bytes as i64)
    }
}

/// Functions that answer for a statement's catalog and session.
pub fn scoped(scope: &Scope) -> Vec<ScalarUDF> {
    let mut all = session(&scope.client);
    all.extend(backends::functions(scope));
    all.extend(sequences::functions(scope));
    type Name = fn(&Live, i32) -> Option<String>;
    let outs: [(_, Name); 3] = [
        ("regclassout", |live, oid| live.relation_name(oid)),
        ("regnamespaceout", |live, oid| live.schema_name(oid).map(str::to_string)),
        ("regroleout", |live, oid| live.role_name(oid).map(str::to_string)),
    ];
    for (name, of) in outs {
        let s = scope.clone();
        // What has no name is shown as its number.
        let shown = move |oid: i32| of(&s.live(), oid).unwrap_or_else(|| oid.to_string());
        all.push(function(name, DataType::Utf8, move |args| text(id(args, 0).map(&shown))));
    }
    let s = scope.clone();
    all.push(function("regprocout", DataType::Utf8, move |args| {
        let name = |oid: i32| s.function(oid, |f| f.name.clone()).unwrap_or(oid.to_string());
        text(id(args, 0).map(name))
    }));
    let started = ScalarValue::TimestampMicrosecond(Some(scope.started), Some("UTC".into()));
    all.push(constant("pg_postmaster_start_time", started.clone()));
    all.push(constant("pg_conf_load_time", started));
    let s = scope.clone();
    all.push(function("regclassin", DataType::Int32, move |args| {
        Ok(ScalarValue::Int32(args.first().map(|arg| s.relation_id(arg)).transpose()?.flatten()))
    }));
    let s = scope.clone();
    all.push(function("to_regclass", DataType::Int32, move |args| {
        Ok(ScalarValue::Int32(word(args, 0).and_then(|name| s.find_relation(name))))
    }));
    let s = scope.clone();
    all.push(function("pg_get_functiondef", DataType::Utf8, move |args| {
        text(id(args, 0).and_then(|oid| procs::definition(&s.snapshot, oid)))
    }));
    let s = scope.clone();
    all.push(function("pg_get_userbyid", DataType::Utf8, move |args| {
        let name = |role| s.live().role_name(role).map_or_else(|| format!("unknown (OID={role})"), str::to_string);
        text(id(args, 0).map(name))
    }));
    let s = scope.clone();
    all.push(function("pg_get_viewdef", DataType::Utf8, move |args| {
        let object = match word(args, 0) {
            Some(name) => s.snapshot.get(name).map(|o| o.as_ref()),
            None => id(args, 0).and_then(|relation| live::find(&s.snapshot, relation)),
        };
        text(object.and_then(live::view_definition))
    }));
    let s = scope.clone();
    all.push(function("pg_get_indexdef", DataType::Utf8, move |args| {
        let column = live::number(args.get(1)).unwrap_or(0);
        text(id(args, 0).and_then(|index| live::describe_index(&s.snapshot, index, column)))
    }));
    let s = scope.clone();
    all.push(function("pg_get_constraintdef", DataType::Utf8, move |args| {
        text(id(args, 0).and_then(|constraint| live::describe_constraint(&s.snapshot, constraint)))
    }));
    // Above 0, of a column.
    for (name, of_column) in [("obj_description", false), ("col_description", true)] {
        let s = scope.clone();
        all.push(function(name, DataType::Utf8, move |args| {
            let column = if of_column { live::number(args.get(1)).unwrap_or(-1) } else { 0 };
            let object = id(args, 0).and_then(|relation| live::find(&s.snapshot, relation));
            let comment = usize::try_from(column).ok().and_then(|column| object?.comments.get(&column));
            let sequence = id(args, 0).filter(|_| column == 0).and_then(|id| sequence_tables::find(&s.snapshot, id));
            text(comment.or_else(|| sequence?.comment.as_ref()).map(String::as_str))
        }));
    }
    for name in [
        "has_table_privilege",
        "has_any_column_privilege",
        "has_column_privilege",
        "has_schema_privilege",
        "has_sequence_privilege",
    ] {
        let s = scope.clone();
        all.push(function(name, DataType::Boolean, move |args| s.has_privilege(name, args)));
    }
    let s = scope.clone();
    all.push(function("pg_has_role", DataType::Boolean, move |args| {
        let (user, of) = match args {
            [of, _] => (Some(s.client.user()), s.role(of)),
            [user, of, ..] => (s.role(user), s.role(of)),
            _ => (None, None),
        };
        Ok(ScalarValue::Boolean(user.zip(of).map(|(user, of)| s.snapshot.has_role(&user, &of))))
    }));
    for name in ["pg_table_size", "pg_relation_size", "pg_total_relation_size"] {
        let s = scope.clone();
        all.push(function(name, DataType::Int64, move |args| {
            Ok(ScalarValue::Int64(id(args, 0).map(|relation| s.size(relation))))
        }));
    }
    let s = scope.clone();
    all.push(function("pg_indexes_size", DataType::Int64, |_| Ok(0_i64.into())));
    for name in ["pg_database_size", "pg_tablespace_size"] {
        let s = s.clone();
        all.push(function(name, DataType::Int64, move |_| Ok((s.store.disk_bytes() as i64).into())));
    }
    for name in ["pg_get_function_arguments", "pg_get_function_identity_arguments"] {
        let s = scope.clone();
        all.push(function(name, DataType::Utf8, move |args| {
            text(id(args, 0).and_then(|oid| s.function(oid, |f| f.arguments.clone())))
        }));
    }
    let s = scope.clone();
    all.push(function("pg_get_function_result", DataType::Utf8, move |args| {
        text(id(args, 0).and_then(|oid| s.function(oid, |f| f.result.clone())))
    }));
    all
}

/// The parts of a dotted name, folded; quotes are taken off.
pub(super) fn split(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut rest = name.trim().chars().peekable();
    while let Some(c) = rest.next() {
        match (c, parts.last_mut()) {
            ('"', Some(part)) if quoted && rest.peek() == Some(&'"') => part.extend(rest.next()),
            ('"', _) => quoted = !quoted,
            ('.', _) if !quoted => parts.push(String::new()),
            (c, Some(part)) if quoted => part.push(c),
            (c, Some(part)) => part.extend(c.to_lowercase()),
            (_, None) => {}
        }
    }
    parts
}

/// `now()` and its kin: `now` tells the statement's time in microseconds. DataFusion's own take the time at which the
/// server's first session was made.
pub fn clock(zone: &Zone, now: impl Fn() -> i64 + Clone + Send + Sync + 'static) -> Vec<ScalarUDF> {
    let zone: Arc<str> = Arc::from(zone.name().unwrap_or("UTC"));
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.clone()));
    let all = [
        ("now", ["current_timestamp", "proctime"].as_slice(), instant),
        ("current_date", &["today"], DataType::Date32),
        ("localtime", &[], DataType::Time64(TimeUnit::Microsecond)),
        ("current_time", &[], timetz()),
    ];
    all.map(|(name, aliases, returns)| {
        let (zone, now, wanted) = (zone.clone(), now.clone(), returns.clone());
        let answer = move |_: &[ScalarValue]| {
            if wanted == timetz() {
                let rules = zone.parse::<ZoneRules>().unwrap_or(ZoneRules::Fixed(0));
                return Ok(ScalarValue::FixedSizeBinary(WIDTH, Some(TimeTz::at(now(), &rules).to_bytes().to_vec())));
            }
            ScalarValue::TimestampMicrosecond(Some(now()), Some(zone.clone())).cast_to(&wanted)
        };
        function(name, returns, answer).with_aliases(aliases.iter().copied())
    })
    .into()
}

/// What `session_user` is called after the rewriting: the crate's rule makes `session_user()` of `current_user`.
pub const SESSION_USER: &str = "session_authorization_user";

/// Functions on the session's user and variables.
fn session(client: &Arc<dyn Client>) -> Vec<ScalarUDF> {
    let user = client.user();
    let mut all: Vec<_> = ["session_user", "current_user", "user", "current_role"]
        .map(|name| constant(name, user.as_str().into()))
        .into();
    all.push(constant(SESSION_USER, client.session_user().as_str().into()));
    all.push(constant("pg_backend_pid", client.id().0.into()));
    let c = client.clone();
    all.push(function("current_setting", DataType::Utf8, move |args| {
        let missing_ok = matches!(args.get(1), Some(ScalarValue::Boolean(Some(true))));
        let Some(name) = word(args, 0) else { return text(None::<&str>) };
        match c.setting(name) {
            None if !missing_ok => {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                Err(Error::new(ErrorKind::UndefinedObject, message).into())
            }
            value => text(value),
        }
    }));
    let c = client.clone();
    all.push(make("set_config", DataType::Utf8, Volatility::Volatile, move |args| {
        match (word(args, 0), word(args, 1)) {
            (Some(name), Some(value)) => text(Some(c.set(name, value)?)),
            _ => text(None::<&str>),
        }
    }));
    all
}

/// Bytes as PostgreSQL's `pg_size_pretty` writes them: a unit is kept up to 10239 of it, halves are rounded away from
/// zero.
fn size_pretty(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    let bytes = u128::from(bytes.unsigned_abs());
    if bytes < 10 * 1024 {
        return format!("{sign}{bytes} bytes");
    }
    let units = ["kB", "MB", "GB", "TB", "PB"];
    let mut shown = (bytes, "bytes");
    for (power, unit) in (1..).zip(units) {
        // Half a unit more, then whole units.
        let scale = 1_u128 << (10 * power);
        shown = ((bytes + scale / 2) / scale, unit);
        if shown.0 < 10 * 1024 {
            break;
        }
    }
    format!("{sign}{} {}", shown.0, shown.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures as PostgreSQL 15 prints them.
    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (16_384, "16 kB"),
            (1_000_000, "977 kB"),
            (10 * 1024 * 1024, "10 MB"),
            (1_000_000_000, "954 MB"),
            (1_000_000_000_000, "931 GB"),
            (-20_000, "-20 kB"),
            (i64::MIN, "-8192 PB"),
        ] {
            assert_eq!(size_pretty(bytes), expected, "{bytes}");
        }
    }
}
