//! The functions that a query can name: DataFusion's and Weir's own, in one registry, by lower-case name or alias.
//!
//! Planner, wire and stored expressions all look here, so a function that plans is a function that recovers.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;

use super::json::planner::JsonOperators;
use super::pg::operators::PgOperators;
use super::session::SessionBound;
use super::time_windows::WindowEnds;
use super::tumble::TumbleStart;

/// All functions. One for the process: they are pure and never change.
pub struct Registry {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    context: Arc<TaskContext>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// The one registry.
pub fn registry() -> &'static Registry {
    &REGISTRY
}

pub fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    registry().scalars.get(name).cloned()
}

/// What operators mean: Weir's own rules come first.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(JsonOperators), Arc::new(PgOperators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// Functions that take a lambda, such as `array_transform`.
pub fn higher_order(name: &str) -> Option<Arc<HigherOrderUDF>> {
    registry().higher_order.get(name).cloned()
}

pub fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    registry().aggregates.get(name).cloned()
}

pub fn window(name: &str) -> Option<Arc<WindowUDF>> {
    registry().windows.get(name).cloned()
}

impl Registry {
    fn new() -> Self {
        let mut scalars = SessionStateDefaults::default_scalar_functions();
        scalars.push(Arc::new(ScalarUDF::from(TumbleStart::new())));
        scalars.extend(super::checked::functions());
        scalars.push(Arc::new(super::bytea::function()));
        scalars.extend(super::series::functions());
        scalars.extend(super::gap_fill::functions());
        scalars.extend(super::json::functions());
        scalars.extend(super::uuid::functions());
        scalars.extend(super::modifier::functions());
        scalars.push(super::marked_list::function());
        scalars.push(super::marked_list::or_empty());
        scalars.extend(super::pg::functions());
        scalars.extend(super::time_join::functions().into_iter().map(super::function::Function::udf));
        scalars.push(Arc::new(ScalarUDF::from(TumbleStart::of_cumulate())));
        scalars.extend(WindowEnds::all().map(|f| Arc::new(ScalarUDF::from(f))));
        let scalars = by_name(scalars, |f| (f.name().to_string(), f.aliases().to_vec()));
        let higher_order = by_name(SessionStateDefaults::default_higher_order_functions(), |f| {
            (f.name().to_string(), f.aliases().to_vec())
        });
        let mut aggregates = SessionStateDefaults::default_aggregate_functions();
        aggregates.extend(super::ordered_set::functions());
        // The SQL standard's name.
        let every = bool_and_udaf().as_ref().clone().with_aliases(["every"]);
        aggregates.push(Arc::new(every));
        let aggregates = by_name(aggregates, |f| (f.name().to_string(), f.aliases().to_vec()));
        let mut windows = SessionStateDefaults::default_window_functions();
        windows.extend(SessionBound::all().map(|f| Arc::new(WindowUDF::from(f))));
        let windows = by_name(windows, |f| (f.name().to_string(), f.aliases().to_vec()));
        let context = Arc::new(TaskContext::new(
            None,
            String::new(),
            SessionConfig::new(),
            scalars.clone(),
            higher_order.clone(),
            aggregates.clone(),
            windows.clone(),
            Arc::new(RuntimeEnv::default()),
        ));
        Self { scalars, higher_order, aggregates, windows, context }
    }

    /// Every scalar function once, in no order.
    pub fn scalars(&self) -> impl Iterator<Item = &Arc<ScalarUDF>> {
        self.scalars.iter().filter(|(name, f)| *name == f.name()).map(|(_, f)| f)
    }

    pub fn higher_orders(&self) -> impl Iterator<Item = &Arc<HigherOrderUDF>> {
        self.higher_order.iter().filter(|(name, f)| *name == f.name()).map(|(_, f)| f)
    }

    /// Every aggregate function once, in no order.
    pub fn aggregates(&self) -> impl Iterator<Item = &Arc<AggregateUDF>> {
        self.aggregates.iter().filter(|(name, f)| *name == f.name()).map(|(_, f)| f)
    }

    /// Every window function once, in no order.
    pub fn windows(&self) -> impl Iterator<Item = &Arc<WindowUDF>> {
        self.windows.iter().filter(|(name, f)| *name == f.name()).map(|(_, f)| f)
    }

    /// What DataFusion resolves names through.
    pub fn context(&self) -> &Arc<TaskContext> {
        &self.context
    }
}

fn by_name<F>(functions: Vec<Arc<F>>, names: impl Fn(&F) -> (String, Vec<String>)) -> HashMap<String, Arc<F>> {
    let mut map = HashMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        for name in aliases.into_iter().chain([name]) {
            map.insert(name, Arc::clone(&function));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_resolve() {
        for name in ["abs", "char_length", "length", "date_trunc", "md5", "regexp_like", "tumble_start", "hop_ends"] {
            assert!(scalar(name).is_some(), "{name}");
        }
        for name in ["sum", "avg", "mean", "stddev", "array_agg", "bool_and"] {
            assert!(aggregate(name).is_some(), "{name}");
        }
        assert!(window("row_number").is_some() && window("session_window_start").is_some());
        assert!(scalar("no_such_function").is_none());
    }

    #[test]
    fn each_function_is_listed_once() {
        let mut names: Vec<_> = registry().scalars().map(|f| f.name().to_string()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all > 100);
    }
}
