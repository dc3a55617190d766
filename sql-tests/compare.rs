//! Rows of a view against those of its query: the same in any order, fractions nearly.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::client::Rows;

/// What one has and the other has not; `None` when they are the same.
pub fn difference(mut view: Rows, mut batch: Rows) -> Option<String> {
    sort(&mut view);
    sort(&mut batch);
    let same = view.len() == batch.len()
        && view.iter().zip(&batch).all(|(a, b)| a.iter().zip(b).all(|(a, b)| equal(a.as_deref(), b.as_deref())));
    if same {
        return None;
    }
    let mut shown = format!("{} rows in the view, {} in the query\n", view.len(), batch.len());
    for (title, rows, other) in [("only in the view", &view, &batch), ("only in the query", &batch, &view)] {
        let _ = writeln!(shown, "{title}:");
        for row in rows.iter().filter(|r| !other.contains(r)).take(SHOWN) {
            let _ = writeln!(shown, "  {row:?}");
        }
    }
    Some(shown)
}

/// Rows that are shown of each side.
const SHOWN: usize = 100;

/// By the cells that are no fractions, then by those that are: so equal rows meet though a sum was added up in another
/// order.
fn sort(rows: &mut Rows) {
    rows.sort_by_cached_key(|row| {
        let whole: Vec<Option<String>> = row.iter().filter(|c| fraction(c.as_deref()).is_none()).cloned().collect();
        (whole, Fractions(row.iter().filter_map(|c| fraction(c.as_deref())).collect()))
    });
}

#[derive(PartialEq)]
struct Fractions(Vec<f64>);

impl Eq for Fractions {}

impl PartialOrd for Fractions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fractions {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

fn fraction(cell: Option<&str>) -> Option<f64> {
    cell.filter(|c| c.contains(['.', 'e'])).and_then(|c| c.parse().ok())
}

fn equal(a: Option<&str>, b: Option<&str>) -> bool {
    if a == b {
        return true;
    }
    match (a.and_then(|a| a.parse::<f64>().ok()), b.and_then(|b| b.parse::<f64>().ok())) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3),
        _ => false,
    }
}
