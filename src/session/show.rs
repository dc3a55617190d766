//! SHOW, SHOW CREATE and DESCRIBE.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::client::SessionClient;
use super::services::Services;
use super::variables::{canonical, description};
use crate::batch::context::DATABASE;
use crate::catalog::def::PUBLIC;
use crate::catalog::{Definition, Function, Object, Snapshot};
use crate::common::{Error, ErrorKind, Result};
use crate::job::JobStatus;
use crate::planner;
use crate::sql::Statement;
use crate::sql::name::quote;
use crate::sql::statement::Show;
use crate::types::column_type;
use crate::types::sql_function::SqlFunction;

/// The result's columns, for statements that have one.
pub fn schema(statement: &Statement) -> Option<SchemaRef> {
    let names: Vec<&str> = match statement {
        Statement::Show { kind, .. } => header(kind).to_vec(),
        Statement::ShowCreate { .. } => vec!["Name", "Create Sql"],
        Statement::Describe { .. } => header(&Show::Columns(String::new())).to_vec(),
        Statement::ShowVariable { name } => return Some(text_schema(&[&canonical(name)])),
        _ => return None,
    };
    Some(text_schema(&names))
}

pub fn run(services: &Arc<Services>, client: &SessionClient, statement: &Statement) -> Result<RecordBatch> {
    let snapshot = services.snapshot(client);
    let variables = client.variables();
    match statement {
        Statement::Show { kind, like } => {
            let mut rows = match kind {
                Show::Tables => named(snapshot.objects(), "table"),
                Show::Sources => named(snapshot.objects(), "source"),
                Show::Sinks => named(snapshot.objects(), "sink"),
                Show::MaterializedViews => named(snapshot.objects(), "materialized view"),
                Show::Views => named(snapshot.objects(), "view"),
                Show::Indexes(table) => indexes(&snapshot, table.as_deref())?,
                Show::Jobs => jobs(services),
                Show::Functions => functions(&snapshot),
                Show::Sequences => snapshot.sequences().map(|s| vec![s.name.clone()]).collect(),
                Show::Secrets => snapshot.secrets().map(|s| vec![s.name.clone()]).collect(),
                Show::Databases => vec![vec![DATABASE.into()]],
                Show::Schemas => ["information_schema", "pg_catalog", PUBLIC, "weir"].map(|s| vec![s.into()]).into(),
                Show::Columns(name) => columns(snapshot.find(name)?),
                Show::AllVariables => {
                    let row = |(name, value): (String, String)| {
                        let description = description(&name).to_string();
                        vec![name, value, description]
                    };
                    variables.all().into_iter().map(row).collect()
                }
            };
            if let Some(pattern) = like {
                rows.retain(|row| row.first().is_some_and(|name| matches(name, pattern)));
            }
            batch(header(kind), rows)
        }
        Statement::ShowCreate { kind, name } => {
            let object = snapshot.find(name)?;
            if object.definition.kind() != kind.name() {
                let message = format!("\"{name}\" is a {}, not a {}", object.definition.kind(), kind.name());
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            batch(&["Name", "Create Sql"], vec![vec![format!("{PUBLIC}.{name}"), create_sql(&snapshot, object)]])
        }
        Statement::Describe { name } => batch(header(&Show::Columns(name.clone())), columns(snapshot.find(name)?)),
        Statement::ShowVariable { name } => {
            let value = variables.get(name).ok_or_else(|| {
                Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
                    .with_hint("SHOW ALL lists the session's parameters; weir.settings those of the server")
            })?;
            batch(&[&canonical(name)], vec![vec![value.to_string()]])
        }
        _ => Err(Error::internal("not a SHOW")),
    }
}

fn header(kind: &Show) -> &'static [&'static str] {
    match kind {
        Show::Functions => &["Name", "Arguments", "Returns", "Language", "Owner"],
        Show::Jobs => &["Id", "Name", "Type", "State", "Progress", "Error"],
        Show::Indexes(_) => &["Name", "On", "Key", "Include"],
        Show::Columns(_) => &["Name", "Type", "Is Hidden", "Is Key"],
        Show::AllVariables => &["name", "setting", "description"],
        _ => &["Name"],
    }
}

/// Those that are written in SQL.
fn functions(snapshot: &Snapshot) -> Vec<Vec<String>> {
    let row = |f: &Function| {
        let SqlFunction { name, returns, .. } = &f.function;
        vec![name.clone(), f.function.arguments(), returns.clone(), "sql".into(), f.owner.clone()]
    };
    snapshot.functions().map(row).collect()
}

