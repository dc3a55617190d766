//! The types of a statement's parameters: as the client declares them, as the statement's text tells, or as the plan infers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::common::{Error, ErrorKind, Result};

/// The types of `$1`, `$2`, …, which any of a statement's plans may know; text where none does. `told` are those in the text, by number.
///
/// # Errors
/// `UndefinedParameter` for one that has a name; of DataFusion where one parameter is used as two types.
pub fn types(
    plans: &[LogicalPlan],
    declared: &[Option<DataType>],
    told: &BTreeMap<usize, Field>,
) -> Result<Vec<FieldRef>> {
    let mut inferred: HashMap<String, Option<FieldRef>> = HashMap::new();
    for plan in plans {
        for (name, field) in plan.get_parameter_fields()? {
            let known = inferred.entry(name).or_default();
            *known = known.take().or(field);
        }
        for (name, list) in haystacks(plan)? {
            if let Some(unknown @ None) = inferred.get_mut(&name) {
                *unknown = Some(list);
            }
        }
    }
    let mut count = declared.len();
    for name in inferred.keys() {
        let number = name.trim_start_matches('$').parse::<usize>().map_err(|_| {
            Error::new(ErrorKind::UndefinedParameter, format!("parameter {name} is not of the form $1"))
        })?;
        count = count.max(number);
    }
    let field = |number: usize| {
        let name = format!("${number}");
        let declared = declared.get(number - 1).cloned().flatten();
        match (declared, told.get(&number), inferred.get(&name)) {
            (Some(data_type), ..) => Arc::new(Field::new(name, data_type, true)),
            (None, Some(told), _) => Arc::new(told.clone()),
            (None, None, Some(Some(inferred))) => inferred.clone(),
            _ => Arc::new(Field::new(name, DataType::Utf8, true)),
        }
    };
    Ok((1..=count).map(field).collect())
}

/// Parameters that are arrays because an element is looked for in them: `k = ANY($1)`.
fn haystacks(plan: &LogicalPlan) -> Result<HashMap<String, FieldRef>> {
    let mut found = HashMap::new();
    plan.apply_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(ScalarFunction { func, args }) = expr
                    && func.name() == "array_has"
                    && let [Expr::Placeholder(Placeholder { id, field: None }), needle] = args.as_slice()
                    && let Ok(element) = needle.get_type(&schema)
                {
                    found.insert(id.clone(), Arc::new(Field::new(id, DataType::new_list(element, true), true)));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}
