//! CREATE INDEX to a catalog definition, with its job.

use super::fragment;
use super::lower::{IndexPlan, Lowerer};
use crate::catalog::def::{Column, Index, IndexKey};
use crate::catalog::{Definition, Object};
use crate::common::{Error, ErrorKind, Result};
use crate::plan::{FragmentGraph, Policy};
use crate::sql::name::quote;
use crate::sql::statement::{CreateIndex, Emit};
use crate::types::TableId;

/// The index that a statement defines on `object`, not ready yet, and its job.
///
/// # Errors
/// `UndefinedColumn`, `DuplicateColumn`; `WrongObjectType` for what keeps no rows; `NotSupported` for a type that has no
/// order.
pub fn plan_index(
    object: &Object,
    statement: &CreateIndex,
    table_ids: &mut dyn FnMut() -> TableId,
) -> Result<(Index, FragmentGraph)> {
    let Some((_, base_key)) = object.definition.rows() else {
        let message = format!("\"{}\" is a {}: it keeps no rows", object.name, object.definition.kind());
        return Err(Error::new(ErrorKind::WrongObjectType, message)
            .with_hint("index a table, or a materialized view that reads it"));
    };
    let columns = object.definition.columns();
    let mut by: Vec<IndexKey> = Vec::with_capacity(statement.columns.len());
    for c in &statement.columns {
        let column = find(object, &c.name)?;
        if by.iter().any(|k| k.column == column) {
            let message = format!("column \"{}\" is twice in the index", c.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message).with_hint("name it once"));
        }
        by.push(IndexKey { column, descending: c.descending, nulls_first: c.nulls_first });
    }
    let visible = || (0..columns.len()).filter(|c| columns.get(*c).is_some_and(|c| !c.hidden));
    let included: Vec<usize> = match &statement.include {
        Some(names) => names.iter().map(|name| find(object, name)).collect::<Result<Vec<_>>>()?,
        None => visible().collect(),
    };
    let mut stored: Vec<usize> = Vec::new();
    for column in by.iter().map(|k| k.column).chain(included.iter().copied()).chain(base_key.iter().copied()) {
        if !stored.contains(&column) {
            stored.push(column);
        }
    }
    let named = statement.include.is_some();
    let include = (by.len()..by.len() + included.len())
        .filter(|at| named && stored.get(*at).is_some_and(|column| included.contains(column)));
    let include = include.collect();
    let mut lowerer = Lowerer::new(table_ids, Emit::OnUpdate, None);
    let IndexPlan { root, table, key } = lowerer.index(object, &stored, &by)?;
    // A row that were left out would be missing from the answers.
    let policy = Policy { fail_on_error: true, ..Policy::default() };
    let graph = fragment::cut(root, policy, table_ids);
    let index = Index {
        on: object.id,
        columns: stored.iter().filter_map(|c| columns.get(*c)).cloned().collect::<Vec<Column>>(),
        stored,
        width: by.len(),
        key,
        include,
        table,
        ready: false,
        graph: serde_json::to_string(&graph).map_err(|e| Error::internal(format!("a plan cannot be stored: {e}")))?,
    };
    Ok((index, graph))
}

fn find(object: &Object, name: &str) -> Result<usize> {
    let found = object.definition.columns().iter().position(|c| !c.hidden && c.name == name);
    found.ok_or_else(|| {
        Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"))
            .with_hint(format!("SHOW COLUMNS FROM {} lists them", quote(&object.name)))
    })
}

/// The name that PostgreSQL gives an index without one, numbered where it is taken.
pub fn index_name(statement: &CreateIndex, taken: impl Fn(&str) -> bool) -> String {
    let columns: Vec<&str> = statement.columns.iter().map(|c| c.name.as_str()).collect();
    let name = format!("{}_{}_idx", statement.table, columns.join("_"));
    if !taken(&name) {
        return name;
    }
    let mut number = 1;
    while taken(&format!("{name}{number}")) {
        number += 1;
    }
    format!("{name}{number}")
}

/// `definition` with its index able to serve reads.
pub fn ready(definition: &Definition) -> Option<Definition> {
    match definition {
        Definition::Index(index) if !index.ready => Some(Definition::Index(Index { ready: true, ..index.clone() })),
        _ => None,
    }
}

/// The own columns of an index on `base` as CREATE INDEX has them: `a, b DESC`.
pub fn index_columns(index: &Index, base: &Object) -> Vec<String> {
    let column = |k: &IndexKey| {
        let mut text = quote(&base.definition.columns().get(*index.stored.get(k.column)?)?.name);
        if k.descending {
            text += " DESC";
        }
        match (k.descending, k.nulls_first) {
            (true, false) => text += " NULLS LAST",
            (false, true) => text += " NULLS FIRST",
            _ => {}
        }
        Some(text)
    };
    index.key.iter().take(index.width).filter_map(column).collect()
}
