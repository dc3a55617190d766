//! ROLLUP, CUBE and GROUPING SETS that name a column twice or several as one, as the sets that they stand for: the planner takes
//! neither.
//!
//! ```text
//! ROLLUP (a, a)       -->  GROUPING SETS ((), (a), (a))
//! CUBE ((a, b), c)    -->  GROUPING SETS ((), (a, b), (c), (a, b, c))
//! a, ROLLUP (a, b)    -->  GROUPING SETS ((a), (a), (a, b))
//! ```

use super::ast::Expr;

/// More items than this in one CUBE are left as they are, to be refused.
const MOST_CUBED: usize = 8;
/// Nor is more made than so many sets.
const MOST_SETS: usize = 256;

/// Rewrites the items of GROUP BY. `by_place` puts the column in the stead of a number.
pub(super) fn rewrite(groups: &mut Vec<Expr>, by_place: impl Fn(&mut Expr)) {
    let has_sets = groups.iter().any(|g| matches!(g, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)));
    if !has_sets {
        return;
    }
    let tuples = |g: &Expr| matches!(g, Expr::Rollup(items) | Expr::Cube(items) if items.iter().any(|i| i.len() != 1));
    let mut product: Vec<Vec<Expr>> = vec![Vec::new()];
    for group in groups.iter() {
        let Some(sets) = sets(group, &by_place) else { return };
        if product.len() * sets.len() > MOST_SETS {
            return;
        }
        product =
            product.iter().flat_map(|left| sets.iter().map(move |right| [&left[..], &right[..]].concat())).collect();
    }
    let longest: usize = product.iter().map(Vec::len).sum();
    product.iter_mut().for_each(each_once);
    let repeats = product.iter().map(Vec::len).sum::<usize>() < longest;
    if repeats || groups.iter().any(tuples) {
        *groups = vec![Expr::GroupingSets(product)];
    }
}

/// The sets of one item.
fn sets(group: &Expr, by_place: impl Fn(&mut Expr)) -> Option<Vec<Vec<Expr>>> {
    let together = |items: &[&Vec<Expr>]| items.iter().flat_map(|item| item.iter().cloned()).collect::<Vec<Expr>>();
    Some(match group {
        Expr::GroupingSets(sets) => sets.clone(),
        Expr::Rollup(items) => {
            let items: Vec<&Vec<Expr>> = items.iter().collect();
            (0..=items.len()).map(|n| together(items.get(..n).unwrap_or_default())).collect()
        }
        Expr::Cube(items) if items.len() > MOST_CUBED => return None,
        Expr::Cube(items) => {
            let of = |mask: usize| {
                let items = items.iter().enumerate().filter(move |(i, _)| mask >> i & 1 == 1);
                items.map(|(_, item)| item).collect::<Vec<_>>()
            };
            (0..1 << items.len()).map(|mask| together(&of(mask))).collect()
        }
        plain => {
            let mut plain = plain.clone();
            by_place(&mut plain);
            vec![vec![plain]]
        }
    })
}

fn each_once(set: &mut Vec<Expr>) {
    let mut kept: Vec<Expr> = Vec::with_capacity(set.len());
    for expr in set.drain(..) {
        if !kept.contains(&expr) {
            kept.push(expr);
        }
    }
    *set = kept;
}

#[cfg(test)]
mod tests {
    use super::super::{parse_query, pg};

    #[test]
    fn what_repeats_is_spelled_out() {
        for (group, expected) in [
            ("ROLLUP (a, a)", "GROUPING SETS ((), (a), (a))"),
            ("CUBE ((a, b), a)", "GROUPING SETS ((), (a, b), (a), (a, b))"),
            ("ROLLUP ((a, b), c)", "GROUPING SETS ((), (a, b), (a, b, c))"),
            ("1, ROLLUP (1, b)", "GROUPING SETS ((a), (a), (a, b))"),
            ("GROUPING SETS ((a, a), ())", "GROUPING SETS ((a), ())"),
            ("ROLLUP (a, b)", "ROLLUP (a, b)"),
            ("a, a", "a, a"),
        ] {
            let mut query = parse_query(&format!("SELECT a, b, c FROM t GROUP BY {group}")).unwrap();
            pg::rewrite(&mut query);
            assert_eq!(query.to_string(), format!("SELECT a, b, c FROM t GROUP BY {expected}"));
        }
    }
}
