//! GROUPING SETS, ROLLUP and CUBE: the sets, numbered as DataFusion's `__grouping_id` numbers them.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::GroupingSet as LogicalSet;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr as LogicalExpr};

use crate::common::{Error, Result};
use crate::plan::GroupingSet;

/// More sets than this make more rows of each row than anybody wants.
const MOST_SETS: usize = 256;

/// What an aggregation groups by.
pub(super) struct Grouping {
    pub exprs: Vec<LogicalExpr>,
    /// `None` without grouping sets.
    pub sets: Option<Sets>,
}

/// Grouping sets over the first columns of some rows.
pub(super) struct Sets {
    pub sets: Vec<GroupingSet>,
    /// Of the sets' numbers.
    pub id_type: DataType,
}

impl Sets {
    /// Whether a column is null in some set.
    pub fn nulls(&self, column: usize) -> bool {
        self.sets.iter().any(|s| s.nulls.contains(&column))
    }
}

impl Grouping {
    pub fn of(aggregate: &Aggregate) -> Result<Self> {
        let exprs: Vec<LogicalExpr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
        let [LogicalExpr::GroupingSet(grouping)] = aggregate.group_expr.as_slice() else {
            return Ok(Self { exprs: aggregate.group_expr.clone(), sets: None });
        };
        let too_many = || {
            Error::not_supported(format!("more than {MOST_SETS} grouping sets are not supported"))
                .with_hint("make views with fewer of them and join these with UNION ALL")
        };
        let kept: Vec<Vec<&LogicalExpr>> = match grouping {
            LogicalSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
            LogicalSet::Rollup(exprs) => (0..=exprs.len()).map(|n| exprs.iter().take(n).collect()).collect(),
            LogicalSet::Cube(exprs) if exprs.len() > 8 => return Err(too_many()),
            LogicalSet::Cube(exprs) => {
                let of = |mask: usize| exprs.iter().enumerate().filter(move |(i, _)| mask >> i & 1 == 1);
                (0..1 << exprs.len()).map(|mask| of(mask).map(|(_, e)| e).collect()).collect()
            }
        };
        if kept.len() > MOST_SETS || exprs.len() > 32 {
            return Err(too_many());
        }
        // The same set again is told apart by the bits above those of the columns.
        let mut seen: HashMap<u64, u64> = HashMap::new();
        let sets = kept.iter().map(|kept| {
            let nulls: Vec<usize> =
                (0..exprs.len()).filter(|i| exprs.get(*i).is_none_or(|e| !kept.contains(&e))).collect();
            let mask = nulls.iter().fold(0u64, |mask, column| mask | 1 << (exprs.len() - 1 - column));
            let again = seen.entry(mask).and_modify(|n| *n += 1).or_default();
            GroupingSet { id: mask | *again << exprs.len(), nulls }
        });
        let sets = sets.collect();
        let again = seen.into_values().max().unwrap_or_default();
        let id_type = Aggregate::grouping_id_type(exprs.len(), again as usize);
        Ok(Self { exprs, sets: Some(Sets { sets, id_type }) })
    }

    /// The numbers of the sets that group by nothing.
    pub fn totals(&self) -> Vec<u64> {
        let all = self.exprs.len();
        let sets = self.sets.iter().flat_map(|s| &s.sets);
        sets.filter(|s| s.nulls.len() == all).map(|s| s.id).collect()
    }
}
