//! Rows as an aligned table, as psql prints them.

use std::fmt;

/// A result in memory.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn push(&mut self, row: Vec<Option<String>>) {
        self.rows.push(row);
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(column)?.as_deref())
    }

    /// The simple protocol's driver does not tell types: a column of numbers is one that reads as such.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.cells(column).peekable();
        cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &str| text.split('\n').map(|line| line.chars().count()).max().unwrap_or(0);
        let shape: Vec<(usize, bool)> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, name)| (self.cells(i).map(width).fold(width(name), usize::max), self.is_numeric(i)))
            .collect();
        let names = self.columns.iter().zip(&shape).map(|(name, (width, _))| format!(" {name:^width$} "));
        writeln!(f, "{}", names.collect::<Vec<_>>().join("|"))?;
        let rule = shape.iter().map(|(width, _)| "-".repeat(width + 2));
        writeln!(f, "{}", rule.collect::<Vec<_>>().join("+"))?;
        for row in &self.rows {
            write_row(f, row, &shape)?;
        }
        let count = self.rows.len();
        writeln!(f, "({count} row{})\n", if count == 1 { "" } else { "s" })
    }
}

/// A value of several lines takes several lines of the table; `+` marks that one goes on.
fn write_row(f: &mut fmt::Formatter<'_>, row: &[Option<String>], shape: &[(usize, bool)]) -> fmt::Result {
    let cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.as_deref().unwrap_or("").split('\n').collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        let mut text = String::new();
        for (i, (cell, (width, right))) in cells.iter().zip(shape).enumerate() {
            let part = cell.get(line).copied().unwrap_or("");
            let mark = if line + 1 < cell.len() { '+' } else { ' ' };
            let bar = if i == 0 { "" } else { "|" };
            let padded = if *right { format!("{part:>width$}") } else { format!("{part:<width$}") };
            text.push_str(&format!("{bar} {padded}{mark}"));
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[&[Option<&str>]]) -> String {
        let mut table = Table::new(columns.iter().map(|c| c.to_string()).collect());
        for row in rows {
            table.push(row.iter().map(|c| c.map(str::to_string)).collect());
        }
        table.to_string()
    }

    #[test]
    fn tables() {
        assert_eq!(
            table(&["id", "name"], &[&[Some("1"), Some("a")], &[Some("-20"), None]]),
            " id  | name \n-----+------\n   1 | a\n -20 |\n(2 rows)\n\n"
        );
        assert_eq!(table(&["é"], &[&[Some("a\nbc")]]), " é  \n----\n a +\n bc\n(1 row)\n\n");
        assert_eq!(table(&["a"], &[]), " a \n---\n(0 rows)\n\n");
        assert_eq!(table(&[], &[]), "\n\n(0 rows)\n\n");
    }
}