fn named<'a>(objects: impl Iterator<Item = &'a Arc<Object>>, kind: &str) -> Vec<Vec<String>> {
    let mut names: Vec<Vec<String>> =
        objects.filter(|o| o.definition.kind() == kind).map(|o| vec![o.name.clone()]).collect();
    names.sort();
    names
}

/// With the names of their tables and columns.
/// The statement that would make the object again. An index's is told by what it has: its table and their columns may
/// have other names by now.
fn create_sql(snapshot: &Snapshot, object: &Object) -> String {
    let Definition::Index(index) = &object.definition else { return object.sql.clone() };
    let Some(base) = snapshot.by_id(index.on) else { return object.sql.clone() };
    let columns = planner::index_columns(index, base).join(", ");
    let mut sql = format!("CREATE INDEX {} ON {} ({columns})", quote(&object.name), quote(&base.name));
    let column = |at: &usize| base.definition.columns().get(*index.stored.get(*at)?).map(|c| quote(&c.name));
    let included: Vec<_> = index.include.iter().filter_map(column).collect();
    if !included.is_empty() {
        sql += &format!(" INCLUDE ({})", included.join(", "));
    }
    sql
}

fn indexes(snapshot: &Snapshot, table: Option<&str>) -> Result<Vec<Vec<String>>> {
    let table = table.map(|name| snapshot.find(name)).transpose()?.map(|o| o.id);
    let mut rows = Vec::new();
    for object in snapshot.objects() {
        let Definition::Index(index) = &object.definition else { continue };
        if table.is_some_and(|table| table != index.on) {
            continue;
        }
        let Some(base) = snapshot.by_id(index.on) else { continue };
        let own: Vec<usize> = index.key.iter().take(index.width).map(|k| k.column).collect();
        let included = (0..index.columns.len()).filter(|c| !own.contains(c));
        let names = |columns: Vec<usize>| {
            let columns = columns.into_iter().filter_map(|c| base.definition.columns().get(*index.stored.get(c)?));
            let columns = columns.filter(|c| !c.hidden);
            columns.map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let include = names(included.collect());
        rows.push(vec![
            object.name.clone(),
            base.name.clone(),
            planner::index_columns(index, base).join(", "),
            include,
        ]);
    }
    rows.sort();
    Ok(rows)
}

fn columns(object: &Object) -> Vec<Vec<String>> {
    let key = object.definition.rows().map(|(_, key)| key.to_vec()).unwrap_or_default();
    let columns = object.definition.columns().iter().enumerate();
    columns
        .map(|(index, c)| {
            let yes_no = |yes: bool| if yes { "true" } else { "false" }.to_string();
            vec![c.name.clone(), column_type(&c.data_type, c.mark), yes_no(c.hidden), yes_no(key.contains(&index))]
        })
        .collect()
}

fn jobs(services: &Arc<Services>) -> Vec<Vec<String>> {
    let status = services.jobs.status();
    status
        .into_iter()
        .map(|job| {
            let error = job.last_error.as_ref().map(|e| e.to_string()).unwrap_or_default();
            vec![
                job.spec.id.to_string(),
                job.spec.name.clone(),
                job.spec.kind.into(),
                job.state.name().into(),
                progress(&job),
                error,
            ]
        })
        .collect()
}

/// How much of the past a job has read, of what there is; empty when it is through.
fn progress(job: &JobStatus) -> String {
    let backfill = &job.handles.backfill;
    if !backfill.is_running() {
        return String::new();
    }
    let (rows, total) = (backfill.rows.load(Ordering::Relaxed), job.handles.backfill_total());
    match (rows * 100).checked_div(total) {
        Some(percent) => format!("{rows} of {total} rows, {}%", percent.min(100)),
        None => format!("{rows} rows"),
    }
}

/// SQL LIKE with `%` and `_`.
fn matches(text: &str, pattern: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('%') => (0..=text.len()).filter(|i| text.is_char_boundary(*i)).any(|i| matches(&text[i..], &pattern[1..])),
        Some(p) => {
            let mut rest = text.chars();
            rest.next().is_some_and(|t| p == '_' || t == p) && matches(rest.as_str(), &pattern[p.len_utf8()..])
        }
    }
}

fn text_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn batch(names: &[&str], rows: Vec<Vec<String>>) -> Result<RecordBatch> {
    let columns = (0..names.len())
        .map(|c| Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r[c]))) as ArrayRef)
        .collect();
    Ok(RecordBatch::try_new(text_schema(names), columns)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn like() {
        for (text, pattern, expected) in [
            ("bid", "b%", true),
            ("bid", "%d", true),
            ("bid", "b_d", true),
            ("bid", "b", false),
            ("", "%", true),
            ("größe", "gr%_e", true),
        ] {
            assert_eq!(super::matches(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }
}
