//! SQL text of what no statement ever said: a table after its columns have changed.

use crate::catalog::{Column, Table};
use crate::sql::name::quote;
use crate::types::{Conflict, column_type};

/// The CREATE TABLE that would make the table as it is now; for one without a connector.
pub fn create_table(name: &str, table: &Table) -> String {
    let columns = table.columns.iter().filter(|c| !c.hidden);
    let mut elements: Vec<String> = columns.clone().map(column).collect();
    let key: Vec<String> = table
        .primary_key
        .iter()
        .filter_map(|i| table.columns.get(*i))
        .filter(|c| !c.hidden)
        .map(|c| quote(&c.name))
        .collect();
    if !key.is_empty() {
        elements.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    if let Some(watermark) = &table.watermark
        && let Some(column) = table.columns.get(watermark.column)
    {
        let column = quote(&column.name);
        let delay = length(watermark.delay_micros);
        elements.push(format!("WATERMARK FOR {column} AS {column} - INTERVAL '{delay}'"));
    }
    let mut text = format!("CREATE TABLE {} ({})", quote(name), elements.join(", "));
    if table.append_only {
        text.push_str(" APPEND ONLY");
    }
    match table.conflict {
        Conflict::DoNothing => text.push_str(" ON CONFLICT DO NOTHING"),
        Conflict::UpdateIfNotNull => text.push_str(" ON CONFLICT DO UPDATE IF NOT NULL"),
        Conflict::Overwrite | Conflict::Unchecked => {}
    }
    if let Some(skew) = table.watermark.as_ref().and_then(|w| w.limits.max_future_skew) {
        text.push_str(&format!(" WITH (max_future_skew = '{}')", length(skew)));
    }
    text
}

fn column(column: &Column) -> String {
    let data_type = column_type(&column.data_type, column.mark);
    let null = if column.nullable { "" } else { " NOT NULL" };
    let default = column.default.as_ref().map_or(String::new(), |d| format!(" DEFAULT {d}"));
    format!("{} {data_type}{null}{default}", quote(&column.name))
}

/// A length as INTERVAL takes it.
fn length(micros: i64) -> String {
    if micros % 1_000_000 == 0 { format!("{} seconds", micros / 1_000_000) } else { format!("{micros} microseconds") }
}

/// The query that gives columns of `relation` under other names: (its own, shown as).
pub fn select<'n>(relation: &str, columns: impl Iterator<Item = (&'n str, &'n str)>) -> String {
    let shown = |(own, shown): (&str, &str)| match own == shown {
        true => quote(own),
        false => format!("{} AS {}", quote(own), quote(shown)),
    };
    format!("SELECT {} FROM {}", columns.map(shown).collect::<Vec<_>>().join(", "), quote(relation))
}
